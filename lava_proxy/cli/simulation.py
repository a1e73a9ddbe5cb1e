"""`lava meters simulate`: a meter tried on what was recorded."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.naming import Names
from lava_proxy.cli.options import CustomerOption, Home, Json, Since, TimeZone, Until
from lava_proxy.cli.output import money, say
from lava_proxy.cli.reading import Wanted, read_filter, read_range
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.services.simulation import SimulatedLine

SIMULATED = ("requests", "cost", "charge", "margin", "was charged", "difference")


def simulate(
    meter: Annotated[str, typer.Argument(metavar="METER", help="A meter, by slug or prd_….", show_default=False)],
    customer_id: CustomerOption = None,
    group_by: Annotated[str, typer.Option("--by", metavar="GROUP", help="model, customer or meter.")] = "model",
    since: Since = "30d",
    until: Until = None,
    tz: TimeZone = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tell what the recorded requests would have been charged on a meter. Nothing is written.

    Counts of tiers and allowances begin at nothing, as for a customer who is new on the meter.

    \b
    lava meters simulate premium --since 30d
    lava meters simulate premium --since 2026-01-01 --until 2026-01-31 --customer acme --json
    """
    with open_house(home) as house:
        from lava_proxy.services.simulation import GROUPS, simulation_document

        if group_by not in GROUPS:
            raise InvalidInput(f"by: {group_by!r} is no group; choose of {', '.join(GROUPS)}", field="by")
        which = read_filter(house, Wanted(customer=customer_id), read_range(house, since, until, tz))
        found = house.simulations.run(house.meters.get(meter), which, by=group_by)
        out = output(house, json)
        if json:
            out.document(simulation_document(found, by=group_by))
            return
        names = Names(house)
        rows = [(names.group(group_by, line.group), *_simulated(line)) for line in found.lines]
        out.table((group_by, *SIMULATED), [*rows, ("total", *_simulated(found.total))])
        if found.total.unpriced:
            say(f"{found.total.unpriced} requests have no known cost, so this meter could not charge them.")
        if found.total.unit_not_reported:
            say(f"Of {found.total.unit_not_reported} requests nothing was reported that this meter charges by.")


def _simulated(line: "SimulatedLine") -> tuple[str | int, ...]:
    amounts = (line.cost_nanos, line.simulated_nanos, line.margin_nanos, line.charged_nanos, line.difference_nanos)
    return (line.requests, *(money(nanos) for nanos in amounts))
