"""The running process: how it starts, what it says, how it stops."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from lava_proxy.core.entities import RequestRecord, TierUnit
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from lava_proxy.services.presence import read_presence
from lava_proxy.wiring import MadeHome
from tests.support.certificates import Authority
from tests.support.proxy import RunningProxy, Shop, eventually, running_proxy

pytestmark = pytest.mark.e2e

URL = "https://api.openai.com/v1/chat/completions"
STREAM = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
CALL = {**STREAM, "stream": False}


def attempt(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start the proxy where it cannot; gives its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAVA_")}
    return subprocess.run(
        [sys.executable, "-m", "lava_proxy.process", "--home", str(home), *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


Start = Callable[..., contextlib.AbstractContextManager[RunningProxy]]


@pytest.fixture
def start(made_home: MadeHome, provider: StandIn, authority: Authority) -> Start:
    """The proxy of the home, led to the stand-in; keywords are LAVA_* settings in lower case."""

    def begin(**settings: str) -> contextlib.AbstractContextManager[RunningProxy]:
        told = {f"LAVA_{name.upper()}": value for name, value in settings.items()}
        return running_proxy(made_home.home, provider=provider, authority=authority, settings=told)

    return begin


@contextlib.contextmanager
def streaming(client: httpx.Client) -> Iterator[Iterator[str]]:
    """The lines of a stream that has begun. (An iterator that is dropped would end the call.)"""
    with client.stream("POST", URL, json=STREAM, headers={"authorization": "Bearer sk"}) as response:
        lines = response.iter_lines()
        next(lines)
        yield lines


def records(shop: Shop) -> list[RequestRecord]:
    return list(shop.house.ledger.books().rows(RequestRecord))


def test_it_says_when_it_is_ready_and_where_and_takes_it_back_at_the_end(start: Start, made_home: MadeHome) -> None:
    with start() as proxy:
        presence = read_presence(made_home.home.run_folder, "main")
        assert presence is not None
        assert presence.pid == proxy.process.pid
        assert f"ready on {presence.proxy_url} (test, {made_home.home.folder})" in proxy.log()
        assert httpx.get(f"{proxy.url}/readyz", trust_env=False).json() == {"status": "ready"}
        assert httpx.get(f"{proxy.url}/ca.pem", trust_env=False).text == proxy.ca_file.read_text()
        assert proxy.stop() == 0

    assert read_presence(made_home.home.run_folder, "main") is None
    assert not made_home.home.run_file("main").exists()


def test_a_second_proxy_of_the_same_name_is_a_conflict_and_one_of_another_name_is_not(
    start: Start, made_home: MadeHome
) -> None:
    with start():
        same = attempt(made_home.home.folder, "--port", "0")
        with start(instance="second") as second:
            assert second.presence.name == "second"

    assert same.returncode == 7
    assert "A proxy named 'main' runs in this home already" in same.stderr


def test_a_taken_port_is_a_conflict_that_names_its_owner(made_home: MadeHome) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = attempt(made_home.home.folder, "--port", str(taken.getsockname()[1]))

    assert ended.returncode == 7
    assert f"taken by process {os.getpid()}" in ended.stderr


def test_a_folder_that_is_no_home_is_not_made_one(tmp_path: Path) -> None:
    ended = attempt(tmp_path / "nothing", "--port", "0")

    assert ended.returncode == 3
    assert "`lava init` makes one" in ended.stderr
    assert not (tmp_path / "nothing" / "ledger.db").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"LAVA_PORT": "99999"},
        {"LAVA_CONNECT_TO": "nonsense"},
        {"LAVA_UPSTREAM_CA": __file__},
        {"LAVA_TLS_CERT": __file__, "LAVA_TLS_KEY": __file__},
        {"LAVA_HOST": "192.0.2.1"},
    ],
)
def test_a_setting_that_cannot_be_is_wrong_usage(made_home: MadeHome, wrong: dict[str, str]) -> None:
    ended = attempt(made_home.home.folder, **{"LAVA_PORT": "0", **wrong})

    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "Traceback" not in ended.stderr


def test_stopping_lets_a_stream_finish_and_settles_it(start: Start, shop: Shop, provider: StandIn) -> None:
    shop.meter("tokens", "10", unit=TierUnit.TOKENS_1M)
    shop.customer("acme", credit="5", meter="tokens")
    provider.plan = Plan(latch="go", latch_after_events=1, output_tokens=50)
    with start() as proxy, proxy.client("acme", shop.key) as client, streaming(client) as lines:
        proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: not can_connect(proxy.presence.port))
        assert proxy.process.poll() is None
        provider.release("go")
        rest = list(lines)
        assert proxy.process.wait(20) == 0

    assert rest[-2:] == ["data: [DONE]", ""]
    (record,) = records(shop)
    assert record.charge_nanos > 0
    assert "aborted" not in record.flags


def can_connect(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_call_that_does_not_end_in_time_is_cut_and_settled(start: Start, shop: Shop, provider: StandIn) -> None:
    shop.meter("tokens", "10", unit=TierUnit.TOKENS_1M)
    shop.customer("acme", credit="5", meter="tokens")
    provider.plan = Plan(latch="never", latch_after_events=2, output_tokens=50)
    with start(drain_seconds="1") as proxy, proxy.client("acme", shop.key) as client, streaming(client):
        assert proxy.stop() == 0

    (record,) = records(shop)
    assert "estimated" in record.flags


def test_a_second_signal_ends_the_waiting(start: Start, shop: Shop, provider: StandIn) -> None:
    provider.plan = Plan(latch="never", latch_after_events=1)
    with start(drain_seconds="3600") as proxy, proxy.client("-", shop.key) as client, streaming(client):
        proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in proxy.log())
        assert proxy.process.poll() is None
        assert proxy.stop() == 0

    assert len(records(shop)) == 1


def test_an_idle_connection_is_told_to_go_while_the_proxy_stops(start: Start, shop: Shop, provider: StandIn) -> None:
    with start() as proxy, proxy.client("-", shop.key) as idle, proxy.client("-", shop.key) as busy:
        assert idle.post(URL, json=CALL).status_code == 200
        provider.plan = Plan(latch="go", latch_after_events=1)
        with streaming(busy) as lines:
            proxy.process.send_signal(signal.SIGTERM)
            eventually(lambda: "stopping" in proxy.log())
            refused = idle.post(URL, json=CALL)
            provider.release("go")
            assert [line for line in lines if line][-1] == "data: [DONE]"

    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    assert refused.headers["x-lava-error"] == "stopping"


def test_beyond_loopback_a_key_is_needed_and_a_port_without_tls_is_warned_of(
    start: Start, shop: Shop, provider: StandIn
) -> None:
    with start(host="0.0.0.0") as proxy, proxy.client("-") as nobody, proxy.client("-", shop.key) as merchant:
        refused, served = nobody.post(URL, json=CALL), merchant.post(URL, json=CALL)
        inside = f"http://localhost:{provider.port}/"
        answer = httpx.Client(proxy=proxy.url_for("-", shop.key), trust_env=False).get(inside)

        assert (refused.status_code, served.status_code) == (401, 200)
        assert refused.headers["x-lava-error"] == "key_required"
        assert answer.status_code == 502  # connections lead to no address inside
        assert b"not a public address" in answer.content
        assert "without TLS" in proxy.log()


def test_the_port_speaks_tls_with_the_operators_certificate(start: Start, shop: Shop, authority: Authority) -> None:
    mine = authority.issue("localhost", "127.0.0.1")
    with start(tls_cert=str(mine.certificate), tls_key=str(mine.key)) as proxy:
        trust = ssl.create_default_context(cafile=str(authority.certificate_file))
        assert proxy.url.startswith("https://")
        assert httpx.get(f"{proxy.url}/readyz", verify=trust, trust_env=False).status_code == 200
        assert proxy.stop() == 0


def test_a_ledger_that_does_not_answer_stalls_no_stream(
    start: Start, shop: Shop, provider: StandIn, made_home: MadeHome
) -> None:
    """The event loop never waits for the disk; only new calls do."""
    provider.plan = Plan(chunks=40, output_tokens=400, delay_ms=25)
    waiting: list[int] = []
    with (
        start() as proxy,
        proxy.client("-", shop.key) as streamer,
        proxy.client("-", shop.key) as other,
        streaming(streamer) as lines,
    ):
        with write_locked(made_home.home.ledger_file):
            late = threading.Thread(target=lambda: waiting.append(other.post(URL, json=CALL).status_code))
            late.start()
            came = [time.monotonic() for line in lines if line.startswith("data")]
            assert waiting == []
        late.join(30)

    assert len(came) >= 40
    assert waiting in ([200], [503])


@contextlib.contextmanager
def write_locked(ledger: Path) -> Iterator[None]:
    """What a slow disk or another writer looks like to the ledger."""
    connection = sqlite3.connect(ledger, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def test_the_log_has_ids_and_figures_and_neither_keys_nor_prompts(start: Start, shop: Shop) -> None:
    with start(log_level="debug") as proxy, proxy.client("-", shop.key) as client:
        body = {**CALL, "messages": [{"role": "user", "content": "a secret prompt"}]}
        answer = client.post(URL, json=body, headers={"authorization": "Bearer sk-provider-secret"})
        request_id = answer.headers["x-lava-request-id"]
        shop.record(request_id)
        assert proxy.stop() == 0
        log = proxy.log()

    assert request_id in log
    for secret in (shop.key, "sk-provider-secret", "a secret prompt"):
        assert secret not in log


def test_readiness_tells_the_reason(start: Start, made_home: MadeHome, shop: Shop) -> None:
    with start() as proxy, write_locked(made_home.home.ledger_file):
        with contextlib.suppress(httpx.TimeoutException), proxy.client("-", shop.key) as client:
            client.post(URL, json=CALL, timeout=1)

        def reason() -> str | None:
            answer = httpx.get(f"{proxy.url}/readyz", trust_env=False)
            return str(json.loads(answer.content).get("reason", "")) if answer.status_code == 503 else None

        assert "ledger" in eventually(reason, timeout_seconds=30)
