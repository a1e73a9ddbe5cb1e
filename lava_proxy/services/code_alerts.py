"""Alert rules in a file: ``[alerts.low]`` with ``kind``, ``threshold``, and ``customer``, ``plan`` or ``total``."""

from collections.abc import Mapping

from lava_proxy.core.alert_kinds import BUILT_IN, KINDS
from lava_proxy.core.alert_rows import AlertKind, AlertRule, AlertScope
from lava_proxy.core.alert_units import write_threshold
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ids import PlanId
from lava_proxy.core.plans import FREE_PLAN_ID
from lava_proxy.services.alert_rules import AlertRules, AlertTerms, read_terms
from lava_proxy.services.as_code import Named, Spec, Value, check_fields, read_flag, read_text
from lava_proxy.services.code_plans import check_plan_is_there, plan_name
from lava_proxy.services.customers import Customers
from lava_proxy.services.idempotency import By
from lava_proxy.services.plans import Plans

_FIELDS = ("kind", "threshold", "customer", "plan", "total")


class AlertRuleKind:
    """See ``as_code.CodeKind``. The built-in rules are nobody's to tell: only the operator's own are in a file."""

    table = "alerts"
    fixed = frozenset({"kind", "customer", "plan", "total"})
    kept = frozenset[str]()

    def __init__(self, rules: AlertRules, customers: Customers, plans: Plans) -> None:
        self._rules, self._customers, self._plans = rules, customers, plans

    def read(self, name: str, given: Mapping[str, object]) -> Spec:
        """See ``as_code.CodeKind``."""
        check_fields(given, _FIELDS)
        known = [kind.value for kind in AlertKind]
        kind = read_text(given, "kind")
        if kind not in known:
            raise InvalidInput(f"kind: {kind!r} is none of {', '.join(known)}", field="kind")
        if name in {rule.slug for rule in BUILT_IN}:
            raise InvalidInput(f"name: {name!r} is a built-in rule's; choose another", field="name")
        spec: dict[str, Value] = {"kind": kind}
        if "customer" in given:
            customer = self._customers.get(read_text(given, "customer"))
            spec["customer"] = customer.reference_id or customer.customer_id
        if "plan" in given:
            spec["plan"] = plan_name(self._plans, read_text(given, "plan"))
        if read_flag(given, "total"):
            spec["total"] = True
        threshold = read_text(given, "threshold") if "threshold" in given else None
        value = read_terms(_terms(name, spec, threshold, FREE_PLAN_ID))  # whichever plan it is
        return {**spec, "threshold": write_threshold(value, KINDS[AlertKind(kind)].unit)}

    def check_all(self, specs: Mapping[str, Spec], named: Named) -> None:
        """See ``as_code.CodeKind``: rules are about nothing that another could take."""
        for name, spec in specs.items():
            check_plan_is_there(self._plans, name, str(spec.get("plan", FREE_PLAN_ID)), named)

    def present(self) -> Mapping[str, Spec]:
        """See ``as_code.CodeKind``."""
        own = [each.rule for each in self._rules.all() if each.rule not in BUILT_IN]
        return {rule.slug: self._spec(rule) for rule in own}

    def create(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        plan_id = self._plans.get(str(spec["plan"])).plan.plan_id if "plan" in spec else None
        self._rules.create(_terms(name, spec, str(spec["threshold"]), plan_id), by=by)

    def update(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        self._rules.update(name, str(spec["threshold"]), by=by)

    def remove(self, name: str, by: By) -> None:
        """See ``as_code.CodeKind``."""
        self._rules.delete(name, by=by)

    def _spec(self, rule: AlertRule) -> Spec:
        spec: dict[str, Value] = {"kind": rule.kind.value}
        if rule.scope is AlertScope.CUSTOMER:
            customer = self._customers.get(rule.target)
            spec["customer"] = customer.reference_id or customer.customer_id
        elif rule.scope is AlertScope.PLAN:
            spec["plan"] = plan_name(self._plans, rule.target)
        elif rule.scope is AlertScope.TOTAL:
            spec["total"] = True
        return {**spec, "threshold": write_threshold(rule.threshold, KINDS[rule.kind].unit)}


def _terms(name: str, spec: Spec, threshold: str | None, plan_id: PlanId | None) -> AlertTerms:
    customer = spec.get("customer")
    return AlertTerms(
        kind=AlertKind(str(spec["kind"])),
        threshold=threshold,
        customer=str(customer) if customer is not None else None,
        plan=plan_id if "plan" in spec else None,
        is_total=bool(spec.get("total")),
        slug=name,
    )
