"""Proving the books: whole ones pass, and whatever is changed by hand is found and named."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.prices import PriceBook
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.homes import furnish
from lava_proxy.services.recovery import Recovery
from lava_proxy.services.runs import RunTerms
from lava_proxy.settings import Home, Settings
from lava_proxy.wiring import House
from tests.services.conftest import ME, CountedIds, TestClock, Traffic

DOLLAR = 10**9


def fill(house: House) -> Traffic:
    """Books with everything in them: charges, a void, debt, an orphan, a run's budgets, a call in flight."""
    traffic = Traffic(house)
    house.customers.create(CustomerFields(reference_id="acme"), by=ME)
    house.customers.create(CustomerFields(reference_id="poor"), by=ME)
    house.credits.grant(GrantTerms(customer="acme", amount_nanos=10 * DOLLAR), by=ME)
    house.credits.grant(GrantTerms(customer="poor", amount_nanos=DOLLAR // 1000), by=ME)
    run = house.runs.start(RunTerms(customer="acme", cost_nanos_max=DOLLAR, charge_nanos_max=DOLLAR), by=ME)
    traffic.call("acme")
    traffic.call("acme", key=run.text)
    traffic.end(traffic.begin("acme", key=run.text), status=500)
    traffic.end(traffic.begin("poor"), input_tokens=10_000_000)
    traffic.begin("acme", key=run.text)
    Recovery(
        ledger=house.ledger,
        clock=house.clock,
        ids=house.ids,
        own=None,
        is_alive=lambda _: False,
        is_open=lambda _: False,
    ).sweep()
    traffic.begin("acme", key=run.text)
    house.credits.grant(GrantTerms(customer="poor", amount_nanos=2 * DOLLAR), by=ME)
    return traffic


def test_books_with_everything_in_them_add_up(house: House) -> None:
    fill(house)
    seen: list[int] = []
    found = house.verify(seen.append)
    assert found.findings == ()
    assert found.is_well and found.requests == 6 and found.grants == 3
    assert seen[-1] == found.entries == house.requests.last_sequence()


def test_an_empty_ledger_adds_up(house: House) -> None:
    assert house.verify().is_well


def test_open_holds_without_a_proxy_are_told_and_no_fault(house: House) -> None:
    traffic = fill(house)
    assert house.verify().notes == ()
    house.instances.end(traffic.registered)
    found = house.verify()
    assert found.is_well
    assert found.notes == ("1 holds are open and no proxy runs; the next `lava up` resolves them.",)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger's file with everything in it, closed."""
    folder = tmp_path_factory.mktemp("filled")
    clock = TestClock()
    with House(Home(folder), Settings(), mode=Mode.TEST, create=True, clock=clock, ids=CountedIds()) as house:
        furnish(house.ledger, clock=house.clock, ids=house.ids, random_bytes=lambda length: bytes(range(length)))
        traffic = fill(house)
        house.instances.end(traffic.registered)
    return Home(folder).ledger_file


@pytest.fixture
def tampered(filled: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of that file without its guards, for a test to change by hand."""
    copy = Home(tmp_path).ledger_file
    with closing(sqlite3.connect(filled)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        yield connection


def invariants(tmp_path: Path) -> set[str]:
    with House(Home(tmp_path), Settings()) as house:
        return {finding.invariant for finding in house.verify().findings}


CHANGES = {
    "an amount of the past": ("UPDATE postings SET amount_nanos = amount_nanos + 1 WHERE sequence = 1", "I9"),
    "an instant of the past": ("UPDATE transactions SET at_us = at_us - 1 WHERE sequence = 2", "I9"),
    "a transaction taken out": ("DELETE FROM transactions WHERE sequence = 3", "I9"),
    "the end of the journal cut off": (
        "DELETE FROM transactions WHERE sequence = (SELECT max(sequence) FROM transactions)",
        "I2",
    ),
    "the free part of a grant": (
        "UPDATE grants SET free_nanos = free_nanos + 5, amount_nanos = amount_nanos + 5",
        "I2",
    ),
    "the spent part of a grant": (
        "UPDATE grants SET spent_nanos = spent_nanos - 5, free_nanos = free_nanos + 5 WHERE spent_nanos > 5",
        "I2",
    ),
    "a debt": ("UPDATE wallets SET debt_nanos = debt_nanos + 1", "I2"),
    "the state of a hold": ("UPDATE holds SET state = 'settled' WHERE state = 'in_flight'", "I4"),
    "a charge": ("UPDATE requests SET charge_nanos = charge_nanos + 1 WHERE charge_nanos > 0", "I6"),
    "a cost": ("UPDATE requests SET cost_nanos = cost_nanos + 1 WHERE cost_nanos > 0", "I6"),
    "a record taken out": ("DELETE FROM requests WHERE charge_nanos > 0", "I6"),
    "a tier counter": ("UPDATE tier_counters SET count_micros = count_micros + 1", "I8"),
    "a budget's held": ("UPDATE budgets SET held = held + 1", "I2"),
    "a budget's spent": ("UPDATE budgets SET spent = spent + 1", "I2"),
    "the flag of a charge over its hold": ("UPDATE requests SET flags = '[]' WHERE uncovered_nanos > 0", "I5"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_by_hand_is_found(change: str, tampered: sqlite3.Connection, tmp_path: Path) -> None:
    statement, invariant = CHANGES[change]
    assert tampered.execute(statement).rowcount > 0
    assert invariant in invariants(tmp_path)


def test_the_copy_as_it_is_adds_up(tampered: sqlite3.Connection, tmp_path: Path) -> None:
    assert invariants(tmp_path) == set()


def test_a_row_that_cannot_be_is_a_finding_and_not_a_crash(tampered: sqlite3.Connection, tmp_path: Path) -> None:
    tampered.execute("UPDATE grants SET free_nanos = -1")
    tampered.execute("UPDATE postings SET amount_nanos = 0 WHERE sequence = (SELECT max(sequence) FROM postings)")
    assert {"I2", "I9"} <= invariants(tmp_path)


def test_books_are_proved_while_calls_go_on(house: House, price_book: PriceBook) -> None:
    """What moves between the replay and the comparison is left out, and not taken for a fault."""
    traffic = fill(house)
    books = house.ledger.books

    class Busy:
        """Makes a call each time somebody begins to read."""

        def __call__(self) -> object:
            found = books()
            traffic.call("acme")
            return found

    house.ledger.books = Busy()  # type: ignore[method-assign,assignment]
    found = house.verify()
    assert found.findings == ()
    assert found.in_motion > 0
