"""Meters in a file: ``[meters.premium]`` with ``name``, ``rate_type``, ``tier_type``, ``rate`` or ``tiers``, ``default``."""

from collections.abc import Mapping

from lava_proxy.core.entities import RateType, TierUnit
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.tiers import check_name, check_slug, read_tiers
from lava_proxy.services.as_code import Spec, Value, check_fields, read_text
from lava_proxy.services.documents import rate_text
from lava_proxy.services.idempotency import By
from lava_proxy.services.meters import MeterChanges, Meters, MeterTerms, PricedMeter

_FIELDS = ("name", "rate_type", "tier_type", "rate", "tiers", "default")


class MeterKind:
    """See ``as_code.CodeKind``. Removing one archives it."""

    table = "meters"
    fixed = frozenset({"rate_type", "tier_type"})
    kept = frozenset({"default"})

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def read(self, name: str, given: Mapping[str, object]) -> Spec:
        """See ``as_code.CodeKind``."""
        check_slug(name)
        check_fields(given, _FIELDS)
        spec: dict[str, Value] = {
            "name": read_text(given, "name", default=name),
            "rate_type": _choice(given, "rate_type", RateType.PERCENTAGE.value, [kind.value for kind in RateType]),
            "tier_type": _choice(given, "tier_type", TierUnit.TOKENS_1M.value, [unit.value for unit in TierUnit]),
            "tiers": _tiers(given),
        }
        check_name(str(spec["name"]))
        is_default = given.get("default", False)
        if not isinstance(is_default, bool):
            raise InvalidInput("default: write true or false", field="default")
        return {**spec, "default": True} if is_default else spec

    def check_all(self, specs: Mapping[str, Spec]) -> None:
        """See ``as_code.CodeKind``."""
        defaults = [name for name, spec in specs.items() if spec.get("default")]
        if len(defaults) > 1:
            raise InvalidInput(f"default: only one meter can be it, not {' and '.join(defaults)}", field="default")

    def present(self) -> Mapping[str, Spec]:
        """See ``as_code.CodeKind``."""
        return {priced.meter.slug: _spec(priced) for priced in self._meters.all()}

    def create(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        terms = MeterTerms(
            name=str(spec["name"]),
            slug=name,
            rate_type=RateType(str(spec["rate_type"])),
            tier_unit=TierUnit(str(spec["tier_type"])),
            tiers=read_tiers(_pairs(spec["tiers"])),
            is_default=bool(spec.get("default")),
        )
        self._meters.create(terms, by=by)

    def update(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        changes = MeterChanges(
            name=str(spec["name"]),
            tiers=read_tiers(_pairs(spec["tiers"])),
            is_default=True if spec.get("default") else None,
        )
        self._meters.update(name, changes, by=by)

    def remove(self, name: str, by: By) -> None:
        """See ``as_code.CodeKind``."""
        self._meters.archive(name, by=by)


def _spec(priced: PricedMeter) -> Spec:
    version = priced.version
    spec: dict[str, Value] = {
        "name": priced.meter.name,
        "rate_type": version.rate_type.value,
        "tier_type": version.tier_unit.value,
        "tiers": [f"{tier.start}:{rate_text(tier.rate_nanos)}" for tier in version.tiers],
    }
    return {**spec, "default": True} if priced.is_default else spec


def _tiers(given: Mapping[str, object]) -> list[str]:
    """Each as ``START:RATE``, one way to write it."""
    if ("rate" in given) == ("tiers" in given):
        raise InvalidInput("rate: give one of rate and tiers", field="rate")
    if "rate" in given:
        pairs: tuple[tuple[str, str], ...] = (("0", read_text(given, "rate")),)
    else:
        pairs = _pairs(given["tiers"])
    return [f"{tier.start}:{rate_text(tier.rate_nanos)}" for tier in read_tiers(pairs)]


def _pairs(tiers: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(tiers, list) or not all(isinstance(tier, str) and ":" in tier for tier in tiers):
        raise InvalidInput('tiers: write a list of "START:RATE", such as ["0:5.00", "1M:3.00"]', field="tiers")
    pairs = [tier.partition(":") for tier in tiers]
    return tuple((start, rate) for start, _, rate in pairs)


def _choice(given: Mapping[str, object], field: str, default: str, known: list[str]) -> str:
    value = read_text(given, field, default=default)
    if value not in known:
        raise InvalidInput(f"{field}: {value!r} is none of {', '.join(known)}", field=field)
    return value
