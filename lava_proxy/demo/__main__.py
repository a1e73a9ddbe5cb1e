"""``python -m lava_proxy.demo [--billing]``: plays the story, or a month of business, once.

What happens is told as JSON, one document a line.

The last line is ``{"event": "end", …}``; the exit code is 1 where any figure was not as computed.
"""

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lava_proxy.core.errors import LavaError
from lava_proxy.core.money import format_amount
from lava_proxy.demo.billing import play_month
from lava_proxy.demo.play import Account, Play, Tell
from lava_proxy.demo.stage import Stage, open_stage
from lava_proxy.demo.story import ASKS, CUSTOMERS

EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Play, tell, clean up; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lava_proxy.demo", description="Play the demo, told as JSON lines.")
    parser.add_argument("--keep", action="store_true", help="keep the home")
    parser.add_argument("--billing", action="store_true", help="a month of business in place of the proxy's story")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that being ended also ends what was started
    started = time.monotonic()
    try:
        with _folder(is_kept=options.keep) as folder:
            mismatches = play_month(folder, _tell) if options.billing else _play(folder)
            home = str(folder / "home") if options.keep else None
    except LavaError as error:
        mismatches, home = [error.message], None
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    seconds = round(time.monotonic() - started, 1)
    _tell("end", ok=not mismatches, mismatches=mismatches, seconds=seconds, home=home)
    return 1 if mismatches else 0


def _play(folder: Path) -> list[str]:
    _tell("step", text="Making a home in test mode, a stand-in provider behind TLS, and the proxy")
    with open_stage(folder) as stage:
        _tell("ready", proxy=stage.presence.proxy_url, provider=stage.provider.url, mode=stage.house.mode.value)
        play = Play(stage, _tell)
        try:
            play.prepare()
            for ask in ASKS:
                play.perform(ask)
        finally:
            play.close()
        return [*play.mismatches, *_sum_up(stage, play), *_verify(stage, _tell)]


def _sum_up(stage: Stage, play: Play) -> list[str]:
    """The table of customers, and what in it is not the sum of its calls."""
    mismatches, table = [], []
    for cast in CUSTOMERS:
        account: Account = play.accounts[cast.reference_id]
        balance = stage.house.credits.balance(cast.reference_id)
        spent = cast.credit_nanos - account.charge_nanos
        if (balance.available_nanos, balance.held_nanos) != (spent, 0):
            mismatches.append(f"{cast.reference_id}: credit left is {balance.available_nanos}, not {spent} nanos")
        table.append(
            {
                "customer": cast.reference_id,
                "meter": cast.meter.name,
                "calls": account.calls,
                "refused": account.blocked,
                "tokens": account.tokens,
                "cost": format_amount(account.cost_nanos, decimals=9),
                "charge": format_amount(account.charge_nanos, decimals=9),
                "margin": format_amount(account.charge_nanos - account.cost_nanos, decimals=9),
                "credit_left": format_amount(balance.available_nanos, decimals=9),
            }
        )
    _tell("table", rows=table)
    return mismatches


def _verify(stage: Stage, tell: Tell) -> list[str]:
    report = stage.house.verify()
    tell("verify", ok=report.is_sound, transactions=report.transactions, requests=report.requests, grants=report.grants)
    return [f"{finding.invariant} {finding.subject}: {finding.message}" for finding in report.findings]


@contextlib.contextmanager
def _folder(*, is_kept: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lava-demo-"))
    try:
        yield folder
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)


def _tell(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
