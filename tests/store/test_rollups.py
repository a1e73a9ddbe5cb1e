"""The sums that reports are made of: always those of the requests, in any range, zone and order of events."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.entities import HoldState, Mode, RequestRecord, RequestStatus
from lava_proxy.core.ids import HoldId, RequestId
from lava_proxy.core.ports import Decision, RequestFilter, Rows
from lava_proxy.core.rollups import BUCKET_US, bucket_of
from lava_proxy.core.usage import Usage
from lava_proxy.core.verify import verify
from lava_proxy.store import MemoryLedger, open_ledger
from lava_proxy.store.ledger import WritingLedger
from tests.store.samples import ACME, BOLT, FOUNDATION, NOW_US, FakeClock, customer, hold, record, write

ALL = RequestFilter()
SPAN_US = 3 * 24 * 3_600_000_000
INSTANTS = st.integers(NOW_US - SPAN_US, NOW_US + SPAN_US) | st.integers(-3, 3).map(
    lambda n: bucket_of(NOW_US) + n * BUCKET_US
)
RECORDS = st.builds(
    record,
    customer_id=st.sampled_from([ACME, BOLT, None]),
    model=st.sampled_from(["gpt-5", "o9", None]),
    created_us=INSTANTS,
    charge=st.integers(0, 10**12),
    cost=st.none() | st.integers(0, 10**12),
    status=st.sampled_from(RequestStatus),
    flags=st.sampled_from([(), ("estimated",), ("unpriced", "estimated"), ("not_estimated",)]),
    usage=st.builds(Usage, input_tokens=st.none() | st.integers(0, 99), reasoning_tokens=st.none() | st.integers(0, 9)),
)
FILTERS = st.builds(
    RequestFilter,
    customer_id=st.none() | st.sampled_from([ACME, BOLT]),
    model=st.none() | st.sampled_from(["gpt-5", "o9"]),
    flag=st.none() | st.just("estimated"),
    since_us=st.none() | INSTANTS,
    until_us=st.none() | INSTANTS,
)
GROUPINGS = st.sampled_from(
    [(), ("customer",), ("hour",), ("day", "model"), ("week",), ("month", "customer", "provider", "meter")]
)
ZONES = st.sampled_from(["UTC", "Europe/Vienna", "Asia/Kathmandu", "Africa/Monrovia"])


def called(ledger: WritingLedger, *records: RequestRecord) -> None:
    holds = [hold(row.request_id.removeprefix("req_"), state=HoldState.SETTLED) for row in records]
    write(ledger, *holds)
    write(ledger, *records)


@given(st.lists(RECORDS, max_size=8), FILTERS, GROUPINGS, ZONES)
@settings(deadline=None)
def test_sums_are_those_of_the_requests_themselves(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[RequestRecord],
    which: RequestFilter,
    by: tuple[str, ...],
    time_zone: str,
) -> None:
    path = tmp_path_factory.mktemp("rollups") / "ledger.db"
    named = [
        replace(row, request_id=RequestId(f"req_{n}"), hold_id=HoldId(f"hld_{n}")) for n, row in enumerate(records)
    ]
    with (
        open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as kept,
        MemoryLedger(mode=Mode.TEST, clock=FakeClock()) as plain,
    ):
        for ledger in (kept, plain):
            write(ledger, *FOUNDATION, customer(BOLT))
            called(ledger, *named)
        found = kept.books().usage(which, by=by, time_zone=time_zone)

        assert found == plain.books().usage(which, by=by, time_zone=time_zone)
        assert kept.books().rollup_faults(limit=9) == ()


def test_a_request_that_is_corrected_moves_its_sums(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION)
    called(ledger, record("1", charge=100, cost=30), record("2", charge=5, cost=1))

    def correct(charge: int, model: str) -> None:
        old = ledger.read(lambda rows: rows.get(RequestRecord, "req_1"))
        assert old is not None
        new = replace(old, charge_nanos=charge, model=model, flags=("late",))

        def load(rows: Rows) -> None:
            rows.get(RequestRecord, "req_1")

        ledger.transact(load, lambda _: Decision(result=None, rows=(new,))).result(30)

    correct(40, "gpt-5")
    correct(41, "o9")

    by_model = {line.group: line.charge_nanos for line in ledger.books().usage(ALL, by=("model",))}
    assert by_model == {("gpt-5",): 5, ("o9",): 41}
    assert ledger.books().rollup_faults(limit=9) == ()


def test_sums_that_went_astray_are_found_and_made_anew(path: Path) -> None:
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        write(ledger, *FOUNDATION)
        called(ledger, record("1", charge=100), record("2", charge=5, model="o9"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE rollups SET charge_nanos = 99 WHERE model = 'gpt-5'")
        connection.execute("DELETE FROM rollups WHERE model = 'o9'")
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        faults = ledger.books().rollup_faults(limit=9)
        assert len(faults) == 3
        assert [f for f in verify(ledger.books(), now_us=NOW_US).findings if f.subject == "rollups"]

        assert ledger.rebuild_rollups() == 4
        assert ledger.books().rollup_faults(limit=9) == ()


def test_sums_that_are_made_anew_are_those_that_were_kept(path: Path) -> None:
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        write(ledger, *FOUNDATION)
        called(ledger, record("1", charge=100), record("2", charge=5, model=None, customer_id=None))
        before = ledger.books().usage(ALL, by=("customer", "model"))
        ledger.rebuild_rollups()

        assert ledger.books().usage(ALL, by=("customer", "model")) == before
