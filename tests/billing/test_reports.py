"""Reports against the journal, replayed plainly: the same to the nano-dollar, whatever happened in whatever order."""

import contextlib
import sqlite3
from collections import Counter as Tally
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from lava_proxy.core.entities import (
    Grant,
    GrantSource,
    GrantStatus,
    Hold,
    HoldState,
    RateType,
    RequestRecord,
    Tier,
    TierUnit,
)
from lava_proxy.core.errors import InsufficientCredits
from lava_proxy.core.ids import EventId, TransactionId
from lava_proxy.core.instants import to_datetime
from lava_proxy.core.meter_options import MeterOptions
from lava_proxy.core.ports import Decision, IdSource, RequestFilter
from lava_proxy.core.settlement import Holding, Stamp, load_holding, orphan
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.exchange import Call, Forward
from lava_proxy.services.meters import MeterTerms
from lava_proxy.services.reports import Report, ReportKind
from lava_proxy.services.usage_records import UsageReported
from lava_proxy.store import MemoryLedger
from lava_proxy.wiring import House
from tests.billing.conftest import ME, Shop, at, usd
from tests.billing.test_money_machine import CUSTOMERS, HOUR_US, MoneyMachine, customers, run

ZONES = ("UTC", "Asia/Kathmandu", "America/New_York")
SOLD = ("cycle", "bundle", "top_up")
PERIOD_NAMES = {"hour": "%Y-%m-%dT%H:00%z", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}


class Move:
    """One posting, with the instant to which it belongs."""

    def __init__(
        self, at_us: int, customer: str | None, source: str, destination: str, amount: int, call: bool
    ) -> None:
        self.at_us, self.customer, self.amount, self.is_call = at_us, customer, amount, call
        self.source, self.destination = source, destination

    def into(self, account: str) -> int:
        """What came into an account, or into all whose names begin so, less what went out."""
        return self.amount * (self.destination.startswith(account) - self.source.startswith(account))

    def between(self, source: str, destination: str) -> int:
        return self.amount * (self.source.startswith(source) and self.destination.startswith(destination))


def replay(house: House) -> list[Move]:
    """Charge and cost of a call belong to the instant of its hold, which its own entry in the journal tells."""
    held_us: dict[str, int] = {}
    moves = []
    for entry in house.ledger.books().journal():
        said = entry.transaction
        if said.request_id is not None:
            held_us.setdefault(said.request_id, said.at_us)
        for posting in said.postings:
            accounts = {posting.source, posting.destination}
            is_charge = said.request_id is not None and accounts & {"revenue", "cost"}
            at_us = held_us[said.request_id] if said.request_id is not None and is_charge else said.at_us
            is_call = said.request_id is not None
            moves.append(
                Move(at_us, said.customer_id, posting.source, posting.destination, posting.amount_nanos, is_call)
            )
    return moves


def figures(moves: list[Move]) -> dict[str, int]:
    """What a report must say of these."""
    charge = sum(m.into("revenue") for m in moves if m.is_call)
    cost = sum(m.into("cost") for m in moves)
    return {
        "charge": charge,
        "cost": cost,
        "margin": charge - cost,
        "revenue": sum(m.into("revenue") for m in moves),
        "credit_sold": sum(m.between(f"funding:{source}", "grant:") for m in moves for source in SOLD),
        "credit_given": sum(m.between(f"funding:{s}", "grant:") for m in moves for s in ("manual", "promo")),
        "credit_given_back": sum(m.between("funding:refund", "grant:") for m in moves),
        "credit_used": sum(
            m.between("grant:", "revenue") + m.between("grant:", "debt:") - m.between("revenue", "grant:")
            for m in moves
        ),
        "breakage": sum(m.into("breakage") for m in moves),
        "overage": sum(m.between("overage:", "revenue") - m.between("revenue", "overage:") for m in moves),
        "overage_collected": sum(m.between("funding:overage", "overage:") for m in moves),
        "uncovered": sum(m.between("debt:", "revenue") for m in moves),
        "debt_paid": sum(m.between("grant:", "debt:") for m in moves),
        "money_in": sum(m.between("sales:", "money:") for m in moves),
        "refunds": sum(m.between("money:", "sales:") for m in moves),
    }


def deferred(moves: list[Move]) -> int:
    return sum(m.into("grant:") for m in moves)


def name_of(period: str, at_us: int, zone: ZoneInfo) -> str:
    text = to_datetime(at_us, zone).strftime(PERIOD_NAMES[period])
    return f"{text[:-2]}:{text[-2:]}" if period == "hour" else text


def cells(report: Report, line: tuple[Any, ...], *, skip: int = 0) -> dict[str, Any]:
    return dict(zip([column.name for column in report.columns[skip:]], line, strict=True))


def check_revenue(house: House, which: RequestFilter, by: str, zone_name: str) -> None:
    """Every line and the total are those of the replay."""
    zone = ZoneInfo(zone_name)
    report = house.reports.report(ReportKind.REVENUE, which, by=by, time_zone=zone_name)
    moves = [m for m in replay(house) if which.customer_id in (None, m.customer)]
    until_us = which.until_us if which.until_us is not None else 2**62
    past = [m for m in moves if which.since_us is not None and m.at_us < which.since_us]
    present = [m for m in moves if m.at_us < until_us and (which.since_us is None or m.at_us >= which.since_us)]
    by_period: dict[str, list[Move]] = {}
    for move in present:
        by_period.setdefault(name_of(by, move.at_us, zone), []).append(move)
    so_far = list(past)
    for line in report.rows:
        found = cells(report, line)
        moved = by_period.pop(found[by], [])
        so_far += moved
        expected = {**figures(moved), "deferred_credit": deferred(so_far)}
        assert {name: found[name] for name in expected} == expected, found[by]
    assert {name for name, moved in by_period.items() if any(figures(moved).values())} == set()
    total = cells(report, report.total, skip=1)
    expected = figures(present)
    assert {name: total[name] for name in expected} == expected
    if report.rows:
        assert total["deferred_credit"] == deferred(so_far) == deferred([*past, *present])
    names = [str(line[0]) for line in report.rows]
    assert names == sorted(names) and len(set(names)) == len(names)


class ReportMachine(MoneyMachine):
    """The money machine with credit by hand, corrections, calls left open, orphans, and usage that was not asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.open_calls: list[Call] = []

    @initialize()
    def furnish(self) -> None:
        super().furnish()
        self.house.meters.create(
            MeterTerms(
                name="Leaflets",
                slug="leaflets",
                rate_type=RateType.FIXED,
                tier_unit=TierUnit.CUSTOM,
                tiers=(Tier(start=0, rate_nanos=usd("0.000000007")),),
                options=MeterOptions(unit="leaflets"),
            ),
            by=ME,
        )
        for name in CUSTOMERS:  # with credit that is soon used up, so that much is overage
            self.shop.start(name, "Small")
            self.shop.spend(name, "9")

    @rule(
        customer=customers,
        amount=st.integers(1, 10**10),
        source=st.sampled_from((GrantSource.MANUAL, GrantSource.PROMO)),
        hours=st.sampled_from((None, 1, 30)),
    )
    def grant(self, customer: str, amount: int, source: GrantSource, hours: int | None) -> None:
        expires_us = None if hours is None else self.clock.at_us + hours * HOUR_US
        terms = GrantTerms(customer=customer, amount_nanos=amount, source=source, expires_us=expires_us)
        self.try_(lambda: self.house.credits.grant(terms, by=ME))

    @rule(index=st.integers(0, 20))
    def void(self, index: int) -> None:
        grants = [g for g in self.house.ledger.books().rows(Grant) if g.status is GrantStatus.ACTIVE]
        if grants:
            self.try_(lambda: self.house.credits.void(grants[index % len(grants)].grant_id, by=ME))

    @rule()
    def expire(self) -> None:
        self.house.credits.expire_due()

    @rule(customer=customers, amount=st.integers(-(10**9), 10**9))
    def adjust(self, customer: str, amount: int) -> None:
        with contextlib.suppress(InsufficientCredits):
            self.try_(lambda: self.house.adjustments.adjust(customer, amount, reason="wrong", by=ME))

    @rule(index=st.integers(0, 20), part=st.none() | st.integers(1, 10**9))
    def dispute(self, index: int, part: int | None) -> None:
        records = self.house.ledger.books().requests(RequestFilter(), limit=21).items
        if records:
            request_id = records[index % len(records)].request_id
            self.try_(lambda: self.house.adjustments.dispute(request_id, part, reason="poor", by=ME))

    @rule(customer=customers, quantity=st.integers(1, 10**15))
    def use(self, customer: str, quantity: int) -> None:
        said = UsageReported(customer=customer, meter="leaflets", quantity_micros=quantity)
        self.try_(lambda: self.house.usage_records.record(said, by=ME))

    @rule(customer=customers, price=st.sampled_from(("0.3", "2")))
    def begin_call(self, customer: str, price: str) -> None:
        answer = self.shop.ask(customer, price)
        if isinstance(answer, Forward) and answer.call is not None:
            self.open_calls.append(answer.call)

    @rule()
    def end_call(self) -> None:
        if self.open_calls:
            self.shop.end(self.open_calls.pop(0))

    @rule(index=st.integers(0, 9))
    def orphan(self, index: int) -> None:
        """Charged at its hold; if the call ends after all, the difference is paid back."""
        holds = [h for h in self.house.ledger.books().rows(Hold) if h.state is HoldState.IN_FLIGHT]
        if not holds:
            return
        resolve_as_orphan(self.house, holds[index % len(holds)], now_us=self.clock.at_us, ids=self.ids)

    @rule(
        customer=st.none() | customers,
        by=st.sampled_from(("hour", "day", "week", "month")),
        zone=st.sampled_from(ZONES),
        since_us=st.none() | st.integers(0, 60 * 24 * HOUR_US),
        span_us=st.none() | st.integers(1, 60 * 24 * HOUR_US),
    )
    def report(self, customer: str | None, by: str, zone: str, since_us: int | None, span_us: int | None) -> None:
        """Of any range, in any zone: ends need not be whole quarters of an hour."""
        begin_us = None if since_us is None else self.latest_us - since_us
        end_us = None if span_us is None else (self.latest_us if begin_us is None else begin_us) + span_us
        found = self.house.customers.get(customer).customer_id if customer else None
        which = RequestFilter(customer_id=found, since_us=begin_us, until_us=end_us)
        check_revenue(self.house, which, by, zone)

    @invariant()
    def all_reports_add_up_to_the_ledger(self) -> None:
        moves = replay(self.house)
        expected = figures(moves)
        for kind in ReportKind:
            report = self.house.reports.report(kind, RequestFilter())
            total = cells(report, report.total, skip=len(report.by))
            assert (total["charge"], total["cost"]) == (expected["charge"], expected["cost"]), kind
            for name in ("charge", "cost", "margin", "requests"):
                assert sum(cells(report, line)[name] for line in report.rows) == total[name], (kind, name)
        check_revenue(self.house, RequestFilter(), "month", "UTC")
        self.each_customer_and_provider_is_told_apart(moves)

    def each_customer_and_provider_is_told_apart(self, moves: list[Move]) -> None:
        charged: Tally[str] = Tally()
        owed: Tally[str] = Tally()
        for move in moves:
            if move.is_call:
                charged[move.customer or ""] += move.into("revenue")
                for account in (move.source, move.destination):
                    if account.startswith("provider:"):
                        owed[account.removeprefix("provider:")] -= move.into(account)
        assert self.told(ReportKind.CUSTOMERS, "charge") == +charged
        assert self.told(ReportKind.PROVIDERS, "cost") == +owed

    def told(self, kind: ReportKind, name: str) -> dict[str, int]:
        report = self.house.reports.report(kind, RequestFilter())
        return {str(line[0]): amount for line in report.rows if (amount := cells(report, line)[name])}

    def credit_is_what_was_sold_for_the_money(self) -> None:
        """Not here: credit is given by hand as well."""

    def teardown(self) -> None:
        while self.open_calls:
            self.end_call()
        super().teardown()


class ReportsOfAFile(ReportMachine):
    """The same over an SQLite file."""

    def open_houses(self) -> list[House]:
        return [self.open_house()]


def test_reports_are_what_the_journal_says_after_any_history(full_length: bool) -> None:
    run(ReportMachine, 2000 if full_length else 8, 50 if full_length else 30)


def test_reports_out_of_a_file_are_what_its_journal_says_after_any_history(full_length: bool) -> None:
    run(ReportsOfAFile, 500 if full_length else 4, 50 if full_length else 30)


def test_overage_sums_that_were_changed_are_found_and_made_anew(shop: Shop, tmp_path: Path) -> None:
    shop.plan("Metered", "1.00", overage_cap_nanos=usd("100"))
    shop.customer("acme")
    shop.start("acme", "Metered")
    shop.spend("acme", "7")
    totals = shop.house.reports.report(ReportKind.REVENUE, RequestFilter())
    assert cells(totals, totals.total, skip=1)["overage"] == usd("6")
    if isinstance(shop.house.ledger, MemoryLedger):
        return
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE overage_rollups SET overage_nanos = overage_nanos + 1")
    (found, kept) = shop.house.ledger.books().rollup_faults(limit=9)
    assert found.startswith("the journal gives overage_nanos 6000000000 ")
    assert kept.startswith("kept is overage_nanos 6000000001 ")
    shop.house.ledger.rebuild_rollups()
    assert shop.house.ledger.books().rollup_faults(limit=9) == ()


def in_overage(shop: Shop) -> None:
    """acme has spent the $1.00 of its plan, and may go on."""
    shop.plan("Metered", "1.00", overage_cap_nanos=usd("100"))
    shop.customer("acme")
    shop.start("acme", "Metered")
    shop.spend("acme", "1")


def test_overage_counts_at_the_hold_of_its_call_to_the_microsecond(shop: Shop) -> None:
    in_overage(shop)
    shop.clock.at_us = at("2026-01-10T23:59:59")
    call = shop.begin("acme", "7")
    shop.clock.at_us = at("2026-01-11T10:00:00")
    shop.end(call)
    for by in ("day", "hour"):
        check_revenue(shop.house, RequestFilter(), by, "UTC")
    (record,) = shop.house.ledger.books().requests(RequestFilter(since_us=at("2026-01-10"))).items
    held_us = record.created_us
    for since_us, until_us in ((held_us, None), (held_us + 1, None), (None, held_us), (None, held_us + 1)):
        check_revenue(shop.house, RequestFilter(since_us=since_us, until_us=until_us), "hour", "UTC")
    report = shop.house.reports.report(ReportKind.REVENUE, RequestFilter(), by="day")
    overage = {line[0]: cells(report, line)["overage"] for line in report.rows}
    assert {day: nanos for day, nanos in overage.items() if nanos} == {"2026-01-10": usd("7")}


def test_overage_that_is_paid_back_is_none(shop: Shop) -> None:
    in_overage(shop)
    call = shop.begin("acme", "7")
    (hold,) = shop.house.ledger.books().holds(open_only=True).items
    resolve_as_orphan(shop.house, hold, now_us=shop.clock.now_us(), ids=shop.house.ids)
    report = shop.house.reports.report(ReportKind.REVENUE, RequestFilter())
    assert cells(report, report.total, skip=1)["overage"] == usd("7")
    shop.house.holds.void(hold.hold_id, by=ME, reason="never sent", force=True)
    report = shop.house.reports.report(ReportKind.REVENUE, RequestFilter())
    assert cells(report, report.total, skip=1)["overage"] == 0
    check_revenue(shop.house, RequestFilter(), "day", "UTC")
    shop.end(call)


def resolve_as_orphan(house: House, hold: Hold, *, now_us: int, ids: IdSource) -> None:
    """As the sweep does where the call's process died."""
    stamp = Stamp(
        now_us=now_us, transaction_id=TransactionId(ids.new("txn")), event_id=EventId(ids.new("evt")), actor="sweep"
    )

    def decide(holding: Holding | None) -> Decision[RequestRecord | None]:
        assert holding is not None
        return orphan(holding, stamp)

    house.ledger.transact(lambda rows: load_holding(rows, hold.hold_id), decide).result()
