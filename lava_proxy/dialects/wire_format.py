"""A dialect put together from its functions (see ``base.Dialect``)."""

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.errors import Fault
from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.answer import AnswerReader
from lava_proxy.dialects.base import NO_HEADERS, Reader
from lava_proxy.dialects.estimating import estimated_usage
from lava_proxy.dialects.framing import LARGEST_BODY_BYTES, Interpreter, Shape
from lava_proxy.dialects.json_text import JsonObject, parse_object
from lava_proxy.dialects.request_form import form_fields, upload_of

POLL = "poll"
"""The operation of looking at a job or a stored answer again."""
_MEDIA = ("audio/", "image/", "video/", "application/octet-stream", "application/pdf")


class Exchange(Struct, frozen=True, kw_only=True):
    """What there is of an exchange beside the answer's body."""

    op: str
    headers: Mapping[str, str]
    """The answer's, by names in lower case."""
    facts: RequestFacts


def unchanged(body: bytes) -> bytes:
    """For wires whose streams carry usage unasked."""
    return body


def as_read(reading: Reading, _: Exchange) -> Reading:
    """For wires where the body says everything."""
    return reading


class WireFormat(Struct, frozen=True, kw_only=True):
    """One wire format. ``version`` grows when the same bytes are read differently."""

    name: str
    version: int
    facts_of: Callable[[JsonObject, str | None], RequestFacts]
    """From the request's body and the model that the path names."""
    interpreter_for: Callable[[], Interpreter]
    fault_body: Callable[[Fault], bytes]
    with_usage_asked: Callable[[bytes], bytes] = unchanged
    completed: Callable[[Reading, Exchange], Reading] = as_read
    """Adds what headers and request tell to what the body told."""
    estimated: Callable[[RequestFacts, Reading], Usage] = estimated_usage
    shape: Shape = Shape()
    takes_uploads: bool = False
    """Whether a request may be a form with files, or a file itself; their fields are then read as a JSON body's."""
    reads_ends_from: int = LARGEST_BODY_BYTES
    is_stream_by_op: bool = False
    """Whether the endpoint, not the body, says that the answer is a stream."""

    def read_request(self, op: str, body: bytes, *, path_model: str | None) -> RequestFacts:
        request = parse_object(body)
        if request is None and self.takes_uploads:
            request = form_fields(body) or upload_of(body)
        if request is None and self.shape.has_objects:  # a session's messages: the first one says what it is to be
            request = parse_object(body.lstrip().partition(b"\n")[0])
        facts = self.facts_of(request or {}, path_model)
        if request is None:  # perhaps the provider can read it: its size is then all that is known
            facts = replace(facts, input_text_characters=len(body), input_text_bytes=len(body))
        return replace(facts, is_stream="stream" in op) if self.is_stream_by_op else facts

    def ask_for_usage(self, body: bytes) -> bytes:
        return self.with_usage_asked(body)

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
        """Only for media the content type counts: else the bytes say how they are framed."""
        exchange = Exchange(op=op, headers=headers, facts=facts)

        def completed(reading: Reading) -> Reading:
            found = self.completed(reading, exchange)
            return replace(found, is_replay=True) if op == POLL else found

        return AnswerReader(
            self.interpreter_for(),
            content_encoding=content_encoding,
            take_out_usage=take_out_usage,
            reads_ends_from=self.reads_ends_from,
            shape=self.shape,
            is_media=self.shape.has_media and content_type.lower().startswith(_MEDIA),
            completed=completed,
        )

    def estimate(self, op: str, facts: RequestFacts, reading: Reading) -> Usage:  # noqa: ARG002  one rule for all
        return self.estimated(facts, reading)

    def error_body(self, fault: Fault) -> bytes:
        return self.fault_body(fault)
