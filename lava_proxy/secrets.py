"""Keys of this home: its certificate authority, and what is encrypted at rest. The only user of ``cryptography``.

The authority is one elliptic-curve key (P-256: it signs many times faster than RSA, and every client of `docs/clients.md`
takes it), in the two files that mitmproxy expects. It is not constrained to host names: `docs/ca.md` tells why.
"""

import datetime
import hashlib
import os
import secrets
import tempfile
import unicodedata
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lava_proxy.core.errors import SealBroken as SealBroken

AUTHORITY_FILE: Final = "mitmproxy-ca.pem"
"""Key and certificate, readable by the owner alone. The names are mitmproxy's."""
CERTIFICATE_FILE: Final = "mitmproxy-ca-cert.pem"
"""The certificate alone: what clients are given to trust."""

_VALID = datetime.timedelta(days=3650)
_THROW_AWAY = datetime.timedelta(days=9)
_BACKDATED = datetime.timedelta(days=2)  # for clients whose clock is behind
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_SEAL_VERSION: Final = b"\x01"


def ensure_authority(folder: Path, *, now: datetime.datetime | None = None) -> Path:
    """The home's certificate authority, made where it is missing; gives the file of its certificate.

    Of several processes that make it at once, one makes it and the others take it.

    Raises:
        OSError: the folder cannot be read or written.
        ValueError: the authority's file is there and is none.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = folder / AUTHORITY_FILE
    if not authority.exists():
        _write_new(authority, _make_authority(now or datetime.datetime.now(datetime.UTC)), mode=0o600)  # noqa: TID251 a validity, no instant of the books
    certificate = x509.load_pem_x509_certificate(authority.read_bytes())
    text = certificate.public_bytes(serialization.Encoding.PEM)
    found = folder / CERTIFICATE_FILE
    if not found.exists() or found.read_bytes() != text:
        _replace(found, text, mode=0o644)
    return found


def authority_name(folder: Path) -> str:
    """The name under which clients see the authority."""
    certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE_FILE).read_bytes())
    return certificate.subject.rfc4514_string().removeprefix("CN=")


def authority_ends(folder: Path) -> datetime.datetime:
    """When the authority's certificate ends, UTC.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: the file is no certificate.
    """
    return certificate_ends(folder / CERTIFICATE_FILE)


def certificate_ends(file: Path) -> datetime.datetime:
    """When the first certificate of a PEM file ends, UTC.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: the file is no certificate.
    """
    return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc


def ensure_home_key(file: Path) -> bytes:
    """The home's key for ``seal``, made where it is missing, readable by the owner alone.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is there and is no key.
    """
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(file, secrets.token_bytes(_KEY_BYTES), mode=0o600)
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{file} is no key: it has {len(key)} bytes, not {_KEY_BYTES}")
    return key


def seal(key: bytes, plaintext: bytes, *, purpose: str) -> bytes:
    """Encrypt with AES-256-GCM. Only the same key and ``purpose`` (what it is and whose) open it again."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _SEAL_VERSION + nonce + AESGCM(key).encrypt(nonce, plaintext, purpose.encode())


def open_sealed(key: bytes, sealed: bytes, *, purpose: str) -> bytes:
    """What ``seal`` was given.

    Raises:
        SealBroken
    """
    version, nonce, text = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    with suppress(InvalidTag, ValueError):
        if version == _SEAL_VERSION:
            return AESGCM(key).decrypt(nonce, text, purpose.encode())
    raise SealBroken("What was sealed cannot be opened.", hint="Was the home's key file replaced?", purpose=purpose)


def seal_with_passphrase(passphrase: str, plaintext: bytes, *, purpose: str) -> bytes:
    """As ``seal``, under a key that scrypt makes of a passphrase and a fresh salt: a try costs 64 MiB and a good part of a second."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return salt + seal(_stretch(passphrase, salt), plaintext, purpose=purpose)


def open_with_passphrase(passphrase: str, sealed: bytes, *, purpose: str) -> bytes:
    """What ``seal_with_passphrase`` was given.

    Raises:
        SealBroken: another passphrase or purpose, or it was changed.
    """
    return open_sealed(_stretch(passphrase, sealed[:_SALT_BYTES]), sealed[_SALT_BYTES:], purpose=purpose)


def _stretch(passphrase: str, salt: bytes) -> bytes:
    """RFC 7914, at a cost of 2¹⁶, 8, 2."""
    text = unicodedata.normalize("NFC", passphrase).encode()
    return hashlib.scrypt(text, salt=salt, n=2**16, r=8, p=2, maxmem=256 * 1024 * 1024, dklen=_KEY_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A server's certificate with its key, and the authority that signed it and then was forgotten. All PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


def issue_server_certificate(names: Sequence[str], *, now: datetime.datetime | None = None) -> IssuedCertificate:
    """A throw-away certificate for a server with these host names, for a week."""
    began = (now or datetime.datetime.now(datetime.UTC)) - _BACKDATED  # noqa: TID251 a validity, no instant of the books
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _self_signed(authority_key, "Lava throw-away CA", began, began + _THROW_AWAY)
    public = key.public_key()
    certificate = (
        _begin(public, names[0], began, began + _THROW_AWAY, issuer=authority.subject)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return IssuedCertificate(
        certificate=certificate.public_bytes(pem), key=_private(key), authority=authority.public_bytes(pem)
    )


def java_trust_store(certificates: bytes, *, password: str) -> bytes:
    """PEM certificates as a PKCS #12 store that Java takes for trusted ones (it wants them marked so)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # public roots of old break a rule or two
        loaded = x509.load_pem_x509_certificates(certificates)
    entries = [pkcs12.PKCS12Certificate(each, f"{number}".encode()) for number, each in enumerate(loaded)]
    return pkcs12.serialize_java_truststore(entries, serialization.BestAvailableEncryption(password.encode()))


def _make_authority(now: datetime.datetime) -> bytes:
    """Key and certificate, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    began = now - _BACKDATED
    certificate = _self_signed(key, f"Lava Proxy CA ({_short_id(key.public_key())})", began, began + _VALID)
    return _private(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _self_signed(
    key: ec.EllipticCurvePrivateKey, name: str, began: datetime.datetime, ends: datetime.datetime
) -> x509.Certificate:
    """An authority's certificate after RFC 5280 to the letter: Python 3.13 refuses less."""
    public = key.public_key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        _begin(public, name, began, ends, issuer=issuer)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _begin(
    public: ec.EllipticCurvePublicKey,
    name: str,
    began: datetime.datetime,
    ends: datetime.datetime,
    *,
    issuer: x509.Name,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _short_id(public: ec.EllipticCurvePublicKey) -> str:
    """Tells homes apart in a list of authorities: two of them on one machine must not have one name."""
    text = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(text).hexdigest()[:8]


def _write_new(file: Path, content: bytes, *, mode: int) -> None:
    """Make ``file`` whole or not at all; one that is there already stays."""
    beside = _write_beside(file, content, mode)
    try:
        os.link(beside, file)
    except FileExistsError:
        pass
    finally:
        beside.unlink()


def _replace(file: Path, content: bytes, *, mode: int) -> None:
    _write_beside(file, content, mode).replace(file)


def _write_beside(file: Path, content: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "wb") as new:
        os.fchmod(descriptor, mode)
        new.write(content)
        new.flush()
        os.fsync(descriptor)
    return Path(name)
