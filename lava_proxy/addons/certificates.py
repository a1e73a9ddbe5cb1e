"""Certificates of our own authority for the hosts whose TLS is ended here, made by mitmproxy's store."""

import ssl
import tempfile
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
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # OpenSSL reads files only; it holds nothing secret
            file.write(chain)
            file.flush()
            context.load_cert_chain(file.name, self._key_file)
