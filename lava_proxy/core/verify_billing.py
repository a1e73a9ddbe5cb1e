"""Billing held against the replayed journal.

===  =====================================================================================================
I11  a payment is posted once, when it is paid, at its amount; the money of each gateway is what was paid less
     what went back; what was paid for credit stands on the grant that it bought, of the same customer
I12  a customer's overage is what is unbilled of it and what was billed and is not paid; what is held of it is
     what open holds hold
I13  a customer has one live subscription at most, and the terms that calls go by are those of it
===  =====================================================================================================
"""

from collections import Counter as Tally

from lava_proxy.core.billing import Payment, PaymentStatus, Purpose, Subscription, SubscriptionStatus, Terms
from lava_proxy.core.entities import Grant
from lava_proxy.core.journal import money_account, overage_account
from lava_proxy.core.verify_journal import JournalProof
from lava_proxy.core.verify_report import Findings

_MONEY = "money:"
_OVERAGE = "overage:"


class BillingProof:
    """Takes rows; grants and payments before terms, subscriptions before terms; then ``rest``."""

    def __init__(self, journal: JournalProof, findings: Findings) -> None:
        self._journal = journal
        self._findings = findings
        self._grants: dict[str, tuple[str, int]] = {}
        """Bought grants: the customer, and what was paid."""
        self._money: Tally[str] = Tally()
        self._billed: Tally[str] = Tally()
        """Overage billed and not paid, by customer."""
        self._live: dict[str, Subscription] = {}
        self._held: Tally[str] = Tally()
        self._refunds: Tally[str] = Tally()
        self._refunded: dict[str, int] = {}

    def grant(self, row: Grant) -> None:
        """Remember what was paid for it."""
        if row.paid_nanos:
            self._grants[row.grant_id] = (row.customer_id, row.paid_nanos)

    def hold(self, customer_id: str, overage_nanos: int) -> None:
        """The overage part of an open hold."""
        self._held[customer_id] += overage_nanos

    def payment(self, row: Payment) -> None:
        """A payment: posted as it is kept."""
        is_paid, is_refund = row.status is PaymentStatus.PAID, row.purpose is Purpose.REFUND
        told = self._journal.payments.pop(row.payment_id, 0)
        kept = row.amount_nanos if is_paid else 0
        self._findings.compare("I11", row.payment_id, "what was paid", kept=-kept if is_refund else kept, told=told)
        self._money[money_account(row.gateway)] += -kept if is_refund else kept
        if is_refund and row.status is not PaymentStatus.VOID and row.refund_of is not None:
            self._refunds[row.refund_of] += row.amount_nanos
        if row.refunded_nanos:
            self._refunded[row.payment_id] = row.refunded_nanos
        if row.purpose is Purpose.OVERAGE and not is_paid:
            self._billed[row.customer_id] += row.amount_nanos
        if row.grant_id is not None and self._grants.get(row.grant_id) != (row.customer_id, row.amount_nanos):
            message = f"it was paid by {row.payment_id} with {row.amount_nanos} nanos of {row.customer_id}, and says otherwise"
            self._findings.add("I11", row.grant_id, message)

    def subscription(self, row: Subscription) -> None:
        """Remember the live ones."""
        if row.status is SubscriptionStatus.CANCELLED:
            return
        if row.customer_id in self._live:
            self._findings.add("I13", row.customer_id, "two subscriptions of this customer are live")
        self._live[row.customer_id] = row

    def terms(self, row: Terms) -> None:
        """Terms: the subscription's, with the overage of the journal and the holds."""
        live = self._live.pop(row.customer_id, None)
        if row.subscription_id != (live.subscription_id if live else None):
            self._findings.add("I13", row.customer_id, f"its terms are of {row.subscription_id}, which is not live")
        elif live is not None and (row.plan_id, row.cycle_end_us) != (live.plan_id, live.cycle_end_us):
            self._findings.add("I13", row.customer_id, "its terms are of another plan or cycle than its subscription")
        owed = -self._journal.balances.pop(overage_account(row.customer_id), 0)
        kept = row.overage_used_nanos - row.overage_billed_nanos + self._billed.pop(row.customer_id, 0)
        self._findings.compare("I12", row.customer_id, "the overage owed", kept=kept, told=owed)
        held = self._held.pop(row.customer_id, 0)
        self._findings.compare("I12", row.customer_id, "the overage held", kept=row.overage_held_nanos, told=held)

    def rest(self) -> None:
        """What the journal or one kind of row tells of, and another does not."""
        add, balances = self._findings.add, self._journal.balances
        for payment_id, amount in self._journal.payments.items():
            add("I11", payment_id, f"the journal has {amount} nanos of it, and there is no such payment")
        for account in {name for name in balances if name.startswith(_MONEY)} | self._money.keys():
            told, kept = balances.get(account, 0), self._money[account]
            self._findings.compare("I11", account, "the money of its payments", kept=kept, told=told)
        for payment_id in self._refunds.keys() | self._refunded.keys():
            kept, told = self._refunded.get(payment_id, 0), self._refunds[payment_id]
            self._findings.compare("I11", payment_id, "what goes back of it", kept=kept, told=told)
        for account, balance in balances.items():
            if account.startswith(_OVERAGE) and balance:
                add("I12", account.removeprefix(_OVERAGE), f"{-balance} nanos of overage are owed, and no terms say so")
        for customer_id, held in self._held.items():
            if held:
                add("I12", customer_id, f"open holds hold {held} nanos of overage, and no terms say so")
        for customer_id in self._live:
            add("I13", customer_id, "its subscription is live, and there are no terms of it")
