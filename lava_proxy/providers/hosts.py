"""Which hosts are AI hosts. Never a prefix match: ``api.openai.com.evil.example`` and ``notapi.openai.com`` are others.

A pattern is an exact name, ``*.suffix`` (any number of labels before it, at least one) or ``re:^…$`` (the whole name),
each with ``:port`` at its end where only that port is meant. Exact names win over suffixes, longer suffixes over
shorter ones, and those over expressions.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from msgspec import Struct

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]")
_NAME_LENGTH_MAX = 253
"""Of DNS. Strangers choose the names that are looked up."""
_REMEMBERED_MAX = 4096
_PORT = re.compile(r"(?P<host>.+?)(?::(?P<port>\d{1,5}))?")
REGEX_MARK = "re:"


def normal_host(host: str) -> str:
    """``host`` as names are compared: lower case, no trailing dot, no brackets, other scripts' letters as DNS has them.

    Resolvers take full-width letters and dots for ASCII ones, so a comparison must too.
    """
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return host.casefold()
    return host.lower().removesuffix(".").strip("[]")


class HostPattern(Struct, frozen=True, kw_only=True):
    """One entry of a provider's ``hosts``."""

    text: str
    """Without its port; in lower case unless it is an expression."""
    port: int | None
    regex: re.Pattern[str] | None = None


def parse_host(text: str) -> HostPattern:
    """The pattern that ``text`` writes.

    Raises:
        ValueError: it is not a pattern; the message says what is wrong with it.
    """
    if text.startswith(REGEX_MARK):
        return _parse_regex(text)
    found = _PORT.fullmatch(text.strip().lower())
    name = found["host"] if found else ""
    if "/" in text:
        raise ValueError(f"{text!r} has a path: hosts are names; write paths in base_paths")
    if not _NAME.fullmatch(name.removeprefix("*.")):
        raise ValueError(f"{text!r} is not a host name, '*.suffix' or 're:^…$'")
    if name.startswith("*.") and "." not in name.removeprefix("*."):
        raise ValueError(f"{text!r} would take a whole top-level domain")
    return HostPattern(text=name.strip("[]"), port=_port(text, found["port"] if found else None))


def _parse_regex(text: str) -> HostPattern:
    body, port = text.removeprefix(REGEX_MARK), None
    if found := re.fullmatch(r"(?P<body>.*\$):(?P<port>\d{1,5})", body):
        body, port = found["body"], _port(text, found["port"])
    if not (body.startswith("^") and body.endswith("$")):
        raise ValueError(f"{text!r} is not anchored: write 're:^…$'")
    try:
        return HostPattern(text=text, port=port, regex=re.compile(body))
    except re.error as fault:
        raise ValueError(f"{text!r} is not a regular expression: {fault}") from fault


def _port(text: str, digits: str | None) -> int | None:
    if digits is None:
        return None
    if not 0 < int(digits) < 65536:
        raise ValueError(f"{text!r} has no such port")
    return int(digits)


class HostIndex[T]:
    """Owners by host. Built once, then only read: safe for any thread.

    A look-up costs a dictionary access for each label of the name, however many patterns there are: expressions stand
    under the literal labels at their end, so that only those of the name's own domain are tried. Answers are remembered.
    """

    def __init__(self, entries: Iterable[tuple[HostPattern, T]]) -> None:
        self._exact: dict[str, list[tuple[int | None, T]]] = {}
        self._suffixes: dict[str, list[tuple[int | None, T]]] = {}
        self._regexes: dict[str, list[tuple[re.Pattern[str], int | None, T]]] = {}
        for pattern, owner in entries:
            if pattern.regex is not None:
                tail = literal_tail(pattern.regex.pattern)
                self._regexes.setdefault(tail, []).append((pattern.regex, pattern.port, owner))
            elif pattern.text.startswith("*."):
                self._suffixes.setdefault(pattern.text[1:], []).append((pattern.port, owner))
            else:
                self._exact.setdefault(pattern.text, []).append((pattern.port, owner))
        self._remembered = lru_cache(maxsize=_REMEMBERED_MAX)(self._owners)

    def owners(self, host: str, port: int | None) -> tuple[T, ...]:
        """Everyone who may own ``host``, the closest pattern's owners only. ``port`` ``None``: any port will do."""
        return self._remembered(host, port) if len(host) <= _NAME_LENGTH_MAX else ()

    def _owners(self, host: str, port: int | None) -> tuple[T, ...]:
        name = normal_host(host)
        found = _on_port(self._exact.get(name, ()), port)
        if found:
            return found
        tails = [f".{rest}" for rest in _rests(name)]
        for tail in tails:
            if tail in self._suffixes and (found := _on_port(self._suffixes[tail], port)):
                return found
        tried = [expression for tail in (*tails, "") for expression in self._regexes.get(tail, ())]
        return _on_port(((own_port, owner) for regex, own_port, owner in tried if regex.fullmatch(name)), port)


def _rests(name: str) -> Iterator[str]:
    """What follows each dot, the longest first."""
    while "." in name:
        name = name.partition(".")[2]
        yield name


_TAIL = re.compile(r"((?:\\\.[a-z0-9-]+)+)\$$")
_GROUP = re.compile(r"\([^()]*\)")


def literal_tail(expression: str) -> str:
    """The labels that every host of an anchored expression ends with: ``.amazonaws.com``; empty where that is not plain."""
    found = _TAIL.search(expression)
    if found is None or "|" in _GROUP.sub("", expression):
        return ""
    return found[1].replace("\\.", ".")


def _on_port[T](entries: Iterable[tuple[int | None, T]], port: int | None) -> tuple[T, ...]:
    return tuple(owner for own_port, owner in entries if own_port is None or port is None or own_port == port)
