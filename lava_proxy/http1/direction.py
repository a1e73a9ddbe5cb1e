"""CONNECT, TLS and Host must name one host: what is priced as one must not be answered by another."""

from lava_proxy.http1.answers import Answer, fault
from lava_proxy.http1.names import host_name, named_host


def misdirected(host: str, *, server_name: str | None, host_header: str | None) -> Answer | None:
    """What to answer a request to ``host`` that names another one; ``None``: it names no other.

    ``server_name``: what TLS inside a tunnel asked for. ``host_header``: all Host headers, joined by commas.
    """
    if server_name and host_name(server_name) != host:
        message = (
            f"The tunnel leads to {host}, but its TLS asks for {server_name}. Connect to the host by its own name."
        )
        return fault(421, code="misdirected_request", message=message)
    return other_host_header(host, host_header)


def other_host_header(host: str, host_header: str | None) -> Answer | None:
    if host_header is None:
        return None
    try:
        name = named_host(host_header)
    except ValueError:
        return fault(400, code="invalid_host_header", message="The Host header does not name one host.")
    if name == host:
        return None
    message = f"The request goes to {host}, but its Host header names {name}."
    return fault(421, code="misdirected_request", message=message)
