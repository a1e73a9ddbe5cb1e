"""Corrections by hand, with a reason: credit added or taken, a disputed charge given back. Pure rules; each is one transaction.

=====================  ==================================================================================
``adjust:<id>``        funding → free, as with any grant; or free → breakage, in draw-down order
``dispute:<request>``  funding:refund → free: a grant for what the request was charged, at most once a request
=====================  ==================================================================================

Both pay what the customer owes first, as all new credit does. What a request was charged stays in its record and in
revenue: the refund stands beside it.
"""

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.credit import CreditStamp, Payee, grant_credit
from lava_proxy.core.entities import Event, Grant, GrantSource, Hold, HoldState, Posting, RequestRecord, Transaction
from lava_proxy.core.errors import Conflict, InsufficientCredits, InvalidInput, Refused
from lava_proxy.core.ids import CustomerId, EventId, GrantId, RequestId, TransactionId
from lava_proxy.core.journal import BREAKAGE, free_account, move
from lava_proxy.core.money import format_dollars
from lava_proxy.core.ports import Decision
from lava_proxy.core.wallet import draw_down_order, is_open

DISPUTED = "request.disputed"


class Adjustment(Struct, frozen=True, kw_only=True):
    """What a correction did, or would do."""

    customer_id: CustomerId
    transaction_id: TransactionId
    amount_nanos: int
    """What the customer gained; below 0 what was taken."""
    available_before_nanos: int
    available_after_nanos: int
    debt_paid_nanos: int = 0
    grant_id: GrantId | None = None
    """The new grant, where credit was added."""
    request_id: RequestId | None = None
    reason: str


class Wallets(Struct, frozen=True, kw_only=True):
    """A customer with all that is in use of their credit."""

    payee: Payee
    grants: tuple[Grant, ...]

    def available_nanos(self, now_us: int) -> int:
        """Free credit less debt, of grants for some meters only too."""
        free = sum(grant.free_nanos for grant in self.grants if is_open(grant, now_us=now_us))
        return free - self.payee.wallet.debt_nanos


class Disputed(Struct, frozen=True, kw_only=True):
    """A request that is disputed, with whoever paid for it."""

    record: RequestRecord
    hold: Hold
    is_disputed: bool
    wallets: Wallets | None
    """``None``: the merchant's own call."""


def add_credit(wallets: Wallets, amount_nanos: int, stamp: CreditStamp, *, grant_id: GrantId) -> Decision[Adjustment]:
    """Give credit as a correction.

    Raises:
        Refused: the customer is not active.
    """
    grant = correction(wallets, grant_id, amount_nanos, GrantSource.MANUAL, stamp)
    return _given(wallets, grant, stamp, kind="adjust", key=f"adjust:{grant.grant_id}")


def take_credit(wallets: Wallets, amount_nanos: int, stamp: CreditStamp) -> Decision[Adjustment]:
    """Take free credit back, in draw-down order, whatever meters it is for; it counts as lapsed.

    Raises:
        InsufficientCredits: there is less. What calls in flight hold is not taken.
    """
    before = wallets.available_nanos(stamp.now_us)
    if amount_nanos > before:
        raise InsufficientCredits(
            f"Only {format_dollars(before)} of credit is free, not {format_dollars(amount_nanos)}.",
            hint="`lava credits balance` tells what calls in flight hold.",
            needed=amount_nanos,
            available=before,
            held=sum(grant.held_nanos for grant in wallets.grants),
        )
    own = {grant.grant_id: grant for grant in wallets.grants}
    ordered = draw_down_order(
        (replace(grant, meter_ids=()) for grant in wallets.grants), meter_id=None, now_us=stamp.now_us
    )
    postings: tuple[Posting, ...] = ()
    changed: list[Grant] = []
    left = amount_nanos
    for place in ordered:
        grant = own[place.grant_id]
        part = min(left, grant.free_nanos)
        if part:
            lapsed = grant.lapsed_nanos + part
            changed.append(replace(grant, free_nanos=grant.free_nanos - part, lapsed_nanos=lapsed))
            postings += move(free_account(grant.grant_id), BREAKAGE, part)
            left -= part
    assert not left, (wallets, amount_nanos)
    customer_id = wallets.payee.customer.customer_id
    result = Adjustment(
        customer_id=customer_id,
        transaction_id=stamp.transaction_id,
        amount_nanos=-amount_nanos,
        available_before_nanos=before,
        available_after_nanos=before - amount_nanos,
        reason=stamp.note,
    )
    transaction = Transaction(
        transaction_id=stamp.transaction_id,
        kind="adjust",
        key=f"adjust:{stamp.transaction_id}",
        at_us=stamp.now_us,
        customer_id=customer_id,
        postings=postings,
        note=stamp.note,
        actor=stamp.actor,
    )
    return Decision(result=result, transactions=(transaction,), rows=tuple(changed))


def dispute(
    disputed: Disputed,
    amount_nanos: int | None,
    stamp: CreditStamp,
    *,
    grant_id: GrantId,
    disputed_event_id: EventId,
) -> Decision[Adjustment]:
    """Give a request's charge, or a part of it, back as a new grant; ``None``: all of it.

    Raises:
        InvalidInput: it is more than was charged.
        Conflict: the request was disputed already.
        Refused: nobody was charged for it, or it was not settled by its usage.
    """
    record, wallets = disputed.record, disputed.wallets
    if disputed.is_disputed:
        raise Conflict(f"The request {record.request_id} was disputed already.", request_id=record.request_id)
    if wallets is None or not record.charge_nanos:
        raise Refused(f"Nobody was charged for the request {record.request_id}.")
    if disputed.hold.state is not HoldState.SETTLED:
        raise Refused(
            f"The request {record.request_id} was charged at its hold, for nobody knows what it used.",
            hint=f"`lava holds void {record.hold_id}` gives that back.",
        )
    amount_nanos = record.charge_nanos if amount_nanos is None else amount_nanos
    if amount_nanos > record.charge_nanos:
        raise InvalidInput(
            f"amount: the request was charged {format_dollars(record.charge_nanos)}, and that is the most",
            field="amount",
        )
    grant = correction(wallets, grant_id, amount_nanos, GrantSource.REFUND, stamp)
    decision = _given(wallets, grant, stamp, kind="dispute", key=f"dispute:{record.request_id}")
    event = Event(
        event_id=disputed_event_id,
        kind=DISPUTED,
        key=dispute_key(record.request_id),
        payload=f'{{"request_id":"{record.request_id}","grant_id":"{grant.grant_id}"}}',
        created_us=stamp.now_us,
    )
    result = replace(decision.result, request_id=record.request_id)
    return Decision(result=result, transactions=decision.transactions, rows=(*decision.rows, event))


def correction(
    wallets: Wallets, grant_id: GrantId, amount_nanos: int, source: GrantSource, stamp: CreditStamp
) -> Grant:
    """Credit that corrects something: for all meters, without an end."""
    return Grant(
        grant_id=grant_id,
        customer_id=wallets.payee.customer.customer_id,
        source=source,
        amount_nanos=amount_nanos,
        free_nanos=amount_nanos,
        note=stamp.note,
        created_us=stamp.now_us,
    )


def dispute_key(request_id: RequestId) -> str:
    """The key of the event that tells that a request was disputed: there can be one."""
    return f"{DISPUTED}:{request_id}"


def _given(wallets: Wallets, grant: Grant, stamp: CreditStamp, *, kind: str, key: str) -> Decision[Adjustment]:
    decision = grant_credit(wallets.payee, grant, stamp)
    (transaction,) = decision.transactions
    before = wallets.available_nanos(stamp.now_us)
    result = Adjustment(
        customer_id=grant.customer_id,
        transaction_id=stamp.transaction_id,
        amount_nanos=grant.amount_nanos,
        available_before_nanos=before,
        available_after_nanos=before + grant.amount_nanos,
        debt_paid_nanos=decision.result.spent_nanos,
        grant_id=grant.grant_id,
        reason=stamp.note,
    )
    return Decision(result=result, transactions=(replace(transaction, kind=kind, key=key),), rows=decision.rows)
