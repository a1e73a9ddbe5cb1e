"""Vertex AI's predict and predictLongRunning: Imagen, Veo, Lyria and older embeddings.

An embedding tells its tokens in ``predictions[].embeddings.statistics``. Pictures are counted, less those that were
filtered; so are clips of music. Video is work that goes on after the answer: its seconds are those that were asked for.
"""

from decimal import Decimal

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import google_fault
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, count_of, figures_text, name_of, total_of
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, length_of, plain_facts
from lava_proxy.dialects.wire_format import WireFormat

_VEO_SECONDS = 8
"""The length where a request names none."""


def _read(state: JsonObject) -> Reading:
    predictions = list(as_objects(state.get("predictions")))
    statistics = [as_object(as_object(p.get("embeddings")).get("statistics")) for p in predictions]
    billable = count_of(as_object(state.get("metadata")).get("billableCharacterCount"))
    is_job = name_of(state.get("name")) is not None
    usage = Usage(
        input_tokens=total_of(*(count_of(found.get("token_count")) for found in statistics)),
        input_characters=billable,
        images=sum(map(_is_picture, predictions)) or None,
        requests=sum(map(_is_sound, predictions)) or None,
    )
    shown = {"token_count": usage.input_tokens, "billableCharacterCount": billable, "images": usage.images}
    told = {name: value for name, value in shown.items() if value is not None}
    return Reading(
        usage=usage,
        model=name_of(state.get("model")),
        response_id=name_of(state.get("name")),
        raw_usage=(figures_text(told),) if told else (),
        is_pending=is_job and state.get("done") is not True,
    )


def _is_picture(prediction: JsonObject) -> bool:
    if prediction.get("raiFilteredReason"):
        return False
    mime = name_of(prediction.get("mimeType")) or ""
    return mime.startswith("image/") or ("bytesBase64Encoded" in prediction and not _is_sound(prediction))


def _is_sound(prediction: JsonObject) -> bool:
    mime = name_of(prediction.get("mimeType")) or ""
    return "audioContent" in prediction or mime.startswith("audio/")


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    asked = as_object(request.get("parameters"))
    model = path_model or ""
    samples = max(count_of(asked.get("sampleCount")) or 1, 1)
    counted = NO_USAGE
    if "imagen" in model or "imagegeneration" in model:
        counted = Usage(images=samples)
    elif model.startswith("veo"):
        seconds = amount_in(asked.get("durationSeconds")) or Decimal(_VEO_SECONDS)
        counted = Usage(video_seconds=seconds * samples)
    elif model.startswith("lyria"):
        counted = Usage(requests=max(samples, length_of(request.get("instances")) or 1))
    return plain_facts(request, path_model, ("instances",) if counted is NO_USAGE else (), counted=counted)


GOOGLE_PREDICT = WireFormat(
    name="google_predict",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read),
    fault_body=google_fault,
    estimated=counted_only,
)
