"""What every wire format offers. A dialect is a table of pure functions; a reader is the state of one answer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from lava_proxy.core.errors import Fault
from lava_proxy.core.usage import Reading, RequestFacts, Usage

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Reader(Protocol):
    """Reads one answer. Usage is a function of the bytes seen, whatever the chunks."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes as they came (still content-encoded); give what goes on to the client.

        That is the same bytes, but for the one usage event that we asked for and take out again; then an incomplete
        event at the end is held back until its rest arrives. Never raises.
        """

    def finish(self) -> bytes:
        """The bytes still held back, once no more will come. Never raises."""

    def reading(self) -> Reading:
        """What was found so far. May be asked at any time, also in mid-stream; does not change the reader."""


class Dialect(Protocol):
    """One wire format. Nothing here raises on strangers' bytes: what cannot be read is left out of the facts."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int:
        """Grows when the reading of the same bytes changes; stored with each request."""

    def read_request(self, op: str, body: bytes, *, path_model: str | None) -> RequestFacts:
        """What ``body`` asks for. ``op`` is the endpoint's kind (``chat``, ``messages`` …), ``path_model`` the model of the URL."""

    def ask_for_usage(self, body: bytes) -> bytes:
        """The same request with the option that makes a stream report its usage."""

    def reader(
        self,
        op: str,
        *,
        content_type: str,
        content_encoding: str,
        facts: RequestFacts,
        take_out_usage: bool,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> Reader:
        """A reader for one answer. ``take_out_usage``: the usage event is ours and must not reach the client.

        ``headers``: the answer's, by names in lower case; some providers tell usage there alone.
        """

    def estimate(self, op: str, facts: RequestFacts, reading: Reading) -> Usage:
        """Usage where the provider gave none: from the request and from the text seen so far, rounded up."""

    def error_body(self, fault: Fault) -> bytes:
        """``fault`` as JSON that this provider's own SDK turns into a readable exception."""
