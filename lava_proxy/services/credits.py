"""Credits: given with terms, taken back, expired; the balance, and the statement that explains it."""

import logging
from collections.abc import Iterator

from msgspec import Struct

from lava_proxy.core.credit import CreditStamp, Payee, expire_grant, grant_credit, is_due, load_wallet, void_grant
from lava_proxy.core.entities import AuditEntry, Customer, Grant, GrantSource, Posting
from lava_proxy.core.errors import InvalidInput, LedgerUnavailable, NotFound
from lava_proxy.core.ids import CustomerId, EventId, GrantId, MeterId, TransactionId
from lava_proxy.core.journal import debt_account
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.core.wallet import is_open
from lava_proxy.services.audit import audit
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer, By, once
from lava_proxy.services.keys import active_meter

log = logging.getLogger(__name__)

PRIORITY_MAX = 1000
NOTE_CHARACTERS_MAX = 255


class GrantTerms(Struct, frozen=True, kw_only=True):
    """What is said about new credit. Amounts in nanos; lower priorities are drawn first."""

    customer: str
    amount_nanos: int
    source: GrantSource = GrantSource.MANUAL
    paid_nanos: int = 0
    expires_us: int | None = None
    priority: int = 50
    meters: tuple[str, ...] = ()
    """The only meters that may draw on it; empty: all."""
    note: str = ""


class Balance(Struct, frozen=True, kw_only=True):
    """Where a customer stands, in nanos: ``granted = available + debt + held + spent + lapsed``."""

    customer: Customer
    available_nanos: int
    """What a new call may hold: free credit that has not expired, less what is owed."""
    held_nanos: int
    """Set aside for calls in flight."""
    debt_nanos: int
    """Owed beyond all credit; new credit pays it first, and until then calls are blocked."""
    granted_nanos: int
    spent_nanos: int
    lapsed_nanos: int
    """Expired or voided."""
    grants: tuple[Grant, ...]
    """All of them, oldest first."""


class StatementLine(Struct, frozen=True, kw_only=True):
    """One change of what a customer has. ``amount_nanos`` is what came in (or went out, below 0)."""

    sequence: int
    at_us: int
    kind: str
    amount_nanos: int
    balance_nanos: int
    """Credit after it, held credit counted in, less debt."""
    request_id: str | None
    note: str


class Statement(Struct, frozen=True, kw_only=True):
    customer: Customer
    opening_nanos: int
    lines: tuple[StatementLine, ...]
    closing_nanos: int


class Credits:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    def grant(self, terms: GrantTerms, *, by: By) -> Answer[Grant]:
        """Give credit. What the customer owes is paid from it at once, where it is open to all meters.

        Raises:
            CustomerNotFound, MeterNotFound, InvalidInput
            Refused: the customer is not active, or a meter is archived.
        """
        stamp = self._stamp(by, terms.note)
        _check(terms, now_us=stamp.now_us)
        grant_id = GrantId(self._ids.new("grt"))

        def load(rows: Rows) -> tuple[Payee, Grant]:
            customer = require_customer(rows, terms.customer)
            meter_ids = tuple(active_meter(rows, meter) for meter in terms.meters)
            payee = Payee(customer=customer, wallet=load_wallet(rows, customer.customer_id))
            return payee, _new_grant(terms, grant_id, customer.customer_id, meter_ids, stamp.now_us)

        def decide(state: tuple[Payee, Grant]) -> Decision[Grant]:
            payee, grant = state
            decision = grant_credit(payee, grant, stamp)
            entry = audit(by, now_us=stamp.now_us, action="credits.granted", subject=grant_id, after=grant)
            return _with(decision, entry)

        return once(
            self._ledger, load, decide, by=by, now_us=stamp.now_us, kind=Grant, content=("credits.grant", terms)
        )

    def void(self, grant_id: str, *, by: By, reason: str = "") -> Answer[Grant]:
        """Take back what is left of a grant; what is held for calls in flight is still theirs.

        Raises:
            NotFound
            Refused: the grant has expired or was voided already.
        """
        stamp = self._stamp(by, reason)

        def decide(grant: Grant) -> Decision[Grant]:
            decision = void_grant(grant, stamp)
            entry = audit(
                by, now_us=stamp.now_us, action="credits.voided", subject=grant_id, before=grant, after=decision.result
            )
            return _with(decision, entry)

        content = ("credits.void", grant_id, reason)
        return once(
            self._ledger,
            lambda rows: _require_grant(rows, grant_id),
            decide,
            by=by,
            now_us=stamp.now_us,
            kind=Grant,
            content=content,
        )

    def get(self, grant_id: str) -> Grant:
        """The grant of this id.

        Raises:
            NotFound
        """
        return self._ledger.read(lambda rows: _require_grant(rows, grant_id))

    def expire_due(self) -> int:
        """Book the expiry of every grant whose time ran out; gives how many. For the process's regular sweep.

        A grant past its expiry is never drawn on, booked or not; this only moves what is left of it to breakage.
        """
        now_us = self._clock.now_us()
        due = [grant.grant_id for grant in self._ledger.books().rows(Grant) if is_due(grant, now_us=now_us)]
        return sum(self._expire(grant_id) for grant_id in due)

    def balance(self, customer: str) -> Balance:
        """Where the customer stands now.

        Raises:
            CustomerNotFound
        """
        now_us = self._clock.now_us()

        def load(rows: Rows) -> tuple[Customer, int]:
            found = require_customer(rows, customer)
            return found, load_wallet(rows, found.customer_id).debt_nanos

        found, debt_nanos = self._ledger.read(load)
        grants = self._ledger.books().grants(found.customer_id)
        due = [grant for grant in grants if is_due(grant, now_us=now_us)]
        free_nanos = sum(grant.free_nanos for grant in grants if is_open(grant, now_us=now_us))
        return Balance(
            customer=found,
            available_nanos=free_nanos - debt_nanos,
            held_nanos=sum(grant.held_nanos for grant in grants),
            debt_nanos=debt_nanos,
            granted_nanos=sum(grant.amount_nanos for grant in grants),
            spent_nanos=sum(grant.spent_nanos for grant in grants),
            lapsed_nanos=sum(grant.lapsed_nanos for grant in grants) + sum(grant.free_nanos for grant in due),
            grants=grants,
        )

    def statement(self, customer: str, *, since_us: int | None = None, until_us: int | None = None) -> Statement:
        """Every change of what the customer has, from the journal, oldest first.

        Raises:
            CustomerNotFound
        """
        found = self._ledger.read(lambda rows: require_customer(rows, customer))
        opening_nanos, lines = 0, []
        balance_nanos = 0
        for line in self.lines(found.customer_id):
            if until_us is not None and line.at_us >= until_us:
                continue
            balance_nanos = line.balance_nanos
            if since_us is not None and line.at_us < since_us:
                opening_nanos = line.balance_nanos
            else:
                lines.append(line)
        return Statement(customer=found, opening_nanos=opening_nanos, lines=tuple(lines), closing_nanos=balance_nanos)

    def lines(self, customer_id: CustomerId) -> Iterator[StatementLine]:
        """Every change of what a customer has, oldest first, as the journal is read: streams."""
        balance_nanos = 0
        for entry in self._ledger.books().journal(customer_id=customer_id):
            transaction = entry.transaction
            amount_nanos = _came_in(transaction.postings, customer_id)
            balance_nanos += amount_nanos
            if amount_nanos or transaction.kind == "grant":
                yield StatementLine(
                    sequence=entry.sequence,
                    at_us=transaction.at_us,
                    kind=transaction.kind,
                    amount_nanos=amount_nanos,
                    balance_nanos=balance_nanos,
                    request_id=transaction.request_id,
                    note=transaction.note,
                )

    def _expire(self, grant_id: GrantId) -> bool:
        """Whether it was booked. A fault of ours with one grant is logged and comes again; the others are booked."""
        stamp = self._stamp(By(actor="sweep"), "")
        try:
            return self._ledger.transact(
                lambda rows: _require_grant(rows, grant_id), lambda grant: expire_grant(grant, stamp)
            ).result()
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("a grant's expiry cannot be booked", extra={"grant_id": grant_id})
            return False

    def _stamp(self, by: By, note: str) -> CreditStamp:
        return CreditStamp(
            now_us=self._clock.now_us(),
            transaction_id=TransactionId(self._ids.new("txn")),
            event_id=EventId(self._ids.new("evt")),
            actor=by.actor,
            note=note,
        )


def _check(terms: GrantTerms, *, now_us: int) -> None:
    if terms.amount_nanos <= 0:
        raise InvalidInput("amount: it must be more than 0", field="amount")
    if terms.paid_nanos < 0:
        raise InvalidInput("paid: it must be 0 or more", field="paid")
    if not 0 <= terms.priority <= PRIORITY_MAX:
        raise InvalidInput(f"priority: it must be 0 to {PRIORITY_MAX}", field="priority")
    if terms.expires_us is not None and terms.expires_us <= now_us:
        raise InvalidInput("expires_at: it has passed already", field="expires_at")
    if len(terms.note) > NOTE_CHARACTERS_MAX:
        raise InvalidInput(f"note: at most {NOTE_CHARACTERS_MAX} characters", field="note")


def _new_grant(
    terms: GrantTerms, grant_id: GrantId, customer_id: CustomerId, meter_ids: tuple[MeterId, ...], now_us: int
) -> Grant:
    return Grant(
        grant_id=grant_id,
        customer_id=customer_id,
        source=terms.source,
        amount_nanos=terms.amount_nanos,
        paid_nanos=terms.paid_nanos,
        free_nanos=terms.amount_nanos,
        priority=terms.priority,
        expires_us=terms.expires_us,
        meter_ids=meter_ids,
        note=terms.note,
        created_us=now_us,
    )


def _require_grant(rows: Rows, grant_id: str) -> Grant:
    grant = rows.get(Grant, grant_id)
    if grant is None:
        raise NotFound(
            f"There is no grant {grant_id!r}.", hint="`lava credits balance CUSTOMER` lists a customer's grants."
        )
    return grant


def _with(decision: Decision[Grant], entry: AuditEntry) -> Decision[Grant]:
    return Decision(result=decision.result, transactions=decision.transactions, rows=(*decision.rows, entry))


def _came_in(postings: tuple[Posting, ...], customer_id: CustomerId) -> int:
    """What the customer's credit and debt accounts gained together."""
    debt = debt_account(customer_id)

    def is_theirs(account: str) -> bool:
        return account == debt or account.startswith("grant:")

    gained = sum(p.amount_nanos for p in postings if is_theirs(p.destination))
    return gained - sum(p.amount_nanos for p in postings if is_theirs(p.source))
