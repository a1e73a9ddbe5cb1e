"""A dialect put together from its functions (see ``base.Dialect``)."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.errors import Fault
from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.answer import AnswerReader
from lava_proxy.dialects.base import Reader
from lava_proxy.dialects.estimating import estimated_usage
from lava_proxy.dialects.framing import LARGEST_BODY_BYTES, Interpreter
from lava_proxy.dialects.json_text import JsonObject, parse_object


def unchanged(body: bytes) -> bytes:
    """For wires whose streams carry usage unasked."""
    return body


class WireFormat(Struct, frozen=True, kw_only=True):
    """One wire format. ``version`` grows when the same bytes are read differently."""

    name: str
    version: int
    facts_of: Callable[[JsonObject, str | None], RequestFacts]
    """From the request's body and the model that the path names."""
    interpreter_for: Callable[[], Interpreter]
    fault_body: Callable[[Fault], bytes]
    with_usage_asked: Callable[[bytes], bytes] = unchanged
    reads_ends_from: int = LARGEST_BODY_BYTES
    is_stream_by_op: bool = False
    """Whether the endpoint, not the body, says that the answer is a stream."""

    def read_request(self, op: str, body: bytes, *, path_model: str | None) -> RequestFacts:
        request = parse_object(body)
        facts = self.facts_of(request or {}, path_model)
        if request is None:  # perhaps the provider can read it: its size is then all that is known
            facts = replace(facts, input_text_characters=len(body), input_text_bytes=len(body))
        return replace(facts, is_stream="stream" in op) if self.is_stream_by_op else facts

    def ask_for_usage(self, body: bytes) -> bytes:
        return self.with_usage_asked(body)

    def reader(
        self,
        op: str,  # noqa: ARG002  a wire reads all its endpoints alike
        *,
        content_type: str,  # noqa: ARG002  the bytes say how they are framed
        content_encoding: str,
        facts: RequestFacts,  # noqa: ARG002  the answer says what it is
        take_out_usage: bool,
    ) -> Reader:
        return AnswerReader(
            self.interpreter_for(),
            content_encoding=content_encoding,
            take_out_usage=take_out_usage,
            reads_ends_from=self.reads_ends_from,
        )

    def estimate(self, op: str, facts: RequestFacts, reading: Reading) -> Usage:  # noqa: ARG002  one rule for all
        return estimated_usage(facts, reading)

    def error_body(self, fault: Fault) -> bytes:
        return self.fault_body(fault)
