"""Budgets in a file: ``[budgets."customer:acme charge month"]`` with ``limit``; of a rate also ``burst``; or ``allowed``.

A budget has no name of its own. What it caps, by which measure and in which period is what there is one of, so that is
its name: ``SUBJECT MEASURE PERIOD``, or ``SUBJECT MEASURE`` where nothing is counted.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from lava_proxy.core.budget_text import RATE_MAX, check_period, metadata_subject, read_count, read_limit, read_patterns
from lava_proxy.core.budgets import COUNTED, EACH
from lava_proxy.core.entities import Budget, BudgetMeasure
from lava_proxy.core.errors import InvalidInput
from lava_proxy.services.as_code import Named, Spec, check_fields, read_text, read_texts
from lava_proxy.services.budgets import Budgets, BudgetTerms
from lava_proxy.services.code_plans import check_plan_is_there, plan_name
from lava_proxy.services.customers import Customers
from lava_proxy.services.documents import rate_text
from lava_proxy.services.idempotency import By
from lava_proxy.services.keys import Keys
from lava_proxy.services.plans import Plans

_KINDS = ("customer", "key", "plan", "metadata")
_LISTS = (BudgetMeasure.MODELS, BudgetMeasure.PROVIDERS)
_MONEY = (BudgetMeasure.COST, BudgetMeasure.CHARGE)


class BudgetKind:
    """See ``as_code.CodeKind``. Another limit keeps what is spent; removing one ends it."""

    table = "budgets"
    fixed = frozenset[str]()
    kept = frozenset[str]()

    def __init__(self, budgets: Budgets, customers: Customers, keys: Keys, plans: Plans) -> None:
        self._budgets, self._customers, self._keys, self._plans = budgets, customers, keys, plans

    def read(self, name: str, given: Mapping[str, object]) -> Spec:
        """See ``as_code.CodeKind``."""
        terms = _named(name)
        self._check_subject(name, terms)
        if terms.measure in _LISTS:
            check_fields(given, ("allowed",))
            names = read_texts(given, "allowed", such_as='["gpt-4o-mini*"]')
            return {"allowed": list(read_patterns(",".join(names), field="allowed"))}
        is_rate = terms.measure is BudgetMeasure.RATE
        check_fields(given, ("limit", "burst") if is_rate else ("limit",))
        limit = read_limit(terms.measure, read_text(given, "limit"))
        spec = {"limit": rate_text(limit) if terms.measure in _MONEY else str(limit)}
        if not is_rate:
            return spec
        return {**spec, "burst": str(_burst(read_text(given, "burst", default="1")))}

    def check_all(self, specs: Mapping[str, Spec], named: Named) -> None:
        """See ``as_code.CodeKind``."""
        for name in specs:
            plan = _named(name).plan
            if plan is not None:
                check_plan_is_there(self._plans, name, plan, named)

    def present(self) -> Mapping[str, Spec]:
        """See ``as_code.CodeKind``."""
        return {self._name(budget): _spec(budget) for budget in self._budgets.all()}

    def create(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        terms = _named(name)
        if terms.measure in _LISTS:
            allowed = read_patterns(",".join(read_texts(spec, "allowed", such_as="")), field="allowed")
            self._budgets.set(replace(terms, allowed=allowed), by=by)
            return
        burst = _burst(str(spec["burst"])) if "burst" in spec else 0
        limit = read_limit(terms.measure, str(spec["limit"]))
        self._budgets.set(replace(terms, limit=limit, burst=burst), by=by)

    def update(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        self.create(name, spec, by)

    def remove(self, name: str, by: By) -> None:
        """See ``as_code.CodeKind``."""
        for budget in self._budgets.all():
            if self._name(budget) == name:
                self._budgets.delete(budget.budget_id, by=by)

    def _check_subject(self, name: str, terms: BudgetTerms) -> None:
        """There is such a customer or key; and each subject is written in one way, so that each budget has one name."""
        told, best = terms.customer, terms.customer
        if told is not None and told != EACH:
            customer = self._customers.get(told)
            best = customer.reference_id or customer.customer_id
        if terms.plan is not None:
            told, best = terms.plan, plan_name(self._plans, terms.plan)
        if terms.key is not None and terms.key != EACH:
            told, best = terms.key, self._keys.get(terms.key).key_id
        if best != told:
            raise InvalidInput(f"name: write {name.replace(str(told), str(best), 1)!r}", field="name")

    def _name(self, budget: Budget) -> str:
        kind, _, value = budget.subject.partition(":")
        if kind == "customer" and value != EACH:
            customer = self._customers.get(value)
            value = customer.reference_id or customer.customer_id
        elif kind == "plan":
            value = plan_name(self._plans, value)
        period = f" {budget.period}" if budget.measure in COUNTED else ""
        return f"{kind}:{value} {budget.measure.value}{period}"


def _named(name: str) -> BudgetTerms:
    """The subject, measure and period of a name.

    Raises:
        InvalidInput
    """
    measures = {measure.value: measure for measure in BudgetMeasure}
    rest, _, last = name.rpartition(" ")
    subject, measure, period = rest, measures.get(last), None
    if measure is None:
        subject, _, word = rest.rpartition(" ")
        measure, period = measures.get(word), last
    kind, sign, value = subject.partition(":")
    if measure is None or kind not in _KINDS or not sign or not value:
        raise InvalidInput(
            f"name: {name!r} is not SUBJECT MEASURE PERIOD, such as 'customer:acme charge month', 'plan:Pro rate' or "
            f"'metadata:team=* requests day'; measures are {', '.join(measures)}",
            field="name",
        )
    if measure in COUNTED and period is None:
        raise InvalidInput("name: end it with the period: day, week, month or total", field="name")
    return BudgetTerms(
        measure=measure,
        period=check_period(measure, period),
        customer=value if kind == "customer" else None,
        key=value if kind == "key" else None,
        plan=value if kind == "plan" else None,
        metadata=metadata_subject(value) if kind == "metadata" else None,
    )


def _spec(budget: Budget) -> Spec:
    if budget.measure in _LISTS:
        return {"allowed": list(budget.allowed)}
    limit = rate_text(budget.limit) if budget.measure in _MONEY else str(budget.limit)
    return {"limit": limit, "burst": str(budget.burst)} if budget.measure is BudgetMeasure.RATE else {"limit": limit}


def _burst(text: str) -> int:
    return read_count(text, field="burst", most=RATE_MAX, least=1)
