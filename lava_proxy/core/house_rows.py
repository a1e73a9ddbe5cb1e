"""The rows that a home keeps beside its books: events on their way, processes, results told again, who changed what."""

from enum import StrEnum

from msgspec import Struct

from lava_proxy.core.ids import EventId, InstanceId


class Event(Struct, frozen=True, kw_only=True):
    """Something that others may want to hear of: the outbox. ``key`` is unique; ``sequence`` is set by the store."""

    event_id: EventId
    kind: str
    key: str
    payload: str
    created_us: int
    sequence: int = 0


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Delivery(Struct, frozen=True, kw_only=True):
    """One event's way to one consumer; (consumer, event_id) is unique."""

    consumer: str
    event_id: EventId
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    leased_until_us: int = 0
    next_attempt_us: int = 0
    last_error: str = ""


class Instance(Struct, frozen=True, kw_only=True):
    """A process that takes holds. It keeps a file lock while it lives; a free lock means it is gone."""

    instance_id: InstanceId
    name: str
    pid: int
    version: str
    started_us: int
    ended_us: int | None = None


class IdempotentResult(Struct, frozen=True, kw_only=True):
    """What a write under an idempotency key answered; the same key with other content is a conflict."""

    key: str
    content_sha256: str
    result: str
    created_us: int


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who changed what by the control plane; ``before`` and ``after`` are JSON without secrets."""

    at_us: int
    actor: str
    action: str
    subject: str
    before: str = ""
    after: str = ""


class HomeFact(Struct, frozen=True, kw_only=True):
    """A named fact of the home in its ledger: ``mode``, ``default_meter_id`` …"""

    name: str
    value: str
