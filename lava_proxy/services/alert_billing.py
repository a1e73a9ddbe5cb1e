"""What alerts know of cycles, plans and payments: the one place to read them.

Until subscriptions have rows of their own, a cycle is told by its credit: grants whose source is ``cycle``, which are
given at its start and expire at its end. Failed payments are told by nobody yet.
"""

from collections.abc import Iterable

from msgspec import Struct

from lava_proxy.core.alerts import CycleFacts, PaymentFacts
from lava_proxy.core.entities import Grant, GrantSource
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.ports import Books, RequestFilter
from lava_proxy.core.wallet import is_open


class BillingFacts(Struct, frozen=True, kw_only=True):
    """Of one customer, as far as it is known."""

    plan_id: str | None = None
    cycle: CycleFacts | None = None
    payments: PaymentFacts | None = None


def read_billing_facts(
    books: Books, customer_id: CustomerId, grants: Iterable[Grant], *, with_spend: bool, now_us: int
) -> BillingFacts:
    """Plan, cycle and payments of a customer now. ``with_spend``: the charges of the cycle too, which is a sum over requests."""
    given = [grant for grant in grants if grant.source is GrantSource.CYCLE and is_open(grant, now_us=now_us)]
    if not given:
        return BillingFacts()
    newest = max(given, key=lambda grant: (grant.created_us, grant.grant_id))
    return BillingFacts(
        cycle=CycleFacts(
            cycle=newest.grant_id,
            granted_nanos=sum(grant.amount_nanos for grant in given),
            used_nanos=sum(grant.spent_nanos + grant.held_nanos for grant in given),
            charge_nanos=_charges(books, customer_id, since_us=newest.created_us) if with_spend else 0,
        )
    )


def _charges(books: Books, customer_id: CustomerId, *, since_us: int) -> int:
    return sum(
        line.charge_nanos for line in books.usage(RequestFilter(customer_id=customer_id, since_us=since_us), by=())
    )
