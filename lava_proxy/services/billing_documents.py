"""The JSON of billing: Lava's shapes where Lava has them, ours beside them."""

from lava_proxy.core.billing import Bundle, Payment, Plan, Subscription, SubscriptionStatus, TopUp
from lava_proxy.core.entities import AuditEntry, GrantSource
from lava_proxy.services.billing import Effects
from lava_proxy.services.documents import Document, Json, amount, instant, rate_text
from lava_proxy.services.plans import OfferedPlan
from lava_proxy.services.subscriptions import Standing
from lava_proxy.services.ticking import Due, Ticked

_LAVA_STATUS = {SubscriptionStatus.CANCELLED: "cancelled"}
"""Lava knows active and cancelled; ours stands beside as ``state``."""


def plan_document(offered: OfferedPlan) -> Document:
    plan = offered.plan
    return {
        "plan_id": plan.plan_id,
        "name": plan.name,
        "period_amount": amount(plan.amount_nanos),
        "included_credit": amount(plan.included_nanos),
        "billing_interval": plan.interval.value,
        "rollover_type": plan.rollover.value,
        "bundle_rollover_type": plan.bundle_rollover.value,
        "default_auto_top_up_bundle_id": plan.top_up_bundle_id,
        "linked_meters": [{"meter_id": meter_id} for meter_id in plan.meter_ids],
        "credit_bundles": [bundle_document(bundle) for bundle in offered.bundles],
        "created_at": instant(plan.created_us),
        "rollover_cap": amount(plan.rollover_cap_nanos),
        "bundle_rollover_cap": amount(plan.bundle_rollover_cap_nanos),
        "trial_days": plan.trial_days,
        "overage_cap": amount(plan.overage_cap_nanos),
        "overage_markup": rate_text(plan.overage_markup_nanos),
        "overage_collect": amount(plan.overage_collect_nanos),
        "grace_days": plan.grace_days,
        "after_grace": plan.after_grace.value,
        "status": plan.status.value,
    }


def bundle_document(bundle: Bundle) -> Document:
    return {
        "credit_bundle_id": bundle.bundle_id,
        "plan_id": bundle.plan_id,
        "name": bundle.name,
        "cost": amount(bundle.cost_nanos),
        "credit_amount": amount(bundle.credit_nanos),
        "created_at": instant(bundle.created_us),
        "status": bundle.status.value,
    }


def subscription_document(standing: Standing) -> Document:
    row, plan, terms = standing.subscription, standing.plan, standing.terms
    cycle = standing.credit_nanos(GrantSource.CYCLE)
    bundles = standing.credit_nanos(GrantSource.BUNDLE, GrantSource.TOP_UP)
    return {
        "subscription_id": row.subscription_id,
        "customer_id": row.customer_id,
        "plan_id": row.plan_id,
        "status": _LAVA_STATUS.get(row.status, "active"),
        "auto_top_up_bundle_id": standing.rule.bundle_id if standing.rule and standing.rule.is_on else None,
        "started_at": instant(row.started_us),
        "cancelled_at": instant(row.ended_us),
        "cycle_start_at": instant(row.cycle_start_us),
        "cycle_end_at": instant(row.cycle_end_us),
        "plan": _plan_of_subscription(plan),
        "credits": {
            "total_remaining": amount(cycle + bundles),
            "cycle_remaining": amount(cycle),
            "bundle_remaining": amount(bundles),
        },
        "pending_change": _pending(standing),
        "state": row.status.value,
        "cycle": row.cycle,
        "is_blocked": row.is_blocked,
        "grace_until": instant(row.grace_until_us),
        "awaiting_payment_id": row.awaiting_payment_id,
        "own_amount": amount(row.own_amount_nanos),
        "discount": rate_text(row.discount_nanos),
        "minimum": amount(row.minimum_nanos),
        "overage": None
        if terms is None
        else {
            "limit": amount(terms.overage_limit_nanos),
            "used": amount(terms.overage_used_nanos),
            "held": amount(terms.overage_held_nanos),
            "unbilled": amount(terms.overage_used_nanos - terms.overage_billed_nanos),
            "markup": rate_text(terms.overage_markup_nanos),
        },
        "open_payments": [payment_document(payment) for payment in standing.payments],
    }


def _plan_of_subscription(plan: Plan) -> Document:
    return {
        "name": plan.name,
        "period_amount": amount(plan.amount_nanos),
        "included_credit": amount(plan.included_nanos),
        "billing_interval": plan.interval.value,
        "rollover_type": plan.rollover.value,
        "bundle_rollover_type": plan.bundle_rollover.value,
    }


def _pending(standing: Standing) -> Json:
    row, plan = standing.subscription, standing.pending_plan
    if row.is_cancelling:
        return {"type": "cancellation", "effective_at": instant(row.cycle_end_us)}
    if plan is None:
        return None
    return {
        "type": "downgrade",
        "effective_at": instant(row.cycle_end_us),
        "plan_id": plan.plan_id,
        "name": plan.name,
        "period_amount": amount(plan.amount_nanos),
        "included_credit": amount(plan.included_nanos),
    }


def payment_document(payment: Payment) -> Document:
    return {
        "payment_id": payment.payment_id,
        "customer_id": payment.customer_id,
        "subscription_id": payment.subscription_id,
        "purpose": payment.purpose.value,
        "amount": amount(payment.amount_nanos),
        "currency": "usd",
        "status": payment.status.value,
        "gateway": payment.gateway,
        "reference": payment.reference,
        "credit_amount": amount(payment.credit_nanos),
        "grant_id": payment.grant_id,
        "cycle": payment.cycle,
        "refund_of": payment.refund_of,
        "refunded": amount(payment.refunded_nanos),
        "attempts": payment.attempts,
        "reason": payment.reason,
        "url": payment.url,
        "next_attempt_at": instant(payment.due_us),
        "created_at": instant(payment.created_us),
        "paid_at": instant(payment.paid_us),
    }


def effects_document(effects: Effects, *, is_preview: bool) -> Document:
    subscription: Subscription | None = effects.subscription
    return {
        "preview": is_preview,
        "due_now": amount(effects.due_nanos),
        "credit_gained": amount(effects.credit_gained_nanos),
        "credit_to_come": amount(effects.credit_to_come_nanos),
        "credit_lost": amount(effects.credit_lost_nanos),
        "next_renewal_at": instant(effects.next_renewal_us),
        "next_amount": amount(effects.next_amount_nanos),
        "subscription_id": subscription.subscription_id if subscription else None,
        "state": subscription.status.value if subscription else None,
        "payments": [
            {"purpose": p.purpose.value, "amount": amount(p.amount_nanos), "credit_amount": amount(p.credit_nanos)}
            | ({} if is_preview else {"payment_id": p.payment_id})
            for p in effects.due_now
        ],
        "as_of": instant(effects.as_of_us),
        "quote": effects.quote if is_preview else None,
    }


def top_up_document(rule: TopUp) -> Document:
    return {
        "subject": rule.subject,
        "customer_id": rule.customer_id,
        "below": amount(rule.below_nanos),
        "credit_bundle_id": rule.bundle_id,
        "amount": amount(rule.amount_nanos),
        "month_cap": amount(rule.month_cap_nanos),
        "cooldown_seconds": rule.cooldown_us // 1_000_000,
        "is_on": rule.is_on,
        "last_at": instant(rule.last_us),
        "failures": rule.failures,
        "reason": rule.reason,
    }


def due_document(due: Due) -> Document:
    return {
        "due_at": instant(due.at_us),
        "kind": due.kind,
        "subject": due.subject,
        "customer_id": due.customer_id,
    }


def ticked_document(ticked: Ticked) -> Document:
    return {
        "renewals": ticked.renewals,
        "payments": ticked.payments,
        "top_ups": ticked.top_ups,
        "failures": ticked.failures,
    }


def audit_document(entry: AuditEntry) -> Document:
    return {
        "at": instant(entry.at_us),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
    }
