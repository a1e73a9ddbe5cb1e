"""What alerts know of cycles, plans and payments: the one place to read them."""

from collections.abc import Iterable

from msgspec import Struct

from lava_proxy.core.alerts import CycleFacts, PaymentFacts
from lava_proxy.core.billing import Payment, PaymentStatus, Purpose, Terms
from lava_proxy.core.entities import Grant, GrantSource
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.ports import Books, Ledger, RequestFilter
from lava_proxy.core.wallet import is_open

_OF_SUBSCRIPTIONS = frozenset({Purpose.CYCLE, Purpose.UPGRADE, Purpose.OVERAGE, Purpose.MINIMUM})
_OF_TOP_UPS = frozenset({Purpose.TOP_UP})


class BillingFacts(Struct, frozen=True, kw_only=True):
    """Of one customer, as far as it is known."""

    plan_id: str | None = None
    cycle: CycleFacts | None = None
    payments: PaymentFacts | None = None


def read_billing_facts(
    ledger: Ledger,
    books: Books,
    customer_id: CustomerId,
    grants: Iterable[Grant],
    *,
    with_spend: bool,
    now_us: int,
) -> BillingFacts:
    """Plan, cycle and payments of a customer now. ``with_spend``: the charges of the cycle too, which is a sum over requests."""
    terms, payments = ledger.read(
        lambda rows: (rows.get(Terms, customer_id), rows.find(Payment, customer_id=customer_id))
    )
    failed = PaymentFacts(
        failed_payment=_failed(payments, _OF_SUBSCRIPTIONS), failed_top_up=_failed(payments, _OF_TOP_UPS)
    )
    if terms is None or terms.subscription_id is None:
        return BillingFacts(payments=failed)
    given = [grant for grant in grants if grant.source is GrantSource.CYCLE and is_open(grant, now_us=now_us)]
    cycle = CycleFacts(
        cycle=f"{terms.subscription_id}:{terms.cycle_start_us}",
        granted_nanos=sum(grant.amount_nanos for grant in given),
        used_nanos=sum(grant.spent_nanos + grant.held_nanos for grant in given),
        charge_nanos=_charges(books, customer_id, since_us=terms.cycle_start_us) if with_spend else 0,
    )
    return BillingFacts(plan_id=terms.plan_id, cycle=cycle, payments=failed)


def _failed(payments: Iterable[Payment], purposes: frozenset[Purpose]) -> str | None:
    """The newest payment of these purposes, if it was declined and nobody has made it good."""
    own = [payment for payment in payments if payment.purpose in purposes and payment.status is not PaymentStatus.VOID]
    newest = max(own, key=lambda payment: (payment.created_us, payment.payment_id), default=None)
    if newest is None:
        return None
    is_tried_again = newest.status is PaymentStatus.DUE and newest.attempts > 0
    return newest.payment_id if is_tried_again or newest.status is PaymentStatus.DECLINED else None


def _charges(books: Books, customer_id: CustomerId, *, since_us: int) -> int:
    return sum(
        line.charge_nanos for line in books.usage(RequestFilter(customer_id=customer_id, since_us=since_us), by=())
    )
