"""``mitmdump -s addons/lava.py``: the same line under stock mitmproxy."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from lava_proxy.core.entities import RequestRecord, TierUnit
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from lava_proxy.services.presence import read_presence
from lava_proxy.wiring import MadeHome
from tests.support.certificates import Authority
from tests.support.proxy import RunningProxy, Shop, ai_hosts, eventually

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parent.parent.parent
MITMDUMP = Path(sys.executable).parent / "mitmdump"
URL = "https://api.openai.com/v1/chat/completions"
CALL = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    home: MadeHome
    environment: dict[str, str]

    def command(self, *more: str, script: Path = ROOT / "addons" / "lava.py", host: str = "127.0.0.1") -> list[str]:
        return [str(MITMDUMP), "--quiet", "-s", str(script), "--listen-host", host, "-p", str(free_port()), *more]

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """To its end, which is to come by itself."""
        return subprocess.run(
            self.command(*more), env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    @contextlib.contextmanager
    def running(self, *more: str, **how: object) -> Iterator[RunningProxy]:
        log_file = self.home.home.folder / "mitmdump.log"
        with log_file.open("ab") as log:
            process = subprocess.Popen(self.command(*more, **how), env=self.environment, stdout=log, stderr=log)  # type: ignore[arg-type]
        try:

            def look() -> object:
                assert process.poll() is None, log_file.read_text(errors="replace")[-3000:]
                return read_presence(self.home.home.run_folder, "main")

            eventually(look, timeout_seconds=60)
            presence = read_presence(self.home.home.run_folder, "main")
            assert presence is not None
            yield RunningProxy(home=self.home.home, process=process, log_file=log_file, presence=presence)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


@pytest.fixture
def given(made_home: MadeHome, provider: StandIn, authority: Authority, tmp_path: Path) -> Given:
    rules = ",".join(f"{host}:443:{provider.host}:{provider.port}" for host in ai_hosts())
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAVA_")}
    told = {
        "HOME": str(tmp_path),
        "LAVA_HOME": str(made_home.home.folder),
        "LAVA_CONNECT_TO": rules,
        "LAVA_UPSTREAM_CA": str(authority.certificate_file),
        "LAVA_DRAIN_SECONDS": "2",
    }
    return Given(home=made_home, environment=kept | told)


def records(shop: Shop) -> list[RequestRecord]:
    return list(shop.house.ledger.books().rows(RequestRecord))


def test_the_unmodified_sdk_is_metered_charged_and_refused(
    given: Given, shop: Shop, provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.meter("calls", "0.40", unit=TierUnit.REQUESTS)
    shop.customer("acme", credit="1.00", meter="calls")
    with given.running() as proxy:
        for variable, value in proxy.environment("acme", shop.key).items():
            monkeypatch.setenv(variable, value)
            monkeypatch.delenv(variable.lower(), raising=False)
        client = openai.OpenAI(api_key="sk-test")
        plain = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
        stream = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        text = "".join(part.choices[0].delta.content or "" for part in stream)
        eventually(lambda: len(records(shop)) == 2)
        before = (provider.counters.connections, provider.counters.requests)
        with pytest.raises(openai.APIStatusError, match="credit") as refused:
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
        after = (provider.counters.connections, provider.counters.requests)
        client.close()

    assert plain.usage is not None
    assert text
    assert refused.value.status_code == 402
    assert after == before
    assert [record.charge_nanos for record in records(shop)] == [400_000_000] * 2
    assert {record.flags for record in records(shop)} == {()}


def test_calls_of_one_connection_share_one_to_the_provider(given: Given, shop: Shop, provider: StandIn) -> None:
    """A redirect changes the address that mitmproxy knows, and stock mitmproxy would connect anew for every call."""
    with given.running() as proxy, proxy.client("-", shop.key) as client:
        assert [client.post(URL, json=CALL).status_code for _ in range(5)] == [200] * 5
        assert provider.counters.connections == 1


def test_it_runs_from_the_installed_package_as_from_the_checkout(given: Given, shop: Shop) -> None:
    with (
        given.running(script=ROOT / "lava_proxy" / "addons" / "lava.py") as proxy,
        proxy.client("-", shop.key) as client,
    ):
        assert client.post(URL, json=CALL).status_code == 200
    subprocess.run(
        [sys.executable, "-c", "import lava_proxy.addons.lava as l; assert len(l.addons) == 1"], check=True, timeout=60
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--set", "stream_large_bodies=1"], "a call that streams before it is admitted cannot be refused"),
        (["--set", "ssl_insecure=true"], "provider keys would go to whoever answers"),
        (["--set", "proxyauth=a:b"], "reads proxy credentials itself"),
        (["--ignore-hosts", "openai"], "the provider files say what is intercepted"),
        (["--map-remote", "|//a.example/|//api.openai.com/"], "after they were priced"),
        (["--mode", "upstream:http://127.0.0.1:9"], "it meters a regular forward proxy"),
        (["--mode", "reverse:https://api.openai.com"], "it meters a regular forward proxy"),
    ],
)
def test_an_option_that_breaks_a_promise_ends_it_at_the_start(given: Given, options: list[str], reason: str) -> None:
    ended = given.run(*options)

    assert ended.returncode != 0
    assert reason in ended.stderr + ended.stdout


def test_without_a_home_it_ends_at_the_start_and_carries_nothing(given: Given, tmp_path: Path) -> None:
    """mitmproxy drops some errors of a script in silence, and would run on without it."""
    given.environment["LAVA_HOME"] = str(tmp_path / "nothing")
    ended = given.run()

    assert ended.returncode != 0
    assert "is no home" in ended.stderr + ended.stdout


def test_beside_a_running_proxy_of_the_same_name_it_ends_at_the_start(given: Given, shop: Shop) -> None:
    with given.running():
        ended = given.run()

    assert ended.returncode != 0
    assert "runs in this home already" in ended.stderr + ended.stdout


def test_on_all_addresses_a_key_is_needed_and_nothing_inside_is_reached(
    given: Given, shop: Shop, provider: StandIn
) -> None:
    """mitmproxy listens on all of them unless told otherwise."""
    with given.running("--set", "block_global=false", host="0.0.0.0") as proxy, proxy.client("-") as nobody:
        assert nobody.post(URL, json=CALL).status_code == 401
        with httpx.Client(proxy=proxy.url_for("-", shop.key), trust_env=False) as merchant:
            for inside in (f"http://localhost:{provider.port}/", f"http://127.0.0.1:{provider.port}/"):
                assert merchant.get(inside).status_code == 502
        assert provider.counters.requests == 0


def test_when_it_ends_it_settles_what_is_open(given: Given, shop: Shop, provider: StandIn) -> None:
    provider.plan = Plan(latch="never", latch_after_events=1, output_tokens=50)
    with (
        given.running() as proxy,
        proxy.client("-", shop.key) as client,
        client.stream("POST", URL, json={**CALL, "stream": True}) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        assert proxy.stop() == 0

    (record,) = records(shop)
    assert "estimated" in record.flags
