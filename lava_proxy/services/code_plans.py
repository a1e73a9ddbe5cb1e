"""Plans in a file: ``[plans.Pro]`` with ``amount`` and ``interval``, which are fixed, and what may change.

The free plan is there without being told: it is in a file only where it differs from what it is at first, and
removing it from there makes it that again.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from lava_proxy.core.billing import AfterGrace, Interval, Plan, Rollover
from lava_proxy.core.budget_text import read_count
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ids import PlanId
from lava_proxy.core.money import parse_amount
from lava_proxy.core.plans import FREE_PLAN, FREE_PLAN_ID, GRACE_DAYS_MAX, TRIAL_DAYS_MAX, check_plan, parse_price
from lava_proxy.services.as_code import Named, Spec, Value, check_fields, read_choice, read_text, read_texts
from lava_proxy.services.documents import rate_text
from lava_proxy.services.idempotency import By
from lava_proxy.services.meters import Meters
from lava_proxy.services.plans import PlanChanges, Plans, PlanTerms

_FIELDS = (
    *("amount", "interval", "included", "rollover", "rollover_cap", "bundle_rollover", "bundle_rollover_cap"),
    *("meters", "trial_days", "overage_cap", "overage_markup", "overage_collect", "grace_days", "after_grace"),
)
_BLANK = replace(FREE_PLAN, plan_id=PlanId("sc_new"))


class PlanKind:
    """See ``as_code.CodeKind``. Removing one archives it: who is on it stays."""

    table = "plans"
    fixed = frozenset({"amount", "interval"})
    kept = frozenset[str]()

    def __init__(self, plans: Plans, meters: Meters) -> None:
        self._plans, self._meters = plans, meters

    def read(self, name: str, given: Mapping[str, object]) -> Spec:
        """See ``as_code.CodeKind``."""
        check_fields(given, _FIELDS)
        meters = read_texts(given, "meters", such_as='["premium"]')
        return _spec(check_plan(_plan(name, given)), meters)

    def check_all(self, specs: Mapping[str, Spec], named: Named) -> None:
        """See ``as_code.CodeKind``."""
        for name, spec in specs.items():
            for slug in _meters(spec):
                if slug not in named["meters"]:
                    raise InvalidInput(f"{name}: meters: there is no meter {slug!r}", field="meters")

    def present(self) -> Mapping[str, Spec]:
        """See ``as_code.CodeKind``."""
        slugs = {priced.meter.meter_id: priced.meter.slug for priced in self._meters.all(include_archived=True)}
        specs = {
            offered.plan.name: _spec(offered.plan, tuple(slugs[meter_id] for meter_id in offered.plan.meter_ids))
            for offered in self._plans.all()
        }
        return {name: spec for name, spec in specs.items() if (name, spec) != (FREE_PLAN.name, _FREE_SPEC)}

    def create(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        if name == self._free_name():
            self.update(name, spec, by)
            return
        plan = _plan(name, spec)
        terms = PlanTerms(
            name=name, amount_nanos=plan.amount_nanos, interval=plan.interval, more=_changes(plan, _meters(spec))
        )
        self._plans.create(terms, by=by)

    def update(self, name: str, spec: Spec, by: By) -> None:
        """See ``as_code.CodeKind``."""
        self._plans.update(name, _changes(_plan(name, spec), _meters(spec)), by=by)

    def remove(self, name: str, by: By) -> None:
        """See ``as_code.CodeKind``."""
        if name == self._free_name():
            self._plans.update(name, _changes(FREE_PLAN, ()), by=by)
            return
        self._plans.archive(name, by=by)

    def _free_name(self) -> str:
        return self._plans.get(FREE_PLAN_ID).plan.name


def plan_name(plans: Plans, reference: str) -> str:
    """How a file names a plan: by its name, or, where it is offered no more or not there, as it was given."""
    names = {offered.plan.plan_id: offered.plan.name for offered in plans.all()}
    return names.get(PlanId(reference), reference)


def check_plan_is_there(plans: Plans, name: str, reference: str, named: Named) -> None:
    """``reference``: of the thing ``name``. An id may be of a plan that is offered no more.

    Raises:
        InvalidInput
    """
    is_free = reference in {offered.plan.name for offered in plans.all() if offered.plan.plan_id == FREE_PLAN_ID}
    if not is_free and reference not in named["plans"] and not reference.startswith("sc_"):
        raise InvalidInput(f"{name}: plan: there is no plan {reference!r}", field="plan")


def _plan(name: str, given: Mapping[str, object]) -> Plan:
    """All but its meters."""
    amount_nanos = parse_price(read_text(given, "amount"), field="amount")
    return replace(
        _BLANK,
        name=name,
        amount_nanos=amount_nanos,
        interval=Interval(read_choice(given, "interval", Interval, default=Interval.MONTH.value)),
        included_nanos=_amount(given, "included", amount_nanos),
        rollover=Rollover(read_choice(given, "rollover", Rollover, default=_BLANK.rollover.value)),
        rollover_cap_nanos=_amount(given, "rollover_cap", None),
        bundle_rollover=Rollover(read_choice(given, "bundle_rollover", Rollover, default=_BLANK.bundle_rollover.value)),
        bundle_rollover_cap_nanos=_amount(given, "bundle_rollover_cap", None),
        trial_days=_days(given, "trial_days", TRIAL_DAYS_MAX, _BLANK.trial_days),
        overage_cap_nanos=parse_price(read_text(given, "overage_cap", default="0"), field="overage_cap"),
        overage_markup_nanos=_amount(given, "overage_markup", 0),
        overage_collect_nanos=_amount(given, "overage_collect", None),
        grace_days=_days(given, "grace_days", GRACE_DAYS_MAX, _BLANK.grace_days),
        after_grace=AfterGrace(read_choice(given, "after_grace", AfterGrace, default=_BLANK.after_grace.value)),
    )


def _changes(plan: Plan, meters: tuple[str, ...]) -> PlanChanges:
    """Everything that may change; the bundle that is bought by itself is told with the bundles."""
    return PlanChanges(
        name=plan.name,
        included_nanos=plan.included_nanos,
        rollover=plan.rollover,
        rollover_cap_nanos=plan.rollover_cap_nanos,
        bundle_rollover=plan.bundle_rollover,
        bundle_rollover_cap_nanos=plan.bundle_rollover_cap_nanos,
        meters=meters,
        trial_days=plan.trial_days,
        overage_cap_nanos=plan.overage_cap_nanos,
        overage_markup_nanos=plan.overage_markup_nanos,
        overage_collect_nanos=plan.overage_collect_nanos,
        grace_days=plan.grace_days,
        after_grace=plan.after_grace,
    )


def _spec(plan: Plan, meters: tuple[str, ...]) -> Spec:
    """One way to write each thing; what has its default is left out, but for price, interval and included credit."""
    optional: dict[str, tuple[Value, bool]] = {
        "rollover": (plan.rollover.value, plan.rollover is not _BLANK.rollover),
        "rollover_cap": (_text(plan.rollover_cap_nanos), plan.rollover_cap_nanos is not None),
        "bundle_rollover": (plan.bundle_rollover.value, plan.bundle_rollover is not _BLANK.bundle_rollover),
        "bundle_rollover_cap": (_text(plan.bundle_rollover_cap_nanos), plan.bundle_rollover_cap_nanos is not None),
        "meters": (list(meters), bool(meters)),
        "trial_days": (str(plan.trial_days), plan.trial_days != _BLANK.trial_days),
        "overage_cap": (_text(plan.overage_cap_nanos), plan.overage_cap_nanos != 0),
        "overage_markup": (_text(plan.overage_markup_nanos), plan.overage_markup_nanos != 0),
        "overage_collect": (_text(plan.overage_collect_nanos), plan.overage_collect_nanos is not None),
        "grace_days": (str(plan.grace_days), plan.grace_days != _BLANK.grace_days),
        "after_grace": (plan.after_grace.value, plan.after_grace is not _BLANK.after_grace),
    }
    return {
        "amount": _text(plan.amount_nanos),
        "interval": plan.interval.value,
        "included": _text(plan.included_nanos),
        **{field: value for field, (value, is_told) in optional.items() if is_told},
    }


def _amount[Default: (int, None)](given: Mapping[str, object], field: str, default: Default) -> int | Default:
    return parse_amount(read_text(given, field), field=field) if field in given else default


def _days(given: Mapping[str, object], field: str, most: int, default: int) -> int:
    return read_count(read_text(given, field, default=str(default)), field=field, most=most)


def _meters(spec: Spec) -> tuple[str, ...]:
    return read_texts(spec, "meters", such_as='["premium"]')


def _text(nanos: int | None) -> str:
    return rate_text(nanos or 0)


_FREE_SPEC = _spec(FREE_PLAN, ())
