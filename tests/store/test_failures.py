"""When the disk fails: every step in flight learns so, nothing is half done, and the writer goes on when it can."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import (
    Customer,
    Entity,
    Grant,
    Hold,
    HoldState,
    HomeFact,
    Mode,
    RequestRecord,
    Transaction,
)
from lava_proxy.core.errors import LedgerUnavailable
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.verify import verify
from lava_proxy.store import SqliteLedger, integrity
from tests.store.faults import FailingConnection, failing_class
from tests.store.samples import ACME, FOUNDATION, NOW_US, FakeClock, customer, event, hold, record, transaction, write


def opened(
    path: Path, connection_class: type[sqlite3.Connection] = sqlite3.Connection, busy: float = 0.2
) -> SqliteLedger:
    return SqliteLedger(path, mode=Mode.TEST, clock=FakeClock(), busy_seconds=busy, connection_class=connection_class)


def eventually(claim: Callable[[], bool]) -> None:
    """Wait for something that the writer does by itself."""
    for _ in range(600):
        if claim():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")


@pytest.fixture
def failing() -> type[FailingConnection]:
    return failing_class()


@pytest.fixture
def ledger(path: Path, failing: type[FailingConnection]) -> Iterator[SqliteLedger]:
    with opened(path, failing) as made:
        write(made, *FOUNDATION)
        yield made


def putting(ledger: SqliteLedger, row: Entity) -> Future[None]:
    return ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(row,)))


def everything(ledger: SqliteLedger) -> list[object]:
    """All that a step of ``settle_all`` touches."""
    with ledger.books().snapshot() as books:
        rows = [row for kind in (Customer, Grant, Hold, RequestRecord) for row in books.rows(kind)]
        return [*rows, *(entry.transaction for entry in books.journal())]


def succeeds(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except LedgerUnavailable:
        return False
    return True


def settle_all(ledger: SqliteLedger, name: str) -> None:
    """A hold and its settling in two steps that may come into one group, with rows of many tables."""

    def load(rows: Rows) -> Grant:
        found = rows.get(Grant, "grt_1")
        assert found is not None
        return found

    def take(grant: Grant) -> Decision[None]:
        less = replace(grant, free_nanos=grant.free_nanos - 5, held_nanos=grant.held_nanos + 5)
        moved = transaction(f"hold:req_{name}", ("grant:grt_1:free", "grant:grt_1:held", 5), customer_id=ACME)
        return Decision(result=None, transactions=(moved,), rows=(less, hold(name, amount=5), event(f"h{name}")))

    def end(grant: Grant) -> Decision[None]:
        more = replace(grant, held_nanos=grant.held_nanos - 5, spent_nanos=grant.spent_nanos + 5)
        moved = transaction(f"settle:req_{name}", ("grant:grt_1:held", "revenue", 5), customer_id=ACME)
        done = replace(hold(name, amount=5), state=HoldState.SETTLED, resolved_us=1)
        return Decision(result=None, transactions=(moved,), rows=(more, done, record(name, charge=5)))

    for future in (ledger.transact(load, take), ledger.transact(load, end)):
        future.result(30)


def test_a_fault_at_any_statement_leaves_nothing_half_done_and_the_next_try_succeeds(
    ledger: SqliteLedger, failing: type[FailingConnection]
) -> None:
    settle_all(ledger, "warm")
    failing.arm(10**9)
    settle_all(ledger, "counted")
    statements = failing.count
    assert statements > 8
    faults = 0
    for number in range(1, 3 * statements):
        before = everything(ledger)
        failing.arm(number)
        if not succeeds(partial(settle_all, ledger, f"n{number}")):
            faults += 1
            new = [row for row in everything(ledger) if row not in before]
            assert not new or [type(row) for row in new] == [Grant, Hold, Transaction], "the hold was taken, or nothing"
        elif failing.armed_at is None:
            raise AssertionError("a step succeeded although one of its statements failed")
    failing.armed_at = None
    assert faults >= statements
    settle_all(ledger, "last")
    assert not [f for f in verify(ledger.books(), now_us=NOW_US).findings if f.invariant == "I9"], "the chain is whole"
    assert not integrity(ledger.path, thorough=True).problems


def test_a_fault_while_the_commit_is_made_writes_nothing(path: Path) -> None:
    class FailsAtCommit(sqlite3.Connection):
        is_broken = False

        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if sql == "COMMIT" and type(self).is_broken:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *values)  # type: ignore[arg-type]

    with opened(path, FailsAtCommit) as ledger:
        FailsAtCommit.is_broken = True
        with pytest.raises(LedgerUnavailable):
            write(ledger, customer(), transactions=(transaction("a"),))
        FailsAtCommit.is_broken = False
        assert ledger.read(lambda rows: rows.get(Customer, ACME)) is None
        write(ledger, customer(), transactions=(transaction("a"),))
        assert ledger.books().last_sequence() == 1


def test_a_locked_file_is_waited_for_and_then_refused_and_works_again_once_free(path: Path) -> None:
    with opened(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        futures = [putting(ledger, customer(f"con_{n}")) for n in range(5)]
        for future in futures:
            with pytest.raises(LedgerUnavailable, match="locked by another process") as caught:
                future.result(30)
            assert caught.value.hint
        assert "locked" in ledger.backlog().failure
        assert not list(ledger.books().rows(Customer)), "reading goes on"
        other.execute("ROLLBACK")
        write(ledger, customer())
        assert ledger.backlog().failure == ""


def test_a_short_lock_of_another_is_only_waited_for(path: Path) -> None:
    with opened(path, busy=20) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        future = ledger.transact(lambda _: None, lambda _: Decision(result="in", rows=(customer(),)))
        time.sleep(0.05)
        assert not future.done()
        other.execute("COMMIT")
        assert future.result(30) == "in"


def test_a_full_disk_is_told_and_forgotten_when_there_is_room_again(
    ledger: SqliteLedger, failing: type[FailingConnection]
) -> None:
    writer = failing.opened[-1]
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    fat = "x" * 100_000
    with pytest.raises(LedgerUnavailable, match="the disk is full"):
        write(ledger, HomeFact(name="fat", value=fat), transactions=(transaction("fat"),))
    assert ledger.read(lambda rows: rows.get(HomeFact, "fat")) is None
    assert ledger.books().last_sequence() == 0
    write(ledger, HomeFact(name="fat", value=fat), transactions=(transaction("fat"),))
    assert ledger.books().last_sequence() == 1


def test_a_read_only_file_is_told(path: Path, failing: type[FailingConnection]) -> None:
    with opened(path, failing) as ledger:
        write(ledger, customer())
        failing.opened[-1].execute("PRAGMA query_only = ON")
        with pytest.raises(LedgerUnavailable, match="is read-only"):
            write(ledger, customer("con_2"))
        write(ledger, customer("con_2"))


def test_a_damaged_file_is_told_and_one_that_was_put_right_is_used(path: Path) -> None:
    with opened(path) as ledger:
        write(ledger, *FOUNDATION, *(customer(f"con_{n}") for n in range(500)))
    good = path.read_bytes()
    path.write_bytes(good[:8192] + os.urandom(len(good) - 8192))
    damaged = opened_or_none(path)
    if damaged is not None:
        with damaged as ledger:
            with pytest.raises(LedgerUnavailable, match="is damaged"):
                write(ledger, *(customer(f"con_new{n}") for n in range(500)))
            with pytest.raises(LedgerUnavailable, match="is damaged"):
                list(ledger.books().rows(Customer))
    assert integrity(path).problems
    for leftover in (f"{path}-wal", f"{path}-shm"):
        Path(leftover).unlink(missing_ok=True)
    path.write_bytes(good)
    assert not integrity(path, thorough=True).problems
    with opened(path) as ledger:
        write(ledger, customer("con_new"))


def opened_or_none(path: Path) -> SqliteLedger | None:
    try:
        return opened(path)
    except LedgerUnavailable:
        return None


def test_a_file_that_was_taken_away_gets_no_more_writes_and_is_used_again_when_it_is_back(path: Path) -> None:
    with opened(path) as ledger:
        write(ledger, customer())
        away = path.with_name("away.db")
        shutil.copy(path, away)
        path.rename(path.with_name("gone.db"))
        with pytest.raises(LedgerUnavailable, match="not there any more"):
            write(ledger, customer("con_2"))
        with pytest.raises(LedgerUnavailable, match="not there any more"):
            list(ledger.books().rows(Customer))
        path.with_name("gone.db").rename(path)
        write(ledger, customer("con_2"))
        assert len(list(ledger.books().rows(Customer))) == 2


def test_another_file_that_is_put_in_its_place_is_read_anew(path: Path) -> None:
    """A backup that is moved in while the proxy runs: nothing that was known of the old file holds any more."""
    backup = path.with_name("backup.db")
    with opened(backup) as ledger:
        write(ledger, customer(), transactions=(transaction("of the backup"),))
    with opened(path) as ledger:
        write(ledger, customer("con_2"), transactions=(transaction("a"), transaction("b")))
        assert looked_up(ledger) == customer("con_2")
        for name in (f"{path}-wal", f"{path}-shm", path):
            Path(name).unlink(missing_ok=True)
        backup.rename(path)
        assert looked_up(ledger) is None
        write(ledger, customer("con_2"), transactions=(transaction("c"),))
        assert [entry.transaction.key for entry in ledger.books().journal()] == ["of the backup", "c"]
        assert not [f for f in verify(ledger.books(), now_us=NOW_US).findings if f.invariant == "I9"]


def looked_up(ledger: SqliteLedger) -> Customer | None:
    """As the writer sees it."""
    step = ledger.transact(lambda rows: rows.get(Customer, "con_2"), lambda found: Decision(result=found))
    return step.result(30)


def test_a_ledger_that_failed_finds_out_by_itself_that_the_fault_has_gone(path: Path) -> None:
    with opened(path) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable):
                write(ledger, customer())
            assert ledger.backlog().failure
            other.execute("ROLLBACK")
        eventually(lambda: ledger.backlog().failure == "")
        assert ledger.read(lambda rows: rows.get(HomeFact, "ledger_recovered_us")) is not None


def test_text_that_is_no_unicode_does_not_keep_a_call_from_being_booked(ledger: SqliteLedger) -> None:
    """A provider may answer with half a surrogate pair; the call was made, and must be charged."""
    odd = replace(record(), response_id="resp_\ud800", raw_usage=('{"a":"\ud800"}',))
    write(ledger, hold(state=HoldState.SETTLED), odd)
    found = ledger.read(lambda rows: rows.get(RequestRecord, "req_1"))
    assert found is not None
    assert found.response_id == "resp_?"
    assert found.raw_usage == odd.raw_usage


def test_a_number_that_no_file_can_hold_fails_its_own_step_alone(ledger: SqliteLedger) -> None:
    futures = [putting(ledger, replace(customer(f"con_{n}"), created_us=n)) for n in (1, 2**70, 3)]
    with pytest.raises(OverflowError):
        futures[1].result(30)
    assert futures[0].result(30) is None
    assert futures[2].result(30) is None
    assert len(list(ledger.books().rows(Customer))) == 3
