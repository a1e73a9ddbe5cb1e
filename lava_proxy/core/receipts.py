"""What becomes of a payment: asked for, answered, paid. Pure.

Paying is posted at most once (``payment:<payment_id>``), and in that transaction stands what it bought. An attempt has a
key of its own (``<payment_id>:<attempt>``), under which a gateway gives the same answer however often it is asked. An
unknown outcome is asked about again under the same key; only a decline makes a new attempt.
"""

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import (
    IN_DOUBT,
    OPEN_PAYMENTS,
    Payment,
    PaymentStatus,
    Plan,
    Purpose,
    Rollover,
    SubscriptionStatus,
)
from lava_proxy.core.cycles import DAY_US, boundary
from lava_proxy.core.drafts import Draft
from lava_proxy.core.endings import SETTLED, end
from lava_proxy.core.entities import GrantSource
from lava_proxy.core.errors import Conflict, Refused
from lava_proxy.core.gateway import Answer, Outcome
from lava_proxy.core.journal import funding_account, money_account, move, overage_account, sales_account
from lava_proxy.core.overage_bills import bill_overage
from lava_proxy.core.plans import price_of
from lava_proxy.core.renewal import roll_over
from lava_proxy.core.subscriptions import begin_new_anchor, give_cycle_credit, move_to

LEASE_US = 120 * 1_000_000
"""So long one process has for asking; then another may ask under the same key."""
RETRIES_US = (DAY_US, 3 * DAY_US)
"""After a decline: when the next attempts are made. Then it is given up."""
_ASKED_AGAIN_US = tuple(seconds * 1_000_000 for seconds in (60, 300, 1800, 7200, 21600))
"""After an unknown outcome: when it is asked about again; the last one from then on."""
_IS_RETRIED = (Purpose.CYCLE, Purpose.OVERAGE, Purpose.MINIMUM, Purpose.REFUND)
_MAY_BE_DROPPED = (Purpose.BUNDLE, Purpose.UPGRADE, Purpose.TOP_UP, Purpose.MINIMUM)
_TOP_UP_FAILURES_MAX = 3


class Asking(Struct, frozen=True, kw_only=True):
    """A payment that this process is to ask for now."""

    payment: Payment

    @property
    def key(self) -> str:
        return f"{self.payment.payment_id}:{self.payment.attempts}"


def lease(draft: Draft, payment: Payment, real_us: int) -> Asking | None:
    """Take a payment that is due on; ``None`` where somebody else has, or there is nothing to ask (any more).

    ``real_us`` is the present instant, which the draft's may be far behind after downtime.
    """
    if payment.due_us is None or payment.due_us > draft.now_us or payment.status not in OPEN_PAYMENTS:
        return None
    is_new = payment.status is PaymentStatus.DUE
    asked = replace(
        payment,
        status=PaymentStatus.SENT,
        attempts=payment.attempts + is_new,
        repeats=0 if is_new else payment.repeats + 1,
        due_us=max(real_us, draft.now_us) + LEASE_US,
    )
    draft.payments[payment.payment_id] = asked
    return Asking(payment=asked)


def record(draft: Draft, payment: Payment, attempt: int, answer: Answer, real_us: int) -> Payment:
    """Book what a gateway said of an attempt. Again, or of an attempt that is over, changes nothing.

    Money that came is booked whatever we thought of the payment before: what it cannot buy any more goes back.
    """
    if answer.outcome is Outcome.PAID and payment.status is not PaymentStatus.PAID:
        return pay(draft, payment, reference=answer.reference)
    if payment.attempts != attempt or payment.status not in (
        PaymentStatus.SENT,
        PaymentStatus.UNKNOWN,
        PaymentStatus.PENDING,
    ):
        return payment
    if answer.outcome is Outcome.DECLINED:
        return _declined(draft, payment, answer)
    if answer.outcome is Outcome.PENDING:
        changed = replace(
            payment,
            status=PaymentStatus.PENDING,
            reference=answer.reference or payment.reference,
            url=answer.url or payment.url,
            due_us=None if answer.ask_again_us is None else max(real_us, draft.now_us) + answer.ask_again_us,
        )
    else:
        wait_us = _ASKED_AGAIN_US[min(payment.repeats, len(_ASKED_AGAIN_US) - 1)]
        changed = replace(
            payment, status=PaymentStatus.UNKNOWN, due_us=max(real_us, draft.now_us) + wait_us, reason=answer.reason
        )
    draft.payments[payment.payment_id] = changed
    return changed


def mark_paid(draft: Draft, payment: Payment, *, reference: str | None, reason: str) -> Payment:
    """A person notes that the money came (or went). Again changes nothing.

    Raises:
        Refused: it is no longer wanted.
        Conflict: it was paid under another reference.
    """
    if payment.status is PaymentStatus.PAID:
        if reference is not None and reference != payment.reference:
            raise Conflict(f"The payment {payment.payment_id} was paid already, as {payment.reference!r}.")
        return payment
    if payment.status is PaymentStatus.VOID:
        raise Refused(f"The payment {payment.payment_id} is void: it is no longer wanted.")
    paid = replace(payment, reason=reason)
    draft.payments[payment.payment_id] = paid
    return pay(draft, paid, reference=reference)


def void(draft: Draft, payment: Payment) -> Payment:
    """Drop a payment that nobody wants any more. Again changes nothing.

    Raises:
        Refused: it is paid, its outcome is in doubt, or a subscription or what is owed hangs on it.
    """
    if payment.status is PaymentStatus.VOID:
        return payment
    if payment.purpose not in _MAY_BE_DROPPED:
        raise Refused(
            f"A payment for {payment.purpose.value} cannot be dropped: cancel the subscription, or wait for it."
        )
    if payment.status is PaymentStatus.PAID or payment.status in IN_DOUBT:
        raise Refused(f"The payment {payment.payment_id} is {payment.status.value}.")
    dropped = draft.payments[payment.payment_id] = replace(payment, status=PaymentStatus.VOID, due_us=None)
    return dropped


def pay(draft: Draft, payment: Payment, *, reference: str | None) -> Payment:
    """Book the money, and give what it bought."""
    assert payment.status is not PaymentStatus.PAID, payment
    paid = replace(
        payment,
        status=PaymentStatus.PAID,
        paid_us=draft.now_us,
        due_us=None,
        reference=reference or payment.reference,
    )
    draft.payments[payment.payment_id] = paid
    _post(draft, paid)
    draft.tell("payment.paid", paid.payment_id, payment_id=paid.payment_id, purpose=paid.purpose.value)
    if paid.purpose is Purpose.CYCLE:
        _cycle_paid(draft, paid)
    elif paid.purpose is Purpose.UPGRADE:
        _upgrade_paid(draft, paid)
    elif paid.purpose in (Purpose.BUNDLE, Purpose.TOP_UP):
        _credit_paid(draft, paid)
    return draft.payments[payment.payment_id]


def _post(draft: Draft, payment: Payment) -> None:
    money = money_account(payment.gateway)
    if payment.purpose is Purpose.REFUND:
        assert payment.refund_of is not None
        sales = sales_account(draft.payments[payment.refund_of].purpose.value)
        postings = move(money, sales, payment.amount_nanos)
    else:
        postings = move(sales_account(payment.purpose.value), money, payment.amount_nanos)
    if payment.purpose is Purpose.OVERAGE:
        account = overage_account(payment.customer_id)
        postings += move(funding_account("overage"), account, payment.amount_nanos)
    draft.post("payment", f"payment:{payment.payment_id}", postings, note=payment.reason)


def _cycle_paid(draft: Draft, payment: Payment) -> None:
    subscription = draft.subscription
    if subscription is None or payment.subscription_id != subscription.subscription_id or not draft.is_active_customer:
        _give_back(draft, payment)
    elif subscription.awaiting_payment_id == payment.payment_id:
        _awaited_paid(draft, payment)
    elif subscription.status is SubscriptionStatus.INCOMPLETE:
        begin_new_anchor(draft, _plan_of(draft, payment), payment=payment)
    elif subscription.status is SubscriptionStatus.ACTIVE and not price_of(draft.plan(), subscription):
        bill_overage(draft)
        roll_over(draft)
        draft.change(is_cancelling=False)
        begin_new_anchor(draft, _plan_of(draft, payment), payment=payment)
    else:
        _give_back(draft, payment)


def _awaited_paid(draft: Draft, payment: Payment) -> None:
    """The cycle is paid. One that has ended meanwhile begins anew, so that money always buys a whole cycle."""
    subscription, plan = draft.live(), draft.plan()
    if draft.now_us >= subscription.cycle_end_us:
        end_us = boundary(draft.now_us, plan.interval, 1)
        draft.change(anchor_us=draft.now_us, intervals=1, cycle_start_us=draft.now_us, cycle_end_us=end_us)
    draft.change(status=SubscriptionStatus.ACTIVE, due_us=draft.live().cycle_end_us, **SETTLED)
    give_cycle_credit(draft, payment.credit_nanos, payment=payment)


def _upgrade_paid(draft: Draft, payment: Payment) -> None:
    subscription = draft.subscription
    if (
        subscription is None
        or payment.subscription_id != subscription.subscription_id
        or payment.cycle != subscription.cycle
        or subscription.status is not SubscriptionStatus.ACTIVE
        or draft.now_us >= subscription.cycle_end_us
        or not draft.is_active_customer
    ):
        _give_back(draft, payment)
        return
    plan = _plan_of(draft, payment)
    move_to(draft, plan)
    draft.change(is_cancelling=False)
    give_cycle_credit(draft, payment.credit_nanos, payment=payment)


def _credit_paid(draft: Draft, payment: Payment) -> None:
    if not draft.is_active_customer:
        _give_back(draft, payment)
        return
    source = GrantSource.BUNDLE if payment.purpose is Purpose.BUNDLE else GrantSource.TOP_UP
    subscription, expires_us = draft.subscription, None
    if subscription is not None and draft.plan().bundle_rollover is Rollover.NONE and payment.bundle_id is not None:
        expires_us = subscription.cycle_end_us if subscription.cycle_end_us > draft.now_us else None
    grant_id = draft.give(
        source, payment.credit_nanos, paid_nanos=payment.amount_nanos, expires_us=expires_us, note=payment.reason
    )
    draft.payments[payment.payment_id] = replace(payment, grant_id=grant_id)
    _note_top_up(draft, payment, failed=False)


def _give_back(draft: Draft, payment: Payment) -> None:
    """Money for something that is no longer there."""
    draft.payments[payment.payment_id] = replace(payment, refunded_nanos=payment.amount_nanos)
    draft.owe(Purpose.REFUND, payment.amount_nanos, refund_of=payment.payment_id, cycle=payment.cycle)


def _declined(draft: Draft, payment: Payment, answer: Answer) -> Payment:
    may_retry = answer.may_retry and payment.purpose in _IS_RETRIED and not _is_first(draft, payment)
    if may_retry and payment.attempts <= len(RETRIES_US):
        due_us = draft.now_us + RETRIES_US[payment.attempts - 1]
        changed = replace(payment, status=PaymentStatus.DUE, due_us=due_us, reason=answer.reason)
    else:
        changed = replace(payment, status=PaymentStatus.DECLINED, due_us=None, reason=answer.reason)
    draft.payments[payment.payment_id] = changed
    kind = "top_up.failed" if payment.purpose is Purpose.TOP_UP else "payment.failed"
    draft.tell(
        kind,
        f"{payment.payment_id}:{payment.attempts}",
        payment_id=payment.payment_id,
        purpose=payment.purpose.value,
        reason=answer.reason,
    )
    subscription = draft.subscription
    if subscription is not None and subscription.awaiting_payment_id == payment.payment_id:
        draft.change(status=SubscriptionStatus.PAST_DUE)
    elif _is_first(draft, payment):
        end(draft)
    _note_top_up(draft, payment, failed=True)
    return draft.payments[payment.payment_id]


def _is_first(draft: Draft, payment: Payment) -> bool:
    """For a subscription that has not begun."""
    subscription = draft.subscription
    return (
        subscription is not None
        and subscription.status is SubscriptionStatus.INCOMPLETE
        and payment.purpose is Purpose.CYCLE
        and payment.subscription_id == subscription.subscription_id
    )


def _note_top_up(draft: Draft, payment: Payment, *, failed: bool) -> None:
    """A rule counts what was declined; at three in a row it is switched off."""
    rule = draft.rules.get(payment.rule) if payment.rule else None
    if rule is None:
        return
    failures = rule.failures + 1 if failed else 0
    is_over = failures >= _TOP_UP_FAILURES_MAX
    draft.rules[rule.subject] = replace(
        rule,
        failures=failures,
        is_on=rule.is_on and not is_over,
        reason=f"{failures} top-ups were declined" if is_over else rule.reason,
    )


def _plan_of(draft: Draft, payment: Payment) -> Plan:
    assert payment.plan_id is not None, payment
    return draft.plans[payment.plan_id]
