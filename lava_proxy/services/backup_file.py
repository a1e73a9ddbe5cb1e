"""What a backup is: one tar file that can be checked in whole before anything is written.

``manifest.json``
    which home, when, by which version, and of every other member its size and SHA-256
``ledger.db``, ``lava.toml``, ``providers.d/*.toml``, ``ca/mitmproxy-ca-cert.pem``
    as they were
``secrets``
    the home's key and the authority's key, sealed under a passphrase, and bound to the manifest: neither can be exchanged

The members stand in this order but for the manifest, which is the first. Nothing else may be in the file.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from lava_proxy.core.entities import Mode
from lava_proxy.core.errors import InvalidBackup, SealBroken, WrongPassphrase

FORMAT = "lava-backup"
FORMAT_VERSION = 1
LEDGER = "ledger.db"
SECRETS = "secrets"
MANIFEST = "manifest.json"
_NAMES = re.compile(r"ledger\.db|lava\.toml|secrets|ca/mitmproxy-ca-cert\.pem|providers\.d/[A-Za-z0-9._-]{1,100}\.toml")
_SMALL_BYTES_MAX = 16 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024

type Seal = Callable[[str, bytes, str], bytes]
"""Of a passphrase, bytes and a purpose: the sealed, or the opened."""


class Member(Struct, frozen=True, kw_only=True):
    name: str
    size: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    format: str = FORMAT
    version: int = FORMAT_VERSION
    home_id: str
    mode: Mode
    created_at: str
    written_by: str
    members: tuple[Member, ...]


class HomeSecrets(Struct, frozen=True, kw_only=True):
    """By their places in the home; msgspec writes bytes as base64."""

    files: dict[str, bytes]


def write_backup(
    target: Path,
    files: dict[str, Path | bytes],
    secrets: HomeSecrets,
    describe: Callable[[tuple[Member, ...]], Manifest],
    *,
    seal: Callable[[bytes, str], bytes],
) -> Manifest:
    """Write ``target``, a file that is there and empty. ``files``: members by name, from a file or as they are.

    Raises:
        OSError
    """
    members = tuple(_member(name, source) for name, source in files.items())
    manifest = describe(members)
    text = msgspec.json.encode(manifest)
    sealed = seal(msgspec.json.encode(secrets), _purpose(text))
    with target.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, MANIFEST, text)
        for name, source in files.items():
            _add(archive, name, source)
        _add(archive, SECRETS, sealed)
    return manifest


class CheckedBackup(Struct, frozen=True, kw_only=True):
    """A backup that is whole, with its secrets opened."""

    file: Path
    manifest: Manifest
    secrets: HomeSecrets

    def extract(self, folder: Path) -> None:
        """Write the home's files into an empty folder.

        Raises:
            InvalidBackup: the file has changed since it was checked.
            OSError
        """
        with _opened(self.file) as archive:
            for member in self.manifest.members:
                with _read(archive, member.name) as source:
                    _write(folder / member.name, source)
        for name, content in self.secrets.files.items():
            _write(folder / name, io.BytesIO(content))


def check_backup(file: Path, *, unseal: Callable[[bytes, str], bytes]) -> CheckedBackup:
    """Read all of a backup, and write nothing.

    Raises:
        InvalidBackup: it is none, or damaged.
        WrongPassphrase
    """
    with _opened(file) as archive:
        text = _small(archive, MANIFEST)
        manifest = _manifest(text)
        _check_members(archive, manifest)
        sealed = _small(archive, SECRETS)
    try:
        secrets = msgspec.json.decode(unseal(sealed, _purpose(text)), type=HomeSecrets)
    except SealBroken as error:
        raise WrongPassphrase(
            f"The passphrase does not open {file}, or its manifest was changed.",
            hint="It needs the passphrase under which it was made.",
            field="passphrase",
        ) from error
    return CheckedBackup(file=file, manifest=manifest, secrets=secrets)


def _purpose(manifest: bytes) -> str:
    return f"{FORMAT}:{FORMAT_VERSION}:{hashlib.sha256(manifest).hexdigest()}"


def _member(name: str, source: Path | bytes) -> Member:
    if isinstance(source, bytes):
        return Member(name=name, size=len(source), sha256=hashlib.sha256(source).hexdigest())
    with source.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256")
        return Member(name=name, size=content.tell(), sha256=digest.hexdigest())


def _add(archive: tarfile.TarFile, name: str, source: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o600
    if isinstance(source, bytes):
        entry.size = len(source)
        archive.addfile(entry, io.BytesIO(source))
        return
    entry.size = source.stat().st_size
    with source.open("rb") as content:
        archive.addfile(entry, content)


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        content = file.open("rb")
    except OSError as error:
        raise _invalid(file, error.strerror or str(error)) from error
    with content:
        try:
            with tarfile.open(fileobj=content, mode="r:") as archive:
                yield archive
        except (tarfile.TarError, EOFError) as error:
            raise _invalid(file, str(error)) from error


def _invalid(file: Path | None, why: str) -> InvalidBackup:
    what = f"{file} is no backup of Lava's, or is damaged" if file else "The backup is damaged"
    return InvalidBackup(f"{what}: {why}.", hint="Nothing was written.", field="file")


def _manifest(text: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise _invalid(None, f"its manifest cannot be read ({error})") from error
    if manifest.format != FORMAT or manifest.version > FORMAT_VERSION:
        raise _invalid(None, f"it has the format {manifest.format} {manifest.version}, made by {manifest.written_by}")
    names = [member.name for member in manifest.members]
    if len(set(names)) != len(names) or LEDGER not in names or SECRETS in names:
        raise _invalid(None, "its manifest does not name a ledger, or names something twice")
    if not all(_NAMES.fullmatch(name) for name in names):
        raise _invalid(None, "its manifest names what no home has")
    return manifest


def _check_members(archive: tarfile.TarFile, manifest: Manifest) -> None:
    wanted = {MANIFEST, SECRETS, *(member.name for member in manifest.members)}
    found = archive.getnames()
    if sorted(found) != sorted(wanted):
        raise _invalid(None, f"it holds {len(found)} files, and its manifest {len(wanted)}")
    for member in manifest.members:
        with _read(archive, member.name) as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != member.sha256:
            raise _invalid(None, f"{member.name} is not what was backed up")


@contextmanager
def _read(archive: tarfile.TarFile, name: str) -> Iterator["io.BufferedReader | io.BytesIO"]:
    try:
        entry = archive.getmember(name)
    except KeyError as error:
        raise _invalid(None, f"{name} is missing") from error
    content = archive.extractfile(entry) if entry.isreg() else None
    if content is None:
        raise _invalid(None, f"{name} is no file")
    with content:
        yield content  # type: ignore[misc] # tarfile's type is wider than what it gives


def _small(archive: tarfile.TarFile, name: str) -> bytes:
    with _read(archive, name) as content:
        text = content.read(_SMALL_BYTES_MAX + 1)
    if len(text) > _SMALL_BYTES_MAX:
        raise _invalid(None, f"{name} is too large")
    return text


def _write(file: Path, source: "io.BufferedReader | io.BytesIO") -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
        target.flush()
        os.fsync(descriptor)
