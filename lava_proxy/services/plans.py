"""Plans and their bundles: made, changed, archived. Price and interval never change; what does holds from the next cycle on."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from lava_proxy.core.billing import (
    AfterGrace,
    Bundle,
    Interval,
    Plan,
    PlanStatus,
    Rollover,
    Subscription,
    SubscriptionStatus,
)
from lava_proxy.core.drafts import Draft
from lava_proxy.core.entities import AuditEntry
from lava_proxy.core.errors import Conflict, InvalidInput, NotFound, Refused
from lava_proxy.core.ids import BundleId, CustomerId, MeterId, PlanId
from lava_proxy.core.plans import FREE_PLAN, FREE_PLAN_ID, check_bundle, check_plan, find_plan
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.services.billing import BillingDesk
from lava_proxy.services.idempotency import Answer, By, once
from lava_proxy.services.keys import active_meter


class OfferedPlan(Struct, frozen=True, kw_only=True):
    """A plan with its bundles."""

    plan: Plan
    bundles: tuple[Bundle, ...]


class PlanChanges(Struct, frozen=True, kw_only=True):
    """What shall change; what is not set is kept. ``None`` takes a cap, a threshold or a default away."""

    name: str | UnsetType = UNSET
    included_nanos: int | UnsetType = UNSET
    rollover: Rollover | UnsetType = UNSET
    rollover_cap_nanos: int | UnsetType | None = UNSET
    bundle_rollover: Rollover | UnsetType = UNSET
    bundle_rollover_cap_nanos: int | UnsetType | None = UNSET
    meters: tuple[str, ...] | UnsetType = UNSET
    top_up_bundle: str | UnsetType | None = UNSET
    trial_days: int | UnsetType = UNSET
    overage_cap_nanos: int | UnsetType = UNSET
    overage_markup_nanos: int | UnsetType = UNSET
    overage_collect_nanos: int | UnsetType | None = UNSET
    grace_days: int | UnsetType = UNSET
    after_grace: AfterGrace | UnsetType = UNSET


class PlanTerms(Struct, frozen=True, kw_only=True):
    """What is said about a new plan. Included credit is the price where it is not said."""

    name: str
    amount_nanos: int
    interval: Interval
    more: PlanChanges = PlanChanges()


class BundleTerms(Struct, frozen=True, kw_only=True):
    plan: str
    name: str
    cost_nanos: int
    credit_nanos: int


class Plans:
    def __init__(self, *, desk: BillingDesk) -> None:
        self._desk = desk

    def get(self, reference: str) -> OfferedPlan:
        """
        Raises:
            NotFound
        """
        return self._desk.ledger.read(lambda rows: _offered(rows, require_plan(rows, reference)))

    def all(self, *, include_archived: bool = False) -> tuple[OfferedPlan, ...]:
        """By age; the free plan first."""
        found = list(self._desk.ledger.books().rows(Plan))
        if not any(plan.plan_id == FREE_PLAN_ID for plan in found):
            found.append(FREE_PLAN)
        shown = [plan for plan in found if include_archived or plan.status is PlanStatus.ACTIVE]
        shown.sort(key=lambda plan: (plan.created_us, plan.plan_id))
        return self._desk.ledger.read(lambda rows: tuple(_offered(rows, plan) for plan in shown))

    def create(self, terms: PlanTerms, *, by: By) -> Answer[Plan]:
        """
        Raises:
            InvalidInput, MeterNotFound
            Conflict: an active plan has this name.
        """
        now_us = self._desk.clock.now_us()
        blank = Plan(
            plan_id=PlanId(self._desk.ids.new("sc")),
            name=terms.name,
            amount_nanos=terms.amount_nanos,
            interval=terms.interval,
            included_nanos=terms.amount_nanos,
            created_us=now_us,
        )

        def load(rows: Rows) -> Plan:
            plan = _apply(rows, blank, terms.more)
            _check_name_is_free(rows, plan)
            return plan

        return self._write("plan.create", load, by=by, content=("plans.create", terms))

    def update(self, reference: str, changes: PlanChanges, *, by: By) -> Answer[Plan]:
        """
        Raises:
            NotFound, InvalidInput, MeterNotFound
            Conflict: an active plan has the new name.
        """

        def load(rows: Rows) -> Plan:
            plan = _apply(rows, require_plan(rows, reference), changes)
            _check_name_is_free(rows, plan)
            return plan

        return self._write("plan.update", load, by=by, content=("plans.update", reference, changes))

    def archive(self, reference: str, *, by: By, undo: bool = False) -> Answer[Plan]:
        """Offer it no more; who is on it stays. Again changes nothing.

        Raises:
            NotFound
            Refused: it is the free plan.
        """
        status = PlanStatus.ACTIVE if undo else PlanStatus.ARCHIVED

        def load(rows: Rows) -> Plan:
            plan = require_plan(rows, reference)
            if plan.plan_id == FREE_PLAN_ID:
                raise Refused("The free plan stays: customers fall back to it.")
            if undo:
                _check_name_is_free(rows, plan)
            return replace(plan, status=status)

        return self._write("plan.archive", load, by=by, content=("plans.archive", reference, undo))

    def subscribers(self, plan_id: PlanId) -> tuple[Subscription, ...]:
        """Whose subscription is on it and has not ended."""
        found = self._desk.ledger.books().rows(Subscription)
        return tuple(s for s in found if s.plan_id == plan_id and s.status is not SubscriptionStatus.CANCELLED)

    def migrate(self, source: str, target: str, *, by: By) -> int:
        """Take every subscriber to another plan with their next cycle, but for those who leave; gives how many.

        Raises:
            NotFound
            Refused: the target is archived, or the same.
        """
        old, new = self.get(source).plan, self.get(target).plan
        if new.status is not PlanStatus.ACTIVE or new.plan_id == old.plan_id:
            raise Refused(f"Nobody can be taken from {old.name!r} to {new.name!r}.")
        return sum(self._migrate(s, new, by) for s in self.subscribers(old.plan_id) if not s.is_cancelling)

    def _migrate(self, subscription: Subscription, plan: Plan, by: By) -> bool:
        def rule(draft: Draft) -> bool:
            current = draft.subscription
            if current is None or current.plan_id != subscription.plan_id or current.is_cancelling:
                return False
            draft.plans[plan.plan_id] = plan
            draft.change(pending_plan_id=plan.plan_id)
            return True

        now_us = self._desk.clock.now_us()
        return self._desk.step(CustomerId(subscription.customer_id), rule, actor=by.actor, now_us=now_us)

    def bundles(self, plan: str | None = None) -> tuple[Bundle, ...]:
        """
        Raises:
            NotFound
        """
        if plan is not None:
            return self.get(plan).bundles
        return tuple(b for b in self._desk.ledger.books().rows(Bundle) if b.status is PlanStatus.ACTIVE)

    def create_bundle(self, terms: BundleTerms, *, by: By) -> Answer[Bundle]:
        """
        Raises:
            NotFound, InvalidInput
        """
        now_us = self._desk.clock.now_us()
        bundle_id = BundleId(self._desk.ids.new("cb"))

        def load(rows: Rows) -> Bundle:
            plan = require_plan(rows, terms.plan)
            made = Bundle(
                bundle_id=bundle_id,
                plan_id=plan.plan_id,
                name=terms.name,
                cost_nanos=terms.cost_nanos,
                credit_nanos=terms.credit_nanos,
                created_us=now_us,
            )
            return check_bundle(made)

        def decide(bundle: Bundle) -> Decision[Bundle]:
            entry = _entry("bundle.create", bundle.bundle_id, bundle, by, now_us)
            return Decision(result=bundle, rows=(bundle, entry))

        content = ("bundles.create", terms)
        return once(self._desk.ledger, load, decide, by=by, now_us=now_us, kind=Bundle, content=content)

    def archive_bundle(self, bundle_id: str, *, by: By) -> Answer[Bundle]:
        """Sell it no more. Again changes nothing.

        Raises:
            NotFound
            Refused: it is its plan's default top-up.
        """
        now_us = self._desk.clock.now_us()

        def load(rows: Rows) -> Bundle:
            bundle = require_bundle(rows, bundle_id)
            plan = find_plan(rows, bundle.plan_id)
            if plan is not None and plan.top_up_bundle_id == bundle_id:
                raise Refused(f"It is the default top-up of {plan.name!r}.")
            return replace(bundle, status=PlanStatus.ARCHIVED)

        def decide(bundle: Bundle) -> Decision[Bundle]:
            return Decision(result=bundle, rows=(bundle, _entry("bundle.archive", bundle_id, None, by, now_us)))

        content = ("bundles.archive", bundle_id)
        return once(self._desk.ledger, load, decide, by=by, now_us=now_us, kind=Bundle, content=content)

    def _write(self, action: str, load: Callable[[Rows], Plan], *, by: By, content: tuple[object, ...]) -> Answer[Plan]:
        now_us = self._desk.clock.now_us()

        def decide(plan: Plan) -> Decision[Plan]:
            return Decision(result=plan, rows=(plan, _entry(action, plan.plan_id, plan, by, now_us)))

        return once(self._desk.ledger, load, decide, by=by, now_us=now_us, kind=Plan, content=content)


def require_plan(rows: Rows, reference: str) -> Plan:
    """
    Raises:
        NotFound
    """
    found = find_plan(rows, reference)
    if found is None:
        raise NotFound(f"There is no plan {reference!r}.", hint="`lava plans list` shows them all.", field="plan")
    return found


def require_bundle(rows: Rows, bundle_id: str) -> Bundle:
    """
    Raises:
        NotFound
    """
    found = rows.get(Bundle, bundle_id)
    if found is None:
        raise NotFound(f"There is no bundle {bundle_id!r}.", hint="`lava bundles list` shows them all.", field="bundle")
    return found


def bundle_of(rows: Rows, bundle_id: str, plan: Plan) -> Bundle:
    """A bundle that is sold with this plan.

    Raises:
        NotFound
        InvalidInput: it is another plan's, or no longer sold.
    """
    bundle = require_bundle(rows, bundle_id)
    if bundle.plan_id != plan.plan_id:
        raise InvalidInput(f"bundle: {bundle_id} belongs to another plan than {plan.name!r}", field="bundle")
    if bundle.status is not PlanStatus.ACTIVE:
        raise InvalidInput(f"bundle: {bundle_id} is no longer sold", field="bundle")
    return bundle


def _apply(rows: Rows, plan: Plan, changes: PlanChanges) -> Plan:
    given: dict[str, Any] = {
        name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not UNSET
    }
    if "meters" in given:
        given["meter_ids"] = tuple(MeterId(active_meter(rows, meter)) for meter in given.pop("meters"))
    if "top_up_bundle" in given:
        wanted = given.pop("top_up_bundle")
        given["top_up_bundle_id"] = bundle_of(rows, wanted, plan).bundle_id if wanted else None
    return check_plan(replace(plan, **given))


def _check_name_is_free(rows: Rows, plan: Plan) -> None:
    taken = find_plan(rows, plan.name)
    if taken is not None and taken.plan_id != plan.plan_id:
        raise Conflict(f"A plan with the name {plan.name!r} exists already.", field="name")


def _offered(rows: Rows, plan: Plan) -> OfferedPlan:
    bundles = [b for b in rows.find(Bundle, plan_id=plan.plan_id) if b.status is PlanStatus.ACTIVE]
    return OfferedPlan(plan=plan, bundles=tuple(bundles))


def _entry(action: str, subject: str, after: Plan | Bundle | None, by: By, now_us: int) -> AuditEntry:
    text = msgspec.json.encode(after).decode() if after is not None else ""
    return AuditEntry(at_us=now_us, actor=by.actor, action=action, subject=subject, after=text)
