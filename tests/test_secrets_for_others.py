"""Certificates for others: a throw-away one for a server, and trust in Java's form."""

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from lava_proxy import secrets
from lava_proxy.demo.provider import TlsFiles, running_stand_in
from tests.support.certificates import make_authority


def test_a_throw_away_certificate_serves_the_names_it_was_made_for_and_no_other(tmp_path: Path) -> None:
    issued = secrets.issue_server_certificate(["api.openai.com", "localhost"])
    files = TlsFiles(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    files.certificate.write_bytes(issued.certificate)
    files.key.write_bytes(issued.key)
    trust = ssl.create_default_context(cadata=issued.authority.decode())
    with running_stand_in(tls=files) as provider:
        assert _handshake(provider.port, "api.openai.com", trust)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            _handshake(provider.port, "api.anthropic.com", trust)


def test_two_throw_away_certificates_share_nothing() -> None:
    first, second = (secrets.issue_server_certificate(["localhost"]) for _ in range(2))
    assert len({first.key, second.key, first.authority, second.authority}) == 4


def test_a_java_store_holds_every_certificate_as_a_trusted_one(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    pem = b"".join(make_authority(folder).certificate_file.read_bytes() for folder in folders)
    store = secrets.java_trust_store(pem, password="changeit")
    loaded = pkcs12.load_pkcs12(store, b"changeit").additional_certs
    assert [each.certificate for each in loaded] == x509.load_pem_x509_certificates(pem)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("keytool") is None, reason="there is no Java on this machine")
def test_java_itself_reads_the_store(tmp_path: Path) -> None:
    file = tmp_path / "store.p12"
    file.write_bytes(
        secrets.java_trust_store(make_authority(tmp_path).certificate_file.read_bytes(), password="changeit")
    )
    listed = subprocess.run(
        ["keytool", "-list", "-keystore", str(file), "-storepass", "changeit"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "trustedCertEntry" in listed.stdout


def _handshake(port: int, name: str, trust: ssl.SSLContext) -> bool:
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        trust.wrap_socket(plain, server_hostname=name) as secure,
    ):
        return secure.version() is not None
