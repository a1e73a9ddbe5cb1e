"""What this builds on inside mitmproxy: its hooks and their order, the classes we derive from, what we leave out."""

import inspect
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mitmproxy import addonmanager, addons, hooks
from mitmproxy.addons import proxyserver, tlsconfig
from mitmproxy.http import HTTPFlow
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy import commands, mode_servers, server
from mitmproxy.proxy.layers import http
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._hooks import HttpRequestHook
from mitmproxy.test import tflow

from lava_proxy.addons.dispatch import Dispatch
from lava_proxy.addons.edge import Control, Edge
from lava_proxy.addons.handler import Handler
from lava_proxy.addons.roster import roster
from lava_proxy.addons.script import Lava
from lava_proxy.addons.target_guard import TargetGuard
from tests.addons.conftest import StartRig
from tests.addons.fake_line import REFUSED_402, FakeLine

HTTP_HOOKS = ("requestheaders", "request", "responseheaders", "response", "error")
CONNECTION_HOOKS = (
    "client_connected",
    "http_connect",
    "http_connected",
    "tls_clienthello",
    "tls_start_client",
    "tls_established_client",
    "server_connect",
    "server_connected",
    "tls_start_server",
    "tls_established_server",
    "server_disconnected",
    "client_disconnected",
)


class Recorder:
    """Notes every hook in its order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        for name in (*HTTP_HOOKS, *CONNECTION_HOOKS):
            setattr(self, name, self._note(name))

    def _note(self, name: str) -> object:
        return lambda argument: self.names.append(name)


async def test_the_hooks_come_in_the_order_that_everything_here_relies_on(mitmproxy_rig: StartRig) -> None:
    recorder = Recorder()
    async with mitmproxy_rig(before=[recorder]) as r:
        async with await r.tunnel() as wire:
            await wire.call()
            await wire.call()
        await r.until(lambda: "client_disconnected" in recorder.names and "server_disconnected" in recorder.names)

    setup = [
        "client_connected",
        "http_connect",
        "http_connected",
        "tls_clienthello",
        "tls_start_client",
        "tls_established_client",
    ]
    upstream = ["server_connect", "server_connected", "tls_start_server", "tls_established_server"]
    assert recorder.names[:-2] == [
        *setup,
        "requestheaders",
        "request",
        *upstream,
        *("responseheaders", "response"),
        *("requestheaders", "request", "responseheaders", "response"),
    ]
    assert set(recorder.names[-2:]) == {"client_disconnected", "server_disconnected"}  # either order


async def test_a_refused_flow_goes_through_the_hooks_of_an_answer_too(mitmproxy_rig: StartRig) -> None:
    recorder = Recorder()
    line = FakeLine(decide=lambda head, body: REFUSED_402)
    async with mitmproxy_rig(line=line, before=[recorder]) as r, await r.tunnel() as wire:
        await wire.call()

    assert recorder.names[6:10] == ["requestheaders", "request", "responseheaders", "response"]
    assert line.closed == []


async def test_events_go_straight_to_the_layer_inside_a_tunnel(mitmproxy_rig: StartRig) -> None:
    async with mitmproxy_rig() as r, await r.tunnel() as wire:
        await wire.call()

        (handler,) = r.engine.port.connections.values()
        assert isinstance(handler, Handler)
        names = [type(found).__name__ for found in handler.layer.context.layers]
        assert names == ["HttpProxy", "LavaHttpLayer", "LavaHttpStream", "ClientTLSLayer", "LavaHttpLayer"]
        assert type(handler.layer).__name__ == "ClientTLSLayer"


async def test_a_tunnel_inside_tls_to_the_port_keeps_its_outer_layers(mitmproxy_rig: StartRig) -> None:
    async with mitmproxy_rig() as r, await r.dial() as wire:
        await wire.start_tls("localhost")
        await wire.tunnel()
        await wire.call()

        (handler,) = r.engine.port.connections.values()
        assert type(handler.layer).__name__ == "HttpProxy"


def test_the_names_of_our_addons_are_unlike_those_of_mitmproxys() -> None:
    """Two addons of one lower-cased name are refused."""
    stock = addons.default_addons()  # type: ignore[no-untyped-call]
    theirs = {type(addon).__name__.lower() for addon in stock}
    theirs |= {"dumper", "errorcheck", "keepserving", "readfilestdin", "termlog"}

    line = FakeLine()
    control = Control(ca_pem=bytes, unready=lambda: None, is_stopping=lambda: False)
    edge = Edge(line=line, control=control, body_size_limit=1)
    names = [type(addon).__name__.lower() for addon in (*roster(edge), TargetGuard(edge, ()), Lava())]
    assert len(set(names)) == len(names)
    assert set(names) & theirs == set()


PINNED = {
    addonmanager.AddonManager: ("register", "remove", "clear", "handle_lifecycle", "trigger_event"),
    server.ConnectionHandler: (
        "server_event",
        "handle_hook",
        "drain_writers",
        "close_connection",
        "open_connection",
        "wakeup",
        "log",
    ),
    mode_servers.AsyncioServerInstance: (
        "_start",
        "_stop",
        "listen",
        "make_top_layer",
        "handle_stream",
        "start",
        "stop",
    ),
    proxyserver.Servers: ("update",),
    http.HttpLayer: ("make_stream", "get_connection", "event_to_child", "register_connection"),
    http.HttpStream: (
        "state_wait_for_request_headers",
        "check_body_size",
        "handle_connect_regular",
        "handle_connect_finish",
    ),
    http.HttpClient: ("_handle_event",),
    _http1.Http1Server: ("read_headers", "read_body", "mark_done"),
    _http1.Http1Client: ("read_headers", "read_body", "mark_done"),
    tlsconfig.TlsConfig: ("get_cert", "request"),
    Master: ("run", "running", "done", "shutdown"),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in PINNED.items() for name in names])
def test_what_we_override_or_call_in_mitmproxy_is_there(kind: type, name: str) -> None:
    assert callable(getattr(kind, name))


def test_mitmproxys_own_server_table_still_has_its_own_listener() -> None:
    """Ours is generic, so that it does not take the place of mitmproxy's."""
    made: mode_servers.ServerInstance[Any] = mode_servers.ServerInstance.make("regular", proxyserver.Proxyserver())  # type: ignore[no-untyped-call]

    assert type(made) is mode_servers.RegularInstance


def test_every_hook_of_the_layers_has_one_field() -> None:
    kinds = [kind for kind in hooks.all_hooks.values() if issubclass(kind, commands.StartHook)]

    assert len(kinds) > 20
    assert [kind.name for kind in kinds if len(inspect.signature(kind).parameters) != 1] == []


@pytest.fixture
async def master() -> AsyncIterator[Master]:
    made = Master(Options())
    made.addons = Dispatch(made)
    yield made
    made._legacy_log_events.uninstall()


class Plain:
    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name, self._log, self._fails = name, log, fails

    def request(self, flow: HTTPFlow) -> None:
        self._log.append(self.name)
        assert not self._fails


class Waiting(Plain):
    async def request(self, flow: HTTPFlow) -> None:  # type: ignore[override]
        super().request(flow)


class Nested:
    def __init__(self, *addons: object) -> None:
        self.name, self.addons = "nested", addons


async def test_handlers_run_in_the_order_of_the_addons_whether_they_wait_or_not(master: Master) -> None:
    log: list[str] = []
    master.addons.add(Plain("a", log), Waiting("b", log), Nested(Plain("c", log), Waiting("d", log)), Plain("e", log))  # type: ignore[no-untyped-call]
    await master.addons.handle_lifecycle(HttpRequestHook(tflow.tflow()))

    assert log == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("kind", [Plain, Waiting])
async def test_a_handler_that_fails_is_logged_and_the_others_run(
    master: Master, caplog: pytest.LogCaptureFixture, kind: type[Plain]
) -> None:
    log: list[str] = []
    master.addons.add(kind("a", log, fails=True), Plain("b", log))  # type: ignore[no-untyped-call]
    with caplog.at_level(logging.ERROR):
        await master.addons.handle_lifecycle(HttpRequestHook(tflow.tflow()))

    assert log == ["a", "b"]
    assert "a handler of the hook request failed" in caplog.text


async def test_handlers_of_addons_that_come_and_go_are_found(master: Master) -> None:
    log: list[str] = []
    first, second = Plain("a", log), Plain("b", log)
    hook = HttpRequestHook(tflow.tflow())
    master.addons.add(first)  # type: ignore[no-untyped-call]
    await master.addons.handle_lifecycle(hook)
    master.addons.add(second)  # type: ignore[no-untyped-call]
    await master.addons.handle_lifecycle(hook)
    master.addons.remove(first)  # type: ignore[no-untyped-call]
    await master.addons.handle_lifecycle(hook)

    assert log == ["a", "a", "b", "b"]


async def test_a_change_of_a_flow_is_still_told_to_addons_that_ask_for_it(master: Master) -> None:
    class Updated:
        flows: list[object] = []  # noqa: RUF012

        def update(self, flows: list[object]) -> None:
            self.flows.extend(flows)

    updated = Updated()
    flow = tflow.tflow()
    master.addons.add(updated)  # type: ignore[no-untyped-call]
    await master.addons.handle_lifecycle(HttpRequestHook(flow))

    assert updated.flows == [flow]
