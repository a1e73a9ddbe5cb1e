"""The upper estimate of a call, before it is sent: how many units, and what they can cost.

Input tokens are taken as one for every two bytes of prompt text, and a fixed allowance for the frame around it: English
needs about four bytes a token, Chinese about three, so this is above what tokenizers make of real text. Output tokens are
the request's own limit times the answers asked for, else the setting ``assumed_output_tokens``.
"""

import json
from fractions import Fraction

from msgspec import Struct

from lava_proxy.core.admission import Quantities
from lava_proxy.core.pricing import PriceSheet, Unpriced, cost_ceiling
from lava_proxy.core.rating import MICROS
from lava_proxy.core.usage import RequestFacts, Usage

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
    note: str
    """JSON for people: the tokens assumed, and the price's source."""

    def as_usage(self) -> Usage:
        """The quoted quantities as if they had been used: what a call is booked at when the policy says `hold`."""
        return Usage(input_tokens=self.input_tokens, output_tokens=self.output_tokens)

    @property
    def characters(self) -> int:
        """Characters of text, in and out, for a meter by characters."""
        return self.quantities.characters_micros // MICROS


def quote(facts: RequestFacts, sheet: PriceSheet | None, *, assumed_output_tokens: int) -> Quote:
    """Quote a request of these facts at these prices."""
    input_tokens = -(-facts.input_text_bytes // BYTES_PER_TOKEN) + FRAME_TOKENS + facts.input_other_tokens
    limit = facts.output_limit or assumed_output_tokens  # some take a limit of 0 for none
    output_tokens = min(limit * facts.choices, OUTPUT_TOKENS_MAX) if facts.has_output else 0
    ceiling = cost_ceiling(sheet, input_tokens=input_tokens, output_tokens=output_tokens) if sheet else None
    cost = None if ceiling is None or isinstance(ceiling, Unpriced) else ceiling
    note: dict[str, int | str | None] = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    note["output_limit"] = facts.output_limit
    note["price_source"] = sheet.source if sheet else None
    return Quote(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        quantities=Quantities(
            tokens_micros=(input_tokens + output_tokens) * MICROS,
            characters_micros=(facts.input_text_characters + output_tokens * CHARACTERS_PER_TOKEN) * MICROS,
            seconds_micros=ASSUMED_SECONDS * MICROS,
            input_tokens_micros=input_tokens * MICROS,
            images_micros=facts.choices * MICROS,
        ),
        cost=cost,
        note=_write(note),
    )
