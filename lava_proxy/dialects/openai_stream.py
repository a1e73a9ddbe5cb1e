"""Reading answers of OpenAI's chat and completions wire, plain and streamed, of OpenAI and all compatible providers.

A stream's events are searched as bytes; parsed are the first few (model, id), the first and the last with a usage that
is not null, and those with an error. Usage is cumulative where it comes on several events (Perplexity, xAI, Groq,
Databricks): the last one is laid over the first, nothing is added.
"""

import re
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

from lava_proxy.core.usage import Reading
from lava_proxy.dialects.json_text import JsonObject, amount_of, as_object, as_objects, figures_text, name_of, overlay
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.sse import objects_of
from lava_proxy.dialects.text_count import TextCounter, text_pattern, texts_in
from lava_proxy.dialects.tiers import tier_of

_TEXT_KEYS = ("content", "reasoning_content", "reasoning", "refusal", "arguments", "name", "text", "thinking")
_TWICE_TOLD = r'message"\s*+:\s*+\{(?:[^{}"]++|"(?:[^"\\]++|\\.)*+")*+\}|reasoning_details"\s*+:\s*+\[(?:[^\]"]++|"(?:[^"\\]++|\\.)*+")*+\]'
"""Perplexity repeats the whole message in every event, OpenRouter the reasoning as details."""
_TEXT = text_pattern(_TEXT_KEYS, skip=_TWICE_TOLD)
_USAGE = re.compile(rb'"usage"\s*+:\s*+\{')
_HEADS = 4
"""How many events are parsed for a model's name; Azure's first has an empty one."""


@dataclass(slots=True)
class ChatAnswer:
    """What was found of one answer. Interpreter of the chat and completions wire."""

    model: str | None = None
    response_id: str | None = None
    service_tier: object = None
    heads_left: int = _HEADS
    first_usage: bytes = b""
    last_usage: bytes = b""
    whole: JsonObject | None = None
    is_done: bool = False
    is_error: bool = False
    text: TextCounter = field(default_factory=TextCounter)

    def copy(self) -> Self:
        twin = copy(self)
        twin.text = copy(self.text)
        return twin

    def events(self, events: list[bytes]) -> None:
        if self.heads_left:
            self._read_heads(events)
        block = b"\n\n".join(events)
        self._find_usage(block)
        if b'"error"' in block:
            self.is_error = self.is_error or any(map(_is_error_event, events))
        if b"[DONE]" in block:
            self.is_done = self.is_done or any(
                event.endswith((b"[DONE]", b"[DONE]\n", b"[DONE]\r\n")) for event in events
            )
        self.text.add_literals([literal for literal in _TEXT.findall(block) if literal])

    def element(self, element: JsonObject) -> None:
        if self.whole is None:
            self.document(element)

    def array_end(self) -> None:
        """This wire streams no arrays."""

    def document(self, document: JsonObject) -> None:
        self.whole = document
        self.is_done = True
        self.is_error = document.get("error") is not None
        self._take_names(document)
        for text in texts_in(document.get("choices"), _TEXT_KEYS, skip=("reasoning_details", "logprobs")):
            self.text.add(text)

    def fragment(self, text: bytes) -> None:
        self.text.add_literals([literal for literal in _TEXT.findall(text) if literal])

    def reading(self) -> Reading:
        carriers = self._usage_carriers()
        for carrier in carriers:
            self._take_names(carrier)
        usages = [usage_in(carrier) for carrier in carriers]
        figures = overlay(usages[0], usages[-1]) if len(usages) > 1 else usages[0] if usages else {}
        found = usage_found(figures, model=self.model)
        return Reading(
            usage=found.usage,
            model=self.model,
            response_id=self.response_id,
            service_tier=tier_of(self.service_tier, figures.get("service_tier")),
            reported_cost=found.reported_cost if found.reported_cost is not None else _cost_beside(carriers),
            raw_usage=tuple(dict.fromkeys(figures_text(usage) for usage in usages if usage)),
            output_text_characters=self.text.characters,
            output_text_bytes=self.text.utf8_bytes,
            is_complete=self.is_done or any(map(_is_last, carriers[-1:])),
            is_error=self.is_error,
            flags=found.flags,
        )

    def _read_heads(self, events: list[bytes]) -> None:
        for event in events:
            for head in objects_of(event):
                self._take_names(head)
                self.heads_left -= 1
            if self.heads_left <= 0 or self.model:
                self.heads_left = 0
                return

    def _take_names(self, head: JsonObject) -> None:
        self.model = self.model or name_of(head.get("model"))
        self.response_id = self.response_id or name_of(head.get("id"))
        self.service_tier = head.get("service_tier") or self.service_tier

    def _find_usage(self, block: bytes) -> None:
        """Keep the first and the last event whose own usage is not null."""
        matches = list(_USAGE.finditer(block))
        if matches and not self.first_usage:
            self.first_usage = _first_carrier(block, matches)
        self.last_usage = _first_carrier(block, reversed(matches)) or self.last_usage

    def _usage_carriers(self) -> list[JsonObject]:
        if self.whole is not None:
            return [self.whole]
        events = [self.first_usage, self.last_usage] if self.first_usage != self.last_usage else [self.last_usage]
        return [carrier for event in events if event for carrier in objects_of(event) if usage_in(carrier)]


def usage_in(carrier: JsonObject) -> JsonObject:
    """The usage object of an answer or event: its own, Groq's, or (Kimi's older form) that of a choice."""
    own = as_object(carrier.get("usage"))
    if own:
        return own
    of_groq = as_object(as_object(carrier.get("x_groq")).get("usage"))
    if of_groq:
        return of_groq
    of_choices = (as_object(choice.get("usage")) for choice in as_objects(carrier.get("choices")))
    return next((usage for usage in of_choices if usage), {})


def _cost_beside(carriers: list[JsonObject]) -> Decimal | None:
    """Dollars that stand beside the usage, not in it (Eden AI)."""
    return amount_of(carriers[-1].get("cost")) if carriers else None


def _first_carrier(block: bytes, matches: Iterable["re.Match[bytes]"]) -> bytes:
    """The first of the matched events that has usage of its own, not only somewhere inside."""
    events = (_event_around(block, match.start()) for match in matches)
    return next((event for event in events if any(map(usage_in, objects_of(event)))), b"")


def _event_around(block: bytes, position: int) -> bytes:
    """The event of ``block``, events joined by empty lines, in which ``position`` lies."""
    start = block.rfind(b"\n\n", 0, position)
    end = block.find(b"\n\n", position)
    return block[start + 2 if start >= 0 else 0 : end if end >= 0 else len(block)]


def _is_last(carrier: JsonObject) -> bool:
    """Whether an event with usage ends the answer: no choices, or all of them finished. (Not all send ``[DONE]``.)"""
    choices = carrier.get("choices")
    return isinstance(choices, list) and all(choice.get("finish_reason") for choice in as_objects(choices))


def _is_error_event(event: bytes) -> bool:
    return b'"error"' in event and any(found.get("error") is not None for found in objects_of(event))
