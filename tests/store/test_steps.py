"""The contract of ``transact``: atomic, in order, durable, and each step on its own."""

import threading
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import Customer, Grant, Hold, HoldState, HomeFact, RequestRecord, RequestStatus, Wallet
from lava_proxy.core.errors import Conflict, LedgerInconsistent, LedgerUnavailable
from lava_proxy.core.journal import GENESIS_HASH, link_hash
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.store.ledger import WritingLedger
from tests.store.samples import ACME, BOLT, FOUNDATION, customer, event, grant, hold, record, transaction, write


def put(*rows: Any, result: object = None, transactions: tuple[Any, ...] = ()) -> Decision[Any]:
    return Decision(result=result, rows=rows, transactions=transactions)


def _always(decision: Decision[Any], _: None) -> Decision[Any]:
    return decision


class Gate:
    """Holds the writer in a step of its own, so that everything queued behind comes into one group."""

    def __init__(self, ledger: WritingLedger) -> None:
        self._reached, self._go = threading.Event(), threading.Event()

        def load(_: Rows) -> None:
            self._reached.set()
            assert self._go.wait(30)

        self._future = ledger.transact(load, lambda _: put())
        assert self._reached.wait(30)

    def open(self, *futures: Future[Any]) -> None:
        self._go.set()
        wait([self._future, *futures], 30)


def increment(ledger: WritingLedger, name: str = "count") -> Future[int]:
    def load(rows: Rows) -> int:
        found = rows.get(HomeFact, name)
        return int(found.value) if found else 0

    return ledger.transact(load, lambda seen: put(HomeFact(name=name, value=str(seen + 1)), result=seen + 1))


def test_the_result_of_the_rule_is_the_result_of_the_future(ledger: WritingLedger) -> None:
    future = ledger.transact(lambda rows: rows.get(Customer, ACME), lambda seen: put(result=("saw", seen)))
    assert future.result(30) == ("saw", None)


def test_steps_run_in_the_order_of_their_calls_and_each_sees_the_ones_before(ledger: WritingLedger) -> None:
    futures = [increment(ledger) for _ in range(500)]
    assert [future.result(30) for future in futures] == list(range(1, 501))


def test_a_step_sees_what_an_earlier_step_of_its_group_found_changed_and_added(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, grant("grt_0", free=5))
    gate = Gate(ledger)
    first = ledger.transact(
        lambda _: None, lambda _: put(grant("grt_2", free=7), grant("grt_0", free=0, spent=5), customer(BOLT))
    )
    found = ledger.transact(
        lambda rows: (rows.find(Grant, customer_id=ACME), rows.get(Customer, BOLT), rows.get(Grant, "grt_0")),
        lambda seen: put(result=seen),
    )
    gate.open(first, found)
    grants, added, spent = found.result(30)
    assert [g.grant_id for g in grants] == ["grt_1", "grt_2"]  # the spent one is no longer among the open ones
    assert added == customer(BOLT)
    assert spent is not None
    assert spent.free_nanos == 0


def test_a_step_that_raises_leaves_nothing_behind_and_does_not_touch_its_neighbours(ledger: WritingLedger) -> None:
    def fail(_: object) -> Decision[None]:
        raise RuntimeError("no")

    gate = Gate(ledger)
    before, bad, after = increment(ledger), ledger.transact(lambda _: None, fail), increment(ledger)
    gate.open(before, bad, after)
    assert (before.result(), after.result()) == (1, 2)
    with pytest.raises(RuntimeError, match="no"):
        bad.result()


def test_a_load_that_raises_fails_its_own_future_alone(ledger: WritingLedger) -> None:
    bad = ledger.transact(lambda rows: rows.find(Customer, email="x"), lambda _: put())
    assert increment(ledger).result(30) == 1
    with pytest.raises(ValueError, match="is not found by 'email'"):
        bad.result(30)


def test_a_decision_with_something_that_is_no_row_is_refused_whole(ledger: WritingLedger) -> None:
    bad = ledger.transact(lambda _: None, lambda _: put(customer(), "a text"))
    with pytest.raises(TypeError):
        bad.result(30)
    assert ledger.read(lambda rows: rows.get(Customer, ACME)) is None


def test_a_journal_key_that_comes_twice_is_a_conflict_and_only_the_second_is_refused(ledger: WritingLedger) -> None:
    gate = Gate(ledger)
    decisions = [put(HomeFact(name=n, value="1"), transactions=(transaction("same"),)) for n in ("first", "second")]
    steps = [ledger.transact(lambda _: None, partial(_always, decision)) for decision in decisions]
    bystander = increment(ledger)
    gate.open(*steps, bystander)
    assert steps[0].result() is None
    with pytest.raises(Conflict):
        steps[1].result()
    assert bystander.result() == 1
    assert ledger.read(lambda rows: rows.get(HomeFact, "second")) is None
    assert [entry.transaction.key for entry in ledger.books().journal()] == ["same"]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        pytest.param((grant(customer_id=BOLT),), LedgerInconsistent, id="a grant of nobody"),
        pytest.param((event("once"), event("once")), Conflict, id="an event twice"),
        pytest.param((customer(BOLT, reference_id="acme"),), Conflict, id="a reference id that is taken"),
        pytest.param(
            (hold(state=HoldState.SETTLED), record(), record()), None, id="the same row twice: the last counts"
        ),
        pytest.param((record(),), LedgerInconsistent, id="a record without its hold"),
        pytest.param((replace(hold(), resolved_us=5),), LedgerInconsistent, id="an open hold with an end"),
    ],
)
def test_what_the_tables_forbid_is_refused_and_nothing_of_it_is_written(
    ledger: WritingLedger, rows: tuple[Any, ...], error: type[Exception] | None
) -> None:
    write(ledger, *FOUNDATION)
    marker = HomeFact(name="marker", value="1")
    gate = Gate(ledger)
    before, step, after = (
        increment(ledger),
        ledger.transact(lambda _: None, lambda _: put(marker, *rows)),
        increment(ledger),
    )
    gate.open(before, step, after)
    assert (before.result(), after.result()) == (1, 2)
    if error is None:
        assert step.result() is None
    else:
        with pytest.raises(error):
            step.result()
    assert (ledger.read(lambda found: found.get(HomeFact, "marker")) is None) == (error is not None)


def test_a_record_that_was_read_may_be_replaced_and_one_that_was_not_is_a_conflict(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, hold(state=HoldState.ORPHANED), record())
    corrected = replace(record(), status=RequestStatus.ERROR)
    ledger.transact(lambda rows: rows.get(RequestRecord, "req_1"), lambda _: put(corrected)).result(30)
    assert ledger.read(lambda rows: rows.get(RequestRecord, "req_1")) == corrected
    with pytest.raises(Conflict):
        write(ledger, record())


def test_a_callers_own_request_id_is_refused_at_the_hold_so_that_no_settle_fails_for_it(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, hold("1", caller_request_id="mine"))
    with pytest.raises(Conflict):
        write(ledger, hold("2", caller_request_id="mine"))
    done = replace(hold("1", caller_request_id="mine"), state=HoldState.SETTLED, resolved_us=9)
    ledger.transact(lambda rows: rows.get(Hold, "hld_1"), lambda _: put(done)).result(30)
    write(ledger, record("1", caller_request_id="mine"))
    with pytest.raises(LedgerInconsistent):
        write(ledger, hold("2", caller_request_id="mine"))


def test_a_call_that_failed_may_come_again_under_the_callers_own_id(ledger: WritingLedger) -> None:
    failed = replace(hold("1", caller_request_id="mine"), state=HoldState.VOIDED, resolved_us=9)
    write(ledger, *FOUNDATION, failed, record("1", caller_request_id="mine", status=RequestStatus.ERROR))
    write(ledger, hold("2", caller_request_id="mine"))
    assert ledger.read(lambda rows: len(rows.find(Hold, state=HoldState.IN_FLIGHT))) == 1


def test_a_step_that_is_cancelled_before_it_began_never_runs(ledger: WritingLedger) -> None:
    gate = Gate(ledger)
    dropped = increment(ledger)
    assert dropped.cancel()
    kept = increment(ledger)
    gate.open(kept)
    assert kept.result() == 1
    with pytest.raises(CancelledError):
        dropped.result()


def test_a_step_that_has_begun_cannot_be_cancelled(ledger: WritingLedger) -> None:
    begun, go = threading.Event(), threading.Event()

    def load(_: Rows) -> None:
        begun.set()
        assert go.wait(30)

    future = ledger.transact(load, lambda _: put(customer(), result="done"))
    assert begun.wait(30)
    assert not future.cancel()
    go.set()
    assert future.result(30) == "done"


def test_what_is_read_outside_of_a_step_is_committed(ledger: WritingLedger) -> None:
    seen: list[object] = []

    def decide(_: object) -> Decision[None]:
        seen.append(ledger.read(lambda rows: rows.get(Customer, ACME)))
        return put(customer())

    gate = Gate(ledger)
    first, second = ledger.transact(lambda _: None, decide), ledger.transact(lambda _: None, decide)
    gate.open(first, second)
    assert seen == [None, None]
    assert ledger.read(lambda rows: rows.get(Customer, ACME)) == customer()


def test_the_journal_is_a_chain_whose_order_is_that_of_the_steps(ledger: WritingLedger) -> None:
    for number in range(1, 8):
        write(ledger, transactions=(transaction(f"a{number}", ("x", "y", number)), transaction(f"b{number}")))
    previous = GENESIS_HASH
    for sequence, entry in enumerate(ledger.books().journal(), 1):
        assert entry.sequence == sequence
        assert entry.previous_hash == previous
        assert entry.hash == link_hash(previous, sequence, entry.transaction)
        previous = entry.hash
    assert ledger.books().last_sequence() == 14


def test_rows_that_were_changed_many_times_in_a_group_are_written_as_they_were_last(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION)

    def spend(rows: Rows) -> Grant:
        found = rows.get(Grant, "grt_1")
        assert found is not None
        return found

    gate = Gate(ledger)
    steps = [
        ledger.transact(spend, lambda g: put(replace(g, free_nanos=g.free_nanos - 1, spent_nanos=g.spent_nanos + 1)))
        for _ in range(100)
    ]
    gate.open(*steps)
    found = ledger.read(lambda rows: rows.get(Grant, "grt_1"))
    assert found is not None
    assert (found.free_nanos, found.spent_nanos) == (900, 100)


def test_a_row_that_nobody_has_read_is_replaced_as_well(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, Wallet(customer_id=ACME, debt_nanos=5))
    write(ledger, Wallet(customer_id=ACME, debt_nanos=2))
    assert ledger.read(lambda rows: rows.get(Wallet, ACME)) == Wallet(customer_id=ACME, debt_nanos=2)


def test_a_closed_ledger_has_finished_what_was_queued_and_takes_no_more(ledger: WritingLedger) -> None:
    futures = [increment(ledger) for _ in range(50)]
    ledger.close()
    assert [future.result(0) for future in futures] == list(range(1, 51))
    with pytest.raises(LedgerUnavailable, match="closed"):
        increment(ledger).result(0)
    ledger.close()


def test_the_backlog_counts_what_waits(ledger: WritingLedger) -> None:
    gate = Gate(ledger)
    futures = [increment(ledger) for _ in range(3)]
    backlog = ledger.backlog()
    assert backlog.waiting == 4  # the one at the gate is not committed either
    assert backlog.oldest_us > 0
    assert backlog.failure == ""
    gate.open(*futures)
    assert ledger.backlog().waiting == 0
