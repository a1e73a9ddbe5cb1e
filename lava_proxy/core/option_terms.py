"""A version of a meter with options as it stands for one model: what has a rate of its own, and what goes through the tiers."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import MeterVersion, Tier, TierUnit
from lava_proxy.core.meter_options import NO_OPTIONS, MeterOptions, ModelRate
from lava_proxy.core.pricing import PARENTS, SAME_THING, UNITS
from lava_proxy.core.rating import MICROS, start_micros

INPUT_UNITS = tuple(unit for unit in UNITS if unit.endswith("_tokens") and not unit.startswith(("output", "reason")))
OUTPUT_UNITS = ("output_tokens", "reasoning_tokens", "output_audio_tokens", "output_image_tokens")
FAMILIES: Mapping[TierUnit, tuple[str, ...]] = {
    TierUnit.TOKENS_1M: (*INPUT_UNITS, *OUTPUT_UNITS),
    TierUnit.CHARACTERS_1M: ("input_characters", "output_characters"),
    TierUnit.MINUTES: ("input_seconds", "output_seconds"),
    TierUnit.REQUESTS: ("requests",),
    TierUnit.CUSTOM: (),
}
"""The units of usage that a meter's own unit adds up."""
SCALE = 60 * 10**12
"""Nanos for a millionth of any unit are whole numbers when multiplied by it: rates are for 1M units, for one, or for 60."""


class Group(NamedTuple):
    """Units that a quote does not tell apart: the dearest of them counts."""

    place: int
    """Where the quantity stands: see ``option_ceiling``."""
    most_scaled: int
    """The highest rate of its own among them, times ``SCALE``, for a millionth."""
    has_general: bool
    """Whether one of them goes through the meter's tiers."""
    is_family: bool


class Terms(Struct, frozen=True, kw_only=True):
    """A version as it stands for one model: its tiers, and the rates of what has its own."""

    version: MeterVersion
    options: MeterOptions
    own: Mapping[str, tuple[int, int]]
    """By unit: nanos, and for how many of it."""
    same_things: tuple[tuple[str, str], ...]
    """Units with a rate of their own, and the tokens that are the same thing in another measure."""
    family: frozenset[str]
    groups: tuple[Group, ...]
    allowance_micros: int


@lru_cache(maxsize=1024)
def terms_of(version: MeterVersion, model: str | None) -> Terms:
    """The version compiled for a model; kept, since a version never changes."""
    options = version.options or NO_OPTIONS
    override = _override(options, model)
    if override is not None and override.rate_nanos is not None:
        version = replace(version, tiers=(Tier(start=0, rate_nanos=override.rate_nanos),))
    rates = {rate.unit: rate.rate_nanos for rate in (*options.units, *(override.units if override else ()))}
    own = {unit: (nanos, per_of(unit)) for unit in UNITS if (nanos := _own_rate(unit, rates)) is not None}
    return Terms(
        version=version,
        options=options,
        own=own,
        same_things=tuple((unit, same) for unit, same in SAME_THING.items() if unit in own),
        family=frozenset(FAMILIES[version.tier_unit]),
        groups=_groups(version.tier_unit, own),
        allowance_micros=start_micros(version.tier_unit, options.allowance),
    )


def per_of(unit: str) -> int:
    """How many units a rate is for."""
    return 1_000_000 if unit.endswith(("_tokens", "_characters")) else 1


def _override(options: MeterOptions, model: str | None) -> ModelRate | None:
    if model is None:
        return None
    return next((rates for rates in options.models if fnmatchcase(model, rates.model)), None)


def _own_rate(unit: str, rates: Mapping[str, int]) -> int | None:
    """Its own, else the dearest of its nearest parents' that have one; ``None``: it goes with the meter's own unit."""
    if unit in rates:
        return rates[unit]
    parents = [nanos for parent in PARENTS.get(unit, ()) if (nanos := _own_rate(parent, rates)) is not None]
    return max(parents) if parents else None


_GROUPS: tuple[tuple[tuple[str, ...], TierUnit | None], ...] = (
    (INPUT_UNITS, TierUnit.TOKENS_1M),
    (OUTPUT_UNITS, TierUnit.TOKENS_1M),
    (FAMILIES[TierUnit.CHARACTERS_1M], TierUnit.CHARACTERS_1M),
    (FAMILIES[TierUnit.MINUTES], TierUnit.MINUTES),
    (("requests",), TierUnit.REQUESTS),
    (("images",), None),
    (("searches",), None),
    (("pages",), None),
)
"""In the order of ``option_ceiling``."""


def _groups(unit: TierUnit, own: Mapping[str, tuple[int, int]]) -> tuple[Group, ...]:
    """Those that can come to anything."""
    groups = []
    for place, (units, family) in enumerate(_GROUPS):
        rates = [nanos * SCALE // (per * MICROS) for name in units if name in own for nanos, per in (own[name],)]
        group = Group(place, max(rates, default=0), len(rates) < len(units), family is unit)
        if group.most_scaled or (group.is_family and group.has_general):
            groups.append(group)
    return tuple(groups)
