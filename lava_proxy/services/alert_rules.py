"""Rules of alerts: made, listed, deleted; and what has fired."""

import re
from collections import deque

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.alert_kinds import BUILT_IN, KINDS
from lava_proxy.core.alert_rows import Alert, AlertKind, AlertRule, AlertRuleStatus, AlertScope, AlertState
from lava_proxy.core.alert_units import Unit, read_threshold, show
from lava_proxy.core.alerts import AlertStamp, Standing, clear, customer_of
from lava_proxy.core.entities import Customer, Entity
from lava_proxy.core.errors import Conflict, InvalidInput, NotFound
from lava_proxy.core.ids import AlertId, AlertRuleId, EventId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger, Rows
from lava_proxy.services.audit import audit
from lava_proxy.services.customers import require_customer
from lava_proxy.services.idempotency import Answer, By, once

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?", re.ASCII)
_PLAN = re.compile(r"sc_[A-Za-z0-9]{1,64}", re.ASCII)
_MAY_BE_NEGATIVE = (AlertKind.MARGIN_BELOW, AlertKind.BALANCE_BELOW)
_NOT_OF_TOTAL = (
    AlertKind.CREDIT_USED,
    AlertKind.BALANCE_BELOW,
    AlertKind.SPEND_PER_CYCLE,
    AlertKind.TOP_UP_FAILED,
    AlertKind.PAYMENT_FAILED,
)


class AlertTerms(Struct, frozen=True, kw_only=True):
    """What is said about a new rule. At most one of ``customer``, ``plan`` and ``is_total``; none: every customer."""

    kind: AlertKind
    threshold: str | None = None
    """As it was written, in the unit of the kind; ``None``: the kind's default."""
    customer: str | None = None
    plan: str | None = None
    is_total: bool = False
    slug: str | None = None
    """``None``: made from the kind and the target."""


class RuleStanding(Struct, frozen=True, kw_only=True):
    """A rule and how many subjects it fires for now."""

    rule: AlertRule
    firing: int


def active_rules(rows: Rows) -> tuple[AlertRule, ...]:
    """All that are looked at: the built-in ones that were not deleted, then the operator's own, oldest first."""
    deleted = {rule.rule_id for rule in rows.find(AlertRule, status=AlertRuleStatus.DELETED.value)}
    own = rows.find(AlertRule, status=AlertRuleStatus.ACTIVE.value)
    return (*(rule for rule in BUILT_IN if rule.rule_id not in deleted), *own)


def find_rule(rows: Rows, reference: str) -> AlertRule:
    """The active rule of this slug or id.

    Raises:
        NotFound
    """
    for rule in active_rules(rows):
        if reference in (rule.slug, rule.rule_id):
            return rule
    raise NotFound(f"There is no alert rule {reference!r}.", hint="`lava alerts rules` shows them all.")


class AlertRules:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids

    def get(self, reference: str) -> AlertRule:
        """
        Raises:
            NotFound
        """
        return self._ledger.read(lambda rows: find_rule(rows, reference))

    def all(self) -> tuple[RuleStanding, ...]:
        """Active rules, built-in ones first."""

        def load(rows: Rows) -> tuple[RuleStanding, ...]:
            return tuple(
                RuleStanding(rule=rule, firing=sum(s.is_firing for s in rows.find(AlertState, rule_id=rule.rule_id)))
                for rule in active_rules(rows)
            )

        return self._ledger.read(load)

    def history(self, *, limit: int = 50, subject: str | None = None, firing_only: bool = False) -> tuple[Alert, ...]:
        """What fired, newest first; messages without names."""
        wanted = (
            alert
            for alert in self._ledger.books().rows(Alert)
            if subject in (None, alert.subject) and not (firing_only and alert.resolved_us is not None)
        )
        return tuple(reversed(deque(wanted, maxlen=limit)))

    def reference_ids(self, alerts: tuple[Alert, ...]) -> dict[str, str | None]:
        """Of the customers that these are about, by subject."""
        ids = {alert.subject: customer_id for alert in alerts if (customer_id := customer_of(alert.subject))}

        def load(rows: Rows) -> dict[str, str | None]:
            found = {subject: rows.get(Customer, customer_id) for subject, customer_id in ids.items()}
            return {subject: customer.reference_id if customer else None for subject, customer in found.items()}

        return self._ledger.read(load)

    def create(self, terms: AlertTerms, *, by: By) -> Answer[AlertRule]:
        """
        Raises:
            InvalidInput: the threshold, the scope or the slug cannot be.
            CustomerNotFound
            Conflict: another active rule has the slug.
        """
        threshold = read_terms(terms)
        now_us, rule_id = self._clock.now_us(), AlertRuleId(self._ids.new("alr"))

        def load(rows: Rows) -> AlertRule:
            rule = _new_rule(rows, terms, threshold, rule_id, now_us)
            if any(rule.slug == other.slug for other in active_rules(rows)):
                raise Conflict(
                    f"There is an alert rule {rule.slug!r} already.",
                    hint=f"Name this one with --name, or `lava alerts delete {rule.slug}` first.",
                    field="name",
                )
            return rule

        def decide(rule: AlertRule) -> Decision[AlertRule]:
            entry = audit(by, now_us=now_us, action="alert.created", subject=rule.rule_id, after=rule)
            return Decision(result=rule, rows=(rule, entry))

        content = ("alerts.create", terms)
        return once(self._ledger, load, decide, by=by, now_us=now_us, kind=AlertRule, content=content)

    def update(self, reference: str, threshold: str, *, by: By) -> Answer[AlertRule]:
        """Another threshold. Where the rule stands stays: the next look tells whether that has changed.

        Raises:
            NotFound, InvalidInput
        """
        now_us = self._clock.now_us()

        def decide(rule: AlertRule) -> Decision[AlertRule]:
            value = _threshold(rule.kind, threshold)
            changed = replace(rule, threshold=value)
            if changed == rule:
                return Decision(result=rule)
            entry = audit(by, now_us=now_us, action="alert.updated", subject=rule.rule_id, before=rule, after=changed)
            return Decision(result=changed, rows=(changed, entry))

        def load(rows: Rows) -> AlertRule:
            rule = find_rule(rows, reference)
            if rule in BUILT_IN:
                raise InvalidInput(
                    f"threshold: {rule.slug} is built in; delete it, and create one of its kind with your own threshold",
                    field="threshold",
                )
            return rule

        content = ("alerts.update", reference, threshold)
        return once(self._ledger, load, decide, by=by, now_us=now_us, kind=AlertRule, content=content)

    def delete(self, reference: str, *, by: By) -> Answer[AlertRule]:
        """No more looks; what it fires for now is resolved, and said so. What it fired stays in the history.

        Raises:
            NotFound
        """
        now_us = self._clock.now_us()

        def load(rows: Rows) -> tuple[AlertRule, tuple[Standing, ...]]:
            rule = find_rule(rows, reference)
            firing = [state for state in rows.find(AlertState, rule_id=rule.rule_id) if state.is_firing]
            return rule, tuple(Standing(state=state, alert=rows.get(Alert, state.alert_id)) for state in firing)

        def decide(state: tuple[AlertRule, tuple[Standing, ...]]) -> Decision[AlertRule]:
            rule, firing = state
            deleted = replace(rule, status=AlertRuleStatus.DELETED)
            entry = audit(by, now_us=now_us, action="alert.deleted", subject=rule.rule_id, before=rule, after=deleted)
            cleared = [row for standing in firing for row in clear(standing, new_stamp(self._ids, now_us))]
            rows: tuple[Entity, ...] = (deleted, *cleared, entry)
            return Decision(result=deleted, rows=rows)

        content = ("alerts.delete", reference)
        return once(self._ledger, load, decide, by=by, now_us=now_us, kind=AlertRule, content=content)


def new_stamp(ids: IdSource, now_us: int) -> AlertStamp:
    return AlertStamp(
        now_us=now_us,
        alert_id=AlertId(ids.new("alt")),
        fired_event_id=EventId(ids.new("evt")),
        resolved_event_id=EventId(ids.new("evt")),
    )


def read_terms(terms: AlertTerms) -> int:
    """The threshold that is meant; the scope and the slug are checked too.

    Raises:
        InvalidInput
    """
    about = KINDS[terms.kind]
    named = [name for name in ("customer", "plan") if getattr(terms, name) is not None]
    named += ["total"] if terms.is_total else []
    if len(named) > 1:
        raise InvalidInput(f"{named[1]}: a rule is about one of them: --{' or --'.join(named)}", field=named[1])
    if about.is_system and named:
        raise InvalidInput(f"{named[0]}: {terms.kind.value} is about this home, not about customers", field=named[0])
    if terms.is_total and terms.kind in _NOT_OF_TOTAL:
        raise InvalidInput(f"total: {terms.kind.value} is a matter of one customer", field="total")
    if terms.plan is not None and not _PLAN.fullmatch(terms.plan):
        raise InvalidInput(f"plan: {terms.plan!r} is no plan; name it by sc_…", field="plan")
    if terms.slug is not None and not _SLUG.fullmatch(terms.slug):
        raise InvalidInput(
            f"name: {terms.slug!r} may have lower-case letters, digits, - and _ only, 1 to 64 of them", field="name"
        )
    if terms.threshold is not None:
        return _threshold(terms.kind, terms.threshold)
    if about.default is None:
        raise InvalidInput(f"threshold: {terms.kind.value} needs one, with --threshold", field="threshold")
    return about.default


def _threshold(kind: AlertKind, text: str) -> int:
    about = KINDS[kind]
    value = read_threshold(text, about.unit)
    if value < 0 and kind not in _MAY_BE_NEGATIVE:
        raise InvalidInput("threshold: it must be 0 or more", field="threshold")
    if value == 0 and not about.fires_below:
        raise InvalidInput("threshold: it must be more than 0, or the rule would always fire", field="threshold")
    return value


def _new_rule(rows: Rows, terms: AlertTerms, threshold: int, rule_id: AlertRuleId, now_us: int) -> AlertRule:
    scope, target, name = AlertScope.EACH, "", ""
    if KINDS[terms.kind].is_system:
        scope = AlertScope.SYSTEM
    elif terms.customer is not None:
        customer = require_customer(rows, terms.customer)
        scope, target = AlertScope.CUSTOMER, customer.customer_id
        name = customer.customer_id[-6:]  # a rule's name outlives the customer's erasure
    elif terms.plan is not None:
        scope, target, name = AlertScope.PLAN, terms.plan, terms.plan
    elif terms.is_total:
        scope, name = AlertScope.TOTAL, "total"
    return AlertRule(
        rule_id=rule_id,
        slug=terms.slug or _slug(terms.kind, name),
        kind=terms.kind,
        scope=scope,
        target=target,
        threshold=threshold,
        created_us=now_us,
    )


def _slug(kind: AlertKind, name: str) -> str:
    if KINDS[kind].is_system:
        name = "own"
    text = f"{kind.value} {name}".lower()
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:64].strip("-")


def threshold_text(rule: AlertRule) -> str:
    """As people read it, with its direction."""
    about = KINDS[rule.kind]
    sign = "<" if about.fires_below else "≥"
    return f"{sign} {show(rule.threshold, about.unit)}"


def unit_of(rule: AlertRule) -> Unit:
    return KINDS[rule.kind].unit
