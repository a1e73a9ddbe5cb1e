"""The upper estimate of a call, before it is sent: how many units, and what they can cost.

Input tokens are taken as one for every two bytes of prompt text, and a fixed allowance for the frame around it: English
needs about four bytes a token, Chinese about three, so this is above what tokenizers make of real text. Output tokens are
the request's own limit times the answers asked for, else the setting ``assumed_output_tokens``.
"""

import json
from fractions import Fraction

from msgspec import Struct

from lava_proxy.core.admission import Quantities
from lava_proxy.core.money import round_up
from lava_proxy.core.pricing import PriceSheet, Unpriced, cost_ceiling, cost_of
from lava_proxy.core.rating import MICROS
from lava_proxy.core.usage import NO_USAGE, RequestFacts, Usage

_write = json.JSONEncoder(separators=(",", ":")).encode

BYTES_PER_TOKEN = 2
FRAME_TOKENS = 64
CHARACTERS_PER_TOKEN = 6
"""For meters by characters: no common tokenizer makes tokens of more characters than this on average."""
ASSUMED_SECONDS = 60
OUTPUT_TOKENS_MAX = 10**10
"""No model writes so many. Limits are strangers' numbers, and what is quoted must fit into the ledger's."""


class Quote(Struct, frozen=True, kw_only=True):
    """The most that a request is expected to consume and to cost. ``cost`` in exact nanos; ``None``: no price is known."""

    input_tokens: int
    output_tokens: int
    quantities: Quantities
    cost: Fraction | None
    counted: Usage = NO_USAGE
    """What the request told of itself in other units than tokens."""
    note: str
    """JSON for people: the tokens assumed, and the price's source."""

    def as_usage(self) -> Usage:
        """The quoted quantities as if they had been used: what a call is booked at when the policy says `hold`."""
        if self.counted.is_empty():
            return Usage(input_tokens=self.input_tokens, output_tokens=self.output_tokens)
        return self.counted

    @property
    def characters(self) -> int:
        """Characters of text, in and out, for a meter by characters."""
        return self.quantities.characters_micros // MICROS


def quote(facts: RequestFacts, sheet: PriceSheet | None, *, assumed_output_tokens: int) -> Quote:
    """Quote a request of these facts at these prices."""
    input_tokens = -(-facts.input_text_bytes // BYTES_PER_TOKEN) + FRAME_TOKENS + facts.input_other_tokens
    limit = facts.output_limit or assumed_output_tokens  # some take a limit of 0 for none
    output_tokens = min(limit * facts.choices, OUTPUT_TOKENS_MAX) if facts.has_output else 0
    cost = _cost(sheet, facts.counted, input_tokens=input_tokens, output_tokens=output_tokens) if sheet else None
    note: dict[str, int | str | None] = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    note["output_limit"] = facts.output_limit
    note["price_source"] = sheet.source if sheet else None
    characters = facts.counted.input_characters or facts.input_text_characters
    seconds = sum(
        (facts.counted.input_seconds or 0, facts.counted.output_seconds or 0, facts.counted.video_seconds or 0)
    )
    return Quote(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        counted=facts.counted,
        quantities=Quantities(
            tokens_micros=(input_tokens + output_tokens) * MICROS,
            characters_micros=(characters + output_tokens * CHARACTERS_PER_TOKEN) * MICROS,
            seconds_micros=max(round_up(Fraction(seconds) * MICROS), ASSUMED_SECONDS * MICROS),
            input_tokens_micros=input_tokens * MICROS,
            images_micros=(facts.counted.images or facts.choices) * MICROS,
            searches_micros=max((facts.counted.searches or 0) * MICROS, 5 * MICROS),
            pages_micros=max((facts.counted.pages or 0) * MICROS, 20 * MICROS),
        ),
        cost=cost,
        note=_write(note),
    )


def _cost(sheet: PriceSheet, counted: Usage, *, input_tokens: int, output_tokens: int) -> Fraction | None:
    """The most that the tokens can cost, and what the units cost that the request counts itself; of both what is priced."""
    ceiling = cost_ceiling(sheet, input_tokens=input_tokens, output_tokens=output_tokens)
    tokens = None if isinstance(ceiling, Unpriced) else ceiling
    if counted.is_empty():
        return tokens
    units = cost_of(sheet, counted)
    if isinstance(units, Unpriced):
        return tokens
    return units.exact_nanos + (tokens or 0)
