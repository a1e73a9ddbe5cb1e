"""Recorded traffic: an exchange that took place elsewhere, as a reader of recordings gives it."""

from msgspec import Struct

Headers = tuple[tuple[str, str], ...]
"""Names in lower case, in the order they came."""


class Recorded(Struct, frozen=True, kw_only=True):
    """One exchange. Both bodies without content encoding."""

    recording_id: str
    """The recording's own id for it, else one made from its content: the same each time it is read."""
    line: int
    """Which exchange of its file it is, from 1; in a file of lines, its line."""
    method: str
    url: str
    request_headers: Headers = ()
    request_body: bytes = b""
    status: int
    response_headers: Headers = ()
    response_body: bytes = b""
    at_us: int | None = None
    """When it began, where the recording tells."""


class Unreadable(Struct, frozen=True, kw_only=True):
    """A piece of a recording that is no exchange."""

    line: int
    why: str
    recording_id: str | None = None
