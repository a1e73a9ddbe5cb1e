"""An interpreter for wires whose pieces are few or small: each is parsed, and folded into one object.

A wire names how a piece is laid on those before it (``step``) and what the whole says (``read``). The same two functions
serve a document, the events of a stream, the objects of an NDJSON body and AWS' events.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Self

from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, UNITS, Reading, RequestFacts, Usage
from lava_proxy.dialects.estimating import estimated_usage
from lava_proxy.dialects.json_text import JsonObject, amount_of, count_of, name_of, overlay
from lava_proxy.dialects.request_size import Size
from lava_proxy.dialects.sse import objects_of
from lava_proxy.dialects.text_count import TextCounter, texts_in

Step = Callable[[JsonObject, JsonObject], JsonObject]
Read = Callable[[JsonObject], Reading]


def last_piece(_: JsonObject, piece: JsonObject) -> JsonObject:
    """The last piece counts alone."""
    return piece


@dataclass(slots=True)
class PiecesAnswer:
    """What was found of one answer. ``read`` gets the fold of all pieces; it must not change it."""

    read: Read
    step: Step = last_piece
    text_keys: tuple[str, ...] = ()
    state: JsonObject = field(default_factory=dict)
    is_whole: bool = False
    text: TextCounter = field(default_factory=TextCounter)

    def copy(self) -> Self:
        twin = copy(self)
        twin.text = copy(self.text)
        return twin

    def events(self, events: list[bytes]) -> None:
        for event in events:
            for piece in objects_of(event):
                self._take(piece)

    def element(self, element: JsonObject) -> None:
        self._take(element)

    def array_end(self) -> None:
        self.is_whole = True

    def document(self, document: JsonObject) -> None:
        self._take(document)
        self.is_whole = True

    def fragment(self, text: bytes) -> None:
        """Half a document says nothing."""

    def reading(self) -> Reading:
        found = self.read(self.state)
        return replace(
            found,
            output_text_characters=self.text.characters,
            output_text_bytes=self.text.utf8_bytes,
            is_complete=found.is_complete or self.is_whole or not found.usage.is_empty(),
            is_error=found.is_error or self.state.get("error") not in (None, "", [], {}),
        )

    def _take(self, piece: JsonObject) -> None:
        self.state = self.step(self.state, piece)
        if self.text_keys:
            for text in texts_in(piece, self.text_keys):
                self.text.add(text)


def in_pieces(read: Read, step: Step = last_piece, text_keys: tuple[str, ...] = ()) -> Callable[[], PiecesAnswer]:
    """For ``WireFormat.interpreter_for``."""
    return partial(PiecesAnswer, read=read, step=step, text_keys=text_keys)


def keep(names: tuple[str, ...]) -> Step:
    """Of each piece only the members ``names`` are kept, laid over those before."""

    def step(state: JsonObject, piece: JsonObject) -> JsonObject:
        return overlay(state, {name: piece[name] for name in names if piece.get(name) is not None})

    return step


def laid_over(below: Usage, above: Usage) -> Usage:
    """``above`` where it tells, else ``below``."""
    if below is NO_USAGE:
        return above
    told = {name: value for name in UNITS if (value := getattr(above, name)) is not None}
    return replace(below, **told) if told else below


def added(one: Usage, other: Usage) -> Usage:
    """The sum by unit; what neither tells stays untold."""
    sums: dict[str, Any] = {}
    for name in UNITS:
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine is not None or theirs is not None:
            sums[name] = (mine or 0) + (theirs or 0)
    return Usage(**sums)


def counted_only(facts: RequestFacts, reading: Reading) -> Usage:
    """The estimate of wires without tokens: what the request tells of itself, where the answer is silent."""
    return laid_over(facts.counted, reading.usage)


def estimated_if_silent(facts: RequestFacts, reading: Reading) -> Usage:
    """The estimate of wires that count one call in tokens and another in pictures, searches or seconds: all or nothing."""
    if not reading.usage.is_empty():
        return reading.usage
    return facts.counted if not facts.counted.is_empty() else estimated_usage(facts, reading)


def amount_in(value: object) -> Decimal | None:
    """A quantity as a number or, as some write it, as text."""
    if isinstance(value, str) and len(value) < 40:
        try:
            value = Decimal(value)
        except InvalidOperation:
            return None
    return amount_of(value)


def count_in(value: object) -> int | None:
    """A count as a number or as text, a fraction rounded up."""
    return count_of(amount_in(value)) if isinstance(value, str) else count_of(value)


def length_of(value: object) -> int | None:
    """How many are in a list; ``None`` where it is none."""
    return len(value) if isinstance(value, list) else None


def plain_facts(
    request: JsonObject,
    path_model: str | None,
    names: tuple[str, ...] = (),
    *,
    model_keys: tuple[str, ...] = ("model",),
    counted: Usage = NO_USAGE,
    output_limit: int | None = None,
    has_output: bool = False,
    is_stream: bool = False,
    choices: int = 1,
) -> RequestFacts:
    """Facts of a request whose input is the members ``names``."""
    size = Size.of(request, names)
    named = (name_of(request.get(key)) for key in model_keys)
    return RequestFacts(
        model=next(filter(None, named), None) or path_model,
        is_stream=is_stream or request.get("stream") is True,
        input_text_characters=size.characters,
        input_text_bytes=size.utf8_bytes,
        input_other_tokens=size.other_tokens,
        output_limit=output_limit,
        choices=choices,
        has_output=has_output,
        end_user=name_of(request.get("user")),
        service_tier=name_of(request.get("service_tier")),
        counted=counted,
    )
