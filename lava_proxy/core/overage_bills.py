"""Overage collected: at the cycle's end, or as soon as its threshold is passed.

A bill's transaction (``overage_bill:<payment>``) books the markup, and what rounding to cents adds or takes, as revenue.
Once it is paid, ``funding:overage`` clears the customer's account. What comes to less than half a cent waits for more.
"""

from msgspec.structs import replace

from lava_proxy.core.billing import Purpose
from lava_proxy.core.cycles import marked_up_cents
from lava_proxy.core.drafts import Draft
from lava_proxy.core.journal import REVENUE, move, overage_account


def bill_overage(draft: Draft) -> int:
    """Make a payment of what is not yet billed; gives its amount, 0 where there is none."""
    terms = draft.terms
    unbilled = terms.overage_used_nanos - terms.overage_billed_nanos
    total = marked_up_cents(max(unbilled, 0), terms.overage_markup_nanos)
    if not total:
        return 0
    payment = draft.owe(Purpose.OVERAGE, total, cycle=draft.subscription.cycle if draft.subscription else 0)
    account, more = overage_account(terms.customer_id), total - unbilled
    postings = move(account, REVENUE, more) if more >= 0 else move(REVENUE, account, -more)
    draft.post("overage_bill", f"overage_bill:{payment.payment_id}", postings)
    draft.terms = replace(terms, overage_billed_nanos=terms.overage_used_nanos)
    return total


def begin_cycle(draft: Draft) -> None:
    """The new cycle's overage begins with what was too little to bill."""
    terms = draft.terms
    left = terms.overage_used_nanos - terms.overage_billed_nanos
    draft.terms = replace(terms, overage_used_nanos=left, overage_billed_nanos=0)


def is_threshold_passed(draft: Draft) -> bool:
    """Enough is unbilled to collect it before the cycle's end."""
    terms = draft.terms
    unbilled = terms.overage_used_nanos - terms.overage_billed_nanos
    return terms.overage_collect_nanos is not None and unbilled >= terms.overage_collect_nanos
