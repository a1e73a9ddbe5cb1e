"""mitmproxy's ``TlsConfig``, with the operator's certificate for TLS to the port itself."""

from pathlib import Path

from mitmproxy import certs
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, modes


class PortTls(TlsConfig):
    """Hosts that are intercepted keep certificates of our own authority, whatever the port's certificate names."""

    name = "tlsconfig"

    def __init__(self, certificate: Path | None, key: Path | None) -> None:
        super().__init__()
        self._port_entry = read_entry(certificate, key) if certificate and key else None

    def get_cert(self, conn_context: Context) -> certs.CertStoreEntry:
        if self._port_entry is not None and _is_to_the_port(conn_context):
            return self._port_entry
        return super().get_cert(conn_context)

    def request(self, flow: HTTPFlow) -> None:
        """No revocation list is served from providers' hosts: it would answer a flow that is already admitted."""


def read_entry(certificate: Path, key: Path) -> certs.CertStoreEntry:
    """The operator's certificate with its chain, and its key.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be, or the two do not belong together.
    """
    chain = certificate.read_bytes()
    leaf = certs.Cert.from_pem(chain)
    private_key = certs.load_pem_private_key(key.read_bytes(), None)
    if leaf.public_key() != private_key.public_key():
        raise ValueError(f"{key} is not the key of the certificate in {certificate}")
    return certs.CertStoreEntry(leaf, private_key, certificate, [leaf])


def _is_to_the_port(context: Context) -> bool:
    """Whether this handshake is the client's first layer, and not one inside a tunnel."""
    layers = context.layers
    return len(layers) == 2 and isinstance(layers[0], modes.HttpProxy) and isinstance(layers[1], ClientTLSLayer)
