"""A running proxy tells alerts within seconds, beats its heart, and makes the backups that are due."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Lava, Said
from tests.support.proxy import eventually
from tests.support.receivers import HttpReceiver, http_receiver

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
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as found:
        yield found


@pytest.fixture
def running(lava: Lava, home: Path, receiver: HttpReceiver, tmp_path: Path) -> Iterator[Said]:
    """A proxy of a home with a rule, a webhook, a heartbeat, and a schedule of backups."""
    (tmp_path / "passphrase").write_text("correct horse battery\n")
    lava("init", "--mode", "test")
    lava("config", "set", "backup_passphrase_file", str(tmp_path / "passphrase"))
    lava("config", "set", "backup_folder", str(tmp_path / "kept"))
    lava("alerts", "create", "balance_below", "--threshold", "5")
    lava("destinations", "create", "ops", "--url", receiver.url)
    lava("destinations", "create", "alive", "--kind", "heartbeat", "--url", receiver.url.replace("hook", "beat"))
    said = lava("up", "--detach", "--json")
    try:
        yield said
    finally:
        subprocess.run([*LAVA, "down", "--force", "--home", str(home)], capture_output=True, check=False)


def test_a_running_proxy_tells_beats_and_backs_up(
    running: Said, lava: Lava, home: Path, receiver: HttpReceiver, tmp_path: Path
) -> None:
    def told() -> list[str]:
        hooks = [json.loads(got.body) for got in receiver.received if got.path == "/hook"]
        return [f"{hook['event']} {hook['alert']['customer']}" for hook in hooks]

    eventually(lambda: any(got.path == "/beat" for got in receiver.received), timeout_seconds=30)
    lava("customers", "create", "acme")
    lava("credits", "grant", "acme", "1")
    eventually(lambda: told() == ["alert.fired acme"], timeout_seconds=60)
    lava("credits", "grant", "acme", "9")
    eventually(lambda: told() == ["alert.fired acme", "alert.resolved acme"], timeout_seconds=60)

    kept = tmp_path / "kept"
    (file,) = eventually(lambda: list(kept.glob("*.lavabackup")), timeout_seconds=90)
    restored = ("--home", str(tmp_path / "copy"))
    assert lava("restore", str(file), "--passphrase-file", str(tmp_path / "passphrase"), *restored).code == 0
    assert lava("verify", *restored).code == 0

    os.kill(running.document["pid"], signal.SIGKILL)
    lava("customers", "create", "bolt")
    lava("credits", "grant", "bolt", "1")
    assert lava("alerts", "check", "--json").document["changed"] == 1
    assert told() == ["alert.fired acme", "alert.resolved acme", "alert.fired bolt"]
