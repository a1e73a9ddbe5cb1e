"""How much text an answer has produced so far: the base of the estimate where a stream ends before its usage.

For speed a stream's small deltas are not parsed. One regular expression over many events takes the JSON string
literals that stand behind the dialect's text keys, and all literals of a block are unescaped in one go. What a literal
counts does not depend on its neighbours, so the count is a function of the bytes, whatever the chunks.
"""

import json
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from lava_proxy.dialects.json_text import JsonObject

_DEEPEST = 40
_LITERAL = rb'"((?:[^"\\]++|\\.)*+)"'


def text_pattern(keys: Iterable[str], *, skip: str = "") -> "re.Pattern[bytes]":
    """Finds the JSON string literals behind ``keys``. ``skip``: what may follow a quote and is passed over."""
    names = "|".join(re.escape(key) for key in keys).encode()
    skipped = skip.encode() + b"|" if skip else b""
    return re.compile(b'"(?:' + skipped + b"(?:" + names + rb')"\s*+:\s*+' + _LITERAL + b")", re.DOTALL)


@dataclass(slots=True)
class TextCounter:
    """Characters and UTF-8 bytes of text."""

    characters: int = 0
    utf8_bytes: int = 0

    def add(self, text: str) -> None:
        self.characters += len(text)
        self.utf8_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def add_literals(self, literals: list[bytes]) -> None:
        """Count the insides of JSON string literals, still escaped."""
        joined = b"\\n".join(literals)
        text = _unescaped(joined)
        if text is None:
            for literal in literals:
                single = _unescaped(literal)
                self.add(literal.decode("utf-8", "replace") if single is None else single)
            return
        self.add(text)
        separators = max(len(literals) - 1, 0)
        self.characters -= separators
        self.utf8_bytes -= separators


def _unescaped(literal: bytes) -> str | None:
    try:
        text = json.loads('"' + literal.decode("utf-8", "replace") + '"', strict=False)
    except ValueError:
        return None
    return text if isinstance(text, str) else None


def texts_in(value: object, keys: Container[str], *, skip: Container[str] = (), depth: int = _DEEPEST) -> Iterator[str]:
    """The texts under ``keys`` anywhere in a parsed ``value``; a key of ``skip`` is not entered.

    An object under one of the keys (a tool's arguments, a structured answer) counts as the JSON that was written for it.
    """
    if depth == 0:
        return
    if isinstance(value, list):
        for item in value:
            yield from texts_in(item, keys, skip=skip, depth=depth - 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in skip:
                continue
            if isinstance(item, str):
                if key in keys:
                    yield item
            elif isinstance(item, dict) and key in keys:
                yield _structure_text(item)
            else:
                yield from texts_in(item, keys, skip=skip, depth=depth - 1)


def _structure_text(value: JsonObject) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return ""
