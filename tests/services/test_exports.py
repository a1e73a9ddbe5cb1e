"""Exports hold what the books hold, to the nano-dollar, whatever is asked for."""

import sqlite3
from contextlib import closing

import pytest

from lava_proxy.core.entities import RequestRecord
from lava_proxy.core.ports import RequestFilter
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.services.exports import Cell, Export, PostingFilter
from lava_proxy.store.rows_requests import REQUESTS
from lava_proxy.store.sqlite_books import _select
from lava_proxy.store.sqlite_usage import requests_where
from lava_proxy.wiring import House
from tests.services.conftest import ME, TestClock, Traffic


@pytest.fixture(autouse=True)
def books(house: House, traffic: Traffic, clock: TestClock) -> None:
    """Two customers and the merchant, over two hours."""
    for name in ("acme", "bolt"):
        house.customers.create(CustomerFields(reference_id=name), by=ME)
        house.credits.grant(GrantTerms(customer=name, amount_nanos=10**9, note=f"for {name}"), by=ME)
    for _ in range(3):
        for caller in ("acme", "bolt", None):
            traffic.call(caller)
        clock.at_us += 3600 * 1_000_000


def rows(export: Export) -> list[dict[str, Cell]]:
    names = [column.name for column in export.columns]
    return [dict(zip(names, line, strict=True)) for line in export.rows]


def test_requests_come_oldest_first_with_their_sums(house: House) -> None:
    found = rows(house.exports.requests(RequestFilter()))
    kept = list(house.ledger.books().rows(RequestRecord))
    assert [row["created_at"] for row in found] == sorted(record.created_us for record in kept)
    assert sum(int(row["charge"] or 0) for row in found) == sum(record.charge_nanos for record in kept) > 0
    assert {row["reference_id"] for row in found} == {"acme", "bolt", None}
    assert found[0]["input_tokens"] == 1000 and found[0]["images"] is None
    assert found[0]["margin"] == int(found[0]["charge"] or 0) - int(found[0]["cost"] or 0)


def test_requests_are_those_that_were_asked_for(house: House) -> None:
    acme = house.customers.get("acme").customer_id
    everything = rows(house.exports.requests(RequestFilter()))
    since_us = int(everything[3]["created_at"] or 0)
    assert len(rows(house.exports.requests(RequestFilter(customer_id=acme)))) == 3
    assert rows(house.exports.requests(RequestFilter(since_us=since_us))) == everything[3:]
    assert rows(house.exports.requests(RequestFilter(until_us=since_us))) == everything[:3]
    assert rows(house.exports.requests(RequestFilter(provider="anthropic"))) == []


def test_postings_are_the_journal(house: House) -> None:
    found = rows(house.exports.postings(PostingFilter()))
    postings = [p for entry in house.ledger.books().journal() for p in entry.transaction.postings]
    assert [(row["source"], row["destination"], row["amount"]) for row in found] == [
        (p.source, p.destination, p.amount_nanos) for p in postings
    ]
    revenue = rows(house.exports.postings(PostingFilter(account="revenue")))
    assert {row["destination"] for row in revenue} == {"revenue"}
    assert len(rows(house.exports.postings(PostingFilter(account="provider")))) == 9
    acme = house.customers.get("acme").customer_id
    assert {row["customer_id"] for row in rows(house.exports.postings(PostingFilter(customer_id=acme)))} == {acme}
    at = int(found[-1]["at"] or 0)
    assert rows(house.exports.postings(PostingFilter(since_us=at + 1))) == []
    assert rows(house.exports.postings(PostingFilter(until_us=at + 1))) == found


def test_statements_are_those_of_the_customers(house: House) -> None:
    found = rows(house.exports.statements())
    told = [line for name in ("acme", "bolt") for line in house.credits.statement(name).lines]
    assert [(row["sequence"], row["amount"], row["balance"]) for row in found] == [
        (line.sequence, line.amount_nanos, line.balance_nanos) for line in told
    ]
    acme = house.customers.get("acme")
    own = rows(house.exports.statements(acme.customer_id, since_us=int(found[1]["at"] or 0)))
    assert {row["reference_id"] for row in own} == {"acme"}
    assert own[-1]["balance"] == house.credits.balance("acme").available_nanos


@pytest.mark.parametrize(
    "which", [RequestFilter(), RequestFilter(since_us=1, until_us=9), RequestFilter(provider="x", flag="y")]
)
def test_requests_are_read_in_order_and_never_sorted(house: House, which: RequestFilter) -> None:
    if not house.home.ledger_file.exists():
        pytest.skip("the memory ledger has no plan")
    where, values = requests_where(which)
    with closing(sqlite3.connect(house.home.ledger_file)) as connection:
        sql = f"EXPLAIN QUERY PLAN {_select(REQUESTS, where)} ORDER BY created_us, request_id"
        plan = " ".join(row[3] for row in connection.execute(sql, values))
    assert "requests_by_instant" in plan and "TEMP B-TREE" not in plan
