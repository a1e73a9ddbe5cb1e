"""`lava env`: the variables of `lava run`, for a shell, a file or a container."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.environment import present_variables
from lava_proxy.cli.options import CustomerOption, Home, Json, MeterOption
from lava_proxy.cli.output import say
from lava_proxy.cli.reach import find_proxy, why_not_ready
from lava_proxy.cli.run import MaxCharge, MaxCost
from lava_proxy.cli.session import by, open_house, output
from lava_proxy.cli.shells import Shell, render
from lava_proxy.cli.surroundings import access_of, run_terms, surroundings
from lava_proxy.core.errors import NotReachable

if TYPE_CHECKING:
    from lava_proxy.wiring import House


def command(
    customer: CustomerOption = None,
    meter: MeterOption = None,
    max_cost: MaxCost = None,
    max_charge: MaxCharge = None,
    shell: Annotated[
        Shell | None, typer.Option("--shell", help="Whose notation; else that of your own shell.", show_default=False)
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Print the variables that send a shell's AI calls through the proxy, with a key of its own, good for a week.

    \b
    eval "$(lava env --customer acme)"
    lava env --shell fish | source
    lava env --shell docker > lava.env
    """
    terms = run_terms(customer=customer, meter=meter, max_cost=max_cost, max_charge=max_charge)
    with open_house(home) as house:
        address = _address(house)
        started = house.runs.start(terms, by=by(None))
        around = surroundings(house, access_of(started, address), present_variables())
        for warning in around.warnings:
            say(f"warning: {warning}")
        if json:
            output(house, json).document({"run_id": started.run.run_id, "variables": dict(around.variables)})
            return
    sys.stdout.write(render(shell or own_shell(), around.variables))


def own_shell() -> Shell:
    """What the user types into, as far as SHELL tells."""
    return Shell.FISH if Path(os.environ.get("SHELL", "")).name == "fish" else Shell.BASH


def _address(house: "House") -> str:
    """Where the proxy is, or will be. Says so where none is ready.

    Raises:
        NotReachable: none runs, and nobody knows which port one would take.
    """
    presence = find_proxy(house)
    if presence is None:
        if house.settings.port == 0:
            raise NotReachable(
                "No proxy runs, and the next one takes any free port.", hint="Start it first: lava up --detach"
            )
        say("warning: no proxy runs; calls will fail until you start one: lava up --detach")
        return f"http://{house.settings.host}:{house.settings.port}"
    reason = why_not_ready(presence)
    if reason:
        say(f"warning: the proxy does not take calls now: {reason}")
    return presence.proxy_url
