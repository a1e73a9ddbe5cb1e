"""Who is opened up and who is not; and that no trick leads to an AI host unseen."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest

from lava_proxy.core.names import PROVE_HOST
from lava_proxy.services.exchange import Credentials
from tests.addons.conftest import StartRig
from tests.addons.fake_line import KEY_REQUIRED, REFUSED_402, FakeLine
from tests.addons.rig import Rig, lead_to
from tests.addons.upstream import running_upstream
from tests.addons.wire import Wire, basic, request
from tests.support.certificates import Authority


def issuer_of(wire: Wire) -> str:
    certificate = wire.writer.get_extra_info("peercert")
    names = dict(pair[0] for pair in certificate["issuer"])
    return str(names["commonName"])


def only_openai() -> FakeLine:
    return FakeLine(ai_hosts={"api.openai.com"})


async def test_an_ai_host_is_opened_up_with_our_certificate(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        assert issuer_of(wire).startswith("Lava Proxy CA (")


async def test_another_host_is_tunnelled_untouched_with_its_own_certificate(
    rig: StartRig, authority: Authority
) -> None:
    async with rig(line=only_openai()) as r, await r.dial() as wire:
        assert (await wire.connect("api.anthropic.com:443")).status == 200
        await wire.start_tls("api.anthropic.com", ca_file=authority.certificate_file)
        answer = await wire.call(host="api.anthropic.com", x_lava_customer="acme")

        assert issuer_of(wire) == "Stand-in authority"
        assert answer.status == 200
        assert "x-lava-request-id" not in answer.headers
        assert r.upstream.seen[0].headers["x-lava-customer"] == "acme"
        assert r.line.heads == []


@pytest.mark.parametrize("spelling", ["API.OpenAI.com", "api.openai.com.", "Api.openai.com."])
async def test_another_spelling_of_an_ai_host_is_the_same_host(rig: StartRig, spelling: str) -> None:
    async with rig(line=only_openai()) as r, await r.dial() as wire:
        assert (await wire.connect(f"{spelling}:443")).status == 200
        await wire.start_tls("api.openai.com")
        assert (await wire.call(host=spelling)).status == 200

        assert r.line.heads[0].host == "api.openai.com"


async def test_an_ai_host_on_another_port_is_not_a_way_around(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire:
        assert (await wire.connect("api.openai.com:8443")).status == 200
        await wire.start_tls()

        assert issuer_of(wire).startswith("Lava Proxy CA (")


async def test_another_name_inside_tls_is_refused_where_the_client_can_read_it(rig: StartRig) -> None:
    """A tunnel to the AI host, and a TLS name that would let it pass as another's."""
    async with rig() as r, await r.dial() as wire:
        assert (await wire.connect("api.openai.com:443")).status == 200
        await wire.start_tls("other.example")
        answer = await wire.call(host="api.openai.com")

        assert (answer.status, answer.code) == (421, "misdirected_request")
        assert r.upstream.connections == 0
        assert r.line.heads == []


async def test_an_ai_host_named_only_inside_tls_is_opened_up_and_refused(rig: StartRig) -> None:
    """Fronting: a tunnel to a host that nobody meters, which leads on to one that we do."""
    async with rig(line=only_openai()) as r, await r.dial() as wire:
        assert (await wire.connect("api.anthropic.com:443")).status == 200
        await wire.start_tls("api.openai.com")
        answer = await wire.call()

        assert (answer.status, answer.code) == (421, "misdirected_request")
        assert r.upstream.seen == []


async def test_an_ai_host_named_only_in_the_host_header_is_refused(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel("api.anthropic.com") as wire:
        answer = await wire.call(host="api.openai.com")

        assert (answer.status, answer.code) == (421, "misdirected_request")
        assert r.upstream.connections == 0


async def test_a_host_header_that_names_no_host_or_two_is_refused(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        bad = await wire.call(host="api.openai.com/x")
        wire.send(b"GET / HTTP/1.1\r\nhost: api.openai.com\r\nhost: api.anthropic.com\r\n\r\n")
        two = await wire.read_answer()

        assert (bad.status, bad.code) == (400, "invalid_host_header")
        assert two.status == 400
        assert r.line.heads == []


async def test_a_first_byte_that_comes_alone_does_not_make_a_raw_tunnel(rig: StartRig, authority: Authority) -> None:
    """Stock mitmproxy takes fewer than three bytes for raw TCP, and the rest would reach the AI host unseen."""
    async with rig() as r, await r.dial() as wire:
        assert (await wire.connect()).status == 200
        hello = await _client_hello("api.openai.com")
        wire.send(hello[:1])
        await asyncio.sleep(0.05)
        wire.send(hello[1:])
        record = await asyncio.wait_for(wire.reader.read(5), 20)

        assert record[0] == 0x16  # a handshake, and from us: nothing was opened behind it
        assert r.upstream.connections == 0


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[list[bytes]]:
    """What reaches the provider's port as raw TCP: one entry for each connection, before any TLS."""
    reached: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    lead_to(server.sockets[0].getsockname()[1])
    try:
        yield reached
    finally:
        server.close()


@pytest.mark.parametrize("first", [b"\x00", b"G", b"SSH-2.0-x\r\n\r\n"])
async def test_bytes_inside_tls_that_are_no_http_go_nowhere(rig: StartRig, first: bytes) -> None:
    async with rig() as r, listening() as reached, await r.tunnel() as wire:
        wire.send(first)
        await asyncio.sleep(0.05)
        wire.send(b"\x01\x02 raw \r\n\r\n")
        await wire.read_to_end()

        assert reached == []


@pytest.mark.parametrize("first", [b"S", b"SSH-2.0-OpenSSH\r\n\r\n", b"\x17\x03\x03"])
async def test_bytes_to_an_ai_host_that_are_no_tls_go_nowhere(rig: StartRig, first: bytes) -> None:
    async with rig() as r, listening() as reached, await r.dial() as wire:
        assert (await wire.connect()).status == 200
        wire.send(first)
        await asyncio.sleep(0.05)
        wire.send(b" raw \r\n\r\n")
        with contextlib.suppress(TimeoutError):  # of half a record the rest is waited for
            await asyncio.wait_for(wire.reader.read(), 1)

        assert reached == []


async def _client_hello(server_name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def test_a_tunnel_to_an_address_without_a_name_is_refused(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire, await r.dial() as plain:
        assert (await wire.connect(f"127.0.0.1:{r.upstream.port}")).status == 200
        await wire.start_tls(None)
        inside = await wire.call(host="127.0.0.1")
        assert (await plain.connect(f"127.0.0.1:{r.upstream.port}")).status == 200
        unencrypted = await plain.call(host="127.0.0.1")

        assert (inside.status, inside.code) == (403, "tunnel_refused")
        assert (unencrypted.status, unencrypted.code) == (403, "tunnel_refused")
        assert r.upstream.connections == 0


async def test_a_tunnel_to_an_address_passes_with_a_name_inside_or_where_the_operator_allows_it(
    rig: StartRig, authority: Authority
) -> None:
    async with rig(line=only_openai()) as r, await r.dial() as named:
        assert (await named.connect(f"127.0.0.1:{r.upstream.port}")).status == 200
        await named.start_tls("api.anthropic.com", ca_file=authority.certificate_file)
        assert (await named.call(host="api.anthropic.com")).status == 200
    async with rig(line=only_openai(), allows_unknown_tunnels=True) as r, await r.dial() as nameless:
        assert (await nameless.connect(f"127.0.0.1:{r.upstream.port}")).status == 200
        await nameless.start_tls(None)
        assert (await nameless.call(host="x")).status == 200


async def test_an_address_with_an_ai_hosts_name_inside_is_refused_with_the_way_out(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire:
        assert (await wire.connect(f"127.0.0.1:{r.upstream.port}")).status == 200
        await wire.start_tls("api.openai.com")
        answer = await wire.call()

        assert answer.status == 421
        assert b"Connect to the host by its own name" in answer.body


async def test_a_server_that_speaks_first_is_heard_through_a_tunnel(rig: StartRig) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.write(b"you said " + await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with rig() as r, await r.dial() as wire:
        assert (await wire.connect(f"localhost:{server.sockets[0].getsockname()[1]}")).status == 200
        assert await wire.reader.readline() == b"220 mail.example ESMTP\r\n"
        wire.send(b"EHLO me\r\n")
        assert await wire.read_to_end() == b"you said EHLO me\r\n"
    server.close()


async def test_half_of_a_tunnel_may_close_before_the_other(rig: StartRig) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d bytes" % len(await reader.read()))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    async with rig() as r, await r.dial() as wire:
        assert (await wire.connect(f"localhost:{server.sockets[0].getsockname()[1]}")).status == 200
        wire.send(b"twelve bytes")
        await asyncio.sleep(0.05)
        wire.writer.write_eof()
        assert await wire.read_to_end() == b"12 bytes"
    server.close()


async def test_a_tunnel_to_where_nobody_listens_is_answered_502(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire:
        answer = await wire.connect("localhost:9")

        assert (answer.status, answer.code) == (502, "unreachable")


async def test_credentials_arrive_decoded_and_split_at_the_first_colon(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel(user="cus%40t", secret="k%3Aa%2Fb:c") as wire:
        await wire.call()

        assert r.line.heads[0].credentials == Credentials(user="cus@t", secret="k:a/b:c")
        assert "proxy-authorization" not in r.upstream.seen[0].headers


async def test_a_tunnel_is_asked_for_its_credentials_and_the_same_connection_may_try_again(rig: StartRig) -> None:
    def need_key(host: str, port: int, credentials: Credentials | None) -> object:
        return None if credentials else KEY_REQUIRED

    line = FakeLine(ai_hosts=set(), tunnel=need_key)  # type: ignore[arg-type]
    async with rig(line=line) as r, await r.dial() as wire:
        first = await wire.connect("api.openai.com:443")
        second = await wire.connect("api.openai.com:443", user="x", secret="y")

        assert first.status == 407
        assert first.headers["proxy-authenticate"] == 'Basic realm="Lava Proxy"'
        assert second.status == 200
        assert line.tunnels[1] == ("api.openai.com", 443, Credentials(user="x", secret="y"))


async def test_an_ai_host_is_never_refused_at_connect_but_inside_tls(rig: StartRig) -> None:
    """An error on CONNECT shows up in the SDKs as a connection error, and is tried again."""
    line = FakeLine(decide=lambda head, body: KEY_REQUIRED, tunnel=lambda *_: KEY_REQUIRED)
    async with rig(line=line) as r, await r.tunnel() as wire:
        assert (await wire.call()).status == 401
        assert line.tunnels == []


async def test_plain_http_to_an_ai_host_is_metered_and_its_credentials_stay_here(rig: StartRig) -> None:
    async with running_upstream(None) as plain, rig(line=FakeLine(ai_hosts={"ai.example:80"})) as r:
        loop_to(plain.port)
        async with await r.dial() as wire:
            wire.send(
                request(
                    "http://ai.example/v1/x?y=1",
                    b"{}",
                    host="ai.example",
                    proxy_authorization=basic("acme", "k:1"),
                    proxy_connection="keep-alive",
                    x_lava_customer="acme",
                )
            )
            assert (await wire.read_answer()).status == 200

        head = r.line.heads[0]
        assert (head.scheme, head.host, head.port, head.path) == ("http", "ai.example", 80, "/v1/x?y=1")
        assert head.credentials == Credentials(user="acme", secret="k:1")
        assert plain.seen[0].first_line == "POST /v1/x?y=1 HTTP/1.1"
        assert set(plain.seen[0].headers) == {"host", "content-length"}


def loop_to(port: int) -> None:
    from lava_proxy.http1.event_loop import EventLoop
    from lava_proxy.core.addresses import ConnectTo

    loop = asyncio.get_running_loop()
    assert isinstance(loop, EventLoop)
    loop.redirects = (ConnectTo(host="", port=80, to_host="127.0.0.1", to_port=port),)


async def test_plain_http_to_another_host_passes_as_a_stream_without_what_is_meant_for_us(rig: StartRig) -> None:
    body = bytes(3_000_000)  # three times the limit for what is held
    async with running_upstream(None) as plain, rig() as r:
        loop_to(plain.port)
        async with await r.dial() as wire:
            wire.send(
                request(
                    "http://other.example/upload",
                    body,
                    host="api.openai.com",
                    proxy_authorization=basic("a", "b"),
                    x_lava_meter="m",
                    accept="*/*",
                )
            )
            assert (await wire.read_answer()).status == 200

        assert r.line.heads == []
        assert r.line.tunnels == [("other.example", 80, Credentials(user="a", secret="b"))]
        assert plain.seen[0].body == body
        assert plain.seen[0].headers == {"host": "other.example", "content-length": "3000000", "accept": "*/*"}


async def test_plain_http_to_another_host_that_is_refused_is_answered_although_it_has_a_body(rig: StartRig) -> None:
    """With an answer and a stream at once, mitmproxy's layer fails and the client hangs."""
    line = FakeLine(tunnel=lambda *_: REFUSED_402)
    async with rig(line=line) as r, await r.dial() as wire:
        wire.send(request("http://other.example/upload", b"x" * 1000, host="other.example"))
        assert (await wire.read_answer()).status == 402
        assert r.upstream.connections == 0


async def test_the_host_that_proves_interception_is_answered_here(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel(PROVE_HOST, user="acme", secret="k") as wire, await r.dial() as plain:
        proof = await wire.call("/any", method="GET", host=PROVE_HOST)
        plain.send(request(f"http://{PROVE_HOST}/", method="GET", host=PROVE_HOST))

        assert proof.json == {"ok": True, "via": "connect", "scheme": "https", "user": "acme"}
        assert (await plain.read_answer()).json == {"ok": True, "via": "absolute", "scheme": "http", "user": ""}
        assert r.line.heads == []


async def _port_answers(r: Rig, wire: Wire) -> list[int]:
    paths = ["/healthz", "/readyz", "/ca.pem", "/", "/v1/forward?u=https://api.openai.com"]
    return [(await wire.call(path, method="GET", host=f"127.0.0.1:{r.port}")).status for path in paths]


async def test_the_port_answers_for_itself(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire:
        assert await _port_answers(r, wire) == [200, 200, 200, 404, 404]
        assert (await wire.call("/ca.pem", method="GET")).body == r.ca_file.read_bytes()
        assert (await wire.call("/healthz", method="HEAD")).status == 200
        assert (await wire.call("/healthz", method="POST")).status == 404
        r.flags["stopping"] = True
        assert (await wire.call("/readyz", method="GET")).json == {"status": "unready", "reason": "stopping"}


async def test_a_request_in_origin_form_speaks_to_the_port_whatever_its_host_header_says(rig: StartRig) -> None:
    """A page in a browser may name any host there; it must not get at one through us."""
    async with rig() as r, await r.dial() as wire:
        assert (await wire.call("/v1/models", method="GET", host="api.openai.com")).status == 404
        wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await wire.read_answer()).status == 200
        assert (r.line.heads, r.line.tunnels, r.upstream.connections) == ([], [], 0)


async def test_tls_to_the_port_carries_everything_and_has_the_operators_certificate(
    rig: StartRig, authority: Authority
) -> None:
    mine = authority.issue("proxy.example", "127.0.0.1")
    async with rig(tls_cert=mine.certificate, tls_key=mine.key) as r, await r.dial() as wire, await r.dial() as nested:
        await wire.start_tls("proxy.example", ca_file=authority.certificate_file)
        assert issuer_of(wire) == "Stand-in authority"
        assert (await _port_answers(r, wire))[0] == 200
        await nested.start_tls("proxy.example", ca_file=authority.certificate_file, alpn=["h2", "http/1.1"])
        await nested.tunnel(user="acme")
        assert issuer_of(nested).startswith("Lava Proxy CA (")
        assert [(await nested.call()).status for _ in range(3)] == [200, 200, 200]
        assert r.line.heads[0].server_name == "api.openai.com"
        assert r.upstream.connections == 1


async def test_tls_to_the_port_works_with_a_certificate_of_our_own(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire:
        await wire.start_tls("localhost")
        assert (await wire.call("/healthz", method="GET", host="localhost")).status == 200


async def test_a_client_that_offers_http_2_gets_http_1(rig: StartRig) -> None:
    async with rig() as r, await r.dial() as wire:
        assert (await wire.connect()).status == 200
        await wire.start_tls(alpn=["h2", "http/1.1"])
        tls = wire.writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"
        assert (await wire.call()).status == 200


async def test_http_2_without_asking_reaches_nobody(rig: StartRig) -> None:
    async with rig() as r, await r.tunnel() as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await wire.read_to_end()
        assert (r.line.heads, r.upstream.connections) == ([], 0)
