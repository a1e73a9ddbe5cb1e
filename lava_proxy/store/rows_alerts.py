"""Rows of alerts."""

from lava_proxy.core.alert_rows import (
    Alert,
    AlertKind,
    AlertRule,
    AlertRuleStatus,
    AlertScope,
    AlertState,
    Destination,
    DestinationKind,
    DestinationStatus,
)
from lava_proxy.store.table import Cells, Lookup, Row, Table


def _encode_rule(row: AlertRule) -> Row:
    return (
        row.rule_id,
        row.slug,
        row.kind.value,
        row.scope.value,
        row.target,
        row.threshold,
        row.status.value,
        row.created_us,
    )


def _decode_rule(cells: Cells) -> AlertRule:
    rule_id, slug, kind, scope, target, threshold, status, created_us = cells
    return AlertRule(
        rule_id=rule_id,
        slug=slug,
        kind=AlertKind(kind),
        scope=AlertScope(scope),
        target=target,
        threshold=threshold,
        status=AlertRuleStatus(status),
        created_us=created_us,
    )


ALERT_RULES = Table(
    kind=AlertRule,
    name="alert_rules",
    key=("rule_id",),
    key_of=lambda row: (row.rule_id,),
    columns=("rule_id", "slug", "kind", "scope", "target", "threshold", "status", "created_us"),
    encode=_encode_rule,
    decode=_decode_rule,
    lookups={"status": Lookup(value=lambda row: row.status.value)},
    unique={"slug": lambda row: row.slug if row.status is AlertRuleStatus.ACTIVE else None},
)


def _encode_state(row: AlertState) -> Row:
    return (row.rule_id, row.subject, int(row.is_firing), row.epoch, row.alert_id, row.changed_us)


def _decode_state(cells: Cells) -> AlertState:
    rule_id, subject, is_firing, epoch, alert_id, changed_us = cells
    return AlertState(
        rule_id=rule_id,
        subject=subject,
        is_firing=bool(is_firing),
        epoch=epoch,
        alert_id=alert_id,
        changed_us=changed_us,
    )


ALERT_STATES = Table(
    kind=AlertState,
    name="alert_states",
    key=("rule_id", "subject"),
    key_of=lambda row: (row.rule_id, row.subject),
    columns=("rule_id", "subject", "is_firing", "epoch", "alert_id", "changed_us"),
    encode=_encode_state,
    decode=_decode_state,
    lookups={"rule_id": Lookup(value=lambda row: row.rule_id)},
)


def _encode_alert(row: Alert) -> Row:
    return (
        row.alert_id,
        row.rule_id,
        row.slug,
        row.kind.value,
        row.subject,
        row.severity,
        row.message,
        row.value,
        row.threshold,
        row.fired_us,
        row.resolved_us,
    )


def _decode_alert(cells: Cells) -> Alert:
    alert_id, rule_id, slug, kind, subject, severity, message, value, threshold, fired_us, resolved_us = cells
    return Alert(
        alert_id=alert_id,
        rule_id=rule_id,
        slug=slug,
        kind=AlertKind(kind),
        subject=subject,
        severity=severity,
        message=message,
        value=value,
        threshold=threshold,
        fired_us=fired_us,
        resolved_us=resolved_us,
    )


ALERTS = Table(
    kind=Alert,
    name="alerts",
    key=("alert_id",),
    key_of=lambda row: (row.alert_id,),
    columns=(
        "alert_id",
        "rule_id",
        "slug",
        "kind",
        "subject",
        "severity",
        "message",
        "value",
        "threshold",
        "fired_us",
        "resolved_us",
    ),
    encode=_encode_alert,
    decode=_decode_alert,
)


def _encode_destination(row: Destination) -> Row:
    return (
        row.destination_id,
        row.slug,
        row.kind.value,
        row.hint,
        row.sealed,
        row.status.value,
        row.created_us,
    )


def _decode_destination(cells: Cells) -> Destination:
    destination_id, slug, kind, hint, sealed, status, created_us = cells
    return Destination(
        destination_id=destination_id,
        slug=slug,
        kind=DestinationKind(kind),
        hint=hint,
        sealed=sealed,
        status=DestinationStatus(status),
        created_us=created_us,
    )


DESTINATIONS = Table(
    kind=Destination,
    name="destinations",
    key=("destination_id",),
    key_of=lambda row: (row.destination_id,),
    columns=("destination_id", "slug", "kind", "hint", "sealed", "status", "created_us"),
    encode=_encode_destination,
    decode=_decode_destination,
    lookups={"status": Lookup(value=lambda row: row.status.value)},
    unique={"slug": lambda row: row.slug if row.status is DestinationStatus.ACTIVE else None},
)
