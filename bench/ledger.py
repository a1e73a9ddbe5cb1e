"""Pairs of hold and settle per second with 64 calls in flight, beside what bare SQLite does in groups of 64.

    python -m bench.ledger [--rounds 5] [--seconds 2] [--customers 1000] [--synchronous FULL] [--in-flight 64]

``bare``: two rows a step (a wallet updated, an entry inserted), no index, no rules: the limit of the disk and SQLite.
``ledger``: every row of a real call through ``transact`` (transaction, postings, grant, hold, allocation, counter, request,
event), decided by a stand-in for the rules that costs next to nothing. ``rules``: the same under the real rules of
``core.admission`` and ``core.settlement``. ``replayed``: the very statements of such a run with their values, one after the other
and nothing else: what these tables cost SQLite, whoever decides. All in one run, interleaved; the figure to quote is the ratio.
"""

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from msgspec.structs import replace

from lava_proxy.core.admission import Admitted, Asked, Quantities, UnpricedPolicy, admit, load_admission
from lava_proxy.core.entities import (
    Counter,
    CounterReset,
    Customer,
    Event,
    Grant,
    GrantAllocation,
    GrantSource,
    Hold,
    HoldState,
    HomeFact,
    Meter,
    MeterVersion,
    Mode,
    RateType,
    RequestHead,
    RequestRecord,
    RequestStatus,
    Tier,
    TierUnit,
    Transaction,
)
from lava_proxy.core.identity import DEFAULT_METER_FACT, Claims, IdentityPolicy
from lava_proxy.core.ids import CustomerId, EventId, GrantId, HoldId, InstanceId, MeterId, RequestId, TransactionId
from lava_proxy.core.journal import COST, REVENUE, free_account, funding_account, held_account, move, provider_account
from lava_proxy.core.ports import Decision, Rows
from lava_proxy.core.settlement import Measured, Stamp, load_holding, settle
from lava_proxy.core.usage import Usage
from lava_proxy.store import SqliteLedger
from lava_proxy.store.connections import connect

GROUP = 64
NOW_US = 1_760_000_000_000_000
METER_ID = MeterId("prd_01K7BENCH0000000000000000")
USAGE = Usage(input_tokens=1_204, cached_input_tokens=1_024, output_tokens=317, reasoning_tokens=64)
RAW_USAGE = ('{"prompt_tokens":1204,"completion_tokens":317,"prompt_tokens_details":{"cached_tokens":1024}}',)
UNIT_PRICES = '{"input_tokens":"2.5","cached_input_tokens":"1.25","output_tokens":"10"}'
HOLD_NANOS, CHARGE_NANOS, COST_NANOS = 12_000_000, 5_870_000, 4_890_000


class BenchClock:
    def now_us(self) -> int:
        return NOW_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Pairs per second, and the processor time of the whole process for one pair."""

    pairs_per_second: float
    cpu_us: float

    def __str__(self) -> str:
        return f"{self.pairs_per_second:,.0f} pairs/s at {self.cpu_us:.0f} us of CPU each"


def rate_of(pairs: float, begun: float, cpu_begun: float) -> Rate:
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    return Rate(pairs_per_second=pairs / seconds, cpu_us=cpu_seconds / pairs * 1e6)


def bare_pairs(folder: Path, *, seconds: float, customers: int, synchronous: str) -> Rate:
    """Two-row steps in groups of 64."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        execute = connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {synchronous}")
        execute("CREATE TABLE wallet (id INTEGER PRIMARY KEY, free INTEGER NOT NULL, held INTEGER NOT NULL)")
        execute(
            "CREATE TABLE entry (id INTEGER PRIMARY KEY, wallet INTEGER NOT NULL, kind INTEGER NOT NULL, amount INTEGER, ref TEXT)"
        )
        execute("BEGIN")
        connection.executemany("INSERT INTO wallet VALUES (?, ?, 0)", [(number, 10**15) for number in range(customers)])
        execute("COMMIT")
        steps, end = 0, time.perf_counter() + seconds
        begun, cpu_begun = time.perf_counter(), time.process_time()
        while time.perf_counter() < end:
            execute("BEGIN IMMEDIATE")
            for _ in range(GROUP):
                wallet, kind = steps // 2 * 7919 % customers, steps % 2
                execute(
                    "UPDATE wallet SET free = free - ?1, held = held + ?1 WHERE id = ?2", (1000 - 2000 * kind, wallet)
                )
                execute("INSERT INTO entry VALUES (NULL, ?, ?, ?, ?)", (wallet, kind, 1000, f"req_{steps // 2:012d}"))
                steps += 1
            execute("COMMIT")
        return rate_of(steps / 2, begun, cpu_begun)


class Calls:
    """Keeps a number of calls in flight: each holds, then settles, then the next one begins."""

    def __init__(
        self, ledger: SqliteLedger, hold: Callable[[int], Future[Any]], settle_it: Callable[[int, Any], Future[Any]]
    ) -> None:
        self._ledger = ledger
        self._hold = hold
        self._settle = settle_it
        self._numbers = count()
        self._ready: SimpleQueue[tuple[int, bool, Future[Any], int]] = SimpleQueue()

    def run(self, *, seconds: float, in_flight: int) -> tuple[Rate, list[int]]:
        """The rate, and how long each hold took from the call to the result, in microseconds."""
        waits: list[int] = []
        pairs = open_calls = 0
        begun, cpu_begun = time.perf_counter(), time.process_time()
        end = begun + seconds
        for _ in range(in_flight):
            self._begin()
            open_calls += 1
        while open_calls:
            number, is_hold, future, asked_ns = self._ready.get(timeout=60)
            result = future.result()
            if is_hold:
                waits.append((time.perf_counter_ns() - asked_ns) // 1000)
                self._watch(number, False, self._settle(number, result))
                continue
            pairs += 1
            if time.perf_counter() < end:
                self._begin()
            else:
                open_calls -= 1
        return rate_of(pairs, begun, cpu_begun), waits

    def _begin(self) -> None:
        number = next(self._numbers)
        self._watch(number, True, self._hold(number))

    def _watch(self, number: int, is_hold: bool, future: Future[Any]) -> None:
        asked_ns = time.perf_counter_ns()
        future.add_done_callback(lambda done: self._ready.put((number, is_hold, done, asked_ns)))


def customer_id(number: int, customers: int) -> CustomerId:
    return CustomerId(f"con_01K7BENCH{number * 7919 % customers:013d}")


def grant_id(number: int, customers: int) -> GrantId:
    return GrantId(f"grt_01K7BENCH{number * 7919 % customers:013d}")


HEAD = RequestHead(
    provider="openai",
    dialect="openai_chat",
    op="chat",
    method="POST",
    url="https://api.openai.com/v1/chat/completions",
    model="gpt-4o",
    is_stream=True,
    metadata=(("feature", "chat"),),
)


def new_hold(number: int, grant: Grant) -> Hold:
    return Hold(
        hold_id=HoldId(f"hld_01K7BENCH{number:013d}"),
        request_id=RequestId(f"req_01K7BENCH{number:013d}"),
        instance_id=InstanceId("ins_01K7BENCH0000000000000000"),
        customer_id=grant.customer_id,
        key_id=None,
        run_id=None,
        meter_id=METER_ID,
        meter_version=1,
        meter_rule="home_default",
        amount_nanos=HOLD_NANOS,
        cost_quote_nanos=HOLD_NANOS,
        grants=(GrantAllocation(grant_id=grant.grant_id, amount_nanos=HOLD_NANOS),),
        request=HEAD,
        quote='{"assumed_output_tokens":1024}',
        created_us=NOW_US + number,
        expires_us=NOW_US + number + 600_000_000,
    )


def moved(grant: Grant, *, free_nanos: int, held_nanos: int, spent_nanos: int) -> Grant:
    return Grant(
        grant_id=grant.grant_id,
        customer_id=grant.customer_id,
        source=grant.source,
        amount_nanos=grant.amount_nanos,
        free_nanos=grant.free_nanos + free_nanos,
        held_nanos=grant.held_nanos + held_nanos,
        spent_nanos=grant.spent_nanos + spent_nanos,
        created_us=grant.created_us,
    )


def lean_calls(ledger: SqliteLedger, customers: int) -> Calls:
    """Decisions with every row of a real call, and hardly any rule."""

    def hold(number: int) -> Future[Hold]:
        mine = customer_id(number, customers)

        def load(rows: Rows) -> Grant:
            assert rows.get(Customer, mine)
            rows.get(Counter, mine, METER_ID, "")
            return rows.find(Grant, customer_id=mine)[0]

        def decide(grant: Grant) -> Decision[Hold]:
            taken = new_hold(number, grant)
            transaction = Transaction(
                transaction_id=TransactionId(f"txn_01K7BENCH{number:012d}H"),
                kind="hold",
                key=f"hold:{taken.request_id}",
                at_us=taken.created_us,
                customer_id=taken.customer_id,
                request_id=taken.request_id,
                postings=move(free_account(grant.grant_id), held_account(grant.grant_id), HOLD_NANOS),
            )
            less = moved(grant, free_nanos=-HOLD_NANOS, held_nanos=HOLD_NANOS, spent_nanos=0)
            return Decision(result=taken, transactions=(transaction,), rows=(less, taken))

        return ledger.transact(load, decide)

    def settle_it(number: int, taken: Hold) -> Future[None]:
        def load(rows: Rows) -> tuple[Hold, Grant, Counter]:
            found = rows.get(Hold, taken.hold_id)
            grant = rows.get(Grant, taken.grants[0].grant_id)
            assert found is not None
            assert grant is not None
            mine = taken.customer_id or ""
            counter = rows.get(Counter, mine, METER_ID, "") or Counter(customer_id=mine, meter_id=METER_ID)
            return found, grant, counter

        return ledger.transact(load, lambda loaded: settled(number, *loaded))

    return Calls(ledger, hold, settle_it)


def settled(number: int, taken: Hold, grant: Grant, counter: Counter) -> Decision[None]:
    held = held_account(grant.grant_id)
    transaction = Transaction(
        transaction_id=TransactionId(f"txn_01K7BENCH{number:012d}S"),
        kind="settle",
        key=f"settle:{taken.request_id}",
        at_us=taken.created_us + 900_000,
        customer_id=taken.customer_id,
        request_id=taken.request_id,
        postings=(
            *move(held, REVENUE, CHARGE_NANOS),
            *move(held, free_account(grant.grant_id), HOLD_NANOS - CHARGE_NANOS),
            *move(provider_account("openai"), COST, COST_NANOS),
        ),
    )
    more = moved(grant, free_nanos=HOLD_NANOS - CHARGE_NANOS, held_nanos=-HOLD_NANOS, spent_nanos=CHARGE_NANOS)
    counted = Counter(
        customer_id=counter.customer_id, meter_id=METER_ID, count_micros=counter.count_micros + 1_521_000_000
    )
    event = Event(
        event_id=EventId(f"evt_01K7BENCH{number:013d}"),
        kind="request.settled",
        key=transaction.key,
        payload=f'{{"request_id":"{taken.request_id}"}}',
        created_us=transaction.at_us,
    )
    done = replace(taken, state=HoldState.SETTLED, resolved_us=transaction.at_us)
    return Decision(result=None, transactions=(transaction,), rows=(more, done, counted, record_of(taken), event))


def record_of(taken: Hold) -> RequestRecord:
    return RequestRecord(
        request_id=taken.request_id,
        hold_id=taken.hold_id,
        customer_id=taken.customer_id,
        key_id=None,
        run_id=None,
        meter_id=METER_ID,
        meter_version=1,
        meter_rule=taken.meter_rule,
        request=taken.request,
        model="gpt-4o-2024-08-06",
        status=RequestStatus.COMPLETED,
        http_status=200,
        response_id="chatcmpl-bench",
        dialect_version=1,
        usage=USAGE,
        raw_usage=RAW_USAGE,
        quote_nanos=HOLD_NANOS,
        cost_nanos=COST_NANOS,
        charge_nanos=CHARGE_NANOS,
        unit_prices=UNIT_PRICES,
        price_source="book",
        price_date="2025-10-09",
        latency_us=900_000,
        first_byte_us=210_000,
        created_us=taken.created_us,
        settled_us=taken.created_us + 900_000,
    )


def ruled_calls(ledger: SqliteLedger, customers: int) -> Calls:
    """The same under the real rules."""
    quantities = Quantities(tokens_micros=2_228_000_000, characters_micros=0, seconds_micros=0)
    policy = IdentityPolicy(require_key=False)

    def hold(number: int) -> Future[Any]:
        asked = Asked(
            claims=Claims(user=customer_id(number, customers)),
            request=HEAD,
            quantities=quantities,
            cost=Fraction(HOLD_NANOS),
            quote_note='{"assumed_output_tokens":1024}',
            policy=policy,
            unpriced=UnpricedPolicy.BLOCK,
            unpriced_hold_nanos=0,
            now_us=NOW_US + number,
            expires_us=NOW_US + number + 600_000_000,
            instance_id=InstanceId("ins_01K7BENCH0000000000000000"),
            request_id=RequestId(f"req_01K7BENCH{number:013d}"),
            hold_id=HoldId(f"hld_01K7BENCH{number:013d}"),
            transaction_id=TransactionId(f"txn_01K7BENCH{number:012d}H"),
            new_customer_id=CustomerId(f"con_01K7BENCHNEW{number:010d}"),
            new_event_id=EventId(f"evt_01K7BENCHNEW{number:010d}"),
        )
        return ledger.transact(lambda rows: load_admission(rows, asked), admit)

    def settle_it(number: int, admitted: Any) -> Future[Any]:
        assert isinstance(admitted, Admitted), admitted
        measured = Measured(
            usage=USAGE,
            cost=Fraction(COST_NANOS * 3 + 1, 3),
            charge_hold_if_unpriced=True,
            model="gpt-4o-2024-08-06",
            http_status=200,
            response_id="chatcmpl-bench",
            dialect_version=1,
            raw_usage=RAW_USAGE,
            unit_prices=UNIT_PRICES,
            price_source="book",
            price_date="2025-10-09",
            latency_us=900_000,
            first_byte_us=210_000,
        )
        stamp = Stamp(
            now_us=NOW_US + number + 900_000,
            transaction_id=TransactionId(f"txn_01K7BENCH{number:012d}S"),
            event_id=EventId(f"evt_01K7BENCH{number:013d}"),
        )

        def decide(holding: Any) -> Decision[Any]:
            return settle(holding, measured, stamp)

        return ledger.transact(lambda rows: load_holding(rows, admitted.hold.hold_id), decide)

    return Calls(ledger, hold, settle_it)


class Recorder(sqlite3.Connection):
    """Notes what is executed while ``log`` is a list."""

    log: list[tuple[str, tuple[Any, ...]]] | None = None

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        if Recorder.log is not None:
            Recorder.log.append((sql, tuple(values)))
        return super().execute(sql, values)


def replayed(folder: Path, *, seconds: float, customers: int, synchronous: str) -> Rate:
    """The statements of a run under the real rules, again on a ledger as that run found it."""
    Recorder.log = None
    (folder / "first").mkdir()
    (folder / "again").mkdir()
    with stocked(folder / "first", customers=customers, synchronous=synchronous, recorder=Recorder) as ledger:
        log: list[tuple[str, tuple[Any, ...]]] = []
        Recorder.log = log
        ruled_calls(ledger, customers).run(seconds=seconds, in_flight=64)
        Recorder.log = None
    with stocked(folder / "again", customers=customers, synchronous=synchronous):
        pass
    pairs = sum(values[2] == "settle" for sql, values in rows_of(log, "transactions"))
    with closing(connect(folder / "again" / "ledger.db", busy_seconds=5)) as connection:
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        begun, cpu_begun = time.perf_counter(), time.process_time()
        for sql, values in log:
            connection.execute(sql, values)
        return rate_of(pairs, begun, cpu_begun)


def rows_of(log: list[tuple[str, tuple[Any, ...]]], table: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Each row that was inserted into a table."""
    for sql, values in log:
        if sql.startswith(f"INSERT INTO {table} "):
            width = sql.partition("(")[2].partition(")")[0].count(",") + 1
            for start in range(0, len(values), width):
                yield sql, values[start : start + width]


@contextmanager
def stocked(
    folder: Path, *, customers: int, synchronous: str, recorder: type[sqlite3.Connection] = sqlite3.Connection
) -> Iterator[SqliteLedger]:
    """A ledger with a meter, and customers with one grant each."""
    with SqliteLedger(
        folder / "ledger.db",
        mode=Mode.TEST,
        clock=BenchClock(),
        synchronous=synchronous,
        connection_class=recorder,
    ) as ledger:
        meter = Meter(
            meter_id=METER_ID,
            slug="default",
            name="Default",
            rate_type=RateType.PERCENTAGE,
            tier_unit=TierUnit.TOKENS_1M,
            version=1,
            created_us=NOW_US,
        )
        version = MeterVersion(
            meter_id=METER_ID,
            version=1,
            rate_type=meter.rate_type,
            tier_unit=meter.tier_unit,
            tiers=(Tier(start=0, rate_nanos=20_000_000_000),),
            reset=CounterReset.NEVER,
            created_us=NOW_US,
        )
        rows = (meter, version, HomeFact(name=DEFAULT_METER_FACT, value=METER_ID))
        ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=rows)).result()
        waiting = [stock(ledger, number, customers) for number in range(customers)]
        for future in waiting:
            future.result()
        yield ledger


def stock(ledger: SqliteLedger, number: int, customers: int) -> Future[None]:
    customer = Customer(
        customer_id=customer_id(number, customers), reference_id=f"customer-{number}", created_us=NOW_US
    )
    amount_nanos = 10**15
    grant = Grant(
        grant_id=grant_id(number, customers),
        customer_id=customer.customer_id,
        source=GrantSource.MANUAL,
        amount_nanos=amount_nanos,
        free_nanos=amount_nanos,
        created_us=NOW_US,
    )
    transaction = Transaction(
        transaction_id=TransactionId(f"txn_01K7BENCH{number:012d}G"),
        kind="grant",
        key=f"grant:{grant.grant_id}",
        at_us=NOW_US,
        customer_id=customer.customer_id,
        postings=move(funding_account("manual"), free_account(grant.grant_id), amount_nanos),
    )
    decision = Decision(result=None, transactions=(transaction,), rows=(customer, grant))
    return ledger.transact(lambda _: None, lambda _: decision)


VARIANTS: dict[str, Callable[[SqliteLedger, int], Calls]] = {"ledger": lean_calls, "rules": ruled_calls}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--synchronous", default="FULL", choices=("FULL", "NORMAL"))
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the files are written; else the system's temporary folder"
    )
    asked = parser.parse_args()
    ratios: dict[str, list[float]] = {name: [] for name in (*VARIANTS, "replayed")}
    for number in range(asked.rounds):
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            bare = bare_pairs(
                Path(folder), seconds=asked.seconds, customers=asked.customers, synchronous=asked.synchronous
            )
        print(f"round {number + 1}: bare {bare}")
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            again = replayed(
                Path(folder), seconds=asked.seconds, customers=asked.customers, synchronous=asked.synchronous
            )
        ratios["replayed"].append(again.pairs_per_second / bare.pairs_per_second)
        print(f"  replayed: {again}, {ratios['replayed'][-1]:.3f} of bare", flush=True)
        for name, make in VARIANTS.items():
            with (
                tempfile.TemporaryDirectory(dir=asked.folder) as folder,
                stocked(Path(folder), customers=asked.customers, synchronous=asked.synchronous) as ledger,
            ):
                rate, waits = make(ledger, asked.customers).run(seconds=asked.seconds, in_flight=asked.in_flight)
            waits.sort()
            p50, p99 = waits[len(waits) // 2] / 1000, waits[len(waits) * 99 // 100] / 1000
            ratios[name].append(rate.pairs_per_second / bare.pairs_per_second)
            print(f"  {name}: {rate}, {ratios[name][-1]:.3f} of bare; hold p50 {p50:.1f} p99 {p99:.1f} ms", flush=True)
    for name, found in ratios.items():
        print(f"{name} / bare: median {statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})")


if __name__ == "__main__":
    main()
