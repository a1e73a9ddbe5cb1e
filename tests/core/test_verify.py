"""The proof of the books: silent where all is well, precise where somebody changed something."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.budgets import COUNTED
from lava_proxy.core.entities import (
    Budget,
    BudgetAllocation,
    BudgetMeasure,
    Customer,
    Entity,
    Grant,
    GrantSource,
    Hold,
    HoldState,
    Meter,
    MeterVersion,
    Mode,
    RateType,
    RequestHead,
    RequestRecord,
    Run,
    Tier,
    TierUnit,
    Transaction,
    Wallet,
)
from lava_proxy.core.ids import (
    BudgetId,
    CustomerId,
    EventId,
    GrantId,
    HoldId,
    InstanceId,
    MeterId,
    RequestId,
    RunId,
    TransactionId,
)
from lava_proxy.core.journal import free_account, funding_account, link_hash, move
from lava_proxy.core.ports import Books, Decision, Ledger, Rows
from lava_proxy.core.settlement import Holding, Measured, Stamp, expire, load_holding, orphan, settle, void
from lava_proxy.core.usage import Usage
from lava_proxy.core.verify import Report, verify
from lava_proxy.core.verify_journal import JournalProof
from lava_proxy.core.verify_match import FACTS, Exact, Fingerprints
from lava_proxy.core.verify_report import Findings
from lava_proxy.core.verify_rows import SWEEP_GRACE_US
from lava_proxy.core.wallet import hold_credit, pay_debt
from lava_proxy.store import MemoryLedger, open_ledger
from lava_proxy.store.ledger import WritingLedger

NOW_US = 1_790_000_000_000_000
ACME = CustomerId("con_acme")
METER = MeterId("prd_1")
RUN = RunId("run_1")


class FakeClock:
    def now_us(self) -> int:
        return NOW_US


def furnish(ledger: Ledger) -> None:
    """A customer, a meter at one nano a token, and a run with two caps."""
    rows: tuple[Entity, ...] = (
        Customer(customer_id=ACME, created_us=NOW_US),
        Run(run_id=RUN, customer_id=ACME, created_us=NOW_US),
        Meter(
            meter_id=METER,
            slug="default",
            name="Default",
            rate_type=RateType.FIXED,
            tier_unit=TierUnit.TOKENS_1M,
            version=1,
            created_us=NOW_US,
        ),
        MeterVersion(
            meter_id=METER,
            version=1,
            rate_type=RateType.FIXED,
            tier_unit=TierUnit.TOKENS_1M,
            tiers=(Tier(start=0, rate_nanos=1_000_000), Tier(start=100, rate_nanos=2_000_000)),
            created_us=NOW_US,
        ),
        *(
            Budget(budget_id=BudgetId(f"bud_{m}"), subject=f"run:{RUN}", measure=m, limit=10**6, created_us=NOW_US)
            for m in COUNTED
        ),
    )
    ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=rows)).result(30)


def give(ledger: Ledger, name: str, amount: int, *, expires_us: int | None = None) -> None:
    """Credit, which pays what is owed first."""
    grant = Grant(
        grant_id=GrantId(f"grt_{name}"),
        customer_id=ACME,
        source=GrantSource.MANUAL,
        amount_nanos=amount,
        free_nanos=amount,
        expires_us=expires_us,
        created_us=NOW_US,
    )

    def decide(wallet: Wallet | None) -> Decision[None]:
        grants = {grant.grant_id: grant}
        funded = move(funding_account("manual"), free_account(grant.grant_id), amount)
        paid, after = pay_debt(grants, wallet or Wallet(customer_id=ACME), now_us=NOW_US)
        moved = Transaction(
            transaction_id=TransactionId(f"txn_g{name}"),
            kind="grant",
            key=f"grant:{grant.grant_id}",
            at_us=NOW_US,
            customer_id=ACME,
            postings=(*funded, *paid),
        )
        return Decision(result=None, transactions=(moved,), rows=(*grants.values(), after))

    ledger.transact(lambda rows: rows.get(Wallet, ACME), decide).result(30)


def take(
    ledger: Ledger,
    name: str,
    amount: int,
    *,
    customer_id: CustomerId | None = ACME,
    state: HoldState = HoldState.IN_FLIGHT,
    run: bool = False,
) -> HoldId:
    """Hold ``amount`` for a call."""

    def load(rows: Rows) -> tuple[tuple[Grant, ...], tuple[Budget, ...]]:
        grants = rows.find(Grant, customer_id=customer_id) if customer_id else ()
        return grants, rows.find(Budget, subject=f"run:{RUN}") if run else ()

    def decide(seen: tuple[tuple[Grant, ...], tuple[Budget, ...]]) -> Decision[HoldId]:
        grants, budgets = seen
        wallet = Wallet(customer_id=customer_id or ACME)
        moved = hold_credit(grants, wallet, amount_nanos=amount, meter_id=METER, now_us=NOW_US)
        assert not moved.left_nanos
        shares = [(b, 1 if b.measure is BudgetMeasure.REQUESTS else amount) for b in budgets]
        hold = Hold(
            hold_id=HoldId(f"hld_{name}"),
            request_id=RequestId(f"req_{name}"),
            instance_id=InstanceId("ins_1"),
            customer_id=customer_id,
            key_id=None,
            run_id=RUN if run else None,
            meter_id=METER,
            meter_version=1,
            meter_rule="home_default",
            billed=customer_id is not None,
            amount_nanos=amount,
            cost_quote_nanos=amount,
            grants=moved.allocations,
            budgets=tuple(BudgetAllocation(budget_id=b.budget_id, amount=share) for b, share in shares),
            state=state,
            request=RequestHead(provider="openai", dialect="openai_chat", op="chat", method="POST", url="https://x"),
            created_us=NOW_US,
            expires_us=NOW_US + 1_000_000,
        )
        transaction = Transaction(
            transaction_id=TransactionId(f"txn_h{name}"),
            kind="hold",
            key=f"hold:{hold.request_id}",
            at_us=NOW_US,
            customer_id=customer_id,
            request_id=hold.request_id,
            postings=moved.postings,
        )
        kept = tuple(replace(b, held=b.held + share) for b, share in shares)
        return Decision(result=hold.hold_id, transactions=(transaction,), rows=(*moved.grants, *kept, hold))

    return ledger.transact(load, decide).result(30)


def end(
    ledger: Ledger,
    hold_id: HoldId,
    rule: Callable[[Holding, Stamp], Decision[RequestRecord | None]],
    *,
    now_us: int = NOW_US,
) -> None:
    stamp = Stamp(
        now_us=now_us,
        transaction_id=TransactionId(f"txn_{rule.__name__}{hold_id}"),
        event_id=EventId(f"evt_{rule.__name__}{hold_id}"),
    )

    def decide(holding: Holding | None) -> Decision[RequestRecord | None]:
        assert holding is not None
        return rule(holding, stamp)

    ledger.transact(lambda rows: load_holding(rows, hold_id), decide).result(30)


def settling(tokens: int, cost: Fraction | None) -> Callable[[Holding, Stamp], Decision[RequestRecord | None]]:
    def settled(holding: Holding, stamp: Stamp) -> Decision[RequestRecord | None]:
        measured = Measured(usage=Usage(input_tokens=tokens), cost=cost, charge_hold_if_unpriced=True)
        return settle(holding, measured, stamp)

    return settled


def voided(holding: Holding, stamp: Stamp) -> Decision[RequestRecord | None]:
    return void(holding, stamp)


def keep_books(ledger: Ledger) -> None:
    """A day on which everything happens that may happen."""
    furnish(ledger)
    give(ledger, "1", 1000)
    end(ledger, take(ledger, "settled", 100), settling(60, Fraction(101, 3)))
    end(ledger, take(ledger, "free", 0), settling(0, Fraction(0)))
    end(ledger, take(ledger, "voided", 100), voided)
    end(ledger, take(ledger, "orphan", 20), orphan)
    corrected = take(ledger, "late", 20)
    end(ledger, corrected, orphan)
    end(ledger, corrected, settling(5, Fraction(7)))
    forgiven = take(ledger, "forgiven", 30)
    end(ledger, forgiven, orphan)
    end(ledger, forgiven, voided)
    end(ledger, take(ledger, "expired", 10, state=HoldState.RESERVED), expire)
    end(ledger, take(ledger, "over", 10), settling(50, Fraction(40)))
    end(ledger, take(ledger, "in_run", 10, run=True), settling(3, Fraction(5)))
    end(ledger, take(ledger, "in_run_unpriced", 10, run=True), settling(3, None))
    end(ledger, take(ledger, "in_run_voided", 10, run=True), voided)
    end(ledger, take(ledger, "merchant", 0, customer_id=None), settling(8, Fraction(9)))
    end(ledger, take(ledger, "ruinous", 10), settling(2000, Fraction(1)))
    give(ledger, "2", 10_000)
    take(ledger, "open", 50, run=True)
    give(ledger, "lapsing", 40, expires_us=NOW_US + 5)
    lapsed = take(ledger, "lapsed", 30)
    end(ledger, lapsed, orphan)
    end(ledger, lapsed, voided, now_us=NOW_US + 10)


@pytest.fixture(params=["memory", "sqlite"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WritingLedger]:
    made: WritingLedger
    if request.param == "memory":
        made = MemoryLedger(mode=Mode.TEST, clock=FakeClock())
    else:
        made = open_ledger(tmp_path / "ledger.db", mode=Mode.TEST, clock=FakeClock())
    with made:
        keep_books(made)
        yield made


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with these books, whose triggers and checks are gone: somebody means to change it."""
    path = tmp_path_factory.mktemp("books") / "ledger.db"
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        keep_books(ledger)
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.commit()
    return path.read_bytes()


def proof_of(path: Path) -> Report:
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        return verify(ledger.books(), now_us=NOW_US)


def test_books_that_add_up_are_sound(books: WritingLedger) -> None:
    report = verify(books.books(), now_us=NOW_US, is_swept=True)
    assert report.findings == ()
    assert report.is_sound
    assert report.warnings == ()
    assert (report.transactions, report.requests, report.holds, report.open_holds) == (35, 14, 15, 1)
    assert (report.grants, report.events) == (3, 17)
    assert report.head_hash == list(books.books().journal())[-1].hash


def test_an_empty_ledger_is_sound() -> None:
    with MemoryLedger(mode=Mode.TEST, clock=FakeClock()) as ledger:
        assert verify(ledger.books(), now_us=NOW_US).is_sound


def test_a_hold_that_stands_open_past_its_time_is_a_warning(books: WritingLedger) -> None:
    report = verify(books.books(), now_us=NOW_US + 5_000_000, is_swept=True)
    assert report.is_sound
    (warning,) = report.warnings
    assert (warning.invariant, warning.subject) == ("I10", "req_open")
    assert "hld_open is in_flight and past its time by 4 s" in warning.message


def test_a_reserved_hold_past_its_time_is_a_fault_while_a_proxy_sweeps(books: WritingLedger) -> None:
    take(books, "parked", 5, state=HoldState.RESERVED)
    soon, later = NOW_US + 5_000_000, NOW_US + 1_000_000 + SWEEP_GRACE_US + 1
    assert verify(books.books(), now_us=soon, is_swept=True).is_sound
    (finding,) = verify(books.books(), now_us=later, is_swept=True).findings
    assert (finding.invariant, finding.subject) == ("I10", "req_parked")
    assert "hld_parked is reserved and past its time by 600 s" in finding.message


def test_open_holds_that_nobody_sweeps_are_one_warning(books: WritingLedger) -> None:
    take(books, "parked", 5, state=HoldState.RESERVED)
    report = verify(books.books(), now_us=NOW_US + 2 * SWEEP_GRACE_US)
    assert report.is_sound
    (warning,) = report.warnings
    assert (warning.invariant, warning.subject) == ("I10", "holds")
    assert warning.message == "2 holds are open and no proxy runs; the next `lava up` resolves them"


def test_what_is_paid_back_to_a_lapsed_grant_is_told_by_the_journal_for_that_grant(books: WritingLedger) -> None:
    *_, correction = books.books().journal()
    moved = [(p.source, p.destination, p.amount_nanos) for p in correction.transaction.postings]
    assert moved[:2] == [("revenue", "grant:grt_lapsing:free", 30), ("grant:grt_lapsing:free", "breakage", 30)]
    lapsing = books.read(lambda rows: rows.get(Grant, "grt_lapsing"))
    assert lapsing is not None
    assert (lapsing.free_nanos, lapsing.spent_nanos, lapsing.lapsed_nanos) == (10, 0, 30)


def test_a_key_that_comes_twice_is_told(books: WritingLedger) -> None:
    findings = Findings()
    proof = JournalProof(findings, Fingerprints())
    first, *_, last = [e for e in books.books().journal() if e.transaction.kind == "grant"]
    proof.take(first)
    proof.take(replace(last, transaction=replace(last.transaction, key=first.transaction.key)))
    assert ("I7", "txn_glapsing", "the key 'grant:grt_1' came before") in {
        (f.invariant, f.subject, f.message) for f in findings.listed
    }


def test_progress_is_told_up_to_the_end(books: WritingLedger) -> None:
    told: list[tuple[int, int]] = []
    verify(books.books(), now_us=NOW_US, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (35, 35)


TAMPERINGS = [
    (
        "UPDATE grants SET free_nanos = free_nanos - 7, spent_nanos = spent_nanos + 7 WHERE grant_id = 'grt_2'",
        "I2",
        "grt_2",
        "what is free",
    ),
    (
        "UPDATE grants SET spent_nanos = 999, lapsed_nanos = 1 WHERE grant_id = 'grt_1'",
        "I2",
        "grt_1",
        "what has lapsed is kept as 1",
    ),
    (
        "UPDATE grants SET amount_nanos = amount_nanos + 5, free_nanos = free_nanos + 5 WHERE grant_id = 'grt_2'",
        "I2",
        "grt_2",
        "its amount",
    ),
    ("UPDATE wallets SET debt_nanos = 1", "I2", "con_acme", "the debt is kept as 1, and comes to 0"),
    (
        "UPDATE budgets SET held = 0 WHERE budget_id = 'bud_cost'",
        "I2",
        "bud_cost",
        "what is held is kept as 0, and comes to 50",
    ),
    ("UPDATE budgets SET spent = 0 WHERE budget_id = 'bud_cost'", "I2", "bud_cost", "comes to 15"),
    ("UPDATE budgets SET spent = 7 WHERE budget_id = 'bud_requests'", "I2", "bud_requests", "comes to 2"),
    ("UPDATE budgets SET spent = 0 WHERE budget_id = 'bud_charge'", "I2", "bud_charge", "what is spent"),
    (
        "UPDATE tier_counters SET count_micros = count_micros - 1 WHERE customer_id <> ''",
        "I8",
        "con_acme",
        "differ by 1",
    ),
    ("UPDATE tier_counters SET cost_carry = '2/3'", "I8", "con_acme", "carries 2/3"),
    (
        "UPDATE requests SET charge_nanos = charge_nanos - 1 WHERE request_id = 'req_settled'",
        "I6",
        "req_settled",
        "charged 60 nanos, and its record says 59",
    ),
    (
        "UPDATE requests SET cost_nanos = 33 WHERE request_id = 'req_settled'",
        "I6",
        "req_settled",
        "a cost of 34 nanos, and its record says 33",
    ),
    ("UPDATE requests SET cost_nanos = NULL WHERE request_id = 'req_in_run'", "I6", "req_in_run", "cost of"),
    ("UPDATE requests SET uncovered_nanos = 0 WHERE request_id = 'req_ruinous'", "I5", "req_ruinous", "made"),
    (
        "UPDATE requests SET quote_nanos = 11 WHERE request_id = 'req_settled'",
        "I6",
        "req_settled",
        "a quote of 11 nanos, and its hold row 100",
    ),
    ("UPDATE requests SET flags = '[]' WHERE request_id = 'req_over'", "I5", "req_over", "without a flag"),
    (
        "UPDATE requests SET breakdown = '[[0,1,1,1]]' WHERE request_id = 'req_settled'",
        "I8",
        "req_settled",
        "comes to 1",
    ),
    ("UPDATE requests SET breakdown = 'x' WHERE request_id = 'req_settled'", "I2", "RequestRecord", "cannot be read"),
    ("DELETE FROM requests WHERE request_id = 'req_voided'", "I6", "req_voided", "resolved it 1 times, and 0 records"),
    (
        "UPDATE requests SET request_id = 'req_other' WHERE request_id = 'req_free'",
        "I6",
        "req_other",
        "resolved it 0 times, and 1 records",
    ),
    (
        "UPDATE holds SET state = 'voided' WHERE hold_id = 'hld_settled'",
        "I4",
        "req_settled",
        "by the journal is 1, by its hold row 2",
    ),
    (
        "UPDATE holds SET state = 'in_flight', resolved_us = NULL WHERE hold_id = 'hld_settled'",
        "I4",
        "req_settled",
        "open by the journal: 0, by its hold row: 1",
    ),
    ("DELETE FROM holds WHERE hold_id = 'hld_open'", "I4", "req_open", "open by the journal: 1, by its hold row: 0"),
    (
        "UPDATE hold_allocations SET amount = 49 WHERE hold_id = 'hld_open' AND grant_id IS NOT NULL",
        "I2",
        "Hold",
        "cannot be read",
    ),
    (
        "DELETE FROM events WHERE key = 'settle:req_over'",
        "I6",
        "req_over",
        "ended or corrected it 1 times, and 0 events",
    ),
    ("DELETE FROM events WHERE key = 'late:req_late'", "I6", "req_late", "ended or corrected it 2 times, and 1 events"),
    ("DELETE FROM grants WHERE grant_id = 'grt_2'", "I2", "grt_2", "there is no such grant"),
    ("DELETE FROM transactions WHERE key = 'void:req_voided'", "I9", "journal", "some are missing"),
    ("DELETE FROM transactions WHERE sequence = 1", "I9", "journal", "entry 2 follows entry 0"),
    ("UPDATE transactions SET note = 'changed' WHERE sequence = 5", "I9", "journal", "entry 5 (txn_"),
    ("UPDATE transactions SET at_us = at_us + 1 WHERE sequence = 5", "I9", "journal", "was changed"),
    (
        "UPDATE postings SET amount_nanos = amount_nanos + 1 WHERE sequence = 2",
        "I9",
        "journal",
        "entry 2 (txn_hsettled) was changed",
    ),
    (
        "UPDATE postings SET amount_nanos = amount_nanos + 1 WHERE sequence = 2",
        "I5",
        "req_settled",
        "were held in grant:grt_1:held",
    ),
    ("UPDATE postings SET amount_nanos = 5000 WHERE sequence = 2", "I3", "txn_hsettled", "grant:grt_1:free stands at"),
    ("UPDATE postings SET source = 'grant:grt_9:free' WHERE sequence = 2", "I1", "txn_hsettled", "moves credit from"),
    (
        "UPDATE postings SET destination = 'pocket' WHERE destination = 'revenue' AND sequence = 3",
        "I1",
        "txn_",
        "credit goes from grant:grt_1:held to pocket",
    ),
    (
        "UPDATE transactions SET hash = 'ffff', note = 'x' WHERE sequence = 7",
        "I9",
        "journal",
        "does not continue the chain of entry 7",
    ),
    (
        "UPDATE transactions SET kind = 'settle' WHERE key = 'hold:req_open'",
        "I4",
        "req_open",
        "not held, or was ended before",
    ),
    (
        "UPDATE transactions SET kind = 'void' WHERE key = 'late:req_late'",
        "I4",
        "req_late",
        "by the journal is 2, by its hold row 1",
    ),
    (
        "UPDATE transactions SET customer_id = 'con_other' WHERE key = 'hold:req_settled'",
        "I6",
        "txn_hsettled",
        "of con_acme for con_other",
    ),
    (
        "UPDATE grants SET spent_nanos = spent_nanos + 5, lapsed_nanos = lapsed_nanos - 5 WHERE grant_id = 'grt_lapsing'",
        "I2",
        "grt_lapsing",
        "what has lapsed is kept as 25, and comes to 30",
    ),
    (
        "UPDATE grants SET spent_nanos = spent_nanos - 5, free_nanos = free_nanos + 5 WHERE grant_id = 'grt_1'",
        "I2",
        "grt_1",
        "what is spent",
    ),
    ("UPDATE grants SET free_nanos = -1 WHERE grant_id = 'grt_2'", "I2", "Grant", "cannot be read"),
    (
        "UPDATE postings SET source = 'revenue' WHERE destination = 'breakage'",
        "I1",
        "txn_voidedhld_lapsed",
        "moves 30 from revenue to breakage",
    ),
    ("UPDATE postings SET destination = 'pocket' WHERE destination = 'cost'", "I1", "txn_", "to pocket"),
    ("UPDATE postings SET amount_nanos = 0 WHERE sequence = 2", "I9", "journal", "cannot be read"),
    (
        "UPDATE transactions SET key = 'settle:req_else' WHERE key = 'settle:req_settled'",
        "I7",
        "txn_settledhld_settled",
        "should be 'settle:req_settled'",
    ),
    (
        "DELETE FROM transactions WHERE sequence = (SELECT max(sequence) FROM transactions)",
        "I2",
        "grt_lapsing",
        "what has lapsed is kept as 30, and comes to 0",
    ),
    (
        "UPDATE holds SET state = 'settled', resolved_us = created_us WHERE hold_id = 'hld_open'",
        "I4",
        "req_open",
        "open by the journal: 1, by its hold row: 0",
    ),
]


@pytest.mark.parametrize(
    ("statement", "invariant", "subject", "message"), TAMPERINGS, ids=[t[0][:70] for t in TAMPERINGS]
)
def test_a_change_behind_the_ledgers_back_is_told_with_its_numbers(
    kept: bytes, tmp_path: Path, statement: str, invariant: str, subject: str, message: str
) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(kept)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement).rowcount > 0
    report = proof_of(path)
    assert not report.is_sound
    told = [(f.invariant, f.subject, f.message) for f in report.findings]
    assert any(i == invariant and subject in s and message in m for i, s, m in told), told


def test_the_untampered_copy_is_sound(kept: bytes, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(kept)
    assert proof_of(tmp_path / "ledger.db").findings == ()


def test_who_rewrites_the_whole_chain_is_betrayed_by_the_projections(kept: bytes, tmp_path: Path) -> None:
    """The chain alone proves nothing to somebody who may write the file: hence the last link is told in the report."""
    path = tmp_path / "ledger.db"
    path.write_bytes(kept)
    before = proof_of(path).head_hash
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        entries = list(ledger.books().journal())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE postings SET amount_nanos = amount_nanos + 1 WHERE sequence = 1")
        previous = "0" * 64
        for entry in entries:
            changed = entry.transaction
            if entry.sequence == 1:
                first = replace(changed.postings[0], amount_nanos=changed.postings[0].amount_nanos + 1)
                changed = replace(changed, postings=(first, *changed.postings[1:]))
            link = link_hash(previous, entry.sequence, changed)
            values = (previous, link, entry.sequence)
            connection.execute("UPDATE transactions SET previous_hash = ?, hash = ? WHERE sequence = ?", values)
            previous = link
        connection.commit()
    report = proof_of(path)
    assert {f.invariant for f in report.findings} == {"I2"}
    assert report.head_hash != before


def test_a_ruined_file_is_told_up_to_a_limit(kept: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(kept)
    with closing(sqlite3.connect(path)) as connection:
        rows = ((f"evt_{n}", f"settle:req_none{n}") for n in range(6000))
        connection.executemany(
            "INSERT INTO events (event_id, kind, key, payload, created_us) VALUES (?, 'request.settled', ?, '', 0)",
            rows,
        )
        connection.commit()
    report = proof_of(path)
    assert 0 < len(report.findings) <= 1000
    assert report.findings_more > 1000


def test_the_books_are_proved_in_one_state_while_calls_go_on(books: WritingLedger) -> None:
    """Each time the proof looks up, another call has been held and settled: none of it may look like a fault."""
    numbers = count()

    class Busy:
        """Books that write between any two looks at them."""

        def __init__(self, inner: Books) -> None:
            self._inner = inner

        @contextmanager
        def snapshot(self) -> Iterator["Busy"]:
            with self._inner.snapshot() as inner:
                yield Busy(inner)

        def __getattr__(self, name: str) -> object:
            end(books, take(books, f"busy{next(numbers)}", 5), settling(2, Fraction(1)))
            return getattr(self._inner, name)

    report = verify(Busy(books.books()), now_us=NOW_US)  # type: ignore[arg-type]
    assert report.findings == ()
    assert report.transactions == 35
    assert next(numbers) > 5


@given(
    st.lists(
        st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(sorted(FACTS)), st.integers(-(10**15), 10**15)),
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_fingerprints_of_the_same_amounts_are_the_same_in_any_order_and_else_different(
    amounts: list[tuple[str, str, int]], random: Random
) -> None:
    shuffled = list(amounts)
    random.shuffle(shuffled)
    prints, exact = Fingerprints(), Exact(range(10**6))
    for matcher in (prints, exact):
        for request_id, fact, amount in amounts:
            matcher.told(request_id, fact, amount)
        for request_id, fact, amount in shuffled:
            matcher.kept(request_id, fact, amount)
    assert not prints.different()
    assert not any(sides.differences() for sides in exact.requests.values())
    prints.kept("r1", "charge", 1)
    prints.told("r2", "charge", 1)
    assert len(prints.different()) == 2
