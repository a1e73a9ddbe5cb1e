"""OpenAI's images: made, edited, varied; and those of the providers that answer alike.

gpt-image tells tokens, xAI and OpenRouter a cost, most others nothing: then pictures are counted, each of the size and
quality that the answer or else the request names (both stand with the raw usage). A stream ends each picture with an
event of its own; partial pictures are no pictures.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, as_object, count_of, figures_text, name_of
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import counted_only, in_pieces, laid_over, length_of, plain_facts
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_LISTS = ("data", "images", "artifacts", "output", "sample")
_ENDS = frozenset({"image_generation.completed", "image_edit.completed"})
_PARTIAL = "partial_image"
_LOOK = ("size", "quality", "background", "output_format", "resolution", "aspect_ratio", "width", "height", "steps")


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    kind = name_of(piece.get("type")) or ""
    if kind.endswith(_PARTIAL):
        return state
    if kind in _ENDS:
        return {**state, **_without_pictures(piece), "pictures": (count_of(state.get("pictures")) or 0) + 1}
    pictures = next((n for name in _LISTS if (n := length_of(piece.get(name))) is not None), None)
    return {**state, **_without_pictures(piece), "pictures": pictures}


def _without_pictures(piece: JsonObject) -> JsonObject:
    return {name: value for name, value in piece.items() if name not in _LISTS and name != "b64_json"}


def image_usage(figures: JsonObject, pictures: int | None, *, model: str | None) -> Reading:
    """Tokens as told, pictures as counted. Where the tokens are not split, those of the output are the picture's."""
    found = usage_found(figures, model=model)
    usage = replace(found.usage, images=pictures or None)
    if usage.images and usage.output_tokens and usage.output_image_tokens is None:
        usage = replace(usage, output_image_tokens=usage.output_tokens)
    return Reading(usage=usage, model=model, reported_cost=found.reported_cost, flags=found.flags)


def _read(state: JsonObject) -> Reading:
    figures = as_object(state.get("usage"))
    found = image_usage(figures, count_of(state.get("pictures")), model=name_of(state.get("model")))
    look = {name: state[name] for name in _LOOK if isinstance(state.get(name), str | int)}
    return replace(
        found,
        response_id=name_of(state.get("id")),
        raw_usage=tuple(figures_text(part) for part in (figures, look) if part),
        is_complete=count_of(state.get("pictures")) is not None,
    )


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    """A picture that came as its own bytes cannot be counted in them: then as many as were asked for."""
    is_picture = exchange.headers.get("content-type", "").startswith("image/")
    if not is_picture or reading.usage.images is not None:
        return reading
    return replace(reading, usage=laid_over(exchange.facts.counted, reading.usage), is_complete=True)


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    names = ("n", "num_images", "number_results", "num_outputs", "variants")
    asked = [count for name in names if (count := count_of(request.get(name)))]
    facts = plain_facts(request, path_model, ("prompt", "image", "images"), counted=Usage(images=max([1, *asked])))
    return replace(facts, has_output=(facts.model or "").startswith(("gpt-image", "chatgpt-image")))


OPENAI_IMAGES = WireFormat(
    name="openai_images",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step),
    fault_body=openai_fault,
    completed=_completed,
    estimated=counted_only,
    shape=Shape(has_media=True),
    takes_uploads=True,
)
