"""An alert as it travels: what the outbox keeps of it."""

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.alert_kinds import Severity
from lava_proxy.core.alerts import subject_name
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
    """Without the customer's name, which ``named`` gives it.

    Raises:
        msgspec.MsgspecError: the payload is not an alert's.
    """
    return replace(msgspec.json.decode(event.payload, type=Message), event_id=event.event_id)


def named(message: Message, reference_id: str | None) -> Message:
    """For people: whom it is about, by the name of today."""
    who = subject_name(message.subject, reference_id)
    return replace(message, customer=reference_id, message=f"{who}: {message.message}")


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
