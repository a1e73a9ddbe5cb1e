"""What a meter may have beyond Lava's: rates of their own for parts of the usage, volume tiers, a minimum, an allowance.

A meter without any of it has no ``MeterOptions`` at all, and is rated by the short way of ``rating``.
"""

from enum import StrEnum

from msgspec import Struct


class TierMode(StrEnum):
    GRADUATED = "graduated"
    """Each unit is charged at the tier it falls into."""
    VOLUME = "volume"
    """All units of a request are charged at the tier that the count reaches with it."""


class Aggregation(StrEnum):
    """How the reported quantities of a merchant's own unit add up in a cycle."""

    SUM = "sum"
    MAX = "max"
    """The largest quantity reported."""
    UNIQUE = "unique"
    """How many different values were reported."""


class UnitRate(Struct, frozen=True, kw_only=True):
    """A rate of its own for one unit of usage: nano-dollars for 1M tokens or characters, or for one of anything else."""

    unit: str
    rate_nanos: int


class ModelRate(Struct, frozen=True, kw_only=True):
    """Other rates for calls that ask for a model of this name; ``*`` stands for any characters."""

    model: str
    rate_nanos: int | None = None
    """In place of the meter's tiers."""
    units: tuple[UnitRate, ...] = ()
    """In place of the meter's rates for the same units, or beside them."""


class MeterOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it. What has its default is not there."""

    tier_mode: TierMode = TierMode.GRADUATED
    units: tuple[UnitRate, ...] = ()
    models: tuple[ModelRate, ...] = ()
    """The first whose pattern fits counts."""
    minimum_nanos: int = 0
    """The least that a request is charged; one that the allowance covers whole is free all the same."""
    allowance: int = 0
    """Units, in the steps of a tier's start, that are free in each cycle."""
    unit: str = ""
    """The merchant's own unit, for a meter whose tier unit is ``custom``."""
    aggregation: Aggregation = Aggregation.SUM


NO_OPTIONS = MeterOptions()
