"""`lava verify` finds what somebody changed in the rows of billing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.payments.memory import LATER, MemoryGateway
from lava_proxy.prices import PriceBook
from lava_proxy.services.homes import furnish
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House
from tests.billing.conftest import ASKED, Shop, at, usd
from tests.services.conftest import CountedIds, TestClock


def open_shop(folder: Path, price_book: PriceBook) -> Shop:
    clock, gateway = TestClock(), MemoryGateway()
    clock.at_us = at("2026-01-01")
    house = House(Home(folder), Settings(), mode=Mode.TEST, create=True, clock=clock, ids=CountedIds())
    house.prices, house.gateway = price_book, gateway
    return Shop(house, clock, gateway)


@pytest.fixture
def file(tmp_path: Path, price_book: PriceBook) -> Path:
    """Two customers: one with overage billed and unbilled and a call in flight, one who got money back."""
    shop = open_shop(tmp_path, price_book)
    with shop.house as house:
        furnish(house.ledger, clock=house.clock, ids=house.ids, random_bytes=lambda length: bytes(range(length)))
        plan = shop.plan("Pro", "10.00", overage_cap_nanos=usd("9"), overage_collect_nanos=usd("2"))
        shop.start(shop.customer("acme"), plan)
        shop.spend("acme", "12")
        shop.gateway.will(LATER)
        shop.tick()
        shop.spend("acme", "1")
        shop.begin("acme", "3")
        shop.start(shop.customer("bolt"), plan)
        shop.house.subscriptions.cancel("bolt", now=True, asked=ASKED)
        shop.tick()
        assert house.verify().findings == ()
    return tmp_path


@pytest.mark.parametrize(
    ("invariant", "statement"),
    [
        ("I11", "UPDATE payments SET amount_nanos = amount_nanos + 1 WHERE purpose = 'cycle'"),
        ("I11", "UPDATE payments SET status = 'paid', paid_us = 1 WHERE status = 'pending'"),
        ("I11", "DELETE FROM payments WHERE purpose = 'refund'"),
        ("I11", "DELETE FROM payments WHERE purpose = 'cycle'"),
        ("I11", "UPDATE payments SET refunded_nanos = 1 WHERE purpose = 'cycle' AND refunded_nanos > 0"),
        ("I11", "UPDATE payments SET gateway = 'other' WHERE purpose = 'refund'"),
        ("I11", "UPDATE grants SET paid_nanos = paid_nanos - 1 WHERE paid_nanos > 0"),
        ("I11", "UPDATE payments SET grant_id = 'grt_other' WHERE grant_id IS NOT NULL"),
        ("I12", "UPDATE terms SET overage_used_nanos = overage_used_nanos - 1 WHERE overage_used_nanos > 0"),
        ("I12", "UPDATE terms SET overage_billed_nanos = overage_billed_nanos + 1 WHERE overage_billed_nanos > 0"),
        ("I12", "UPDATE terms SET overage_held_nanos = 0 WHERE overage_held_nanos > 0"),
        ("I12", "UPDATE holds SET overage_nanos = 1, amount_nanos = 1 WHERE overage_nanos > 0"),
        ("I12", "UPDATE payments SET amount_nanos = amount_nanos - 1 WHERE purpose = 'overage'"),
        ("I12", "DELETE FROM payments WHERE purpose = 'overage'"),
        ("I12", "DELETE FROM terms"),
        ("I13", "DELETE FROM terms"),
        ("I13", "UPDATE terms SET cycle_end_us = cycle_end_us + 1"),
        ("I13", "UPDATE terms SET plan_id = 'sc_other' WHERE plan_id IS NOT NULL"),
        ("I13", "UPDATE terms SET subscription_id = NULL"),
        ("I13", "UPDATE subscriptions SET status = 'cancelled', ended_us = 1, live_of = NULL"),
    ],
)
def test_what_was_changed_by_hand_is_found(file: Path, price_book: PriceBook, invariant: str, statement: str) -> None:
    with closing(sqlite3.connect(file / "ledger.db")) as connection:
        for trigger in ("payments_stay_paid", "plans_keep_their_price"):
            connection.execute(f"DROP TRIGGER {trigger}")
        assert connection.execute(statement).rowcount > 0
        connection.commit()
    with open_shop(file, price_book).house as house:
        assert invariant in {finding.invariant for finding in house.verify().findings}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments SET status = 'due', paid_us = NULL WHERE status = 'paid'",
        "UPDATE payments SET amount_nanos = 1 WHERE status = 'paid'",
        "UPDATE plans SET amount_nanos = 1",
        "UPDATE plans SET interval = 'day'",
        "UPDATE subscriptions SET live_of = NULL WHERE status = 'active'",
        "UPDATE payments SET reference = 'same'",
        "UPDATE terms SET overage_held_nanos = -1",
    ],
)
def test_the_file_itself_refuses_what_would_undo_money(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file / "ledger.db")) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
