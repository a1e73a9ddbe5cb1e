"""`lava run`: the command is metered and otherwise as if it had been started itself; a receipt tells what it came to."""

import json
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lava_proxy.core.entities import TierUnit
from lava_proxy.core.ports import RequestFilter
from lava_proxy.demo.provider import StandIn, TlsFiles, running_stand_in
from lava_proxy.services.presence import read_presence
from tests.support.certificates import Authority
from tests.support.lava import LAVA, clean_environment, lava
from tests.support.proxy import RunningProxy, Shop, ai_hosts, eventually, new_home, open_shop, running_proxy

pytestmark = pytest.mark.e2e

CALL = """
import openai
client = openai.OpenAI(api_key="sk-test", max_retries=0)
try:
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])
    print("answered")
except openai.APIStatusError as error:
    print(error.status_code, error.code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One proxy for all tests here but those that start one."""

    shop: Shop
    proxy: RunningProxy


PYTHON = (sys.executable, "-c")


@pytest.fixture(scope="module")
def stand_in(provider_files: TlsFiles) -> Iterator[StandIn]:
    with running_stand_in(tls=provider_files) as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn, authority: Authority) -> Iterator[Site]:
    made = new_home(tmp_path_factory.mktemp("run") / "home")
    with running_proxy(made.home, provider=stand_in, authority=authority) as proxy, open_shop(made) as opened:
        opened.meter("calls", "0.10", unit=TierUnit.REQUESTS)
        opened.customer("acme", credit="50.00", meter="calls")
        yield Site(shop=opened, proxy=proxy)


@pytest.fixture
def provider(stand_in: StandIn) -> StandIn:
    """One for all tests here, without what it counted before."""
    stand_in.reset()
    return stand_in


@pytest.fixture
def home(site: Site, provider: StandIn) -> Path:
    """A home whose proxy runs, with the customer acme at 10 cents a call."""
    return site.proxy.home.folder


def test_a_call_of_the_command_is_charged_to_the_runs_customer(
    home: Path, site: Site, provider: StandIn, tmp_path: Path
) -> None:
    before = site.shop.available("acme")
    receipt = tmp_path / "receipt.json"
    said = lava(home, "run", "--customer", "acme", "--receipt", str(receipt), "--", *PYTHON, CALL)
    assert (said.code, said.out) == (0, "answered\n")
    assert provider.counters.requests == 1
    assert before - site.shop.available("acme") == 100_000_000
    told = json.loads(receipt.read_text())
    assert (told["mode"], told["requests"], told["charge"], told["blocked"]) == ("test", 1, "0.1000000000", 0)
    assert told["total_tokens"] > 0 and told["pending"] == 0
    newest = site.shop.house.ledger.books().requests(RequestFilter(), limit=1).items[0]
    assert newest.run_id == told["run_id"]


def test_the_receipt_is_on_standard_error_where_it_does_not_mix(home: Path) -> None:
    said = lava(home, "run", "--customer", "acme", "--", *PYTHON, CALL)
    lines = [line.split() for line in said.err.splitlines()]
    assert lines[0][:2] == ["lava", "run"] and lines[0][-1] == "acme"
    facts = {line[0]: line[1] for line in lines[1:]}
    assert (facts["calls"], facts["charge"], facts["blocked"], facts["unpriced"]) == ("1", "$0.10", "0", "0")


def test_the_receipt_as_json_is_one_document(home: Path) -> None:
    said = lava(home, "run", "--json", "--", "true")
    assert json.loads(said.err)["requests"] == 0


def test_a_cap_stops_the_run_and_the_receipt_says_so(home: Path, provider: StandIn) -> None:
    said = lava(home, "run", "--customer", "acme", "--max-charge", "0.15", "--json", "--", *PYTHON, CALL * 2)
    assert said.out == "answered\n402 run_limit_reached\n"
    assert provider.counters.requests == 1
    told = json.loads(said.err)
    assert (told["requests"], told["blocked"], told["refusals"]) == (1, 1, {"run_limit_reached": 1})


def test_a_cap_on_cost_stops_the_merchants_own_calls_too(home: Path, provider: StandIn) -> None:
    said = lava(home, "run", "--max-cost", "0.000000001", "--", *PYTHON, CALL)
    assert said.out == "402 run_limit_reached\n"
    assert provider.counters.requests == 0


@pytest.mark.parametrize(
    ("command", "code"),
    [(["sh", "-c", "exit 7"], 7), (["no-such-command-anywhere"], 127), (["/etc/hostname"], 126)],
)
def test_the_exit_code_is_the_commands(home: Path, command: list[str], code: int) -> None:
    assert lava(home, "run", "--", *command).code == code


def test_a_failure_of_ours_is_125(home: Path) -> None:
    said = lava(home, "run", "--customer", "nobody", "--", "true")
    assert said.code == 125 and "error: There is no customer 'nobody'." in said.err
    assert lava(home, "run", "--max-cost", "much", "--", "true").code == 125


def test_options_of_the_command_are_not_taken_for_ours(home: Path) -> None:
    said = lava(home, "run", sys.executable, "-c", "import sys; print(sys.argv[1:])", "--json", "--customer")
    assert said.out == "['--json', '--customer']\n"


def test_input_reaches_the_command(home: Path) -> None:
    assert lava(home, "run", "--", "cat", text="through").out == "through"


def test_a_signal_to_us_reaches_the_command_and_the_receipt_still_comes(home: Path) -> None:
    code = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); print('ready', flush=True); signal.pause()"
    with subprocess.Popen(
        [*LAVA, "run", "--", *PYTHON, code],
        env=clean_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 9 and "lava run" in err


def test_the_command_gets_the_runs_key_and_never_the_merchants(home: Path, site: Site) -> None:
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    environment = clean_environment(home, LAVA_SECRET_KEY=site.shop.key)
    got = lava(home, "run", "--customer", "acme", "--", *PYTHON, code, environment=environment).json()
    assert not any(site.shop.key in value for value in got.values())
    assert "lava_rk_" in got["HTTPS_PROXY"] and got["https_proxy"] == got["HTTP_PROXY"] == got["HTTPS_PROXY"]
    assert got["LAVA_RUN_ID"].startswith("run_")


def test_the_runs_key_ends_with_it(home: Path, site: Site, provider: StandIn) -> None:
    code = "import os; print(os.environ['HTTPS_PROXY'])"
    url = lava(home, "run", "--customer", "acme", "--", *PYTHON, code).out.strip()
    trust = ssl.create_default_context(cafile=str(site.proxy.ca_file))
    with httpx.Client(proxy=url, verify=trust, trust_env=False) as client:
        answer = client.post(
            "https://api.openai.com/v1/chat/completions", json={"model": "gpt-4o-mini", "messages": []}
        )
    assert answer.status_code == 401
    assert provider.counters.requests == 0


def test_a_warning_tells_of_hosts_that_no_proxy_lets_escape(home: Path) -> None:
    environment = clean_environment(home, NO_PROXY="internal.example,.openai.com")
    said = lava(home, "run", "--", "true", environment=environment)
    assert "warning: NO_PROXY sends these past the proxy, unmetered: api.openai.com" in said.err


def test_a_dry_run_prints_masked_variables_and_starts_nothing(shop: Shop, tmp_path: Path) -> None:
    home = shop.house.home
    shop.customer("acme")
    said = lava(home.folder, "run", "--customer", "acme", "--dry-run", "--", "touch", str(tmp_path / "ran"))
    assert said.code == 0 and "export HTTPS_PROXY=http://con_" in said.out and "lava_rk_xxxx" in said.out
    assert not (tmp_path / "ran").exists()
    assert read_presence(home.run_folder, "main") is None
    assert shop.house.keys.all(include_runs=True) == shop.house.keys.all()


def test_where_no_proxy_runs_one_is_started_and_stays_for_the_next(
    shop: Shop, provider: StandIn, authority: Authority
) -> None:
    home = shop.house.home
    rules = ", ".join(f'"{host}:443:127.0.0.1:{provider.port}"' for host in ai_hosts())
    home.settings_file.write_text(f'port = 0\nconnect_to = [{rules}]\nupstream_ca = "{authority.certificate_file}"\n')
    try:
        assert lava(home.folder, "run", "--", *PYTHON, CALL).out == "answered\n"
        first = read_presence(home.run_folder, "main")
        assert lava(home.folder, "run", "--", *PYTHON, CALL).out == "answered\n"
        second = read_presence(home.run_folder, "main")
        assert first is not None and second is not None and first.pid == second.pid
    finally:
        assert lava(home.folder, "down").code == 0
    assert provider.counters.requests == 2
    assert eventually(lambda: read_presence(home.run_folder, "main") is None)


def test_where_the_proxy_cannot_be_started_the_command_is_not_run(shop: Shop, tmp_path: Path) -> None:
    home = shop.house.home
    home.settings_file.write_text('host = "192.0.2.1"\nport = 0\n')
    said = lava(home.folder, "run", "--", "touch", str(tmp_path / "ran"))
    assert said.code == 125 and "error:" in said.err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("program", ["curl", "node", "java"])
def test_programs_in_other_languages_are_metered_too(
    home: Path, provider: StandIn, tmp_path: Path, program: str
) -> None:
    if shutil.which(program) is None or (program == "java" and shutil.which("javac") is None):
        pytest.skip(f"there is no {program} on this machine")
    said = lava(home, "run", "--json", "--", *_ask_with(program, tmp_path))
    assert said.code == 0, said.err
    assert provider.counters.requests == 1
    if program != "java":  # which sends no credentials to a proxy: its calls are the merchant's own
        assert json.loads(said.err.splitlines()[-1])["requests"] == 1


BODY = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'
URL = "https://api.openai.com/v1/chat/completions"
JAVA = """
import java.net.URI;
import java.net.http.*;
public class Ask {
    public static void main(String[] arguments) throws Exception {
        var body = HttpRequest.BodyPublishers.ofString(arguments[1]);
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).header("content-type", "application/json").POST(body).build();
        var client = HttpClient.newBuilder().proxy(java.net.ProxySelector.getDefault()).build();
        System.exit(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode() == 200 ? 0 : 1);
    }
}
"""


def _ask_with(program: str, folder: Path) -> list[str]:
    if program == "curl":
        return ["curl", "--fail", "--silent", "--data", BODY, "--header", "content-type: application/json", URL]
    if program == "node":
        ask = f"fetch('{URL}', {{ method: 'POST', body: process.argv[1], headers: {{ 'content-type': 'application/json' }} }})"
        return ["node", "-e", f"{ask}.then((answer) => process.exit(answer.ok ? 0 : 1))", BODY]
    (folder / "Ask.java").write_text(JAVA)
    return ["java", str(folder / "Ask.java"), URL, BODY]
