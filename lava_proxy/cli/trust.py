"""Merged bundles: what a program trusts already, and our own authority, in one file in the home.

A bundle's name is the hash of its content: the same trust gives the same file, and one that a program is reading is
never changed. It is written beside and renamed, so nobody sees half of it.
"""

import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lava_proxy.cli.environment import (
    ADDING_VARIABLES,
    REPLACING_IF_SET_VARIABLES,
    REPLACING_VARIABLES,
)

_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
_FALLBACKS = {"REQUESTS_CA_BUNDLE": ("CURL_CA_BUNDLE",), "AWS_CA_BUNDLE": ("REQUESTS_CA_BUNDLE",)}
"""Where a program looks next, when its own variable is not set."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """The file for each variable, and what the user should know about them."""

    variables: Mapping[str, Path]
    system: Path
    """Everything that this machine trusts, and our authority."""
    warnings: tuple[str, ...] = ()


def write_bundles(folder: Path, present: Mapping[str, str], authority: str) -> Bundles:
    """Write the bundles that these variables need. ``authority`` is our CA certificate, PEM."""
    folder.mkdir(parents=True, exist_ok=True)
    warnings: list[str] = []
    system = _write(folder, _system_certificates(), authority)
    variables: dict[str, Path] = {}
    for name in _replacing(present):
        theirs = _own_certificates(name, present, warnings)
        variables[name] = _write(folder, theirs, authority) if theirs else system
    for name in ADDING_VARIABLES:
        variables[name] = _write(folder, _own_certificates(name, present, warnings), authority)
    return Bundles(variables=variables, system=system, warnings=tuple(dict.fromkeys(warnings)))


def read_certificates(place: Path) -> list[str]:
    """The PEM certificates of a file, or of all files in a folder (as ``SSL_CERT_DIR`` has it).

    Raises:
        OSError: it cannot be read.
    """
    files = sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else [place]
    return list(dict.fromkeys(part for file in files for part in split_certificates(file.read_text(errors="replace"))))


def split_certificates(text: str) -> Iterable[str]:
    """Each certificate in a PEM text, without what stands around it."""
    for part in text.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        if end:
            yield f"{_BEGIN}{body}{_END}\n"


def _replacing(present: Mapping[str, str]) -> list[str]:
    return [*REPLACING_VARIABLES, *(name for name in REPLACING_IF_SET_VARIABLES if present.get(name))]


def _own_certificates(name: str, present: Mapping[str, str], warnings: list[str]) -> list[str]:
    """What the user had this variable say, or the one that stands in for it; nothing where none is set."""
    if name == "SSL_CERT_FILE" and not present.get(name) and present.get("SSL_CERT_DIR"):
        return _from_folders(present["SSL_CERT_DIR"])
    for variable in (name, *_FALLBACKS.get(name, ())):
        if not present.get(variable):
            continue
        try:
            found = read_certificates(Path(present[variable]))
        except OSError as error:
            warnings.append(
                f"{variable}={present[variable]} cannot be read ({error.strerror}); this machine's roots are used instead"
            )
            return []
        if not found:
            warnings.append(
                f"{variable}={present[variable]} has no certificate in it; this machine's roots are used instead"
            )
        return found
    return []


def _from_folders(value: str) -> list[str]:
    found: list[str] = []
    for folder in filter(None, value.split(os.pathsep)):
        if Path(folder).is_dir():
            found += read_certificates(Path(folder))
    return list(dict.fromkeys(found))


def _system_certificates() -> list[str]:
    """What this machine trusts, else what certifi knows."""
    compiled_in = ssl.get_default_verify_paths().openssl_cafile
    for place in (*_SYSTEM_BUNDLES, compiled_in):
        file = Path(place)
        if file.is_file():
            found = read_certificates(file)
            if found:
                return found
    import certifi  # only where the machine has no roots of its own

    return read_certificates(Path(certifi.where()))


def _write(folder: Path, certificates: list[str], authority: str) -> Path:
    ours = list(split_certificates(authority))
    text = "".join([*(each for each in certificates if each not in ours), *ours])
    file = folder / f"bundle-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pem"
    if not file.exists():
        write_atomically(file, text.encode())
    return file


def write_atomically(file: Path, content: bytes, *, mode: int = 0o644) -> None:
    """All of the content or none of it, whoever looks."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        try:
            new.write(content)
            new.flush()
            os.fchmod(new.fileno(), mode)
            Path(new.name).replace(file)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
