"""Meters: what a customer is charged. A change is a new version; what was charged before stays as it was."""

from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import (
    CounterReset,
    Customer,
    CustomerStatus,
    Entity,
    HomeFact,
    Meter,
    MeterStatus,
    MeterVersion,
    RateType,
    Tier,
    TierUnit,
)
from lava_proxy.core.errors import Conflict, InvalidInput, MeterNotFound, Refused
from lava_proxy.core.identity import DEFAULT_METER_FACT, find_meter
from lava_proxy.core.ids import MeterId
from lava_proxy.core.meter_options import NO_OPTIONS, MeterOptions, ModelRate, TierMode, UnitRate
from lava_proxy.core.meter_text import are_all_rated, check_options, plain_or
from lava_proxy.core.meters import AT_COST, AT_COST_ID, AT_COST_VERSION
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.core.tiers import check_name, check_slug, slug_of
from lava_proxy.services.audit import audit
from lava_proxy.services.idempotency import Answer, By, once


class PricedMeter(Struct, frozen=True, kw_only=True):
    """A meter with the version that new calls take."""

    meter: Meter
    version: MeterVersion
    is_default: bool = False


class MeterTerms(Struct, frozen=True, kw_only=True):
    """What is said about a new meter."""

    name: str
    rate_type: RateType
    tier_unit: TierUnit
    tiers: tuple[Tier, ...] | None
    """``None``: every part of the unit has a rate of its own."""
    slug: str | None = None
    """``None``: made from the name."""
    reset: CounterReset = CounterReset.NEVER
    options: MeterOptions = NO_OPTIONS
    is_default: bool = False
    """Make it the meter of calls for which nothing else chose one."""


class MeterChanges(Struct, frozen=True, kw_only=True):
    """What shall change; ``None`` keeps it. Rate type, unit, reset and aggregation never change: make another meter."""

    name: str | None = None
    tiers: tuple[Tier, ...] | None = None
    tier_mode: TierMode | None = None
    units: tuple[UnitRate, ...] | None = None
    models: tuple[ModelRate, ...] | None = None
    minimum_nanos: int | None = None
    allowance: int | None = None
    is_default: bool | None = None


def require_meter(rows: Rows, reference: str) -> Meter:
    """The meter of this slug or ``prd_…``, the built-in one too.

    Raises:
        MeterNotFound: there is none.
    """
    meter = find_meter(rows, reference)
    if meter is None:
        raise MeterNotFound(
            f"There is no meter {reference!r}.", hint="`lava meters list` shows them all.", meter=reference
        )
    return meter


class Meters:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    def get(self, reference: str) -> PricedMeter:
        """
        Raises:
            MeterNotFound
        """
        return self._ledger.read(lambda rows: _priced(rows, require_meter(rows, reference)))

    def all(self, *, include_archived: bool = False) -> tuple[PricedMeter, ...]:
        """By age; the built-in one is not among them."""
        statuses = tuple(MeterStatus) if include_archived else (MeterStatus.ACTIVE,)

        def load(rows: Rows) -> tuple[PricedMeter, ...]:
            meters = [meter for status in statuses for meter in rows.find(Meter, status=status.value)]
            return tuple(_priced(rows, meter) for meter in sorted(meters, key=lambda m: m.meter_id))

        return self._ledger.read(load)

    def versions(self, reference: str) -> tuple[MeterVersion, ...]:
        """Everything that this meter has ever charged, oldest first.

        Raises:
            MeterNotFound
        """

        def load(rows: Rows) -> tuple[MeterVersion, ...]:
            meter = require_meter(rows, reference)
            if meter.meter_id == AT_COST_ID:
                return (AT_COST_VERSION,)
            return tuple(sorted(rows.find(MeterVersion, meter_id=meter.meter_id), key=lambda v: v.version))

        return self._ledger.read(load)

    def create(self, terms: MeterTerms, *, by: By) -> Answer[PricedMeter]:
        """
        Raises:
            InvalidInput: the slug or the name cannot be.
            Conflict: the slug is taken.
        """
        slug = check_slug(terms.slug or slug_of(terms.name))
        now_us = self._clock.now_us()
        made = make_meter(terms, slug=slug, meter_id=MeterId(self._ids.new("prd")), now_us=now_us)

        def decide(taken: bool) -> Decision[PricedMeter]:
            if taken:
                raise Conflict(
                    f"A meter with the slug {slug!r} exists already.",
                    hint=f"`lava meters show {slug}`",
                    field="meter_slug",
                )
            entry = audit(by, now_us=now_us, action="meter.create", subject=made.meter.meter_id, after=made.version)
            return Decision(result=made, rows=(*meter_rows(made), entry))

        return once(
            self._ledger,
            lambda rows: find_meter(rows, slug) is not None,
            decide,
            by=by,
            now_us=now_us,
            kind=PricedMeter,
            content=("meters.create", terms),
        )

    def update(self, reference: str, changes: MeterChanges, *, by: By) -> Answer[PricedMeter]:
        """Other tiers are a new version, for calls from now on; what is in flight keeps its own.

        Raises:
            MeterNotFound, InvalidInput
            Refused: the meter is the built-in one, or archived.
        """
        if changes.name is not None:
            check_name(changes.name)
        now_us = self._clock.now_us()

        def decide(before: PricedMeter) -> Decision[PricedMeter]:
            after = _changed(before, changes, now_us)
            if after == before:
                return Decision(result=after)
            entry = audit(
                by,
                now_us=now_us,
                action="meter.update",
                subject=after.meter.meter_id,
                before=before.version,
                after=after.version,
            )
            return Decision(result=after, rows=(*meter_rows(after), entry))

        return once(
            self._ledger,
            lambda rows: _priced(rows, require_meter(rows, reference)),
            decide,
            by=by,
            now_us=now_us,
            kind=PricedMeter,
            content=("meters.update", reference, changes),
        )

    def archive(self, reference: str, *, by: By) -> Answer[PricedMeter]:
        """No new calls on this meter; what it charged stays. Archiving again changes nothing.

        Raises:
            MeterNotFound
            Refused: it is the built-in one or the home's default, or customers have it as their own.
        """
        now_us = self._clock.now_us()
        users = self._users(self.get(reference).meter)

        def decide(before: PricedMeter) -> Decision[PricedMeter]:
            _check_unused(before, users)
            after = replace(before, meter=replace(before.meter, status=MeterStatus.ARCHIVED))
            if after == before:
                return Decision(result=after)
            entry = audit(
                by,
                now_us=now_us,
                action="meter.archive",
                subject=after.meter.meter_id,
                before=before.meter,
                after=after.meter,
            )
            return Decision(result=after, rows=(after.meter, entry))

        return once(
            self._ledger,
            lambda rows: _priced(rows, require_meter(rows, reference)),
            decide,
            by=by,
            now_us=now_us,
            kind=PricedMeter,
            content=("meters.archive", reference),
        )

    def _users(self, meter: Meter) -> tuple[str, ...]:
        """Some customers who have this meter as their own. Read before the write: who chooses it meanwhile falls to the default."""
        found = (
            c
            for c in self._ledger.books().rows(Customer)
            if c.meter_id == meter.meter_id and c.status is CustomerStatus.ACTIVE
        )
        return tuple(c.reference_id or c.customer_id for c in islice(found, 3))


def make_meter(terms: MeterTerms, *, slug: str, meter_id: MeterId, now_us: int) -> PricedMeter:
    """A new meter with its first version.

    Raises:
        InvalidInput
    """
    check_name(terms.name)
    _check_default(terms.is_default, terms.tier_unit)
    tiers = check_options(
        rate_type=terms.rate_type,
        tier_unit=terms.tier_unit,
        tiers=terms.tiers,
        reset=terms.reset,
        options=terms.options,
    )
    version = MeterVersion(
        meter_id=meter_id,
        version=1,
        rate_type=terms.rate_type,
        tier_unit=terms.tier_unit,
        tiers=tiers,
        reset=terms.reset,
        options=plain_or(terms.options),
        created_us=now_us,
    )
    meter = Meter(
        meter_id=meter_id,
        slug=slug,
        name=terms.name,
        rate_type=terms.rate_type,
        tier_unit=terms.tier_unit,
        version=1,
        created_us=now_us,
    )
    return PricedMeter(meter=meter, version=version, is_default=terms.is_default)


def meter_rows(priced: PricedMeter) -> tuple[Entity, ...]:
    """What is to be written for a meter."""
    fact = HomeFact(name=DEFAULT_METER_FACT, value=priced.meter.meter_id)
    return (priced.meter, priced.version, *((fact,) if priced.is_default else ()))


def _priced(rows: Rows, meter: Meter) -> PricedMeter:
    if meter.meter_id == AT_COST_ID:
        return PricedMeter(meter=AT_COST, version=AT_COST_VERSION)
    version = rows.get(MeterVersion, meter.meter_id, meter.version)
    assert version is not None, meter
    default = rows.get(HomeFact, DEFAULT_METER_FACT)
    return PricedMeter(meter=meter, version=version, is_default=default is not None and default.value == meter.meter_id)


def _changed(before: PricedMeter, changes: MeterChanges, now_us: int) -> PricedMeter:
    meter, version = before.meter, before.version
    if meter.meter_id == AT_COST_ID:
        raise Refused(
            "The built-in meter at-cost never changes.", hint="Make one of your own with `lava meters create`."
        )
    if meter.status is MeterStatus.ARCHIVED:
        raise Refused(f"The meter {meter.slug} is archived.")
    _check_default(bool(changes.is_default), version.tier_unit)
    tiers, options = _terms_after(version, changes)
    if (tiers, options) != (version.tiers, version.options):
        version = replace(version, version=version.version + 1, tiers=tiers, options=options, created_us=now_us)
    meter = replace(meter, name=changes.name or meter.name, version=version.version)
    return PricedMeter(meter=meter, version=version, is_default=before.is_default or bool(changes.is_default))


def _check_default(is_default: bool, tier_unit: TierUnit) -> None:
    if is_default and tier_unit is TierUnit.CUSTOM:
        raise InvalidInput("default: a meter that charges reports cannot be that of calls", field="default")


def _terms_after(version: MeterVersion, changes: MeterChanges) -> tuple[tuple[Tier, ...], MeterOptions | None]:
    before = version.options or NO_OPTIONS
    options = replace(
        before,
        tier_mode=before.tier_mode if changes.tier_mode is None else changes.tier_mode,
        units=before.units if changes.units is None else changes.units,
        models=before.models if changes.models is None else changes.models,
        minimum_nanos=before.minimum_nanos if changes.minimum_nanos is None else changes.minimum_nanos,
        allowance=before.allowance if changes.allowance is None else changes.allowance,
    )
    needs_none = are_all_rated(version.tier_unit, before.units) and version.tiers == (Tier(start=0, rate_nanos=0),)
    tiers = check_options(
        rate_type=version.rate_type,
        tier_unit=version.tier_unit,
        tiers=changes.tiers or (None if needs_none else version.tiers),
        reset=version.reset,
        options=options,
    )
    return tiers, plain_or(options)


def _check_unused(priced: PricedMeter, users: tuple[str, ...]) -> None:
    slug = priced.meter.slug
    if priced.meter.meter_id == AT_COST_ID:
        raise Refused("The built-in meter at-cost cannot be archived.")
    if priced.is_default:
        raise Refused(
            f"The meter {slug} is the home's default.",
            hint="Make another one the default with `lava meters update OTHER --default`.",
        )
    if users:
        raise Refused(
            f"The meter {slug} is the own meter of customers: {', '.join(users)}.",
            hint="Give them another one with `lava customers update CUSTOMER --meter OTHER`.",
        )
