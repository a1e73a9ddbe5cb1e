"""`lava destinations`: where alerts are told."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, IdempotencyKey, Json, Yes
from lava_proxy.cli.output import say, when
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of
from lava_proxy.core.alert_rows import DestinationKind
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.core.alert_rows import Destination
    from lava_proxy.core.destinations import Address

app = noun("Where alerts are told. Addresses and secrets are kept encrypted and never shown.")

DestinationArgument = Annotated[
    str, typer.Argument(metavar="DESTINATION", help="A destination, by its name or dst_….", show_default=False)
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A short name for it.", show_default=False)],
    kind: Annotated[DestinationKind, typer.Option("--kind", help="In which shape it is told.")] = DestinationKind.WEBHOOK,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Where to; of PagerDuty only if not its own.", show_default=False)
    ] = "",
    secret: Annotated[
        str,
        typer.Option(
            "--secret",
            metavar="TEXT",
            help="What signs a webhook (else one is made), PagerDuty's routing key, or the password of SMTP; - reads it "
            "from standard input.",
            show_default=False,
        ),
    ] = "",
    smtp: Annotated[
        str, typer.Option("--smtp", metavar="HOST:PORT", help="E-mail: the server; port 587.", show_default=False)
    ] = "",
    tls: Annotated[str, typer.Option("--tls", metavar="WAY", help="E-mail: starttls, tls or none.")] = "starttls",
    user: Annotated[
        str, typer.Option("--user", metavar="USER", help="E-mail: who logs in.", show_default=False)
    ] = "",
    sender: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="E-mail: from whom.", show_default=False)
    ] = "",
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="ADDRESS", help="E-mail: to whom; repeatable.", show_default=False)
    ] = None,
    every: Annotated[
        str, typer.Option("--every", metavar="SPAN", help="Heartbeat: how often, such as 60s.", show_default=False)
    ] = "60s",
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Add a place where alerts are told. Try it with `lava alerts test NAME`.

    \b
    lava destinations create ops --url https://example.com/alerts
    lava destinations create team --kind slack --url https://hooks.slack.com/services/…
    lava destinations create oncall --kind pagerduty --secret -
    lava destinations create mail --kind email --smtp mail.example.com --from lava@example.com --to ops@example.com
    lava destinations create alive --kind heartbeat --url https://example.com/ping/1 --every 60s
    """
    with open_house(home) as house:
        from lava_proxy.services.alert_documents import destination_document

        address = _address(url, secret, smtp, tls, user, sender, to, every)
        made = house.destinations.create(name, kind, address, by=by(idempotency_key)).value
        out = output(house, json)
        if json:
            more = {"secret": made.secret} if made.secret else {}
            out.document({**destination_document(made.destination), **more})
            return
        out.facts((*_facts(made.destination), *((("secret", made.secret),) if made.secret else ())))
        if made.secret:
            say("Keep the secret now; it is not shown again.")
        say(f"Try it: lava alerts test {made.destination.slug}")


@app.command("list")
def list_destinations(home: Home = None, json: Json = False) -> None:
    """List the places where alerts are told.

    \b
    lava destinations list
    """
    with open_house(home) as house:
        from lava_proxy.services.alert_documents import destination_document

        found = house.destinations.all()
        out = output(house, json)
        if json:
            out.page([destination_document(each) for each in found], None)
            return
        zone = zone_of(None, house.settings)
        rows = [
            (each.slug, each.kind.value, each.hint, each.destination_id, when(each.created_us, zone)) for each in found
        ]
        columns = ("name", "kind", "where", "destination_id", "created_at")
        out.table(columns, rows, empty="Alerts are told in the log and by `lava alerts list` only.")


@app.command("delete")
def delete(
    destination: DestinationArgument,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tell nothing more there. Its address and secret are forgotten.

    \b
    lava destinations delete ops --yes
    """
    with open_house(home) as house:
        from lava_proxy.services.alert_documents import destination_document

        if not yes:
            confirm(f"Delete the destination {house.destinations.get(destination).slug}?")
        deleted = house.destinations.delete(destination, by=by(idempotency_key)).value
        out = output(house, json)
        if json:
            out.document(destination_document(deleted))
            return
        out.facts(_facts(deleted))


def _facts(destination: "Destination") -> tuple[tuple[str, str], ...]:
    return (
        ("destination_id", destination.destination_id),
        ("name", destination.slug),
        ("kind", destination.kind.value),
        ("where", destination.hint),
        ("status", destination.status.value),
    )


def _address(
    url: str, secret: str, smtp: str, tls: str, user: str, sender: str, to: list[str] | None, every: str
) -> "Address":
    from lava_proxy.core.destinations import Address
    from lava_proxy.core.instants import SECOND_US, parse_span

    host, _, port = smtp.rpartition(":") if ":" in smtp else (smtp, "", "587")
    if not port.isdigit():
        raise InvalidInput(f"smtp: {smtp!r} is not HOST or HOST:PORT", field="smtp")
    return Address(
        url=url,
        secret=sys.stdin.readline().strip() if secret == "-" else secret,
        host=host.strip("[]"),
        port=int(port),
        tls=tls,
        user=user,
        sender=sender,
        recipients=tuple(to or ()),
        every_seconds=parse_span(every, field="every") // SECOND_US,
    )
