"""Recorded traffic, booked or told.

An import is about the past: no credit is asked for before, and nothing is refused for want of it. What is booked goes
through the same settlement as a proxied call, on a hold of nothing (see ``spool``), drawn from free credit, the rest as
debt. It is booked once: a call's ids are made from the recording's id, or, where an answer can be looked at again (a
stored response, a job), from the provider's id of it, so that the call and its polls count once together.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Counter, Hold, RateType, RequestRecord, TierUnit
from lava_proxy.core.errors import CustomerNotFound, Refused
from lava_proxy.core.identity import Claims, Denial, Identity, IdentityPolicy, identify
from lava_proxy.core.ids import EventId, InstanceId, TransactionId
from lava_proxy.core.meters import AT_COST, AT_COST_VERSION, MeterChoice, MeterRule
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.core.rating import MICROS, rate, units_micros_of
from lava_proxy.core.recorded import Recorded
from lava_proxy.core.settlement import Holding, Measured, Stamp, load_holding, settle
from lava_proxy.services.import_metering import Metered, Metering, Outcome
from lava_proxy.services.spool import Owed, book_past, paid_by

ACTOR = "import"
_GROUP = 200
"""Calls that are booked together: the ledger commits them in one go."""
_POLICY = IdentityPolicy(require_key=False)


class Payer(Struct, frozen=True, kw_only=True):
    """For whom is imported."""

    identity: Identity
    counter: Counter

    @property
    def is_billed(self) -> bool:
        return self.identity.customer is not None


class Imports:
    """Made by ``wiring``. ``ledger`` of ``None``: there is no home yet, and nothing is looked up or booked in it."""

    def __init__(self, *, ledger: Ledger | None, metering: Metering, clock: Clock, ids: IdSource) -> None:
        self._ledger, self._metering, self._clock, self._ids = ledger, metering, clock, ids

    def payer(self, customer: str | None) -> Payer:
        """Who pays, and on which meter.

        Raises:
            CustomerNotFound
            Refused: the customer is archived.
        """
        if self._ledger is None:
            if customer is not None:
                raise CustomerNotFound(f"There is no customer {customer!r}.", hint="Make a home first: `lava init`.")
            meter = MeterChoice(meter=AT_COST, version=AT_COST_VERSION, rule=MeterRule.AT_COST)
            identity = Identity(key=None, run=None, customer=None, new_reference=None, meter=meter)
            return Payer(identity=identity, counter=_counter(identity))
        claims, now_us = Claims(customer=customer), self._clock.now_us()
        return self._ledger.read(lambda rows: _payer(rows, claims, _POLICY, now_us))

    def meter_all(self, exchanges: Iterable[Recorded], payer: Payer) -> Iterator[Outcome]:
        """Every exchange metered, nothing booked. The meter's tiers move on from one to the next."""
        counter = payer.counter
        seen: set[str] = set()
        for recorded in exchanges:
            found = self._metering.meter(recorded)
            if isinstance(found, Outcome):
                yield found
                continue
            if found.is_told_again:
                if found.hold.hold_id in seen:
                    flags = (*found.outcome.flags, "counted_before")
                    yield replace(found.outcome, charge_nanos=0, flags=flags, is_new=False)
                    continue
                seen.add(found.hold.hold_id)
            charge, counter = _charged(found.measured, payer, counter)
            yield replace(found.outcome, charge_nanos=charge)

    def book_all(self, exchanges: Iterable[Recorded], payer: Payer, *, instance_id: InstanceId) -> Iterator[Outcome]:
        """Every exchange metered and booked, in order. A call that is in the ledger already is told as it stands there.

        Raises:
            LedgerUnavailable: what was told so far is booked, and a second run goes on after it.
        """
        group: list[Outcome | Metered] = []
        for recorded in exchanges:
            group.append(self._metering.meter(recorded))
            if len(group) >= _GROUP:
                yield from self._book(group, payer, instance_id)
                group = []
        yield from self._book(group, payer, instance_id)

    def _book(self, group: list[Outcome | Metered], payer: Payer, instance_id: InstanceId) -> Iterator[Outcome]:
        assert self._ledger is not None
        now_us = self._clock.now_us()
        calls = [found for found in group if isinstance(found, Metered)]
        opened = [self._open(call.hold, payer, instance_id, now_us) for call in calls]
        were_new = [future.result() for future in opened]
        settled = iter([self._settle(call, now_us) for call in calls])
        news = iter(were_new)
        for found in group:
            if isinstance(found, Outcome):
                yield found
                continue
            record, is_new = next(settled).result(), next(news)
            charge = record.charge_nanos if record is not None else 0
            yield replace(found.outcome, charge_nanos=charge, request_id=found.hold.request_id, is_new=is_new)

    def _open(self, hold: Hold, payer: Payer, instance_id: InstanceId, now_us: int) -> Future[bool]:
        """Take the call up; ``False`` where it is in the ledger already."""
        assert self._ledger is not None
        mine = replace(hold, instance_id=instance_id)
        transaction_id = TransactionId(self._ids.new("txn"))

        def load(rows: Rows) -> Owed | None:
            return None if rows.get(Hold, mine.hold_id) is not None else paid_by(mine, payer.identity, rows)

        def decide(owed: Owed | None) -> Decision[bool]:
            booked = book_past(owed, transaction_id, now_us, note=ACTOR, actor=ACTOR)
            return Decision(result=owed is not None, transactions=booked.transactions, rows=booked.rows)

        return self._ledger.transact(load, decide)

    def _settle(self, call: Metered, now_us: int) -> Future[RequestRecord | None]:
        """The same step as a proxied call's; for one that is settled already, its record."""
        assert self._ledger is not None
        hold_id = call.hold.hold_id
        stamp = Stamp(
            now_us=now_us,
            transaction_id=TransactionId(self._ids.new("txn")),
            event_id=EventId(self._ids.new("evt")),
            actor=ACTOR,
            note=ACTOR,
        )
        measured = replace(call.measured, flags=(*call.measured.flags, "imported"))

        def load(rows: Rows) -> Holding:
            holding = load_holding(rows, hold_id)
            assert holding is not None, hold_id
            return holding

        def decide(holding: Holding) -> Decision[RequestRecord | None]:
            return settle(holding, measured, stamp)

        return self._ledger.transact(load, decide)


def _payer(rows: Rows, claims: Claims, policy: IdentityPolicy, now_us: int) -> Payer:
    identity = identify(rows, claims, policy, now_us=now_us)
    if isinstance(identity, Denial):
        if identity.code == "customer_not_found":
            raise CustomerNotFound(identity.message, hint="`lava customers list` shows them all.")
        raise Refused(identity.message)
    customer_id = identity.customer.customer_id if identity.customer else ""
    counter = rows.get(Counter, customer_id, identity.meter.meter.meter_id, "")
    return Payer(identity=identity, counter=counter or _counter(identity))


def _counter(identity: Identity) -> Counter:
    customer_id = identity.customer.customer_id if identity.customer else ""
    return Counter(customer_id=customer_id, meter_id=identity.meter.meter.meter_id)


def _charged(measured: Measured, payer: Payer, counter: Counter) -> tuple[int | None, Counter]:
    """What the payer's meter makes of the call; ``None`` where it charges by cost and that is not known."""
    version = payer.identity.meter.version
    if version.rate_type is RateType.PERCENTAGE and measured.cost is None:
        return None, counter
    units = units_micros_of(version.tier_unit, measured.usage)
    if units is None and version.tier_unit is TierUnit.CHARACTERS_1M and measured.text_characters is not None:
        units = measured.text_characters * MICROS
    charge = rate(version, counter, units_micros=units or 0, cost=measured.cost)
    return charge.nanos, charge.counter
