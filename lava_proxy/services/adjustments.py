"""Corrections by hand: audited, with a reason, once per idempotency key, and as a preview that writes nothing."""

from collections.abc import Callable

from lava_proxy.core.adjustment import (
    Adjustment,
    Disputed,
    Wallets,
    add_credit,
    dispute,
    dispute_key,
    take_credit,
)
from lava_proxy.core.credit import CreditStamp, Payee, load_wallet
from lava_proxy.core.entities import AuditEntry, Customer, Event, Grant, Hold, RequestRecord
from lava_proxy.core.errors import InvalidInput, NotFound
from lava_proxy.core.ids import EventId, GrantId, TransactionId
from lava_proxy.core.money import format_amount
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.credits import NOTE_CHARACTERS_MAX
from lava_proxy.services.customers import require_customer
from lava_proxy.services.documents import Document, amount
from lava_proxy.services.idempotency import Answer, By, once


class Adjustments:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids

    def adjust(
        self, customer: str, amount_nanos: int, *, reason: str, by: By, preview: bool = False
    ) -> Answer[Adjustment]:
        """Add credit (``amount_nanos`` above 0), or take free credit back (below 0).

        Raises:
            CustomerNotFound, InvalidInput
            InsufficientCredits: less is free than is to be taken.
            Refused: the customer is not active, and credit is to be added.
        """
        _check_reason(reason)
        if not amount_nanos:
            raise InvalidInput("amount: it must be more than 0", field="amount")
        stamp = self._stamp(by, reason)
        grant_id = GrantId(self._ids.new("grt"))

        def decide(wallets: Wallets) -> Decision[Adjustment]:
            if amount_nanos < 0:
                return take_credit(wallets, -amount_nanos, stamp)
            return add_credit(wallets, amount_nanos, stamp, grant_id=grant_id)

        content = ("credits.adjust", customer, amount_nanos, reason)
        return self._write(
            lambda rows: _wallets(rows, require_customer(rows, customer)),
            decide,
            by=by,
            stamp=stamp,
            content=content,
            preview=preview,
        )

    def dispute(
        self, request: str, amount_nanos: int | None, *, reason: str, by: By, preview: bool = False
    ) -> Answer[Adjustment]:
        """Give a request's charge back as credit; ``None``: all of it. At most once a request.

        Raises:
            NotFound: there is no such finished request.
            InvalidInput: the reason or the amount cannot be.
            Conflict: it was disputed already.
            Refused: nobody was charged for it, or not by its usage; or the customer is not active.
        """
        _check_reason(reason)
        if amount_nanos is not None and amount_nanos <= 0:
            raise InvalidInput("amount: it must be more than 0", field="amount")
        stamp = self._stamp(by, reason)
        grant_id, event_id = GrantId(self._ids.new("grt")), EventId(self._ids.new("evt"))

        def decide(found: Disputed) -> Decision[Adjustment]:
            return dispute(found, amount_nanos, stamp, grant_id=grant_id, disputed_event_id=event_id)

        content = ("requests.dispute", request, amount_nanos, reason)
        return self._write(
            lambda rows: _disputed(rows, request), decide, by=by, stamp=stamp, content=content, preview=preview
        )

    def _write[S](
        self,
        load: Callable[[Rows], S],
        decide: Callable[[S], Decision[Adjustment]],
        *,
        by: By,
        stamp: CreditStamp,
        content: tuple[object, ...],
        preview: bool,
    ) -> Answer[Adjustment]:
        if preview:
            return Answer(value=decide(self._ledger.read(load)).result, is_repeat=False)

        def decide_audited(state: S) -> Decision[Adjustment]:
            decision = decide(state)
            entry = _audit(decision.result, by, action=str(content[0]), now_us=stamp.now_us)
            return Decision(result=decision.result, transactions=decision.transactions, rows=(*decision.rows, entry))

        return once(self._ledger, load, decide_audited, by=by, now_us=stamp.now_us, kind=Adjustment, content=content)

    def _stamp(self, by: By, reason: str) -> CreditStamp:
        return CreditStamp(
            now_us=self._clock.now_us(),
            transaction_id=TransactionId(self._ids.new("txn")),
            event_id=EventId(self._ids.new("evt")),
            actor=by.actor,
            note=reason,
        )


def adjustment_document(done: Adjustment, *, is_preview: bool) -> Document:
    return {
        "is_preview": is_preview,
        "customer_id": done.customer_id,
        "transaction_id": None if is_preview else done.transaction_id,
        "grant_id": None if is_preview else done.grant_id,
        "request_id": done.request_id,
        "due_now": amount(0),
        "credit_gained": amount(max(done.amount_nanos, 0)),
        "credit_lost": amount(max(-done.amount_nanos, 0)),
        "debt_paid": amount(done.debt_paid_nanos),
        "available_before": amount(done.available_before_nanos),
        "available_after": amount(done.available_after_nanos),
        "reason": done.reason,
    }


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > NOTE_CHARACTERS_MAX or not reason.isprintable():
        raise InvalidInput(
            f"reason: say why, in 1 to {NOTE_CHARACTERS_MAX} printable characters: it stands in the journal",
            field="reason",
        )


def _wallets(rows: Rows, customer: Customer) -> Wallets:
    payee = Payee(customer=customer, wallet=load_wallet(rows, customer.customer_id))
    return Wallets(payee=payee, grants=rows.find(Grant, customer_id=customer.customer_id))


def _disputed(rows: Rows, request: str) -> Disputed:
    record = rows.get(RequestRecord, request)
    if record is None:
        own = rows.find(RequestRecord, caller_request_id=request)
        record = max(own, key=lambda each: each.created_us) if own else None
    if record is None:
        raise NotFound(f"There is no finished request {request!r}.", hint="`lava requests list` shows them.")
    hold = rows.get(Hold, record.hold_id)
    assert hold is not None, record
    customer = rows.get(Customer, record.customer_id) if record.customer_id else None
    return Disputed(
        record=record,
        hold=hold,
        is_disputed=bool(rows.find(Event, key=dispute_key(record.request_id))),
        wallets=_wallets(rows, customer) if customer else None,
    )


def _audit(done: Adjustment, by: By, *, action: str, now_us: int) -> AuditEntry:
    subject = done.request_id or done.customer_id
    after = f"{format_amount(done.amount_nanos)} {done.reason}"
    return AuditEntry(at_us=now_us, actor=by.actor, action=action, subject=subject, after=after)
