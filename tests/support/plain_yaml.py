"""A reader of the plain YAML that this project's own files are written in.

Block mappings and block sequences, one-line lists, plain and quoted scalars, anchors of mappings
and ``<<``. Whatever else YAML has is refused, so what is read here means the same to any reader.
"""

from __future__ import annotations

import json
import re
from typing import Any

_KEY = re.compile(r"(?P<key>[A-Za-z_<][\w<-]*):(?: (?P<rest>.*))?$")
_ANCHOR = re.compile(r"&(\w[\w-]*)$")
_ALIAS = re.compile(r"\*(\w[\w-]*)$")
# What would begin something else than a plain scalar, or end it early.
_NOT_PLAIN = re.compile(r"""^[\s&*!|>%@`"'\[\]{}?#,]|^- |: |:$| #""")


class PlainYamlError(ValueError):
    """A line is none of the plain YAML, or of any."""


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines: list[tuple[int, int, str]] = []
        for number, line in enumerate(text.splitlines(), start=1):
            content = line.strip()
            if "\t" in line or line != line.rstrip():
                raise PlainYamlError(f"line {number}: a tab, or space at its end")
            if content and not content.startswith("#"):
                self.lines.append((number, len(line) - len(content), content))
        self.at = 0
        self.anchors: dict[str, Any] = {}

    def block(self, indent: int) -> Any:
        """Read what begins at this line and is indented so."""
        content = self.lines[self.at][2]
        return self._sequence(indent) if content.startswith("- ") else self._mapping(indent)

    def _mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while (content := self._here(indent)) is not None:
            match = _KEY.match(content)
            if match is None:
                raise self._wrong("no key")
            key, rest = match["key"], match["rest"]
            self.at += 1
            value = self._value(rest or "", indent)
            if key == "<<":
                found = value | found
            elif key in found:
                raise self._wrong(f"{key!r} twice")
            else:
                found[key] = value
        return found

    def _sequence(self, indent: int) -> list[Any]:
        found: list[Any] = []
        while (content := self._here(indent)) is not None:
            if not content.startswith("- "):
                raise self._wrong("no item")
            item = content[2:]
            if _KEY.match(item):
                number = self.lines[self.at][0]
                self.lines[self.at] = (number, indent + 2, item)
                found.append(self._mapping(indent + 2))
            else:
                self.at += 1
                found.append(self._scalar(item))
        return found

    def _here(self, indent: int) -> str | None:
        if self.at == len(self.lines) or self.lines[self.at][1] < indent:
            return None
        if self.lines[self.at][1] > indent:
            raise self._wrong("indented further than what is before it")
        return self.lines[self.at][2]

    def _value(self, rest: str, indent: int) -> Any:
        if alias := _ALIAS.match(rest):
            return self.anchors[alias[1]]
        anchor = _ANCHOR.match(rest)
        if rest and anchor is None:
            return self._scalar(rest)
        deeper = self.lines[self.at][1] if self.at < len(self.lines) else -1
        value = self.block(deeper) if deeper > indent else None
        if anchor is not None:
            self.anchors[anchor[1]] = value
        return value

    def _scalar(self, text: str) -> Any:
        if text.startswith('"'):
            return json.loads(text)
        if text.startswith("["):
            if not text.endswith("]"):
                raise self._wrong("a list that does not end in its line")
            return [self._scalar(part.strip()) for part in text[1:-1].split(",")]
        if _NOT_PLAIN.search(text):
            raise self._wrong(f"{text!r} is no plain scalar")
        if text in ("true", "false"):
            return text == "true"
        return int(text) if text.isdigit() else text

    def _wrong(self, what: str) -> PlainYamlError:
        number = self.lines[min(self.at, len(self.lines) - 1)][0]
        return PlainYamlError(f"line {number}: {what}")


def plain_yaml(text: str) -> Any:
    """Return what a document of plain YAML says.

    Raises:
        PlainYamlError: It is not plain, or no YAML.

    Example:
        >>> plain_yaml("a: &x\\n  b: [1, c]\\nd:\\n  <<: *x\\n  e:\\n    - f: g h\\n")
        {'a': {'b': [1, 'c']}, 'd': {'b': [1, 'c'], 'e': [{'f': 'g h'}]}}
    """
    reader = _Reader(text)
    found = reader.block(0)
    if reader.at != len(reader.lines):
        raise PlainYamlError(f"line {reader.lines[reader.at][0]}: not reached")
    return found
