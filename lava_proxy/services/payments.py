"""Payments: asked for through the gateway, answered, noted by hand. Each is booked once, whatever happens between.

Asking is three steps: take it on and commit, ask, book the answer. A process that dies between them leaves a payment
that was sent; after its lease it is asked about again under the same key, and the gateway tells what became of it.
"""

import logging
from collections.abc import Callable

from msgspec import Struct

from lava_proxy.core.billing import Payment, PaymentStatus, Purpose
from lava_proxy.core.drafts import Draft, load_account
from lava_proxy.core.entities import AuditEntry
from lava_proxy.core.errors import Conflict, InvalidInput, NotFound
from lava_proxy.core.gateway import Answer, Charge, Outcome, PaymentGateway, Refund
from lava_proxy.core.ids import CustomerId, PaymentId
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.receipts import Asking, lease, mark_paid, record, void
from lava_proxy.services.billing import BillingDesk, Change, Effects
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer as Once
from lava_proxy.services.idempotency import By, once

log = logging.getLogger(__name__)

REFERENCE_CHARACTERS_MAX = 255


class PaymentFilter(Struct, frozen=True, kw_only=True):
    customer: str | None = None
    status: str | None = None


class Payments:
    def __init__(self, *, desk: BillingDesk, gateway: PaymentGateway) -> None:
        self._desk = desk
        self._gateway = gateway

    def get(self, payment_id: str) -> Payment:
        """
        Raises:
            NotFound
        """
        return self._desk.ledger.read(lambda rows: require_payment(rows, payment_id))

    def list(self, which: PaymentFilter) -> tuple[Payment, ...]:
        """Oldest first.

        Raises:
            CustomerNotFound
            InvalidInput: there is no such status.
        """
        states = [status.value for status in PaymentStatus]
        if which.status is not None and which.status not in (*states, "open"):
            raise InvalidInput(f"status: {which.status!r} is none; choose of open, {', '.join(states)}", field="status")
        if which.customer is not None:
            customer = which.customer
            found = self._desk.ledger.read(
                lambda rows: rows.find(Payment, customer_id=require_customer(rows, customer).customer_id)
            )
        else:
            found = tuple(self._desk.ledger.books().rows(Payment))
        return tuple(payment for payment in found if _is_meant(payment, which.status))

    def mark_paid(self, payment_id: str, *, by: By, reference: str | None = None, reason: str = "") -> Once[Payment]:
        """Note that the money came, or that a refund went out; what it bought is given in the same transaction.

        Raises:
            NotFound
            Refused: it is no longer wanted.
            Conflict: it was paid under another reference, or another payment has this one.
        """
        for field, text in (("reference", reference or ""), ("reason", reason)):
            if len(text) > REFERENCE_CHARACTERS_MAX or not text.isprintable():
                raise InvalidInput(f"{field}: at most {REFERENCE_CHARACTERS_MAX} printable characters", field=field)
        stamp = self._desk.stamp(by.actor)

        def load(rows: Rows) -> Draft:
            return Draft(load_account(rows, require_payment(rows, payment_id).customer_id), stamp)

        def decide(draft: Draft) -> Decision[Payment]:
            before = draft.payments[PaymentId(payment_id)]
            paid = mark_paid(draft, before, reference=reference, reason=reason)
            if paid == before:
                return Decision(result=paid)
            entry = AuditEntry(
                at_us=stamp.now_us, actor=by.actor, action="payment.marked_paid", subject=payment_id, after=reason
            )
            return draft.decision(paid, entry)

        content = ("payments.mark_paid", payment_id, reference, reason)
        return once(self._desk.ledger, load, decide, by=by, now_us=stamp.now_us, kind=Payment, content=content)

    def void(self, payment_id: str, *, by: By) -> Once[Payment]:
        """Drop a payment that nobody wants any more. Again changes nothing.

        Raises:
            NotFound
            Refused: it is paid, its outcome is in doubt, or something hangs on it.
        """
        stamp = self._desk.stamp(by.actor)

        def load(rows: Rows) -> Draft:
            return Draft(load_account(rows, require_payment(rows, payment_id).customer_id), stamp)

        def decide(draft: Draft) -> Decision[Payment]:
            dropped = void(draft, draft.payments[PaymentId(payment_id)])
            entry = AuditEntry(at_us=stamp.now_us, actor=by.actor, action="payment.voided", subject=payment_id)
            return draft.decision(dropped, entry)

        content = ("payments.void", payment_id)
        return once(self._desk.ledger, load, decide, by=by, now_us=stamp.now_us, kind=Payment, content=content)

    def preview_paid(self, payment_id: str, *, by: By) -> Effects:
        """What noting it as paid would give.

        Raises:
            NotFound, Refused
        """
        payment = self.get(payment_id)
        change = Change(customer=payment.customer_id, action="payment.marked_paid", content=())

        def rule(rows: Rows, draft: Draft) -> None:
            del rows
            mark_paid(draft, draft.payments[payment.payment_id], reference=None, reason="")

        return self._desk.preview(change, rule, by=by)

    def ask(self, payment: Payment, *, as_of_us: int, now_us: int) -> bool:
        """Ask the gateway for one payment that is due, and book its answer; ``False`` where somebody else does.

        ``as_of_us``: when it became due; what it buys is given as of then.
        """
        if payment.gateway != self._gateway.name:
            return False
        asking = self._step(payment, lambda draft, found: lease(draft, found, now_us), now_us=as_of_us)
        if asking is None:
            return False
        self.book(
            asking.payment.payment_id, asking.payment.attempts, self._ask(asking), as_of_us=as_of_us, now_us=now_us
        )
        return True

    def book(self, payment_id: str, attempt: int, answer: Answer, *, as_of_us: int, now_us: int) -> Payment:
        """Book what the gateway says of an attempt, now or later, once or more often.

        Raises:
            NotFound
        """
        try:
            return self._step(
                self.get(payment_id),
                lambda draft, found: record(draft, found, attempt, answer, now_us),
                now_us=as_of_us,
            )
        except Conflict:
            log.error("another payment has this reference", extra={"payment_id": payment_id})
            raise

    def _step[R](self, payment: Payment, rule: Callable[[Draft, Payment], R], *, now_us: int) -> R:
        def run(draft: Draft) -> R:
            return rule(draft, draft.payments[payment.payment_id])

        return self._desk.step(
            CustomerId(payment.customer_id), run, actor=f"gateway:{self._gateway.name}", now_us=now_us
        )

    def _ask(self, asking: Asking) -> Answer:
        """Whatever goes wrong in a gateway, the outcome is then unknown: it may have been paid."""
        payment = asking.payment
        try:
            if payment.purpose is Purpose.REFUND:
                paid = self.get(payment.refund_of) if payment.refund_of else None
                return self._gateway.refund(
                    Refund(
                        key=asking.key,
                        payment_id=payment.payment_id,
                        customer_id=payment.customer_id,
                        amount_nanos=payment.amount_nanos,
                        paid_reference=paid.reference if paid else None,
                        reference=payment.reference,
                    )
                )
            return self._gateway.charge(
                Charge(
                    key=asking.key,
                    payment_id=payment.payment_id,
                    customer_id=payment.customer_id,
                    amount_nanos=payment.amount_nanos,
                    purpose=payment.purpose.value,
                    description=f"{payment.purpose.value} {payment.payment_id}",
                    reference=payment.reference,
                )
            )
        except Exception as error:
            log.exception("the gateway failed; the outcome is unknown", extra={"payment_id": payment.payment_id})
            return Answer(outcome=Outcome.UNKNOWN, reason=type(error).__name__)


def require_payment(rows: Rows, payment_id: str) -> Payment:
    """
    Raises:
        NotFound
    """
    found = rows.get(Payment, payment_id)
    if found is None:
        raise NotFound(f"There is no payment {payment_id!r}.", hint="`lava payments list` shows them all.")
    return found


def _is_meant(payment: Payment, status: str | None) -> bool:
    if status == "open":
        return payment.status not in (PaymentStatus.PAID, PaymentStatus.DECLINED, PaymentStatus.VOID)
    return status is None or payment.status.value == status
