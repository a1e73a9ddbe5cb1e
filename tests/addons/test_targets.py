"""Where connections may go: decided on the address itself, in whatever notation it was asked for."""

import asyncio
import socket

import pytest

from lava_proxy.http1.event_loop import EventLoop
from lava_proxy.http1.targets import Destination, Targets, redirected
from lava_proxy.core.addresses import ConnectTo, parse_connect_to

OWN = (("127.0.0.1", 8080),)
SOMEWHERE = Destination(host="somewhere.example", port=443)


def targets(*, is_loopback_only: bool = False) -> Targets:
    return Targets(own=OWN, is_loopback_only=is_loopback_only, is_exempt=lambda host, port: host == "ollama.lan")


METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "fe80::1%2",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
INSIDE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "::1",
    "::",
    "10.0.0.1",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "64:ff9b::7f00:1",
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("is_loopback_only", [True, False])
def test_the_machines_metadata_is_nobodys_business(address: str, is_loopback_only: bool) -> None:
    for destination in (
        SOMEWHERE,
        Destination(host="ollama.lan", port=80),
        Destination(host="x", port=80, is_redirected=True),
    ):
        assert targets(is_loopback_only=is_loopback_only).refusal(destination, address, 80) is not None


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_inside_is_refused_to_callers_from_outside(address: str) -> None:
    assert targets().refusal(SOMEWHERE, address, 443) is not None


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_inside_is_open_where_only_this_machine_calls(address: str) -> None:
    assert targets(is_loopback_only=True).refusal(SOMEWHERE, address, 443) is None


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_outside_is_open_to_all(address: str) -> None:
    assert targets().refusal(SOMEWHERE, address, 443) is None


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1"])
def test_what_the_operator_described_is_exempt(address: str) -> None:
    assert targets().refusal(Destination(host="ollama.lan", port=11434), address, 11434) is None
    assert targets().refusal(Destination(host="x", port=1, is_redirected=True), address, 11434) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("is_loopback_only", [True, False])
def test_our_own_port_is_refused_under_all_its_addresses(address: str, is_loopback_only: bool) -> None:
    destination = Destination(host="x", port=8080, is_redirected=True)

    assert targets(is_loopback_only=is_loopback_only).refusal(destination, address, 8080) is not None


def test_our_own_port_on_another_machine_is_not_ours() -> None:
    assert targets(is_loopback_only=True).refusal(SOMEWHERE, "192.0.2.1", 8080) is None


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "0"])
def test_no_notation_of_loopback_gets_through(spelling: str) -> None:
    async def attempt() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EventLoop)
        loop.refusal = targets().refusal
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        with pytest.raises(PermissionError, match="not a public address"):
            await asyncio.open_connection(spelling, server.sockets[0].getsockname()[1])
        server.close()

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(attempt())


def test_a_name_that_resolves_to_the_inside_is_refused_at_the_connection() -> None:
    """Between a check of the name and the connection its answer may change; there is no such moment here."""

    async def attempt() -> list[tuple[Destination, str, int]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EventLoop)
        asked: list[tuple[Destination, str, int]] = []

        def refuse(destination: Destination, address: str, port: int) -> str:
            asked.append((destination, address, port))
            return "no"

        loop.refusal = refuse
        with pytest.raises(PermissionError, match="localhost: no"):
            await asyncio.open_connection("localhost", 9, family=socket.AF_INET)
        return asked

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        assert runner.run(attempt()) == [(Destination(host="localhost", port=9), "127.0.0.1", 9)]


def test_a_redirected_connection_goes_where_the_operator_says_and_says_so() -> None:
    async def attempt() -> tuple[bytes, list[Destination]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, EventLoop)
        asked: list[Destination] = []

        def allow(destination: Destination, address: str, port: int) -> None:
            asked.append(destination)

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"here")
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        loop.refusal, loop.redirects = allow, (parse_connect_to(f"nowhere.invalid:443:127.0.0.1:{port}"),)
        reader, writer = await asyncio.open_connection("Nowhere.Invalid", 443)
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        return said, asked

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        said, asked = runner.run(attempt())
    assert said == b"here"
    assert asked == [Destination(host="Nowhere.Invalid", port=443, is_redirected=True)]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (["a.example:443:b.example:1"], ("b.example", 1)),
        (["other:443:b.example:1", "a.example:443:c.example:2"], ("c.example", 2)),
        (["::b.example:1"], ("b.example", 1)),
        ([":443:b.example:"], ("b.example", 443)),
        (["a.example:443::8443"], ("a.example", 8443)),
        (["a.example:444:b.example:1"], ("a.example", 443)),
        (["a.example:443:[::1]:9", "a.example:443:never:1"], ("::1", 9)),
        ([], ("a.example", 443)),
    ],
)
def test_connect_to_means_what_it_means_for_curl(rules: list[str], expected: tuple[str, int]) -> None:
    parsed: list[ConnectTo] = [parse_connect_to(rule) for rule in rules]

    assert redirected(parsed, "a.example", 443) == expected
