"""Processes that take holds, and how one knows that another lives: by a lock on a file that falls with its process.

Two kinds of lock stand in a home. ``run/<name>.lock``: one proxy per name. ``instances/<id>.lock``: this very process,
for as long as holds may name it. A row in the ledger tells which ids there are; only the lock tells whether one lives.
"""

import fcntl
import os
import time
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lava_proxy.core.entities import Instance
from lava_proxy.core.errors import Conflict
from lava_proxy.core.ids import InstanceId
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger

CLAIM_ATTEMPTS = 5


class FileLock(Struct, frozen=True, kw_only=True):
    """A lock that is held until it is released or the process ends."""

    file: Path
    descriptor: int

    def release(self) -> None:
        os.close(self.descriptor)


def take_lock(file: Path) -> FileLock | None:
    """Lock ``file``, made where it is missing; ``None`` where another holds it (this process by another lock counts too)."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return FileLock(file=file, descriptor=descriptor)


def is_locked(file: Path) -> bool:
    """Whether some process holds the lock. A missing file is nobody's."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Registered(Struct, frozen=True, kw_only=True):
    """This process, as the ledger knows it. Keep it while calls may be open."""

    instance: Instance
    lock: FileLock


class Instances:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource, folder: Path) -> None:
        """``folder``: where the locks of ids are, ``instances/`` in the home."""
        self._ledger = ledger
        self._clock = clock
        self._ids = ids
        self._folder = folder

    def register(self, *, name: str, version: str) -> Registered:
        """Make this process known, its lock before its row, so that its holds are never taken for orphans.

        Raises:
            LedgerUnavailable
        """
        instance = Instance(
            instance_id=InstanceId(self._ids.new("ins")),
            name=name,
            pid=os.getpid(),
            version=version,
            started_us=self._clock.now_us(),
        )
        lock = take_lock(self._lock_file(instance.instance_id))
        assert lock is not None, instance
        self._write(instance)
        return Registered(instance=instance, lock=lock)

    def end(self, registered: Registered) -> None:
        """This process takes no more holds. What is still open is an orphan from here on."""
        self._write(replace(registered.instance, ended_us=self._clock.now_us()))
        registered.lock.release()
        registered.lock.file.unlink(missing_ok=True)

    def is_alive(self, instance_id: InstanceId) -> bool:
        """Whether the process of this id still runs."""
        return is_locked(self._lock_file(instance_id))

    def live(self) -> tuple[Instance, ...]:
        """Those that run now."""
        known = self._ledger.read(lambda rows: rows.find(Instance, ended_us=None))
        return tuple(instance for instance in known if self.is_alive(instance.instance_id))

    def bury_dead(self) -> int:
        """Note the end of processes that died without a word; gives how many. Their holds are for the sweep."""
        known = self._ledger.read(lambda rows: rows.find(Instance, ended_us=None))
        dead = [instance for instance in known if not self.is_alive(instance.instance_id)]
        for instance in dead:
            self._write(replace(instance, ended_us=self._clock.now_us()))
            self._lock_file(instance.instance_id).unlink(missing_ok=True)
        return len(dead)

    def _write(self, instance: Instance) -> None:
        self._ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(instance,))).result()

    def _lock_file(self, instance_id: InstanceId) -> Path:
        return self._folder / f"{instance_id}.lock"


def claim_name(folder: Path, name: str) -> FileLock:
    """Be the one proxy of this name in its home; ``folder`` is ``run/`` in the home.

    Raises:
        Conflict: another process is it.
    """
    for _ in range(CLAIM_ATTEMPTS):  # someone who merely looks holds the lock for a moment too
        lock = take_lock(folder / f"{name}.lock")
        if lock is not None:
            return lock
        time.sleep(0.02)
    raise Conflict(
        f"A proxy named {name!r} runs in this home already.",
        hint="`lava status` shows it; `lava up --instance NAME` starts another one beside it.",
    )
