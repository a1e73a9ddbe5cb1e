"""The journal replayed in its order: what each entry may do, and what all balances come to.

Memory is bounded by grants and what happens to them, customers and open holds (and by orphaned or expired requests that
were not corrected).
"""

from dataclasses import dataclass, field

from lava_proxy.core.entities import HoldState, JournalEntry, Posting, Transaction
from lava_proxy.core.journal import BREAKAGE, COST, GENESIS_HASH, REVENUE, link_hash
from lava_proxy.core.verify_match import CHARGE, EVENTS, HELD, OPEN, RESOLVED, STATE, UNCOVERED, Matcher
from lava_proxy.core.verify_match import COST as COST_FACT
from lava_proxy.core.verify_report import Findings

STATE_CODES = {HoldState.SETTLED: 1, HoldState.VOIDED: 2, HoldState.EXPIRED: 3, HoldState.ORPHANED: 4}
_ENDS = {
    "settle": HoldState.SETTLED,
    "void": HoldState.VOIDED,
    "expire": HoldState.EXPIRED,
    "orphan": HoldState.ORPHANED,
}
_CORRECTIONS = {
    "late": (HoldState.SETTLED, (HoldState.ORPHANED, HoldState.EXPIRED)),
    "void": (HoldState.VOIDED, (HoldState.ORPHANED,)),
}
"""What a correction makes of a request, and of which ends."""
_REPRICE = "reprice"
_WITHOUT_GRANT = frozenset(
    {
        ("debt", REVENUE),
        ("overage", REVENUE),
        (REVENUE, "overage"),
        (REVENUE, "debt"),
        ("funding", "overage"),
        ("sales", "money"),
        ("money", "sales"),
        ("provider", COST),
        (COST, "provider"),
    }
)
"""What may move between accounts that are no grant's, by the first word of their names."""
_FREE, _HELD = 0, 1


@dataclass(slots=True)
class GrantBalance:
    """One grant as the journal tells it."""

    funded: int = 0
    parts: list[int] = field(default_factory=lambda: [0, 0])
    """Free, held."""
    spent: int = 0
    lapsed: int = 0
    customer_id: str = ""


class JournalProof:
    """Takes entries one by one; afterwards its tables are what the projections must be."""

    def __init__(self, findings: Findings, matcher: Matcher) -> None:
        self.sequence = 0
        self.head_hash = GENESIS_HASH
        self.postings = 0
        self.grants: dict[str, GrantBalance] = {}
        self.balances: dict[str, int] = {}
        """Every account but those of grants."""
        self.payments: dict[str, int] = {}
        """The money of each payment that was posted; what went back is below 0."""
        self._findings = findings
        self._matcher = matcher
        self._free: dict[str, int] = {}
        self._open: dict[str, dict[str, int]] = {}
        self._to_correct: dict[str, HoldState] = {}
        self._accounts: dict[str, tuple[GrantBalance, int] | None] = {}
        self._keys: set[str] = set()

    def take(self, entry: JournalEntry) -> None:
        """Book one entry."""
        self._check_link(entry)
        transaction = entry.transaction
        self._check_key(transaction)
        for posting in transaction.postings:
            self._post(posting, transaction)
        if transaction.kind == "payment":
            self._pay(transaction)
        if transaction.request_id is not None:
            self._follow(transaction, transaction.request_id)

    def _pay(self, transaction: Transaction) -> None:
        payment_id = transaction.key.partition(":")[2]
        for posting in transaction.postings:
            amount = posting.amount_nanos
            came_in = posting.destination.startswith("money:") - posting.source.startswith("money:")
            self.payments[payment_id] = self.payments.get(payment_id, 0) + came_in * amount

    def _check_link(self, entry: JournalEntry) -> None:
        if entry.sequence != self.sequence + 1:
            self._findings.add(
                "I9", "journal", f"entry {entry.sequence} follows entry {self.sequence}: some are missing"
            )
        if entry.previous_hash != self.head_hash:
            self._findings.add(
                "I9", "journal", f"entry {entry.sequence} does not continue the chain of entry {self.sequence}"
            )
        if entry.hash != link_hash(entry.previous_hash, entry.sequence, entry.transaction):
            message = f"entry {entry.sequence} ({entry.transaction.transaction_id}) was changed: its hash is not that of its content"
            self._findings.add("I9", "journal", message)
        self.sequence, self.head_hash = entry.sequence, entry.hash

    def _check_key(self, transaction: Transaction) -> None:
        """Keys of calls follow from their request, which ``_follow`` tells when it comes twice; the others are remembered."""
        if transaction.kind == "hold" or transaction.kind in _ENDS or transaction.kind in _CORRECTIONS:
            wanted = f"{transaction.kind}:{transaction.request_id}"
            if transaction.key != wanted:
                message = f"its key is {transaction.key!r} and should be {wanted!r}"
                self._findings.add("I7", transaction.transaction_id, message)
            return
        if transaction.kind == _REPRICE and not transaction.key.startswith(f"reprice:{transaction.request_id}:"):
            message = f"its key is {transaction.key!r}, which is not of {transaction.request_id}"
            self._findings.add("I7", transaction.transaction_id, message)
        if transaction.key in self._keys:
            self._findings.add("I7", transaction.transaction_id, f"the key {transaction.key!r} came before")
        else:
            self._keys.add(transaction.key)

    def _post(self, posting: Posting, transaction: Transaction) -> None:
        self.postings += 1
        amount = posting.amount_nanos
        if type(amount) is not int or amount <= 0 or posting.source == posting.destination:
            message = f"it moves {amount!r} from {posting.source} to {posting.destination}"
            self._findings.add("I1", transaction.transaction_id, message)
            return
        source, destination = self._account(posting.source), self._account(posting.destination)
        self._move(posting.source, source, -amount, transaction)
        self._move(posting.destination, destination, amount, transaction)
        if source is not None and destination is None:
            self._leave(source[0], posting, transaction)
        elif source is None and destination is not None:
            self._enter(destination[0], posting, transaction)
        elif source is not None and destination is not None and source[0] is not destination[0]:
            self._findings.add(
                "I1", transaction.transaction_id, f"it moves credit from {posting.source} to {posting.destination}"
            )
        elif source is None and (_kind(posting.source), _kind(posting.destination)) not in _WITHOUT_GRANT:
            self._findings.add(
                "I1", transaction.transaction_id, f"it moves {amount} from {posting.source} to {posting.destination}"
            )

    def _move(
        self, account: str, grant: tuple[GrantBalance, int] | None, amount: int, transaction: Transaction
    ) -> None:
        if grant is None:
            balance = self.balances[account] = self.balances.get(account, 0) + amount
            if account.startswith("debt:") and balance > 0:
                self._findings.add(
                    "I3", transaction.transaction_id, f"{account} was paid {balance} nanos more than was owed"
                )
            return
        owner, part = grant
        owner.parts[part] += amount
        if owner.parts[part] < 0:
            self._findings.add(
                "I3", transaction.transaction_id, f"{account} stands at {owner.parts[part]} nanos after it"
            )
        customer_id = transaction.customer_id or ""
        owner.customer_id = owner.customer_id or customer_id
        if owner.customer_id != customer_id:
            message = f"it moves {account} of {owner.customer_id} for {customer_id or 'nobody'}"
            self._findings.add("I6", transaction.transaction_id, message)
        if part == _FREE:
            self._free[customer_id] = self._free.get(customer_id, 0) + amount

    def _leave(self, grant: GrantBalance, posting: Posting, transaction: Transaction) -> None:
        if posting.destination == BREAKAGE:
            grant.lapsed += posting.amount_nanos
        elif posting.destination == REVENUE or posting.destination.startswith("debt:"):
            grant.spent += posting.amount_nanos
        else:
            self._findings.add(
                "I1", transaction.transaction_id, f"credit goes from {posting.source} to {posting.destination}"
            )

    def _enter(self, grant: GrantBalance, posting: Posting, transaction: Transaction) -> None:
        if posting.source.startswith("funding:"):
            grant.funded += posting.amount_nanos
        elif posting.source == REVENUE:
            grant.spent -= posting.amount_nanos
        else:
            self._findings.add(
                "I1", transaction.transaction_id, f"credit comes from {posting.source} to {posting.destination}"
            )

    def _account(self, account: str) -> tuple[GrantBalance, int] | None:
        """The grant and the part that an account name means; ``None`` for all other accounts."""
        if account not in self._accounts:
            kind, _, rest = account.partition(":")
            grant_id, _, part = rest.rpartition(":")
            if kind != "grant" or part not in ("free", "held"):
                return None
            grant = self.grants.setdefault(grant_id, GrantBalance())
            self._accounts[account] = (grant, _FREE if part == "free" else _HELD)
        return self._accounts[account]

    def _follow(self, transaction: Transaction, request_id: str) -> None:
        if transaction.kind == "hold":
            self._hold(transaction, request_id)
        elif transaction.kind in _ENDS and request_id in self._open:
            self._end(transaction, request_id)
        elif transaction.kind in _CORRECTIONS and request_id in self._to_correct:
            self._correct(transaction, request_id)
        elif transaction.kind == _REPRICE:
            self._reprice(transaction, request_id)
        elif transaction.kind in _ENDS or transaction.kind in _CORRECTIONS:
            message = f"{transaction.transaction_id} is a {transaction.kind} of a request that is not held, or was ended before"
            self._findings.add("I4", request_id, message)
            self._count_money(transaction, request_id)

    def _hold(self, transaction: Transaction, request_id: str) -> None:
        if request_id in self._open:
            self._findings.add(
                "I4", request_id, f"{transaction.transaction_id} holds for it again while a hold is open"
            )
        taken = {p.destination: p.amount_nanos for p in transaction.postings}
        self._open[request_id] = taken
        self._matcher.told(request_id, OPEN, 1)
        self._matcher.told(request_id, HELD, sum(taken.values()))
        customer_id = transaction.customer_id or ""
        left = self._free.get(customer_id, 0) + self.balances.get(f"debt:{customer_id}", 0)
        if transaction.postings and left < 0:
            self._findings.add("I3", request_id, f"{customer_id} was admitted and had {left} nanos of credit left")

    def _end(self, transaction: Transaction, request_id: str) -> None:
        held = self._open.pop(request_id)
        released: dict[str, int] = {}
        for posting in transaction.postings:
            if posting.source.endswith(":held"):
                released[posting.source] = released.get(posting.source, 0) + posting.amount_nanos
        for account in held.keys() | released.keys():
            if held.get(account, 0) != released.get(account, 0):
                message = f"{held.get(account, 0)} nanos were held in {account}, and {released.get(account, 0)} were taken out"
                self._findings.add("I5", request_id, message)
        state = _ENDS[transaction.kind]
        self._matcher.told(request_id, OPEN, -1)
        self._matcher.told(request_id, RESOLVED, 1)
        self._matcher.told(request_id, STATE, STATE_CODES[state])
        self._count_money(transaction, request_id)
        if any(state in ends for _, ends in _CORRECTIONS.values()):
            self._to_correct[request_id] = state

    def _correct(self, transaction: Transaction, request_id: str) -> None:
        state, allowed = _CORRECTIONS[transaction.kind]
        before = self._to_correct.pop(request_id)
        if before not in allowed:
            message = f"{transaction.transaction_id} is a {transaction.kind} of a request that was {before.value}"
            self._findings.add("I4", request_id, message)
        if any(p.source.endswith(":held") for p in transaction.postings):
            self._findings.add(
                "I5", request_id, f"{transaction.transaction_id} corrects it and takes out what was held for others"
            )
        self._matcher.told(request_id, STATE, STATE_CODES[state] - STATE_CODES[before])
        self._count_money(transaction, request_id)

    def _reprice(self, transaction: Transaction, request_id: str) -> None:
        """Any number of times, once it was settled; what it charges and costs is matched with its record."""
        if request_id in self._open or request_id in self._to_correct:
            message = f"{transaction.transaction_id} prices it again before it was settled"
            self._findings.add("I4", request_id, message)
        if any(p.source.endswith(":held") for p in transaction.postings):
            message = f"{transaction.transaction_id} prices it again and takes out what was held for others"
            self._findings.add("I5", request_id, message)
        self._count_money(transaction, request_id)

    def _count_money(self, transaction: Transaction, request_id: str) -> None:
        charge = cost = uncovered = 0
        for p in transaction.postings:
            charge += p.amount_nanos * ((p.destination == REVENUE) - (p.source == REVENUE))
            cost += p.amount_nanos * ((p.destination == COST) - (p.source == COST))
            if p.destination == REVENUE and p.source.startswith("debt:"):
                uncovered += p.amount_nanos
            elif p.source == REVENUE and p.destination.startswith("debt:"):
                uncovered -= p.amount_nanos
        self._matcher.told(request_id, CHARGE, charge)
        self._matcher.told(request_id, COST_FACT, cost)
        self._matcher.told(request_id, UNCOVERED, uncovered)
        self._matcher.told(request_id, EVENTS, 1)


def _kind(account: str) -> str:
    return account.partition(":")[0]
