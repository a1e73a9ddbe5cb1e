"""Who changed what: one entry per change of the control plane, written with it, without secrets or personal data."""

import json
from collections import deque

import msgspec

from lava_proxy.core.alert_rows import AlertRule, Destination
from lava_proxy.core.entities import AuditEntry, Budget, Customer, Grant, Key, Meter, MeterVersion, Run
from lava_proxy.core.ports import Ledger
from lava_proxy.services.idempotency import By

Audited = Budget | Customer | Key | Meter | MeterVersion | Grant | Run | AlertRule | Destination

_SECRET = ("secret_sha256", "sealed")
PERSONAL = ("reference_id", "name", "email", "phone", "metadata")
"""Fields of customers and keys that may name a person: an entry tells that they are set, and no more, so that erasing works."""


def audit(
    by: By, *, now_us: int, action: str, subject: str, before: Audited | None = None, after: Audited | None = None
) -> AuditEntry:
    """An entry such as ``meter.update prd_…``; of the two states only the fields that differ."""
    old, new = _plain(before), _plain(after)
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return AuditEntry(
        at_us=now_us,
        actor=by.actor,
        action=action,
        subject=subject,
        before=_text(before, old, differing),
        after=_text(after, new, differing),
    )


def entries(
    ledger: Ledger, *, subject: str | None = None, action: str | None = None, limit: int = 50
) -> tuple[AuditEntry, ...]:
    """The newest first; ``action`` is how it begins."""
    found: deque[AuditEntry] = deque(maxlen=limit)
    for entry in ledger.books().rows(AuditEntry):
        if (subject is None or entry.subject == subject) and (action is None or entry.action.startswith(action)):
            found.appendleft(entry)
    return tuple(found)


def _plain(row: Audited | None) -> dict[str, object]:
    if row is None:
        return {}
    values: dict[str, object] = msgspec.to_builtins(row, str_keys=True)
    return {name: values[name] for name in row.__struct_fields__ if name not in _SECRET}


def _text(row: Audited | None, values: dict[str, object], differing: list[str]) -> str:
    if row is None:
        return ""
    is_of_person = isinstance(row, Customer | Key)
    shown = {
        name: bool(values[name]) if is_of_person and name in PERSONAL else values[name]
        for name in differing
        if name in values
    }
    return json.dumps(shown, separators=(",", ":"))
