"""Backups: made while calls go on, kept by a schedule, restored into a home of its own that waits to be resumed."""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lava_proxy import __version__
from lava_proxy.core.entities import AuditEntry, Entity, HomeFact, Mode
from lava_proxy.core.errors import Conflict, InvalidBackup, InvalidInput, LedgerUnavailable, Refused
from lava_proxy.core.instants import format_instant, to_datetime
from lava_proxy.core.pausing import HOME_ID_FACT, PAUSED_FACT, home_id, pause_reason
from lava_proxy.core.ports import Clock, Decision, IdSource, Ledger
from lava_proxy.services.alert_system import LAST_BACKUP_FACT
from lava_proxy.services.backup_file import HomeSecrets, Manifest, Member, Seal, check_backup, write_backup
from lava_proxy.services.idempotency import By
from lava_proxy.services.instances import take_lock
from lava_proxy.services.keys import mode_of
from lava_proxy.settings import Home

log = logging.getLogger(__name__)

PASSPHRASE_CHARACTERS_MIN = 8
SUFFIX = ".lavabackup"
_CERTIFICATE, _AUTHORITY = "ca/mitmproxy-ca-cert.pem", "ca/mitmproxy-ca.pem"


class Tools(Struct, frozen=True):
    """What other rooms do for backups."""

    copy_ledger: Callable[[Path, Path], None]
    seal: Seal
    unseal: Seal


class Made(Struct, frozen=True, kw_only=True):
    """A backup that was made."""

    file: Path
    size: int
    manifest: Manifest


class Schedule(Struct, frozen=True, kw_only=True):
    """When a running proxy makes backups, and where."""

    folder: Path
    every_us: int
    keep: int
    passphrase_file: Path


class Backups:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource, home: Home, tools: Tools) -> None:
        self._ledger, self._clock, self._ids = ledger, clock, ids
        self._home, self._tools = home, tools

    def make(self, file: Path, passphrase: str) -> Made:
        """Write a backup: one consistent state of the ledger, with all else that makes the home. It appears whole or not.

        Raises:
            InvalidInput: the passphrase is too short.
            Conflict: the file is there already.
            LedgerUnavailable: something cannot be read or written.
        """
        check_passphrase(passphrase)
        if file.exists():
            raise Conflict(
                f"{file} is there already.", hint="Name another file: a backup never replaces one.", field="file"
            )
        try:
            with tempfile.TemporaryDirectory(dir=file.parent, prefix=".lava-backup-") as work:
                made = self._write(Path(work), passphrase)
                _sync(made.file)
                _put(made.file, file)
                _sync(file.parent)
        except FileExistsError as error:
            raise Conflict(f"{file} is there already.", field="file") from error
        except OSError as error:
            raise LedgerUnavailable(
                f"The backup {file} cannot be written: {error.strerror or error}.", hint="Name another place."
            ) from error
        self._note()
        return Made(file=file, size=file.stat().st_size, manifest=made.manifest)

    def make_due(self, schedule: Schedule) -> Path | None:
        """The backup that is due, if one is; then old ones of this home are deleted. One process at a time does it.

        Raises:
            InvalidInput, LedgerUnavailable
        """
        fact = self._ledger.read(lambda rows: rows.get(HomeFact, LAST_BACKUP_FACT))
        now_us = self._clock.now_us()
        if fact is not None and 0 <= now_us - int(fact.value) < schedule.every_us:
            return None
        lock = take_lock(self._home.run_folder / "backup.lock")
        if lock is None:
            return None
        try:
            with suppress(FileExistsError):
                schedule.folder.mkdir(mode=0o700, parents=True)
            made = self.make(schedule.folder / self._name(now_us), read_passphrase(schedule.passphrase_file))
            self._prune(schedule)
            log.info("backed up", extra={"file": str(made.file), "bytes": made.size})
            return made.file
        finally:
            lock.release()

    def _write(self, work: Path, passphrase: str) -> Made:
        self._own_id()
        home, copy, target = self._home, work / "ledger.db", work / "backup"
        self._tools.copy_ledger(home.ledger_file, copy)
        files: dict[str, Path | bytes] = {"ledger.db": copy}
        candidates = [home.settings_file, home.folder / _CERTIFICATE, *sorted(home.providers_folder.glob("*.toml"))]
        for found in candidates:
            if found.is_file():
                files[found.relative_to(home.folder).as_posix()] = found.read_bytes()
        keys = [home.key_file, home.folder / _AUTHORITY]
        secrets = HomeSecrets(
            files={key.relative_to(home.folder).as_posix(): key.read_bytes() for key in keys if key.is_file()}
        )
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        manifest = write_backup(
            target,
            files,
            secrets,
            self._describe,
            seal=lambda text, purpose: self._tools.seal(passphrase, text, purpose),
        )
        return Made(file=target, size=target.stat().st_size, manifest=manifest)

    def _describe(self, members: tuple[Member, ...]) -> Manifest:
        return Manifest(
            home_id=self._own_id(),
            mode=self._ledger.read(mode_of),
            created_at=format_instant(self._clock.now_us()),
            written_by=__version__,
            members=members,
        )

    def _note(self) -> None:
        fact = HomeFact(name=LAST_BACKUP_FACT, value=str(self._clock.now_us()))
        self._ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(fact,))).result()

    def _stem(self) -> str:
        return f"lava-{self._own_id()[-8:].lower()}"

    def _own_id(self) -> str:
        """A home from before there were ids gets one now: its backups must not be taken for another's."""
        found = self._ledger.read(home_id)
        if found:
            return found
        new_id = self._ids.new("hom")

        def decide(known: str) -> Decision[str]:
            if known:
                return Decision(result=known)
            return Decision(result=new_id, rows=(HomeFact(name=HOME_ID_FACT, value=new_id),))

        return self._ledger.transact(home_id, decide).result()

    def _name(self, now_us: int) -> str:
        return f"{self._stem()}-{to_datetime(now_us):%Y%m%dT%H%M%SZ}{SUFFIX}"

    def _prune(self, schedule: Schedule) -> None:
        """Only what this home made by its schedule is deleted: two copies may share a folder."""
        mine = re.compile(rf"{re.escape(self._stem())}-\d{{8}}T\d{{6}}Z{re.escape(SUFFIX)}")
        found = sorted(file for file in schedule.folder.iterdir() if mine.fullmatch(file.name))
        for old in found[: -schedule.keep]:
            old.unlink(missing_ok=True)


def check_passphrase(passphrase: str) -> None:
    """
    Raises:
        InvalidInput
    """
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        raise InvalidInput(
            f"passphrase: it must have {PASSPHRASE_CHARACTERS_MIN} characters or more", field="passphrase"
        )


def read_passphrase(file: Path) -> str:
    """The first line of a file.

    Raises:
        InvalidInput: it cannot be read, or is too short.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"passphrase_file: {file} cannot be read: {error}", field="passphrase_file") from error
    passphrase = text.split("\n", 1)[0].rstrip("\r")
    check_passphrase(passphrase)
    return passphrase


class Restored(Struct, frozen=True, kw_only=True):
    home: Home
    home_id: str
    mode: Mode
    manifest: Manifest


def restore(
    file: Path,
    home: Home,
    passphrase: str,
    *,
    unseal: Seal,
    finish: Callable[[Home, Manifest], str],
) -> Restored:
    """Make ``home``, which must not exist yet or be an empty folder, from a backup: all of it, or nothing.

    ``finish``: called with the home under its passing name, to make it one of its own; gives its new id.

    Raises:
        Refused: there is a home already, or other files.
        InvalidBackup, WrongPassphrase
        LedgerTooNew, LedgerUnavailable
    """
    if home.folder.exists() and (not home.folder.is_dir() or any(home.folder.iterdir())):
        raise Refused(
            f"{home.folder} is there already and not empty.", hint="Name another folder with --home.", field="home"
        )
    checked = check_backup(file, unseal=lambda sealed, purpose: unseal(passphrase, sealed, purpose))
    parent = home.folder.parent
    work: Path | None = None
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=parent, prefix=".lava-restore-"))
        checked.extract(work)
        new_id = finish(Home(work), checked.manifest)
        with suppress(FileNotFoundError):
            home.folder.rmdir()
        work.rename(home.folder)
        _sync(parent)
        work = None
    except OSError as error:
        raise LedgerUnavailable(f"The home {home.folder} cannot be made: {error.strerror or error}.") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    return Restored(home=home, home_id=new_id, mode=checked.manifest.mode, manifest=checked.manifest)


def make_own(ledger: Ledger, manifest: Manifest, *, clock: Clock, ids: IdSource, actor: str) -> str:
    """Give a restored copy an id of its own, and pause what would act on the world twice."""
    now_us, new_id = clock.now_us(), ids.new("hom")
    reason = f"restored from the backup of {manifest.created_at}"
    entry = AuditEntry(at_us=now_us, actor=actor, action="home.restored", subject=new_id, before=manifest.home_id)
    rows: tuple[Entity, ...] = (
        HomeFact(name=HOME_ID_FACT, value=new_id),
        HomeFact(name=PAUSED_FACT, value=reason),
        entry,
    )
    found = ledger.read(mode_of)
    if found is not manifest.mode:
        raise InvalidBackup(f"The backup's ledger is of a home in {found.value} mode, not {manifest.mode.value}.")
    ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=rows)).result()
    return new_id


def resume(ledger: Ledger, *, clock: Clock, by: By) -> str:
    """Let a restored home act again: payments, sync, webhooks. Gives why it was paused; empty where it was not.

    Raises:
        LedgerUnavailable
    """
    now_us = clock.now_us()

    def decide(reason: str) -> Decision[str]:
        if not reason:
            return Decision(result="")
        entry = AuditEntry(at_us=now_us, actor=by.actor, action="home.resumed", subject="home", before=reason)
        return Decision(result=reason, rows=(HomeFact(name=PAUSED_FACT, value=""), entry))

    return ledger.transact(pause_reason, decide).result()


def _put(made: Path, file: Path) -> None:
    """Give it its name, unless something has it already."""
    try:
        os.link(made, file)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links, as sticks and shares have
        if file.exists():
            raise FileExistsError(file) from None
        made.rename(file)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
