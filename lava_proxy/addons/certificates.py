"""Certificates of our own authority for the hosts whose TLS is ended here, made by mitmproxy's store."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mitmproxy.addons.tlsconfig import _ip_or_dns_name
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE


class Certificates:
    """Loads a host's certificate into a context. All of them have the authority's own key, as mitmproxy's have."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds ``mitmproxy-ca.pem``."""
        self._store = CertStore.from_store(folder, CONF_BASENAME, KEY_SIZE)
        self._key_file = folder / f"{CONF_BASENAME}-ca.pem"

    def load(self, host: str, context: ssl.SSLContext) -> None:
        """
        Raises:
            OSError: it could not be made or loaded.
        """
        entry = self._store.get_cert(host, [_ip_or_dns_name(host)])
        chain = entry.cert.to_pem() + b"".join(each.to_pem() for each in entry.chain_certs)
        with _readable(chain) as name:
            context.load_cert_chain(name, self._key_file)


@contextmanager
def _readable(text: bytes) -> Iterator[str]:
    """A name under which OpenSSL, which reads only files, finds ``text`` once: a pipe, as the disk may be full."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as end:
            end.write(text)  # far less than a pipe holds
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
