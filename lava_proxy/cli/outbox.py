"""`lava outbox`: events on their way to others."""

from typing import Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, Json, Limit
from lava_proxy.cli.output import when
from lava_proxy.cli.session import open_house, output, zone_of
from lava_proxy.core.errors import InvalidInput

app = noun("Events on their way to others: what waits, what was given up, and another try.")

Consumer = Annotated[
    str | None, typer.Option("--consumer", metavar="NAME", help="On their way to this one.", show_default=False)
]


@app.command("list")
def list_outbox(
    consumer: Consumer = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="pending, delivered or dead.", show_default=False)
    ] = None,
    limit: Limit = 100,
    home: Home = None,
    json: Json = False,
) -> None:
    """List deliveries that were begun, those of the oldest events first.

    \b
    lava outbox list --state dead
    """
    with open_house(home) as house:
        from lava_proxy.services.outbox import parcel_document

        found = house.outbox.parcels(consumer=consumer, state=state, limit=limit)
        out = output(house, json)
        if json:
            out.page([parcel_document(parcel) for parcel in found], None)
            return
        zone = zone_of(None, house.settings)
        rows = [
            (
                parcel.event.event_id,
                parcel.delivery.consumer,
                parcel.event.kind,
                parcel.delivery.state.value,
                parcel.delivery.attempts,
                when(parcel.event.created_us, zone),
                parcel.delivery.last_error,
            )
            for parcel in found
        ]
        columns = ("event_id", "consumer", "kind", "state", "attempts", "created_at", "last_error")
        out.table(columns, rows, empty="Nothing is on its way.")


@app.command("retry")
def retry(
    event_id: Annotated[
        str | None, typer.Argument(metavar="EVENT", help="An event, by evt_….", show_default=False)
    ] = None,
    consumer: Consumer = None,
    dead: Annotated[bool, typer.Option("--dead", help="Everything that was given up.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a delivery due now. Doing so again changes nothing more.

    \b
    lava outbox retry evt_01JZ… --consumer webhooks
    lava outbox retry --dead
    """
    with open_house(home) as house:
        if dead == (event_id is not None):
            raise InvalidInput("event_id: say which event, or --dead for all that were given up", field="event_id")
        if event_id is not None:
            if consumer is None:
                raise InvalidInput("consumer: say to whom, with --consumer", field="consumer")
            house.outbox.retry(consumer, event_id)
            count = 1
        else:
            count = house.outbox.retry_dead(consumer=consumer)
        out = output(house, json)
        if json:
            out.document({"retried": count})
            return
        out.facts((("retried", count),))
