"""`lava doctor`: each thing that can be wrong is found, and the fix that it names mends it."""

import shutil
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from lava_proxy.cli.canaries import CANARIES, Outcome, judge, prove
from lava_proxy.cli.checks import State
from lava_proxy.demo.plan import Plan
from lava_proxy.demo.provider import StandIn
from tests.cli.test_proxy import free_port
from tests.support.lava import Said, clean_environment, lava
from tests.support.proxy import RunningProxy, Shop, eventually

pytestmark = pytest.mark.e2e

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def checks(said: Said) -> dict[str, Any]:
    return {check["name"]: check for check in said.json()["checks"]}


def test_a_home_that_is_well_passes_every_check(proxy: RunningProxy) -> None:
    said = lava(proxy.home.folder, "doctor", "--json")
    found = checks(said)
    assert said.code == 0 and said.json()["ok"] is True and said.json()["mode"] == "test"
    names = {"lava", "python", "mitmproxy", "sqlite", "home", "certificate authority", "authority's key", "providers"}
    assert names | {"database", "write-ahead log", "proxy", "prices", "clock", "outbox", "disk"} <= set(found)
    assert [check for check in found.values() if check["state"] == State.FAIL] == []
    assert "synchronous FULL" in found["database"]["found"]
    assert proxy.url in found["proxy"]["found"]


def test_a_check_that_is_not_well_always_names_a_fix(made_home: Any) -> None:
    assert lava(made_home.home.folder, "config", "set", "port", str(free_port())).code == 0  # 8080 may be anybody's
    said = lava(made_home.home.folder, "doctor", "--json")
    assert said.code == 0, "a proxy that does not run is no failure"
    found = checks(said)
    assert (found["proxy"]["state"], found["proxy"]["fix"]) == (State.WARN, "lava up --detach")
    assert all(check["fix"] for check in found.values() if check["state"] != State.OK)


def test_into_a_pipe_it_prints_a_line_for_each_check(made_home: Any) -> None:
    lines = [line.split("\t") for line in lava(made_home.home.folder, "doctor").out.splitlines()]
    assert ["ok", "disk"] in [line[:2] for line in lines]


def test_a_home_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    said = lava(tmp_path / "none", "doctor", "--json")
    assert said.code == 1 and checks(said)["home"]["fix"] == "lava init"
    assert not (tmp_path / "none").exists()


def test_a_setting_that_cannot_be_is_told_with_its_place(made_home: Any) -> None:
    made_home.home.settings_file.write_text("port = 99999\n")
    said = lava(made_home.home.folder, "doctor", "--json")
    assert said.code == 1 and "lava.toml" in checks(said)["settings"]["found"]


def test_a_key_that_others_can_read_is_a_failure_and_its_fix_mends_it(made_home: Any) -> None:
    key = made_home.home.ca_folder / "mitmproxy-ca.pem"
    key.chmod(0o644)
    found = checks(lava(made_home.home.folder, "doctor", "--json"))["authority's key"]
    assert (found["state"], found["fix"]) == (State.FAIL, f"chmod 600 {key}")
    key.chmod(0o600)
    assert checks(lava(made_home.home.folder, "doctor", "--json"))["authority's key"]["state"] == State.OK


def test_a_missing_authority_is_a_failure(made_home: Any) -> None:
    shutil.rmtree(made_home.home.ca_folder)
    said = lava(made_home.home.folder, "doctor", "--json")
    assert said.code == 1 and checks(said)["certificate authority"]["fix"] == "lava init"


def test_a_damaged_database_is_a_failure_and_hides_no_other_check(made_home: Any) -> None:
    file = made_home.home.ledger_file
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(file.read_bytes())
    content[4096 : 4096 * 6] = b"\xa5" * (4096 * 5)
    file.write_bytes(content)
    said = lava(made_home.home.folder, "doctor", "--json")
    found = checks(said)
    assert said.code == 1 and found["database"]["state"] == State.FAIL
    assert {"disk", "providers", "certificate authority"} <= set(found)


def test_a_provider_file_that_is_wrong_is_a_failure(made_home: Any) -> None:
    (made_home.home.providers_folder / "mine.toml").write_text('id = "mine"\nnonsense = 1\n')
    said = lava(made_home.home.folder, "doctor", "--json")
    assert said.code == 1 and "mine.toml" in checks(said)["providers"]["found"]


def test_a_port_that_another_program_has_is_a_failure(made_home: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        environment = clean_environment(made_home.home.folder, LAVA_PORT=str(other.getsockname()[1]))
        said = lava(made_home.home.folder, "doctor", "--json", environment=environment)
    assert said.code == 1 and "another program" in checks(said)["proxy"]["found"]


def test_calls_whose_usage_had_to_be_estimated_are_counted(proxy: RunningProxy, shop: Shop, provider: StandIn) -> None:
    provider.plan = Plan(usage="no")
    with proxy.client("-", shop.key) as client:
        answer = client.post("https://api.openai.com/v1/chat/completions", json=BODY)
    shop.record(answer.headers["x-lava-request-id"])
    found = eventually(
        lambda: checks(lava(proxy.home.folder, "doctor", "--json")).get("estimated requests of the last day")
    )
    assert (found["state"], found["found"]) == (State.WARN, "1")
    assert found["fix"].startswith("lava requests list --flag estimated")


def test_every_runtime_here_is_proved_and_the_one_that_escapes_is_named_with_its_fix(proxy: RunningProxy) -> None:
    said = lava(proxy.home.folder, "doctor", "--prove", "--json")
    found = checks(said)
    assert said.code == 0, said.out
    for canary in CANARIES:
        if shutil.which(canary.program[0]) is None:
            assert canary.name not in found
        elif canary.is_known_to_escape:
            assert found[canary.name]["state"] == State.WARN
            assert "trust_env=True" in found[canary.name]["fix"]
        else:
            assert found[canary.name]["state"] == State.OK, found[canary.name]


def test_where_no_proxy_runs_the_proof_starts_one_and_stops_it_again(made_home: Any) -> None:
    home = made_home.home
    home.settings_file.write_text("port = 0\n")
    said = lava(home.folder, "doctor", "--prove", "--json", environment={**clean_environment(home.folder)})
    assert checks(said)["python urllib"]["state"] == State.OK
    assert lava(home.folder, "status").code == 6


def test_without_the_variables_a_canary_goes_around_and_without_the_certificate_it_does_not_trust(
    proxy: RunningProxy,
) -> None:
    canary = next(each for each in CANARIES if each.name == "python urllib")
    bare = clean_environment(proxy.home.folder)
    assert prove(canary, bare).outcome is Outcome.AROUND
    assert prove(canary, {**bare, "HTTPS_PROXY": proxy.url}).outcome is Outcome.UNTRUSTED
    trusting = {**bare, "HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(proxy.ca_file)}
    assert prove(canary, trusting).outcome is Outcome.INTERCEPTED


def test_what_a_canary_says_is_judged_by_its_words() -> None:
    git, python = next(each for each in CANARIES if each.name == "git"), CANARIES[0]
    assert judge(git, "", 0) is Outcome.INTERCEPTED
    assert judge(git, "fatal: https://x/info/refs not valid: is this a git repository?", 128) is Outcome.INTERCEPTED
    assert judge(git, "fatal: unable to access: Could not resolve host: x", 128) is Outcome.AROUND
    assert judge(git, "server certificate verification failed. CAfile: none", 128) is Outcome.UNTRUSTED
    assert judge(python, '{"ok": true}', 0) is Outcome.INTERCEPTED
    assert judge(python, "", 0) is Outcome.AROUND
    assert judge(python, "ConnectionRefusedError", 1) is Outcome.AROUND
