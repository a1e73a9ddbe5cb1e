"""What the file itself promises: history is not rewritten, amounts add up, and no row is looked for by reading them all."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lava_proxy.core.entities import AuditEntry, Mode
from lava_proxy.store import open_ledger, statements
from lava_proxy.store.connections import connect
from lava_proxy.store.tables import TABLES
from tests.store.samples import ACME, EVERY_KIND, FOUNDATION, FakeClock, hold, transaction, write


@pytest.fixture
def file(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a ledger with a row in every table."""
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        write(ledger, *FOUNDATION, AuditEntry(at_us=1, actor="a", action="b", subject="c"))
        write(
            ledger,
            *EVERY_KIND[:-1],
            hold("9", amount=9),
            transactions=(transaction("a", ("x", "y", 5)), transaction("b")),
        )
    with closing(connect(path, busy_seconds=1)) as connection:
        yield connection


@pytest.mark.parametrize("table", ["transactions", "postings", "audit", "meter_versions"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {table} SET rowid_or_key", "DELETE FROM {table}", "INSERT OR REPLACE INTO {table} SELECT * FROM {table}"],
)
def test_history_refuses_to_be_changed(file: sqlite3.Connection, table: str, statement: str) -> None:
    columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
    sql = statement.format(table=table).replace("rowid_or_key", f"{columns[-1]} = {columns[-1]}")
    before = file.execute(f"SELECT * FROM {table}").fetchall()
    assert before
    with pytest.raises(sqlite3.IntegrityError, match=r"only ever grows|must follow"):
        file.execute(sql)
    assert file.execute(f"SELECT * FROM {table}").fetchall() == before


@pytest.mark.parametrize(
    ("sequence", "previous"),
    [
        pytest.param(4, "last", id="a gap"),
        pytest.param(3, "first", id="another past"),
        pytest.param(3, "0" * 64, id="a new beginning"),
        pytest.param(1, "0" * 64, id="the beginning again"),
        pytest.param(0, "0" * 64, id="before the beginning"),
    ],
)
def test_a_transaction_that_does_not_follow_the_last_one_is_refused(
    file: sqlite3.Connection, sequence: int, previous: str
) -> None:
    hashes = {
        "first": "SELECT hash FROM transactions WHERE sequence = 1",
        "last": "SELECT hash FROM transactions WHERE sequence = 2",
    }
    link = file.execute(hashes[previous]).fetchone()[0] if previous in hashes else previous
    with pytest.raises(sqlite3.IntegrityError):
        file.execute(
            "INSERT INTO transactions VALUES (?, 't', 'k', 'new', 0, NULL, NULL, '', '', ?, 'h')", (sequence, link)
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE grants SET free_nanos = free_nanos - 1 WHERE grant_id = 'grt_1'",
        "UPDATE grants SET free_nanos = -1, lapsed_nanos = amount_nanos + 1, spent_nanos = 0, held_nanos = 0",
        "UPDATE grants SET is_open = 0 WHERE free_nanos > 0",
        "UPDATE grants SET customer_id = 'con_nobody'",
        "UPDATE wallets SET debt_nanos = -1",
        "UPDATE budgets SET held = -1",
        "UPDATE tier_counters SET count_micros = -1",
        "UPDATE holds SET state = 'settled' WHERE resolved_us IS NULL",
        "UPDATE holds SET state = 'lost', resolved_us = 1",
        "UPDATE holds SET amount_nanos = 1.5",
        "UPDATE holds SET amount_nanos = 'much'",
        "UPDATE hold_allocations SET budget_id = 'bud_1' WHERE grant_id IS NOT NULL",
        "UPDATE requests SET charge_nanos = -1",
        "DELETE FROM customers WHERE customer_id = 'con_acme'",
        "INSERT INTO postings VALUES (1, 9, 'x', 'x', 1)",
        "INSERT INTO postings VALUES (1, 9, 'x', 'y', 0)",
        "INSERT INTO postings VALUES (99, 0, 'x', 'y', 1)",
    ],
)
def test_the_file_refuses_what_does_not_add_up(file: sqlite3.Connection, statement: str) -> None:
    changed = file.total_changes
    with pytest.raises(sqlite3.IntegrityError):
        file.execute(statement)
    assert file.total_changes == changed


def test_no_row_is_looked_for_by_reading_the_whole_table(file: sqlite3.Connection) -> None:
    """SQLite would do so for a list of composite keys, for one."""
    asked: list[tuple[str, int]] = []
    for table in TABLES.values():
        if not table.key:
            continue
        asked.append((statements.load_sql(table, 8), 8 * len(table.key)))
        asked += [(statements.find_sql(table, column, f"{column} = ?"), 1) for column in table.lookups]
        changed = tuple(column for column in table.columns if column not in table.key)[:2]
        if changed:
            asked.append(
                (statements.update_sql(table.name, table.key, changed, 8), 8 * (len(table.key) + len(changed)))
            )
    for sql, values in asked:
        plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * values)]
        scanned = [
            step for step in plan if step.startswith("SCAN") and step.split()[1] in {t.name for t in TABLES.values()}
        ]
        assert not scanned, (sql, plan)


def test_the_ledger_is_private_to_its_owner(file: sqlite3.Connection, path: Path) -> None:
    file.execute("BEGIN IMMEDIATE")
    file.execute("UPDATE customers SET name = 'x' WHERE customer_id = ?", (ACME,))
    file.execute("COMMIT")
    files = [path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}.checkpoint.lock")]
    assert {one.name: oct(one.stat().st_mode & 0o777) for one in files} == {one.name: "0o600" for one in files}
