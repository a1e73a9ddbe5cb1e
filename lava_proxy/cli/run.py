"""`lava run`: a command with its AI calls sent through the proxy, and a receipt in the end."""

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.entry import say_error
from lava_proxy.cli.environment import child_environment, present_variables
from lava_proxy.cli.launch import launch
from lava_proxy.cli.options import CustomerOption, Home, MeterOption
from lava_proxy.cli.output import say
from lava_proxy.cli.reach import find_proxy, ready_proxy
from lava_proxy.cli.session import by, open_house
from lava_proxy.cli.shells import Shell, render
from lava_proxy.cli.surroundings import Surroundings, access_of, run_terms, surroundings
from lava_proxy.core.errors import LavaError, LedgerUnavailable

if TYPE_CHECKING:
    from lava_proxy.core.ids import RunId
    from lava_proxy.services.runs import RunTerms

EXIT_OUR_FAILURE = 125

MaxCost = Annotated[
    str | None,
    typer.Option(
        "--max-cost", metavar="USD", help="Refuse calls beyond this cost at the provider.", show_default=False
    ),
]
MaxCharge = Annotated[
    str | None,
    typer.Option("--max-charge", metavar="USD", help="Refuse calls beyond this charge.", show_default=False),
]


def command(
    arguments: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="What to run, with its own arguments.", show_default=False)
    ],
    customer: CustomerOption = None,
    meter: MeterOption = None,
    max_cost: MaxCost = None,
    max_charge: MaxCharge = None,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="Write the receipt there, as JSON.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the variables, secrets masked.")] = False,
    home: Home = None,
    json: Annotated[bool, typer.Option("--json", help="The receipt as one JSON document.", show_default=False)] = False,
) -> None:
    """Run a command with its AI calls sent through the proxy.

    The proxy is started where none runs. The command keeps its terminal, its input and its exit code; 125 is a failure
    of ours, 126 a command that cannot be run, 127 one that does not exist. The receipt is on standard error.

    \b
    lava run -- python app.py
    lava run --customer acme --max-charge 0.50 -- npm test
    """
    try:
        terms = run_terms(customer=customer, meter=meter, max_cost=max_cost, max_charge=max_charge)
        if dry_run:
            _print_variables(home, terms)
            return
        code = _run(arguments, terms, home=home, receipt_file=receipt, as_json=json)
    except LavaError as error:
        say_error(error, as_json=json)
        code = EXIT_OUR_FAILURE
    except OSError as error:
        say_error(LedgerUnavailable(f"The home cannot be used: {error}"), as_json=json)
        code = EXIT_OUR_FAILURE
    raise typer.Exit(code)


command.context_settings = {"allow_interspersed_args": False}  # type: ignore[attr-defined]  # read by groups.load


def _run(
    arguments: list[str], terms: "RunTerms", *, home: Path | None, receipt_file: Path | None, as_json: bool
) -> int:
    """The exit code. The home is not held open while the command runs."""
    present = present_variables()
    with open_house(home) as house:
        presence = ready_proxy(house)
        started = house.runs.start(terms, by=by(None))
        around = surroundings(house, access_of(started, presence.proxy_url), present)
    _warn(around)
    code = launch(arguments, child_environment(present, around.variables))
    _settle(started.run.run_id, customer=terms.customer, home=home, receipt_file=receipt_file, as_json=as_json)
    return code


def _settle(
    run_id: "RunId", *, customer: str | None, home: Path | None, receipt_file: Path | None, as_json: bool
) -> None:
    """End the run and give its receipt. What goes wrong here is said, and does not change the command's exit code."""
    from lava_proxy.cli.receipt import await_settled, receipt_text
    from lava_proxy.services.documents import receipt_document

    try:
        with open_house(home) as house:
            house.runs.end(run_id)
            receipt = await_settled(lambda: house.runs.receipt(run_id))
            document = json_text.dumps({"mode": house.mode.value, **receipt_document(receipt)}, ensure_ascii=False)
            text = document if as_json else receipt_text(receipt, mode=house.mode, customer=customer)
        if receipt_file is not None:
            receipt_file.write_text(document + "\n")
        if receipt_file is None or not as_json:
            say(text)
    except LavaError as error:
        say_error(error, as_json=as_json)
    except OSError as error:
        say(f"error: the receipt could not be written: {error}")


def _print_variables(home: Path | None, terms: "RunTerms") -> None:
    """What a run would set. No run is started, and no proxy."""
    from dataclasses import replace

    with open_house(home) as house:
        presence = find_proxy(house)
        address = presence.proxy_url if presence else f"http://{house.settings.host}:{house.settings.port}"
        access = access_of(None, address)
        if terms.customer:
            access = replace(access, user=house.customers.get(terms.customer).customer_id)
        around = surroundings(house, access, present_variables())
    _warn(around)
    sys.stdout.write(render(Shell.BASH, around.variables))


def _warn(around: Surroundings) -> None:
    for warning in around.warnings:
        say(f"warning: {warning}")
