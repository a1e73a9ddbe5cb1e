"""What recorded requests would have been charged on a meter: before it is switched on, and without writing anything.

Requests are read in their order, one at a time. Counts begin at nothing, as for customers who are new on the meter; cycles
are those of the instants at which the requests were held. Costs are those on record.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Counter, MeterVersion, RateType, RequestRecord, RequestStatus, TierUnit
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.meter_options import NO_OPTIONS, Aggregation
from lava_proxy.core.option_rating import Consumed, charge_usage
from lava_proxy.core.option_terms import terms_of
from lava_proxy.core.periods import FREE, counter_cycle, cycle_key
from lava_proxy.core.ports import Ledger, RequestFilter, Rows
from lava_proxy.core.rating import MICROS
from lava_proxy.services.documents import Document, amount
from lava_proxy.services.meters import PricedMeter
from lava_proxy.services.usage_records import PROVIDER

GROUPS: dict[str, Callable[[RequestRecord], str]] = {
    "model": lambda record: record.model or record.request.provider,
    "customer": lambda record: record.customer_id or "",
    "meter": lambda record: record.meter_id,
}


class SimulatedLine(Struct, frozen=True, kw_only=True):
    """Sums over the requests of a group; ``cost_nanos`` and both margins are over requests whose cost is known."""

    group: str
    requests: int = 0
    cost_nanos: int = 0
    charged_nanos: int = 0
    """What they were charged."""
    simulated_nanos: int = 0
    """What they would have been."""
    unknown_cost: int = 0
    unpriced: int = 0
    """Requests that a percentage meter cannot charge, because nobody knows their cost; what they were charged is not in."""
    unit_not_reported: int = 0
    """Requests of which nothing was reported that the meter charges by."""

    @property
    def difference_nanos(self) -> int:
        return self.simulated_nanos - self.charged_nanos

    @property
    def margin_nanos(self) -> int:
        """Of the simulation."""
        return self.simulated_nanos - self.cost_nanos


class Simulation(Struct, frozen=True, kw_only=True):
    meter: PricedMeter
    lines: tuple[SimulatedLine, ...]
    total: SimulatedLine


class _Counts:
    """How far each customer has come, in memory."""

    def __init__(self, rows: Rows, version: MeterVersion) -> None:
        self._rows, self._version = rows, version
        self._counters: dict[tuple[str, str], Counter] = {}
        self._values: set[tuple[str, str, str]] = set()

    def rate(self, record: RequestRecord) -> tuple[int, bool]:
        """What the request would be charged, and whether its unit was reported."""
        version, customer_id = self._version, record.customer_id or ""
        cycle = cycle_key(version, self._rows, CustomerId(customer_id), record.created_us)
        of_tiers = counter_cycle(version, cycle)
        counter, free = self._get(customer_id, of_tiers), None
        if (version.options or NO_OPTIONS).allowance:
            free = self._get(customer_id, FREE + cycle)
        cost = None if record.cost_nanos is None else Fraction(record.cost_nanos)
        units = self._reported_micros(record, counter, free) if version.tier_unit is TierUnit.CUSTOM else None
        consumed = Consumed(usage=record.usage, units_micros=units, cost=cost)
        rated = charge_usage(terms_of(version, record.request.model), counter, free, consumed)
        for after in (rated.charge.counter, rated.charge.allowance):
            if after is not None:
                self._counters[customer_id, after.cycle] = after
        return rated.charge.nanos, rated.is_unit_reported

    def _get(self, customer_id: str, cycle: str) -> Counter:
        found = self._counters.get((customer_id, cycle))
        return found or Counter(customer_id=customer_id, meter_id=self._version.meter_id, cycle=cycle)

    def _reported_micros(self, record: RequestRecord, counter: Counter, free: Counter | None) -> int:
        said = json.loads(record.raw_usage[0])
        aggregation = (self._version.options or NO_OPTIONS).aggregation
        if aggregation is Aggregation.UNIQUE:
            value = (counter.customer_id, counter.cycle, str(said.get("value_sha256", "")))
            is_new = value not in self._values
            self._values.add(value)
            return MICROS if is_new else 0
        micros = int(Decimal(said.get("quantity", "0")) * MICROS)
        counted = counter.count_micros + (free.count_micros if free else 0)
        return micros if aggregation is Aggregation.SUM else max(0, micros - counted)


class Simulations:
    def __init__(self, *, ledger: Ledger) -> None:
        self._ledger = ledger

    def run(self, meter: PricedMeter, which: RequestFilter, *, by: str = "model") -> Simulation:
        """Rate every finished request of customers that ``which`` means, in order."""
        lines: dict[str, SimulatedLine] = {}
        total = SimulatedLine(group="")

        def rate_all(rows: Rows) -> None:
            nonlocal total
            counts = _Counts(rows, meter.version)
            for record in self._ledger.books().each_request(which):
                if not _is_meant(record, meter.version):
                    continue
                group = GROUPS[by](record)
                outcome = _outcome(counts, record, meter.version)
                lines[group] = _added(lines.get(group) or SimulatedLine(group=group), record, outcome)
                total = _added(total, record, outcome)

        self._ledger.read(rate_all)
        return Simulation(meter=meter, lines=tuple(lines[group] for group in sorted(lines)), total=total)


def simulation_document(simulation: Simulation, *, by: str) -> Document:
    version = simulation.meter.version
    return {
        "meter_id": version.meter_id,
        "meter_slug": simulation.meter.meter.slug,
        "version": version.version,
        "by": by,
        "items": [{by: line.group, **_sums(line)} for line in simulation.lines],
        "totals": _sums(simulation.total),
    }


def _sums(line: SimulatedLine) -> Document:
    return {
        "requests": line.requests,
        "cost": amount(line.cost_nanos),
        "charge": amount(line.simulated_nanos),
        "charged": amount(line.charged_nanos),
        "difference": amount(line.difference_nanos),
        "margin": amount(line.margin_nanos),
        "unknown_cost": line.unknown_cost,
        "unpriced": line.unpriced,
        "unit_not_reported": line.unit_not_reported,
    }


def _is_meant(record: RequestRecord, version: MeterVersion) -> bool:
    """Finished requests of customers: calls for a meter of calls, reports of its unit for one of reports."""
    if record.status is not RequestStatus.COMPLETED or record.customer_id is None:
        return False
    if version.tier_unit is not TierUnit.CUSTOM:
        return record.request.provider != PROVIDER
    if record.request.provider != PROVIDER or not record.raw_usage:
        return False
    said = json.loads(record.raw_usage[0])
    wanted = "value_sha256" if (version.options or NO_OPTIONS).aggregation is Aggregation.UNIQUE else "quantity"
    return said.get("unit") == (version.options or NO_OPTIONS).unit and wanted in said


class _Outcome(Struct, frozen=True, kw_only=True):
    nanos: int = 0
    is_unpriced: bool = False
    is_reported: bool = True


def _outcome(counts: _Counts, record: RequestRecord, version: MeterVersion) -> _Outcome:
    if version.rate_type is RateType.PERCENTAGE and record.cost_nanos is None:
        return _Outcome(is_unpriced=True)
    nanos, is_reported = counts.rate(record)
    return _Outcome(nanos=nanos, is_reported=is_reported or version.rate_type is RateType.PERCENTAGE)


def _added(line: SimulatedLine, record: RequestRecord, outcome: _Outcome) -> SimulatedLine:
    return replace(
        line,
        requests=line.requests + 1,
        cost_nanos=line.cost_nanos + (record.cost_nanos or 0),
        charged_nanos=line.charged_nanos + (0 if outcome.is_unpriced else record.charge_nanos),
        simulated_nanos=line.simulated_nanos + outcome.nanos,
        unknown_cost=line.unknown_cost + (record.cost_nanos is None),
        unpriced=line.unpriced + outcome.is_unpriced,
        unit_not_reported=line.unit_not_reported + (not outcome.is_reported),
    )
