"""Gemini's generateContent and streamGenerateContent, of the Gemini API and of Vertex AI.

A stream comes as events (``alt=sse``) or as one JSON array in pieces; each piece is an answer of its own with the
cumulative ``usageMetadata`` so far. Its keys are merged one by one, and a zero covers no count, for a later piece may
leave out what an earlier one had. ``thoughtsTokenCount`` stands beside ``candidatesTokenCount`` and
``toolUsePromptTokenCount`` beside ``promptTokenCount``: our totals include both. Vertex may write enums as integers.
"""

from copy import copy
from dataclasses import dataclass, field
from typing import Self

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import google_fault
from lava_proxy.dialects.json_text import (
    JsonObject,
    as_object,
    as_objects,
    count_of,
    figures_text,
    name_of,
    overlay,
    total_of,
)
from lava_proxy.dialects.request_size import Size
from lava_proxy.dialects.sse import objects_of
from lava_proxy.dialects.text_count import TextCounter, text_pattern, texts_in
from lava_proxy.dialects.tiers import STANDARD, tier_of
from lava_proxy.dialects.wire_format import WireFormat

_TEXT_KEYS = ("text", "args", "name", "code", "output")
_TEXT = text_pattern(("text",))
_MODALITIES = {0: "TEXT", 1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}
"""google.cloud.aiplatform.v1.Modality, for ``$alt=json;enum-encoding=int``."""
_TRAFFIC_TIERS: dict[object, str | None] = {
    None: None,
    0: None,
    1: STANDARD,
    2: "provisioned_throughput",
    "TRAFFIC_TYPE_UNSPECIFIED": None,
    "ON_DEMAND": STANDARD,
    "PROVISIONED_THROUGHPUT": "provisioned_throughput",
}
_NO_REASON = (None, "", 0, "FINISH_REASON_UNSPECIFIED")


@dataclass(slots=True)
class GeminiAnswer:
    """What was found of one answer. Interpreter of Gemini's wire."""

    usage: JsonObject = field(default_factory=dict)
    first_usage: JsonObject = field(default_factory=dict)
    last_usage: JsonObject = field(default_factory=dict)
    model: str | None = None
    response_id: str | None = None
    searches: int | None = None
    is_finished: bool = False
    is_error: bool = False
    text: TextCounter = field(default_factory=TextCounter)

    def copy(self) -> Self:
        twin = copy(self)
        twin.text = copy(self.text)
        return twin

    def events(self, events: list[bytes]) -> None:
        for event in events:
            for found in objects_of(event):
                self._take(found)

    def element(self, element: JsonObject) -> None:
        self._take(element)

    def array_end(self) -> None:
        self.is_finished = True

    def document(self, document: JsonObject) -> None:
        self._take(document)
        self.is_finished = True

    def fragment(self, text: bytes) -> None:
        self.text.add_literals(_TEXT.findall(text))

    def reading(self) -> Reading:
        raw = (figures_text(part) for part in (self.first_usage, self.last_usage) if part)
        tier, flags = _tier_of(self.usage)
        return Reading(
            usage=gemini_usage(self.usage, searches=self.searches),
            model=self.model,
            response_id=self.response_id,
            service_tier=tier,
            raw_usage=tuple(dict.fromkeys(raw)),
            output_text_characters=self.text.characters,
            output_text_bytes=self.text.utf8_bytes,
            is_complete=self.is_finished,
            is_error=self.is_error,
            flags=flags,
        )

    def _take(self, piece: JsonObject) -> None:
        if "response" in piece and "candidates" not in piece:
            piece = as_object(piece["response"])
        usage = as_object(piece.get("usageMetadata"))
        if usage:
            kept = {key: value for key, value in usage.items() if value or not self.usage.get(key)}
            self.usage = overlay(self.usage, kept)
            self.first_usage = self.first_usage or usage
            self.last_usage = usage
        self.model = name_of(piece.get("modelVersion")) or self.model
        self.response_id = name_of(piece.get("responseId")) or self.response_id
        self.is_error = self.is_error or piece.get("error") is not None
        self._take_candidates(piece)

    def _take_candidates(self, piece: JsonObject) -> None:
        queries: list[int] = []
        blocked = as_object(piece.get("promptFeedback")).get("blockReason") not in _NO_REASON
        self.is_finished = self.is_finished or blocked
        for candidate in as_objects(piece.get("candidates")):
            for text in texts_in(as_object(candidate.get("content")).get("parts"), _TEXT_KEYS):
                self.text.add(text)
            self.is_finished = self.is_finished or candidate.get("finishReason") not in _NO_REASON
            asked = as_object(candidate.get("groundingMetadata")).get("webSearchQueries")
            if isinstance(asked, list):
                queries.append(len(asked))
        if queries:
            self.searches = max(sum(queries), self.searches or 0)


def gemini_usage(figures: JsonObject, *, searches: int | None = None) -> Usage:
    """The ``usageMetadata`` of Gemini's answers."""
    into = _by_modality(figures, "promptTokensDetails", "toolUsePromptTokensDetails")
    cached = _by_modality(figures, "cacheTokensDetails")
    out_of = _by_modality(figures, "candidatesTokensDetails")
    return Usage(
        input_tokens=_sum(figures, "promptTokenCount", "toolUsePromptTokenCount"),
        cached_input_tokens=count_of(figures.get("cachedContentTokenCount")),
        input_audio_tokens=into.get("AUDIO"),
        cached_audio_tokens=cached.get("AUDIO"),
        input_image_tokens=into.get("IMAGE"),
        output_tokens=_sum(figures, "candidatesTokenCount", "thoughtsTokenCount"),
        reasoning_tokens=count_of(figures.get("thoughtsTokenCount")),
        output_audio_tokens=out_of.get("AUDIO"),
        output_image_tokens=out_of.get("IMAGE"),
        searches=searches,
    )


def _sum(figures: JsonObject, *names: str) -> int | None:
    return total_of(*(count_of(figures.get(name)) for name in names))


def _by_modality(figures: JsonObject, *names: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        for detail in as_objects(figures.get(name)):
            modality = detail.get("modality")
            known = _MODALITIES.get(modality, "") if isinstance(modality, int) else modality
            if isinstance(known, str):
                counts[known] = counts.get(known, 0) + (count_of(detail.get("tokenCount")) or 0)
    return counts


def _tier_of(figures: JsonObject) -> tuple[str | None, tuple[str, ...]]:
    """The tier by ``serviceTier`` or ``trafficType`` (``ON_DEMAND_FLEX`` → ``flex``); an unknown number is flagged."""
    named = tier_of(figures.get("serviceTier"))
    if named not in (None, STANDARD):
        return named, ()
    traffic = figures.get("trafficType")
    if isinstance(traffic, str | int | None) and traffic in _TRAFFIC_TIERS:
        return _TRAFFIC_TIERS[traffic] or named, ()
    if isinstance(traffic, str):
        return traffic.lower().removeprefix("on_demand_")[:80], ()
    return None, ("unknown_service_tier",)


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """Facts of a generateContent request."""
    names = ("contents", "systemInstruction", "system_instruction", "tools", "cachedContent")
    settings = as_object(request.get("generationConfig")) or as_object(request.get("generation_config"))
    size = Size.of(request, names)
    size.add(settings.get("responseSchema") or settings.get("responseJsonSchema"))
    limit = count_of(settings.get("maxOutputTokens"))
    return RequestFacts(
        model=(path_model or name_of(request.get("model")) or "").rpartition("/")[2].partition(":")[0] or None,
        is_stream=False,
        input_text_characters=size.characters,
        input_text_bytes=size.utf8_bytes,
        input_other_tokens=size.other_tokens,
        output_limit=limit if limit is not None else count_of(settings.get("max_output_tokens")),
        choices=max(count_of(settings.get("candidateCount")) or 1, 1),
        service_tier=name_of(request.get("serviceTier")),
    )


GEMINI_GENERATE = WireFormat(
    name="gemini_generate",
    version=1,
    facts_of=_facts,
    interpreter_for=GeminiAnswer,
    fault_body=google_fault,
    is_stream_by_op=True,
)
