"""Text to speech by the character: OpenAI's wire and the many that say the same in other words.

The answer is sound, and mostly says nothing: the characters of the request are counted (Unicode code points). Some tell
what they bill, in a header or in a JSON answer; that wins. gpt-4o-mini-tts tells tokens in the last event of a stream.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, figures_text, largest, name_of, overlay
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import count_in, counted_only, in_pieces, laid_over, plain_facts
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_TEXTS = ("input", "text", "transcript", "Text", "ssml", "prompt", "script", "utterances", "inputs", "texts")
_HEADERS = ("dg-char-count", "x-amzn-requestcharacters", "x-character-count", "x-characters-used")
_MODELS = ("model", "model_id", "modelId", "Engine", "voice_engine", "model_name")
_DEEPEST = 6


def spoken_text(value: object, depth: int = _DEEPEST) -> str:
    """The text that is to be spoken: a string, or the texts of turns, lines and utterances in their order."""
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return "".join(spoken_text(item, depth - 1) for item in value)
    if depth and isinstance(value, dict):
        return next((spoken_text(value[name], depth - 1) for name in _TEXTS if value.get(name)), "")
    return ""


def speech_facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """The characters of the request, and its model."""
    text = spoken_text(request)
    facts = plain_facts(request, path_model, model_keys=_MODELS, counted=Usage(input_characters=len(text)))
    if not request:
        return plain_facts(request, path_model)
    return _with_text(facts, text)


def _with_text(facts: RequestFacts, text: str) -> RequestFacts:
    return replace(facts, input_text_characters=len(text), input_text_bytes=len(text.encode("utf-8", "surrogatepass")))


def _told(state: JsonObject) -> int | None:
    """Characters as the answer counts them: Speechify, Inworld, MiniMax, Fish and others."""
    usage, extra = as_object(state.get("usage")), as_object(state.get("extra_info"))
    return largest(
        count_in(state.get("billable_characters_count")),
        count_in(usage.get("processedCharactersCount")),
        count_in(usage.get("characters")),
        count_in(extra.get("usage_characters")),
        count_in(state.get("characters_used")),
        count_in(state.get("charactersUsed")),
        count_in(state.get("consumedCharacterCount")),
    )


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage"))
    found = usage_found(figures, model=None)
    told = _told(state)
    usage = laid_over(found.usage, Usage(input_characters=told))
    shown = figures or ({"characters": told} if told is not None else {})
    return Reading(
        usage=usage,
        model=name_of(state.get("model")),
        reported_cost=found.reported_cost,
        raw_usage=(figures_text(shown),) if shown else (),
    )


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    names = ("usage", "extra_info", "model", "error", "billable_characters_count", "characters_used", "charactersUsed",
             "consumedCharacterCount")  # fmt: skip
    kept: JsonObject = {}
    for carrier in (piece, as_object(piece.get("result")), *as_objects(piece.get("results"))):
        kept = overlay(kept, {name: carrier[name] for name in names if carrier.get(name) is not None})
    return overlay(state, kept)


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    """Characters by header, else by the request; where tokens are told, they are the measure."""
    if reading.is_error or reading.usage.output_tokens is not None:
        return reading
    told = largest(*(count_in(exchange.headers.get(name)) for name in _HEADERS))
    counted = Usage(input_characters=told) if told is not None else exchange.facts.counted
    return replace(
        reading,
        usage=laid_over(counted, reading.usage),
        model=reading.model or name_of(exchange.headers.get("dg-model-name")),
    )


SPEECH = WireFormat(
    name="speech",
    version=1,
    facts_of=speech_facts,
    interpreter_for=in_pieces(_read, _step),
    fault_body=openai_fault,
    completed=_completed,
    estimated=counted_only,
    shape=Shape(has_media=True, has_objects=True),
)
