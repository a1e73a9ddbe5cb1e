"""The books proved again from the journal alone: replay it in order, then compare every projection with the outcome.

Nothing but the journal is believed. The numbers are those of the list of invariants in ``docs/ledger.md``:

===  ================================================================================================
I1   every posting moves a positive whole amount from one account to another: all balances sum to 0
I2   free, held and granted credit and debt are what the journal says
I3   no credit account is ever below 0; at every admission credit is not below debt
I4   a hold is resolved at most once; only an orphan or an expired hold is corrected, once
I5   a charge above its hold is flagged, and the rest that nothing covered is debt
I6   each resolved hold has one request record, with its charge and cost; each record its hold
I7   no transaction key comes twice
I8   tier counters are the sum of what was counted, breakdowns sum to their charge, remainders are below one nano
I9   the sequence has no gap and the hash chain is whole
I10  no hold stands open past its time while somebody sweeps
===  ================================================================================================
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lava_proxy.core.entities import HoldState, JournalEntry, Posting, Transaction
from lava_proxy.core.journal import COST, GENESIS_HASH, REVENUE, link_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that does not hold. ``subject`` is what it is about: an id, or ``journal``."""

    invariant: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as the journal tells it."""

    state: HoldState
    charge_nanos: int = 0
    cost_nanos: int = 0


_RESOLVED = {
    "settle": HoldState.SETTLED,
    "void": HoldState.VOIDED,
    "expire": HoldState.EXPIRED,
    "orphan": HoldState.ORPHANED,
    "late": HoldState.SETTLED,
}
"""The journal does not tell a reserved hold from one in flight: here both are in flight."""
_MAY_FOLLOW = {
    "settle": (HoldState.IN_FLIGHT,),
    "void": (HoldState.IN_FLIGHT, HoldState.ORPHANED),
    "expire": (HoldState.IN_FLIGHT,),
    "orphan": (HoldState.IN_FLIGHT,),
    "late": (HoldState.ORPHANED, HoldState.EXPIRED),
}


class Replay:
    """Takes the journal entry by entry; afterwards its public tables are what the projections must be."""

    def __init__(self) -> None:
        self.sequence = 0
        self.balances: dict[str, int] = {}
        """By account; accounts of revenue, cost and breakage among them."""
        self.granted: dict[str, int] = {}
        """What each grant was funded with, by grant id."""
        self.requests: dict[str, Seen] = {}
        self._hash = GENESIS_HASH
        self._credit: dict[str, int] = {}
        self._keys: set[str] = set()

    def take(self, entry: JournalEntry) -> Iterator[Finding]:
        """Book one entry; gives what is wrong with it."""
        yield from self._check_link(entry)
        transaction = entry.transaction
        yield from self._check_key(transaction)
        for posting in transaction.postings:
            yield from self._post(posting, transaction)
        if transaction.request_id is not None:
            yield from self._follow(transaction)
        if transaction.kind == "hold" and transaction.postings:
            yield from self._check_admission(transaction)

    def balance(self, account: str) -> int:
        return self.balances.get(account, 0)

    def _check_link(self, entry: JournalEntry) -> Iterator[Finding]:
        where = f"transaction {entry.transaction.transaction_id}"
        if entry.sequence != self.sequence + 1:
            yield Finding(
                invariant="I9", subject="journal", message=f"entry {entry.sequence} follows {self.sequence}: a gap"
            )
        if entry.previous_hash != self._hash:
            message = f"entry {entry.sequence} ({where}) does not continue the chain of the entry before"
            yield Finding(invariant="I9", subject="journal", message=message)
        if entry.hash != link_hash(entry.previous_hash, entry.sequence, entry.transaction):
            message = f"entry {entry.sequence} ({where}) was changed: its hash is not that of its content"
            yield Finding(invariant="I9", subject="journal", message=message)
        self.sequence, self._hash = entry.sequence, entry.hash

    def _check_key(self, transaction: Transaction) -> Iterator[Finding]:
        """Keys of calls follow from their request id, and ``_follow`` sees them twice; the others are remembered here."""
        if transaction.kind == "hold" or transaction.kind in _RESOLVED:
            wanted = f"{transaction.kind}:{transaction.request_id}"
            if transaction.key != wanted:
                message = f"the key is {transaction.key!r} and not {wanted!r}"
                yield Finding(invariant="I7", subject=transaction.transaction_id, message=message)
        elif transaction.key in self._keys:
            yield Finding(
                invariant="I7", subject=transaction.transaction_id, message=f"the key {transaction.key!r} came before"
            )
        else:
            self._keys.add(transaction.key)

    def _post(self, posting: Posting, transaction: Transaction) -> Iterator[Finding]:
        amount = posting.amount_nanos
        if type(amount) is not int or amount <= 0 or posting.source == posting.destination:
            message = f"it moves {amount!r} from {posting.source} to {posting.destination}"
            yield Finding(invariant="I1", subject=transaction.transaction_id, message=message)
            return
        self.balances[posting.source] = self.balance(posting.source) - amount
        self.balances[posting.destination] = self.balance(posting.destination) + amount
        self._note_credit(posting, transaction)
        for account in (posting.source, posting.destination):
            is_wrong = (
                self.balances[account] < 0
                if account.startswith("grant:")
                else account.startswith("debt:") and self.balances[account] > 0
            )
            if is_wrong:
                message = f"{account} stands at {self.balances[account]} after it"
                yield Finding(invariant="I3", subject=transaction.transaction_id, message=message)

    def _note_credit(self, posting: Posting, transaction: Transaction) -> None:
        if posting.source.startswith("funding:") and posting.destination.startswith("grant:"):
            grant_id = posting.destination.split(":")[1]
            self.granted[grant_id] = self.granted.get(grant_id, 0) + posting.amount_nanos
        customer_id = transaction.customer_id or ""
        for account, amount in ((posting.source, -posting.amount_nanos), (posting.destination, posting.amount_nanos)):
            if account.endswith(":free") or account.startswith("debt:"):
                self._credit[customer_id] = self._credit.get(customer_id, 0) + amount

    def _follow(self, transaction: Transaction) -> Iterator[Finding]:
        request_id = transaction.request_id or ""
        before = self.requests.get(request_id)
        if transaction.kind == "hold":
            if before is not None:
                yield Finding(invariant="I4", subject=request_id, message="it was held twice")
            self.requests[request_id] = Seen(state=HoldState.IN_FLIGHT)
            return
        if transaction.kind not in _RESOLVED:
            return
        if before is None or before.state not in _MAY_FOLLOW[transaction.kind]:
            was = "never held" if before is None else f"{before.state.value} before"
            yield Finding(invariant="I4", subject=request_id, message=f"{transaction.kind} of a request that was {was}")
        before = before or Seen(state=HoldState.IN_FLIGHT)
        self.requests[request_id] = Seen(
            state=_RESOLVED[transaction.kind],
            charge_nanos=before.charge_nanos + _gained(REVENUE, transaction.postings),
            cost_nanos=before.cost_nanos + _gained(COST, transaction.postings),
        )

    def _check_admission(self, transaction: Transaction) -> Iterator[Finding]:
        credit = self._credit.get(transaction.customer_id or "", 0)
        if credit < 0:
            message = f"{transaction.customer_id} was admitted with {credit} nanos of credit left"
            yield Finding(invariant="I3", subject=transaction.request_id or "", message=message)


def _gained(account: str, postings: tuple[Posting, ...]) -> int:
    came = sum(p.amount_nanos for p in postings if p.destination == account)
    return came - sum(p.amount_nanos for p in postings if p.source == account)
