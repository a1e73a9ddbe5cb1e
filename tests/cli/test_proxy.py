"""`lava up`, `status`, `restart`, `logs`, `down`: a real process in a home of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Lava, Said

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

LAVA = [sys.executable, "-c", "from lava_proxy.cli import main; main()"]


@pytest.fixture
def lava(home: Path) -> Lava:
    """Each command is a process of its own: it leaves a child behind, as it does with a user."""

    def command(*arguments: str) -> Said:
        done = subprocess.run([*LAVA, *arguments], capture_output=True, text=True, check=False)
        return Said(code=done.returncode, out=done.stdout, err=done.stderr)

    return command


@pytest.fixture
def running(lava: Lava, home: Path) -> Iterator[Said]:
    """A detached proxy on a free port."""
    said = lava("up", "--detach", "--json")
    try:
        yield said
    finally:
        subprocess.run([*LAVA, "down", "--force", "--home", str(home)], capture_output=True, check=False)


def test_a_detached_proxy_is_ready_when_the_command_returns(running: Said, lava: Lava, home: Path) -> None:
    assert running.code == 0
    told = running.document
    assert (told["ready"], told["mode"], told["instance"]) == (True, "live", "main")
    assert Path(told["ca_file"]).exists() and told["database"] == str(home / "ledger.db")
    with urllib.request.urlopen(f"{told['proxy_url']}/healthz") as answer:
        assert answer.status == 200
    os.kill(told["pid"], 0)
    assert lava("status", "--json").document == told
    plain = lava("status")
    assert (plain.code, plain.facts["proxy_url"], plain.facts["ready"]) == (0, told["proxy_url"], "yes")


def test_one_proxy_of_a_name_runs_in_a_home(running: Said, lava: Lava) -> None:
    again = lava("up", "--detach", "--json")
    assert (again.code, again.error["code"]) == (7, "conflict")
    assert str(running.document["pid"]) in again.error["message"]
    other = lava("up", "--detach", "--instance", "second", "--json")
    try:
        assert other.code == 0 and other.document["port"] != running.document["port"]
    finally:
        assert lava("down", "--instance", "second").code == 0
    assert lava("status", "--json").document == running.document


def test_a_port_that_is_taken_names_its_owner(running: Said, lava: Lava, tmp_path: Path) -> None:
    port, pid = running.document["port"], running.document["pid"]
    said = lava("up", "--detach", "--port", str(port), "--home", str(tmp_path / "other"), "--json")
    assert said.code == 7
    assert str(port) in said.error["message"] and str(pid) in said.error["message"]


def test_a_restarted_proxy_keeps_its_port_and_options_and_reads_its_settings_anew(running: Said, lava: Lava) -> None:
    before = running.document
    assert lava("config", "set", "log_level", "debug").code == 0
    after = lava("restart", "--json")
    assert after.code == 0, after.err
    assert after.document["port"] == before["port"]
    assert after.document["pid"] != before["pid"]
    assert lava("logs").code == 0


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def test_a_restarted_proxy_moves_to_the_port_that_was_set_meanwhile(
    lava: Lava, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAVA_PORT")
    first, second = free_port(), free_port()
    lava("config", "set", "port", str(first))
    try:
        assert lava("up", "--detach", "--json").document["port"] == first
        lava("config", "set", "port", str(second))
        assert lava("restart", "--json").document["port"] == second
    finally:
        lava("down", "--force")


def test_down_stops_it_and_stopping_again_is_no_error(running: Said, lava: Lava) -> None:
    assert lava("down", "--json").document["stopped"] is True
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{running.document['proxy_url']}/healthz")
    assert lava("status", "--json").code == 6
    again = lava("down", "--json")
    assert (again.code, again.document["stopped"]) == (0, False)


def test_the_log_of_a_detached_proxy_is_shown_line_by_line(running: Said, lava: Lava) -> None:
    assert "ready on" in lava("logs").out
    lines = [json.loads(line) for line in lava("logs", "--json").out.splitlines()]
    assert lines and all(set(line) == {"mode", "line"} for line in lines)


def test_waiting_for_a_proxy_that_never_comes_ends_in_time_with_6(lava: Lava, home: Path) -> None:
    lava("init")
    said = lava("status", "--wait", "0.3", "--json")
    assert (said.code, said.document["ready"]) == (6, False)
    assert lava("status", "--home", str(home / "nowhere"), "--json").document["reason"].startswith("there is no home")
    assert not (home / "nowhere").exists()


def test_options_that_cannot_be_are_refused_before_anything_starts(lava: Lava) -> None:
    for wrong in (["--connect-to", "x"], ["--log-level", "loud"], ["--tls-cert", "a.pem"], ["--instance", "../x"]):
        said = lava("up", "--detach", *wrong, "--json")
        assert (said.code, said.error["code"]) == (2, "invalid_settings"), wrong


def test_a_proxy_in_the_foreground_is_this_process_and_ends_well_on_ctrl_c(home: Path) -> None:
    process = subprocess.Popen([*LAVA, "up"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "ready on" in line:
            break
    status = subprocess.run([*LAVA, "status", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(status.stdout)["pid"] == process.pid
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err


def test_beyond_loopback_without_tls_it_warns(lava: Lava, home: Path) -> None:
    said = lava("up", "--detach", "--host", "0.0.0.0")
    try:
        assert said.code == 0, said.err
        assert "warning: keys and prompts" in said.err
    finally:
        lava("down", "--force")
