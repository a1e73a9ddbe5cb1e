"""The journal: accounts, and the hash chain that makes a changed past show.

Accounts are names. Credit lives in two accounts per grant; everything else is a total that `lava verify` recomputes:

=====================  ======================================================================
``grant:<id>:free``    credit that may still be held
``grant:<id>:held``    credit set aside for calls in flight
``debt:<customer>``    what a customer owes beyond all credit (its balance is negative while they owe)
``overage:<customer>`` charges beyond the credit that a plan allowed
``funding:<source>``   where credit came from: manual, promo, cycle, …; ``overage``: what clears paid overage
``money:<gateway>``    money that came in from customers, less what went back
``sales:<purpose>``    what it was paid for: cycle, upgrade, bundle, top_up, overage, minimum
``revenue``            charges
``breakage``           credit that expired, or was voided
``provider:<id>``      what we owe a provider
``cost``               what providers charged us
=====================  ======================================================================

A balance is what moved in less what moved out.
"""

import hashlib
import json

import msgspec

from lava_proxy.core.entities import Posting, Transaction
from lava_proxy.core.ids import CustomerId, GrantId

REVENUE = "revenue"
COST = "cost"
BREAKAGE = "breakage"
GENESIS_HASH = "0" * 64

_DELETE = b"\x7f"
"""The one ASCII character that `json` escapes and msgspec does not."""
_to_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def free_account(grant_id: GrantId) -> str:
    return f"grant:{grant_id}:free"


def held_account(grant_id: GrantId) -> str:
    return f"grant:{grant_id}:held"


def debt_account(customer_id: CustomerId) -> str:
    return f"debt:{customer_id}"


def overage_account(customer_id: CustomerId) -> str:
    return f"overage:{customer_id}"


def money_account(gateway: str) -> str:
    return f"money:{gateway}"


def sales_account(purpose: str) -> str:
    return f"sales:{purpose}"


def funding_account(source: str) -> str:
    return f"funding:{source}"


def provider_account(provider: str) -> str:
    return f"provider:{provider}"


def move(source: str, destination: str, amount_nanos: int) -> tuple[Posting, ...]:
    """The posting of an amount, or none where there is nothing to move."""
    if not amount_nanos:
        return ()
    return (Posting(source=source, destination=destination, amount_nanos=amount_nanos),)


def link_hash(previous_hash: str, sequence: int, transaction: Transaction) -> str:
    """SHA-256 over the link before and everything in this transaction, as hex."""
    return hashlib.sha256(link_content(previous_hash, sequence, transaction)).hexdigest()


def link_content(previous_hash: str, sequence: int, transaction: Transaction) -> bytes:
    """What is hashed: a list as JSON without blanks, all of it ASCII."""
    content = [
        previous_hash,
        sequence,
        transaction.transaction_id,
        transaction.kind,
        transaction.key,
        transaction.at_us,
        transaction.customer_id,
        transaction.request_id,
        transaction.note,
        transaction.actor,
        [[p.source, p.destination, p.amount_nanos] for p in transaction.postings],
    ]
    try:
        text = msgspec.json.encode(content)
    except (ValueError, OverflowError):  # half a surrogate pair
        return _to_json(content).encode()
    return text if text.isascii() and _DELETE not in text else _to_json(content).encode()
