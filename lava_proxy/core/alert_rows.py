"""The rows of alerts: rules, where each stands, what fired, and where it is told.

Thresholds and values are whole numbers in the unit of their kind (see ``core.alert_kinds.KINDS``): nano-dollars, nano-percent,
bytes, microseconds, days, or a count.
"""

from enum import StrEnum

from msgspec import Struct

from lava_proxy.core.ids import AlertId, AlertRuleId, DestinationId


class AlertKind(StrEnum):
    """What a rule looks at: of customers and plans first, then of the system itself."""

    CREDIT_USED = "credit_used"
    BALANCE_BELOW = "balance_below"
    SPEND_PER_DAY = "spend_per_day"
    SPEND_PER_CYCLE = "spend_per_cycle"
    MARGIN_BELOW = "margin_below"
    UNPRICED_REQUESTS = "unpriced_requests"
    TOP_UP_FAILED = "top_up_failed"
    PAYMENT_FAILED = "payment_failed"
    SPEND_ANOMALY = "spend_anomaly"
    DISK_LOW = "disk_low"
    WRITER_LAG = "writer_lag"
    HOLD_OVERDUE = "hold_overdue"
    OUTBOX_BACKLOG = "outbox_backlog"
    CERTIFICATE_OLD = "certificate_old"
    BACKUP_OLD = "backup_old"
    SPOOL_WAITING = "spool_waiting"


class AlertScope(StrEnum):
    EACH = "each"
    """Every customer for themselves."""
    CUSTOMER = "customer"
    PLAN = "plan"
    """Every customer on this plan."""
    TOTAL = "total"
    """The sums over all calls, the merchant's own too."""
    SYSTEM = "system"


class AlertRuleStatus(StrEnum):
    ACTIVE = "active"
    DELETED = "deleted"


class AlertRule(Struct, frozen=True, kw_only=True):
    """What is to be told, about whom. ``slug`` is unique among the active ones."""

    rule_id: AlertRuleId
    slug: str
    kind: AlertKind
    scope: AlertScope
    target: str = ""
    """The customer or the plan that is meant, by id; else empty."""
    threshold: int = 0
    status: AlertRuleStatus = AlertRuleStatus.ACTIVE
    created_us: int


class AlertState(Struct, frozen=True, kw_only=True):
    """Where a rule stands with one subject (a customer's id, ``total``, ``system``, ``system:<proxy>``). None yet: not firing."""

    rule_id: AlertRuleId
    subject: str
    is_firing: bool
    epoch: str = ""
    """The period that it fired in, of a rule about periods: in another one it fires anew."""
    alert_id: AlertId
    """What fired last."""
    changed_us: int


class Alert(Struct, frozen=True, kw_only=True):
    """One firing of a rule: from the crossing until the condition cleared."""

    alert_id: AlertId
    rule_id: AlertRuleId
    slug: str
    kind: AlertKind
    subject: str
    severity: str
    message: str
    """Without a name, which is looked up when it is told."""
    value: int
    threshold: int
    fired_us: int
    resolved_us: int | None = None


class DestinationKind(StrEnum):
    WEBHOOK = "webhook"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    EMAIL = "email"
    HEARTBEAT = "heartbeat"


class DestinationStatus(StrEnum):
    ACTIVE = "active"
    DELETED = "deleted"


class Destination(Struct, frozen=True, kw_only=True):
    """Where alerts are told. Addresses and secrets stand sealed; ``hint`` is what may be shown of them."""

    destination_id: DestinationId
    slug: str
    kind: DestinationKind
    hint: str
    sealed: str
    """Base64 of the sealed JSON of a ``core.destinations.Address``."""
    status: DestinationStatus = DestinationStatus.ACTIVE
    created_us: int
