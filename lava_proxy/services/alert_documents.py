"""The JSON of alerts, their rules and their destinations."""

from lava_proxy.core.alert_kinds import BUILT_IN, KINDS
from lava_proxy.core.alert_rows import Alert, AlertRule, Destination
from lava_proxy.core.alert_units import write_threshold
from lava_proxy.core.alerts import alert_document, subject_name
from lava_proxy.services.documents import Document, instant


def alert_json(alert: Alert, *, reference_id: str | None) -> Document:
    """With the customer's name, as it is now."""
    document: Document = dict(alert_document(alert))
    return {
        **document,
        "customer": reference_id,
        "message": f"{subject_name(alert.subject, reference_id)}: {alert.message}",
    }


def rule_document(rule: AlertRule, *, firing: int | None = None) -> Document:
    about = KINDS[rule.kind]
    return {
        "rule_id": rule.rule_id,
        "name": rule.slug,
        "kind": rule.kind.value,
        "scope": rule.scope.value,
        "target": rule.target or None,
        "threshold": write_threshold(rule.threshold, about.unit),
        "unit": about.unit.value,
        "fires": "below" if about.fires_below else "from",
        "severity": about.severity.value,
        "is_built_in": rule.rule_id in {each.rule_id for each in BUILT_IN},
        "status": rule.status.value,
        "created_at": instant(rule.created_us) if rule.created_us else None,
        **({"firing": firing} if firing is not None else {}),
    }


def destination_document(destination: Destination) -> Document:
    """Without its address and its secret, which are shown nowhere."""
    return {
        "destination_id": destination.destination_id,
        "name": destination.slug,
        "kind": destination.kind.value,
        "hint": destination.hint,
        "status": destination.status.value,
        "created_at": instant(destination.created_us),
    }
