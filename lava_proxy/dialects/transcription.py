"""Speech to text: OpenAI's transcriptions and translations, and those that tell a length in seconds.

OpenAI tells tokens, or a duration in whole seconds; ``verbose_json`` a duration alone; ``text``, ``srt`` and ``vtt``
nothing. Where the answer does not tell, the uploaded file is measured (``seconds_measured``); sound that is given by
its address is never seen. A job that is not done yet tells nothing, whatever stands in its answer.
"""

from decimal import Decimal

from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.json_text import (
    JsonObject,
    amount_of,
    as_object,
    as_objects,
    count_of,
    figures_text,
    name_of,
    overlay,
)
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, laid_over, plain_facts
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_DONE = frozenset({"completed", "complete", "done", "transcribed", "succeeded", "success", "finished", "ok"})
_KEPT = ("usage", "x_groq", "duration", "audio_duration", "audio_duration_ms", "audio_duration_secs", "duration_seconds",
         "durationMilliseconds", "metadata", "file", "result", "job", "status", "model", "id", "request_id", "error",
         "channels", "RecognitionStatus", "Duration", "Offset", "combinedPhrases", "language_code")  # fmt: skip
_TICKS_PER_SECOND = 10**7


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    kept = {name: piece[name] for name in _KEPT if piece.get(name) is not None}
    words = piece.get("words")
    ends = [end for word in as_objects(words) if (end := amount_of(word.get("end"))) is not None]
    if ends:
        kept["last_word_end"] = max(ends)
    return overlay(state, kept)


def _seconds(state: JsonObject) -> Decimal | None:
    """The length as told: by the usage first, for that is what is charged."""
    usage, result = as_object(state.get("usage")), as_object(state.get("result"))
    metadata = as_object(result.get("metadata")) or as_object(state.get("metadata"))
    channels = max(count_of(metadata.get("channels")) or 1, 1)
    told = amount_in(metadata.get("duration"))
    azure = [count_of(state.get(name)) for name in ("Offset", "Duration")]
    milliseconds = amount_in(state.get("audio_duration_ms")) or amount_in(state.get("durationMilliseconds"))
    candidates = (
        amount_in(usage.get("seconds")),
        amount_in(usage.get("prompt_audio_seconds")),
        amount_in(usage.get("duration")),
        None if told is None else told * channels,
        amount_in(metadata.get("billing_time")),
        amount_in(metadata.get("audio_duration")),
        amount_in(state.get("audio_duration")),
        amount_in(state.get("audio_duration_secs")),
        amount_in(state.get("duration_seconds")),
        amount_in(state.get("duration")),
        amount_in(as_object(state.get("job")).get("duration")),
        amount_in(as_object(state.get("file")).get("audio_duration")),
        None if milliseconds is None else milliseconds / 1000,
        Decimal(sum(part or 0 for part in azure)) / _TICKS_PER_SECOND if azure[1] is not None else None,
    )
    return next((seconds for seconds in candidates if seconds is not None), None)


def _read(state: JsonObject) -> Reading:
    status = (name_of(state.get("status")) or name_of(as_object(state.get("job")).get("status")) or "").lower()
    if status and status not in _DONE:
        return Reading(
            usage=NO_USAGE,
            response_id=name_of(state.get("id")),
            is_pending=True,
            is_error=status in ("error", "failed"),
        )
    figures = as_object(state.get("usage")) or as_object(as_object(state.get("x_groq")).get("usage"))
    model = name_of(state.get("model")) or _deepgram_model(as_object(state.get("metadata")))
    found = usage_found(figures, model=model)
    seconds = _seconds(state)
    usage = found.usage if seconds is None else laid_over(found.usage, Usage(input_seconds=seconds))
    shown = figures or ({"seconds": seconds} if seconds is not None else {})
    return Reading(
        usage=usage,
        model=model,
        response_id=name_of(state.get("id")) or name_of(as_object(state.get("metadata")).get("request_id")),
        reported_cost=found.reported_cost,
        raw_usage=(figures_text(shown),) if shown else (),
        flags=found.flags,
    )


def _deepgram_model(metadata: JsonObject) -> str | None:
    """Deepgram names its models by ids; the first one's name is the model."""
    models = as_object(metadata.get("model_info"))
    first = next((as_object(value) for value in models.values()), {})
    return name_of(first.get("name"))


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    measured = exchange.facts.counted
    if reading.is_pending or reading.is_error or not reading.usage.is_empty() or measured.is_empty():
        return reading
    return replace(reading, usage=measured, flags=(*reading.flags, "seconds_measured"))


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """The length of the file, where there is one; of sound in base64 nothing is known."""
    file = next(
        (as_object(request.get(name)) for name in ("file", "audio", "media", "data_file") if request.get(name)), {}
    )
    seconds = file.get("seconds")
    counted = Usage(input_seconds=seconds) if isinstance(seconds, Decimal) else NO_USAGE
    return plain_facts(
        request, path_model, ("prompt",), model_keys=("model", "model_id", "speech_model"), counted=counted
    )


TRANSCRIPTION = WireFormat(
    name="transcription",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step, ("text", "delta")),
    fault_body=openai_fault,
    completed=_completed,
    estimated=counted_only,
    takes_uploads=True,
)
