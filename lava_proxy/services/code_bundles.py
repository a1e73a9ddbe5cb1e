"""Bundles in a file: ``[bundles."Pro/Ten more"]`` with ``plan``, ``cost``, ``credit`` and ``top_up``."""

from collections.abc import Mapping

from lava_proxy.core.billing import Bundle, Plan
from lava_proxy.core.errors import InvalidInput, NotFound
from lava_proxy.core.ids import BundleId, PlanId
from lava_proxy.core.money import parse_amount
from lava_proxy.core.plans import check_bundle, parse_price
from lava_proxy.services.as_code import Named, Spec, Value, check_fields, read_flag, read_text
from lava_proxy.services.code_plans import check_plan_is_there, plan_name
from lava_proxy.services.documents import rate_text
from lava_proxy.services.idempotency import By
from lava_proxy.services.plans import BundleTerms, PlanChanges, Plans

_FIELDS = ("plan", "cost", "credit", "top_up")


class BundleKind:
    """See ``as_code.CodeKind``. Its name is PLAN/NAME. Removing one archives it."""

    table = "bundles"
    fixed = frozenset({"plan", "cost", "credit"})
    kept = frozenset[str]()

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def read(self, name: str, given: Mapping[str, object]) -> Spec:
        """See ``as_code.CodeKind``."""
        check_fields(given, _FIELDS)
        plan = plan_name(self._plans, read_text(given, "plan"))
        if not name.startswith(f"{plan}/"):
            raise InvalidInput(
                f'plan: the table of a bundle is named PLAN/NAME, such as [bundles."{plan}/Ten more"]', field="plan"
            )
        cost_nanos = parse_price(read_text(given, "cost"), field="cost", allow_zero=False)
        credit_nanos = parse_amount(read_text(given, "credit"), field="credit") if "credit" in given else cost_nanos
        bundle = Bundle(
            bundle_id=BundleId("cb_new"),
            plan_id=PlanId("sc_new"),
            name=name.removeprefix(f"{plan}/"),
            cost_nanos=cost_nanos,
            credit_nanos=credit_nanos,
            created_us=0,
        )
        return _spec(plan, check_bundle(bundle), is_top_up=read_flag(given, "top_up"))

    def check_all(self, specs: Mapping[str, Spec], named: Named) -> None:
        """See ``as_code.CodeKind``."""
        top_ups: dict[str, str] = {}
        for name, spec in specs.items():
            plan = str(spec["plan"])
            check_plan_is_there(self._plans, name, plan, named)
            if spec.get("top_up") and top_ups.setdefault(plan, name) != name:
                raise InvalidInput(
                    f"{name}: top_up: {plan!r} buys only one bundle by itself, and has {top_ups[plan]!r}",
                    field="top_up",
                )

    def present(self) -> Mapping[str, Spec]:
        """See ``as_code.CodeKind``."""
        return {
            name: _spec(plan.name, bundle, is_top_up=_is_top_up(plan, bundle)) for name, plan, bundle in self._all()
        }

    def create(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        plan = str(spec["plan"])
        terms = BundleTerms(
            plan=plan,
            name=name.removeprefix(f"{plan}/"),
            cost_nanos=parse_price(str(spec["cost"]), field="cost"),
            credit_nanos=parse_amount(str(spec["credit"]), field="credit"),
        )
        made = self._plans.create_bundle(terms, by=by).value
        if spec.get("top_up"):
            self._plans.update(plan, PlanChanges(top_up_bundle=made.bundle_id), by=by)

    def update(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``: all that can change is whether its plan buys it by itself."""
        plan, bundle = self._find(name)
        if spec.get("top_up"):
            self._plans.update(plan.plan_id, PlanChanges(top_up_bundle=bundle.bundle_id), by=by)
        else:
            self._no_top_up(plan, bundle, by)

    def remove(self, name: str, by: By) -> None:
        """See ``as_code.CodeKind``."""
        plan, bundle = self._find(name)
        self._no_top_up(plan, bundle, by)
        self._plans.archive_bundle(bundle.bundle_id, by=by)

    def _no_top_up(self, plan: Plan, bundle: Bundle, by: By) -> None:
        """Unless the plan has come to buy another one meanwhile."""
        if _is_top_up(plan, bundle):
            self._plans.update(plan.plan_id, PlanChanges(top_up_bundle=None), by=by)

    def _find(self, name: str) -> tuple[Plan, Bundle]:
        for known, plan, bundle in self._all():
            if known == name:
                return plan, bundle
        raise NotFound(f"There is no bundle {name!r} any more.", field="bundle")

    def _all(self) -> list[tuple[str, Plan, Bundle]]:
        """Those that are sold. Of several of one name the later ones have their id in it."""
        found: dict[str, tuple[Plan, Bundle]] = {}
        for offered in self._plans.all():
            for bundle in sorted(offered.bundles, key=lambda one: one.bundle_id):
                name = f"{offered.plan.name}/{bundle.name}"
                found[f"{name} ({bundle.bundle_id})" if name in found else name] = (offered.plan, bundle)
        return [(name, plan, bundle) for name, (plan, bundle) in found.items()]


def _spec(plan: str, bundle: Bundle, *, is_top_up: bool) -> Spec:
    spec: dict[str, Value] = {
        "plan": plan,
        "cost": rate_text(bundle.cost_nanos),
        "credit": rate_text(bundle.credit_nanos),
    }
    return {**spec, "top_up": True} if is_top_up else spec


def _is_top_up(plan: Plan, bundle: Bundle) -> bool:
    return plan.top_up_bundle_id == bundle.bundle_id
