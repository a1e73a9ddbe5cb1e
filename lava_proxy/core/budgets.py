"""Budgets: caps on spending and requests, limits of rate, lists of allowed models and providers.

A budget caps a subject: ``run:run_…``, ``customer:con_…``, ``key:key_…`` or ``metadata:team=search``. The value ``*`` stands for
each one: every customer, or every end user, then has a count of its own. So does every customer of a ``plan:sc_…``. What a
subject has of its own takes the place of what is for each, of the same measure and period.

Spending is reserved with the hold, in the same step, and counted at what the call came to when it ends. A budget with a
period counts the calls whose hold was taken in it: a call that ends in the next period no longer counts in either.
A rate is a bucket that fills evenly (GCRA): ``arrival_ns`` is when the next request would come if all came evenly.

Which kinds of subject have budgets at all stands in one fact of the home, so that calls nobody capped look up no more.
"""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.billing import Terms
from lava_proxy.core.entities import Budget, BudgetAllocation, BudgetMeasure, HomeFact
from lava_proxy.core.ids import BudgetId, CustomerId, KeyId, Metadata, RunId
from lava_proxy.core.instants import format_instant
from lava_proxy.core.periods import period_end_us, period_start_us
from lava_proxy.core.ports import Rows

GATE_FACT = "budget_subjects"
EACH = "*"
RUN = "run:"
_MINUTE_NS = 60 * 10**9
COUNTED = (BudgetMeasure.COST, BudgetMeasure.CHARGE, BudgetMeasure.REQUESTS)
"""Those that are reserved and counted."""


class Caller(Struct, frozen=True, kw_only=True):
    """By what a call's budgets are found."""

    customer_id: CustomerId | None
    key_id: KeyId | None
    run_id: RunId | None
    metadata: Metadata = ()


class Need(Struct, frozen=True, kw_only=True):
    """What a call asks of its budgets. ``cost_nanos`` is ``None`` where no price is known."""

    charge_nanos: int
    cost_nanos: int | None
    provider: str
    model: str | None
    now_us: int


class Reserved(Struct, frozen=True, kw_only=True):
    allocations: tuple[BudgetAllocation, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Capped(Struct, frozen=True, kw_only=True):
    """Why a call may not go. ``details`` are those of a denial."""

    code: str
    message: str
    details: tuple[tuple[str, str | int], ...] = ()


NOTHING_RESERVED = Reserved()


def subject_kind(subject: str) -> str:
    """``customer`` of ``customer:con_1``, ``metadata:team`` of ``metadata:team=search``; with a star where it means each."""
    kind, _, value = subject.partition("=" if subject.startswith("metadata:") else ":")
    return kind + (EACH if value == EACH else "")


def find_plan(rows: Rows, customer_id: CustomerId | None) -> str | None:
    """The plan that a customer is on."""
    terms = rows.get(Terms, customer_id) if customer_id else None
    return terms.plan_id if terms is not None else None


def load_gate(rows: Rows) -> HomeFact | None:
    """Which kinds of subject have budgets; ``None``: none but runs."""
    return rows.get(HomeFact, GATE_FACT)


def load_budgets(rows: Rows, caller: Caller, gate: HomeFact | None, *, now_us: int) -> tuple[Budget, ...]:
    """Every budget that a call belongs to."""
    of_run = rows.find(Budget, subject=f"{RUN}{caller.run_id}") if caller.run_id else ()
    if gate is None:
        return of_run
    kinds = frozenset(gate.value.split())
    found = list(of_run)
    for kind, sign, value in _names(caller):
        is_each = kind + EACH in kinds
        plans = _of_plan(rows, caller) if kind == "customer" and "plan" in kinds else ()
        if is_each or kind in kinds or plans:
            exact = rows.find(Budget, subject=f"{kind}{sign}{value}")
            each = rows.find(Budget, subject=f"{kind}{sign}{EACH}") if is_each else ()
            found += _merged(exact, (*plans, *each), f"{kind}{sign}{value}", now_us)
    return tuple(found)


def reserve(budgets: Iterable[Budget], need: Need) -> Reserved | Capped:
    """Reserve a call in every budget, or say which one it would pass."""
    allocations: list[BudgetAllocation] = []
    changed: list[Budget] = []
    for budget in budgets:
        if budget.measure is BudgetMeasure.MODELS or budget.measure is BudgetMeasure.PROVIDERS:
            if capped := _not_allowed(budget, need):
                return capped
            continue
        after = _taken(budget, need) if budget.measure is BudgetMeasure.RATE else _held(budget, need)
        if isinstance(after, Capped):
            return after
        changed.append(after)
        if budget.measure in COUNTED:
            amount = after.held - (budget.held if after.period_start_us == budget.period_start_us else 0)
            allocations.append(
                BudgetAllocation(budget_id=budget.budget_id, amount=amount, period_start_us=after.period_start_us)
            )
    return Reserved(allocations=tuple(allocations), budgets=tuple(changed))


def allocations_of_nothing(budgets: Iterable[Budget], *, at_us: int) -> tuple[BudgetAllocation, ...]:
    """For a call that passed without being asked for: it counts when it ends."""
    return tuple(
        BudgetAllocation(
            budget_id=budget.budget_id,
            amount=0,
            period_start_us=max(budget.period_start_us, period_start_us(budget.period, at_us)),
        )
        for budget in budgets
        if budget.measure in COUNTED
    )


def released(budget: Budget, allocation: BudgetAllocation, *, spent: int) -> Budget:
    """The budget after a call of it ended at ``spent``; unchanged where the call belongs to a period that is over."""
    if allocation.period_start_us < budget.period_start_us:
        return budget
    if allocation.period_start_us > budget.period_start_us:
        return replace(budget, period_start_us=allocation.period_start_us, held=0, spent=spent)
    return replace(budget, held=budget.held - allocation.amount, spent=budget.spent + spent)


def corrected(budget: Budget, allocation: BudgetAllocation, *, difference: int) -> Budget:
    """The budget after a call that had ended before turned out otherwise."""
    if allocation.period_start_us < budget.period_start_us:
        return budget
    return replace(budget, spent=budget.spent + difference)


def spent_on(measure: BudgetMeasure, reserved: int, *, charge_nanos: int, cost_nanos: int | None) -> int:
    """What a call counts for; one of unknown cost counts for what was reserved."""
    if measure is BudgetMeasure.REQUESTS:
        return 1
    if measure is BudgetMeasure.CHARGE:
        return charge_nanos
    return reserved if cost_nanos is None else cost_nanos


def current(budget: Budget, now_us: int) -> Budget:
    """The budget in the period of this instant; a clock that goes back does not bring an old period back."""
    if budget.period == "total":
        return budget
    start_us = period_start_us(budget.period, now_us)
    if start_us <= budget.period_start_us:
        return budget
    return replace(budget, period_start_us=start_us, spent=0, held=0)


def _of_plan(rows: Rows, caller: Caller) -> tuple[Budget, ...]:
    """The budgets of the customer's plan: each of its customers has counts of its own."""
    plan_id = find_plan(rows, caller.customer_id)
    return rows.find(Budget, subject=f"plan:{plan_id}") if plan_id else ()


def _names(caller: Caller) -> Iterator[tuple[str, str, str]]:
    """Kind, sign and value of every subject of a call."""
    if caller.customer_id:
        yield "customer", ":", caller.customer_id
    if caller.key_id:
        yield "key", ":", caller.key_id
    for key, value in caller.metadata:
        yield f"metadata:{key}", "=", value


def _merged(exact: tuple[Budget, ...], templates: tuple[Budget, ...], subject: str, now_us: int) -> list[Budget]:
    """The subject's own budgets, and of those for each the ones that none before takes the place of.

    A count of a budget for each keeps what is spent; its terms are always those of its template.
    """
    own = [budget for budget in exact if not budget.template_id and subject_kind(subject)[-1] != EACH]
    taken = {(budget.measure, budget.period) for budget in own}
    counts = {budget.template_id: budget for budget in exact if budget.template_id}
    for template in templates:
        if template.template_id or (template.measure, template.period) in taken:
            continue
        taken.add((template.measure, template.period))
        count = counts.get(template.budget_id) or Budget(
            budget_id=BudgetId(f"{template.budget_id}~{subject.partition(':')[2]}"),
            subject=subject,
            measure=template.measure,
            limit=template.limit,
            period=template.period,
            period_start_us=template.period_start_us,
            template_id=template.budget_id,
            created_us=now_us,
        )
        own.append(replace(count, limit=template.limit, burst=template.burst, allowed=template.allowed))
    return own


def _held(budget: Budget, need: Need) -> Budget | Capped:
    budget = current(budget, need.now_us)
    amount: int | None = need.charge_nanos
    if budget.measure is BudgetMeasure.REQUESTS:
        amount = 1
    elif budget.measure is BudgetMeasure.COST:
        amount = need.cost_nanos
    if amount is None:
        return Capped(code="unpriced_model", message="")
    if budget.spent + budget.held + amount > budget.limit:
        return _over(budget, amount)
    return replace(budget, held=budget.held + amount)


def _taken(budget: Budget, need: Need) -> Budget | Capped:
    """One place in the bucket. After a clock went back, or the burst was made smaller, one place is free."""
    now_ns, interval_ns = need.now_us * 1000, -(-_MINUTE_NS // budget.limit) if budget.limit else _MINUTE_NS
    room_ns = max(budget.burst, 1) * interval_ns
    before_ns = budget.arrival_ns if budget.arrival_ns <= now_ns + room_ns else now_ns + room_ns - interval_ns
    arrival_ns = max(before_ns, now_ns) + interval_ns
    wait_ns = arrival_ns - now_ns - room_ns
    if wait_ns <= 0 and budget.limit:
        return replace(budget, arrival_ns=arrival_ns)
    seconds = max(1, -(-wait_ns // 10**9)) if budget.limit else 60
    details: tuple[tuple[str, str | int], ...] = (
        ("budget_id", budget.budget_id),
        ("subject", budget.subject),
        ("requests_per_minute", budget.limit),
        ("burst", budget.burst),
        ("retry_after_seconds", seconds),
    )
    message = f"At most {budget.limit} requests a minute are allowed for {budget.subject}."
    return Capped(code="rate_limited", message=message, details=details)


def _not_allowed(budget: Budget, need: Need) -> Capped | None:
    is_model = budget.measure is BudgetMeasure.MODELS
    name = need.model if is_model else need.provider
    if name is not None and any(fnmatchcase(name, pattern) for pattern in budget.allowed):
        return None
    details: tuple[tuple[str, str | int], ...] = (
        ("budget_id", budget.budget_id),
        ("subject", budget.subject),
        ("allowed", ", ".join(budget.allowed)),
    )
    if is_model:
        message = f"The model {name or '(unknown)'!r} is not allowed for {budget.subject}."
        return Capped(code="model_not_allowed", message=message, details=details)
    message = f"The provider {name!r} is not allowed for {budget.subject}."
    return Capped(code="provider_not_allowed", message=message, details=details)


def _over(budget: Budget, need: int) -> Capped:
    is_run = budget.subject.startswith(RUN)
    end_us = period_end_us(budget.period, budget.period_start_us)
    figures: tuple[tuple[str, str | int], ...] = (
        ("measure", budget.measure.value),
        ("needed_nanos", need),
        ("limit_nanos", budget.limit),
        ("spent_nanos", budget.spent),
        ("held_nanos", budget.held),
    )
    if is_run:
        message = f"This call could pass the limit on {budget.measure.value}."
        return Capped(code="run_limit_reached", message=message, details=figures)
    names: tuple[tuple[str, str | int], ...] = (
        ("budget_id", budget.budget_id),
        ("subject", budget.subject),
        ("period", budget.period),
        *((("resets_at", format_instant(end_us)),) if end_us is not None else ()),
    )
    message = f"This call could pass the budget on {budget.measure.value} of {budget.subject}."
    if budget.measure is BudgetMeasure.REQUESTS:
        return Capped(code="request_limit_reached", message=message, details=(*figures, *names))
    return Capped(code="budget_exceeded", message=message, details=(*figures, *names))
