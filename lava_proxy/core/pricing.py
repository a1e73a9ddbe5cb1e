"""What the provider charges us: a price sheet applied to usage, exactly.

A sheet holds the prices of one model at one instant. Usage is split into parts that do not overlap (fresh, cached,
written to a cache, audio, image …); each part has its own price or else its parent's, so nothing is counted twice and
nothing that was reported is free for want of a price: then the whole call is ``Unpriced``, never cheaper.

Amounts are fractions of nano-dollars until somebody rounds them; no float comes near.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import fields, replace

from lava_proxy.core.money import NANOS_PER_DOLLAR
from lava_proxy.core.parts import Parts, Quantity, split
from lava_proxy.core.usage import Usage

PARENTS: Mapping[str, tuple[str, ...]] = {
    "cached_input_tokens": ("input_tokens",),
    "cache_write_tokens": ("input_tokens",),
    "cache_write_1h_tokens": ("cache_write_tokens",),
    "input_audio_tokens": ("input_tokens",),
    "cached_audio_tokens": ("cached_input_tokens", "input_audio_tokens"),
    "input_image_tokens": ("input_tokens",),
    "reasoning_tokens": ("output_tokens",),
    "output_audio_tokens": ("output_tokens",),
    "output_image_tokens": ("output_tokens",),
}
"""A unit without a price of its own costs what its parent costs; of two parents with prices of their own, the dearer."""

SAME_THING: Mapping[str, str] = {
    "input_seconds": "input_audio_tokens",
    "output_seconds": "output_audio_tokens",
    "images": "output_image_tokens",
    "input_characters": "input_tokens",
    "output_characters": "output_tokens",
}
"""Second measures: where the tokens on the right are reported too, they carry the price, unless the left has its own."""

_USAGE_UNITS = tuple(f.name for f in fields(Usage))
_READ = attrgetter(*_USAGE_UNITS)

UNITS: tuple[str, ...] = _USAGE_UNITS
"""Everything that can have a price. A price for ``requests`` holds for the call itself, unless its usage counts them."""

_INPUT_UNITS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "cached_audio_tokens",
    "input_image_tokens",
)
_OUTPUT_UNITS = ("output_tokens", "reasoning_tokens", "output_audio_tokens", "output_image_tokens")


class Step(Struct, frozen=True, kw_only=True):
    """Where a request has more than ``above`` input tokens, *all* its units cost this (a cliff, not a bracket)."""

    above: int
    nanos: Fraction


class Rate(Struct, frozen=True, kw_only=True):
    """The price of one unit, in nano-dollars. ``per`` is only how people say it: dollars for so many units."""

    nanos: Fraction
    per: int
    steps: tuple[Step, ...] = ()
    """By ``above``, ascending."""
    minimum: int = 0
    """The least that is billed of this unit, once there is any (10 seconds of speech at Groq)."""

    def __post_init__(self) -> None:
        thresholds = [step.above for step in self.steps]
        assert self.nanos >= 0 and all(step.nanos >= 0 for step in self.steps), self
        assert self.per > 0 and thresholds == sorted(set(thresholds)), self

    def at(self, input_tokens: int) -> Fraction:
        """Nanos for one unit of a request with so many input tokens."""
        nanos = self.nanos
        for step in self.steps:
            if input_tokens > step.above:
                nanos = step.nanos
        return nanos

    def dearest(self, input_tokens: int) -> Fraction:
        """The dearest that one unit can be while a request has *at most* so many input tokens."""
        return max(self.nanos, *(step.nanos for step in self.steps if input_tokens > step.above), Fraction(0))

    def times(self, factor: Fraction) -> "Rate":
        steps = tuple(Step(above=step.above, nanos=step.nanos * factor) for step in self.steps)
        return Rate(nanos=self.nanos * factor, per=self.per, steps=steps, minimum=self.minimum)


def rate(usd: Decimal, *, per: int, steps: Iterable[tuple[int, Decimal]] = (), minimum: int = 0) -> Rate:
    """A rate of ``usd`` dollars for ``per`` units; ``steps`` are pairs of a threshold of input tokens and its price.

    >>> rate(Decimal("2.50"), per=1_000_000).nanos
    Fraction(2500, 1)
    """
    made = tuple(Step(above=above, nanos=_nanos(price, per)) for above, price in sorted(steps))
    return Rate(nanos=_nanos(usd, per), per=per, steps=made, minimum=minimum)


Ceiling = tuple[Fraction, Fraction | None, Fraction | None]
"""The dearest that a request, one input token and one output token can be; ``None`` where that has no price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSheet:
    """The prices of one model at one instant, and where they are from. Made by ``price_sheet``."""

    provider: str
    model: str
    """The model's name in the source, which may be an alias' target."""
    source: str
    """For example ``genai-prices 0.2.3 openai/gpt-4o``."""
    price_date: str
    """The day since which the source says this price holds, as ISO date; empty where it names none."""
    rates: Mapping[str, Rate]
    flags: tuple[str, ...] = ()
    unit_prices: str = field(init=False, repr=False)
    """The rates as JSON, in dollars: what is kept with a request."""
    effective: Mapping[str, Rate] = field(init=False, repr=False, compare=False)
    """``rates``, and for parts without a price of their own their parent's."""
    thresholds: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Every number of input tokens above which some rate changes, ascending."""
    ceilings: tuple[Ceiling, ...] = field(init=False, repr=False, compare=False)
    """The dearest rates below the first threshold, then above each."""

    def __post_init__(self) -> None:
        unknown = set(self.rates) - set(UNITS)
        assert not unknown, unknown
        object.__setattr__(self, "unit_prices", _describe(self.rates))
        object.__setattr__(self, "effective", _with_inherited(self.rates))
        thresholds = sorted({step.above for price in self.effective.values() for step in price.steps})
        object.__setattr__(self, "thresholds", tuple(thresholds))
        object.__setattr__(
            self, "ceilings", tuple(_ceiling(self.effective, tokens) for tokens in (0, *(t + 1 for t in thresholds)))
        )


class Cost(Struct, frozen=True, kw_only=True):
    """What a call cost us, not rounded, and how we know."""

    exact_nanos: Fraction
    unit_prices: str
    source: str
    price_date: str
    flags: tuple[str, ...] = ()


class Unpriced(Struct, frozen=True, kw_only=True):
    """A call whose cost nobody can tell: never to be taken for 0."""

    reason: str
    """no_price: the model is in no book; no_usage: nothing was reported; unit_without_price: ``units`` have no price;
    negative_usage: the report is nonsense."""
    units: tuple[str, ...] = ()
    priced_nanos: Fraction = Fraction(0)
    """What the units that do have a price come to: a lower bound."""
    flags: tuple[str, ...] = ()


PROVIDER_SOURCE = "provider"


def cost_of(sheet: PriceSheet, usage: Usage) -> Cost | Unpriced:
    """The cost of ``usage`` at the prices of ``sheet``; ``Unpriced`` where any reported unit has no price."""
    reported = _reported(usage)
    if not reported:
        return Unpriced(reason="no_usage", flags=sheet.flags)
    if min(reported) < 0:
        return Unpriced(reason="negative_usage", flags=sheet.flags)
    parts = split(usage)
    flags = (*sheet.flags, *parts.flags)
    exact, unpriced = _sum(sheet, parts)
    missing = tuple(unit for unit in unpriced if not _is_told_in_tokens(unit, sheet, usage))
    if missing:
        return Unpriced(reason="unit_without_price", units=missing, priced_nanos=exact, flags=flags)
    if not exact and parts.quantities:
        flags = (*flags, "zero_price")
    return Cost(
        exact_nanos=exact, unit_prices=sheet.unit_prices, source=sheet.source, price_date=sheet.price_date, flags=flags
    )


def cost_ceiling(sheet: PriceSheet, *, input_tokens: int, output_tokens: int) -> Fraction | Unpriced:
    """The most that so many tokens can cost in nanos, whatever part of them is cached, audio or reasoning.

    Every kind of token that has a price counts as reachable, and every step up to ``input_tokens``. Tool calls
    (searches) are not tokens and not in it. ``Unpriced`` where the sheet has no price for one of the two.
    """
    step = bisect_left(sheet.thresholds, input_tokens)
    exact, dearest_input, dearest_output = sheet.ceilings[step]
    if input_tokens:
        if dearest_input is None:
            return Unpriced(reason="unit_without_price", units=("input_tokens",), priced_nanos=exact, flags=sheet.flags)
        exact += dearest_input * input_tokens
    if output_tokens:
        if dearest_output is None:
            return Unpriced(
                reason="unit_without_price", units=("output_tokens",), priced_nanos=exact, flags=sheet.flags
            )
        exact += dearest_output * output_tokens
    return exact


def cost_from_reported(usd: Decimal) -> Cost:
    """The cost that the provider itself reported, in dollars."""
    exact = Fraction(usd) * NANOS_PER_DOLLAR
    prices = json.dumps({"reported": {"usd": _usd(exact, 1)}})
    return Cost(exact_nanos=exact, unit_prices=prices, source=PROVIDER_SOURCE, price_date="")


def resolve(reported: Decimal | None, sheet: PriceSheet | None, usage: Usage) -> Cost | Unpriced:
    """The provider's own figure where it gives a believable one, else the book's.

    A reported 0 for usage above 0 is not believed: the book decides, flagged ``reported_zero_cost``. Nor is a
    negative or non-finite figure (``reported_cost_unreadable``).
    """
    flags: tuple[str, ...] = ()
    if reported is not None and (not reported.is_finite() or reported < 0):
        flags = ("reported_cost_unreadable",)
    elif reported is not None and (reported > 0 or not any(_reported(usage))):
        return cost_from_reported(reported)
    elif reported is not None:
        flags = ("reported_zero_cost",)
    if sheet is None:
        return Unpriced(reason="no_price", flags=flags)
    found = cost_of(sheet, usage)
    return replace(found, flags=(*found.flags, *flags))


def _sum(sheet: PriceSheet, parts: Parts) -> tuple[Fraction, list[str]]:
    """The sum of what has a price, and the units that have none. In whole numbers until the end: fractions are slow."""
    unpriced: list[str] = []
    total, scale = 0, 1
    if "requests" in sheet.rates and "requests" not in parts.quantities:
        total, scale = sheet.rates["requests"].at(parts.input_total).as_integer_ratio()
    for unit, quantity in parts.quantities.items():
        found = sheet.effective.get(unit)
        if found is None:
            unpriced.append(unit)
            continue
        count, parted = max(quantity, found.minimum).as_integer_ratio()
        nanos, divisor = found.at(parts.input_total).as_integer_ratio()
        divisor *= parted
        if divisor == scale:
            total += nanos * count
        else:
            total, scale = total * divisor + nanos * count * scale, scale * divisor
    return Fraction(total, scale), unpriced


def _is_told_in_tokens(unit: str, sheet: PriceSheet, usage: Usage) -> bool:
    tokens = SAME_THING.get(unit)
    return tokens is not None and tokens in sheet.effective and bool(getattr(usage, tokens))


def _reported(usage: Usage) -> list[Quantity]:
    return [value for value in _READ(usage) if value is not None]


def _ceiling(rates: Mapping[str, Rate], input_tokens: int) -> Ceiling:
    def dearest(units: tuple[str, ...]) -> Fraction | None:
        if units[0] not in rates:
            return None
        return max(rates[unit].dearest(input_tokens) for unit in units if unit in rates)

    request = rates["requests"].dearest(input_tokens) if "requests" in rates else Fraction(0)
    return request, dearest(_INPUT_UNITS), dearest(_OUTPUT_UNITS)


def _with_inherited(rates: Mapping[str, Rate]) -> dict[str, Rate]:
    found = dict(rates)
    for unit, parents in PARENTS.items():
        if unit in found:
            continue
        priced = [rates[parent] for parent in parents if parent in rates]
        inherited = [found[parent] for parent in parents if parent in found]
        if priced or inherited:
            found[unit] = max(priced or inherited, key=lambda parent: parent.nanos)
    return found


def _describe(rates: Mapping[str, Rate]) -> str:
    described: dict[str, dict[str, object]] = {}
    for unit in sorted(rates, key=UNITS.index):
        price = rates[unit]
        line: dict[str, object] = {"usd": _usd(price.nanos, price.per), "per": price.per}
        if price.steps:
            line["above_input_tokens"] = {str(step.above): _usd(step.nanos, price.per) for step in price.steps}
        if price.minimum:
            line["minimum"] = price.minimum
        described[unit] = line
    return json.dumps(described, separators=(",", ":"))


def _nanos(usd: Decimal, per: int) -> Fraction:
    return Fraction(usd) * NANOS_PER_DOLLAR / per


def _usd(nanos: Fraction, per: int) -> str:
    """Dollars for ``per`` units as plain decimal text. Exact: every price came as a decimal for these ``per`` units."""
    usd = nanos * per / NANOS_PER_DOLLAR
    with localcontext(prec=60):
        return f"{Decimal(usd.numerator) / Decimal(usd.denominator):f}"
