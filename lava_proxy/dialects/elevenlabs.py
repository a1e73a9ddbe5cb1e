"""ElevenLabs: speech, sound effects, music and transcription.

A streamed answer is sound alone: its headers are all there is. ``character-cost`` counts *credits* (half a credit a
character on Flash and Turbo), not characters; those are the request's. Transcription tells the words' times: a length
that is not told is measured on the uploaded file, else taken from the end of the last word (``seconds_from_words``).
"""

from decimal import Decimal

from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import plain_fault
from lava_proxy.dialects.framing import Shape
from lava_proxy.dialects.json_text import JsonObject, amount_of, as_object, as_objects, figures_text, name_of, overlay
from lava_proxy.dialects.pieces import amount_in, counted_only, in_pieces, laid_over, plain_facts
from lava_proxy.dialects.speech import spoken_text
from lava_proxy.dialects.wire_format import Exchange, WireFormat

_HEADERS = ("character-cost", "x-character-cost", "x-credits-consumed")
_DEFAULT_MODEL = "eleven_multilingual_v2"


def _step(state: JsonObject, piece: JsonObject) -> JsonObject:
    kept = {
        name: piece[name] for name in ("audio_duration_secs", "transcription_id", "error", "detail") if piece.get(name)
    }
    ends = [end for word in as_objects(piece.get("words")) if (end := amount_of(word.get("end"))) is not None]
    return overlay(state, {**kept, "last_word_end": max(ends)} if ends else kept)


def _read(state: JsonObject) -> Reading:
    told, heard = amount_in(state.get("audio_duration_secs")), amount_of(state.get("last_word_end"))
    seconds = heard if told is None else told
    return Reading(
        usage=NO_USAGE if seconds is None else Usage(input_seconds=seconds),
        response_id=name_of(state.get("transcription_id")),
        raw_usage=(figures_text({"seconds": seconds}),) if seconds is not None else (),
        is_error=as_object(state.get("detail")).get("status") is not None,
        flags=("seconds_from_words",) if told is None and heard is not None else (),
    )


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    credits = next((c for name in _HEADERS if (c := amount_in(exchange.headers.get(name))) is not None), None)
    counted = exchange.facts.counted
    if reading.is_error:
        return reading
    if counted.input_seconds is not None and "seconds_from_words" in reading.flags:
        reading = replace(reading, usage=counted, flags=("seconds_measured",))
    told = Usage(credits=credits) if credits is not None else NO_USAGE
    return replace(reading, usage=laid_over(laid_over(counted, told), reading.usage))


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    file = as_object(request.get("file"))
    seconds = file.get("seconds")
    text = spoken_text(request)
    counted = NO_USAGE
    if file:
        counted = Usage(input_seconds=seconds) if isinstance(seconds, Decimal) else NO_USAGE
    elif text:
        counted = Usage(input_characters=len(text))
    model = None if file or not text else _DEFAULT_MODEL
    facts = plain_facts(request, path_model or model, model_keys=("model_id",), counted=counted)
    return replace(facts, input_text_characters=len(text), input_text_bytes=len(text.encode("utf-8", "surrogatepass")))


ELEVENLABS = WireFormat(
    name="elevenlabs",
    version=1,
    facts_of=_facts,
    interpreter_for=in_pieces(_read, _step),
    fault_body=plain_fault,
    completed=_completed,
    estimated=counted_only,
    shape=Shape(has_media=True, has_objects=True),
    takes_uploads=True,
)
