"""`lava env`: what it prints leads a shell's calls to the proxy; what is said beside it is on standard error."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lava_proxy.cli.shells import Shell
from lava_proxy.demo.provider import StandIn
from tests.support.lava import LAVA, clean_environment, lava
from tests.support.proxy import RunningProxy, Shop

pytestmark = pytest.mark.e2e

CALL = """
import openai
client = openai.OpenAI(api_key="sk-test", max_retries=0)
client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}])
"""


def test_a_shell_that_evaluates_it_is_metered_for_the_customer(
    proxy: RunningProxy, shop: Shop, provider: StandIn
) -> None:
    shop.customer("acme", credit="1.00", meter=shop.meter("calls", "0.10"))
    program = " ".join(f"'{part}'" for part in LAVA)
    script = f"""set -e; eval "$({program} env --customer acme)"; '{sys.executable}' -c '{CALL}'"""
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=clean_environment(proxy.home.folder), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert provider.counters.requests == 1
    assert shop.available("acme") == 900_000_000


@pytest.fixture
def resting(shop: Shop) -> Path:
    """A home without a proxy."""
    return shop.house.home.folder


def test_where_no_proxy_runs_a_warning_says_so_and_the_variables_come_all_the_same(resting: Path) -> None:
    said = lava(resting, "env")
    assert said.code == 0 and "warning: no proxy runs" in said.err
    assert "export HTTPS_PROXY=http://-:lava_rk_" in said.out and "@127.0.0.1:8080" in said.out


def test_where_nobody_knows_the_port_it_is_not_reachable(resting: Path) -> None:
    said = lava(resting, "env", environment=clean_environment(resting, LAVA_PORT="0"))
    assert said.code == 6 and said.out == ""


@pytest.mark.parametrize("shell", Shell)
def test_every_notation_names_the_same_variables(resting: Path, shell: Shell) -> None:
    said = lava(resting, "env", "--shell", shell.value)
    names = (
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "NODE_OPTIONS",
        "LAVA_RUN_ID",
    )
    assert said.code == 0 and all(name in said.out for name in names)


def test_the_notation_is_that_of_the_users_shell(resting: Path) -> None:
    fish = lava(resting, "env", environment=clean_environment(resting, SHELL="/usr/bin/fish"))
    assert fish.out.startswith("set -gx HTTPS_PROXY ")
    bash = lava(resting, "env", environment=clean_environment(resting, SHELL="/bin/bash"))
    assert bash.out.startswith("export HTTPS_PROXY=")


def test_with_json_the_document_says_the_mode_and_the_run(resting: Path) -> None:
    document: Any = lava(resting, "env", "--json").json()
    assert document["mode"] == "test"
    assert document["variables"]["LAVA_RUN_ID"] == document["run_id"]


def test_customer_and_meter_are_taken_from_the_environment_too(resting: Path, shop: Shop) -> None:
    customer_id = shop.customer("acme")
    environment = clean_environment(resting, LAVA_CUSTOMER="acme", LAVA_METER=shop.meter("calls", "1"))
    variables = json.loads(lava(resting, "env", "--shell", "json", environment=environment).out)
    assert variables["HTTPS_PROXY"].startswith(f"http://{customer_id}:lava_rk_")


def test_an_unknown_customer_is_not_found(resting: Path) -> None:
    said = lava(resting, "env", "--customer", "nobody")
    assert said.code == 3 and said.out == "" and "nobody" in said.err
