"""Reading answers of OpenAI's responses wire.

A stream's terminal event carries the whole response with its usage; of the events before it only the first (model, id),
finished searches and the deltas' text matter. Usage is null while a response is queued or in the background: then the
answer is only a receipt (``is_pending``). Azure answers some models' responses in chat's shape: then chat's interpreter
reads them.
"""

import re
from copy import copy
from dataclasses import dataclass, field
from typing import Self

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, Usage
from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, count_of, figures_text, name_of
from lava_proxy.dialects.openai_stream import ChatAnswer
from lava_proxy.dialects.openai_usage import usage_found
from lava_proxy.dialects.sse import objects_of
from lava_proxy.dialects.text_count import TextCounter, text_pattern, texts_in
from lava_proxy.dialects.tiers import tier_of

_TEXT = text_pattern(("delta",))
_TEXT_KEYS = ("text", "refusal", "arguments", "name", "input", "code")
_TERMINAL = re.compile(rb'"type"\s*+:\s*+"response\.(?:completed|incomplete|failed|cancelled|done)"')
_TERMINAL_TYPES = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done"}
)
_UNENDED = frozenset({"queued", "in_progress"})
_SEARCH_CALLS = frozenset({"web_search_call", "file_search_call"})
_CHARGED_CALLS = frozenset({"code_interpreter_call", "image_generation_call", "shell_call"})


@dataclass(slots=True)
class ResponsesAnswer:
    """What was found of one answer. Interpreter of the responses wire."""

    head: JsonObject | None = None
    response: JsonObject | None = None
    searches: int = 0
    is_error: bool = False
    text: TextCounter = field(default_factory=TextCounter)
    as_chat: ChatAnswer | None = None

    def copy(self) -> Self:
        twin = copy(self)
        twin.text = copy(self.text)
        twin.as_chat = None if self.as_chat is None else self.as_chat.copy()
        return twin

    def events(self, events: list[bytes]) -> None:
        if self.head is None and self.as_chat is None:
            events = self._read_head(events)
        if self.as_chat is not None:
            self.as_chat.events(events)
            return
        block = b"\n\n".join(events)
        if b"_search_call" in block:
            self.searches += sum(map(_finished_searches, events))
        if b'"error"' in block:
            self.is_error = self.is_error or any(map(_is_error_event, events))
        if _TERMINAL.search(block):
            self._read_terminal(events)
        self.text.add_literals(_TEXT.findall(block))

    def element(self, element: JsonObject) -> None:
        if self.response is None:
            self.document(element)

    def array_end(self) -> None:
        """This wire streams no arrays."""

    def document(self, document: JsonObject) -> None:
        if "choices" in document:
            self.as_chat = ChatAnswer()
            self.as_chat.document(document)
            return
        self.response = document
        self.is_error = document.get("error") is not None
        for item in as_objects(document.get("output")):
            for text in texts_in(item, _TEXT_KEYS):
                self.text.add(text)

    def fragment(self, text: bytes) -> None:
        """Half a document repeats the request's instructions as well: its text is not counted."""

    def reading(self) -> Reading:
        if self.as_chat is not None:
            return self.as_chat.reading()
        response = self.response or {}
        head = self.head or {}
        figures = as_object(response.get("usage"))
        model = name_of(response.get("model")) or name_of(head.get("model"))
        found = usage_found(figures, model=model)
        return Reading(
            usage=_with_searches(found.usage, self._searches(response)),
            model=model,
            response_id=name_of(response.get("id")) or name_of(head.get("id")),
            service_tier=tier_of(response.get("service_tier")),
            reported_cost=found.reported_cost,
            raw_usage=tuple(figures_text(part) for part in (figures, as_object(response.get("tool_usage"))) if part),
            output_text_characters=self.text.characters,
            output_text_bytes=self.text.utf8_bytes,
            is_complete=self.response is not None and name_of(response.get("status")) not in _UNENDED,
            is_error=self.is_error or response.get("error") is not None,
            is_pending=_is_pending(self.response, head),
            flags=(*found.flags, *_tool_flags(response)),
        )

    def _read_head(self, events: list[bytes]) -> list[bytes]:
        """Take the response as it was created; or find that the stream is in chat's shape."""
        for event in events:
            for found in objects_of(event):
                if "choices" in found:
                    self.as_chat = ChatAnswer()
                else:
                    self.head = as_object(found.get("response"))
                return events
        return events

    def _read_terminal(self, events: list[bytes]) -> None:
        for event in events:
            if _TERMINAL.search(event):
                for found in objects_of(event):
                    if found.get("type") in _TERMINAL_TYPES:
                        self.response = as_object(found.get("response"))

    def _searches(self, response: JsonObject) -> int | None:
        """As the response counts them itself, else its search calls, else (cut off) those that were seen to finish."""
        told = count_of(as_object(as_object(response.get("tool_usage")).get("web_search")).get("num_requests"))
        listed = sum(map(_is_charged_search, as_objects(response.get("output")))) if response else self.searches
        return max(told or 0, listed) or told


def _is_pending(response: JsonObject | None, head: JsonObject) -> bool:
    """Whether the provider works on in the background, whoever listens: a receipt, or a stream that was left early."""
    if response is not None:
        return name_of(response.get("status")) in _UNENDED
    return head.get("background") is True


def _is_charged_search(item: JsonObject) -> bool:
    """A search call; opening a page or finding text in it is one too, but not a search."""
    return item.get("type") in _SEARCH_CALLS and as_object(item.get("action")).get("type", "search") == "search"


def _finished_searches(event: bytes) -> int:
    if b"_search_call" not in event or b"output_item.done" not in event:
        return 0
    items = [
        as_object(found.get("item")) for found in objects_of(event) if found.get("type") == "response.output_item.done"
    ]
    return sum(map(_is_charged_search, items))


def _with_searches(usage: Usage, searches: int | None) -> Usage:
    return usage if usage.searches or searches is None else replace(usage, searches=searches)


def _tool_flags(response: JsonObject) -> tuple[str, ...]:
    """``tool_use_outside_totals``: the response used tools that cost more than the tokens of ``usage``."""
    images = as_object(as_object(response.get("tool_usage")).get("image_gen"))
    has_charged_call = any(item.get("type") in _CHARGED_CALLS for item in as_objects(response.get("output")))
    return ("tool_use_outside_totals",) if has_charged_call or count_of(images.get("total_tokens")) else ()


def _is_error_event(event: bytes) -> bool:
    return b'"error"' in event and any(found.get("type") == "error" for found in objects_of(event))
