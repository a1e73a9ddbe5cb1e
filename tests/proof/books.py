"""What the books say after all is done, held against what the provider has seen."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lava_proxy.core.entities import Event, Grant, RequestRecord
from lava_proxy.core.journal import REVENUE
from lava_proxy.demo.provider import StandIn
from tests.support.proxy import Shop, eventually

RESOLUTIONS = frozenset({"settle", "orphan", "void", "expire"})


def spent_and_held_at_every_step(shop: Shop) -> list[int]:
    """After each entry of the journal: what has been charged so far, and all that is set aside then. Nanos."""
    balances: Counter[str] = Counter()
    steps: list[int] = []
    for entry in shop.house.ledger.books().journal():
        for posting in entry.transaction.postings:
            balances[posting.destination] += posting.amount_nanos
            balances[posting.source] -= posting.amount_nanos
        held = sum(nanos for account, nanos in balances.items() if account.endswith(":held"))
        steps.append(balances[REVENUE] + held)
    return steps


def open_holds(shop: Shop) -> int:
    return len(shop.house.ledger.books().holds(open_only=True, limit=500).items)


def wait_until_settled(shop: Shop, *, timeout_seconds: float = 60) -> None:
    """Nobody waits for a settlement but who counts."""
    eventually(lambda: open_holds(shop) == 0, timeout_seconds=timeout_seconds)


def calls_seen(provider: StandIn) -> Counter[str]:
    """Which calls reached the provider, by the name in their bodies."""
    latest = provider.counters.seen.copy()  # in one go: its loop may be adding to it
    return Counter(json.loads(seen.body)["messages"][0]["content"] for seen in latest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The finished requests, by the name of the call."""

    records: dict[str, RequestRecord]

    def flags(self, call: str) -> tuple[str, ...]:
        return self.records[call].flags

    def orphaned(self) -> set[str]:
        return {call for call, record in self.records.items() if "orphaned" in record.flags}


def assert_accounted(shop: Shop, reached: Collection[str], *, corrected: Collection[str] = ()) -> Accounts:
    """No open hold; each call one hold, one end, one record, one event; none of ``reached`` free; sums and proof in order.

    ``corrected``: calls that were orphans at first, and were brought to their figures by one posting more.
    """
    books = shop.house.ledger.books()
    records = list(books.rows(RequestRecord))
    names = Counter(dict(record.request.metadata)["call"] for record in records)
    assert not [call for call, count in names.items() if count != 1], names
    by_name = {dict(record.request.metadata)["call"]: record for record in records}
    assert set(reached) <= set(by_name), "a call that reached the provider has no record"
    free = [call for call in reached if by_name[call].charge_nanos <= 0]
    assert not free, f"free calls: {free}"
    assert open_holds(shop) == 0
    _assert_ended_once(shop, by_name, corrected)
    charged = sum(record.charge_nanos for record in records)
    grants = list(books.rows(Grant))
    assert sum(grant.free_nanos for grant in grants) + charged == sum(grant.amount_nanos for grant in grants)
    report = shop.house.verify()
    assert report.is_sound, report.findings
    return Accounts(records=by_name)


def _assert_ended_once(shop: Shop, records: Mapping[str, RequestRecord], corrected: Collection[str]) -> None:
    books = shop.house.ledger.books()
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for entry in books.journal():
        if entry.transaction.request_id is not None:
            kinds[entry.transaction.request_id].append(entry.transaction.kind)
    told = Counter(json.loads(e.payload)["request_id"] for e in books.rows(Event) if e.kind == "request.settled")
    assert set(kinds) == set(told) == {record.request_id for record in records.values()}
    for call, record in records.items():
        first, *ends = kinds[record.request_id]
        assert first == "hold" and told[record.request_id] == len(ends), (call, ends)
        assert ends == ["orphan", "late"] if call in corrected else len(ends) == 1 and ends[0] in RESOLUTIONS, call
