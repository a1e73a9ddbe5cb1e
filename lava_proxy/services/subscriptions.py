"""Subscriptions, bundles bought and top-up rules: each change looked at first (``preview``), or made."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core import subscriptions as rules
from lava_proxy.core.billing import (
    Payment,
    PaymentStatus,
    Plan,
    Purpose,
    Subscription,
    SubscriptionStatus,
    Terms,
    TopUp,
)
from lava_proxy.core.cycles import CENT_NANOS, WHOLE_NANOS
from lava_proxy.core.drafts import Draft
from lava_proxy.core.endings import cancel, cancel_now, pay_back
from lava_proxy.core.entities import Customer, Grant, GrantSource
from lava_proxy.core.errors import InvalidInput, NotFound, Refused
from lava_proxy.core.plans import load_plan
from lava_proxy.core.ports import Rows
from lava_proxy.core.subscriptions import OwnTerms
from lava_proxy.services.billing import BillingDesk, Change, Effects, Rule
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer, By
from lava_proxy.services.plans import bundle_of, require_plan

COOLDOWN_MIN_US = 60 * 1_000_000
_STATES = ("live", "all", *(status.value for status in SubscriptionStatus))


class Asked(Struct, frozen=True, kw_only=True):
    """How a change is wanted: only looked at, or as it was quoted."""

    by: By
    preview: bool = False
    quote: str | None = None


class Standing(Struct, frozen=True, kw_only=True):
    """A subscription with what belongs to it, for showing."""

    customer: Customer
    subscription: Subscription
    plan: Plan
    pending_plan: Plan | None
    terms: Terms | None
    grants: tuple[Grant, ...]
    payments: tuple[Payment, ...]
    """Those that are open."""
    rule: TopUp | None

    def credit_nanos(self, *sources: GrantSource) -> int:
        """What is left of the credit from these sources, held by calls or not."""
        return sum(grant.free_nanos + grant.held_nanos for grant in self.grants if grant.source in sources)


class TopUpTerms(Struct, frozen=True, kw_only=True):
    below_nanos: int
    bundle: str | None = None
    amount_nanos: int | None = None
    month_cap_nanos: int | None = None
    cooldown_us: int = rules.COOLDOWN_US
    of_subscription: bool = False
    """The rule ends with the subscription."""


class Subscriptions:
    def __init__(self, *, desk: BillingDesk) -> None:
        self._desk = desk

    def get(self, reference: str) -> Standing:
        """By customer (the one that is not cancelled) or ``sub_…``.

        Raises:
            NotFound, CustomerNotFound
        """
        return self._desk.ledger.read(lambda rows: _standing(rows, _find(rows, reference)))

    def all(self, *, status: str = "live", customer: str | None = None) -> tuple[Standing, ...]:
        """Oldest first.

        Raises:
            InvalidInput: there is no such status.
            CustomerNotFound
        """
        if status not in _STATES:
            raise InvalidInput(f"status: {status!r} is none; choose of {', '.join(_STATES)}", field="status")
        owner = self._desk.ledger.read(lambda rows: require_customer(rows, customer)) if customer else None
        found = [
            row
            for row in self._desk.ledger.books().rows(Subscription)
            if _is_meant(row, status) and (owner is None or row.customer_id == owner.customer_id)
        ]
        return self._desk.ledger.read(lambda rows: tuple(_standing(rows, row) for row in found))

    def start(
        self, customer: str, plan: str, own: OwnTerms, *, asked: Asked, with_trial: bool = True
    ) -> Answer[Effects]:
        """
        Raises:
            CustomerNotFound, NotFound, InvalidInput, Conflict, Refused
        """
        _check_own(own)

        def rule(rows: Rows, draft: Draft) -> None:
            rules.start(draft, require_plan(rows, plan), own, with_trial=with_trial)

        return self._do("subscription.start", customer, (plan, own, with_trial), rule, asked)

    def change(self, customer: str, plan: str, *, asked: Asked) -> Answer[Effects]:
        """Upgrade or downgrade; see ``core.subscriptions``.

        Raises:
            CustomerNotFound, NotFound, InvalidInput, Refused
        """

        def rule(rows: Rows, draft: Draft) -> None:
            rules.change(draft, require_plan(rows, plan))

        return self._do("subscription.change", customer, (plan,), rule, asked)

    def set_own(self, customer: str, own: OwnTerms, *, asked: Asked) -> Answer[Effects]:
        """An own price, discount or minimum from the next cycle on.

        Raises:
            CustomerNotFound, InvalidInput, Refused
        """
        _check_own(own)

        def rule(rows: Rows, draft: Draft) -> None:
            del rows
            if draft.subscription is None:
                raise Refused("The customer has no subscription.")
            draft.change(
                own_amount_nanos=own.own_amount_nanos,
                discount_nanos=own.discount_nanos,
                minimum_nanos=own.minimum_nanos,
            )

        return self._do("subscription.own_terms", customer, (own,), rule, asked)

    def cancel(self, customer: str, *, now: bool = False, asked: Asked) -> Answer[Effects]:
        """With the cycle's end, or now with what is unused paid back.

        Raises:
            CustomerNotFound, Refused
        """
        change = cancel_now if now else cancel
        return self._do("subscription.cancel", customer, (now,), _alone(change), asked)

    def pause(self, customer: str, *, asked: Asked) -> Answer[Effects]:
        """
        Raises:
            CustomerNotFound, Refused
        """
        return self._do("subscription.pause", customer, (), _alone(rules.pause), asked)

    def resume(self, customer: str, *, asked: Asked) -> Answer[Effects]:
        """
        Raises:
            CustomerNotFound, Refused
        """
        return self._do("subscription.resume", customer, (), _alone(rules.resume), asked)

    def buy(self, customer: str, bundle_id: str, *, asked: Asked) -> Answer[Effects]:
        """A bundle of the customer's plan; its credit comes with its payment.

        Raises:
            CustomerNotFound, NotFound, Refused
            InvalidInput: it is another plan's.
        """

        def rule(rows: Rows, draft: Draft) -> None:
            if draft.subscription is None:
                raise Refused("The customer has no subscription, and bundles belong to a plan.")
            bundle = bundle_of(rows, bundle_id, draft.plan())
            draft.owe(
                Purpose.BUNDLE,
                bundle.cost_nanos,
                bundle_id=bundle.bundle_id,
                credit_nanos=bundle.credit_nanos,
                cycle=draft.live().cycle,
            )

        return self._do("bundle.buy", customer, (bundle_id,), rule, asked)

    def refund(self, payment_id: str, *, asked: Asked) -> Answer[Effects]:
        """Pay back what is unused of one payment's credit, and take that credit back.

        Raises:
            NotFound
            Refused: it is not paid, was refunded, or nothing of its credit is left.
        """
        payment = self._desk.ledger.read(lambda rows: _require_payment(rows, payment_id))

        def rule(rows: Rows, draft: Draft) -> None:
            del rows
            found = draft.payments[payment.payment_id]
            if found.status is not PaymentStatus.PAID or found.purpose is Purpose.REFUND or found.refunded_nanos:
                raise Refused(
                    f"The payment {payment_id} is {found.status.value} or was refunded: nothing can be paid back."
                )
            if found.grant_id is None or not pay_back(draft, found, left_us=1, whole_us=1):
                raise Refused(f"Nothing of what the payment {payment_id} bought is left.")

        return self._do("payment.refund", payment.customer_id, (payment_id,), rule, asked)

    def set_top_up(self, customer: str, terms: TopUpTerms, *, asked: Asked) -> Answer[Effects]:
        """
        Raises:
            CustomerNotFound, NotFound, InvalidInput, Refused
        """
        _check_top_up(terms)

        def rule(rows: Rows, draft: Draft) -> None:
            if draft.subscription is None and (terms.bundle or terms.of_subscription):
                raise Refused("The customer has no subscription, and bundles belong to a plan.")
            bundle = bundle_of(rows, terms.bundle, draft.plan()) if terms.bundle else None
            customer_id = draft.customer.customer_id
            subject = draft.live().subscription_id if terms.of_subscription else customer_id
            old = draft.rules.get(subject)
            draft.rules[subject] = TopUp(
                subject=subject,
                customer_id=customer_id,
                below_nanos=terms.below_nanos,
                bundle_id=bundle.bundle_id if bundle else None,
                amount_nanos=terms.amount_nanos,
                month_cap_nanos=terms.month_cap_nanos,
                cooldown_us=terms.cooldown_us,
                last_us=old.last_us if old else None,
            )
            draft.terms = replace(draft.terms, needs_look=True)

        return self._do("topup.set", customer, (terms,), rule, asked)

    def top_ups(self, customer: str) -> tuple[TopUp, ...]:
        """
        Raises:
            CustomerNotFound
        """
        return self._desk.ledger.read(
            lambda rows: rows.find(TopUp, customer_id=require_customer(rows, customer).customer_id)
        )

    def stop_top_ups(self, customer: str, *, asked: Asked) -> Answer[Effects]:
        """Switch all rules of a customer off. Again changes nothing.

        Raises:
            CustomerNotFound
        """

        def rule(rows: Rows, draft: Draft) -> None:
            del rows
            draft.rules = {key: replace(rule, is_on=False, reason="") for key, rule in draft.rules.items()}

        return self._do("topup.off", customer, (), rule, asked)

    def _do(self, action: str, customer: str, content: tuple[object, ...], rule: Rule, asked: Asked) -> Answer[Effects]:
        change = Change(customer=customer, action=action, content=content, quote=asked.quote)
        if asked.preview:
            return Answer(value=self._desk.preview(change, rule, by=asked.by), is_repeat=False)
        return self._desk.make(change, rule, by=asked.by)


def _alone(change: Callable[[Draft], Draft]) -> Rule:
    """A change that looks nothing up."""

    def rule(rows: Rows, draft: Draft) -> None:
        del rows
        change(draft)

    return rule


def _check_own(own: OwnTerms) -> None:
    if own.own_amount_nanos is not None and (own.own_amount_nanos < 0 or own.own_amount_nanos % CENT_NANOS):
        raise InvalidInput("price: it must be 0 or more, in whole cents", field="price")
    if not 0 <= own.discount_nanos <= WHOLE_NANOS:
        raise InvalidInput("discount: it must be 0 to 100 percent", field="discount")
    if own.minimum_nanos < 0 or own.minimum_nanos % CENT_NANOS:
        raise InvalidInput("minimum: it must be 0 or more, in whole cents", field="minimum")


def _check_top_up(terms: TopUpTerms) -> None:
    if (terms.bundle is None) == (terms.amount_nanos is None):
        raise InvalidInput("bundle: name either a bundle or an amount", field="bundle")
    if terms.below_nanos <= 0:
        raise InvalidInput("below: it must be more than 0", field="below")
    if terms.amount_nanos is not None and (terms.amount_nanos <= 0 or terms.amount_nanos % CENT_NANOS):
        raise InvalidInput("amount: it must be more than 0, in whole cents", field="amount")
    if terms.month_cap_nanos is not None and terms.month_cap_nanos <= 0:
        raise InvalidInput("month_cap: it must be more than 0", field="month_cap")
    if terms.cooldown_us < COOLDOWN_MIN_US:
        raise InvalidInput("cooldown: it must be a minute or more", field="cooldown")


def _find(rows: Rows, reference: str) -> Subscription:
    found: Subscription | None
    if reference.startswith("sub_"):
        found = rows.get(Subscription, reference)
    else:
        live = rows.find(Subscription, customer_id=require_customer(rows, reference).customer_id)
        found = live[0] if live else None
    if found is None:
        raise NotFound(
            f"There is no subscription of {reference!r}.", hint="`lava subscriptions list --status all` shows them all."
        )
    return found


def _standing(rows: Rows, subscription: Subscription) -> Standing:
    customer = require_customer(rows, subscription.customer_id)
    plan = load_plan(rows, subscription.plan_id)
    assert plan is not None, subscription
    payments = rows.find(Payment, customer_id=customer.customer_id)
    is_live = subscription.status is not SubscriptionStatus.CANCELLED
    rule = rows.get(TopUp, subscription.subscription_id) or rows.get(TopUp, customer.customer_id)
    return Standing(
        customer=customer,
        subscription=subscription,
        plan=plan,
        pending_plan=load_plan(rows, subscription.pending_plan_id) if subscription.pending_plan_id else None,
        terms=rows.get(Terms, customer.customer_id) if is_live else None,
        grants=rows.find(Grant, customer_id=customer.customer_id) if is_live else (),
        payments=tuple(
            p
            for p in payments
            if p.subscription_id == subscription.subscription_id
            and p.status not in (PaymentStatus.PAID, PaymentStatus.VOID)
        ),
        rule=rule,
    )


def _require_payment(rows: Rows, payment_id: str) -> Payment:
    found = rows.get(Payment, payment_id)
    if found is None:
        raise NotFound(f"There is no payment {payment_id!r}.", hint="`lava payments list` shows them all.")
    return found


def _is_meant(row: Subscription, status: str) -> bool:
    if status in ("live", "all"):
        return status == "all" or row.status is not SubscriptionStatus.CANCELLED
    return row.status.value == status
