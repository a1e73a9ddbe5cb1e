"""Every projection held against the replayed journal, a row at a time."""

from collections import Counter as Tally
from dataclasses import dataclass, field
from fractions import Fraction

from msgspec.structs import fields

from lava_proxy.core.entities import (
    Budget,
    BudgetAllocation,
    BudgetMeasure,
    Counter,
    Event,
    Grant,
    Hold,
    HoldState,
    RequestRecord,
    Wallet,
)
from lava_proxy.core.journal import BREAKAGE, debt_account
from lava_proxy.core.option_rating import PART_FREE
from lava_proxy.core.periods import FREE
from lava_proxy.core.usage import Usage
from lava_proxy.core.verify_billing import BillingProof
from lava_proxy.core.verify_journal import STATE_CODES, GrantBalance, JournalProof
from lava_proxy.core.verify_match import CHARGE, COST, EVENTS, HELD, OPEN, QUOTE, RESOLVED, STATE, UNCOVERED, Matcher
from lava_proxy.core.verify_report import Finding, Findings

REQUEST_EVENT = "request.settled"
REPRICE_EVENT = "request.repriced"
SWEEP_GRACE_US = 600 * 1_000_000
"""So long after its time a reserved hold must be gone where a proxy runs, which sweeps every few seconds."""
_OPEN_STATES = (HoldState.IN_FLIGHT, HoldState.RESERVED)
_HALF = Fraction(1, 2)
_CORRECTED = {"late", "repriced"}
"""Flags of calls that were brought to their figures after their hold had ended."""
_QUANTITIES = tuple(f.name for f in fields(Usage))
_RUN = "run:"
_COUNTED_PARTS = ("", PART_FREE)
"""Of a breakdown: what counters count."""


@dataclass(slots=True)
class _Run:
    """What the requests of a run come to."""

    charge_nanos: int = 0
    cost_nanos: int = 0


@dataclass(slots=True)
class RowsProof:
    """Takes rows; requests must come before holds, and both before grants, counters and budgets."""

    journal: JournalProof
    matcher: Matcher
    findings: Findings
    now_us: int
    is_swept: bool
    billing: BillingProof
    warnings: list[Finding] = field(default_factory=list[Finding])
    counts: Tally[str] = field(default_factory=Tally[str])
    _units: Tally[tuple[str, str]] = field(default_factory=Tally[tuple[str, str]])
    _runs: dict[str, _Run] = field(default_factory=dict[str, _Run])
    _without_cost: set[str] = field(default_factory=set[str])
    """Requests of runs whose cost nobody knows: their budget keeps what was reserved."""
    _held_by_grant: Tally[str] = field(default_factory=Tally[str])
    _held_by_budget: Tally[tuple[str, int]] = field(default_factory=Tally[tuple[str, int]])
    """By budget and period, as the next two."""
    _calls_by_budget: Tally[tuple[str, int]] = field(default_factory=Tally[tuple[str, int]])
    _spent_by_budget: Tally[tuple[str, int, bool]] = field(default_factory=Tally[tuple[str, int, bool]])
    """Of budgets that are no run's: charge (true) and cost, from ``spending``."""
    _free_held: Tally[tuple[str, str, str]] = field(default_factory=Tally[tuple[str, str, str]])
    _reserved_by_budget: Tally[str] = field(default_factory=Tally[str])
    _lapsed_nanos: int = 0

    def request(self, row: RequestRecord) -> None:
        """A record: its amounts are matched with the journal's, and must agree with each other."""
        self.counts["requests"] += 1
        request_id = row.request_id
        self.matcher.kept(request_id, RESOLVED, 1)
        self.matcher.kept(request_id, CHARGE, row.charge_nanos)
        self.matcher.kept(request_id, COST, row.cost_nanos or 0)
        self.matcher.kept(request_id, UNCOVERED, row.uncovered_nanos)
        self.matcher.kept(request_id, QUOTE, row.quote_nanos)
        self._check_amounts(row)
        units = sum(line.units_micros for line in row.breakdown if line.part in _COUNTED_PARTS)
        if units:
            self._units[row.customer_id or "", row.meter_id] += units
        if row.run_id is not None:
            run = self._runs.setdefault(row.run_id, _Run())
            run.charge_nanos += row.charge_nanos
            run.cost_nanos += row.cost_nanos or 0
            if row.cost_nanos is None:
                self._without_cost.add(request_id)

    def _check_amounts(self, row: RequestRecord) -> None:
        amounts = (row.charge_nanos, row.cost_nanos, row.quote_nanos, row.uncovered_nanos)
        if any(type(amount) is float for amount in (*amounts, *(getattr(row.usage, name) for name in _QUANTITIES))):
            self.findings.add("I8", row.request_id, "an amount or a quantity of it is a float")
        if row.charge_nanos > row.quote_nanos and not {"over_hold", *_CORRECTED} & set(row.flags):
            message = f"{row.charge_nanos} nanos were charged over a hold of {row.quote_nanos}, without a flag"
            self.findings.add("I5", row.request_id, message)
        if row.uncovered_nanos > max(row.charge_nanos - row.quote_nanos, 0) and not _CORRECTED & set(row.flags):
            message = f"{row.uncovered_nanos} nanos are uncovered, more than what was over the hold"
            self.findings.add("I5", row.request_id, message)
        if row.breakdown:
            lines = sum(line.charge_nanos for line in row.breakdown)
            self.findings.compare("I8", row.request_id, "the charge", kept=row.charge_nanos, told=lines)

    def hold(self, row: Hold) -> None:
        """A hold: open or resolved as the journal says, at its amount."""
        self.counts["holds"] += 1
        is_open = row.state in _OPEN_STATES
        self.matcher.kept(row.request_id, HELD, sum(share.amount_nanos for share in row.grants))
        if is_open:
            self.counts["open_holds"] += 1
            self.matcher.kept(row.request_id, OPEN, 1)
            self._open_hold(row)
            return
        self.matcher.kept(row.request_id, STATE, STATE_CODES[row.state])
        self.matcher.told(row.request_id, QUOTE, row.amount_nanos)
        if row.state in (HoldState.SETTLED, HoldState.ORPHANED):
            for share in row.budgets:
                self._calls_by_budget[share.budget_id, share.period_start_us] += 1
                if row.request_id in self._without_cost:
                    self._reserved_by_budget[share.budget_id] += share.amount

    def _open_hold(self, row: Hold) -> None:
        for grant_share in row.grants:
            self._held_by_grant[grant_share.grant_id] += grant_share.amount_nanos
        for budget_share in row.budgets:
            self._held_by_budget[budget_share.budget_id, budget_share.period_start_us] += budget_share.amount
        if row.allowance_micros:
            self._free_held[row.customer_id or "", row.meter_id, FREE + row.cycle] += row.allowance_micros
        if row.overage_nanos:
            self.billing.hold(row.customer_id or "", row.overage_nanos)
        late_us = self.now_us - row.expires_us
        if late_us > 0 and self.is_swept:
            message = f"the hold {row.hold_id} is {row.state.value} and past its time by {late_us // 1_000_000} s"
            if row.state is HoldState.RESERVED and late_us > SWEEP_GRACE_US:
                self.findings.add("I10", row.request_id, message)
            else:
                self.warnings.append(Finding(invariant="I10", subject=row.request_id, message=message))

    def event(self, row: Event) -> None:
        """An event: each end and each correction of a request has one."""
        self.counts["events"] += 1
        if row.kind in (REQUEST_EVENT, REPRICE_EVENT):
            self.matcher.kept(row.key.split(":")[1], EVENTS, 1)

    def grant(self, row: Grant) -> None:
        """A grant: what it keeps is what was moved."""
        self.counts["grants"] += 1
        self._lapsed_nanos += row.lapsed_nanos
        told = self.journal.grants.get(row.grant_id) or GrantBalance()
        compare = self.findings.compare
        compare("I2", row.grant_id, "its amount", kept=row.amount_nanos, told=told.funded)
        compare("I2", row.grant_id, "what is free", kept=row.free_nanos, told=told.parts[0])
        compare("I2", row.grant_id, "what is held", kept=row.held_nanos, told=told.parts[1])
        compare(
            "I2", row.grant_id, "what its open holds hold", kept=row.held_nanos, told=self._held_by_grant[row.grant_id]
        )
        compare("I2", row.grant_id, "what is spent", kept=row.spent_nanos, told=told.spent)
        compare("I2", row.grant_id, "what has lapsed", kept=row.lapsed_nanos, told=told.lapsed)
        if told.customer_id and told.customer_id != row.customer_id:
            self.findings.add(
                "I6", row.grant_id, f"it belongs to {row.customer_id}, and {told.customer_id} by the journal"
            )

    def wallet(self, row: Wallet) -> None:
        """A wallet: what is owed."""
        self.counts["wallets"] += 1
        told = -self.journal.balances.pop(debt_account(row.customer_id), 0)
        self.findings.compare("I2", row.customer_id, "the debt", kept=row.debt_nanos, told=told)

    def counter(self, row: Counter) -> None:
        """A counter: as much as the breakdowns of the requests say; one that resets is summed over its cycles."""
        self._units[row.customer_id, row.meter_id] -= row.count_micros
        told = self._free_held.pop((row.customer_id, row.meter_id, row.cycle), 0)
        subject = f"{row.customer_id or 'merchant'} on {row.meter_id}"
        self.findings.compare("I8", subject, "the free units set aside", kept=row.held_micros, told=told)
        for name, carry in (("charge", row.charge_carry), ("cost", row.cost_carry)):
            if type(carry) is not Fraction or not -_HALF <= carry <= _HALF:
                message = f"on {row.meter_id} the {name} carries {carry} nanos, more than half of one"
                self.findings.add("I8", row.customer_id or "merchant", message)

    def spending(self, share: BudgetAllocation, *, charge_nanos: int, cost_nanos: int | None) -> None:
        """What a call that ended came to, for a budget that it was reserved in."""
        period = (share.budget_id, share.period_start_us)
        self._spent_by_budget[*period, True] += charge_nanos
        self._spent_by_budget[*period, False] += share.amount if cost_nanos is None else cost_nanos

    def budget(self, row: Budget) -> None:
        """A budget: what its open holds and its requests come to, in its present period."""
        subject = f"{row.subject} ({row.budget_id})"
        period = (row.budget_id, row.period_start_us)
        self.findings.compare("I2", subject, "what is held", kept=row.held, told=self._held_by_budget[period])
        self.findings.compare("I2", subject, "what is spent", kept=row.spent, told=self._told_spent(row, period))

    def _told_spent(self, row: Budget, period: tuple[str, int]) -> int:
        if row.measure is BudgetMeasure.REQUESTS:
            return self._calls_by_budget[period]
        is_charge = row.measure is BudgetMeasure.CHARGE
        if not is_charge and row.measure is not BudgetMeasure.COST:
            return 0
        if not row.subject.startswith(_RUN):
            return self._spent_by_budget[*period, is_charge]
        run = self._runs.get(row.subject.removeprefix(_RUN)) or _Run()
        return run.charge_nanos if is_charge else run.cost_nanos + self._reserved_by_budget[row.budget_id]

    def rest(self, grant_ids: set[str]) -> None:
        """What the journal tells of, and no row keeps; and that nobody looks after what is open."""
        if self.counts["open_holds"] and not self.is_swept:
            message = f"{self.counts['open_holds']} holds are open and no proxy runs; the next `lava up` resolves them"
            self.warnings.append(Finding(invariant="I10", subject="holds", message=message))
        for grant_id in self.journal.grants.keys() - grant_ids:
            self.findings.add("I2", grant_id, "the journal moves its credit, and there is no such grant")
        for account, balance in self.journal.balances.items():
            if account.startswith("debt:") and balance:
                self.findings.add(
                    "I2",
                    account.removeprefix("debt:"),
                    f"{-balance} nanos are owed by the journal, and no wallet says so",
                )
        breakage = self.journal.balances.get(BREAKAGE, 0)
        self.findings.compare(
            "I2", "breakage", "the lapsed credit of all grants", kept=self._lapsed_nanos, told=breakage
        )
        for (customer_id, meter_id, cycle), held in self._free_held.items():
            message = f"on {meter_id} {held} free micro-units are set aside in {cycle}, and no counter says so"
            self.findings.add("I8", customer_id or "merchant", message)
        for (customer_id, meter_id), rest in self._units.items():
            if rest:
                message = f"on {meter_id} the counter and the breakdowns of the requests differ by {rest} micro-units"
                self.findings.add("I8", customer_id or "merchant", message)
