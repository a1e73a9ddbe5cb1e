"""The books proved again, from a consistent snapshot: replay the journal in order, compare every projection with it.

===  =====================================================================================================
I1   a posting moves a positive whole amount between two accounts that may be so connected: all sums to 0
I2   grants, debts, what is held and spent of budgets are what the journal and the holds come to
I3   no credit account is ever below 0, no debt overpaid; at every admission credit covers what is owed
I4   a hold is ended at most once; only an orphan, or what expired, is corrected, once; what was settled may be
     priced again
I5   what is taken out of a hold is what was put in; a charge above it is flagged; the uncovered is debt
I6   every ended request has one record with the journal's charge and cost, one event per end or correction;
     a customer's calls are paid from the customer's own grants
I7   no key of the journal comes twice, and those of calls follow from their request; keys of events and of
     remembered answers are unique columns of the file, which `lava doctor` proves with SQLite's own check
I8   breakdowns sum to their charge and counters to the units counted and the free units set aside; remainders are
     below half a nano; no float
I9   the sequence has no gap, the hash chain is whole
I10  while a proxy runs no reserved hold is past its time; a warning where one in flight is (its process may be
     alive), and where holds are open and nobody runs
I11  payments and the money in the books are the same, and so is what they bought (``verify_billing``)
I12  overage owed and held is what the journal and the holds come to
I13  the terms that calls go by are those of the customer's one live subscription
===  =====================================================================================================

Memory is bounded by grants, customers, runs and open holds: requests are matched by fingerprints (``verify_match``).
"""

from collections.abc import Callable, Iterator

from lava_proxy.core.billing import Payment, Subscription, Terms
from lava_proxy.core.entities import Budget, Counter, Entity, Event, Grant, Hold, RequestRecord, Wallet
from lava_proxy.core.errors import LedgerInconsistent
from lava_proxy.core.ports import Books
from lava_proxy.core.verify_billing import BillingProof
from lava_proxy.core.verify_budgets import spending_of_budgets
from lava_proxy.core.verify_journal import JournalProof
from lava_proxy.core.verify_match import Exact, Fingerprints
from lava_proxy.core.verify_report import Finding, Findings, Report
from lava_proxy.core.verify_rows import RowsProof

__all__ = ["Finding", "Report", "verify"]

_ENTRIES_BETWEEN_CALLS = 1000
_BUCKETS_READ_AGAIN_MAX = 64
_ROLLUP_FAULTS_MAX = 20
_UNREADABLE = (
    AssertionError,
    ArithmeticError,
    AttributeError,
    LedgerInconsistent,
    LookupError,
    TypeError,
    ValueError,
)
"""What reading a row raises that somebody changed by hand."""


def verify(
    books: Books, *, now_us: int, is_swept: bool = False, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Prove the books as they stand now; calls may go on meanwhile.

    ``is_swept``: a proxy runs on them, which resolves the holds whose time is over.
    ``progress`` is told the entries of the journal that were replayed, and how many there are.

    Raises:
        LedgerUnavailable: the file cannot be read.
    """
    findings = Findings()
    with books.snapshot() as snapshot:
        fingerprints = Fingerprints()
        journal = JournalProof(findings, fingerprints)
        _replay(snapshot, journal, findings, progress)
        billing = BillingProof(journal, findings)
        rows = RowsProof(
            journal=journal,
            matcher=fingerprints,
            findings=findings,
            now_us=now_us,
            is_swept=is_swept,
            billing=billing,
        )
        _compare(snapshot, rows, findings)
        _tell_apart(snapshot, fingerprints.different(), findings)
        for fault in snapshot.rollup_faults(limit=_ROLLUP_FAULTS_MAX):
            findings.add("I2", "rollups", f"{fault}; `lava verify --rebuild-rollups` makes them anew")
    return Report(
        findings=tuple(findings.listed),
        findings_more=findings.more,
        warnings=tuple(rows.warnings),
        transactions=journal.sequence,
        postings=journal.postings,
        grants=rows.counts["grants"],
        holds=rows.counts["holds"],
        open_holds=rows.counts["open_holds"],
        requests=rows.counts["requests"],
        events=rows.counts["events"],
        head_hash=journal.head_hash,
    )


def _replay(
    books: Books, journal: JournalProof, findings: Findings, progress: Callable[[int, int], None] | None
) -> None:
    total = books.last_sequence()
    try:
        for entry in books.journal():
            journal.take(entry)
            if progress is not None and not entry.sequence % _ENTRIES_BETWEEN_CALLS:
                progress(entry.sequence, total)
    except _UNREADABLE as error:
        findings.add("I9", "journal", f"the entry after {journal.sequence} cannot be read: {error!r}")
    if progress is not None:
        progress(total, total)


def _compare(books: Books, proof: RowsProof, findings: Findings) -> None:
    grant_ids: set[str] = set()
    _match(books, proof, findings)
    for grant in _each(books, Grant, findings):
        grant_ids.add(grant.grant_id)
        proof.grant(grant)
        proof.billing.grant(grant)
    for wallet in _each(books, Wallet, findings):
        proof.wallet(wallet)
    for counter in _each(books, Counter, findings):
        proof.counter(counter)
    spending_of_budgets(books, proof)
    for budget in _each(books, Budget, findings):
        proof.budget(budget)
    proof.rest(grant_ids)
    for payment in _each(books, Payment, findings):
        proof.billing.payment(payment)
    for subscription in _each(books, Subscription, findings):
        proof.billing.subscription(subscription)
    for terms in _each(books, Terms, findings):
        proof.billing.terms(terms)
    proof.billing.rest()


def _match(books: Books, proof: RowsProof, findings: Findings) -> None:
    """The kinds of row that are matched request by request."""
    for record in _each(books, RequestRecord, findings):
        proof.request(record)
    for hold in _each(books, Hold, findings):
        proof.hold(hold)
    for event in _each(books, Event, findings):
        proof.event(event)


def _tell_apart(books: Books, buckets: set[int], findings: Findings) -> None:
    """Read again what did not match, and say of each request in what it differs."""
    if not buckets:
        return
    looked_at = sorted(buckets)[:_BUCKETS_READ_AGAIN_MAX]
    exact = Exact(frozenset(looked_at))
    told_before = Findings()  # the first reading told these already
    journal = JournalProof(told_before, exact)
    _replay(books, journal, told_before, None)
    billing = BillingProof(journal, told_before)
    rows = RowsProof(journal=journal, matcher=exact, findings=told_before, now_us=0, is_swept=False, billing=billing)
    _match(books, rows, told_before)
    for request_id, sides in sorted(exact.requests.items()):
        for invariant, message in sides.differences():
            findings.add(invariant, request_id, message)
    findings.more += len(buckets) - len(looked_at)


def _each[T: Entity](books: Books, kind: type[T], findings: Findings) -> Iterator[T]:
    try:
        yield from books.rows(kind)
    except _UNREADABLE as error:
        findings.add("I2", kind.__name__, f"a row cannot be read: {error!r}")
