"""The home's certificate authority, and what is sealed with its key."""

import asyncio
import shutil
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from hypothesis import given
from hypothesis import strategies as st

from lava_proxy import secrets

KEY = bytes(range(32))


def authority(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(secrets.ensure_authority(folder).read_bytes())


def test_the_authority_is_made_once_and_its_key_is_the_owners_alone(tmp_path: Path) -> None:
    first = secrets.ensure_authority(tmp_path / "ca").read_bytes()
    key_file = tmp_path / "ca" / secrets.AUTHORITY_FILE

    assert secrets.ensure_authority(tmp_path / "ca").read_bytes() == first
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert b"PRIVATE KEY" in key_file.read_bytes()
    assert b"PRIVATE KEY" not in first
    assert sorted(file.name for file in (tmp_path / "ca").iterdir()) == [
        secrets.CERTIFICATE_FILE,
        secrets.AUTHORITY_FILE,
    ]


def test_a_lost_certificate_is_written_again_from_the_authority(tmp_path: Path) -> None:
    file = secrets.ensure_authority(tmp_path)
    before = file.read_bytes()
    file.unlink()

    assert secrets.ensure_authority(tmp_path).read_bytes() == before


def test_a_file_that_is_no_authority_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / secrets.AUTHORITY_FILE).write_text("not a certificate")
    with pytest.raises(ValueError, match=r".+"):
        secrets.ensure_authority(tmp_path)

    assert (tmp_path / secrets.AUTHORITY_FILE).read_text() == "not a certificate"


def test_of_many_that_make_it_at_once_one_does(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(secrets.ensure_authority(tmp_path).read_bytes())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1


def test_two_homes_have_authorities_that_can_be_told_apart(tmp_path: Path) -> None:
    names = {authority(tmp_path / home).subject.rfc4514_string() for home in ("a", "b")}

    assert len(names) == 2
    assert all(name.startswith("CN=Lava Proxy CA (") for name in names)
    assert secrets.authority_name(tmp_path / "a").startswith("Lava Proxy CA (")


def test_the_authority_may_sign_servers_and_nothing_else(tmp_path: Path) -> None:
    extensions = authority(tmp_path).extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)

    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    present = {extension.oid for extension in extensions}
    assert {ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER} <= present


def leaf_files(folder: Path, host: str) -> Path:
    """A server's certificate and key as mitmproxy makes them from the authority."""
    from mitmproxy.certs import CertStore

    secrets.ensure_authority(folder)
    entry = CertStore.from_store(folder, "mitmproxy", 2048).get_cert(host, [x509.DNSName(host)])
    file = folder / "leaf.pem"
    file.write_bytes(entry.cert.to_pem() + (folder / secrets.AUTHORITY_FILE).read_bytes())
    return file


def test_python_at_its_strictest_trusts_what_mitmproxy_signs(tmp_path: Path) -> None:
    leaf = leaf_files(tmp_path, "api.openai.com")

    async def shake_hands() -> str:
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(leaf)
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=server_side)
        trust = ssl.create_default_context(cafile=str(tmp_path / secrets.CERTIFICATE_FILE))
        trust.verify_flags |= ssl.VERIFY_X509_STRICT
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="api.openai.com")
        version: str = writer.get_extra_info("ssl_object").version()
        writer.close()
        await writer.wait_closed()
        server.close()
        return version

    assert asyncio.run(shake_hands()) == "TLSv1.3"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_at_its_strictest_trusts_what_mitmproxy_signs(tmp_path: Path) -> None:
    leaf = leaf_files(tmp_path, "api.openai.com")
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "api.openai.com"]
    done = subprocess.run(
        [*command, "-CAfile", str(tmp_path / secrets.CERTIFICATE_FILE), str(leaf)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip().endswith("leaf.pem: OK"), done.stderr


def test_the_homes_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "home.key"
    first = secrets.ensure_home_key(file)

    assert secrets.ensure_home_key(file) == first
    assert len(first) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_is_no_key_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "home.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="has 5 bytes, not 32"):
        secrets.ensure_home_key(tmp_path / "home.key")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_opens_again_and_never_looks_the_same(plaintext: bytes, purpose: str) -> None:
    sealed = secrets.seal(KEY, plaintext, purpose=purpose)

    assert secrets.open_sealed(KEY, sealed, purpose=purpose) == plaintext
    assert secrets.seal(KEY, plaintext, purpose=purpose) != sealed
    assert len(plaintext) < 8 or plaintext not in sealed


@given(st.data())
def test_changed_bytes_another_key_and_another_purpose_open_nothing(data: st.DataObject) -> None:
    sealed = secrets.seal(KEY, b"sk-provider-key", purpose="provider key of con_1")
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:place] + bytes([sealed[place] ^ data.draw(st.integers(1, 255))]) + sealed[place + 1 :]
    attempts = [
        (KEY, changed, "provider key of con_1"),
        (KEY, sealed[:place], "provider key of con_1"),
        (bytes(32), sealed, "provider key of con_1"),
        (KEY, sealed, "provider key of con_2"),
    ]

    for key, text, purpose in attempts:
        with pytest.raises(secrets.SealBroken):
            secrets.open_sealed(key, text, purpose=purpose)
