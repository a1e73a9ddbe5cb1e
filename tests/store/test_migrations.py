"""Files of other versions: older ones are brought up after a copy is made, newer ones are refused."""

import multiprocessing
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lava_proxy.core.entities import Customer, Mode
from lava_proxy.core.errors import InvalidSettings, LedgerTooNew, LedgerUnavailable, NotFound, Refused
from lava_proxy.core.verify import verify
from lava_proxy.store import open_ledger
from lava_proxy.store.connections import connect
from lava_proxy.store.migrations import STEPS, MigrationStep, migrate, schema_version
from tests.store.dump import SCHEMAS, dump_of, fill, schema_of
from tests.store.samples import ACME, BOLT, NOW_US, FakeClock, customer, transaction, write

EARLIER = sorted(SCHEMAS.glob("v*.sql"))
TEST = Mode.TEST


def backups(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.glob("*.bak"))


def restore(dump: Path, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text())


def test_every_version_has_its_dump() -> None:
    assert [dump.stem for dump in EARLIER] == [f"v{number:04d}" for number in range(1, len(STEPS) + 1)]


def test_the_newest_dump_is_the_present_schema(path: Path) -> None:
    """A change of the schema is a new step with a new dump, never a change of an old one."""
    fill(path)
    with closing(sqlite3.connect(path)) as made, closing(sqlite3.connect(":memory:")) as dumped:
        dumped.executescript(EARLIER[-1].read_text())
        assert schema_of(dumped) == schema_of(made)


@pytest.mark.parametrize("dump", EARLIER, ids=lambda dump: dump.stem)
def test_a_file_of_every_version_opens_keeps_its_books_and_takes_more(dump: Path, path: Path) -> None:
    restore(dump, path)
    with open_ledger(path, mode=TEST, clock=FakeClock()) as ledger:
        before = list(ledger.books().journal())
        assert [entry.transaction.key for entry in before] == ["grant:grt_1", "hold:req_1"]
        write(ledger, customer(BOLT), transactions=(transaction("new"),))
        assert list(ledger.books().journal())[:-1] == before
        assert not [f for f in verify(ledger.books(), now_us=NOW_US).findings if f.invariant == "I9"]
    assert bool(backups(path)) == (dump != EARLIER[-1])


def _add_colour(database: object) -> None:
    database.conn.execute("ALTER TABLE customers ADD COLUMN colour TEXT")  # type: ignore[attr-defined]


def _fail(database: object) -> None:
    database.conn.execute("UPDATE customers SET name = 'changed'")  # type: ignore[attr-defined]
    raise RuntimeError("half way")


NEXT = MigrationStep(name="colours", run=_add_colour)
BROKEN = MigrationStep(name="broken", run=_fail)


def test_an_older_file_is_copied_before_it_is_changed(path: Path) -> None:
    fill(path)
    before = dump_of(path)
    with closing(connect(path, busy_seconds=1)) as connection:
        copy = migrate(connection, path, now_us=NOW_US, steps=(*STEPS, NEXT))
        assert schema_version(connection) == len(STEPS) + 1
        assert "colour" in [row[1] for row in connection.execute("PRAGMA table_info(customers)")]
        ran = [row[0] for row in connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id")]
        assert ran == [*(step.name for step in STEPS), "colours"]
        assert migrate(connection, path, now_us=NOW_US, steps=(*STEPS, NEXT)) is None
    assert copy is not None
    assert backups(path) == [f"ledger.db.v{len(STEPS)}-20260921T141320.000000Z.bak"]
    assert dump_of(copy) == before
    assert oct(copy.stat().st_mode & 0o777) == "0o600"


def test_a_step_that_fails_leaves_the_file_as_it_was_with_all_the_steps_before_it(path: Path) -> None:
    fill(path)
    before = dump_of(path)
    with closing(connect(path, busy_seconds=1)) as connection, pytest.raises(RuntimeError, match="half way"):
        migrate(connection, path, now_us=NOW_US, steps=(*STEPS, NEXT, BROKEN))
    assert dump_of(path) == before


def test_a_newer_file_is_refused_and_both_versions_are_named(path: Path) -> None:
    fill(path)
    with closing(connect(path, busy_seconds=1)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("UPDATE home_facts SET value = '7.8.9' WHERE name = 'written_by'")
    before = path.read_bytes()
    with pytest.raises(LedgerTooNew, match=r"version 99, written by lava-proxy 7\.8\.9.*up to \d+") as caught:
        open_ledger(path, mode=TEST, clock=FakeClock())
    assert caught.value.details["file_version"] == 99
    assert path.read_bytes() == before


def test_a_file_of_somebody_else_is_refused_and_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(LedgerUnavailable, match="not a ledger"):
        open_ledger(path, mode=TEST, clock=FakeClock())
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_text("Dear diary, today I am not an SQLite file, and I will not become one. " * 9)
    with pytest.raises(LedgerUnavailable, match="not an SQLite file"):
        open_ledger(path, mode=TEST, clock=FakeClock())


def test_a_missing_file_is_made_only_where_that_is_wanted(path: Path) -> None:
    with pytest.raises(NotFound):
        open_ledger(path, mode=TEST, clock=FakeClock(), create=False)
    assert not path.exists()
    open_ledger(path, mode=TEST, clock=FakeClock()).close()
    open_ledger(path, mode=TEST, clock=FakeClock(), create=False).close()


def test_a_folder_that_does_not_exist_is_told(path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be made"):
        open_ledger(path.parent / "none" / "ledger.db", mode=TEST, clock=FakeClock())


def test_a_home_keeps_its_mode(path: Path) -> None:
    open_ledger(path, mode=Mode.LIVE, clock=FakeClock()).close()
    with pytest.raises(Refused, match="live mode"):
        open_ledger(path, mode=TEST, clock=FakeClock())
    open_ledger(path, mode=Mode.LIVE, clock=FakeClock()).close()


def test_how_carefully_the_file_is_synced_is_kept_in_it(path: Path) -> None:
    def opened(synchronous: str | None) -> str:
        with open_ledger(path, mode=TEST, clock=FakeClock(), synchronous=synchronous) as ledger:
            return ledger.synchronous

    assert opened(None) == "FULL"
    assert opened("NORMAL") == "NORMAL"
    assert opened(None) == "NORMAL"
    assert opened("FULL") == "FULL"
    with pytest.raises(InvalidSettings):
        opened("OFF")


def _open_and_write(path: Path, number: int) -> None:
    with open_ledger(path, mode=TEST, clock=FakeClock()) as ledger:
        write(ledger, customer(f"con_{number}"), transactions=(transaction(f"from {number}"),))


@pytest.mark.slow
def test_processes_that_open_a_new_file_at_once_all_find_it_made(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_open_and_write, args=(path, number)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    with open_ledger(path, mode=TEST, clock=FakeClock()) as ledger:
        assert len(list(ledger.books().rows(Customer))) == 6
        assert [entry.sequence for entry in ledger.books().journal()] == [1, 2, 3, 4, 5, 6]
    assert not backups(path)


def test_opening_again_finds_what_was_written(path: Path) -> None:
    fill(path)
    with open_ledger(path, mode=TEST, clock=FakeClock()) as ledger:
        assert ledger.read(lambda rows: rows.get(Customer, ACME)) is not None
