"""Paths as they are compared with what endpoints describe.

A path can be spelled in many ways, and the provider decides which of them it takes for the same. So a plain path is
matched as it is, and an odd one (``..``, ``//``, escaped slashes, doubled escapes, ``;`` …) is matched in every reading
that a server might give it; the caller takes the dearest match, and never lets an odd path be free.
"""

import re
from urllib.parse import unquote

from msgspec import Struct

_PLAIN = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_~:@!$&'()*+,=.-]+)*/?")
"""Segments of unreserved and harmless characters; none is empty (but for a trailing slash), ``.`` or ``..``."""
_ESCAPED_PLAIN = re.compile(r"%(?:2[DE]|3A|40|5F|7E|[46][1-9A-F]|[57][0-9A]|3[0-9])", re.IGNORECASE)
"""Escapes that clients write for characters that need none: ``:`` and ``@`` in model names, letters, digits."""
_ROUNDS_MAX = 4
_BLANKS = "".join(map(chr, range(0x21))) + "\x7f"


class Spelling(Struct, frozen=True, kw_only=True):
    """The readings of one path: without query, decoded, without a trailing slash."""

    readings: tuple[str, ...]
    is_odd: bool


def spell(target: str) -> Spelling:
    """The readings of the path of ``target``, an origin-form request target; its query is dropped."""
    path = target.partition("?")[0] or "/"
    if "%" in path:
        path = _ESCAPED_PLAIN.sub(lambda found: unquote(found[0]), path)
    if _PLAIN.fullmatch(path):
        return Spelling(readings=(path.rstrip("/") or "/",), is_odd=False)
    return Spelling(readings=tuple(dict.fromkeys(_readings(path))), is_odd=True)


def _readings(path: str) -> list[str]:
    found: list[str] = []
    for _ in range(_ROUNDS_MAX):
        for reading in (path, re.sub(r";[^/]*", "", path), path.partition("#")[0]):
            slashed = reading.replace("\\", "/")
            single = re.sub(r"/+", "/", slashed)
            found += [_tidy(reading), _tidy(slashed), _tidy(_resolve(slashed)), _tidy(_resolve(single))]
        decoded = unquote(path, errors="replace")
        if decoded == path:
            break
        path = decoded
    return found


def _tidy(path: str) -> str:
    """One slash between segments, none at the end, no blanks or control characters around a segment."""
    segments = (segment.strip(_BLANKS) for segment in path.split("/"))
    return "/" + "/".join(segment for segment in segments if segment)


def _resolve(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


_TOKEN = re.compile(r"\{(?P<name>[a-z_]+)\}|(?P<below>/\*\*$)|(?P<rest>\*\*)|(?P<any>\*)|(?P<text>[^{}*/]+|/)")


class PathPattern(Struct, frozen=True, kw_only=True):
    """What an endpoint's path looks like, ready to be compiled; thousands of them would make a slow start."""

    expression: str

    def compiled(self) -> re.Pattern[str]:
        """To be used with ``fullmatch``. Letters match in either case."""
        return re.compile(self.expression, re.IGNORECASE | re.DOTALL)


def parse_path(pattern: str) -> PathPattern:
    """The pattern of a base and path.

    ``{name}`` is a segment or a part of one, ``*`` any part of a segment, also none, ``**`` any rest, and ``/**`` at
    the end also nothing at all.

    Raises:
        ValueError: it does not start with a slash, has a name twice or a lone brace.
    """
    if pattern and not pattern.startswith("/"):
        raise ValueError(f"{pattern!r} must start with '/'")
    written, position, names = "", 0, set[str]()
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            raise ValueError(f"{pattern!r}: a brace that is not a {{name}} at character {position + 1}")
        if token["name"] in names:
            raise ValueError(f"{pattern!r} has {{{token['name']}}} twice")
        names.update([token["name"]] if token["name"] else [])
        written += _expression(token)
        position = token.end()
    return PathPattern(expression=written or "/")


def _expression(token: re.Match[str]) -> str:
    if token["name"]:
        return f"(?P<{token['name']}>[^/]+?)"
    if token["below"]:
        return "(?:/.*)?"
    if token["rest"]:
        return ".*"
    return "[^/]*" if token["any"] else re.escape(token["text"])
