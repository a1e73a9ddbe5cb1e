"""What time does to a subscription: the next cycle, and the end of a payment's grace. Pure.

The order within a renewal is fixed: what the old cycle still owes, then its credit lapses or is carried over, then what
is pending takes effect, then the new cycle is asked for and its credit given. Credit that is carried over has no expiry,
so that it does not lapse while nobody renews.
"""

from msgspec.structs import replace

from lava_proxy.core.billing import (
    IN_DOUBT,
    AfterGrace,
    PaymentStatus,
    Purpose,
    Rollover,
    Subscription,
    SubscriptionStatus,
)
from lava_proxy.core.cycles import DAY_US, boundary
from lava_proxy.core.drafts import Draft
from lava_proxy.core.endings import SETTLED, end
from lava_proxy.core.entities import Grant, GrantSource, GrantStatus
from lava_proxy.core.overage_bills import begin_cycle, bill_overage
from lava_proxy.core.plans import FREE_PLAN_ID, price_of
from lava_proxy.core.subscriptions import begin_new_anchor, give_cycle_credit, move_to


def is_due(subscription: Subscription, *, now_us: int) -> bool:
    """Time has something to do about it."""
    return subscription.due_us is not None and subscription.due_us <= now_us


def advance(draft: Draft) -> bool:
    """Do the one thing that is due by the draft's instant; ``False`` where there is none (any more)."""
    subscription = draft.subscription
    if subscription is None or not is_due(subscription, now_us=draft.now_us):
        return False
    if subscription.awaiting_payment_id is not None:
        _end_grace(draft, subscription)
    else:
        renew(draft)
    return True


def renew(draft: Draft) -> None:
    """From one cycle to the next."""
    subscription = draft.live()
    draft.drop_payments(Purpose.UPGRADE)
    _collect(draft, subscription)
    roll_over(draft)
    if subscription.is_cancelling or not draft.is_active_customer:
        end(draft)
        return
    if subscription.pending_plan_id is not None:
        is_same_interval = draft.plans[subscription.pending_plan_id].interval is draft.plan().interval
        move_to(draft, draft.plans[subscription.pending_plan_id])
        if not is_same_interval:
            draft.change(anchor_us=subscription.cycle_end_us, intervals=0)
    _begin(draft)


def roll_over(draft: Draft) -> None:
    """Unused credit lapses or is carried over, by the plan as it is now; a trial's never is."""
    plan, is_trial = draft.plan(), draft.live().cycle == 0
    of_cycle = [grant for grant in draft.grants.values() if grant.source is GrantSource.CYCLE]
    of_bundles = [g for g in draft.grants.values() if g.source in (GrantSource.BUNDLE, GrantSource.TOP_UP)]
    _carry(draft, of_cycle, Rollover.NONE if is_trial else plan.rollover, plan.rollover_cap_nanos)
    _carry(draft, of_bundles, plan.bundle_rollover, plan.bundle_rollover_cap_nanos)


def _carry(draft: Draft, grants: list[Grant], rollover: Rollover, cap_nanos: int | None) -> None:
    open_ones = sorted((g for g in grants if g.status is GrantStatus.ACTIVE), key=lambda g: (g.created_us, g.grant_id))
    if rollover is Rollover.NONE:
        for grant in open_ones:
            draft.take_back(grant)
        return
    too_much = max(sum(g.free_nanos for g in open_ones) - cap_nanos, 0) if cap_nanos is not None else 0
    for grant in open_ones:
        carried = grant if grant.expires_us is None else replace(grant, expires_us=None)
        draft.grants[grant.grant_id] = carried
        part = min(too_much, carried.free_nanos)
        if part:
            draft.trim(carried, part, key=f"grant_trim:{grant.grant_id}:{draft.live().cycle}")
            too_much -= part


def _collect(draft: Draft, subscription: Subscription) -> None:
    """Overage, and what is missing to a promised minimum."""
    bill_overage(draft)
    if not subscription.minimum_nanos or not subscription.cycle:
        return
    spent = sum(
        payment.amount_nanos
        for payment in draft.payments.values()
        if payment.subscription_id == subscription.subscription_id
        and payment.cycle == subscription.cycle
        and payment.purpose is not Purpose.REFUND
        and payment.status is not PaymentStatus.VOID
        and payment.status is not PaymentStatus.DECLINED
    )
    if spent < subscription.minimum_nanos:
        draft.owe(Purpose.MINIMUM, subscription.minimum_nanos - spent, cycle=subscription.cycle)


def _begin(draft: Draft) -> None:
    """The next cycle, from the end of the old one on; its credit comes with its payment."""
    before, plan = draft.live(), draft.plan()
    end_us = boundary(before.anchor_us, plan.interval, before.intervals + 1)
    subscription = draft.change(
        status=SubscriptionStatus.ACTIVE,
        intervals=before.intervals + 1,
        cycle=before.cycle + 1,
        cycle_start_us=before.cycle_end_us,
        cycle_end_us=end_us,
        due_us=end_us,
    )
    begin_cycle(draft)
    draft.tell("subscription.renewed", f"{subscription.subscription_id}:{subscription.cycle}", plan_id=plan.plan_id)
    amount = price_of(plan, subscription)
    if not amount:
        give_cycle_credit(draft, plan.included_nanos, payment=None)
        return
    payment = draft.owe(
        Purpose.CYCLE, amount, plan_id=plan.plan_id, cycle=subscription.cycle, credit_nanos=plan.included_nanos
    )
    grace_us = before.cycle_end_us + plan.grace_days * DAY_US
    draft.change(awaiting_payment_id=payment.payment_id, grace_until_us=grace_us, due_us=grace_us)


def _end_grace(draft: Draft, subscription: Subscription) -> None:
    """The payment stayed away. While its outcome is in doubt nothing is done: an hour later we look again."""
    assert subscription.awaiting_payment_id is not None
    payment = draft.payments[subscription.awaiting_payment_id]
    if payment.status in IN_DOUBT:
        draft.change(due_us=draft.now_us + 3600 * 1_000_000)
        return
    plan = draft.plan()
    if subscription.is_cancelling or not draft.is_active_customer:
        end(draft)
        return
    if plan.after_grace is AfterGrace.FREE and plan.plan_id != FREE_PLAN_ID:
        _fall_back(draft)
        return
    draft.change(status=SubscriptionStatus.PAST_DUE, is_blocked=True, due_us=None)
    draft.tell("subscription.blocked", f"{subscription.subscription_id}:{subscription.cycle}")


def _fall_back(draft: Draft) -> None:
    """On with the free plan: the payment is dropped, own terms end, a cycle of the free plan begins."""
    free = draft.plans[FREE_PLAN_ID]
    draft.drop_payments(Purpose.CYCLE, Purpose.UPGRADE)
    subscription = draft.change(own_amount_nanos=None, discount_nanos=0, minimum_nanos=0, **SETTLED)
    bill_overage(draft)
    begin_new_anchor(draft, free)
    draft.tell("subscription.fell_back", f"{subscription.subscription_id}:{subscription.cycle}")
