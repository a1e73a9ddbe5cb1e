"""Which connections are opened up: those to AI hosts. All others pass untouched, with their own certificates.

A tunnel is intercepted if the host named by CONNECT or the one named inside TLS is an AI host; `admission` then refuses
those where the two differ. Stock mitmproxy guesses the protocol from the first bytes, and takes what it cannot guess for
raw TCP; a client that sends its first byte alone would reach an AI host like that, unseen. Here nothing inside a tunnel
to an AI host is ever raw.
"""

import logging

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, TCPLayer, modes
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.tls import ClientHelloData

from lava_proxy.addons.arrivals import Tunnel
from lava_proxy.addons.edge import Edge
from lava_proxy.addons.layers import LavaHttpLayer

log = logging.getLogger(__name__)

_TLS_HANDSHAKE = b"\x16"


class Tunnels:
    """Chooses the layers of every connection, before mitmproxy's own ``NextLayer`` gets to."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        context = nextlayer.context
        if not isinstance(context.layers[0], modes.HttpProxy):
            return  # not a forward proxy; `promises` refuses to start such a one
        try:
            nextlayer.layer = self._choose(context, nextlayer.data_client())  # type: ignore[no-untyped-call]
        except Exception:
            log.exception("a connection was closed because of a fault of ours")
            nextlayer.layer = Closed(context)

    def tls_clienthello(self, data: ClientHelloData) -> None:
        tunnel = self._edge.arrivals.tunnel(data.context.client)
        if tunnel is None:
            return  # TLS to the port itself
        if self._is_intercepted(tunnel, data.client_hello.sni):
            data.context.server.tls = True
        else:
            data.ignore_connection = True

    def _choose(self, context: Context, first_bytes: bytes) -> layer.Layer:
        tunnel = self._edge.arrivals.tunnel(context.client)
        is_decrypted = isinstance(context.layers[-1], ClientTLSLayer)
        if first_bytes.startswith(_TLS_HANDSHAKE) and not is_decrypted:
            return ClientTLSLayer(context)
        if tunnel is None:
            return LavaHttpLayer(context, HTTPMode.regular, self._edge)
        if is_decrypted or self._is_intercepted(tunnel, None):
            return LavaHttpLayer(context, HTTPMode.transparent, self._edge)
        return TCPLayer(context, ignore=True)

    def _is_intercepted(self, tunnel: Tunnel, server_name: str | None) -> bool:
        if tunnel.is_intercepted:
            return True
        if server_name:
            return self._edge.is_intercepted(server_name, tunnel.port)
        return self._edge.is_unknown(tunnel)


class Closed(layer.Layer):
    """Closes the connection, whatever comes."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)
