"""What is measured: the provider itself, stock mitmdump, and `lava up` with everything that a customer's call needs."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import machine
from bench.load import Route
from bench.tools import PROVIDER_HOST, wait_for_port

DIRECT, STOCK, STOCK_STREAMING, LAVA = "direct", "mitmdump", "mitmdump streaming", "lava up"
_PROGRAMS = Path(sys.executable).parent
_CREDIT = "1000000.00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One way to the provider. ``process`` is ``None`` for the straight one."""

    name: str
    route: Route
    process: subprocess.Popen[bytes] | None = None
    home: Path | None = None
    """Of `lava up` only."""

    def spent(self) -> machine.Spent:
        return (
            machine.spent(self.process.pid)
            if self.process
            else machine.Spent(cpu_seconds=0, loop_seconds=0, rss_bytes=0)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where gateways run, and the provider that they reach."""

    scratch: Path
    core: int
    provider_port: int
    provider_ca: Path


def direct(place: Place) -> Gateway:
    return Gateway(
        name=DIRECT,
        route=Route(
            port=place.provider_port,
            authority=f"{PROVIDER_HOST}:443",
            server_name=PROVIDER_HOST,
            ca_file=str(place.provider_ca),
        ),
    )


@contextlib.contextmanager
def stock(place: Place, *, streaming: bool = False) -> Iterator[Gateway]:
    """mitmdump as it is installed beside us, quiet: printing flows would cost it another 15 %.

    It has no --connect-to: CONNECT names the provider's address, the TLS name stays the provider's.
    """
    folder = place.scratch / ("stock-streaming" if streaming else "stock")
    folder.mkdir()
    port = machine.free_port()
    command = [str(_PROGRAMS / "mitmdump"), "-q", "--listen-host", "127.0.0.1", "-p", str(port), "--mode", "regular"]
    command += ["--set", f"confdir={folder}", "--set", f"ssl_verify_upstream_trusted_ca={place.provider_ca}"]
    if streaming:
        command += ["-s", str(Path(__file__).with_name("stream_events.py"))]
    process = machine.start(machine.pinned(command, place.core), log=folder / "log", folder=folder)
    try:
        wait_for_port(port, process, folder / "log")
        yield Gateway(
            name=STOCK_STREAMING if streaming else STOCK,
            route=Route(
                port=port,
                authority=f"127.0.0.1:{place.provider_port}",
                server_name=PROVIDER_HOST,
                ca_file=str(folder / "mitmproxy-ca-cert.pem"),
                through_proxy=True,
            ),
            process=process,
        )
    finally:
        machine.stop(process)


@contextlib.contextmanager
def lava(place: Place, *, settings: tuple[str, ...] = ()) -> Iterator[Gateway]:
    """`lava up` in a home of its own, with one customer who has credit and a key. ``settings``: lines of lava.toml."""
    folder = place.scratch / f"home-{machine.free_port()}"
    command(folder, "init", "--json")
    (folder / "lava.toml").write_text("".join(f"{line}\n" for line in settings))
    command(folder, "customers", "create", "bench", "--json")
    command(folder, "credits", "grant", "bench", _CREDIT, "--json")
    key = json.loads(command(folder, "keys", "create", "--customer", "bench", "--json"))["secret_key"]
    port = machine.free_port()
    rule = f"{PROVIDER_HOST}:443:127.0.0.1:{place.provider_port}"
    arguments = [str(_PROGRAMS / "lava"), "up", "--home", str(folder), "--port", str(port)]
    arguments += ["--connect-to", rule, "--upstream-ca", str(place.provider_ca)]
    process = machine.start(machine.pinned(arguments, place.core), log=folder / "log", folder=folder)
    try:
        wait_for_port(port, process, folder / "log")
        ca_file = folder / "fetched-ca.pem"
        ca_file.write_bytes(httpx.get(f"http://127.0.0.1:{port}/ca.pem", trust_env=False).content)
        yield Gateway(
            name=LAVA,
            route=Route(
                port=port,
                authority=f"{PROVIDER_HOST}:443",
                server_name=PROVIDER_HOST,
                ca_file=str(ca_file),
                through_proxy=True,
                credentials=f"bench:{key}",
            ),
            process=process,
            home=folder,
        )
    finally:
        machine.stop(process, patience_seconds=60)


def command(home: Path, *arguments: str) -> str:
    """What a `lava` command prints.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        [str(_PROGRAMS / "lava"), *arguments, "--home", str(home)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"lava {' '.join(arguments)}: {done.stderr[-1500:]}")
    return done.stdout
