"""Which credit a charge is drawn from.

Draw-down order: priority, then earliest expiry, then age. A grant counts while it is active, not past its expiry, and
open to the meter. What a customer owes (debt) lessens what is available, and any credit open to all meters pays it off.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Grant, GrantAllocation, GrantStatus, Posting, Wallet
from lava_proxy.core.ids import GrantId, MeterId
from lava_proxy.core.journal import BREAKAGE, debt_account, free_account, held_account, move


class Moved(Struct, frozen=True, kw_only=True):
    """Grants (and the wallet) after something was moved, with the postings that moved it."""

    grants: tuple[Grant, ...]
    postings: tuple[Posting, ...]
    wallet: Wallet
    left_nanos: int = 0
    """What could not be covered."""
    allocations: tuple[GrantAllocation, ...] = ()


def is_open(grant: Grant, *, now_us: int) -> bool:
    """True where the grant may still be drawn on."""
    return grant.status is GrantStatus.ACTIVE and (grant.expires_us is None or grant.expires_us > now_us)


def draw_down_order(grants: Iterable[Grant], *, meter_id: MeterId | None, now_us: int) -> list[Grant]:
    """The open grants that this meter may use, first to be drawn first; ``None`` takes those open to all meters only."""
    usable = [g for g in grants if is_open(g, now_us=now_us) and (not g.meter_ids or meter_id in g.meter_ids)]
    return sorted(usable, key=lambda g: (g.priority, g.expires_us is None, g.expires_us or 0, g.created_us, g.grant_id))


def available_nanos(grants: Iterable[Grant], wallet: Wallet, *, meter_id: MeterId | None, now_us: int) -> int:
    """Free credit less debt; negative where the customer owes more."""
    return sum(g.free_nanos for g in draw_down_order(grants, meter_id=meter_id, now_us=now_us)) - wallet.debt_nanos


def hold_credit(
    grants: tuple[Grant, ...], wallet: Wallet, *, amount_nanos: int, meter_id: MeterId, now_us: int
) -> Moved:
    """Set ``amount_nanos`` aside; ``left_nanos`` above 0 means that it cannot be covered, and nothing must be written."""
    changed: dict[GrantId, Grant] = {}
    postings: tuple[Posting, ...] = ()
    allocations: list[GrantAllocation] = []
    left = amount_nanos
    for grant in draw_down_order(grants, meter_id=meter_id, now_us=now_us):
        part = min(left, grant.free_nanos)
        if not part:
            continue
        changed[grant.grant_id] = replace(grant, free_nanos=grant.free_nanos - part, held_nanos=grant.held_nanos + part)
        postings += move(free_account(grant.grant_id), held_account(grant.grant_id), part)
        allocations.append(GrantAllocation(grant_id=grant.grant_id, amount_nanos=part))
        left -= part
    return Moved(
        grants=tuple(changed.values()),
        postings=postings,
        wallet=wallet,
        left_nanos=left,
        allocations=tuple(allocations),
    )


def resolve_allocations(
    grants: dict[GrantId, Grant],
    allocations: tuple[GrantAllocation, ...],
    *,
    spend_nanos: int,
    destination: str,
    now_us: int,
) -> tuple[Posting, ...]:
    """Spend from what was held, in the order it was allocated, and release the rest; changes ``grants`` in place.

    What is released returns to its grant, or is breakage where the grant has expired or was voided meanwhile.
    """
    postings: tuple[Posting, ...] = ()
    left = spend_nanos
    for allocation in allocations:
        grant = grants[allocation.grant_id]
        spent = min(left, allocation.amount_nanos)
        released = allocation.amount_nanos - spent
        left -= spent
        held = held_account(grant.grant_id)
        lapses = not is_open(grant, now_us=now_us)
        postings += move(held, destination, spent)
        postings += move(held, BREAKAGE if lapses else free_account(grant.grant_id), released)
        grants[grant.grant_id] = replace(
            grant,
            held_nanos=grant.held_nanos - allocation.amount_nanos,
            spent_nanos=grant.spent_nanos + spent,
            free_nanos=grant.free_nanos + (0 if lapses else released),
            lapsed_nanos=grant.lapsed_nanos + (released if lapses else 0),
        )
    return postings


def spend_free(
    grants: dict[GrantId, Grant], *, amount_nanos: int, destination: str, meter_id: MeterId | None, now_us: int
) -> tuple[tuple[Posting, ...], int]:
    """Draw on free credit without a hold; changes ``grants`` in place. Gives the postings and what stayed uncovered."""
    postings: tuple[Posting, ...] = ()
    left = amount_nanos
    for grant in draw_down_order(grants.values(), meter_id=meter_id, now_us=now_us):
        part = min(left, grant.free_nanos)
        if part:
            grants[grant.grant_id] = replace(
                grant, free_nanos=grant.free_nanos - part, spent_nanos=grant.spent_nanos + part
            )
            postings += move(free_account(grant.grant_id), destination, part)
            left -= part
    return postings, left


def pay_debt(grants: dict[GrantId, Grant], wallet: Wallet, *, now_us: int) -> tuple[tuple[Posting, ...], Wallet]:
    """Pay what the customer owes from free credit that is open to all meters; changes ``grants`` in place."""
    if not wallet.debt_nanos:
        return (), wallet
    postings, left = spend_free(
        grants,
        amount_nanos=wallet.debt_nanos,
        destination=debt_account(wallet.customer_id),
        meter_id=None,
        now_us=now_us,
    )
    return postings, replace(wallet, debt_nanos=left)
