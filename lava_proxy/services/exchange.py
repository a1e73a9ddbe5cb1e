"""What an edge and the line (``calls``) say to each other. An edge translates between these and its own protocol."""

from concurrent.futures import Future
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

Headers = tuple[tuple[str, str], ...]
"""Names in lower case, in the order they came; a name may come again."""


class Credentials(Struct, frozen=True, kw_only=True):
    """Proxy credentials, percent-decoded and split at the first colon; either part may be empty."""

    user: str
    secret: str


class Via(StrEnum):
    """How a call came in."""

    CONNECT = "connect"
    ABSOLUTE = "absolute"
    GATEWAY = "gateway"


class Head(Struct, frozen=True, kw_only=True):
    """A request's head as the edge saw it. ``host`` and ``port`` are where the bytes will go, never the Host header."""

    via: Via
    method: str
    scheme: str
    host: str
    port: int
    path: str
    """With the query."""
    headers: Headers
    credentials: Credentials | None = None
    host_header: str | None = None
    server_name: str | None = None
    """The TLS server name that the client asked for, where there was one."""


class Refused(Struct, frozen=True, kw_only=True):
    """Answer this instead of the provider. Nothing was held."""

    code: str
    status: int
    headers: Headers
    body: bytes


class Ending(StrEnum):
    """How a call ended, as the edge saw it."""

    COMPLETE = "complete"
    """The provider's answer ended properly."""
    NOT_SENT = "not_sent"
    """It is certain that the provider never received the request (no connection, no TLS)."""
    CLIENT_GONE = "client_gone"
    UPSTREAM_GONE = "upstream_gone"
    """The connection to the provider broke after the request may have been sent."""
    STOPPED = "stopped"
    """We are shutting down and cannot wait."""


class Call(Protocol):
    """One admitted call, from its hold to its settlement. Methods are called on one thread; none raises, none blocks."""

    @property
    def request_id(self) -> str: ...

    def begin(self, status: int, headers: Headers) -> None:
        """The provider's answer has begun; interim (1xx) answers are not told."""

    def feed(self, chunk: bytes) -> bytes:
        """Bytes of the answer's body as received (transfer-decoded, content-encoded); gives what goes to the client."""

    def finish(self) -> bytes:
        """The body ended properly: what was still held back for the client. Then comes ``close``."""

    def close(self, ending: Ending) -> Future[None]:
        """Settle or void, once; a second call gives the first one's future. Nobody needs to wait for it."""


class Forward(Struct, frozen=True, kw_only=True):
    """Send it on: without ``drop_headers``, with ``set_headers`` in place, with ``body`` where that is not ``None``."""

    call: Call | None
    """``None``: free of charge, nothing to meter."""
    drop_headers: frozenset[str]
    set_headers: Headers = ()
    body: bytes | None = None
    response_headers: Headers = ()
    """To add to the answer: ``x-lava-request-id``."""
    may_shorten: bool = False
    """Whether something of the answer may be taken out, whatever its content type says."""


class Line(Protocol):
    """What an edge needs of ``services.calls``."""

    def is_ai_host(self, host: str, port: int) -> bool: ...

    def is_own_host(self, host: str, port: int) -> bool:
        """Whether the operator has described this host in a file of his own."""

    def admit_tunnel(self, host: str, port: int, credentials: Credentials | None) -> Future[Refused | None]:
        """May this client have a tunnel to a host that is not an AI host? ``None``: yes."""

    def open(self, head: Head, body: bytes) -> Future[Forward | Refused]:
        """Identify, recognise, quote, hold. Resolved after the hold is committed; never raises, in the future neither."""

    def abandon(self, opening: Future[Forward | Refused]) -> None:
        """The caller no longer waits for ``open``: whatever hold comes of it is voided."""

    def open_calls(self) -> int: ...

    def close_all(self, ending: Ending) -> Future[None]:
        """Close every open call, and let no other go; done when all are settled. For shutdown, after the deadline."""
