"""OpenAI's embeddings: one document, numbers mostly; Voyage and Jina tell a total only, which is the input."""

from dataclasses import dataclass, field
from typing import Self

from lava_proxy.core.usage import Reading
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, figures_text, name_of
from lava_proxy.dialects.openai_request import embeddings_facts
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.wire_format import WireFormat

_READS_ENDS_FROM = 128 << 10
"""Above this size the ends of the document are read, not a million numbers (see ``framing.Document``)."""


@dataclass(slots=True)
class EmbeddingsAnswer:
    """What was found of one answer. Interpreter of the embeddings wire."""

    whole: JsonObject = field(default_factory=dict)
    is_whole: bool = False

    def copy(self) -> Self:
        return type(self)(whole=self.whole, is_whole=self.is_whole)

    def events(self, events: list[bytes]) -> None:
        """Embeddings come in no stream."""

    def element(self, element: JsonObject) -> None:
        """Nor in an array."""

    def array_end(self) -> None:
        """Nor in an array."""

    def document(self, document: JsonObject) -> None:
        self.whole = document
        self.is_whole = True

    def fragment(self, text: bytes) -> None:
        """They hold no text."""

    def reading(self) -> Reading:
        figures = as_object(self.whole.get("usage"))
        model = name_of(self.whole.get("model"))
        found = usage_found(figures, model=model, is_embedding=True)
        return Reading(
            usage=found.usage,
            model=model,
            response_id=name_of(self.whole.get("id")),
            reported_cost=found.reported_cost,
            raw_usage=(figures_text(figures),) if figures else (),
            is_complete=self.is_whole,
            is_error=self.whole.get("error") is not None,
            flags=found.flags,
        )


OPENAI_EMBEDDINGS = WireFormat(
    name="openai_embeddings",
    version=1,
    facts_of=embeddings_facts,
    interpreter_for=EmbeddingsAnswer,
    fault_body=openai_fault,
    reads_ends_from=_READS_ENDS_FROM,
)
