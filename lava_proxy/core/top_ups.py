"""Credit that buys itself: whether a rule asks for a top-up now. Pure.

At most one top-up of a customer is open at a time, which the ledger's file itself refuses to break. A top-up that was
declined does not end the cool-down: it runs from the asking. What counts towards the month's cap is what was or may yet
be paid.
"""

from msgspec.structs import replace

from lava_proxy.core.billing import (
    OPEN_PAYMENTS,
    Bundle,
    Payment,
    PaymentStatus,
    PlanStatus,
    Purpose,
    TopUp,
)
from lava_proxy.core.drafts import Draft
from lava_proxy.core.instants import to_datetime
from lava_proxy.core.overage_bills import bill_overage, is_threshold_passed
from lava_proxy.core.wallet import available_nanos


def look(draft: Draft) -> Payment | None:
    """Collect overage whose threshold is passed, and ask for a top-up where one is wanted; gives the top-up."""
    if is_threshold_passed(draft):
        bill_overage(draft)
    payment = _ask(draft)
    draft.terms = replace(draft.terms, needs_look=False, wanted_nanos=0)
    return payment


def _ask(draft: Draft) -> Payment | None:
    if draft.terms.block or not draft.is_active_customer or _is_one_open(draft):
        return None
    available = spendable_nanos(draft)
    for rule in sorted(draft.rules.values(), key=lambda r: not r.subject.startswith("sub_")):
        is_wanted = available < rule.below_nanos or _helps(draft, rule, available)
        if rule.is_on and is_wanted and _has_cooled(rule, draft.now_us):
            return _buy(draft, rule)
    return None


def _helps(draft: Draft, rule: TopUp, available_nanos: int) -> bool:
    """A call was refused that this top-up would let pass."""
    bundle = _bundle(draft, rule)
    credit = rule.amount_nanos if rule.amount_nanos is not None else bundle.credit_nanos if bundle else 0
    return available_nanos < draft.terms.wanted_nanos <= available_nanos + credit


def _bundle(draft: Draft, rule: TopUp) -> Bundle | None:
    return next((b for b in draft.account.bundles if b.bundle_id == rule.bundle_id), None)


def spendable_nanos(draft: Draft) -> int:
    """Free credit on the meter that has least, less what is owed: of the plan's meters, or those open to all."""
    meters = draft.terms.meter_ids or (None,)
    return min(
        available_nanos(draft.grants.values(), draft.wallet, meter_id=meter_id, now_us=draft.now_us)
        for meter_id in meters
    )


def _is_one_open(draft: Draft) -> bool:
    return any(p.purpose is Purpose.TOP_UP and p.status in OPEN_PAYMENTS for p in draft.payments.values())


def _has_cooled(rule: TopUp, now_us: int) -> bool:
    return rule.last_us is None or now_us >= rule.last_us + rule.cooldown_us


def _buy(draft: Draft, rule: TopUp) -> Payment | None:
    amount, credit = rule.amount_nanos, rule.amount_nanos
    if rule.bundle_id is not None:
        bundle = _bundle(draft, rule)
        if bundle is None or bundle.status is not PlanStatus.ACTIVE:
            draft.rules[rule.subject] = replace(rule, is_on=False, reason="its bundle is not one of the plan's")
            return None
        amount, credit = bundle.cost_nanos, bundle.credit_nanos
    assert amount is not None and credit is not None, rule
    if rule.month_cap_nanos is not None and _of_month(draft) + amount > rule.month_cap_nanos:
        return None
    draft.rules[rule.subject] = replace(rule, last_us=draft.now_us)
    return draft.owe(
        Purpose.TOP_UP, amount, credit_nanos=credit, bundle_id=rule.bundle_id, rule=rule.subject, cycle=_cycle(draft)
    )


def _cycle(draft: Draft) -> int:
    return draft.subscription.cycle if draft.subscription else 0


def _of_month(draft: Draft) -> int:
    """What top-ups of this month (UTC) came to, and may yet."""
    month = to_datetime(draft.now_us).strftime("%Y-%m")
    return sum(
        payment.amount_nanos
        for payment in draft.payments.values()
        if payment.purpose is Purpose.TOP_UP
        and payment.status not in (PaymentStatus.DECLINED, PaymentStatus.VOID)
        and to_datetime(payment.created_us).strftime("%Y-%m") == month
    )
