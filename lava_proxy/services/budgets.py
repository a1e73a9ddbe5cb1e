"""Budgets: set, looked at and taken away. A change binds the very next call, since every call reads them with its hold."""

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.budget_text import is_for_each
from lava_proxy.core.budgets import COUNTED, EACH, GATE_FACT, RUN, current, subject_kind
from lava_proxy.core.entities import Budget, BudgetMeasure, Customer, Entity, HomeFact, Key
from lava_proxy.core.errors import InvalidInput, NotFound
from lava_proxy.core.ids import BudgetId
from lava_proxy.core.periods import period_end_us, period_start_us
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.audit import audit
from lava_proxy.services.customers import require_customer
from lava_proxy.services.documents import Document, amount, instant
from lava_proxy.services.idempotency import Answer, By, once
from lava_proxy.services.plans import require_plan


class BudgetTerms(Struct, frozen=True, kw_only=True):
    """What is said about a budget. Exactly one of the four subjects is given; ``*`` means each customer or key."""

    measure: BudgetMeasure
    limit: int = 0
    """Nano-dollars, requests, or requests a minute."""
    burst: int = 0
    allowed: tuple[str, ...] = ()
    period: str = "total"
    customer: str | None = None
    key: str | None = None
    plan: str | None = None
    metadata: str | None = None
    """A whole subject: see ``budget_text.metadata_subject``."""


class Budgets:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids

    def set(self, terms: BudgetTerms, *, by: By) -> Answer[Budget]:
        """Make a budget, or change the one of the same subject, measure and period; what it has counted stays.

        Raises:
            InvalidInput, CustomerNotFound
            NotFound: there is no such key or plan.
        """
        now_us = self._clock.now_us()
        new_id = BudgetId(self._ids.new("bud"))

        def load(rows: Rows) -> tuple[Budget | None, HomeFact | None, str]:
            subject = _subject(rows, terms)
            own = (b for b in rows.find(Budget, subject=subject) if not b.template_id)
            found = next((b for b in own if (b.measure, b.period) == (terms.measure, terms.period)), None)
            return found, rows.get(HomeFact, GATE_FACT), subject

        def decide(state: tuple[Budget | None, HomeFact | None, str]) -> Decision[Budget]:
            before, gate, subject = state
            after = replace(
                before or _new(new_id, subject, terms, now_us),
                limit=terms.limit,
                burst=terms.burst,
                allowed=terms.allowed,
            )
            if after == before:
                return Decision(result=after)
            entry = audit(by, now_us=now_us, action="budget.set", subject=after.budget_id, before=before, after=after)
            return Decision(result=after, rows=(after, *_gate_with(gate, subject), entry))

        return once(self._ledger, load, decide, by=by, now_us=now_us, kind=Budget, content=("budgets.set", terms))

    def all(self, *, customer: str | None = None, each: bool = False) -> tuple[Budget, ...]:
        """Those that people have set, in their present periods; ``each``: also the counts of budgets for each.

        Raises:
            CustomerNotFound
        """
        now_us = self._clock.now_us()
        subject = None
        if customer is not None:
            subject = f"customer:{self._ledger.read(lambda rows: require_customer(rows, customer).customer_id)}"
        return tuple(
            current(budget, now_us)
            for budget in self._ledger.books().rows(Budget)
            if budget.ended_us is None
            and not budget.subject.startswith(RUN)
            and (each or subject is not None or not budget.template_id)
            and subject in (None, budget.subject)
        )

    def get(self, budget_id: str) -> Budget:
        """
        Raises:
            NotFound
        """
        return current(self._ledger.read(lambda rows: _require(rows, budget_id)), self._clock.now_us())

    def delete(self, budget_id: str, *, by: By) -> Answer[Budget]:
        """It caps nothing any more. Calls in flight finish; again changes nothing.

        Raises:
            NotFound
        """
        now_us = self._clock.now_us()

        def decide(before: Budget) -> Decision[Budget]:
            if before.ended_us is not None:
                return Decision(result=before)
            after = replace(before, ended_us=now_us)
            entry = audit(by, now_us=now_us, action="budget.delete", subject=budget_id, before=before, after=after)
            rows: tuple[Entity, ...] = (after, entry)
            return Decision(result=after, rows=rows)

        return once(
            self._ledger,
            lambda rows: _require(rows, budget_id),
            decide,
            by=by,
            now_us=now_us,
            kind=Budget,
            content=("budgets.delete", budget_id),
        )


def budget_document(budget: Budget) -> Document:
    """Amounts as in all documents; counts of requests as numbers."""
    is_money = budget.measure in (BudgetMeasure.COST, BudgetMeasure.CHARGE)

    def shown(value: int) -> str | int | None:
        return amount(value) if is_money else value

    document: Document = {
        "budget_id": budget.budget_id,
        "subject": budget.subject,
        "measure": budget.measure.value,
    }
    if budget.measure in COUNTED:
        end_us = period_end_us(budget.period, budget.period_start_us)
        document |= {"limit": shown(budget.limit), "period": budget.period}
        if not is_for_each(budget.subject):
            document |= {
                "spent": shown(budget.spent),
                "held": shown(budget.held),
                "left": shown(max(0, budget.limit - budget.spent - budget.held)),
                "resets_at": instant(end_us),
            }
    elif budget.measure is BudgetMeasure.RATE:
        document |= {"requests_per_minute": budget.limit, "burst": budget.burst}
    else:
        document["allowed"] = list(budget.allowed)
    return {**document, "created_at": instant(budget.created_us), "ended_at": instant(budget.ended_us)}


def _new(budget_id: BudgetId, subject: str, terms: BudgetTerms, now_us: int) -> Budget:
    return Budget(
        budget_id=budget_id,
        subject=subject,
        measure=terms.measure,
        limit=terms.limit,
        period=terms.period,
        period_start_us=period_start_us(terms.period, now_us),
        created_us=now_us,
    )


def _subject(rows: Rows, terms: BudgetTerms) -> str:
    given = [name for name in (terms.customer, terms.key, terms.plan, terms.metadata) if name is not None]
    if len(given) != 1:
        raise InvalidInput(
            "subject: say whom it caps, by exactly one of customer, key, plan and metadata", field="subject"
        )
    if terms.metadata is not None:
        return terms.metadata
    if given[0] == EACH and terms.plan is None:
        return f"{'customer' if terms.customer else 'key'}:{EACH}"
    if terms.customer is not None:
        customer: Customer = require_customer(rows, terms.customer)
        return f"customer:{customer.customer_id}"
    if terms.key is not None:
        if rows.get(Key, terms.key) is None:
            raise NotFound(f"There is no key {terms.key!r}.", hint="`lava keys list` shows them all.")
        return f"key:{terms.key}"
    return _plan_subject(rows, terms.plan or "")


def _plan_subject(rows: Rows, reference: str) -> str:
    """The subject of a plan, named by its id or its name."""
    return f"plan:{require_plan(rows, reference).plan_id}"


def _gate_with(gate: HomeFact | None, subject: str) -> tuple[HomeFact, ...]:
    """The kinds of subject that have budgets, with this one."""
    kinds = set(gate.value.split()) if gate is not None else set()
    kind = subject_kind(subject)
    if kind in kinds:
        return ()
    return (HomeFact(name=GATE_FACT, value=" ".join(sorted({*kinds, kind}))),)


def _require(rows: Rows, budget_id: str) -> Budget:
    found = rows.get(Budget, budget_id)
    if found is None or found.subject.startswith(RUN):
        raise NotFound(f"There is no budget {budget_id!r}.", hint="`lava budgets list` shows them all.")
    return found
