"""Subscriptions, bundles, refunds and top-ups in any order, with a gateway that fails in every way and a clock that jumps.

The model is the bank: what moved there, once for each key, is all the money there is. From it alone follows what the
books must say, and what credit was sold for it.
"""

import contextlib
import itertools
from collections import Counter as Tally
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from lava_proxy.core.billing import (
    OPEN_PAYMENTS,
    AfterGrace,
    Interval,
    Payment,
    PaymentStatus,
    Purpose,
    Rollover,
    Subscription,
    SubscriptionStatus,
)
from lava_proxy.core.entities import Grant, GrantSource, Mode
from lava_proxy.core.errors import Conflict, InvalidInput, Refused
from lava_proxy.core.gateway import Answer
from lava_proxy.core.money import parse_amount
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.payments.memory import DECLINES, LATER, PAYS, TIMES_OUT, MemoryGateway
from lava_proxy.prices import PriceBook, load_price_book
from lava_proxy.services.exchange import Forward
from lava_proxy.services.homes import furnish
from lava_proxy.services.subscriptions import TopUpTerms
from lava_proxy.settings import Home, Settings
from lava_proxy.store import MemoryLedger
from lava_proxy.wiring import House
from tests.billing.conftest import ASKED, ME, Shop, at
from tests.services.conftest import CountedIds, TestClock

CUSTOMERS = ("a", "b")
PLANS = ("Free", "Small", "Big", "Daily", "Trial")
HOUR_US = 3600 * 1_000_000
customers = st.sampled_from(CUSTOMERS)


@cache
def price_book() -> PriceBook:
    return load_price_book()


class MoneyMachine(RuleBasedStateMachine):
    """One home in memory; see ``TwoProcesses``."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.gateway, self.ids = TestClock(), MemoryGateway(), CountedIds()
        self.clock.at_us = at("2026-01-31")
        self.folder = TemporaryDirectory()
        self.latest_us = self.clock.at_us
        self.opened = self.open_houses()
        self.houses = itertools.cycle(self.opened)
        self.house = next(self.houses)
        self.shop = Shop(self.house, self.clock, self.gateway)

    def open_houses(self) -> list[House]:
        house = self.open_house()
        house.ledger = MemoryLedger(mode=Mode.TEST, clock=self.clock)
        return [house]

    def open_house(self) -> House:
        house = House(
            Home(Path(self.folder.name)),
            Settings(synchronous="NORMAL"),
            mode=Mode.TEST,
            create=True,
            clock=self.clock,
            ids=self.ids,
        )
        house.gateway, house.prices = self.gateway, price_book()
        return house

    @initialize()
    def furnish(self) -> None:
        furnish(self.house.ledger, clock=self.clock, ids=self.ids, random_bytes=lambda length: bytes(range(length)))
        shop = self.shop
        shop.plan("Small", "10.00", overage_cap_nanos=parse_amount("5"), overage_markup_nanos=10 * 10**9)
        shop.plan("Big", "40.00", rollover=Rollover.FULL, rollover_cap_nanos=parse_amount("15"))
        shop.plan("Daily", "3.00", interval=Interval.DAY, after_grace=AfterGrace.FREE, grace_days=1)
        shop.plan("Trial", "7.00", trial_days=3, bundle_rollover=Rollover.NONE)
        self.bundle_id = shop.bundle("Small", "4.00", "5.00")
        for name in CUSTOMERS:
            shop.customer(name)

    @rule(customer=customers, plan=st.sampled_from(PLANS), discount=st.sampled_from((0, 15)))
    def start(self, customer: str, plan: str, discount: int) -> None:
        own = OwnTerms(discount_nanos=discount * 10**9, minimum_nanos=parse_amount("12") if discount else 0)
        self.try_(lambda: self.house.subscriptions.start(customer, plan, own, asked=ASKED))

    @rule(customer=customers, plan=st.sampled_from(PLANS))
    def change(self, customer: str, plan: str) -> None:
        self.try_(lambda: self.house.subscriptions.change(customer, plan, asked=ASKED))

    @rule(customer=customers, now=st.booleans())
    def cancel(self, customer: str, now: bool) -> None:
        self.try_(lambda: self.house.subscriptions.cancel(customer, now=now, asked=ASKED))

    @rule(customer=customers)
    def pause(self, customer: str) -> None:
        self.try_(lambda: self.house.subscriptions.pause(customer, asked=ASKED))

    @rule(customer=customers)
    def resume(self, customer: str) -> None:
        self.try_(lambda: self.house.subscriptions.resume(customer, asked=ASKED))

    @rule(customer=customers)
    def buy(self, customer: str) -> None:
        self.try_(lambda: self.house.subscriptions.buy(customer, self.bundle_id, asked=ASKED))

    @rule(customer=customers, of_subscription=st.booleans())
    def set_top_up(self, customer: str, of_subscription: bool) -> None:
        terms = TopUpTerms(
            below_nanos=parse_amount("6"),
            amount_nanos=parse_amount("9"),
            month_cap_nanos=parse_amount("30"),
            cooldown_us=HOUR_US,
            of_subscription=of_subscription,
        )
        self.try_(lambda: self.house.subscriptions.set_top_up(customer, terms, asked=ASKED))

    @rule(customer=customers, index=st.integers(0, 20))
    def refund(self, customer: str, index: int) -> None:
        payments = self.shop.payments(customer)
        if payments:
            payment = payments[index % len(payments)]
            self.try_(lambda: self.house.subscriptions.refund(payment.payment_id, asked=ASKED))

    @rule(customer=customers, price=st.sampled_from(("1", "4", "9")))
    def spend(self, customer: str, price: str) -> None:
        answer = self.shop.ask(customer, price)
        if isinstance(answer, Forward):
            assert answer.call is not None
            self.shop.end(answer.call)

    @rule(customer=customers, index=st.integers(0, 20))
    def late_answer(self, customer: str, index: int) -> None:
        """A payment that was pending comes in after all."""
        waiting = [p for p in self.shop.payments(customer) if p.status is PaymentStatus.PENDING]
        if waiting:
            payment = waiting[index % len(waiting)]
            key = f"{payment.payment_id}:{payment.attempts}"
            sign = -1 if payment.purpose is Purpose.REFUND else 1
            self.gateway.moved[key] = sign * payment.amount_nanos
            self.house.payments.mark_paid(payment.payment_id, by=ME)

    @rule(hours=st.sampled_from((1, 30)))
    def go_back(self, hours: int) -> None:
        self.clock.at_us -= hours * HOUR_US

    @rule(
        hours=st.sampled_from((0, 1, 1, 5, 24, 24 * 8, 24 * 40)),
        answers=st.lists(st.sampled_from((PAYS, DECLINES, TIMES_OUT, TIMES_OUT, LATER)), max_size=3),
        moves=st.booleans(),
        all_rules=st.booleans(),
    )
    def tick(self, hours: int, answers: list[Answer], moves: bool, all_rules: bool) -> None:
        """Later, by one of the processes in turn, while the gateway answers like this."""
        self.clock.at_us += hours * HOUR_US
        self.latest_us = max(self.latest_us, self.clock.at_us)
        for answer in answers:
            self.gateway.will(answer, moves=moves and answer is TIMES_OUT)
        self.house = next(self.houses)
        assert self.house.ticking.tick(all_rules=all_rules).failures == 0

    @invariant()
    def the_bank_and_the_books_agree(self) -> None:
        payments = list(self.house.ledger.books().rows(Payment))
        booked = {p.payment_id: p for p in payments if p.status is PaymentStatus.PAID}
        moved: Tally[str] = Tally()
        for key, amount in self.gateway.moved.items():
            moved[key.partition(":")[0]] += amount
        for payment_id, payment in booked.items():
            sign = -1 if payment.purpose is Purpose.REFUND else 1
            assert moved.pop(payment_id) == sign * payment.amount_nanos, payment
        unknown = {p.payment_id for p in payments if p.status in (PaymentStatus.UNKNOWN, PaymentStatus.SENT)}
        assert set(moved) <= unknown, "money moved that nobody knows of or asks about"

    @invariant()
    def credit_is_what_was_sold_for_the_money(self) -> None:
        payments = list(self.house.ledger.books().rows(Payment))
        sold = {p.grant_id: p for p in payments if p.grant_id is not None}
        for grant in self.house.ledger.books().rows(Grant):
            payment = sold.pop(grant.grant_id, None)
            if payment is None:
                assert grant.paid_nanos == 0 and grant.source is GrantSource.CYCLE, grant
            else:
                assert payment.status is PaymentStatus.PAID, payment
                assert (grant.amount_nanos, grant.paid_nanos) == (payment.credit_nanos, payment.amount_nanos)
        assert not sold

    @invariant()
    def nobody_pays_twice_for_one_thing(self) -> None:
        cycles: Tally[tuple[str | None, int]] = Tally()
        top_ups: Tally[str] = Tally()
        for payment in self.house.ledger.books().rows(Payment):
            if payment.purpose is Purpose.CYCLE and payment.status is PaymentStatus.PAID and payment.grant_id:
                cycles[payment.subscription_id, payment.cycle] += 1
            if payment.purpose is Purpose.TOP_UP and payment.status in OPEN_PAYMENTS:
                top_ups[payment.customer_id] += 1
        assert max(cycles.values(), default=0) <= 1, cycles
        assert max(top_ups.values(), default=0) <= 1, top_ups

    @invariant()
    def the_books_add_up(self) -> None:
        report = self.house.verify()
        assert report.findings == (), report.findings

    def try_(self, change: Callable[[], object]) -> None:
        """What is not allowed in the present state is refused, and anything else is a fault."""
        with contextlib.suppress(Refused, Conflict, InvalidInput):
            change()

    def teardown(self) -> None:
        """Once the gateway works, everything comes to rest: no outcome stays unknown, no cycle stays behind."""
        self.gateway.script.clear()
        self.clock.at_us = self.latest_us
        for _ in range(12):
            self.clock.at_us += 7 * HOUR_US
            self.tick(hours=0, answers=[], moves=False, all_rules=False)
        payments = list(self.house.ledger.books().rows(Payment))
        restless = (PaymentStatus.SENT, PaymentStatus.UNKNOWN)
        assert not [p for p in payments if p.status in restless]
        for subscription in self.house.ledger.books().rows(Subscription):
            is_over = subscription.due_us is not None and subscription.due_us <= self.clock.at_us
            assert not is_over or subscription.status is SubscriptionStatus.CANCELLED, subscription
        self.the_bank_and_the_books_agree()
        self.the_books_add_up()
        self.close()

    def close(self) -> None:
        for house in self.opened:
            house.close()
        self.folder.cleanup()


class TwoProcesses(MoneyMachine):
    """Two openings of one SQLite file, which take turns."""

    def open_houses(self) -> list[House]:
        return [self.open_house(), self.open_house()]


def run(machine: type[MoneyMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_money_moves_once_and_buys_what_it_should_in_any_order(full_length: bool) -> None:
    run(MoneyMachine, 3000 if full_length else 30, 60 if full_length else 40)


@pytest.mark.slow
def test_the_same_by_two_processes_on_one_file(full_length: bool) -> None:
    run(TwoProcesses, 500 if full_length else 8, 50 if full_length else 25)
