"""Charges beyond the credit, as a call meets them: how much room there is, what is set aside, used and paid back.

Overage has the customer's account ``overage:<customer>`` and is counted in their ``Terms`` before its markup. Whoever
owes more than all credit and overage (a debt) gets no more of it.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from lava_proxy.core.billing import Terms
from lava_proxy.core.entities import Grant, Hold, Posting, Wallet
from lava_proxy.core.ids import MeterId
from lava_proxy.core.journal import REVENUE, move, overage_account
from lava_proxy.core.wallet import available_nanos


def room_nanos(terms: Terms | None, wallet: Wallet, *, meter_id: MeterId) -> int:
    """How much more may be charged beyond the credit in this cycle."""
    if terms is None or terms.block or wallet.debt_nanos or (terms.meter_ids and meter_id not in terms.meter_ids):
        return 0
    return max(terms.overage_limit_nanos - terms.overage_used_nanos - terms.overage_held_nanos, 0)


def hold_overage(terms: Terms, amount_nanos: int) -> Terms:
    """Set aside."""
    return replace(terms, overage_held_nanos=terms.overage_held_nanos + amount_nanos)


def release_overage(terms: Terms | None, hold: Hold, used_nanos: int) -> tuple[tuple[Posting, ...], Terms | None]:
    """What a hold had set aside: a part of it is used, the rest is free again."""
    if not hold.overage_nanos:
        return (), terms
    assert terms is not None and 0 <= used_nanos <= hold.overage_nanos, hold
    return use_overage(replace(terms, overage_held_nanos=terms.overage_held_nanos - hold.overage_nanos), used_nanos)


def use_overage(terms: Terms, amount_nanos: int) -> tuple[tuple[Posting, ...], Terms]:
    """Charge beyond the credit; below 0 it is paid back."""
    account = overage_account(terms.customer_id)
    postings = move(account, REVENUE, amount_nanos) if amount_nanos >= 0 else move(REVENUE, account, -amount_nanos)
    return postings, replace(terms, overage_used_nanos=terms.overage_used_nanos + amount_nanos)


def noticed(
    terms: Terms | None, grants: Iterable[Grant], wallet: Wallet | None, *, meter_id: MeterId, now_us: int
) -> Terms | None:
    """Mark the terms for the scheduler where credit has run low, or enough overage is there to collect."""
    if terms is None or terms.needs_look or wallet is None:
        return terms
    unbilled = terms.overage_used_nanos - terms.overage_billed_nanos
    is_due = terms.overage_collect_nanos is not None and unbilled >= terms.overage_collect_nanos
    if not is_due and terms.top_up_below_nanos is not None:
        is_due = available_nanos(grants, wallet, meter_id=meter_id, now_us=now_us) < terms.top_up_below_nanos
    return replace(terms, needs_look=True) if is_due else terms


def refused_for_credit(terms: Terms | None, needed_nanos: int) -> tuple[Terms, ...]:
    """Remember what a refused call needed, where a top-up could help the next one."""
    if terms is None or terms.top_up_below_nanos is None or (terms.needs_look and terms.wanted_nanos >= needed_nanos):
        return ()
    return (replace(terms, needs_look=True, wanted_nanos=max(needed_nanos, terms.wanted_nanos)),)
