"""The port through which money comes in and goes out.

An adapter moves money and knows nothing of plans or credit; what a payment buys stands in the ledger. Every call carries
a key that was written before: the same key never moves money twice and gives the same answer, also after a crash of ours.
What a gateway reports later (a webhook, a poll, a person) is booked by the same rule as its direct answer.
"""

from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class Outcome(StrEnum):
    PAID = "paid"
    PENDING = "pending"
    """Taken on; the customer, the bank or a person has to do something first."""
    DECLINED = "declined"
    """Certainly not paid, and nothing will come of this attempt."""
    UNKNOWN = "unknown"
    """It timed out, or broke: it may have been paid."""


class Answer(Struct, frozen=True, kw_only=True):
    """What is known of one attempt."""

    outcome: Outcome
    reference: str | None = None
    """The gateway's own name for the movement of money."""
    reason: str = ""
    url: str | None = None
    """While pending: where the customer can pay or confirm."""
    may_retry: bool = True
    """After a decline: whether another attempt makes sense."""
    ask_again_us: int | None = None
    """While pending: so much later it can be asked about; ``None``: the gateway reports by itself."""


class Charge(Struct, frozen=True, kw_only=True):
    """Money asked of a customer who is not there to confirm it."""

    key: str
    payment_id: str
    customer_id: str
    amount_nanos: int
    """Whole cents of US dollars."""
    purpose: str
    description: str
    reference: str | None = None
    """What the gateway called this payment in an answer before: then it is asked what became of it."""


class Refund(Struct, frozen=True, kw_only=True):
    """Money given back of an earlier payment."""

    key: str
    payment_id: str
    customer_id: str
    amount_nanos: int
    paid_reference: str | None
    """What the gateway called the payment that goes back."""
    reference: str | None = None
    """What it called this refund in an answer before."""


class PaymentGateway(Protocol):
    """Neither call raises for what a gateway does: a timeout is the outcome ``UNKNOWN``."""

    @property
    def name(self) -> str:
        """Stands in the books beside every payment, and in the name of the account of its money."""

    def charge(self, charge: Charge) -> Answer: ...

    def refund(self, refund: Refund) -> Answer: ...
