"""`make bench`: what `lava up` adds and costs, beside stock mitmdump and the provider itself, in interleaved rounds.

Everything runs on 127.0.0.1 over TLS; gateways on one core, client and stand-in on another. The method and how to read
the figures: docs/bench.md.
"""

import argparse
import contextlib
import functools
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from bench import gateways as gw
from bench import machine, tools
from bench.report import document, table
from bench.scenarios import Results, grow, run_rounds
from tests.support.certificates import make_authority

_DEFAULT_MARKS = (20_000, 100_000)


def main() -> None:
    options = _parse()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    results = Results()
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with tempfile.TemporaryDirectory(prefix="lava-bench-") as scratch:
        found = tools.find_tools(Path(scratch))
        _tell(f"{_versions()}; {found.told}{'' if machine.can_pin() else '; nothing is pinned: one core only'}")
        try:
            _measure(options, Path(scratch), found, results)
        finally:
            about = {"started": started, "versions": _versions(), "ends": found.told, "pinned": machine.can_pin()}
            (folder / "bench.json").write_text(json.dumps({**about, **document(results)}, indent=1))
            (folder / "bench.md").write_text(f"{_versions()}; {found.told}. Started {started}.\n\n{table(results)}\n")
    print(table(results))
    _tell(f"written to {folder}/bench.md and bench.json")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement, after its warm-up")
    parser.add_argument(
        "--marks", default=",".join(map(str, _DEFAULT_MARKS)), help="calls after which memory is read; '' skips"
    )
    parser.add_argument("--stock-memory", action="store_true", help="read stock mitmdump's memory as well")
    parser.add_argument(
        "--settings", action="append", default=[], help="a line for lava.toml, such as 'synchronous = \"NORMAL\"'"
    )
    parser.add_argument("--only-stock", action="store_true", help="without lava up: does the harness itself work?")
    parser.add_argument("--output", default=".bench", help="folder for bench.md and bench.json")
    return parser.parse_args()


def _measure(options: argparse.Namespace, scratch: Path, found: tools.Tools, results: Results) -> None:
    gateway_core, other_core = machine.cores()
    authority = make_authority(scratch)
    files = authority.issue(tools.PROVIDER_HOST, "localhost", "127.0.0.1")
    bodies = tools.write_bodies(scratch)
    take = functools.partial(tools.take, tools=found, scratch=scratch, core=other_core)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(
            tools.stand_in_provider(
                found,
                scratch,
                certificate=files.certificate,
                key=files.key,
                ca=authority.certificate_file,
                core=other_core,
            )
        )
        place = gw.Place(scratch=scratch, core=gateway_core, provider_port=port, provider_ca=authority.certificate_file)
        present = [
            gw.direct(place),
            stack.enter_context(gw.stock(place)),
            stack.enter_context(gw.stock(place, streaming=True)),
        ]
        if not options.only_stock:
            present.append(stack.enter_context(gw.lava(place, settings=tuple(options.settings))))
        for measured in run_rounds(present, bodies, take, rounds=options.rounds, seconds=options.seconds, tell=_tell):
            results.measured.append(measured)
            results.lava_calls += measured.sample.calls if measured.gateway == gw.LAVA else 0
        marks = [int(mark) for mark in options.marks.split(",") if mark]
        grown = [gw.LAVA, *([gw.STOCK] if options.stock_memory or options.only_stock else [])]
        for gateway in [gateway for gateway in present if gateway.name in grown and marks]:
            found_growth, calls = grow(gateway, bodies, take, marks=marks, tell=_tell)
            results.grown.append(found_growth)
            results.lava_calls += calls if gateway.name == gw.LAVA else 0
    for home in [gateway.home for gateway in present if gateway.home is not None]:
        results.books = json.loads(gw.command(home, "verify", "--json"))


def _versions() -> str:
    return (
        f"mitmproxy {metadata.version('mitmproxy')}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
