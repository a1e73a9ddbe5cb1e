"""A meter's terms as people write them: tiers, slug, name; and what they mean, as an example."""

import re
from itertools import pairwise

from lava_proxy.core.entities import MeterVersion, RateType, Tier, TierUnit
from lava_proxy.core.errors import InvalidAmount, InvalidInput
from lava_proxy.core.meter_options import NO_OPTIONS
from lava_proxy.core.money import NANOS_PER_DOLLAR, format_dollars, parse_amount

TIERS_MAX = 100
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?", re.ASCII)
_START = re.compile(r"(?P<count>\d{1,15})(?P<scale>[kKmMbB]?)", re.ASCII)
_SCALES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


def read_tiers(given: tuple[tuple[str, str], ...]) -> tuple[Tier, ...]:
    """Tiers of pairs of text: start (``0``, ``1000000`` or ``1M``) and rate (``5.00``; of a percentage meter ``20`` or ``20%``).

    Raises:
        InvalidInput: no tier, the first not at 0, starts that do not ascend, a rate below 0 or with more than 9 decimals.
    """
    tiers = tuple(Tier(start=_read_start(start), rate_nanos=read_rate(rate)) for start, rate in given)
    if not 1 <= len(tiers) <= TIERS_MAX:
        raise InvalidInput(f"tiers: give 1 to {TIERS_MAX} of them, not {len(tiers)}", field="tiers")
    if tiers[0].start != 0:
        raise InvalidInput(f"tiers: the first must start at 0, not at {tiers[0].start}", field="tiers")
    for lower, upper in pairwise(tiers):
        if upper.start <= lower.start:
            raise InvalidInput(f"tiers: the starts must ascend, but {upper.start} follows {lower.start}", field="tiers")
    return tiers


def example(version: MeterVersion) -> str:
    """What the first tier means, or the first rate of a part, as a sentence with an amount in it."""
    rate_nanos = version.tiers[0].rate_nanos
    if version.rate_type is RateType.PERCENTAGE:
        return f"a call that costs $1.00 is charged {format_dollars(NANOS_PER_DOLLAR + rate_nanos // 100)}"
    options = version.options or NO_OPTIONS
    if options.units and not rate_nanos:
        first = options.units[0]
        count = "1,000,000 " if first.unit.endswith(("_tokens", "_characters")) else "1 "
        return f"{count}{first.unit} are charged {format_dollars(first.rate_nanos)}"
    return f"{_THINGS.get(version.tier_unit) or f'1 {options.unit} is'} charged {format_dollars(rate_nanos)}"


_THINGS = {
    TierUnit.TOKENS_1M: "1,000,000 tokens are",
    TierUnit.CHARACTERS_1M: "1,000,000 characters are",
    TierUnit.MINUTES: "a minute is",
    TierUnit.REQUESTS: "a request is",
}


def check_slug(slug: str) -> str:
    if not _SLUG.fullmatch(slug):
        raise InvalidInput(
            f"meter_slug: {slug!r} may have lower-case letters, digits, - and _ only, 1 to 64 of them",
            field="meter_slug",
        )
    return slug


def slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-")


def check_name(name: str) -> None:
    if not name.strip() or len(name) > 255:
        raise InvalidInput("name: it must have 1 to 255 characters", field="name")


def _read_start(text: str) -> int:
    found = _START.fullmatch(text.strip().replace("_", ""))
    if found is None:
        raise InvalidInput(f"tiers: {text!r} is no start; write a whole number such as 0, 1000000 or 1M", field="tiers")
    return int(found["count"]) * _SCALES[found["scale"].lower()]


def read_rate(text: str, *, field: str = "tiers") -> int:
    """
    Raises:
        InvalidInput: below 0, more than 9 decimals, or no plain number.
    """
    try:
        return parse_amount(text.strip().removesuffix("%").strip(), field="rate")
    except InvalidAmount as error:
        raise InvalidInput(
            f"{field}: {text!r} is no rate; write a plain number of at most 9 decimals, such as 5.00", field=field
        ) from error
