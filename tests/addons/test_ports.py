"""The port is bound first, and one that is taken names its owner."""

import os
import socket

import pytest

from lava_proxy.addons.ports import bind_port, port_owner
from lava_proxy.core.errors import Conflict, InvalidSettings


def test_a_free_port_is_found_and_not_yet_listened_on() -> None:
    (bound,) = bind_port("127.0.0.1", 0)
    with bound, socket.socket() as client:
        assert client.connect_ex(bound.getsockname()) != 0


def test_all_addresses_of_a_host_get_the_same_port() -> None:
    bound = bind_port("", 0)
    ports = {each.getsockname()[1] for each in bound}
    for each in bound:
        each.close()

    assert len(ports) == 1


def test_a_socket_names_its_protocol_or_streams_would_wait_for_acknowledgements() -> None:
    """asyncio sets TCP_NODELAY only where it does; an answer's body then waits 40 ms behind its head."""
    (bound,) = bind_port("127.0.0.1", 0)
    with bound:
        assert bound.proto == socket.IPPROTO_TCP


def test_a_taken_port_names_its_owner() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=rf"Port {port} is taken by process {os.getpid()} \(.+\)"):
            bind_port("127.0.0.1", port)


def test_a_free_port_has_no_owner() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert port_owner(unused.getsockname()[1]) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(InvalidSettings, match="Cannot listen on"):
        bind_port(host, 0)
