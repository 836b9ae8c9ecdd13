"""Making a failing case small: parts are left out for as long as it fails in the same way."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.tally import BrokenPromiseError
from tests.fuzz.tree import Pairs, Raw

SHRINK_S_MAX = 15.0
TRIES_MAX = 4_000


def signature(error: BaseException) -> str:
    """Return what two failures share that have one cause: the broken rule, or where it broke."""
    if isinstance(error, BrokenPromiseError):
        return error.rule
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "fsm_saga" in Path(frame.filename).parts[-4:]] or frames
    at = f" at {Path(ours[-1].filename).name}:{ours[-1].name}" if ours else ""
    return f"{type(error).__name__}{at}"


def shrunk(case: Any, fails: Callable[[Any], bool], smaller: Callable[[Any], Iterator[Any]]) -> Any:
    """Return a case that still fails and of which nothing more can be left out, or time is up."""
    give_up_at = time.monotonic() + SHRINK_S_MAX
    tries = 0
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in smaller(case):
            tries += 1
            if tries > TRIES_MAX or time.monotonic() > give_up_at:
                return case
            if fails(candidate):
                case, is_smaller = candidate, True
                break
    return case


def smaller_values(case: Any) -> Iterator[Any]:
    """Yield values like this one with less in them: large parts are left out first."""
    match case:
        case bytes():
            yield from _smaller_json(case)
            yield from _smaller_sequences(case)
        case str():
            yield from _smaller_sequences(case)
        case Raw(text=text):
            yield from map(Raw, _smaller_sequences(text))
        case Pairs():
            yield from map(Pairs, _smaller_sequences(list(case)))
            for at, (key, item) in enumerate(case):
                for less in smaller_values(item):
                    yield Pairs([*case[:at], [key, less], *case[at + 1 :]])
        case list():
            yield from _smaller_sequences(case)
            yield from map(list, _smaller_items(case))
        case tuple():
            yield from map(tuple, _smaller_items(case))
        case _:
            return


def _smaller_items(case: Sequence[Any]) -> Iterator[Iterable[Any]]:
    for at, item in enumerate(case):
        for less in smaller_values(item):
            yield (*case[:at], less, *case[at + 1 :])


def _smaller_json(text: bytes) -> Iterator[bytes]:
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: Pairs(map(list, pairs)))
    except (ValueError, RecursionError):
        return
    for less in smaller_values(value):
        yield json.dumps(_plain(less)).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Pairs):
        return {key: _plain(item) for key, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _smaller_sequences(whole: Any) -> Iterator[Any]:
    size = len(whole)
    length = size // 2 or size
    while length:
        for at in range(0, size, length):
            yield whole[:at] + whole[at + length :]
        length //= 2
