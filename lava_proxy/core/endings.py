"""How a subscription ends, with its cycle or now, and what is paid back then. Pure.

Paid back is the unused part of what was paid, by credit or by time, whichever is less, down to the cent; the credit goes
with it. What is held for calls in flight counts as used.
"""

from msgspec.structs import replace

from lava_proxy.core.billing import IN_DOUBT, Payment, PaymentStatus, Purpose, Subscription, SubscriptionStatus
from lava_proxy.core.cycles import refundable_nanos
from lava_proxy.core.drafts import Draft
from lava_proxy.core.entities import GrantSource, GrantStatus
from lava_proxy.core.errors import Refused
from lava_proxy.core.overage_bills import bill_overage

SETTLED: dict[str, object] = {"awaiting_payment_id": None, "grace_until_us": None, "is_blocked": False}
"""No payment for the cycle is missing any more."""


def cancel(draft: Draft) -> Draft:
    """End it with the cycle. Again changes nothing.

    Raises:
        Refused: there is none.
    """
    subscription = existing(draft)
    if subscription.status is SubscriptionStatus.INCOMPLETE or subscription.awaiting_payment_id is not None:
        return cancel_now(draft)
    if subscription.status is SubscriptionStatus.PAUSED:
        return cancel_now(draft)
    draft.change(is_cancelling=True, pending_plan_id=None)
    return draft


def cancel_now(draft: Draft) -> Draft:
    """End it at once, and pay back what is unused of this cycle: by time and by credit, the lesser of both.

    Raises:
        Refused: there is none, or the outcome of a payment for it is in doubt.
    """
    subscription = existing(draft)
    check_no_doubt(draft)
    if subscription.status in (SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE, SubscriptionStatus.PAUSED):
        _pay_back_cycle(draft, subscription)
    end(draft)
    return draft


def _pay_back_cycle(draft: Draft, subscription: Subscription) -> None:
    """Refunds of what this cycle cost, each by its own grant: what is held for calls in flight counts as used."""
    whole_us = subscription.cycle_end_us - subscription.cycle_start_us
    left_us = subscription.left_us
    if left_us is None:
        left_us = min(max(subscription.cycle_end_us - draft.now_us, 0), whole_us)
    for payment in tuple(draft.payments.values()):
        is_of_cycle = payment.purpose in (Purpose.CYCLE, Purpose.UPGRADE) and payment.cycle == subscription.cycle
        if not is_of_cycle or payment.subscription_id != subscription.subscription_id or payment.refunded_nanos:
            continue
        if payment.status is PaymentStatus.PAID:
            paid_for_us = subscription.cycle_end_us - payment.created_us
            is_part = payment.purpose is Purpose.UPGRADE and 0 < paid_for_us < whole_us
            span_us = paid_for_us if is_part else whole_us
            pay_back(draft, payment, left_us=min(left_us, span_us), whole_us=span_us)


def pay_back(draft: Draft, payment: Payment, *, left_us: int, whole_us: int) -> int:
    """Refund the unused part of one payment, and take its credit back; gives the amount.

    Cycle credit goes with all that is left of it; of other credit that part goes for which money goes back.
    """
    grant = draft.grants.get(payment.grant_id) if payment.grant_id else None
    unused = grant.free_nanos if grant is not None and grant.status is GrantStatus.ACTIVE else 0
    granted = payment.credit_nanos if payment.grant_id else 0
    amount = refundable_nanos(
        payment.amount_nanos, unused_nanos=unused, granted_nanos=granted, left_us=left_us, whole_us=whole_us
    )
    if grant is not None and unused:
        draft.take_back(grant)
    if amount:
        draft.payments[payment.payment_id] = replace(payment, refunded_nanos=payment.refunded_nanos + amount)
        draft.owe(Purpose.REFUND, amount, refund_of=payment.payment_id, cycle=payment.cycle)
    return amount


def end(draft: Draft) -> None:
    """The subscription is over: overage is collected, cycle credit lapses, bundles that roll over stay."""
    bill_overage(draft)
    draft.drop_payments(Purpose.CYCLE, Purpose.UPGRADE, Purpose.TOP_UP)
    for grant in tuple(draft.grants.values()):
        if grant.source is GrantSource.CYCLE:
            draft.take_back(grant)
    subscription = draft.change(
        status=SubscriptionStatus.CANCELLED,
        ended_us=draft.now_us,
        left_us=None,
        due_us=None,
        pending_plan_id=None,
        is_cancelling=False,
        **SETTLED,
    )
    rule = draft.rules.get(subscription.subscription_id)
    if rule is not None:
        draft.rules[rule.subject] = replace(rule, is_on=False, reason="the subscription has ended")
    draft.tell("subscription.ended", subscription.subscription_id, plan_id=subscription.plan_id)


def check_no_doubt(draft: Draft) -> None:
    """
    Raises:
        Refused: nobody knows yet whether a payment for the subscription was made.
    """
    subscription = draft.live()
    for payment in draft.payments.values():
        is_of_it = payment.subscription_id == subscription.subscription_id
        if is_of_it and payment.purpose in (Purpose.CYCLE, Purpose.UPGRADE) and payment.status in IN_DOUBT:
            raise Refused(f"Nobody knows yet whether the payment {payment.payment_id} was made.")


def existing(draft: Draft) -> Subscription:
    if draft.subscription is None:
        raise Refused(
            "The customer has no subscription.", hint="`lava subscriptions start CUSTOMER --plan PLAN` starts one."
        )
    return draft.subscription
