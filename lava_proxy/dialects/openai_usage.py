"""OpenAI's usage object in all the variants of its compatible providers, turned into our units.

Counts of parts (cached, reasoning, …) stand inside the totals at most providers. Where one counts them outside, its own
``total_tokens`` tells; the totals given here always include their parts, and a flag says what was done:

- ``reasoning_outside_output``: total = prompt + completion + reasoning (xAI's chat).
- ``output_from_total``: a Gemini model behind the OpenAI wire whose thinking shows in the total alone.
- ``cached_outside_input``: more cached than input tokens (Azure-hosted Grok): input is then the sum of both.
- ``reasoning_exceeds_output``: reported so, left as it is (Doubleword).
- ``tokens_outside_totals``: the total has tokens that no other count explains (Voxtral's audio, charged by the second).
"""

from decimal import Decimal

from msgspec import Struct

from lava_proxy.core.usage import NO_USAGE, Usage
from lava_proxy.dialects.json_text import JsonObject, amount_of, as_object, count_of, largest, total_of

_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_XAI_TICKS_PER_DOLLAR = 10**10


class UsageFound(Struct, frozen=True, kw_only=True):
    """What one usage object says."""

    usage: Usage = NO_USAGE
    reported_cost: Decimal | None = None
    flags: tuple[str, ...] = ()


class _Counts(Struct, frozen=True):
    input: int | None
    output: int | None
    total: int | None
    cached: int | None
    reasoning: int | None


def usage_found(figures: JsonObject, *, model: str | None, is_embedding: bool = False) -> UsageFound:
    """``figures`` in our units. ``model`` as the answer names it; ``is_embedding``: a lone total is the input."""
    counts = _counts(figures)
    if is_embedding and counts.input is None:
        counts = _Counts(counts.total, counts.output, counts.total, counts.cached, counts.reasoning)
    output, output_flags = _output(counts, model or "")
    total_input, input_flags = _input(counts)
    cost, cost_flags = _cost(figures)
    into, out_of = _first_object(figures, *_INPUT_DETAILS), _first_object(figures, *_OUTPUT_DETAILS)
    writes = as_object(figures.get("cache_creation"))
    usage = Usage(
        input_tokens=total_input,
        cached_input_tokens=counts.cached,
        cache_write_tokens=_cache_writes(figures, into),
        cache_write_1h_tokens=count_of(writes.get("ephemeral_1h_input_tokens")),
        cached_audio_tokens=count_of(as_object(into.get("cached_tokens_details")).get("audio_tokens")),
        input_audio_tokens=_part(into.get("audio_tokens"), of=total_input),
        input_image_tokens=_part(into.get("image_tokens"), of=total_input),
        output_tokens=output,
        reasoning_tokens=counts.reasoning,
        output_audio_tokens=count_of(out_of.get("audio_tokens")),
        output_image_tokens=count_of(out_of.get("image_tokens")),
        input_seconds=amount_of(figures.get("prompt_audio_seconds")),
        searches=searches_in(figures),
    )
    return UsageFound(usage=usage, reported_cost=cost, flags=(*input_flags, *output_flags, *cost_flags))


def searches_in(figures: JsonObject) -> int | None:
    """Searches that the usage object itself counts (OpenRouter, Perplexity, xAI)."""
    by_server = _first_object(figures, "server_tool_use_details", "server_tool_use")
    calls = as_object(figures.get("server_side_tool_usage_details"))
    names = ("web_search_calls", "x_search_calls", "file_search_calls", "document_search_calls")
    return largest(
        count_of(by_server.get("web_search_requests")),
        count_of(figures.get("num_search_queries")),
        total_of(*(count_of(calls.get(name)) for name in names)),
    )


def _counts(figures: JsonObject) -> _Counts:
    into, out_of = _first_object(figures, *_INPUT_DETAILS), _first_object(figures, *_OUTPUT_DETAILS)
    names = ("num_cached_tokens", "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    return _Counts(
        input=_first_count(figures, "prompt_tokens", "input_tokens"),
        output=_first_count(figures, "completion_tokens", "output_tokens"),
        total=count_of(figures.get("total_tokens")),
        cached=largest(count_of(into.get("cached_tokens")), *(count_of(figures.get(name)) for name in names)),
        reasoning=largest(count_of(out_of.get("reasoning_tokens")), count_of(figures.get("reasoning_tokens"))),
    )


def _input(counts: _Counts) -> tuple[int | None, tuple[str, ...]]:
    if counts.input is not None and counts.cached is not None and counts.cached > counts.input:
        return counts.input + counts.cached, ("cached_outside_input",)
    return counts.input, ()


def _output(counts: _Counts, model: str) -> tuple[int | None, tuple[str, ...]]:
    output, reasoning = counts.output, counts.reasoning or 0
    if output is None or counts.total is None:
        return output, ()
    unexplained = counts.total - output - (counts.input or 0)
    if reasoning and unexplained == reasoning:
        return output + reasoning, ("reasoning_outside_output",)
    if unexplained > 0 and not reasoning and _is_gemini(model):
        return output + unexplained, ("output_from_total",)
    flags = ("reasoning_exceeds_output",) if reasoning > output else ()
    if unexplained > 0:
        flags = (*flags, "tokens_outside_totals")
    return output, flags


def _is_gemini(model: str) -> bool:
    return model.rpartition("/")[2].startswith("gemini")


def _cache_writes(figures: JsonObject, into: JsonObject) -> int | None:
    return largest(
        count_of(into.get("cache_write_tokens")),
        count_of(into.get("cache_creation_input_tokens")),
        count_of(figures.get("cache_creation_input_tokens")),
    )


def _part(value: object, *, of: int | None) -> int | None:
    """A part's count, unless it is larger than its whole: then it stands outside (Voxtral) and is no part."""
    count = count_of(value)
    return None if count is not None and count > (of or 0) else count


def _cost(figures: JsonObject) -> tuple[Decimal | None, tuple[str, ...]]:
    """US dollars as the provider reports them.

    OpenRouter's ``cost`` is what it charges; with the caller's own key (``is_byok``) that is the fee alone, and the
    upstream provider charges ``upstream_inference_cost`` beside it. Perplexity's is ``cost.total_cost``; xAI counts
    ticks of 10⁻¹⁰ dollars.
    """
    cost = figures.get("cost")
    if isinstance(cost, dict):
        is_dollars = cost.get("currency") in (None, "USD")
        return (amount_of(cost.get("total_cost")) if is_dollars else None), ()
    ticks = count_of(figures.get("cost_in_usd_ticks"))
    if ticks is not None:
        return Decimal(ticks) / _XAI_TICKS_PER_DOLLAR, ()
    fee = amount_of(cost if cost is not None else figures.get("estimated_cost"))  # the latter is DeepInfra's
    if figures.get("is_byok") is not True:
        return fee, ()
    upstream = amount_of(as_object(figures.get("cost_details")).get("upstream_inference_cost"))
    return (None if upstream is None else upstream + (fee or 0)), ("byok",)


def _first_object(figures: JsonObject, *names: str) -> JsonObject:
    for name in names:
        if found := as_object(figures.get(name)):
            return found
    return {}


def _first_count(figures: JsonObject, *names: str) -> int | None:
    for name in names:
        if (found := count_of(figures.get(name))) is not None:
            return found
    return None
