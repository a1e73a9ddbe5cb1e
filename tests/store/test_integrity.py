"""The facts that `lava doctor` tells about a file."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.core.errors import NotFound
from lava_proxy.store import integrity, open_ledger
from lava_proxy.store.checkpoint import Checkpointer, wal_bytes
from lava_proxy.store.connections import connect
from lava_proxy.store.migrations import STEPS
from tests.store.samples import FOUNDATION, FakeClock, hold, write


def test_a_sound_file_has_no_problems_and_its_facts_are_told(path: Path) -> None:
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock(), synchronous="NORMAL") as ledger:
        write(ledger, *FOUNDATION, hold())
        facts = integrity(path, thorough=True)
        assert facts.wal_bytes > 0
    assert facts.problems == ()
    assert facts.sqlite_version == sqlite3.sqlite_version
    assert facts.journal_mode == "wal"
    assert facts.synchronous == "NORMAL"
    assert facts.schema_version == facts.newest_schema_version == len(STEPS)
    assert facts.file_bytes > 0


def test_rows_that_refer_to_nothing_are_a_problem(path: Path) -> None:
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        write(ledger, *FOUNDATION)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM customers")
        connection.commit()
    assert integrity(path).problems == ()
    (problem,) = integrity(path, thorough=True).problems
    assert problem.startswith("grants: row 1 refers to a row of customers")


def test_a_file_that_is_no_database_is_a_problem_and_not_an_error(path: Path) -> None:
    path.write_text("not a database, but long enough to look at" * 99)
    (problem,) = integrity(path).problems
    assert "not an SQLite file" in problem


def test_looking_at_a_file_does_not_change_it(path: Path) -> None:
    path.touch()
    assert integrity(path).schema_version == 0
    assert path.read_bytes() == b""


def test_a_missing_file_is_not_made(path: Path) -> None:
    with pytest.raises(NotFound):
        integrity(path)
    assert not path.exists()


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "beside one at rest"])
def test_the_log_does_not_grow_for_ever(path: Path, is_alone: bool) -> None:
    open_ledger(path, mode=Mode.TEST, clock=FakeClock()).close()
    limit = 256 * 1024
    neighbour = Checkpointer(path, wal_bytes_max=limit)
    if not is_alone:
        with closing(connect(path, busy_seconds=1)) as other:
            other.execute("INSERT INTO home_facts VALUES ('other', 'x')")
            neighbour.committed(other)
            neighbour.rest(other)
    wal = Path(f"{path}-wal")
    checkpointer = Checkpointer(path, wal_bytes_max=limit)
    with closing(connect(path, busy_seconds=1)) as writer:
        most = 0
        for number in range(1000):
            writer.execute("INSERT INTO home_facts VALUES (?, ?)", (f"fact_{number}", "x" * 3000))
            checkpointer.committed(writer)
            most = max(most, wal_bytes(wal))
        assert 2 * limit < path.stat().st_size, "the test writes enough to tell"
        assert limit < most < 8 * limit
        checkpointer.close(writer)
        neighbour.close(None)
        assert wal_bytes(wal) == 0
