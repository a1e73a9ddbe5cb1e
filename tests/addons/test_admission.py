"""Before a request leaves: refused ones open no connection, and nothing gets through by accident."""

import asyncio
from concurrent.futures import Future

import pytest
from mitmproxy.test import tflow

from lava_proxy.addons.guard import reply
from lava_proxy.http1.answers import fault
from lava_proxy.services.exchange import Ending, Forward, Head, Refused, Via
from tests.addons.conftest import StartRig
from tests.addons.fake_line import REFUSED_402, FakeLine
from tests.addons.rig import BODY_SIZE_LIMIT
from tests.addons.wire import request


async def test_an_admitted_call_reaches_the_provider_and_its_answer_the_client(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        answer = await wire.call(body=b'{"model":"gpt-4o-mini"}', authorization="Bearer sk-theirs")

        assert (answer.status, answer.body) == (200, b'{"answer":"yes"}')
        assert answer.headers["x-lava-request-id"] == "req_1"
        assert r.upstream.seen[0].body == b'{"model":"gpt-4o-mini"}'
        assert r.upstream.seen[0].headers["authorization"] == "Bearer sk-theirs"
        assert r.line.closed == [("req_1", Ending.COMPLETE)]


async def test_a_refused_call_opens_no_connection_and_the_client_keeps_its_own(rig: StartRig) -> None:
    line = FakeLine(decide=lambda head, body: REFUSED_402)
    async with rig(line=line) as r, await r.tunnel() as wire:
        first, second = await wire.call(), await wire.call()

        assert (first.status, second.status) == (402, 402)
        assert first.body == REFUSED_402.body
        assert first.headers["x-should-retry"] == "false"
        assert r.upstream.connections == 0
        assert line.closed == []


async def test_the_same_connection_serves_calls_before_and_after_a_refused_one(rig: StartRig) -> None:
    line = FakeLine()
    line.decide = lambda head, body: REFUSED_402 if body == b"dear" else line.admitted()
    async with rig(line=line) as r, await r.tunnel() as wire:
        statuses = [(await wire.call(body=body)).status for body in (b"cheap", b"dear", b"cheap")]

        assert statuses == [200, 402, 200]
        assert r.upstream.connections == 1
        assert line.endings == [Ending.COMPLETE, Ending.COMPLETE]


async def test_a_refused_head_request_is_answered_without_a_body(rig: StartRig) -> None:
    line = FakeLine(decide=lambda head, body: REFUSED_402)
    async with rig(line=line) as r, await r.tunnel() as wire:
        refused = await wire.call(method="HEAD")
        line.decide = None
        admitted = await wire.call(method="HEAD", path="/v1/models")

        assert (refused.status, admitted.status) == (402, 200)


async def test_the_line_is_told_where_the_bytes_go_and_what_the_client_said(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel(user="acme", secret="aks_live_1") as wire:
        await wire.call("/v1/responses?a=b", b"{}", x_lava_meter="gold", content_type="application/json")

        head = r.line.heads[0]
        assert (head.via, head.method, head.scheme) == (Via.CONNECT, "POST", "https")
        assert (head.host, head.port, head.path) == ("api.openai.com", 443, "/v1/responses?a=b")
        assert (head.host_header, head.server_name) == ("api.openai.com", "api.openai.com")
        assert head.credentials is not None
        assert (head.credentials.user, head.credentials.secret) == ("acme", "aks_live_1")
        assert dict(head.headers)["x-lava-meter"] == "gold"
        assert r.line.bodies == [b"{}"]


async def test_what_the_line_wants_changed_is_changed_and_nothing_else(rig: StartRig) -> None:
    line = FakeLine()
    line.decide = lambda head, body: line.admitted(
        body=b'{"stream":true,"more":1}', set_headers=(("accept-encoding", "identity"), ("x-new", "1"))
    )
    async with rig(line=line) as r, await r.tunnel() as wire:
        await wire.call(body=b'{"stream":true}', accept_encoding="gzip, br", x_lava_customer="acme", user_agent="sdk/1")

        seen = r.upstream.seen[0]
        assert seen.body == b'{"stream":true,"more":1}'
        assert seen.headers == {
            "host": "api.openai.com",
            "content-length": "24",
            "accept-encoding": "identity",
            "user-agent": "sdk/1",
            "x-new": "1",
        }


async def test_a_changed_body_that_came_in_chunks_goes_out_in_chunks(rig: StartRig) -> None:
    line = FakeLine()
    line.decide = lambda head, body: line.admitted(body=body + b"more")
    async with rig(line=line) as r, await r.tunnel() as wire:
        wire.send(
            b"POST /v1/x HTTP/1.1\r\nhost: api.openai.com\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        )
        assert (await wire.read_answer()).status == 200

        assert r.upstream.seen[0].body == b"bodymore"
        assert "content-length" not in r.upstream.seen[0].headers


@pytest.mark.parametrize("step", ["open", "is_ai_host", "admit_tunnel"])
async def test_a_fault_of_ours_answers_503_and_nothing_leaves(rig: StartRig, step: str) -> None:
    """mitmproxy logs what a hook raises and lets the flow go on."""

    class Broken(FakeLine):
        is_broken = False

        def is_ai_host(self, host: str, port: int) -> bool:
            assert not (self.is_broken and step == "is_ai_host")
            return super().is_ai_host(host, port)

        def open(self, head: Head, body: bytes) -> Future[Forward | Refused]:
            assert step != "open"
            return super().open(head, body)

        def admit_tunnel(self, *arguments: object) -> Future[Refused | None]:
            raise RuntimeError("broken")

    line = Broken()
    async with rig(line=line) as r, await r.dial() as wire:
        line.is_broken = step == "is_ai_host"
        if step == "open":
            answer = await (await wire.tunnel()).call()
        else:
            answer = await wire.connect("api.openai.com:443" if step == "is_ai_host" else "example.org:443")

        assert (answer.status, answer.code) == (503, "internal_error")
        assert r.upstream.connections == 0


async def test_a_fault_after_the_hold_voids_it(rig: StartRig) -> None:
    line = FakeLine()
    line.decide = lambda head, body: line.admitted(set_headers=(("x", None),))
    async with rig(line=line) as r, await r.tunnel() as wire:
        answer = await wire.call()

        assert answer.status == 503
        assert line.closed == [("req_1", Ending.NOT_SENT)]
        assert r.upstream.connections == 0


async def test_a_client_that_leaves_while_its_admission_waits_is_given_up_and_nothing_leaves(rig: StartRig) -> None:
    opening: Future[Forward | Refused] = Future()
    line = FakeLine(decide=lambda head, body: opening)
    async with rig(line=line) as r:
        wire = await r.tunnel()
        wire.send(request())
        await r.until(lambda: line.heads)
        await wire.close()
        await r.until(lambda: line.abandoned == [opening])
        opening.set_result(line.admitted())

        assert line.closed == [("req_1", Ending.NOT_SENT)]
        await r.until(lambda: not r.engine.port.connections)
        assert r.upstream.connections == 0


async def test_a_client_that_leaves_just_as_it_is_admitted_is_not_charged(rig: StartRig) -> None:
    opening: Future[Forward | Refused] = Future()
    line = FakeLine(decide=lambda head, body: opening)
    async with rig(line=line) as r:
        wire = await r.tunnel()
        wire.send(request())
        await r.until(lambda: line.heads)
        wire.reset()
        opening.set_result(line.admitted())
        await r.until(lambda: line.closed)
        await r.until(lambda: not r.engine.port.connections)

        # Whoever was first: either nothing was sent and nothing is charged, or the provider has seen the call.
        assert (line.endings, len(r.upstream.seen)) in (([Ending.NOT_SENT], 0), ([Ending.CLIENT_GONE], 1))


async def test_a_slow_admission_holds_up_nobody_else(rig: StartRig) -> None:
    slow: Future[Forward | Refused] = Future()
    line = FakeLine()
    line.decide = lambda head, body: slow if body == b"slow" else line.admitted()
    async with rig(line=line) as r, await r.tunnel() as waiting, await r.tunnel() as other:
        waiting.send(request(body=b"slow"))
        await r.until(lambda: line.heads)
        statuses = [(await other.call(body=b"quick")).status for _ in range(5)]
        slow.set_result(line.admitted())

        assert statuses == [200] * 5
        assert (await waiting.read_answer()).status == 200


async def test_an_admission_that_another_thread_decides_is_waited_for(rig: StartRig) -> None:
    line = FakeLine()
    loop_runs_on = asyncio.get_running_loop()

    def decide(head: Head, body: bytes) -> Future[Forward | Refused]:
        opening: Future[Forward | Refused] = Future()
        loop_runs_on.run_in_executor(None, lambda: opening.set_result(line.admitted()))
        return opening

    line.decide = decide
    async with rig(line=line) as r, await r.tunnel() as wire:
        assert [(await wire.call()).status for _ in range(20)] == [200] * 20
        assert line.endings == [Ending.COMPLETE] * 20


async def test_a_body_above_the_limit_is_refused_before_anything_is_held(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        wire.send(b"POST /v1/x HTTP/1.1\r\nhost: api.openai.com\r\ncontent-length: %d\r\n\r\n" % (BODY_SIZE_LIMIT + 1))
        announced = await wire.read_answer()
    async with rig() as r, await r.tunnel() as wire:
        wire.send(b"POST /v1/x HTTP/1.1\r\nhost: api.openai.com\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(BODY_SIZE_LIMIT // 50_000 + 1):
            wire.send(b"c350\r\n" + bytes(50_000) + b"\r\n")
        unannounced = await wire.read_answer()

        assert (announced.status, unannounced.status) == (413, 413)
        assert r.line.heads == []
        assert r.upstream.connections == 0


async def test_a_malformed_request_is_refused_by_mitmproxy_and_never_admitted(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        wire.send(
            b"POST /v1/x HTTP/1.1\r\nhost: api.openai.com\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        )

        assert (await wire.read_answer()).status == 400
        assert r.line.heads == []


async def test_a_stopping_proxy_refuses_calls_on_open_connections_and_closes_them(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire, await r.dial() as new:
        r.flags["stopping"] = True
        answer = await wire.call()

        assert (answer.status, answer.code, answer.headers["connection"]) == (503, "stopping", "close")
        assert await wire.read_to_end() == b""
        assert (await new.connect()).status == 503
        assert r.line.heads == []


def test_an_answer_of_ours_takes_a_stream_back() -> None:
    """With both, mitmproxy's layer fails and the client hangs."""
    flow = tflow.tflow()
    flow.request.stream = True
    reply(flow, fault(503, code="internal_error", message="x"))

    assert flow.request.stream is False
    assert flow.response is not None
