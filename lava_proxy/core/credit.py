"""Giving credit and taking it back: pure rules, each one journal transaction.

=======================  =============================================================================
``grant:<grant_id>``     funding → free; and free → debt for what the customer owes, if the grant is open to all meters
``grant_void:<id>``      free → breakage; what is held stays held and lapses when its call releases it
``grant_expire:<id>:…``  the same, once for each expiry that a grant had
=======================  =============================================================================
"""

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Customer, CustomerStatus, Event, Grant, GrantStatus, Posting, Transaction, Wallet
from lava_proxy.core.errors import Refused
from lava_proxy.core.ids import CustomerId, EventId, TransactionId
from lava_proxy.core.journal import BREAKAGE, free_account, funding_account, move
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.wallet import pay_debt


class CreditStamp(Struct, frozen=True, kw_only=True):
    """The ids, the instant and the author of one change."""

    now_us: int
    transaction_id: TransactionId
    event_id: EventId
    actor: str
    note: str = ""


class Payee(Struct, frozen=True, kw_only=True):
    """A customer and what they owe."""

    customer: Customer
    wallet: Wallet


def load_wallet(rows: Rows, customer_id: CustomerId) -> Wallet:
    """What a customer owes; nothing where nobody wrote it down."""
    return rows.get(Wallet, customer_id) or Wallet(customer_id=customer_id)


def grant_credit(payee: Payee, grant: Grant, stamp: CreditStamp) -> Decision[Grant]:
    """Give ``grant``, which is whole and unused; what the customer owes is paid from it at once.

    Raises:
        Refused: the customer is not active.
    """
    assert grant.free_nanos == grant.amount_nanos > 0, grant
    if payee.customer.status is not CustomerStatus.ACTIVE:
        raise Refused(f"The customer {payee.customer.customer_id} is {payee.customer.status.value} and gets no credit.")
    grants = {grant.grant_id: grant}
    paid, wallet = pay_debt(grants, payee.wallet, now_us=stamp.now_us)
    granted = grants[grant.grant_id]
    postings = move(funding_account(grant.source.value), free_account(grant.grant_id), grant.amount_nanos)
    event = Event(
        event_id=stamp.event_id,
        kind="credits.granted",
        key=f"credits.granted:{grant.grant_id}",
        payload=f'{{"customer_id":"{grant.customer_id}","grant_id":"{grant.grant_id}"}}',
        created_us=stamp.now_us,
    )
    return Decision(
        result=granted,
        transactions=(_transaction("grant", f"grant:{grant.grant_id}", grant, stamp, (*postings, *paid)),),
        rows=(granted, *((wallet,) if wallet != payee.wallet else ()), event),
    )


def void_grant(grant: Grant, stamp: CreditStamp) -> Decision[Grant]:
    """Take back what is left of a grant. What is held for calls in flight is still theirs to spend.

    Raises:
        Refused: the grant has expired or was voided already.
    """
    if grant.status is not GrantStatus.ACTIVE:
        raise Refused(f"The grant {grant.grant_id} is {grant.status.value} already.")
    return _lapse(grant, GrantStatus.VOIDED, "grant_void", f"grant_void:{grant.grant_id}", stamp)


def is_due(grant: Grant, *, now_us: int) -> bool:
    """Past its expiry and not yet booked as expired."""
    return grant.status is GrantStatus.ACTIVE and grant.expires_us is not None and grant.expires_us <= now_us


def expire_grant(grant: Grant, stamp: CreditStamp) -> Decision[bool]:
    """Book the expiry of a grant whose time ran out; ``False`` and nothing written where it is not due (any more)."""
    if not is_due(grant, now_us=stamp.now_us):
        return Decision(result=False)
    lapsed = _lapse(
        grant, GrantStatus.EXPIRED, "grant_expire", f"grant_expire:{grant.grant_id}:{grant.expires_us}", stamp
    )
    return Decision(result=True, transactions=lapsed.transactions, rows=lapsed.rows)


def _lapse(grant: Grant, status: GrantStatus, kind: str, key: str, stamp: CreditStamp) -> Decision[Grant]:
    after = replace(grant, free_nanos=0, lapsed_nanos=grant.lapsed_nanos + grant.free_nanos, status=status)
    postings = move(free_account(grant.grant_id), BREAKAGE, grant.free_nanos)
    return Decision(result=after, transactions=(_transaction(kind, key, grant, stamp, postings),), rows=(after,))


def _transaction(kind: str, key: str, grant: Grant, stamp: CreditStamp, postings: tuple[Posting, ...]) -> Transaction:
    return Transaction(
        transaction_id=stamp.transaction_id,
        kind=kind,
        key=key,
        at_us=stamp.now_us,
        customer_id=grant.customer_id,
        postings=postings,
        note=stamp.note or grant.note,
        actor=stamp.actor,
    )
