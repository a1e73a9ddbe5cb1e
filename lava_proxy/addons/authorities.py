"""Whom we trust as providers: what this machine trusts, and what the operator adds."""

import os
import ssl
import tempfile
from pathlib import Path

import certifi

from lava_proxy.core.errors import InvalidSettings

_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def upstream_authorities(added: Path | None, merged: Path) -> Path:
    """A PEM file of all that is trusted: the system's own, or a copy with ``added``, written to ``merged``.

    Raises:
        InvalidSettings: ``added`` cannot be read or has no certificate.
    """
    system = next((Path(name) for name in _SYSTEM_BUNDLES if Path(name).is_file()), Path(certifi.where()))
    if added is None:
        return system
    text = system.read_bytes().rstrip() + b"\n" + _read_certificates(added)
    merged.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=merged.parent, prefix=f".{merged.name}.")
    with os.fdopen(descriptor, "wb") as new:
        new.write(text)
    return Path(name).replace(merged)


def _read_certificates(file: Path) -> bytes:
    try:
        text = file.read_bytes()
        ssl.create_default_context().load_verify_locations(cadata=text.decode())
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        message = f"{file} is no PEM file of certificates: {error}."
        raise InvalidSettings(message, field="upstream_ca") from error
    return text
