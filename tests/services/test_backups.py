"""Backups of living homes, and what a restored one is."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from lava_proxy.core.alert_rows import DestinationKind
from lava_proxy.core.destinations import Address
from lava_proxy.core.entities import AuditEntry, HomeFact, Mode
from lava_proxy.core.errors import Conflict, InvalidInput, LedgerTooNew, LedgerUnavailable, Refused, WrongPassphrase
from lava_proxy.core.pausing import HOME_ID_FACT, home_id, is_paused, pause_reason
from lava_proxy.core.ports import Decision
from lava_proxy.services.backups import Schedule, read_passphrase, resume
from lava_proxy.services.credits import GrantTerms
from lava_proxy.services.customer_fields import CustomerFields
from lava_proxy.settings import Home, Settings, load_settings
from lava_proxy.wiring import House, make_home, restore_home
from tests.services.conftest import ME, TestClock

PASSPHRASE = "correct horse battery"
HOUR_US = 3600 * 1_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    make_home(found, load_settings(found), mode=Mode.TEST)
    return found


def fill(house: House, count: int = 3) -> None:
    for number in range(count):
        house.customers.create(CustomerFields(reference_id=f"c{number}"), by=ME)
        house.credits.grant(GrantTerms(customer=f"c{number}", amount_nanos=10**9), by=ME)


def restored(file: Path, folder: Path) -> Home:
    return restore_home(file, Home(folder), PASSPHRASE, actor="test").home


def test_a_restored_home_has_everything_and_its_books_add_up(home: Home, tmp_path: Path) -> None:
    (home.providers_folder / "own.toml").write_text("# mine\n")
    with House(home, Settings()) as house:
        fill(house)
        assert house.destinations.create("ops", *_webhook(), by=ME).value.secret
        key = home.key_file.read_bytes()
        head = house.verify().head_hash
        made = house.backups.make(tmp_path / "b", PASSPHRASE)
        own_id = house.ledger.read(home_id)
    assert made.manifest.home_id == own_id != ""
    assert oct((tmp_path / "b").stat().st_mode & 0o777) == "0o600"

    copy = restored(tmp_path / "b", tmp_path / "deep" / "copy")
    assert copy.key_file.read_bytes() == key
    assert (copy.providers_folder / "own.toml").read_text() == "# mine\n"
    assert copy.settings_file.read_text() == home.settings_file.read_text()
    for name in ("mitmproxy-ca.pem", "mitmproxy-ca-cert.pem"):
        assert (copy.ca_folder / name).read_bytes() == (home.ca_folder / name).read_bytes()
    with House(copy, load_settings(copy)) as house:
        report = house.verify()
        assert report.findings == () and report.head_hash == head
        assert house.credits.balance("c1").available_nanos == 10**9
        assert house.destinations.address(house.destinations.get("ops")).url == "https://example.com/x"
        assert house.ledger.read(home_id) not in ("", own_id)
    assert list(tmp_path.rglob(".lava-*")) == []


def _webhook() -> tuple[DestinationKind, Address]:
    return DestinationKind.WEBHOOK, Address(url="https://example.com/x")


def test_a_restored_home_is_paused_until_it_is_resumed(home: Home, tmp_path: Path) -> None:
    with House(home, Settings()) as house:
        house.backups.make(tmp_path / "b", PASSPHRASE)
        assert not house.ledger.read(is_paused)
        assert resume(house.ledger, clock=house.clock, by=ME) == ""
    with House(restored(tmp_path / "b", tmp_path / "copy"), Settings()) as house:
        assert "restored from the backup of" in house.ledger.read(pause_reason)
        assert "restored" in resume(house.ledger, clock=house.clock, by=ME)
        assert not house.ledger.read(is_paused)
        assert resume(house.ledger, clock=house.clock, by=ME) == ""
        actions = [entry.action for entry in house.ledger.books().rows(AuditEntry)]
    assert actions[-2:] == ["home.restored", "home.resumed"]


def test_a_backup_is_one_state_while_others_write(home: Home, tmp_path: Path) -> None:
    stop = threading.Event()
    with House(home, Settings()) as house, House(home, Settings()) as writer:
        house.customers.create(CustomerFields(reference_id="acme"), by=ME)

        def grant() -> None:
            while not stop.is_set():
                writer.credits.grant(GrantTerms(customer="acme", amount_nanos=1), by=ME)

        thread = threading.Thread(target=grant)
        thread.start()
        try:
            for number in range(3):
                house.backups.make(tmp_path / f"b{number}", PASSPHRASE)
        finally:
            stop.set()
            thread.join()
    sizes = []
    for number in range(3):
        with House(restored(tmp_path / f"b{number}", tmp_path / f"copy{number}"), Settings()) as house:
            report = house.verify()
            assert report.findings == ()
            sizes.append(report.transactions)
    assert sizes == sorted(sizes)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_what_cannot_be_restored_leaves_nothing_behind(home: Home, tmp_path: Path) -> None:
    with House(home, Settings()) as house:
        house.backups.make(tmp_path / "b", PASSPHRASE)
    place = tmp_path / "place"
    with pytest.raises(WrongPassphrase):
        restore_home(tmp_path / "b", Home(place / "copy"), "another passphrase", actor="t")
    assert not place.exists()
    place.mkdir()
    (place / "mine").write_text("x")
    with pytest.raises(Refused, match="not empty"):
        restored(tmp_path / "b", place)
    assert files(place) == ["mine"]
    with pytest.raises(Refused):
        restored(tmp_path / "b", home.folder)


def test_an_empty_folder_may_become_the_home(home: Home, tmp_path: Path) -> None:
    with House(home, Settings()) as house:
        house.backups.make(tmp_path / "b", PASSPHRASE)
    (tmp_path / "copy").mkdir()
    assert restored(tmp_path / "b", tmp_path / "copy").ledger_file.exists()


def test_a_backup_of_a_newer_program_is_refused_and_nothing_is_written(home: Home, tmp_path: Path) -> None:
    with House(home, Settings()) as house:
        with closing(sqlite3.connect(home.ledger_file)) as connection:
            house.ledger.read(home_id)
            connection.execute("PRAGMA user_version = 99")
        house.backups.make(tmp_path / "b", PASSPHRASE)
    with pytest.raises(LedgerTooNew):
        restored(tmp_path / "b", tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "home"]


def test_a_backup_replaces_nothing_and_leaves_nothing_half_done(home: Home, tmp_path: Path) -> None:
    with House(home, Settings()) as house:
        (tmp_path / "b").write_text("precious")
        with pytest.raises(Conflict):
            house.backups.make(tmp_path / "b", PASSPHRASE)
        with pytest.raises(LedgerUnavailable):
            house.backups.make(tmp_path / "none" / "b", PASSPHRASE)
        with pytest.raises(InvalidInput, match="8 characters"):
            house.backups.make(tmp_path / "c", "short")
    assert (tmp_path / "b").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "home"]


def test_a_disk_without_hard_links_takes_a_backup_too(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with House(home, Settings()) as house:
        monkeypatch.setattr("os.link", link)
        house.backups.make(tmp_path / "b", PASSPHRASE)
        with pytest.raises(Conflict):
            house.backups.make(tmp_path / "b", PASSPHRASE)
    monkeypatch.undo()
    assert restored(tmp_path / "b", tmp_path / "copy").ledger_file.exists()


def test_scheduled_backups_are_made_when_due_and_old_ones_go(home: Home, tmp_path: Path) -> None:
    clock = TestClock()
    secret = tmp_path / "passphrase"
    secret.write_text(f"{PASSPHRASE}\nnot this line\n")
    schedule = Schedule(folder=tmp_path / "kept", every_us=24 * HOUR_US, keep=2, passphrase_file=secret)
    with House(home, Settings(), clock=clock) as house:
        first = house.backups.make_due(schedule)
        assert first is not None and house.backups.make_due(schedule) is None
        (tmp_path / "kept" / "lava-stranger-20200101T000000Z.lavabackup").write_text("another home's")
        for _ in range(3):
            clock.at_us += 24 * HOUR_US
            assert house.backups.make_due(schedule) is not None
        kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
        assert len(kept) == 3 and "lava-stranger-20200101T000000Z.lavabackup" in kept and first.name not in kept
    newest = tmp_path / "kept" / [name for name in kept if "stranger" not in name][-1]
    assert restored(newest, tmp_path / "copy").ledger_file.exists()


def test_a_home_from_before_there_were_ids_gets_one_with_its_first_backup(home: Home, tmp_path: Path) -> None:
    with House(home, Settings()) as house:
        fact = HomeFact(name=HOME_ID_FACT, value="")
        house.ledger.transact(lambda _: None, lambda _: Decision(result=None, rows=(fact,))).result()
        first = house.backups.make(tmp_path / "b", PASSPHRASE).manifest.home_id
        assert first == house.ledger.read(home_id) != ""
        assert house.backups.make(tmp_path / "c", PASSPHRASE).manifest.home_id == first


def test_a_backup_that_is_overdue_is_told(home: Home, tmp_path: Path) -> None:
    clock = TestClock()
    settings = Settings(
        backup_folder=tmp_path / "kept", backup_passphrase_file=tmp_path / "none", backup_every_hours=24
    )
    with House(home, settings, clock=clock) as house:
        assert house.alerts.look() == 0
        clock.at_us += 48 * HOUR_US + 1
        assert house.alerts.look() == 1
        assert house.alert_rules.history()[0].slug == "backup-old"
        with pytest.raises(InvalidInput, match="passphrase_file"):
            read_passphrase(tmp_path / "none")


def test_a_fact_of_the_ledger_tells_when_the_last_backup_was(home: Home, tmp_path: Path) -> None:
    with House(home, Settings()) as house:
        house.ledger.transact(lambda _: None, lambda _: Decision(result=None)).result()
        house.backups.make(tmp_path / "b", PASSPHRASE)
        fact = house.ledger.read(lambda rows: rows.get(HomeFact, "last_backup_us"))
        assert fact is not None and 0 <= house.clock.now_us() - int(fact.value) < HOUR_US
