"""Rows of the house itself: events and their deliveries, remembered answers, the audit trail, facts of the home."""

from lava_proxy.core.entities import AuditEntry, Delivery, DeliveryState, Event, HomeFact, IdempotentResult
from lava_proxy.store.table import Cells, Lookup, Row, Table


def _encode_event(row: Event) -> Row:
    return (row.sequence, row.event_id, row.kind, row.key, row.payload, row.created_us)


def decode_event(cells: Cells) -> Event:
    """From the columns of ``EVENTS``."""
    sequence, event_id, kind, key, payload, created_us = cells
    return Event(event_id=event_id, kind=kind, key=key, payload=payload, created_us=created_us, sequence=sequence)


EVENTS = Table(
    kind=Event,
    name="events",
    key=("sequence",),
    key_of=lambda row: (row.sequence,),
    columns=("sequence", "event_id", "kind", "key", "payload", "created_us"),
    encode=_encode_event,
    decode=decode_event,
    lookups={"event_id": Lookup(value=lambda row: row.event_id), "key": Lookup(value=lambda row: row.key)},
    unique={"event_id": lambda row: row.event_id, "key": lambda row: row.key},
    is_appended=True,
)


def _encode_delivery(row: Delivery) -> Row:
    return (
        row.consumer,
        row.event_id,
        row.state.value,
        row.attempts,
        row.leased_until_us,
        row.next_attempt_us,
        row.last_error,
    )


def decode_delivery(cells: Cells) -> Delivery:
    """From the columns of ``DELIVERIES``."""
    consumer, event_id, state, attempts, leased_until_us, next_attempt_us, last_error = cells
    return Delivery(
        consumer=consumer,
        event_id=event_id,
        state=DeliveryState(state),
        attempts=attempts,
        leased_until_us=leased_until_us,
        next_attempt_us=next_attempt_us,
        last_error=last_error,
    )


DELIVERIES = Table(
    kind=Delivery,
    name="deliveries",
    key=("consumer", "event_id"),
    key_of=lambda row: (row.consumer, row.event_id),
    columns=("consumer", "event_id", "state", "attempts", "leased_until_us", "next_attempt_us", "last_error"),
    encode=_encode_delivery,
    decode=decode_delivery,
)


def _encode_result(row: IdempotentResult) -> Row:
    return (row.key, row.content_sha256, row.result, row.created_us)


def _decode_result(cells: Cells) -> IdempotentResult:
    key, content_sha256, result, created_us = cells
    return IdempotentResult(key=key, content_sha256=content_sha256, result=result, created_us=created_us)


IDEMPOTENCY = Table(
    kind=IdempotentResult,
    name="idempotency",
    key=("key",),
    key_of=lambda row: (row.key,),
    columns=("key", "content_sha256", "result", "created_us"),
    encode=_encode_result,
    decode=_decode_result,
)


def _encode_audit(row: AuditEntry) -> Row:
    return (row.at_us, row.actor, row.action, row.subject, row.before, row.after)


def _decode_audit(cells: Cells) -> AuditEntry:
    at_us, actor, action, subject, before, after = cells
    return AuditEntry(at_us=at_us, actor=actor, action=action, subject=subject, before=before, after=after)


AUDIT = Table(
    kind=AuditEntry,
    name="audit",
    key=(),
    key_of=lambda _: (),
    columns=("at_us", "actor", "action", "subject", "before", "after"),
    encode=_encode_audit,
    decode=_decode_audit,
    is_appended=True,
)


def _encode_fact(row: HomeFact) -> Row:
    return (row.name, row.value)


def _decode_fact(cells: Cells) -> HomeFact:
    name, value = cells
    return HomeFact(name=name, value=value)


HOME_FACTS = Table(
    kind=HomeFact,
    name="home_facts",
    key=("name",),
    key_of=lambda row: (row.name,),
    columns=("name", "value"),
    encode=_encode_fact,
    decode=_decode_fact,
)
