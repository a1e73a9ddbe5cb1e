"""`lava doctor`: what is wrong, and how to fix it."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.canaries import Outcome, Proof, prove_all
from lava_proxy.cli.checks import Check, State, all_checks, versions
from lava_proxy.cli.environment import child_environment, present_variables
from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import Output
from lava_proxy.cli.reach import find_proxy, ready_proxy
from lava_proxy.cli.session import by
from lava_proxy.cli.surroundings import access_of, run_terms, surroundings
from lava_proxy.core.errors import LavaError

if TYPE_CHECKING:
    from lava_proxy.core.entities import Mode
    from lava_proxy.wiring import House

_COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red"}


def command(
    prove: Annotated[
        bool, typer.Option("--prove", help="Send a request from each runtime here, and tell which arrive at the proxy.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Look for what is wrong, and say how to fix it. Ends with 1 where something is.

    \b
    lava doctor
    lava doctor --prove --json
    """
    mode, checks = _examine(home, prove=prove)
    is_well = all(check.state is not State.FAIL for check in checks)
    if json:
        Output(as_json=True, mode=mode).document({"ok": is_well, "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    raise typer.Exit(0 if is_well else 1)


def _examine(folder: Path | None, *, prove: bool) -> "tuple[Mode | None, list[Check]]":
    """The home is looked at, never made or changed."""
    from lava_proxy.settings import load_settings, resolve_home
    from lava_proxy.wiring import House, is_home

    home = resolve_home(folder)
    try:
        settings = load_settings(home)
    except LavaError as error:
        return None, [*versions(), Check(name="settings", state=State.FAIL, found=error.message, fix=error.hint)]
    if not is_home(home):
        missing = Check(name="home", state=State.FAIL, found=f"there is none at {home.folder}", fix="lava init")
        return None, [*versions(), missing]
    with House(home, settings) as house:
        checks = list(all_checks(house))
        if prove:
            checks += _prove(house)
        return _mode(house), checks


def _mode(house: "House") -> "Mode | None":
    try:
        return house.mode
    except LavaError:
        return None  # the check of the database has said why


def _prove(house: "House") -> list[Check]:
    """One check for each runtime that is here, with the environment of `lava run`."""
    from lava_proxy.cli.starting import stop

    was_running = find_proxy(house) is not None
    try:
        presence = ready_proxy(house)
        started = house.runs.start(run_terms(customer=None, meter=None, max_cost="0", max_charge="0"), by=by(None))
        present = present_variables()
        around = surroundings(house, access_of(started, presence.proxy_url), present)
        proofs = prove_all(child_environment(present, around.variables))
        house.runs.end(started.run.run_id)
    except LavaError as error:
        return [Check(name="proof", state=State.FAIL, found=error.message, fix=error.hint)]
    finally:
        if not was_running:
            stop(house, force=False)
    return [_as_check(proof) for proof in proofs if proof.outcome is not Outcome.ABSENT]


def _as_check(proof: Proof) -> Check:
    words = {
        Outcome.INTERCEPTED: "passes through the proxy",
        Outcome.UNTRUSTED: f"reaches the proxy and does not trust it: {proof.said}",
        Outcome.AROUND: f"goes around the proxy, unmetered: {proof.said}",
    }
    states = {Outcome.INTERCEPTED: State.OK, Outcome.AROUND: State.WARN if proof.is_known else State.FAIL}
    return Check(
        name=proof.name, state=states.get(proof.outcome, State.FAIL), found=words[proof.outcome], fix=proof.fix
    )


def _print(checks: Sequence[Check]) -> None:
    if not sys.stdout.isatty():
        for check in checks:
            print("\t".join((check.state.value, check.name, check.found, check.fix)).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    width = max(len(check.name) for check in checks)
    for check in checks:
        line = Text.assemble(
            (f"{check.state.value:<5}", _COLOURS[check.state]), f"{check.name:<{width}}  {check.found}"
        )
        console.print(line, soft_wrap=True)
        if check.fix:
            console.print(Text(f"     → {check.fix}", style="bold"), soft_wrap=True)
