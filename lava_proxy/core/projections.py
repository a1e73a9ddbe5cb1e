"""Each projection held against the replayed journal: pure comparisons, one function per kind of row."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from fractions import Fraction

from lava_proxy.core.entities import Budget, BudgetMeasure, Counter, Grant, Hold, HoldState, RequestRecord, Wallet
from lava_proxy.core.journal import debt_account, free_account, held_account
from lava_proxy.core.replay import Finding, Replay

OPEN = (HoldState.IN_FLIGHT, HoldState.RESERVED)
_HALF = Fraction(1, 2)


def check_grant(grant: Grant, replay: Replay, held_nanos: int) -> Iterator[Finding]:
    """``held_nanos``: what the open holds have set aside from it."""
    pairs = (
        ("amount", grant.amount_nanos, replay.granted.get(grant.grant_id, 0)),
        ("free", grant.free_nanos, replay.balance(free_account(grant.grant_id))),
        ("held", grant.held_nanos, replay.balance(held_account(grant.grant_id))),
    )
    for name, kept, told in pairs:
        if kept != told:
            message = f"{name} is {kept} nanos, and {told} by the journal"
            yield Finding(invariant="I2", subject=grant.grant_id, message=message)
    if grant.held_nanos != held_nanos:
        message = f"held is {grant.held_nanos} nanos, but its open holds come to {held_nanos}"
        yield Finding(invariant="I2", subject=grant.grant_id, message=message)


def check_wallet(wallet: Wallet, replay: Replay) -> Iterator[Finding]:
    told = -replay.balance(debt_account(wallet.customer_id))
    if wallet.debt_nanos != told:
        message = f"the debt is {wallet.debt_nanos} nanos, and {told} by the journal"
        yield Finding(invariant="I2", subject=wallet.customer_id, message=message)


def check_hold(hold: Hold, replay: Replay) -> Iterator[Finding]:
    seen = replay.requests.get(hold.request_id)
    if seen is None:
        yield Finding(invariant="I4", subject=hold.request_id, message=f"the hold {hold.hold_id} is not in the journal")
    elif not _is_same_state(hold.state, seen.state):
        message = f"the hold {hold.hold_id} is {hold.state.value}, and {seen.state.value} by the journal"
        yield Finding(invariant="I4", subject=hold.request_id, message=message)


def check_overdue(hold: Hold, *, now_us: int, grace_us: int) -> Iterator[Finding]:
    """Of a reserved hold, where somebody sweeps."""
    if hold.state is HoldState.RESERVED and hold.expires_us + grace_us < now_us:
        message = f"the hold {hold.hold_id} should have expired, and is still reserved"
        yield Finding(invariant="I10", subject=hold.request_id, message=message)


def check_record(record: RequestRecord, replay: Replay) -> Iterator[Finding]:
    seen = replay.requests.get(record.request_id)
    if seen is None or seen.state in OPEN:
        was = "never held" if seen is None else "not resolved"
        yield Finding(
            invariant="I6", subject=record.request_id, message=f"there is a record of a request that was {was}"
        )
        return
    for name, kept, told in (
        ("charge", record.charge_nanos, seen.charge_nanos),
        ("cost", record.cost_nanos or 0, seen.cost_nanos),
    ):
        if kept != told:
            message = f"the {name} is {kept} nanos, and {told} by the journal"
            yield Finding(invariant="I6", subject=record.request_id, message=message)
    if record.charge_nanos > record.quote_nanos and not {"over_hold", "late"} & set(record.flags):
        message = f"{record.charge_nanos} nanos were charged over a hold of {record.quote_nanos}, without a flag"
        yield Finding(invariant="I5", subject=record.request_id, message=message)
    if record.uncovered_nanos > max(record.charge_nanos - record.quote_nanos, 0) and "late" not in record.flags:
        message = f"{record.uncovered_nanos} nanos are uncovered, more than what was over the hold"
        yield Finding(invariant="I5", subject=record.request_id, message=message)
    lines = sum(line.charge_nanos for line in record.breakdown)
    if record.breakdown and lines != record.charge_nanos:
        message = f"the breakdown comes to {lines} nanos, the charge to {record.charge_nanos}"
        yield Finding(invariant="I8", subject=record.request_id, message=message)


def check_counter(counter: Counter, counted_micros: int) -> Iterator[Finding]:
    """``counted_micros``: the units in the breakdowns of this customer and meter."""
    subject = counter.customer_id or "merchant"
    if counter.count_micros != counted_micros:
        message = f"on {counter.meter_id} {counter.count_micros} were counted, and {counted_micros} by the records"
        yield Finding(invariant="I8", subject=subject, message=message)
    for name, carry in (("charge", counter.charge_carry), ("cost", counter.cost_carry)):
        if not -_HALF <= carry <= _HALF:
            message = f"on {counter.meter_id} the {name} carries {carry} nanos"
            yield Finding(invariant="I8", subject=subject, message=message)


def check_budget(budget: Budget, *, held: int, spent: int) -> Iterator[Finding]:
    """``held`` and ``spent`` come from the holds and records that name it."""
    for name, kept, told in (("held", budget.held, held), ("spent", budget.spent, spent)):
        if kept != told:
            message = f"the budget {budget.budget_id} has {name} {kept}, and {told} by its requests"
            yield Finding(invariant="I2", subject=budget.subject, message=message)


def budget_share(budget: Budget, hold: Hold, reserved: int, record: RequestRecord | None) -> tuple[int, int]:
    """What a hold adds to a budget's held and spent."""
    if hold.state in OPEN:
        return reserved, 0
    if hold.state in (HoldState.VOIDED, HoldState.EXPIRED) or record is None:
        return 0, 0
    if budget.measure is BudgetMeasure.REQUESTS:
        return 0, 1
    if budget.measure is BudgetMeasure.CHARGE:
        return 0, record.charge_nanos
    return 0, reserved if record.cost_nanos is None else record.cost_nanos


def missing_records(replay: Replay, recorded: AbstractSet[str]) -> Iterator[Finding]:
    """Requests that the journal resolved and nobody recorded."""
    for request_id, seen in replay.requests.items():
        if seen.state not in OPEN and request_id not in recorded:
            yield Finding(invariant="I6", subject=request_id, message=f"it was {seen.state.value} and has no record")


def _is_same_state(kept: HoldState, told: HoldState) -> bool:
    """The journal does not tell a reserved hold from one in flight: both are open."""
    return kept is told or (kept in OPEN and told in OPEN)
