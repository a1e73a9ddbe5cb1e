"""OpenAI's realtime sessions, of OpenAI, Azure and xAI: the server's messages, one JSON object after the other.

Each ``response.done`` tells its own response: increments, they add up. The transcription of what the user said is
another model's work and stays out of the totals (``transcription_outside_totals``). xAI tells the usage beside the
response, and ``billable_audio_seconds``, which are what it charges.
"""

from copy import copy
from dataclasses import dataclass, field
from typing import Self

from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, figures_text, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import added, amount_in, plain_facts
from lava_proxy.dialects.sse import objects_of
from lava_proxy.dialects.text_count import TextCounter
from lava_proxy.dialects.wire_format import WireFormat

_DELTAS = ("response.output_text.delta", "response.text.delta", "response.output_audio_transcript.delta",
           "response.audio_transcript.delta", "response.function_call_arguments.delta")  # fmt: skip
_TURN_ENDS = ("response.done", "response.completed", "response.incomplete", "response.failed")
"""The last three are those of the responses wire over a WebSocket."""
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


@dataclass(slots=True)
class RealtimeSession:
    """What was found of one session so far. Interpreter of the server's messages."""

    usage: Usage = NO_USAGE
    model: str | None = None
    session_id: str | None = None
    raw: tuple[str, ...] = ()
    turns: int = 0
    flags: tuple[str, ...] = ()
    text: TextCounter = field(default_factory=TextCounter)

    def copy(self) -> Self:
        twin = copy(self)
        twin.text = copy(self.text)
        return twin

    def events(self, events: list[bytes]) -> None:
        for event in events:
            for message in objects_of(event):
                self.element(message)

    def element(self, element: JsonObject) -> None:
        kind = element.get("type")
        if kind in ("session.created", "session.updated"):
            session = as_object(element.get("session"))
            self.model = name_of(session.get("model")) or self.model
            self.session_id = name_of(session.get("id")) or self.session_id
        elif kind in _TURN_ENDS:
            response = as_object(element.get("response"))
            self.model = self.model or name_of(response.get("model"))
            self._take_turn(as_object(response.get("usage")) or as_object(element.get("usage")))
        elif kind == _TRANSCRIBED and element.get("usage"):
            self.flags = ("transcription_outside_totals",)
            self._note(as_object(element.get("usage")))
        elif kind in _DELTAS and isinstance(delta := element.get("delta"), str):
            self.text.add(delta)

    def array_end(self) -> None:
        """A session has no end of its own."""

    def document(self, document: JsonObject) -> None:
        self.element(document)

    def fragment(self, text: bytes) -> None:
        """Half a message says nothing."""

    def reading(self) -> Reading:
        return Reading(
            usage=self.usage,
            model=self.model,
            response_id=self.session_id,
            raw_usage=self.raw,
            output_text_characters=self.text.characters,
            output_text_bytes=self.text.utf8_bytes,
            is_complete=self.turns > 0,
            flags=self.flags,
        )

    def _take_turn(self, figures: JsonObject) -> None:
        if not figures:
            return
        self.turns += 1
        usage = usage_found(figures, model=self.model).usage
        seconds = amount_in(figures.get("billable_audio_seconds"))
        self.usage = added(self.usage, usage if seconds is None else replace(usage, input_seconds=seconds))
        self._note(figures)

    def _note(self, figures: JsonObject) -> None:
        """The first and the last are kept."""
        self.raw = (*self.raw[:1], figures_text(figures))


def realtime_facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """A session's first message may name its model."""
    session = as_object(request.get("session")) or as_object(request.get("setup"))
    return plain_facts(session, path_model, ("instructions",), has_output=True, is_stream=True)


OPENAI_REALTIME = WireFormat(
    name="openai_realtime",
    version=1,
    facts_of=realtime_facts,
    interpreter_for=RealtimeSession,
    fault_body=openai_fault,
    shape=Shape(has_objects=True),
)
