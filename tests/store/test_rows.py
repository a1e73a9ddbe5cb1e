"""Every kind of row: what is put is what is got, found by its indexes and by nothing else."""

from collections.abc import Callable, Mapping
from typing import get_args

import pytest
from msgspec.structs import replace

from lava_proxy.core.entities import (
    AuditEntry,
    Counter,
    Customer,
    Entity,
    Event,
    Grant,
    Hold,
    HoldState,
    Instance,
    Key,
    Meter,
    MeterStatus,
    MeterVersion,
    RequestRecord,
)
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.store.ledger import WritingLedger
from lava_proxy.store.tables import KEYS, TABLES
from tests.store.samples import ACME, APPENDED, BOLT, EVERY_KIND, FOUNDATION, customer, event, grant, hold, write


def key_of(row: Entity) -> tuple[str | int, ...]:
    return TABLES[type(row)].key_of(row)


def finding(kind: type[Entity], where: Mapping[str, str | int | None]) -> Callable[[Rows], tuple[Entity, ...]]:
    return lambda rows: rows.find(kind, **where)


def getting(kind: type[Entity], key: tuple[str | int, ...]) -> Callable[[Rows], Entity | None]:
    return lambda rows: rows.get(kind, *key)


def test_every_entity_has_a_table_and_a_sample() -> None:
    kinds = set(get_args(Entity))
    assert set(TABLES) == kinds
    assert {type(row) for row in (*EVERY_KIND, *APPENDED)} == kinds


@pytest.mark.parametrize("row", EVERY_KIND, ids=lambda row: f"{type(row).__name__}-{'-'.join(map(str, key_of(row)))}")
def test_a_row_comes_back_as_it_was_put(ledger: WritingLedger, row: Entity) -> None:
    write(
        ledger, *FOUNDATION, hold("full", state=HoldState.SETTLED) if type(row) is RequestRecord else customer("con_x")
    )
    write(ledger, row)
    kind, key = type(row), key_of(row)
    assert ledger.read(lambda rows: rows.get(kind, *key)) == row
    assert row in tuple(ledger.books().rows(kind))
    assert ledger.transact(lambda rows: rows.get(kind, *key), lambda seen: Decision(result=seen)).result(30) == row


@pytest.mark.parametrize("row", EVERY_KIND, ids=lambda row: f"{type(row).__name__}-{'-'.join(map(str, key_of(row)))}")
def test_writing_the_same_row_again_changes_nothing(ledger: WritingLedger, row: Entity) -> None:
    write(
        ledger, *FOUNDATION, hold("full", state=HoldState.SETTLED) if type(row) is RequestRecord else customer("con_x")
    )
    kind, key = type(row), key_of(row)
    write(ledger, row)
    ledger.transact(lambda rows: rows.get(kind, *key), lambda _: Decision(result=None, rows=(row,))).result(30)
    assert ledger.read(lambda rows: rows.get(kind, *key)) == row


def test_events_and_audit_entries_are_appended_in_order(ledger: WritingLedger) -> None:
    entries = [AuditEntry(at_us=9 - n, actor="a", action="b", subject=str(n)) for n in range(5)]
    write(ledger, event("a"), *entries[:3])
    write(ledger, event("b"), event("c"), *entries[3:])
    found = list(ledger.books().rows(Event))
    assert [(e.sequence, e.key) for e in found] == [(1, "a"), (2, "b"), (3, "c")]
    assert list(ledger.books().rows(AuditEntry)) == entries
    assert ledger.read(lambda rows: rows.get(Event, 2)) == found[1]
    assert ledger.read(lambda rows: rows.find(Event, event_id="evt_c")) == (found[2],)


def test_an_event_is_seen_by_the_steps_after_it_in_its_group_with_its_number(ledger: WritingLedger) -> None:
    seen: list[tuple[Event, ...]] = []

    def load(rows: Rows) -> None:
        seen.append(rows.find(Event, key="a"))

    steps = [
        ledger.transact(load, lambda _: Decision(result=None, rows=(event("a"),))),
        ledger.transact(load, lambda _: Decision(result=None)),
        ledger.transact(load, lambda _: Decision(result=None)),
    ]
    for step in steps:
        step.result(30)
    numbered = replace(event("a"), sequence=1)
    assert seen == [(), (numbered,), (numbered,)]


def test_rows_are_found_by_what_is_indexed_in_the_order_of_their_keys(ledger: WritingLedger) -> None:
    grants = [grant(f"grt_{letter}", free=1) for letter in "dbca"]
    write(ledger, *FOUNDATION, *EVERY_KIND[:9], customer(BOLT), *grants, hold("2"), hold("3", customer_id=None))
    cases: list[tuple[type[Entity], dict[str, str | int | None], list[str]]] = [
        (Customer, {"reference_id": "acme"}, ["con_acme"]),
        (Customer, {"reference_id": None}, ["con_bare", "con_bolt"]),
        (Customer, {"reference_id": "nobody"}, []),
        (Meter, {"slug": "default"}, ["prd_1"]),
        (Meter, {"status": MeterStatus.ARCHIVED}, ["prd_1"]),
        (Meter, {"status": "active"}, []),
        (MeterVersion, {"meter_id": "prd_1"}, ["prd_1"]),
        (Grant, {"customer_id": ACME}, ["grt_1", "grt_a", "grt_b", "grt_c", "grt_d"]),
        (Hold, {"request_id": "req_2"}, ["hld_2"]),
        (Hold, {"state": HoldState.IN_FLIGHT}, ["hld_2", "hld_3"]),
        (Hold, {"state": "reserved"}, []),
        (Hold, {"customer_id": ACME}, ["hld_2"]),
        (Hold, {"customer_id": None}, ["hld_3"]),
        (Hold, {"customer_id": ACME, "state": "reserved"}, []),
        (Key, {"customer_id": ACME}, ["key_1"]),
        (Key, {"run_id": None}, ["key_2"]),
        (Counter, {"customer_id": ACME}, [ACME]),
    ]
    for kind, where, keys in cases:
        for found in (
            ledger.read(finding(kind, where)),
            ledger.transact(finding(kind, where), lambda seen: Decision(result=seen)).result(30),
        ):
            assert [key_of(row)[0] for row in found] == keys, (kind, where)


def test_running_instances_are_found_by_having_no_end(ledger: WritingLedger) -> None:
    running = [Instance(instance_id=InstanceId(f"ins_{n}"), name="", pid=n, version="", started_us=n) for n in range(3)]
    write(ledger, *running)
    write(ledger, replace(running[1], ended_us=7))
    assert ledger.read(lambda rows: rows.find(Instance, ended_us=None)) == (running[0], running[2])


def test_a_find_follows_every_change_of_what_it_looks_for(ledger: WritingLedger) -> None:
    """Also where the writer has looked before, and remembers."""

    def open_grants() -> list[str]:
        step = ledger.transact(lambda rows: rows.find(Grant, customer_id=ACME), lambda seen: Decision(result=seen))
        return [g.grant_id for g in step.result(30)]

    write(ledger, *FOUNDATION)
    assert open_grants() == ["grt_1"]
    write(ledger, grant("grt_0", free=4), grant("grt_2", free=4))
    assert open_grants() == ["grt_0", "grt_1", "grt_2"]
    write(ledger, grant("grt_1", free=0, spent=1000))
    assert open_grants() == ["grt_0", "grt_2"]
    write(ledger, grant("grt_1", free=10, spent=990))
    assert open_grants() == ["grt_0", "grt_1", "grt_2"]


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Customer, {"name": "x"}),
        (Customer, {}),
        (Grant, {"grant_id": "grt_1"}),
        (Hold, {"state": "settled"}),
        (RequestRecord, {"customer_id": ACME}),
        (AuditEntry, {"actor": "x"}),
    ],
)
def test_what_no_index_stands_behind_is_not_looked_for(
    ledger: WritingLedger, kind: type[Entity], where: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"found by|at least one"):
        ledger.read(lambda rows: rows.find(kind, **where))
    with pytest.raises(ValueError, match=r"found by|at least one"):
        ledger.transact(lambda rows: rows.find(kind, **where), lambda _: Decision(result=None)).result(30)


def test_a_key_with_the_wrong_number_of_parts_is_refused(ledger: WritingLedger) -> None:
    assert KEYS[Counter] == ("customer_id", "meter_id", "cycle")
    for kind, key in ((Counter, ("a", "b")), (Customer, ()), (AuditEntry, ()), (AuditEntry, (1,))):
        with pytest.raises(ValueError, match="has the key"):
            ledger.read(getting(kind, key))
        with pytest.raises(ValueError, match="has the key"):
            ledger.transact(getting(kind, key), lambda _: Decision(result=None)).result(30)


def test_the_version_of_a_meter_is_never_changed(ledger: WritingLedger) -> None:
    version = next(row for row in EVERY_KIND if type(row) is MeterVersion)
    write(ledger, version)
    with pytest.raises(Exception, match="only ever grows"):
        write(ledger, replace(version, tiers=()))


def test_the_allocations_of_a_hold_may_change_with_it(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, hold(amount=5))
    grown = replace(hold(amount=8), expires_us=99)
    ledger.transact(lambda rows: rows.get(Hold, "hld_1"), lambda _: Decision(result=None, rows=(grown,))).result(30)
    assert ledger.read(lambda rows: rows.get(Hold, "hld_1")) == grown
