"""Reranking in the shape of Jina, Voyage, Together, llama.cpp, OpenRouter and others: a total of tokens, all input.

Cohere's models behind other hosts tell search units.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import in_pieces, plain_facts
from lava_proxy.dialects.wire_format import WireFormat


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage")) or as_object(as_object(state.get("meta")).get("tokens"))
    model = name_of(state.get("model"))
    found = usage_found(figures, model=model, is_embedding=True)
    units = count_of(as_object(as_object(state.get("meta")).get("billed_units")).get("search_units"))
    return Reading(
        usage=found.usage if units is None else replace(found.usage, searches=units),
        model=model,
        response_id=name_of(state.get("id")),
        reported_cost=found.reported_cost,
        raw_usage=(figures_text(figures),) if figures else (),
        flags=found.flags,
    )


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    return plain_facts(request, path_model, ("query", "documents", "texts"))


RERANK = WireFormat(
    name="rerank",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=openai_fault,
)
