"""Proving the books of a file again, from its journal: what `lava verify` does. It only reads, also while calls go on.

The journal is replayed in one snapshot; the projections are read after it. What moved between the two is known from the
entries that came meanwhile, and is left out of the comparison rather than reported.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from lava_proxy.core.entities import Budget, Counter, Entity, Grant, Hold, RequestRecord, Transaction, Wallet
from lava_proxy.core.errors import LedgerInconsistent
from lava_proxy.core.journal import BREAKAGE
from lava_proxy.core.ports import Clock, Ledger
from lava_proxy.core.projections import (
    OPEN,
    budget_share,
    check_budget,
    check_counter,
    check_grant,
    check_hold,
    check_overdue,
    check_record,
    check_wallet,
    missing_records,
)
from lava_proxy.core.replay import Finding, Replay

FINDINGS_MAX = 1000
"""A ruined file has as many findings as rows; after so many the rest is only counted."""
GRACE_US = 600 * 1_000_000
UNREADABLE = (AssertionError, ValueError, TypeError, KeyError, LedgerInconsistent)
"""What reading a row raises that somebody changed by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The outcome. It is well where nothing was found."""

    entries: int
    requests: int
    grants: int
    findings: tuple[Finding, ...]
    findings_more: int
    """Beyond those listed."""
    in_motion: int
    """Comparisons left out because calls were going on."""
    notes: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        return not self.findings


def verify_books(
    ledger: Ledger, *, clock: Clock, is_swept: bool, progress: Callable[[int], None] = lambda _: None
) -> Verification:
    """Replay the journal, compare every projection. ``progress`` is told the sequence number now and then.

    ``is_swept``: a proxy runs, so that no hold may stand open past its time.

    Raises:
        LedgerUnavailable: the file cannot be read.
    """
    replay = Replay()
    faults = list(_replayed(ledger, replay, progress))
    compared = _Comparison(ledger, replay, now_us=clock.now_us(), is_swept=is_swept)
    candidates = list(compared.findings())
    moved = _moved_after(ledger, replay.sequence)
    still = [finding for finding in candidates if not _is_in_motion(finding, moved)]
    faults += still
    return Verification(
        entries=replay.sequence,
        requests=len(replay.requests),
        grants=len(replay.granted),
        findings=tuple(faults[:FINDINGS_MAX]),
        findings_more=max(len(faults) - FINDINGS_MAX, 0),
        in_motion=len(candidates) - len(still),
        notes=compared.notes(),
    )


def _replayed(ledger: Ledger, replay: Replay, progress: Callable[[int], None]) -> Iterator[Finding]:
    try:
        for entry in ledger.books().journal():
            yield from replay.take(entry)
            if not entry.sequence % 1000:
                progress(entry.sequence)
    except UNREADABLE as error:
        yield Finding(
            invariant="I9",
            subject="journal",
            message=f"the entry after {replay.sequence} cannot be read: {error!r}",
        )
    progress(replay.sequence)


class _Comparison:
    """Every projection against one replay."""

    def __init__(self, ledger: Ledger, replay: Replay, *, now_us: int, is_swept: bool) -> None:
        self._ledger, self._replay = ledger, replay
        self._now_us, self._is_swept = now_us, is_swept
        self._held: Tally[str] = Tally()
        self._counted: Tally[tuple[str, str]] = Tally()
        self._budgeted: dict[str, list[tuple[Hold, int]]] = {}
        self._open = 0

    def findings(self) -> Iterator[Finding]:
        yield from self._each(Hold, self._check_hold)
        yield from self._each(RequestRecord, self._check_record)
        yield from self._missing()
        lapsed: Tally[str] = Tally()

        def check(grant: Grant) -> Iterator[Finding]:
            lapsed["nanos"] += grant.lapsed_nanos
            yield from check_grant(grant, self._replay, self._held[grant.grant_id])

        yield from self._each(Grant, check)
        if lapsed["nanos"] != self._replay.balance(BREAKAGE):
            message = f"grants lapsed by {lapsed['nanos']} nanos, and breakage is {self._replay.balance(BREAKAGE)}"
            yield Finding(invariant="I2", subject="breakage", message=message)
        yield from self._each(Wallet, lambda wallet: check_wallet(wallet, self._replay))
        yield from self._each(Counter, self._check_counter)
        yield from self._each(Budget, self._check_budget)

    def notes(self) -> tuple[str, ...]:
        if self._open and not self._is_swept:
            return (f"{self._open} holds are open and no proxy runs; the next `lava up` resolves them.",)
        return ()

    def _each[T: Entity](self, kind: type[T], check: Callable[[T], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            for row in self._ledger.books().rows(kind):
                yield from check(row)
        except UNREADABLE as error:
            message = f"a row of {kind.__name__} cannot be read: {error!r}"
            yield Finding(invariant="I2", subject=kind.__name__, message=message)

    def _check_hold(self, hold: Hold) -> Iterator[Finding]:
        if hold.state in OPEN:
            self._open += 1
            for allocation in hold.grants:
                self._held[allocation.grant_id] += allocation.amount_nanos
        for share in hold.budgets:
            self._budgeted.setdefault(share.budget_id, []).append((hold, share.amount))
        yield from check_hold(hold, self._replay)
        if self._is_swept:
            yield from check_overdue(hold, now_us=self._now_us, grace_us=GRACE_US)

    def _check_record(self, record: RequestRecord) -> Iterator[Finding]:
        units = sum(line.units_micros for line in record.breakdown)
        if units:
            self._counted[record.customer_id or "", record.meter_id] += units
        yield from check_record(record, self._replay)

    def _missing(self) -> Iterator[Finding]:
        try:
            recorded: set[str] = {record.request_id for record in self._ledger.books().rows(RequestRecord)}
        except UNREADABLE:
            return  # told by the pass before
        yield from missing_records(self._replay, recorded)

    def _check_counter(self, counter: Counter) -> Iterator[Finding]:
        yield from check_counter(counter, self._counted[counter.customer_id, counter.meter_id])

    def _check_budget(self, budget: Budget) -> Iterator[Finding]:
        held = spent = 0
        for hold, reserved in self._budgeted.get(budget.budget_id, ()):
            more_held, more_spent = budget_share(budget, hold, reserved, self._record(hold.request_id))
            held, spent = held + more_held, spent + more_spent
        yield from check_budget(budget, held=held, spent=spent)

    def _record(self, request_id: str) -> RequestRecord | None:
        return self._ledger.read(lambda rows: rows.get(RequestRecord, request_id))


def _moved_after(ledger: Ledger, sequence: int) -> tuple[Transaction, ...]:
    try:
        return tuple(entry.transaction for entry in ledger.books().journal(after=sequence))
    except UNREADABLE:
        return ()  # told by the replay, which ended there


def _is_in_motion(finding: Finding, moved: Iterable[Transaction]) -> bool:
    """Whether what was found may only be the trace of a call that went on meanwhile."""
    subjects = {"breakage", "merchant"} if moved else set()
    for transaction in moved:
        subjects |= {transaction.request_id or "", transaction.customer_id or "merchant"}
        subjects |= {
            account.split(":")[1]
            for p in transaction.postings
            for account in (p.source, p.destination)
            if ":" in account
        }
    return finding.subject in subjects or (bool(moved) and finding.subject.startswith("run:"))
