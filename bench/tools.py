"""The two ends of every measurement: a stand-in provider and a client. In C where they are to be had, else our own.

A shared folder beside the project (``LAVA_SHARED``, else ``../shared``) may hold ``bench/fastup.c`` and
``bench/fastload.c``: ends so quick that they are not what is measured. They are compiled into the scratch folder.
Without them, or without a C compiler and OpenSSL's headers, the stand-in of `lava demo` and ``bench.load`` serve; then
figures far above stock mitmdump's show the ends rather than the gateway.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from bench import machine
from bench.load import Sample, Spec

PROJECT = Path(__file__).resolve().parent.parent
PROVIDER_HOST = "api.openai.com"
JSON_MODEL, STREAM_MODEL = "gpt-4o-mini", "gpt-4o"
STREAM_CHUNKS, STREAM_DELAY_MS = 20, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Compiled programs, or ``None`` where ours take their place."""

    stand_in: Path | None
    client: Path | None
    told: str
    """Which ends were taken, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """Files with request bodies of about 700 bytes. A stream does not ask for its usage: that is the usual client."""

    plain: Path
    stream: Path


def find_tools(scratch: Path) -> Tools:
    source = Path(os.environ.get("LAVA_SHARED") or PROJECT.parent / "shared") / "bench"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not (source / "fastload.c").is_file() or compiler is None:
        why = "no C compiler" if compiler is None else f"{source} is absent"
        return Tools(stand_in=None, client=None, told=f"both ends in Python ({why}): no figure above theirs can show")
    try:
        return Tools(
            stand_in=_compile(compiler, source / "fastup.c", scratch, "-lssl", "-lcrypto"),
            client=_compile(compiler, source / "fastload.c", scratch, "-lssl", "-lcrypto", "-lm"),
            told="both ends in C; the open loop's client in Python",
        )
    except subprocess.CalledProcessError as error:
        return Tools(stand_in=None, client=None, told=f"both ends in Python (the C ones do not compile: {error})")


def _compile(compiler: str, source: Path, scratch: Path, *libraries: str) -> Path:
    program = scratch / source.stem
    subprocess.run([compiler, "-O2", "-w", "-o", program, source, *libraries], check=True, capture_output=True)
    return program


def write_bodies(scratch: Path) -> Bodies:
    system = "You answer in two sentences and name your sources; say so where you are not sure. " * 6
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": "How does a meter settle what was held?"},
    ]
    plain = {"model": JSON_MODEL, "messages": messages, "max_tokens": 200}
    # "seed" tells the stand-in in C the pause before each chunk, in milliseconds.
    stream = {"model": STREAM_MODEL, "stream": True, "max_tokens": STREAM_CHUNKS, "seed": STREAM_DELAY_MS}
    files = Bodies(plain=scratch / "plain.json", stream=scratch / "stream.json")
    files.plain.write_text(json.dumps(plain))
    files.stream.write_text(json.dumps({**stream, "messages": messages}))
    return files


@contextlib.contextmanager
def stand_in_provider(
    tools: Tools, scratch: Path, *, certificate: Path, key: Path, ca: Path, core: int
) -> Iterator[int]:
    """A provider over TLS until the block ends; its port."""
    port = machine.free_port()
    if tools.stand_in is not None:
        command = [str(tools.stand_in), "--https", str(port), "--cert", str(certificate), "--key", str(key)]
    else:
        command = [sys.executable, "-m", "lava_proxy.demo.provider", "--port", str(port)]
        command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    process = machine.start(machine.pinned(command, core), log=scratch / "stand-in.log", folder=scratch)
    try:
        wait_for_port(port, process, scratch / "stand-in.log")
        if tools.stand_in is None:
            _slow_down_streams(port, ca)
        yield port
    finally:
        machine.stop(process)


def _slow_down_streams(port: int, ca: Path) -> None:
    knobs = {"chunks": STREAM_CHUNKS, "delay_ms": STREAM_DELAY_MS, "output_tokens": STREAM_CHUNKS}
    with httpx.Client(verify=str(ca), trust_env=False) as client:  # certificate: 127.0.0.1 is among its names
        answer = client.post(f"https://127.0.0.1:{port}/_stand_in/plans", json={STREAM_MODEL: knobs})
        answer.raise_for_status()


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 60) -> None:
    """
    Raises:
        RuntimeError: the process ended, or does not listen in time; with the end of its log.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if machine.answers(port):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port}: {log.read_text(errors='replace')[-1500:]}")


def take(spec: Spec, tools: Tools, scratch: Path, *, core: int) -> Sample:
    """One measurement, by a client of its own on ``core``."""
    if tools.client is None or spec.rate or spec.fresh:
        file = scratch / "spec.json"
        file.write_text(json.dumps(asdict(spec)))
        command = [sys.executable, "-m", "bench.load", str(file)]
    else:
        command = _client_command(tools.client, spec)
    done = subprocess.run(
        machine.pinned(command, core),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=spec.seconds + spec.warmup_seconds + 120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr[-1500:]}")
    found = json.loads(done.stdout)
    return _from_client(found) if "rps" in found else Sample(**found)


def _client_command(client: Path, spec: Spec) -> list[str]:
    route = spec.route
    command = [str(client), "--port", str(route.port), "-c", str(spec.concurrency), "--body", spec.body_file]
    command += ["-t", str(spec.seconds), "-n", str(spec.calls_max), "--warmup", str(spec.warmup_seconds)]
    command += ["--mode", "connect" if route.through_proxy else "tls", "--target", route.authority]
    command += ["--sni", route.server_name, "--host", route.server_name, "--ca", route.ca_file]
    command += ["--header", "Authorization: Bearer sk-bench", "--need", "chat.completion"]
    if route.credentials:
        command += ["--proxy-auth", base64.b64encode(route.credentials.encode()).decode()]
    if spec.is_stream:
        command.append("--sse")
    return command


def _from_client(found: dict[str, float | str]) -> Sample:
    def number(name: str) -> float:
        return float(found.get(name, 0))

    bad = int(number("errors") + number("non2xx") + number("missing"))
    return Sample(
        calls=int(number("total_done")),
        errors=bad,
        per_second=number("rps"),
        p50_ms=number("p50_us") / 1000,
        p99_ms=number("p99_us") / 1000,
        first_byte_p50_ms=number("ttfb_p50_us") / 1000,
        first_byte_p99_ms=number("ttfb_p99_us") / 1000,
        error_sample=str(found.get("error_sample", ""))[:300] if bad else "",
    )
