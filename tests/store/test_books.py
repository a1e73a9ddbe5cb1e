"""Lists, sums and the journal: the same on both ledgers."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.entities import (
    Customer,
    CustomerStatus,
    Grant,
    Hold,
    HoldState,
    Mode,
    Refusal,
    RequestRecord,
    RequestStatus,
)
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ids import CustomerId, RunId
from lava_proxy.core.ports import Page, RequestFilter, UsageLine
from lava_proxy.core.usage import Usage
from lava_proxy.store import MemoryLedger, open_ledger
from lava_proxy.store.ledger import WritingLedger
from tests.store.samples import (
    ACME,
    BOLT,
    FOUNDATION,
    METER,
    NOW_US,
    RUN,
    FakeClock,
    customer,
    grant,
    hold,
    record,
    transaction,
    write,
)

ALL = RequestFilter()
DAY_US = 86_400_000_000


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 1_000_000


def called(ledger: WritingLedger, *records: RequestRecord) -> None:
    """Write records with their holds."""
    holds = [
        replace(hold(row.hold_id[4:], customer_id=row.customer_id, state=HoldState.SETTLED), resolved_us=1)
        for row in records
    ]
    write(ledger, *holds, *records)


def pages[T](fetch: Callable[[str | None], Page[T]]) -> list[T]:
    """All items, a page at a time."""
    items: list[T] = []
    cursor: str | None = None
    for _ in range(1000):
        page = fetch(cursor)
        items.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return items
    raise AssertionError("the list does not end")


def test_customers_are_listed_by_age_a_page_at_a_time(ledger: WritingLedger) -> None:
    write(ledger, *(customer(f"con_{n:02d}") for n in range(7)))
    write(ledger, replace(customer("con_03"), status=CustomerStatus.ARCHIVED))
    books = ledger.books()
    found = pages(lambda cursor: books.customers(cursor=cursor, limit=2))
    assert [c.customer_id for c in found] == ["con_00", "con_01", "con_02", "con_04", "con_05", "con_06"]
    assert len(books.customers(include_archived=True).items) == 7


def test_a_cursor_stays_where_it_was_while_rows_are_added(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION)
    called(ledger, *(record(str(n), created_us=NOW_US + n) for n in range(5)))
    first = ledger.books().requests(ALL, limit=2)
    called(ledger, record("new", created_us=NOW_US + 99))
    second = ledger.books().requests(ALL, limit=10, cursor=first.next_cursor)
    assert [r.request_id for r in (*first.items, *second.items)] == ["req_4", "req_3", "req_2", "req_1", "req_0"]


def test_requests_of_the_same_instant_are_not_lost_between_pages(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION)
    called(ledger, *(record(str(n)) for n in range(5)))
    books = ledger.books()
    found = pages(lambda cursor: books.requests(ALL, cursor=cursor, limit=2))
    assert [r.request_id for r in found] == ["req_4", "req_3", "req_2", "req_1", "req_0"]


def test_the_last_page_says_that_it_is_the_last(ledger: WritingLedger) -> None:
    write(ledger, customer("con_1"), customer("con_2"))
    assert ledger.books().customers(limit=2).next_cursor is None
    assert ledger.books().customers(limit=1).next_cursor is not None
    assert ledger.books().requests(ALL).next_cursor is None


def test_a_cursor_of_another_list_and_an_empty_page_are_refused(ledger: WritingLedger) -> None:
    with pytest.raises(InvalidInput):
        ledger.books().requests(ALL, cursor="nonsense")
    with pytest.raises(InvalidInput):
        ledger.books().customers(limit=0)


def test_requests_are_filtered_by_all_that_is_asked(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, customer(BOLT))
    rows = {
        "customer": record("customer", customer_id=BOLT),
        "merchant": record("merchant", customer_id=None),
        "run": record("run", run_id=RUN),
        "model": record("model", model="o9"),
        "status": record("status", status=RequestStatus.ERROR),
        "flag": record("flag", flags=("estimated", "aborted")),
        "other": record("other", flags=("not_estimated",)),
        "pairs": record("pairs", metadata=(("a", '1"'), ("b", "2"))),
        "early": record("early", created_us=NOW_US - 5),
        "late": record("late", created_us=NOW_US + 5),
    }
    called(ledger, *rows.values())
    cases: list[tuple[RequestFilter, set[str]]] = [
        (RequestFilter(customer_id=BOLT), {"customer"}),
        (RequestFilter(run_id=RUN), {"run"}),
        (RequestFilter(model="o9"), {"model"}),
        (RequestFilter(status=RequestStatus.ERROR), {"status"}),
        (RequestFilter(status=RequestStatus.PENDING), set()),
        (RequestFilter(flag="estimated"), {"flag"}),
        (RequestFilter(metadata=(("a", '1"'),)), {"pairs"}),
        (RequestFilter(metadata=(("a", '1"'), ("b", "3"))), set()),
        (RequestFilter(since_us=NOW_US + 5), {"late"}),
        (RequestFilter(until_us=NOW_US), {"early"}),
        (RequestFilter(meter_id=METER, provider="openai"), set(rows)),
        (RequestFilter(provider="anthropic"), set()),
    ]
    for which, names in cases:
        found = ledger.books().requests(which).items
        assert {r.request_id.removeprefix("req_") for r in found} == names, which
        assert sum(line.requests for line in ledger.books().usage(which, by=("day",))) == len(names)


def test_requests_are_read_in_their_order_as_filtered(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, customer(BOLT))
    called(ledger, record("b", created_us=5), record("a", created_us=7), record("c", created_us=5, customer_id=BOLT))
    assert [row.request_id for row in ledger.books().each_request(ALL)] == ["req_b", "req_c", "req_a"]
    of_acme = RequestFilter(customer_id=ACME, since_us=5, until_us=7)
    assert [row.request_id for row in ledger.books().each_request(of_acme)] == ["req_b"]


def test_holds_are_listed_newest_first_open_or_all_of_everybody_or_one(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, customer(BOLT))
    write(ledger, *(hold(f"{n}", customer_id=ACME if n % 2 else BOLT) for n in range(6)))
    write(ledger, *(hold(f"{n}", state=HoldState.VOIDED) for n in range(6, 8)))
    books = ledger.books()

    def names(fetch: Callable[[str | None], Page[Hold]]) -> str:
        return "".join(h.hold_id.removeprefix("hld_") for h in pages(fetch))

    assert names(lambda c: books.holds(open_only=False, cursor=c, limit=3)) == "76543210"
    assert names(lambda c: books.holds(open_only=True, cursor=c, limit=2)) == "543210"
    assert names(lambda c: books.holds(open_only=True, customer_id=BOLT, cursor=c, limit=2)) == "420"
    assert names(lambda c: books.holds(open_only=False, customer_id=ACME, cursor=c, limit=2)) == "76531"


def test_all_grants_of_a_customer_are_listed_oldest_first(ledger: WritingLedger) -> None:
    rows = [replace(grant(f"grt_{n}", free=0, spent=5), created_us=9 - n) for n in range(3)]
    write(ledger, customer(), customer(BOLT), *rows, grant("grt_9", customer_id=BOLT))
    assert ledger.books().grants(ACME) == (rows[2], rows[1], rows[0])


def test_refusals_are_summed_by_code(ledger: WritingLedger) -> None:
    quarter = 900_000_000
    counts = [
        (0, ACME, "", "a", 1),
        (quarter, ACME, RUN, "a", 2),
        (quarter, ACME, RUN, "b", 4),
        (2 * quarter, BOLT, "", "a", 8),
    ]
    write(
        ledger,
        *(Refusal(bucket_us=b, customer_id=c, run_id=r, code=code, count=n) for b, c, r, code, n in counts),
    )
    books = ledger.books()
    assert books.refusals() == (("a", 11), ("b", 4))
    assert books.refusals(customer_id=ACME) == (("a", 3), ("b", 4))
    assert books.refusals(run_id=RUN) == (("a", 2), ("b", 4))
    assert books.refusals(since_us=quarter + 1) == (("a", 10), ("b", 4)), (
        "the quarter of an hour that holds the instant counts"
    )
    assert books.refusals(since_us=2 * quarter) == (("a", 8),)


def test_usage_is_summed_by_what_is_asked(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION)
    called(
        ledger,
        record("1", charge=5, cost=3),
        record("2", charge=7, cost=None, flags=("unpriced", "estimated"), usage=Usage(input_tokens=100)),
        record("3", customer_id=None, model=None, status=RequestStatus.ERROR, usage=Usage()),
    )
    total = UsageLine(
        group=(),
        requests=3,
        errors=1,
        input_tokens=110,
        output_tokens=5,
        cached_input_tokens=4,
        cache_write_tokens=0,
        reasoning_tokens=0,
        uncovered_nanos=0,
        cost_nanos=3,
        charge_nanos=12,
        unpriced=1,
        estimated=1,
    )
    assert ledger.books().usage(ALL, by=()) == (total,)
    lines = ledger.books().usage(ALL, by=("customer", "model", "provider", "meter"))
    assert [(line.group, line.requests) for line in lines] == [
        (("", "", "openai", METER), 1),
        ((ACME, "gpt-5", "openai", METER), 2),
    ]


def test_sets_of_flags_are_counted_by_provider_with_the_newest_call_of_each(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION)
    called(
        ledger,
        record("1"),
        record("2", flags=("unpriced", "estimated")),
        record("3", flags=("unpriced", "estimated")),
        record("4", flags=("estimated",)),
        record("5", flags=("unpriced", "estimated"), status=RequestStatus.ERROR),
    )

    found = ledger.books().flag_sets(ALL)

    assert {(each.provider, each.flags, each.requests, each.sample) for each in found} == {
        ("openai", (), 1, "req_1"),
        ("openai", ("unpriced", "estimated"), 2, "req_3"),
        ("openai", ("estimated",), 1, "req_4"),
    }
    assert ledger.books().flag_sets(RequestFilter(provider="groq")) == ()
    assert sum(each.requests for each in ledger.books().flag_sets(RequestFilter(flag="unpriced"))) == 2


def test_usage_of_nothing_is_one_line_of_nothing_or_no_line(ledger: WritingLedger) -> None:
    assert [line.requests for line in ledger.books().usage(ALL, by=())] == [0]
    assert ledger.books().usage(ALL, by=("day",)) == ()
    assert ledger.books().usage(ALL, by=("customer",)) == ()


def test_usage_is_not_summed_by_what_does_not_exist(ledger: WritingLedger) -> None:
    for by in (("weekday",), ("day", "day"), ("day", "week")):
        with pytest.raises(InvalidInput):
            ledger.books().usage(ALL, by=by)
    with pytest.raises(InvalidInput):
        ledger.books().usage(ALL, by=("day",), time_zone="Mars/Olympus")


def test_a_day_begins_and_ends_at_midnight_of_the_time_zone_also_when_the_clock_is_changed(
    ledger: WritingLedger,
) -> None:
    write(ledger, *FOUNDATION)
    vienna = {
        "2026-03-28": ["2026-03-28T00:00+01:00", "2026-03-28T23:59+01:00"],
        "2026-03-29": ["2026-03-29T00:00+01:00", "2026-03-29T03:30+02:00", "2026-03-29T23:59+02:00"],  # 23 hours
        "2026-03-30": ["2026-03-30T00:00+02:00"],
        "2026-10-25": [
            "2026-10-25T00:00+02:00",
            "2026-10-25T02:30+02:00",
            "2026-10-25T02:30+01:00",
            "2026-10-25T23:59+01:00",
        ],
        "2026-10-26": ["2026-10-26T00:00+01:00"],
    }
    times = [text for texts in vienna.values() for text in texts]
    called(ledger, *(record(str(n), created_us=instant(text)) for n, text in enumerate(times)))
    lines = ledger.books().usage(ALL, by=("day",), time_zone="Europe/Vienna")
    assert {line.group[0]: line.requests for line in lines} == {day: len(texts) for day, texts in vienna.items()}


@pytest.mark.parametrize(
    ("time_zone", "text", "day"),
    [
        ("America/Sao_Paulo", "2018-11-04T01:00-02:00", "2018-11-04"),  # midnight did not exist
        ("Pacific/Apia", "2011-12-31T00:00+14:00", "2011-12-31"),  # the 30th did not exist
        ("America/Havana", "2025-11-02T00:30-05:00", "2025-11-02"),  # the hour after midnight came twice
        ("Asia/Kathmandu", "2026-01-01T00:00+05:45", "2026-01-01"),
        ("UTC", "1970-01-01T00:00+00:00", "1970-01-01"),
    ],
)
def test_strange_days_are_days(ledger: WritingLedger, time_zone: str, text: str, day: str) -> None:
    write(ledger, *FOUNDATION)
    called(ledger, record("1", created_us=instant(text)))
    assert [line.group for line in ledger.books().usage(ALL, by=("day",), time_zone=time_zone)] == [(day,)]


REQUESTS = st.lists(
    st.builds(
        lambda hours, customer_id, model, tokens, charge, flags, is_error: (
            hours,
            customer_id,
            model,
            tokens,
            charge,
            flags,
            is_error,
        ),
        st.integers(0, 24 * 800),
        st.sampled_from([ACME, None]),
        st.sampled_from(["a", "b", None]),
        st.one_of(st.none(), st.integers(0, 10**12)),
        st.integers(0, 10**15),
        st.sampled_from([(), ("unpriced",), ("estimated", "unpriced")]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=REQUESTS,
    time_zone=st.sampled_from(["UTC", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"]),
)
def test_both_ledgers_sum_usage_alike(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, CustomerId | None, str | None, int | None, int, tuple[str, ...], bool]],
    time_zone: str,
) -> None:
    start_us = instant("2025-01-01T00:00+00:00")
    records = [
        record(
            str(number),
            created_us=start_us + hours * 3_600_000_000,
            customer_id=customer_id,
            model=model,
            usage=Usage(input_tokens=tokens),
            charge=charge,
            flags=flags,
            status=RequestStatus.ERROR if is_error else RequestStatus.COMPLETED,
        )
        for number, (hours, customer_id, model, tokens, charge, flags, is_error) in enumerate(rows)
    ]
    found = []
    path: Path = tmp_path_factory.mktemp("usage") / "ledger.db"
    for made in (
        MemoryLedger(mode=Mode.TEST, clock=FakeClock()),
        open_ledger(path, mode=Mode.TEST, clock=FakeClock(), synchronous="NORMAL"),
    ):
        with made as ledger:
            write(ledger, *FOUNDATION)
            called(ledger, *records)
            books = ledger.books()
            found.append(
                [books.usage(ALL, by=by, time_zone=time_zone) for by in ((), ("day",), ("model", "day", "customer"))]
            )
    assert found[0] == found[1]


def test_the_journal_is_read_from_anywhere_and_for_one_customer(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, customer(BOLT))
    mine = replace(transaction("t1", ("a", "b", 1), ("b", "c", 2)), customer_id=ACME)
    held = replace(transaction("t2", ("c", "d", 3)), customer_id=ACME, request_id=hold("1").request_id, kind="hold")
    other = replace(transaction("t3"), customer_id=BOLT)
    ended = replace(transaction("t4"), customer_id=ACME, request_id=hold("2").request_id)
    write(ledger, hold("1"), transactions=(mine, held, other))
    write(ledger, hold("2", state=HoldState.SETTLED), record("2"), transactions=(ended,))
    books = ledger.books()
    assert [entry.transaction for entry in books.journal()] == [mine, held, other, ended]
    assert [entry.sequence for entry in books.journal(after=2)] == [3, 4]
    assert [entry.transaction for entry in books.journal(customer_id=ACME)] == [mine, held, ended]
    assert [entry.sequence for entry in books.journal(customer_id=ACME, after=1)] == [2, 4]
    assert [entry.transaction for entry in books.journal(customer_id=BOLT)] == [other]
    assert list(books.journal(after=4)) == []


def test_a_long_journal_streams_in_one_snapshot(ledger: WritingLedger) -> None:
    write(ledger, transactions=tuple(transaction(str(n), ("a", "b", n)) for n in range(1, 1203)))
    entries = ledger.books().journal()
    first = next(entries)
    write(ledger, transactions=(transaction("later"),))
    rest = list(entries)
    assert first.sequence == 1
    assert [entry.sequence for entry in rest] == list(range(2, 1203))
    assert [entry.transaction.postings[0].amount_nanos for entry in rest] == list(range(2, 1203))
    assert ledger.books().last_sequence() == 1203


def test_all_calls_within_a_snapshot_see_one_state(ledger: WritingLedger) -> None:
    write(ledger, *FOUNDATION, transactions=(transaction("a"),))
    with ledger.books().snapshot() as books:
        assert books.last_sequence() == 1
        write(ledger, customer(BOLT), grant("grt_2"), transactions=(transaction("b"),))
        assert books.last_sequence() == 1
        assert [c.customer_id for c in books.rows(Customer)] == [ACME]
        assert len(list(books.rows(Grant))) == 1
        assert len(list(books.journal())) == 1
        both = zip(books.rows(Customer), books.journal(), strict=True)
        assert [(c.customer_id, e.sequence) for c, e in both] == [(ACME, 1)]
    assert ledger.books().last_sequence() == 2
    assert len(list(ledger.books().rows(Customer))) == 2


def test_rows_that_are_given_up_half_way_do_no_harm(ledger: WritingLedger) -> None:
    write(ledger, *(customer(f"con_{n}") for n in range(9)))
    for _ in range(20):
        assert next(iter(ledger.books().rows(Customer))).customer_id == "con_0"
    write(ledger, customer("con_9"))
    assert len(list(ledger.books().rows(Customer))) == 10


def test_a_run_of_nobody_has_no_usage(ledger: WritingLedger) -> None:
    assert ledger.books().usage(RequestFilter(run_id=RunId("run_x")), by=("day",)) == ()
