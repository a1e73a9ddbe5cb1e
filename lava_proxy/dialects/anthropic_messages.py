"""Anthropic's messages wire: Anthropic itself, and the providers that answer in its shape.

``input_tokens`` there excludes cache reads and writes; our total includes them. A stream gives its input in the *first*
event (``message_start``) with a provisional output, and cumulative figures in ``message_delta``, which may leave fields
out: each is laid over what came before. Cumulative counts only grow, so a zero covers no count (gateways send them);
the output is believed from ``message_delta`` on. ``usage.iterations`` (compaction, advisors) stays out of the totals
and is flagged ``iterations_outside_totals``.
"""

import re
from copy import copy
from dataclasses import dataclass, field
from typing import Self

from lava_proxy.core.usage import Reading, RequestFacts, Usage
from lava_proxy.dialects.faults import anthropic_fault
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
from lava_proxy.dialects.request_size import TOOL_USE_TOKENS, Size
from lava_proxy.dialects.sse import objects_of
from lava_proxy.dialects.text_count import TextCounter, text_pattern, texts_in
from lava_proxy.dialects.tiers import tier_of
from lava_proxy.dialects.wire_format import WireFormat

_TEXT = text_pattern(("text", "thinking", "partial_json", "name"))
_TEXT_KEYS = ("text", "thinking", "input", "name")
_MARKED = re.compile(rb'"type"\s*+:\s*+"(?:message_start|message_delta|message_stop|error)"')


@dataclass(slots=True)
class MessagesAnswer:
    """What was found of one answer. Interpreter of the messages wire."""

    message: JsonObject = field(default_factory=dict)
    usage: JsonObject = field(default_factory=dict)
    first_usage: JsonObject = field(default_factory=dict)
    last_usage: JsonObject = field(default_factory=dict)
    has_final_output: bool = False
    is_stopped: bool = False
    is_error: bool = False
    text: TextCounter = field(default_factory=TextCounter)

    def copy(self) -> Self:
        twin = copy(self)
        twin.text = copy(self.text)
        return twin

    def events(self, events: list[bytes]) -> None:
        block = b"\n\n".join(events)
        if _MARKED.search(block):
            for event in events:
                if _MARKED.search(event):
                    for found in objects_of(event):
                        self.take(found)
        self.text.add_literals(_TEXT.findall(block))

    def element(self, element: JsonObject) -> None:
        if not self.message:
            self.document(element)

    def array_end(self) -> None:
        """This wire streams no arrays."""

    def document(self, document: JsonObject) -> None:
        self._take_message(document)
        for text in texts_in(document.get("content"), _TEXT_KEYS):
            self.text.add(text)

    def fragment(self, text: bytes) -> None:
        self.text.add_literals(_TEXT.findall(text))

    def reading(self) -> Reading:
        usage = messages_usage(self.usage, has_output=self.has_final_output or self.is_stopped)
        iterations = as_objects(self.usage.get("iterations"))
        raw = (figures_text(part) for part in (self.first_usage, self.last_usage) if part)
        return Reading(
            usage=usage,
            model=name_of(self.message.get("model")),
            response_id=name_of(self.message.get("id")),
            service_tier=tier_of(self.usage.get("speed"), self.usage.get("service_tier")),
            raw_usage=tuple(dict.fromkeys(raw)),
            output_text_characters=self.text.characters,
            output_text_bytes=self.text.utf8_bytes,
            is_complete=self.is_stopped,
            is_error=self.is_error,
            flags=("iterations_outside_totals",) if any(map(_is_outside, iterations)) else (),
        )

    def take(self, event: JsonObject) -> None:
        """An event, or a whole message, already parsed."""
        kind = event.get("type")
        if kind == "message":
            self._take_message(event)
        elif kind == "message_start":
            message = as_object(event.get("message"))
            self.message = {key: message.get(key) for key in ("id", "model")}
            self._take_usage(message.get("usage"), is_final=False)
        elif kind == "message_delta":
            self._take_usage(event.get("usage"), is_final=True)
        elif kind == "message_stop":
            self.is_stopped = True
        elif kind == "error":
            self.is_error = True

    def _take_message(self, message: JsonObject) -> None:
        self.message = message
        self._take_usage(message.get("usage"), is_final=True)
        self.is_stopped = True
        self.is_error = message.get("type") == "error" or message.get("error") is not None

    def _take_usage(self, value: object, *, is_final: bool) -> None:
        usage = as_object(value)
        if not usage:
            return
        if is_final and count_of(usage.get("output_tokens")) is not None:
            self.has_final_output = True
            self.usage = {key: item for key, item in self.usage.items() if key != "output_tokens"}
        self.usage = overlay(self.usage, _without_zeros(usage, over=self.usage))
        self.first_usage = self.first_usage or usage
        self.last_usage = usage


def _without_zeros(usage: JsonObject, *, over: JsonObject) -> JsonObject:
    """``usage`` less the zeros that would cover a count."""
    return {key: value for key, value in usage.items() if value != 0 or isinstance(value, bool) or not over.get(key)}


def messages_usage(figures: JsonObject, *, has_output: bool = True) -> Usage:
    """The usage object of the messages wire; ``has_output``: its output is no provisional one."""
    creation = as_object(figures.get("cache_creation"))
    writes_1h = count_of(creation.get("ephemeral_1h_input_tokens"))
    writes = count_of(figures.get("cache_creation_input_tokens"))
    if writes is None:
        writes = total_of(count_of(creation.get("ephemeral_5m_input_tokens")), writes_1h)
    reads = count_of(figures.get("cache_read_input_tokens"))
    fresh = count_of(figures.get("input_tokens"))
    return Usage(
        input_tokens=total_of(fresh, reads, writes),
        cached_input_tokens=reads,
        cache_write_tokens=writes,
        cache_write_1h_tokens=writes_1h,
        output_tokens=count_of(figures.get("output_tokens")) if has_output else None,
        reasoning_tokens=count_of(as_object(figures.get("output_tokens_details")).get("thinking_tokens")),
        searches=count_of(as_object(figures.get("server_tool_use")).get("web_search_requests")),
    )


def _is_outside(iteration: JsonObject) -> bool:
    return iteration.get("type") != "message"


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    """Facts of a messages request: the system prompt, messages and tools are the input."""
    names = ("system", "messages", "tools", "output_config", "output_format", "mcp_servers")
    size = Size.of(request, names, tool_tokens=TOOL_USE_TOKENS)
    return RequestFacts(
        model=name_of(request.get("model")) or path_model,
        is_stream=request.get("stream") is True,
        input_text_characters=size.characters,
        input_text_bytes=size.utf8_bytes,
        input_other_tokens=size.other_tokens,
        output_limit=count_of(request.get("max_tokens")),
        end_user=name_of(as_object(request.get("metadata")).get("user_id")),
        service_tier=name_of(request.get("service_tier")),
    )


ANTHROPIC_MESSAGES = WireFormat(
    name="anthropic_messages",
    version=1,
    facts_of=_facts,
    interpreter_for=MessagesAnswer,
    fault_body=anthropic_fault,
)
