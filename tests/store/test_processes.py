"""Several ledgers on one file, in one process and in many, and processes that die."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lava_proxy.core.entities import Event, HomeFact, Mode
from lava_proxy.core.journal import GENESIS_HASH, link_hash
from lava_proxy.core.ports import Ledger
from lava_proxy.store import SqliteLedger, integrity, open_ledger
from tests.conftest import PROJECT
from tests.store.children import count_up
from tests.store.samples import FakeClock, write


def opened(path: Path) -> SqliteLedger:
    return open_ledger(path, mode=Mode.TEST, clock=FakeClock(), busy_seconds=60)


def child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.store.children", *arguments]
    return subprocess.Popen(command, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def counted(ledger: Ledger) -> int:
    found = ledger.read(lambda rows: rows.get(HomeFact, "count"))
    return int(found.value) if found else 0


def check_chain(ledger: Ledger, length: int) -> None:
    """The chain is whole, and each step saw the outcome of the one before it."""
    previous = GENESIS_HASH
    for sequence, entry in enumerate(ledger.books().journal(), 1):
        assert entry.sequence == sequence
        assert entry.previous_hash == previous
        assert entry.hash == link_hash(previous, sequence, entry.transaction)
        assert entry.transaction.postings[0].amount_nanos == sequence
        previous = entry.hash
    assert ledger.books().last_sequence() == length
    assert [e.sequence for e in ledger.books().rows(Event)] == list(range(1, length + 1))


def test_two_ledgers_on_one_file_never_trust_what_they_remember(path: Path) -> None:
    with opened(path) as one, opened(path) as other:
        for number in range(200):
            count_up(one, "one", number)
            count_up(other, "other", number)
        one.close()
        other.close()
    with opened(path) as ledger:
        assert counted(ledger) == 400
        check_chain(ledger, 400)


def test_what_one_ledger_commits_the_other_reads_at_once(path: Path) -> None:
    with opened(path) as one, opened(path) as other:
        for number in range(50):
            writer, reader = (one, other) if number % 2 else (other, one)
            write(writer, HomeFact(name="count", value=str(number)))
            assert counted(reader) == number


@pytest.mark.slow
def test_processes_that_write_one_file_together_lose_nothing(path: Path) -> None:
    opened(path).close()
    with child("count", str(path), "a", "1500") as one, child("count", str(path), "b", "1500") as other:
        with opened(path) as ledger:
            for number in range(500):
                count_up(ledger, "parent", number)
        assert (one.wait(120), other.wait(120)) == (0, 0)
    with opened(path) as ledger:
        assert counted(ledger) == 3500
        check_chain(ledger, 3500)
    assert not integrity(path, thorough=True).problems


@pytest.mark.slow
def test_a_ledger_opens_while_others_open_and_close_the_file(path: Path) -> None:
    """A connection that closes locks the file for an instant; who comes then has to wait, not to fail."""
    opened(path).close()
    with opened(path), child("come_and_go", str(path), "600") as other:
        for number in range(60):
            with opened(path) as ledger:
                count_up(ledger, "mine", number)
        assert other.wait(60) == 0
    with opened(path) as ledger:
        assert counted(ledger) == 60


@pytest.mark.crash
@pytest.mark.parametrize(
    ("label", "survives"),
    [("after_begin", False), ("before_flush", False), ("before_commit", False), ("after_commit", True)],
)
def test_a_process_that_is_killed_leaves_a_step_whole_or_not_at_all(path: Path, label: str, survives: bool) -> None:
    with child("die", str(path), label) as dying:
        assert dying.wait(60) == -9
    with opened(path) as ledger:
        keys = [entry.transaction.key for entry in ledger.books().journal()]
        assert keys == ["first:0", *(["second:0"] if survives else [])]
        assert counted(ledger) == len(keys)
        count_up(ledger, "after", 0)
        check_chain(ledger, len(keys) + 1)
    assert not integrity(path, thorough=True).problems


@pytest.mark.crash
def test_a_process_at_rest_leaves_the_log_to_one_that_writes(path: Path) -> None:
    opened(path).close()
    with child("hold_on", str(path)) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        for number in range(600):
            with opened(path) as ledger:
                count_up(ledger, "mine", number)
            if Path(f"{path}-wal").stat().st_size == 0:
                break
            time.sleep(0.05)  # the first has the lock while it checkpoints
        assert Path(f"{path}-wal").stat().st_size == 0
        first.kill()
    with opened(path) as ledger:
        assert counted(ledger) == number + 2
        count_up(ledger, "again", 0)
    assert not Path(f"{path}-wal").exists(), "the last to close leaves a single file"
