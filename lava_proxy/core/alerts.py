"""When an alert fires, and when it has cleared: pure rules over facts that somebody read.

A rule fires at the crossing of its threshold, once, and may fire again only after its condition has cleared, or in a new
period (``Reading.epoch``) where it is about one. A fact that is not known (``None``) changes nothing. Where a rule stands
is a row that is written together with what fired, so a restart changes nothing either.
"""

import json

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.alert_kinds import KINDS, WHOLE
from lava_proxy.core.alert_rows import Alert, AlertKind, AlertRule, AlertScope, AlertState
from lava_proxy.core.alert_units import show
from lava_proxy.core.entities import Entity, Event
from lava_proxy.core.ids import AlertId, CustomerId, EventId
from lava_proxy.core.instants import format_instant

TOTAL = "total"
SYSTEM = "system"
_OF_PROCESS = "system:"
FIRED = "alert.fired"
RESOLVED = "alert.resolved"
ALERT_EVENTS = (FIRED, RESOLVED)
TRAILING_DAYS = 7
TRAILING_DAYS_MIN = 3
"""Of the trailing days so many must have seen a charge, or nothing is called an anomaly."""


class CycleFacts(Struct, frozen=True, kw_only=True):
    """A customer's present billing cycle."""

    cycle: str
    """Which cycle: another name is another cycle."""
    granted_nanos: int
    used_nanos: int
    charge_nanos: int


class PaymentFacts(Struct, frozen=True, kw_only=True):
    """The last payment and top-up that failed and that no later one made good, by id; ``None``: all is well."""

    failed_payment: str | None = None
    failed_top_up: str | None = None


class AlertFacts(Struct, frozen=True, kw_only=True):
    """What rules about money look at, of one customer or of all calls together. ``None``: not known, or not read."""

    subject: str
    """A customer's id, or ``total``."""
    plan_id: str | None = None
    day: str = ""
    """The UTC day that ``…_day…`` is about."""
    balance_nanos: int | None = None
    """Credit, what is held for calls in flight counted in, less debt: a hold that comes back must fire nothing."""
    charge_day_nanos: int | None = None
    cost_day_nanos: int | None = None
    unpriced_day: int | None = None
    trailing_nanos: tuple[int, ...] | None = None
    """The charges of the 7 days before."""
    cycle: CycleFacts | None = None
    payments: PaymentFacts | None = None
    read_us: int


class SystemFacts(Struct, frozen=True, kw_only=True):
    """What rules about the system look at. ``None``: not known here, or not in use."""

    subject: str = SYSTEM
    """``system``, which all processes see alike; ``system:<name>`` for what the proxy of this name alone can know."""
    disk_free_bytes: int | None = None
    writer_lag_us: int | None = None
    holds_overdue: int | None = None
    undelivered: int | None = None
    certificate_days: int | None = None
    backup_overdue_days: int | None = None
    spool_files: int | None = None
    read_us: int


type Facts = AlertFacts | SystemFacts


class Reading(Struct, frozen=True, kw_only=True):
    """What a rule sees."""

    value: int
    epoch: str = ""


class AlertStamp(Struct, frozen=True, kw_only=True):
    """The instant and the ids of one evaluation."""

    now_us: int
    alert_id: AlertId
    fired_event_id: EventId
    resolved_event_id: EventId


class Standing(Struct, frozen=True, kw_only=True):
    """Where a rule stands with a subject, and what fired last."""

    state: AlertState | None = None
    alert: Alert | None = None


def applies(rule: AlertRule, facts: Facts) -> bool:
    """Whether a rule is about this subject."""
    if isinstance(facts, SystemFacts):
        return rule.scope is AlertScope.SYSTEM
    match rule.scope:
        case AlertScope.EACH:
            return facts.subject != TOTAL
        case AlertScope.TOTAL:
            return facts.subject == TOTAL
        case AlertScope.CUSTOMER:
            return facts.subject == rule.target
        case AlertScope.PLAN:
            return facts.plan_id is not None and facts.plan_id == rule.target
    return False


def measure(kind: AlertKind, facts: Facts) -> Reading | None:
    """What a rule of this kind sees; ``None`` where the fact is not known."""
    if isinstance(facts, SystemFacts):
        return _of_system(kind, facts)
    if kind in (AlertKind.TOP_UP_FAILED, AlertKind.PAYMENT_FAILED):
        return _of_payments(kind, facts.payments)
    if kind in (AlertKind.CREDIT_USED, AlertKind.SPEND_PER_CYCLE):
        return _of_cycle(kind, facts.cycle)
    value = {
        AlertKind.BALANCE_BELOW: facts.balance_nanos,
        AlertKind.SPEND_PER_DAY: facts.charge_day_nanos,
        AlertKind.UNPRICED_REQUESTS: facts.unpriced_day,
        AlertKind.MARGIN_BELOW: _margin(facts),
        AlertKind.SPEND_ANOMALY: _anomaly(facts),
    }.get(kind)
    epoch = "" if kind is AlertKind.BALANCE_BELOW else facts.day
    return None if value is None else Reading(value=value, epoch=epoch)


def is_crossed(rule: AlertRule, reading: Reading) -> bool:
    """Below its threshold, or from it on: by the kind. A threshold of percent may be below 0."""
    if KINDS[rule.kind].fires_below:
        return reading.value < rule.threshold
    return reading.value >= rule.threshold


def evaluate(rule: AlertRule, facts: Facts, standing: Standing, stamp: AlertStamp) -> tuple[Entity, ...]:
    """What is to be written: nothing, or the new state with what fired and what was resolved, and an event of each.

    Facts that were read before the last change are stale and change nothing.
    """
    state = standing.state
    reading = measure(rule.kind, facts)
    if reading is None or (state is not None and facts.read_us <= state.changed_us <= stamp.now_us):
        return ()
    was_firing = state is not None and state.is_firing
    fires = is_crossed(rule, reading)
    if fires == was_firing and not (fires and state is not None and state.epoch != reading.epoch):
        return ()
    cleared = clear(standing, stamp) if was_firing else ()
    if not fires:
        return cleared
    alert = _alert(rule, facts, reading, stamp)
    state = AlertState(
        rule_id=rule.rule_id,
        subject=facts.subject,
        is_firing=True,
        epoch=reading.epoch,
        alert_id=alert.alert_id,
        changed_us=stamp.now_us,
    )
    resolved = tuple(row for row in cleared if not isinstance(row, AlertState))
    return (*resolved, state, alert, _event(FIRED, alert, stamp.fired_event_id, stamp.now_us))


def clear(standing: Standing, stamp: AlertStamp) -> tuple[Entity, ...]:
    """What is to be written when a condition has cleared, or its rule is deleted; nothing where it does not fire."""
    state, alert = standing.state, standing.alert
    if state is None or not state.is_firing:
        return ()
    quiet = replace(state, is_firing=False, changed_us=stamp.now_us)
    if alert is None or alert.resolved_us is not None:
        return (quiet,)
    resolved = replace(alert, resolved_us=stamp.now_us)
    return (quiet, resolved, _event(RESOLVED, resolved, stamp.resolved_event_id, stamp.now_us))


def _of_system(kind: AlertKind, facts: SystemFacts) -> Reading | None:
    value = {
        AlertKind.DISK_LOW: facts.disk_free_bytes,
        AlertKind.WRITER_LAG: facts.writer_lag_us,
        AlertKind.HOLD_OVERDUE: facts.holds_overdue,
        AlertKind.OUTBOX_BACKLOG: facts.undelivered,
        AlertKind.CERTIFICATE_OLD: facts.certificate_days,
        AlertKind.BACKUP_OLD: facts.backup_overdue_days,
        AlertKind.SPOOL_WAITING: facts.spool_files,
    }.get(kind)
    return None if value is None else Reading(value=value)


def _of_payments(kind: AlertKind, payments: PaymentFacts | None) -> Reading | None:
    if payments is None:
        return None
    failed = payments.failed_payment if kind is AlertKind.PAYMENT_FAILED else payments.failed_top_up
    return Reading(value=0 if failed is None else 1, epoch=failed or "")


def _of_cycle(kind: AlertKind, cycle: CycleFacts | None) -> Reading | None:
    if cycle is None:
        return None
    if kind is AlertKind.SPEND_PER_CYCLE:
        return Reading(value=cycle.charge_nanos, epoch=cycle.cycle)
    if not cycle.granted_nanos:
        return None
    return Reading(value=cycle.used_nanos * WHOLE // cycle.granted_nanos, epoch=cycle.cycle)


def _margin(facts: AlertFacts) -> int | None:
    """Of the charge, in nano-percent; -100 % where there is cost and no charge, 100 % where there is neither."""
    charge, cost = facts.charge_day_nanos, facts.cost_day_nanos
    if charge is None or cost is None:
        return None
    if not charge:
        return -WHOLE if cost > 0 else WHOLE
    return (charge - cost) * WHOLE // charge


def _anomaly(facts: AlertFacts) -> int | None:
    """Today's spend of the mean of the days before, in nano-percent; 0 where the days before tell too little."""
    if facts.charge_day_nanos is None or facts.trailing_nanos is None:
        return None
    if sum(day > 0 for day in facts.trailing_nanos) < TRAILING_DAYS_MIN:
        return 0
    return facts.charge_day_nanos * WHOLE * len(facts.trailing_nanos) // sum(facts.trailing_nanos)


def _alert(rule: AlertRule, facts: Facts, reading: Reading, stamp: AlertStamp) -> Alert:
    about = KINDS[rule.kind]
    relation = "below" if about.fires_below else "reached"
    value, threshold = show(reading.value, about.unit), show(rule.threshold, about.unit)
    return Alert(
        alert_id=stamp.alert_id,
        rule_id=rule.rule_id,
        slug=rule.slug,
        kind=rule.kind,
        subject=facts.subject,
        severity=about.severity.value,
        message=f"{about.title} {value} ({relation} {threshold})",
        value=reading.value,
        threshold=rule.threshold,
        fired_us=stamp.now_us,
    )


def _event(kind: str, alert: Alert, event_id: EventId, now_us: int) -> Event:
    return Event(
        event_id=event_id,
        kind=kind,
        key=f"{kind}:{alert.alert_id}",
        payload=json.dumps(alert_document(alert), separators=(",", ":")),
        created_us=now_us,
    )


def customer_of(subject: str) -> CustomerId | None:
    """The customer that an alert is about, if it is about one."""
    return None if subject in (TOTAL, SYSTEM) or subject.startswith(_OF_PROCESS) else CustomerId(subject)


def subject_name(subject: str, reference_id: str | None) -> str:
    """For people. A customer's name is looked up when it is told: what is kept must not outlive the customer's erasure."""
    if subject == TOTAL:
        return "all calls"
    if subject == SYSTEM:
        return "this home"
    if subject.startswith(_OF_PROCESS):
        return f"proxy {subject.removeprefix(_OF_PROCESS)}"
    return reference_id or subject


def alert_document(alert: Alert) -> dict[str, str | None]:
    """An alert as it is told to others, with ids in place of names."""
    unit = KINDS[alert.kind].unit
    return {
        "alert_id": alert.alert_id,
        "state": "fired" if alert.resolved_us is None else "resolved",
        "rule": alert.slug,
        "kind": alert.kind.value,
        "severity": alert.severity,
        "message": alert.message,
        "subject": alert.subject,
        "customer_id": customer_of(alert.subject),
        "value": show(alert.value, unit),
        "threshold": show(alert.threshold, unit),
        "fired_at": format_instant(alert.fired_us),
        "resolved_at": None if alert.resolved_us is None else format_instant(alert.resolved_us),
    }
