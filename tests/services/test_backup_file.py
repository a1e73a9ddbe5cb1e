"""A backup that was touched anywhere is refused, or gives what was backed up."""

import hashlib
import io
import random
import tarfile
from pathlib import Path

import pytest

from lava_proxy.core.entities import Mode
from lava_proxy.core.errors import InvalidBackup, SealBroken, WrongPassphrase
from lava_proxy.services.backup_file import HomeSecrets, Manifest, Member, check_backup, write_backup

LEDGER = bytes(range(256)) * 40
SECRETS = HomeSecrets(files={"home.key": b"k" * 32})


def seal(text: bytes, purpose: str) -> bytes:
    """Not secret, but as hard to change unseen as the real one."""
    return hashlib.sha256(purpose.encode() + text).digest() + text


def unseal(sealed: bytes, purpose: str) -> bytes:
    if sealed != seal(sealed[32:], purpose):
        raise SealBroken("no")
    return sealed[32:]


def describe(members: tuple[Member, ...]) -> Manifest:
    return Manifest(home_id="hom_1", mode=Mode.TEST, created_at="now", written_by="0", members=members)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    ledger = tmp_path / "copy.db"
    ledger.write_bytes(LEDGER)
    target = tmp_path / "backup"
    files: dict[str, Path | bytes] = {"ledger.db": ledger, "lava.toml": b"port = 1\n", "providers.d/x.toml": b""}
    write_backup(target, files, SECRETS, describe, seal=seal)
    return target


def restored(file: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    check_backup(file, unseal=unseal).extract(folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WHOLE = {"ledger.db": LEDGER, "lava.toml": b"port = 1\n", "providers.d/x.toml": b"", "home.key": b"k" * 32}


def test_what_was_backed_up_comes_back(backup: Path, tmp_path: Path) -> None:
    assert restored(backup, tmp_path / "home") == WHOLE
    assert oct((tmp_path / "home" / "home.key").stat().st_mode & 0o777) == "0o600"


def test_no_change_of_a_byte_gives_anything_else(backup: Path, tmp_path: Path) -> None:
    content = backup.read_bytes()
    chosen = random.Random(7).sample(range(len(content)), 400)
    refused = 0
    for number, place in enumerate(chosen):
        changed = bytearray(content)
        changed[place] ^= 0x21
        backup.write_bytes(changed)
        try:
            assert restored(backup, tmp_path / f"home{number}") == WHOLE, place
        except (InvalidBackup, WrongPassphrase):
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("part", [0, 100, 511, 512, 700, 2000, 5000, 11000])
def test_a_file_that_was_cut_is_refused(backup: Path, part: int) -> None:
    backup.write_bytes(backup.read_bytes()[:part])
    with pytest.raises(InvalidBackup):
        check_backup(backup, unseal=unseal)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 10240, b"SQLite format 3\0" + b"\0" * 600])
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(InvalidBackup, match=r"no backup|damaged"):
        check_backup(file, unseal=unseal)
    with pytest.raises(InvalidBackup):
        check_backup(tmp_path / "none", unseal=unseal)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "providers.d/../evil.toml", "run/main.json", "providers.d/a/b.toml"]
)
def test_a_backup_that_names_what_no_home_has_is_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "backup"
    write_backup(target, {"ledger.db": b"x", name: b"y"}, SECRETS, describe, seal=seal)
    with pytest.raises(InvalidBackup, match="no home has"):
        check_backup(target, unseal=unseal)


def test_a_member_that_is_a_link_is_refused(backup: Path, tmp_path: Path) -> None:
    target = tmp_path / "other"
    with tarfile.open(backup) as old, tarfile.open(target, "w") as new:
        for entry in old.getmembers():
            content = old.extractfile(entry)
            assert content is not None
            if entry.name == "lava.toml":
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
                new.addfile(entry)
            else:
                new.addfile(entry, io.BytesIO(content.read()))
    with pytest.raises(InvalidBackup):
        check_backup(target, unseal=unseal)
