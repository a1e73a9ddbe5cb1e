"""Reported usage: quantities of the merchant's own units, charged when they are reported.

A report is a request like any other, with a hold and a settlement, both in one step: what credit covers is held first, and
what nothing covers becomes debt, since the usage has happened already.
"""

import hashlib
import json
import re

from msgspec import Struct

from lava_proxy.core.budgets import COUNTED, Caller, allocations_of_nothing, load_budgets, load_gate
from lava_proxy.core.entities import (
    Budget,
    Counter,
    Customer,
    CustomerStatus,
    Grant,
    Hold,
    Meter,
    MeterStatus,
    MeterVersion,
    RequestHead,
    TierUnit,
    Transaction,
    UniqueValue,
    Wallet,
)
from lava_proxy.core.errors import InvalidInput, Refused
from lava_proxy.core.ids import EventId, HoldId, InstanceId, Metadata, RequestId, TransactionId
from lava_proxy.core.meter_options import NO_OPTIONS, Aggregation
from lava_proxy.core.option_rating import Consumed, charge_usage
from lava_proxy.core.option_terms import terms_of
from lava_proxy.core.periods import counter_cycle, cycle_key, load_allowance
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.core.rating import MICROS
from lava_proxy.core.settlement import Holding, Measured, Stamp, settle
from lava_proxy.core.usage import NO_USAGE
from lava_proxy.core.wallet import available_nanos, hold_credit
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer, By, once
from lava_proxy.services.meters import require_meter

PROVIDER = "reported"
"""What stands for the provider in the record of a report."""
QUANTITY_MAX = 10**9
VALUE_CHARACTERS_MAX = 255
_QUANTITY = re.compile(r"(?P<whole>\d{1,10})(?:\.(?P<part>\d{1,6}))?", re.ASCII)


class UsageReported(Struct, frozen=True, kw_only=True):
    """What is said of usage. ``quantity_micros`` for a sum or a maximum, ``value`` for different values."""

    customer: str
    meter: str
    quantity_micros: int | None = None
    value: str | None = None
    metadata: Metadata = ()


class _Loaded(Struct, frozen=True, kw_only=True):
    customer: Customer
    meter: Meter
    version: MeterVersion
    cycle: str
    counter: Counter
    allowance: Counter | None
    grants: tuple[Grant, ...]
    wallet: Wallet | None
    budgets: tuple[Budget, ...]
    """Those that count; a report is refused by none, since the usage has happened."""
    is_known: bool
    """Whether the value was reported in this cycle before."""


def read_quantity(text: str) -> int:
    """Millionths of a unit, of a plain decimal such as ``2.5``.

    Raises:
        InvalidInput
    """
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(
            f"quantity: {text!r} is no quantity; write a plain number with at most 6 decimals, such as 2.5",
            field="quantity",
        )
    micros = int(found["whole"]) * MICROS + int((found["part"] or "").ljust(6, "0"))
    if not 0 < micros <= QUANTITY_MAX * MICROS:
        raise InvalidInput(f"quantity: it must be more than 0 and at most {QUANTITY_MAX}", field="quantity")
    return micros


class UsageRecords:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids

    def record(self, report: UsageReported, *, by: By) -> Answer[str]:
        """Charge a report; gives the id of its request.

        Raises:
            CustomerNotFound, MeterNotFound, InvalidInput, IdempotencyConflict
            Refused: the customer or the meter is archived.
        """
        now_us = self._clock.now_us()
        suffix = self._ids.new("req").removeprefix("req")
        settle_id = self._ids.new("txn")
        digest = hashlib.sha256(report.value.encode()).hexdigest() if report.value is not None else ""

        def load(rows: Rows) -> _Loaded:
            return _load(rows, report, digest, now_us)

        def decide(loaded: _Loaded) -> Decision[str]:
            stamp = Stamp(
                now_us=now_us,
                transaction_id=TransactionId(settle_id),
                event_id=EventId("evt" + suffix),
                actor=by.actor,
            )
            return _charge(loaded, report, digest, suffix, stamp)

        return once(
            self._ledger,
            load,
            decide,
            by=by,
            now_us=now_us,
            kind=str,
            content=("usage.record", report),
        )


def _load(rows: Rows, report: UsageReported, digest: str, now_us: int) -> _Loaded:
    customer, meter = require_customer(rows, report.customer), require_meter(rows, report.meter)
    if customer.status is not CustomerStatus.ACTIVE:
        raise Refused(f"The customer {report.customer} is {customer.status.value}.")
    version = _version(rows, meter)
    _check(report, version)
    customer_id = customer.customer_id
    cycle = cycle_key(version, rows, customer_id, now_us)
    of_tiers = counter_cycle(version, cycle)
    caller = Caller(customer_id=customer_id, key_id=None, run_id=None, metadata=report.metadata)
    budgets = tuple(b for b in load_budgets(rows, caller, load_gate(rows), now_us=now_us) if b.measure in COUNTED)
    return _Loaded(
        customer=customer,
        meter=meter,
        version=version,
        cycle=cycle,
        counter=rows.get(Counter, customer_id, meter.meter_id, of_tiers)
        or Counter(customer_id=customer_id, meter_id=meter.meter_id, cycle=of_tiers),
        allowance=load_allowance(rows, version, customer_id, cycle),
        grants=rows.find(Grant, customer_id=customer_id),
        wallet=rows.get(Wallet, customer_id),
        budgets=budgets,
        is_known=bool(digest) and rows.get(UniqueValue, customer_id, meter.meter_id, of_tiers, digest) is not None,
    )


def _version(rows: Rows, meter: Meter) -> MeterVersion:
    if meter.status is not MeterStatus.ACTIVE:
        raise Refused(f"The meter {meter.slug} is archived.")
    if meter.tier_unit is not TierUnit.CUSTOM:
        raise InvalidInput(
            f"meter_slug: {meter.slug} charges calls; only a meter with a unit of your own takes reports",
            hint="Make one with `lava meters create NAME --rate-type fixed --unit UNIT --rate RATE`.",
            field="meter_slug",
        )
    version = rows.get(MeterVersion, meter.meter_id, meter.version)
    assert version is not None, meter
    return version


def _check(report: UsageReported, version: MeterVersion) -> None:
    options = version.options or NO_OPTIONS
    is_unique = options.aggregation is Aggregation.UNIQUE
    if is_unique and (report.value is None or report.quantity_micros is not None):
        raise InvalidInput("value: this meter counts different values: give a value, and no quantity", field="value")
    if not is_unique and (report.quantity_micros is None or report.value is not None):
        raise InvalidInput("quantity: this meter adds up quantities: give one, and no value", field="quantity")
    if report.value is not None and not 0 < len(report.value) <= VALUE_CHARACTERS_MAX:
        raise InvalidInput(f"value: it must have 1 to {VALUE_CHARACTERS_MAX} characters", field="value")


def _added_micros(loaded: _Loaded, quantity_micros: int | None) -> int:
    """What a report adds to the count. Free units count for a maximum too."""
    aggregation = (loaded.version.options or NO_OPTIONS).aggregation
    if aggregation is Aggregation.UNIQUE:
        return 0 if loaded.is_known else MICROS
    assert quantity_micros is not None, loaded.meter
    if aggregation is Aggregation.SUM:
        return quantity_micros
    counted = loaded.counter.count_micros + (loaded.allowance.count_micros if loaded.allowance else 0)
    return max(0, quantity_micros - counted)


def _charge(loaded: _Loaded, report: UsageReported, digest: str, suffix: str, stamp: Stamp) -> Decision[str]:
    added = _added_micros(loaded, report.quantity_micros)
    measured = Measured(
        usage=NO_USAGE,
        cost=None,
        charge_hold_if_unpriced=False,
        units_micros=added,
        raw_usage=(_raw(loaded.version, report, digest),),
        flags=("reported",),
    )
    rated = charge_usage(
        terms_of(loaded.version, None), loaded.counter, loaded.allowance, Consumed(usage=NO_USAGE, units_micros=added)
    )
    hold, opened = _hold(loaded, report, rated.charge.nanos, suffix, stamp)
    held = {grant.grant_id: grant for grant in opened.rows if isinstance(grant, Grant)}
    holding = Holding(
        hold=hold,
        record=None,
        version=loaded.version,
        counter=loaded.counter,
        grants=tuple(held.get(grant.grant_id, grant) for grant in loaded.grants),
        wallet=loaded.wallet,
        budgets=loaded.budgets,
        allowance=loaded.allowance,
    )
    settled = settle(holding, measured, stamp)
    seen = (
        UniqueValue(
            customer_id=loaded.customer.customer_id,
            meter_id=loaded.meter.meter_id,
            cycle=loaded.counter.cycle,
            value_sha256=digest,
            created_us=stamp.now_us,
        ),
    )
    return Decision(
        result=hold.request_id,
        transactions=(*opened.transactions, *settled.transactions),
        rows=(*opened.rows, *settled.rows, *(seen if digest and not loaded.is_known else ())),
    )


def _hold(
    loaded: _Loaded, report: UsageReported, charge_nanos: int, suffix: str, stamp: Stamp
) -> tuple[Hold, Decision[None]]:
    """As much of the charge as credit covers."""
    customer_id, meter_id = loaded.customer.customer_id, loaded.meter.meter_id
    wallet = loaded.wallet or Wallet(customer_id=customer_id)
    available = available_nanos(loaded.grants, wallet, meter_id=meter_id, now_us=stamp.now_us)
    amount = max(0, min(charge_nanos, available))
    moved = hold_credit(loaded.grants, wallet, amount_nanos=amount, meter_id=meter_id, now_us=stamp.now_us)
    hold = Hold(
        hold_id=HoldId("hld" + suffix),
        request_id=RequestId("req" + suffix),
        instance_id=InstanceId("ins_report"),
        customer_id=customer_id,
        key_id=None,
        run_id=None,
        meter_id=meter_id,
        meter_version=loaded.version.version,
        meter_rule="named",
        cycle=loaded.cycle,
        amount_nanos=amount,
        cost_quote_nanos=None,
        grants=moved.allocations,
        budgets=allocations_of_nothing(loaded.budgets, at_us=stamp.now_us),
        request=RequestHead(
            provider=PROVIDER,
            dialect=PROVIDER,
            op="report",
            method="REPORT",
            url=f"meters/{loaded.meter.slug}",
            metadata=report.metadata,
        ),
        created_us=stamp.now_us,
        expires_us=stamp.now_us,
    )
    transaction = Transaction(
        transaction_id=TransactionId("txn" + suffix),
        kind="hold",
        key=f"hold:{hold.request_id}",
        at_us=stamp.now_us,
        customer_id=customer_id,
        request_id=hold.request_id,
        postings=moved.postings,
        actor=stamp.actor,
    )
    return hold, Decision(result=None, transactions=(transaction,), rows=moved.grants)


def _raw(version: MeterVersion, report: UsageReported, digest: str) -> str:
    said: dict[str, str] = {"unit": (version.options or NO_OPTIONS).unit}
    if digest:
        said["value_sha256"] = digest
    else:
        whole, part = divmod(report.quantity_micros or 0, MICROS)
        said["quantity"] = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return json.dumps(said, separators=(",", ":"))
