"""Sets the stage: a home in test mode, the stand-in behind TLS, and the real proxy as a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from lava_proxy import secrets
from lava_proxy.core.entities import Mode
from lava_proxy.core.errors import NotReachable
from lava_proxy.demo.provider import StandIn, TlsFiles, running_stand_in
from lava_proxy.demo.story import AI_HOSTS
from lava_proxy.services.presence import Presence, read_presence
from lava_proxy.settings import Home, load_settings
from lava_proxy.wiring import House, make_home

READY_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that the scenario acts on."""

    house: House
    provider: StandIn
    presence: Presence
    key: str


@contextlib.contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """The stage in a new home in ``folder``; the processes end with the block.

    Raises:
        NotReachable: the proxy did not start.
    """
    home = Home(folder / "home")
    made = make_home(home, load_settings(home), mode=Mode.TEST)
    assert made.key_text is not None, "the home is new"
    files, authority = _make_certificates(folder)
    with (
        running_stand_in(tls=files) as provider,
        running_proxy(home, provider, authority) as presence,
        House(home, load_settings(home)) as house,
    ):
        yield Stage(house=house, provider=provider, presence=presence, key=made.key_text)


@contextlib.contextmanager
def running_proxy(home: Home, provider: StandIn, authority: Path) -> Iterator[Presence]:
    """The proxy of ``home`` on a free port, led to the stand-in for every host of the story."""
    rules = ",".join(f"{host}:443:{provider.host}:{provider.port}" for host in AI_HOSTS)
    log_file = home.folder / "demo.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAVA_")}
    settings = {"LAVA_PORT": "0", "LAVA_CONNECT_TO": rules, "LAVA_UPSTREAM_CA": str(authority)}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lava_proxy.process", "--home", str(home.folder)],
            env={**clean, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield _await_ready(home, process, log_file)
    finally:
        _stop(process)


def _await_ready(home: Home, process: subprocess.Popen[bytes], log_file: Path) -> Presence:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        presence = read_presence(home.run_folder, "main")
        if presence is not None and _is_ready(presence):
            return presence
        time.sleep(0.05)
    said = log_file.read_text(errors="replace")[-2_000:]
    raise NotReachable(f"The demo's proxy did not become ready. It said:\n{said}")


def _is_ready(presence: Presence) -> bool:
    try:
        return httpx.get(f"{presence.proxy_url}/readyz", trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _make_certificates(folder: Path) -> tuple[TlsFiles, Path]:
    """The stand-in's certificate for the story's hosts, and the authority that signed it: both for this demo alone."""
    issued = secrets.issue_server_certificate(AI_HOSTS)
    files = TlsFiles(certificate=folder / "stand-in.pem", key=folder / "stand-in.key")
    authority = folder / "stand-in-authority.pem"
    files.key.touch(mode=0o600)
    files.key.write_bytes(issued.key)
    files.certificate.write_bytes(issued.certificate)
    authority.write_bytes(issued.authority)
    return files, authority
