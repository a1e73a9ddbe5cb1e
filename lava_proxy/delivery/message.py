"""An alert as it travels: what the outbox keeps of it."""

import msgspec
from msgspec import Struct

from lava_proxy.core.alerts import Severity
from lava_proxy.core.entities import Event


class Message(Struct, frozen=True, kw_only=True):
    """What ``core.alerts.alert_document`` says, with the event that carries it."""

    event_id: str = ""
    alert_id: str
    state: str
    """fired, resolved, or test."""
    rule: str
    kind: str
    severity: str
    message: str
    subject: str
    customer_id: str | None = None
    customer: str | None = None
    value: str
    threshold: str
    fired_at: str
    resolved_at: str | None = None

    @property
    def title(self) -> str:
        """One line for people."""
        word = {"fired": self.severity.upper(), "resolved": "RESOLVED", "test": "TEST"}.get(self.state, self.state)
        return f"[{word}] {self.message}"


def read_message(event: Event) -> Message:
    """
    Raises:
        msgspec.MsgspecError: the payload is not an alert's.
    """
    return msgspec.structs.replace(msgspec.json.decode(event.payload, type=Message), event_id=event.event_id)


def trial_message(*, event_id: str, at: str) -> Message:
    """For trying a destination."""
    return Message(
        event_id=event_id,
        alert_id="alt_test",
        state="test",
        rule="test",
        kind="test",
        severity=Severity.INFO.value,
        message="This is a test of Lava Proxy's alerts.",
        subject="system",
        value="0",
        threshold="0",
        fired_at=at,
    )
