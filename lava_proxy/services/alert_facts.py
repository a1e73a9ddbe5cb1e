"""What alerts look at, read from the books: of some customers, of all, of all calls together.

Only what the rules need is read. Days are UTC days, and sums are over calls by the instant of their hold. The days before
today are summed once per process and day.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.alert_rows import AlertKind
from lava_proxy.core.alert_units import DAY_US
from lava_proxy.core.alerts import TOTAL, TRAILING_DAYS, AlertFacts
from lava_proxy.core.entities import Customer, CustomerStatus, Grant, GrantSource, Wallet
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.instants import EPOCH, to_datetime
from lava_proxy.core.ports import Books, Clock, Ledger, RequestFilter, UsageLine
from lava_proxy.core.wallet import is_open
from lava_proxy.services.alert_billing import BillingFacts, read_billing_facts

_OF_DAYS = frozenset(
    {AlertKind.SPEND_PER_DAY, AlertKind.MARGIN_BELOW, AlertKind.UNPRICED_REQUESTS, AlertKind.SPEND_ANOMALY}
)
_OF_BILLING = frozenset(
    {AlertKind.CREDIT_USED, AlertKind.SPEND_PER_CYCLE, AlertKind.PAYMENT_FAILED, AlertKind.TOP_UP_FAILED}
)
ASKED_ONE_BY_ONE_MAX = 20
"""The sums of so few customers are asked for one by one, each by its index; of more, for all at once."""


class Needs(Struct, frozen=True, kw_only=True):
    """What the rules look at."""

    kinds: frozenset[AlertKind]
    has_plans: bool = False

    @property
    def days(self) -> bool:
        return bool(self.kinds & _OF_DAYS)

    @property
    def trailing(self) -> bool:
        return AlertKind.SPEND_ANOMALY in self.kinds

    @property
    def billing(self) -> bool:
        return self.has_plans or bool(self.kinds & _OF_BILLING)

    @property
    def credit(self) -> bool:
        return self.billing or AlertKind.BALANCE_BELOW in self.kinds


class AlertFactsReader:
    """Reads on the caller's thread, in one snapshot for each question; never on the way of a call."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self._past: dict[str, dict[str, int]] = {}
        """Charges by customer, for each of the days before today."""

    def customers(self, needs: Needs, only: frozenset[CustomerId] | None = None) -> Iterator[AlertFacts]:
        """Of every active customer, or of these alone."""
        now_us = self._clock.now_us()
        with self._ledger.books().snapshot() as books:
            customers = self._customers(books, only)
            days = self._days(books, customers, now_us) if needs.days else {}
            past = self._trailing(books, now_us) if needs.trailing else []
            credit = _credit(books, customers, is_some=only is not None) if needs.credit else {}
            for customer_id in customers:
                wallet = credit.get(customer_id, _NO_CREDIT)
                billing = BillingFacts()
                if needs.billing:
                    with_spend = AlertKind.SPEND_PER_CYCLE in needs.kinds
                    billing = read_billing_facts(
                        self._ledger, books, customer_id, wallet.grants, with_spend=with_spend, now_us=now_us
                    )
                yield replace(
                    _of_day(customer_id, days.get(customer_id), needs, now_us),
                    plan_id=billing.plan_id,
                    balance_nanos=_balance(wallet, now_us),
                    cycle=billing.cycle,
                    payments=billing.payments,
                    trailing_nanos=tuple(day.get(customer_id, 0) for day in past) if needs.trailing else None,
                )

    def total(self, needs: Needs) -> AlertFacts:
        """Of all calls, the merchant's own too."""
        now_us = self._clock.now_us()
        with self._ledger.books().snapshot() as books:
            lines = books.usage(RequestFilter(since_us=_midnight(now_us)), by=()) if needs.days else ()
            past = self._trailing(books, now_us) if needs.trailing else []
        trailing = tuple(sum(day.values()) for day in past) if needs.trailing else None
        return replace(_of_day(TOTAL, lines[0] if lines else None, needs, now_us), trailing_nanos=trailing)

    def _customers(self, books: Books, only: frozenset[CustomerId] | None) -> dict[CustomerId, Customer]:
        if only is None:
            found: Iterable[Customer] = books.rows(Customer)
        else:
            found = self._ledger.read(lambda rows: [c for each in sorted(only) if (c := rows.get(Customer, each))])
        return {c.customer_id: c for c in found if c.status is CustomerStatus.ACTIVE}

    def _days(self, books: Books, customers: dict[CustomerId, Customer], now_us: int) -> dict[str, UsageLine]:
        since_us = _midnight(now_us)
        if len(customers) > ASKED_ONE_BY_ONE_MAX:
            return {line.group[0]: line for line in books.usage(RequestFilter(since_us=since_us), by=("customer",))}
        found: dict[str, UsageLine] = {}
        for customer_id in customers:
            lines = books.usage(RequestFilter(customer_id=customer_id, since_us=since_us), by=())
            if lines:
                found[customer_id] = lines[0]
        return found

    def _trailing(self, books: Books, now_us: int) -> list[dict[str, int]]:
        """The days before today, the latest first."""
        days = []
        for back in range(1, TRAILING_DAYS + 1):
            start_us = _midnight(now_us) - back * DAY_US
            name = day_name(start_us)
            if name not in self._past:
                which = RequestFilter(since_us=start_us, until_us=start_us + DAY_US)
                self._past[name] = {line.group[0]: line.charge_nanos for line in books.usage(which, by=("customer",))}
            days.append((name, self._past[name]))
        self._past = dict(days)
        return [charges for _, charges in days]


def day_name(instant_us: int) -> str:
    """The UTC day, as ISO date."""
    return to_datetime(instant_us).date().isoformat()


def _midnight(now_us: int) -> int:
    day = to_datetime(now_us).date()
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH).days * DAY_US


def _of_day(subject: str, line: UsageLine | None, needs: Needs, now_us: int) -> AlertFacts:
    """The facts of today; who has made no call has zeros, which is known."""
    facts = AlertFacts(subject=subject, day=day_name(now_us), read_us=now_us)
    if not needs.days:
        return facts
    return replace(
        facts,
        charge_day_nanos=line.charge_nanos if line else 0,
        cost_day_nanos=line.cost_nanos if line else 0,
        unpriced_day=line.unpriced if line else 0,
    )


class _Credit(Struct, kw_only=True):
    """What a customer has, as far as it is still of use."""

    grants: list[Grant]
    debt_nanos: int = 0
    had_any: bool = False
    """Whether the customer was ever given credit, or owed any: who was not has no balance that could fall."""


_NO_CREDIT = _Credit(grants=[])


def _credit(books: Books, customers: dict[CustomerId, Customer], *, is_some: bool) -> dict[CustomerId, _Credit]:
    """Of each who was ever given any, or owes some."""
    found: dict[CustomerId, _Credit] = {}
    grants = (grant for each in customers for grant in books.grants(each)) if is_some else books.rows(Grant)
    for grant in grants:
        credit = found.setdefault(grant.customer_id, _Credit(grants=[]))
        credit.had_any = True
        if grant.free_nanos + grant.held_nanos or grant.source is GrantSource.CYCLE:
            credit.grants.append(grant)
    for wallet in books.rows(Wallet):
        if wallet.debt_nanos:
            credit = found.setdefault(wallet.customer_id, _Credit(grants=[]))
            credit.had_any, credit.debt_nanos = True, wallet.debt_nanos
    return found


def _balance(credit: _Credit, now_us: int) -> int | None:
    """What calls in flight hold counts in: it may come back, and then nothing should have been told."""
    if not credit.had_any:
        return None
    free = sum(grant.free_nanos for grant in credit.grants if is_open(grant, now_us=now_us))
    return free + sum(grant.held_nanos for grant in credit.grants) - credit.debt_nanos
