"""`lava backup`, `restore`, `resume`, as their users type them."""

import io
from pathlib import Path

import pytest

from tests.cli.conftest import Lava


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery\n")
    return file


def test_a_home_is_backed_up_restored_verified_and_resumed(lava: Lava, tmp_path: Path, secret: Path) -> None:
    lava("init", "--mode", "test")
    lava("customers", "create", "acme")
    lava("credits", "grant", "acme", "5")
    file, copy = str(tmp_path / "b"), str(tmp_path / "copy")
    made = lava("backup", file, "--passphrase-file", str(secret), "--json").document
    assert "ledger.db" in made["files"] and made["bytes"] == Path(file).stat().st_size
    assert lava("backup", file, "--passphrase-file", str(secret)).code == 7

    said = lava("restore", file, "--home", copy, "--passphrase-file", str(secret), "--json")
    assert said.code == 0 and said.document["paused"] is True and said.document["mode"] == "test"
    assert said.document["home_id"] != said.document["restored_from"] == made["home_id"]
    assert lava("verify", "--home", copy).code == 0
    assert lava("credits", "balance", "acme", "--home", copy).facts["available"] == "$5.00"
    assert "lava resume" in lava("doctor", "--home", copy).out
    assert lava("resume", "--home", copy).facts["resumed"] == "yes"
    assert lava("resume", "--home", copy, "--json").document["resumed"] is False
    assert lava("restore", file, "--home", copy, "--passphrase-file", str(secret)).code == 8


def test_what_is_no_backup_or_has_another_passphrase_is_refused(
    lava: Lava, tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lava("backup", str(tmp_path / "b"), "--passphrase-file", str(secret))
    copy = tmp_path / "copy"
    wrong = lava("restore", str(secret), "--home", str(copy), "--passphrase-file", str(secret), "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "invalid_backup")
    monkeypatch.setattr("sys.stdin", io.StringIO("another passphrase\n"))
    wrong = lava("restore", str(tmp_path / "b"), "--home", str(copy), "--passphrase-file", "-", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "wrong_passphrase")
    assert not copy.exists()
    assert lava("backup", str(tmp_path / "c")).code == 2, "nobody is there to be asked"


def test_a_schedule_needs_a_passphrase(lava: Lava, tmp_path: Path) -> None:
    assert lava("config", "set", "backup_folder", str(tmp_path)).code == 2
    assert lava("config", "set", "backup_passphrase_file", str(tmp_path / "p")).code == 0
    assert lava("config", "set", "backup_folder", str(tmp_path)).code == 0
