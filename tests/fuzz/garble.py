"""Mutation of bytes: what transport, editors and language models do to a text."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random

from tests.fuzz.words import ODD_TEXTS

Garbler = Callable[[bytes, Random], bytes]

TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u", b"\\ud800", b"//", b"/*", b"*/",
    b"```", b"null", b"NaN", b"1e999", b"\0", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x1b", b"\r", b"\n", b"\t", b" ", b"'", b"#", b"-", b"0", b"e", b"$output.step_1",
    b"\xe2\x80\xa8",
)  # fmt: skip


def flip(text: bytes, draw: Random) -> bytes:
    """Change some bits."""
    found = bytearray(text)
    for _ in range(draw.randint(1, 3)):
        found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
    return bytes(found)


def cut_off(text: bytes, draw: Random) -> bytes:
    """End in the middle, or begin there."""
    at = draw.randrange(len(text))
    return text[:at] if draw.random() < 0.8 else text[at:]


def drop(text: bytes, draw: Random) -> bytes:
    """Lose a few bytes."""
    at = draw.randrange(len(text))
    return text[:at] + text[at + draw.randint(1, 12) :]


def repeat(text: bytes, draw: Random) -> bytes:
    """Say a part twice."""
    at = draw.randrange(len(text))
    part = text[at : at + draw.randint(1, 60)]
    return text[:at] + part + text[at:]


def token(text: bytes, draw: Random) -> bytes:
    """Put something in that means something to a parser."""
    at = draw.randrange(len(text) + 1)
    return text[:at] + draw.choice(TOKENS) + text[at + draw.randrange(2) :]


def swap(text: bytes, draw: Random) -> bytes:
    """Write some mark as another one, all over the text."""
    old = draw.choice([b'"', b":", b",", b"{", b" ", b"_", b"true"])
    return text.replace(old, draw.choice(TOKENS), draw.choice([1, 2, -1]))


def odd(text: bytes, draw: Random) -> bytes:
    """Put an odd text in, as it is."""
    at = draw.randrange(len(text) + 1)
    return text[:at] + draw.choice(ODD_TEXTS).encode("utf-8", "surrogatepass") + text[at:]


def wrap(text: bytes, draw: Random) -> bytes:
    """Say the plan the way a model says it: fences, prose, comments, twice."""
    ways = (
        b"```json\n" + text + b"\n```",
        b"```\n" + text + b"\n```\n",
        b"``` " + text + b" ```",
        b"Here is the plan:\n```json\n" + text + b"\n```\nShall I run it?",
        b"```json\n" + text,
        b"```json\n" + text + b"\n```\n```json\n" + text + b"\n```",
        b"Sure. " + text,
        text + b" // done",
        text + text,
        text + b"\n" + text[: draw.randrange(len(text))],
        b"// a plan\n" + text,
        b"/* a\n plan */" + text + b"/* end */",
        text.replace(b", ", b", // one more\n", draw.randint(1, 3)),
        text.replace(b"}", b",}", 1),
        text.replace(b"]", b",]", 1),
        b"[" + text + b"]",
        b'{"plan": ' + text + b"}",
        b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"',
        b"<plan>" + text + b"</plan>",
        b"\xef\xbb\xbf" + text,
        b"\xef\xbb\xbf\xef\xbb\xbf" + text,
        b"\xef\xbb\xbf```\n" + text + b"\n```",
        b" \r\n\t" + text + b"\n\n",
        b"\x0b" + text,
        b"\xc2\xa0" + text,
    )
    return draw.choice(ways)


def encode(text: bytes, draw: Random) -> bytes:
    """Send the text in another encoding, or packed."""
    readable = text.decode("utf-8", "replace")
    ways = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "utf-7", "zlib")
    way = draw.choice(ways)
    if way == "zlib":
        return zlib.compress(text[:10_000], 1)
    return readable.encode(way, "replace")


_WEIGHTED: dict[Garbler, int] = {
    flip: 5, cut_off: 5, drop: 4, repeat: 3, token: 6, swap: 3, odd: 4, wrap: 10, encode: 1,
}  # fmt: skip
GARBLERS = tuple(_WEIGHTED)
WEIGHTS = tuple(_WEIGHTED.values())


def garbled(text: bytes, draw: Random) -> bytes:
    """Return the text after a few changes of its bytes."""
    for garble in draw.choices(GARBLERS, WEIGHTS, k=1 + int(draw.expovariate(1.2))):
        if not text:
            break
        text = garble(text, draw)
    return text
