"""What is the same for all rules of a kind, and the rules that every home has."""

from enum import StrEnum

from msgspec import Struct

from lava_proxy.core.alert_rows import AlertKind, AlertRule, AlertScope
from lava_proxy.core.alert_units import Unit
from lava_proxy.core.ids import AlertRuleId

WHOLE = 100 * 10**9
"""100 % in nano-percent."""


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class KindOfRule(Struct, frozen=True, kw_only=True):
    """What is the same for all rules of a kind."""

    title: str
    unit: Unit
    fires_below: bool = False
    """Fires below its threshold; else from its threshold on."""
    default: int | None = None
    """The threshold where none is given; ``None``: one must be."""
    is_system: bool = False
    severity: Severity = Severity.WARNING


_GIBIBYTE = 1024**3
KINDS: dict[AlertKind, KindOfRule] = {
    AlertKind.CREDIT_USED: KindOfRule(title="cycle credit used", unit=Unit.PERCENT, default=80 * 10**9),
    AlertKind.BALANCE_BELOW: KindOfRule(title="balance", unit=Unit.DOLLARS, fires_below=True),
    AlertKind.SPEND_PER_DAY: KindOfRule(title="spend today", unit=Unit.DOLLARS),
    AlertKind.SPEND_PER_CYCLE: KindOfRule(title="spend in this cycle", unit=Unit.DOLLARS),
    AlertKind.MARGIN_BELOW: KindOfRule(title="margin today", unit=Unit.PERCENT, fires_below=True),
    AlertKind.UNPRICED_REQUESTS: KindOfRule(title="unpriced requests today", unit=Unit.COUNT, default=1),
    AlertKind.TOP_UP_FAILED: KindOfRule(title="failed top-up", unit=Unit.COUNT, default=1, severity=Severity.CRITICAL),
    AlertKind.PAYMENT_FAILED: KindOfRule(
        title="failed payment", unit=Unit.COUNT, default=1, severity=Severity.CRITICAL
    ),
    AlertKind.SPEND_ANOMALY: KindOfRule(
        title="spend today, of the mean of the 7 days before", unit=Unit.PERCENT, default=3 * WHOLE
    ),
    AlertKind.DISK_LOW: KindOfRule(
        title="free disk",
        unit=Unit.BYTES,
        fires_below=True,
        default=_GIBIBYTE,
        is_system=True,
        severity=Severity.CRITICAL,
    ),
    AlertKind.WRITER_LAG: KindOfRule(
        title="the ledger's writer behind by",
        unit=Unit.SECONDS,
        default=5_000_000,
        is_system=True,
        severity=Severity.CRITICAL,
    ),
    AlertKind.HOLD_OVERDUE: KindOfRule(title="holds past their time", unit=Unit.COUNT, default=1, is_system=True),
    AlertKind.OUTBOX_BACKLOG: KindOfRule(title="undelivered events", unit=Unit.COUNT, default=1, is_system=True),
    AlertKind.CERTIFICATE_OLD: KindOfRule(
        title="a certificate ends in", unit=Unit.DAYS, fires_below=True, default=30, is_system=True
    ),
    AlertKind.BACKUP_OLD: KindOfRule(title="a backup is overdue by", unit=Unit.DAYS, default=1, is_system=True),
    AlertKind.SPOOL_WAITING: KindOfRule(
        title="spool files not booked", unit=Unit.COUNT, default=1, is_system=True, severity=Severity.CRITICAL
    ),
}

BUILT_IN: tuple[AlertRule, ...] = tuple(
    AlertRule(
        rule_id=AlertRuleId(f"built_in_{kind.value}"),
        slug=kind.value.replace("_", "-"),
        kind=kind,
        scope=AlertScope.SYSTEM,
        threshold=about.default or 0,
        created_us=0,
    )
    for kind, about in KINDS.items()
    if about.is_system
)
"""Rules that every home has, until the operator deletes them."""
