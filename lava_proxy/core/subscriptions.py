"""What a person does to a subscription: start, change, revoke, pause, resume. Pure: an account in, a draft out.

=========  ==================================================================================================
start      a free plan and a trial begin at once; else the first cycle begins when its payment is in
upgrade    a dearer plan of the same interval: at once, when the prorated difference is paid; from free to
           paid a new cycle begins when its payment is in
downgrade  a cheaper plan, or one of another interval: with the next cycle; revocable until then
pause      at once; the cycle stands still, calls are blocked; ``resume`` lets the rest of it run
=========  ==================================================================================================

How it ends stands in ``endings``, what renewing does in ``renewal``, what a payment's outcome does in ``receipts``.
"""

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import (
    OPEN_PAYMENTS,
    Payment,
    PaymentStatus,
    Plan,
    PlanStatus,
    Purpose,
    Rollover,
    Subscription,
    SubscriptionStatus,
    TopUp,
)
from lava_proxy.core.cycles import DAY_US, boundary, prorate_cents, prorate_nanos
from lava_proxy.core.drafts import Draft
from lava_proxy.core.endings import SETTLED, check_no_doubt, existing
from lava_proxy.core.entities import Grant, GrantSource, GrantStatus
from lava_proxy.core.errors import Conflict, InvalidInput, Refused
from lava_proxy.core.ids import PaymentId, SubscriptionId
from lava_proxy.core.overage_bills import begin_cycle
from lava_proxy.core.plans import price_of

COOLDOWN_US = 15 * 60 * 1_000_000
_RUNNING = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)


class OwnTerms(Struct, frozen=True, kw_only=True):
    """What a customer has of their own over a shared plan."""

    own_amount_nanos: int | None = None
    discount_nanos: int = 0
    minimum_nanos: int = 0


def start(draft: Draft, plan: Plan, own: OwnTerms, *, with_trial: bool = True) -> Draft:
    """Put the customer on a plan.

    Raises:
        Conflict: they have a subscription.
        Refused: they are not active, or the plan is archived.
    """
    if draft.subscription is not None:
        raise Conflict(
            f"The customer has the subscription {draft.subscription.subscription_id} already.",
            hint="`lava subscriptions change` takes it to another plan.",
        )
    _check_active(draft)
    _check_offered(plan)
    now_us = draft.now_us
    draft.plans[plan.plan_id] = plan
    draft.subscription = Subscription(
        subscription_id=SubscriptionId(draft.stamp.ids.new("sub")),
        customer_id=draft.customer.customer_id,
        plan_id=plan.plan_id,
        status=SubscriptionStatus.INCOMPLETE,
        anchor_us=now_us,
        intervals=0,
        cycle=0,
        cycle_start_us=now_us,
        cycle_end_us=now_us,
        own_amount_nanos=own.own_amount_nanos,
        discount_nanos=own.discount_nanos,
        minimum_nanos=own.minimum_nanos,
        started_us=now_us,
    )
    _add_default_top_up(draft, plan)
    draft.tell("subscription.started", draft.live().subscription_id, plan_id=plan.plan_id)
    if plan.trial_days and with_trial:
        return _start_trial(draft, plan)
    return ask_for_new_cycle(draft, plan)


def ask_for_new_cycle(draft: Draft, plan: Plan) -> Draft:
    """A cycle of ``plan`` that begins when it is paid: at once where it costs nothing."""
    subscription = draft.live()
    amount = price_of(plan, subscription)
    if not amount:
        return begin_new_anchor(draft, plan)
    draft.owe(
        Purpose.CYCLE, amount, plan_id=plan.plan_id, cycle=subscription.cycle + 1, credit_nanos=plan.included_nanos
    )
    return draft


def begin_new_anchor(draft: Draft, plan: Plan, *, payment: Payment | None = None) -> Draft:
    """A new cycle of ``plan`` from this instant on, paid by ``payment`` or free, with its credit."""
    now_us, cycle = draft.now_us, draft.live().cycle + 1
    end_us = boundary(now_us, plan.interval, 1)
    if plan.plan_id != draft.live().plan_id:
        move_to(draft, plan)
    draft.change(
        status=SubscriptionStatus.ACTIVE,
        anchor_us=now_us,
        intervals=1,
        cycle=cycle,
        cycle_start_us=now_us,
        cycle_end_us=end_us,
        due_us=end_us,
        pending_plan_id=None,
        **SETTLED,
    )
    begin_cycle(draft)
    if payment is not None:
        payment = draft.payments[payment.payment_id] = replace(payment, cycle=cycle)
    give_cycle_credit(draft, payment.credit_nanos if payment else plan.included_nanos, payment=payment)
    return draft


def give_cycle_credit(draft: Draft, amount_nanos: int, *, payment: Payment | None) -> None:
    """Credit of this cycle, which ends with it where nothing is carried over."""
    plan, subscription = draft.plan(), draft.live()
    grant_id = draft.give(
        GrantSource.CYCLE,
        amount_nanos,
        paid_nanos=payment.amount_nanos if payment else 0,
        expires_us=subscription.cycle_end_us if plan.rollover is Rollover.NONE else None,
        note=f"{plan.name}, cycle {subscription.cycle}" if subscription.cycle else f"{plan.name}, trial",
    )
    if payment is not None:
        draft.payments[payment.payment_id] = replace(draft.payments[payment.payment_id], grant_id=grant_id)


def change(draft: Draft, plan: Plan) -> Draft:
    """Take the subscription to another plan.

    Raises:
        Refused: it is not running, it awaits a payment, or the plan is archived.
        InvalidInput: it is on this plan already, and nothing is pending.
    """
    subscription = _running(draft)
    _check_offered(plan)
    if plan.plan_id == subscription.plan_id:
        wanted = [p for p in draft.payments.values() if p.purpose is Purpose.UPGRADE and p.status in OPEN_PAYMENTS]
        if subscription.pending_plan_id is None and not wanted:
            raise InvalidInput(f"plan: the subscription is on {plan.name!r} already", field="plan")
        check_no_doubt(draft)
        draft.drop_payments(Purpose.UPGRADE)
        draft.change(pending_plan_id=None)
        return draft
    current = draft.plan()
    draft.plans[plan.plan_id] = plan
    old, new = price_of(current, subscription), price_of(plan, replace(subscription, plan_id=plan.plan_id))
    draft.drop_payments(Purpose.UPGRADE)
    is_trial = subscription.status is SubscriptionStatus.TRIALING
    if is_trial:
        move_to(draft, plan)
    elif not old and new:
        check_no_doubt(draft)
        draft.drop_payments(Purpose.CYCLE)
        ask_for_new_cycle(draft, plan)
    elif new > old and plan.interval is current.interval:
        check_no_doubt(draft)
        _upgrade(draft, current, plan, new - old)
    else:
        draft.change(pending_plan_id=plan.plan_id, is_cancelling=False)
    return draft


def _upgrade(draft: Draft, current: Plan, plan: Plan, difference_nanos: int) -> None:
    subscription = draft.live()
    whole_us = subscription.cycle_end_us - subscription.cycle_start_us
    left_us = min(max(subscription.cycle_end_us - draft.now_us, 0), whole_us)
    credit = prorate_nanos(max(plan.included_nanos - current.included_nanos, 0), left_us, whole_us)
    due = prorate_cents(difference_nanos, left_us, whole_us)
    if due:
        draft.owe(Purpose.UPGRADE, due, plan_id=plan.plan_id, cycle=subscription.cycle, credit_nanos=credit)
        return
    move_to(draft, plan)
    give_cycle_credit(draft, credit, payment=None)


def pause(draft: Draft) -> Draft:
    """Stop the clock of a running subscription; its calls are blocked.

    Raises:
        Refused: it is not running, or it awaits a payment.
    """
    subscription = _running(draft)
    check_no_doubt(draft)
    draft.drop_payments(Purpose.UPGRADE)
    _re_date(draft, subscription.cycle_end_us, None)
    draft.change(
        status=SubscriptionStatus.PAUSED, left_us=max(subscription.cycle_end_us - draft.now_us, 0), due_us=None
    )
    draft.tell("subscription.paused", f"{subscription.subscription_id}:{draft.now_us}")
    return draft


def resume(draft: Draft) -> Draft:
    """Let a paused one run on, revoke what is pending, or ask again for a payment that failed.

    Raises:
        Refused: there is nothing to resume.
    """
    subscription = existing(draft)
    if subscription.status is SubscriptionStatus.PAUSED:
        return _run_on(draft, subscription)
    if subscription.is_cancelling or subscription.pending_plan_id is not None:
        draft.change(is_cancelling=False, pending_plan_id=None)
        return draft
    failed = draft.payments.get(subscription.awaiting_payment_id or PaymentId(""))
    if failed is None or failed.status not in (PaymentStatus.DUE, PaymentStatus.DECLINED):
        raise Refused(
            "The subscription is neither paused, nor is a change, a cancellation or a failed payment pending."
        )
    draft.payments[failed.payment_id] = replace(failed, status=PaymentStatus.DUE, due_us=draft.now_us)
    return draft


def _run_on(draft: Draft, subscription: Subscription) -> Draft:
    """The rest of the cycle from now on; the next ones are anchored to its end."""
    assert subscription.left_us is not None
    end_us = draft.now_us + subscription.left_us
    is_trial = subscription.cycle == 0
    draft.change(
        status=SubscriptionStatus.TRIALING if is_trial else SubscriptionStatus.ACTIVE,
        cycle_start_us=end_us - (subscription.cycle_end_us - subscription.cycle_start_us),
        cycle_end_us=end_us,
        anchor_us=end_us,
        intervals=0,
        left_us=None,
        due_us=end_us,
    )
    plan = draft.plan()
    for grant in tuple(draft.grants.values()):
        has_end = (
            is_trial or plan.rollover is Rollover.NONE
            if grant.source is GrantSource.CYCLE
            else plan.bundle_rollover is Rollover.NONE and grant.source in (GrantSource.BUNDLE, GrantSource.TOP_UP)
        )
        if has_end and grant.expires_us is None and grant.status is GrantStatus.ACTIVE:
            draft.grants[grant.grant_id] = replace(grant, expires_us=end_us)
    draft.tell("subscription.resumed", f"{subscription.subscription_id}:{draft.now_us}")
    return draft


def _start_trial(draft: Draft, plan: Plan) -> Draft:
    end_us = draft.now_us + plan.trial_days * DAY_US
    draft.change(status=SubscriptionStatus.TRIALING, anchor_us=end_us, cycle_end_us=end_us, due_us=end_us)
    draft.give(GrantSource.CYCLE, plan.included_nanos, expires_us=end_us, note=f"{plan.name}, trial")
    return draft


def _add_default_top_up(draft: Draft, plan: Plan) -> None:
    if plan.top_up_bundle_id is not None:
        subject = draft.live().subscription_id
        draft.rules[subject] = TopUp(
            subject=subject,
            customer_id=draft.customer.customer_id,
            below_nanos=1,
            bundle_id=plan.top_up_bundle_id,
            cooldown_us=COOLDOWN_US,
        )


def _re_date(draft: Draft, old_us: int, new_us: int | None) -> None:
    for grant in tuple(draft.grants.values()):
        if grant.expires_us == old_us and grant.status is GrantStatus.ACTIVE and _is_of_plan(grant):
            draft.grants[grant.grant_id] = replace(grant, expires_us=new_us)


def _is_of_plan(grant: Grant) -> bool:
    return grant.source in (GrantSource.CYCLE, GrantSource.BUNDLE, GrantSource.TOP_UP)


def _running(draft: Draft) -> Subscription:
    subscription = existing(draft)
    if subscription.status not in _RUNNING:
        raise Refused(f"The subscription is {subscription.status.value}.")
    if subscription.awaiting_payment_id is not None:
        raise Refused(
            f"The subscription awaits the payment {subscription.awaiting_payment_id}.",
            hint="`lava payments show` tells of it.",
        )
    if subscription.cycle_end_us <= draft.now_us:
        raise Refused("The subscription's cycle has ended and is about to be renewed; `lava tick` does so now.")
    return subscription


def move_to(draft: Draft, plan: Plan) -> None:
    """On another plan from now on: its bundle is what the subscription's own rule buys, and an own price ends."""
    draft.plans[plan.plan_id] = plan
    subscription = draft.change(plan_id=plan.plan_id, pending_plan_id=None, own_amount_nanos=None)
    rule = draft.rules.get(subscription.subscription_id)
    if rule is None:
        _add_default_top_up(draft, plan)
    elif rule.bundle_id is not None and rule.bundle_id != plan.top_up_bundle_id:
        bundle_id = plan.top_up_bundle_id
        changed = replace(rule, bundle_id=bundle_id) if bundle_id else replace(rule, is_on=False)
        draft.rules[rule.subject] = changed


def _check_active(draft: Draft) -> None:
    if not draft.is_active_customer:
        raise Refused(f"The customer {draft.customer.customer_id} is {draft.customer.status.value}.")


def _check_offered(plan: Plan) -> None:
    if plan.status is not PlanStatus.ACTIVE:
        raise Refused(f"The plan {plan.name!r} is archived.")
