"""Search, scraping, translation: tools that are charged by the call, by the search, by credits or by characters.

What the answer tells is taken: Exa's and DataForSEO's cost in dollars, credits (Tavily, Serper, Firecrawl, Jina),
characters (DeepL), tokens (Jina's reader). Else a call is a call.
"""

from decimal import Decimal

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, count_of, figures_text, name_of, total_of
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, laid_over, length_of, plain_facts
from lava_proxy.dialects.speech import spoken_text
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_ONE_CALL = Usage(requests=1)
_CREDITS = ("creditsUsed", "credits_used", "credits", "credits_consumed", "creditsConsumed")


def _read(state: JsonObject) -> Reading:
    usage = as_object(state.get("usage"))
    nested = as_object(state.get("data")) or next(as_objects(state.get("data")), {})
    carriers = (state, usage, nested, as_object(nested.get("metadata")), as_object(nested.get("usage")))
    credits = next((c for part in carriers for name in _CREDITS if (c := amount_in(part.get(name))) is not None), None)
    tokens = count_of(as_object(nested.get("usage")).get("tokens"))
    if tokens is None:
        tokens = count_of(usage.get("tokens"))
    billed = total_of(*(count_of(item.get("billed_characters")) for item in as_objects(state.get("translations"))))
    cost = _cost(state)
    told = {"credits": credits, "tokens": tokens, "billed_characters": billed, "cost": cost}
    shown = {name: value for name, value in told.items() if value is not None}
    return Reading(
        usage=Usage(credits=credits, input_tokens=tokens, input_characters=billed),
        response_id=name_of(state.get("requestId")) or name_of(state.get("request_id")) or name_of(state.get("id")),
        reported_cost=cost,
        raw_usage=(figures_text(shown),) if shown else (),
    )


def _cost(state: JsonObject) -> Decimal | None:
    """Dollars: Exa in ``costDollars.total``, DataForSEO in ``cost`` beside its ``tasks``."""
    dollars = amount_in(as_object(state.get("costDollars")).get("total"))
    return amount_in(state.get("cost")) if dollars is None and "tasks_count" in state else dollars


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    if reading.is_error:
        return reading
    counted = exchange.facts.counted
    if exchange.op == "search" and counted == _ONE_CALL:  # with its question in the address
        counted = Usage(searches=1)
    return replace(reading, usage=laid_over(counted, reading.usage))


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """DeepL is charged by what is to be translated; a search by the search; everything else by the call."""
    texts = request.get("text")
    is_translation = "target_lang" in request
    is_search = any(name in request for name in ("query", "q", "queries", "keyword"))
    if is_translation:
        counted = Usage(input_characters=len(spoken_text(texts)))
    elif is_search:
        counted = Usage(searches=length_of(request.get("queries")) or 1)
    else:
        counted = _ONE_CALL
    return plain_facts(request, path_model, model_keys=("model", "model_type"), counted=counted)


WEB_TOOLS = WireFormat(
    name="web_tools",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=plain_fault,
    completed=_completed,
    estimated=counted_only,
    shape=Shape(has_media=True),
    takes_uploads=True,
)
