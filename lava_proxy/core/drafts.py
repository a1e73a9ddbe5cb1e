"""A change of billing while it is being drawn up: what the customer has, and what will be written.

An ``Account`` is everything that the ledger knows of a customer's billing. The rules (``subscriptions``, ``renewal``,
``receipts``, ``overage_bills``, ``top_ups``) make a ``Draft`` of it, change that, and take its decision; nothing outside is touched.
"""

import json
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import (
    Bundle,
    Payment,
    PaymentStatus,
    Plan,
    Purpose,
    Subscription,
    SubscriptionStatus,
    Terms,
    TopUp,
)
from lava_proxy.core.credit import CreditStamp, expire_grant, is_due, load_wallet, void_grant
from lava_proxy.core.cycles import before_markup
from lava_proxy.core.entities import (
    Customer,
    CustomerStatus,
    Entity,
    Event,
    Grant,
    GrantSource,
    GrantStatus,
    Posting,
    Transaction,
    Wallet,
)
from lava_proxy.core.ids import CustomerId, EventId, GrantId, PaymentId, TransactionId
from lava_proxy.core.journal import BREAKAGE, debt_account, free_account, funding_account, move
from lava_proxy.core.plans import FREE_PLAN_ID, load_plan
from lava_proxy.core.ports import Decision, IdSource, Rows
from lava_proxy.core.wallet import spend_free

CYCLE_PRIORITY = 30
BUNDLE_PRIORITY = 40
"""Cycle credit is drawn first, then bundles and top-ups, then what was given by hand (50)."""
PLAN_SOURCES = (GrantSource.CYCLE, GrantSource.BUNDLE, GrantSource.TOP_UP)


class BillingStamp(Struct, frozen=True, kw_only=True):
    """When and by whom, and where new ids come from. ``gateway`` takes the money that becomes due."""

    now_us: int
    ids: IdSource
    actor: str
    gateway: str
    note: str = ""


class Account(Struct, frozen=True, kw_only=True):
    """A customer with everything of their billing."""

    customer: Customer
    wallet: Wallet
    terms: Terms | None
    grants: tuple[Grant, ...]
    """Those with something left."""
    subscription: Subscription | None
    """The one that is not cancelled."""
    plans: Mapping[str, Plan]
    """Every plan that the subscription and its payments name."""
    bundles: tuple[Bundle, ...]
    """Of the subscription's plan."""
    payments: tuple[Payment, ...]
    rules: tuple[TopUp, ...]

    @property
    def plan(self) -> Plan | None:
        return self.plans[self.subscription.plan_id] if self.subscription else None


def load_account(rows: Rows, customer_id: CustomerId) -> Account:
    """
    Raises:
        KeyError: there is no such customer, which the caller has looked for before.
    """
    customer = rows.get(Customer, customer_id)
    if customer is None:
        raise KeyError(customer_id)
    live = rows.find(Subscription, customer_id=customer_id)
    subscription = live[0] if live else None
    payments = rows.find(Payment, customer_id=customer_id)
    plan_ids = {payment.plan_id for payment in payments if payment.status is not PaymentStatus.PAID}
    if subscription is not None:
        plan_ids |= {subscription.plan_id, subscription.pending_plan_id}
    plan_ids.add(FREE_PLAN_ID)
    return Account(
        customer=customer,
        wallet=load_wallet(rows, customer_id),
        terms=rows.get(Terms, customer_id),
        grants=rows.find(Grant, customer_id=customer_id),
        subscription=subscription,
        plans={plan_id: plan for plan_id in plan_ids if plan_id and (plan := load_plan(rows, plan_id))},
        bundles=rows.find(Bundle, plan_id=subscription.plan_id) if subscription else (),
        payments=payments,
        rules=rows.find(TopUp, customer_id=customer_id),
    )


class Draft:
    """What an account becomes. Rows are put as often as needed; the last value of each is written."""

    def __init__(self, account: Account, stamp: BillingStamp) -> None:
        self.account = account
        self.stamp = stamp
        self.customer = account.customer
        self.subscription = account.subscription
        self.plans = dict(account.plans)
        self.wallet = account.wallet
        self.terms = account.terms or Terms(customer_id=account.customer.customer_id)
        self.grants = {grant.grant_id: grant for grant in account.grants}
        self.payments = {payment.payment_id: payment for payment in account.payments}
        self.rules = {rule.subject: rule for rule in account.rules}
        self.transactions: list[Transaction] = []
        self.events: list[Event] = []

    @property
    def now_us(self) -> int:
        return self.stamp.now_us

    @property
    def is_active_customer(self) -> bool:
        return self.customer.status is CustomerStatus.ACTIVE

    def live(self) -> Subscription:
        """The subscription, which the caller knows to be there."""
        assert self.subscription is not None, self.customer
        return self.subscription

    def plan(self) -> Plan:
        """Its plan."""
        return self.plans[self.live().plan_id]

    def change(self, **changes: object) -> Subscription:
        """New values for the subscription's fields."""
        self.subscription = replace(self.live(), **changes)
        return self.subscription

    def post(self, kind: str, key: str, postings: tuple[Posting, ...], *, note: str = "") -> None:
        """One transaction of the journal."""
        self.transactions.append(
            Transaction(
                transaction_id=TransactionId(self.stamp.ids.new("txn")),
                kind=kind,
                key=key,
                at_us=self.now_us,
                customer_id=self.customer.customer_id,
                postings=postings,
                note=note or self.stamp.note,
                actor=self.stamp.actor,
            )
        )

    def tell(self, kind: str, key: str, **facts: str | int | None) -> None:
        """An event for the outbox; ``key`` tells it from others of its kind."""
        facts = {"customer_id": self.customer.customer_id, **facts}
        self.events.append(
            Event(
                event_id=EventId(self.stamp.ids.new("evt")),
                kind=kind,
                key=f"{kind}:{key}",
                payload=json.dumps({name: value for name, value in facts.items() if value is not None}),
                created_us=self.now_us,
            )
        )

    def give(
        self, source: GrantSource, amount_nanos: int, *, paid_nanos: int = 0, expires_us: int | None, note: str
    ) -> GrantId | None:
        """Grant credit for the plan's meters; what the customer owes is paid from it first."""
        if not amount_nanos or not self.is_active_customer:
            return None
        grant = Grant(
            grant_id=GrantId(self.stamp.ids.new("grt")),
            customer_id=self.customer.customer_id,
            source=source,
            amount_nanos=amount_nanos,
            paid_nanos=paid_nanos,
            free_nanos=amount_nanos,
            priority=CYCLE_PRIORITY if source is GrantSource.CYCLE else BUNDLE_PRIORITY,
            expires_us=expires_us,
            meter_ids=self.plan().meter_ids if self.subscription else (),
            note=note,
            created_us=self.now_us,
        )
        self.grants[grant.grant_id] = grant
        paid = self._pay_debt(grant)
        funded = move(funding_account(source.value), free_account(grant.grant_id), amount_nanos)
        self.post("grant", f"grant:{grant.grant_id}", (*funded, *paid), note=note)
        self.tell("credits.granted", grant.grant_id, grant_id=grant.grant_id)
        return grant.grant_id

    def _pay_debt(self, grant: Grant) -> tuple[Posting, ...]:
        """New credit pays what is owed first, whichever meters may draw on it: else a plan for one meter never would."""
        given = {grant.grant_id: grant}
        postings, left = spend_free(
            given,
            amount_nanos=self.wallet.debt_nanos,
            destination=debt_account(self.wallet.customer_id),
            meter_id=grant.meter_ids[0] if grant.meter_ids else None,
            now_us=self.now_us,
        )
        self.wallet = replace(self.wallet, debt_nanos=left)
        self.grants[grant.grant_id] = given[grant.grant_id]
        return postings

    def take_back(self, grant: Grant) -> None:
        """All that is left of a grant becomes breakage: as expired where its time is over, as voided else."""
        if grant.status is not GrantStatus.ACTIVE:
            return
        stamp = CreditStamp(
            now_us=self.now_us,
            transaction_id=TransactionId(self.stamp.ids.new("txn")),
            event_id=EventId(""),
            actor=self.stamp.actor,
        )
        if is_due(grant, now_us=self.now_us):
            self._take(expire_grant(grant, stamp))
        else:
            self._take(void_grant(grant, stamp))

    def trim(self, grant: Grant, amount_nanos: int, *, key: str) -> None:
        """A part of what is free in a grant becomes breakage."""
        self.grants[grant.grant_id] = replace(
            grant, free_nanos=grant.free_nanos - amount_nanos, lapsed_nanos=grant.lapsed_nanos + amount_nanos
        )
        self.post("grant_trim", key, move(free_account(grant.grant_id), BREAKAGE, amount_nanos))

    def owe(self, purpose: Purpose, amount_nanos: int, **more: object) -> Payment:
        """Money that becomes due now."""
        subscription = self.subscription
        payment = Payment(
            payment_id=PaymentId(self.stamp.ids.new("pay")),
            customer_id=self.customer.customer_id,
            subscription_id=subscription.subscription_id if subscription else None,
            purpose=purpose,
            amount_nanos=amount_nanos,
            gateway=self.stamp.gateway,
            created_us=self.now_us,
            due_us=self.now_us,
            **more,  # type: ignore[arg-type] # the fields of Payment
        )
        self.payments[payment.payment_id] = payment
        return payment

    def drop_payments(self, *purposes: Purpose) -> None:
        """Payments that are no longer wanted, but for those whose outcome is in doubt."""
        for payment in tuple(self.payments.values()):
            is_wanted = payment.purpose not in purposes or payment.subscription_id != self.live().subscription_id
            if not is_wanted and payment.status in (
                PaymentStatus.DUE,
                PaymentStatus.PENDING,
                PaymentStatus.DECLINED,
            ):
                self.payments[payment.payment_id] = replace(payment, status=PaymentStatus.VOID, due_us=None)

    def refresh_terms(self) -> None:
        """What a call must know, by what the subscription is now."""
        below = [rule.below_nanos for rule in self.rules.values() if rule.is_on]
        terms = replace(self.terms, top_up_below_nanos=max(below) if below else None)
        subscription = self.subscription
        if subscription is None or subscription.status is SubscriptionStatus.CANCELLED:
            self.terms = replace(
                terms,
                subscription_id=None,
                plan_id=None,
                cycle_start_us=0,
                cycle_end_us=0,
                cycle=0,
                counted_from_us=0,
                meter_ids=(),
                block="",
                overage_limit_nanos=0,
                overage_collect_nanos=None,
            )
            return
        plan = self.plan()
        is_same = terms.subscription_id == subscription.subscription_id and terms.cycle == subscription.cycle
        self.terms = replace(
            terms,
            cycle=subscription.cycle,
            counted_from_us=terms.counted_from_us if is_same else subscription.cycle_start_us,
            subscription_id=subscription.subscription_id,
            plan_id=plan.plan_id,
            cycle_start_us=subscription.cycle_start_us,
            cycle_end_us=subscription.cycle_end_us,
            meter_ids=plan.meter_ids,
            block=_block(subscription),
            overage_limit_nanos=self._overage_limit(plan, subscription),
            overage_markup_nanos=plan.overage_markup_nanos,
            overage_collect_nanos=plan.overage_collect_nanos,
        )

    def decision[R](self, result: R, *more: Entity) -> Decision[R]:
        """Everything that changed."""
        self.refresh_terms()
        before = self.account
        rows: list[Entity] = list(_changed({g.grant_id: g for g in before.grants}, self.grants))
        if self.subscription is not None and self.subscription != before.subscription:
            rows.append(self.subscription)
        rows += _changed({p.payment_id: p for p in before.payments}, self.payments)
        rows += _changed({r.subject: r for r in before.rules}, self.rules)
        if self.wallet != before.wallet:
            rows.append(self.wallet)
        if self.terms != (before.terms or Terms(customer_id=self.customer.customer_id)):
            rows.append(self.terms)
        return Decision(result=result, transactions=tuple(self.transactions), rows=(*rows, *self.events, *more))

    def _overage_limit(self, plan: Plan, subscription: Subscription) -> int:
        """None in a trial, while a payment is late, or where collected overage was not paid."""
        unpaid = any(
            p.purpose is Purpose.OVERAGE and p.status is PaymentStatus.DECLINED for p in self.payments.values()
        )
        if subscription.status is not SubscriptionStatus.ACTIVE or unpaid:
            return 0
        return before_markup(plan.overage_cap_nanos, plan.overage_markup_nanos)

    def _take(self, decision: Decision[Grant] | Decision[bool]) -> None:
        self.transactions.extend(decision.transactions)
        self.grants.update((row.grant_id, row) for row in decision.rows if isinstance(row, Grant))


def _block(subscription: Subscription) -> str:
    if subscription.status is SubscriptionStatus.PAUSED:
        return "subscription_paused"
    return "subscription_past_due" if subscription.is_blocked else ""


def _changed[K, R](before: Mapping[K, R], after: Mapping[K, R]) -> list[R]:
    return [row for key, row in after.items() if before.get(key) != row]
