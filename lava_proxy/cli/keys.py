"""`lava keys`: yours, and those of customers."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, IdempotencyKey, Json, Yes
from lava_proxy.cli.output import say, when
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of

if TYPE_CHECKING:
    from lava_proxy.core import entities
    from lava_proxy.services.idempotency import Answer
    from lava_proxy.services.keys import NewKey
    from lava_proxy.wiring import House

app = noun("Keys. A merchant key may do everything in this home; a customer's key calls as that customer alone.")

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="A key, by key_… or by the key itself.", show_default=False)
]
CustomerOption = Annotated[
    str | None,
    typer.Option(
        "--customer-id", "--customer", metavar="CUSTOMER", help="The key of this customer.", show_default=False
    ),
]


@app.command("create")
def create(
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="What it is for, for you.", show_default=False)
    ] = "",
    customer_id: CustomerOption = None,
    meter_slug: Annotated[
        list[str] | None,
        typer.Option(
            "--meter-slug",
            "--meter",
            metavar="METER",
            help="A meter that the customer's key may use, the first as its default; repeatable.",
            show_default=False,
        ),
    ] = None,
    expires_at: Annotated[
        str | None,
        typer.Option(
            "--expires-at", metavar="WHEN", help="Good until then: 90d, a date, or RFC 3339.", show_default=False
        ),
    ] = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown this once and kept only as a hash.

    \b
    lava keys create --name laptop
    lava keys create --customer acme --meter premium --expires-at 90d
    """
    with open_house(home) as house:
        from lava_proxy.core.instants import parse_expiry
        from lava_proxy.services.keys import KeyTerms

        zone = zone_of(None, house.settings)
        terms = KeyTerms(
            name=name,
            customer=customer_id,
            meters=tuple(meter_slug or ()),
            expires_us=parse_expiry(expires_at, now_us=house.clock.now_us(), zone=zone) if expires_at else None,
        )
        _show_new(house, house.keys.create(terms, by=by(idempotency_key)), json)


@app.command("list")
def list_keys(
    customer_id: CustomerOption = None,
    include_all: Annotated[
        bool, typer.Option("--all", help="Revoked and expired ones, and those of runs, too.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """List keys: their ends, what they may, when they were last used.

    \b
    lava keys list
    lava keys list --customer acme --all
    """
    with open_house(home) as house:
        from lava_proxy.services.documents import key_document

        found = house.keys.all(customer=customer_id, include_unusable=include_all, include_runs=include_all)
        out = output(house, json)
        if json:
            out.page([key_document(key) for key in found], None)
            return
        zone = zone_of(None, house.settings)
        rows = [
            (
                key.key_id,
                key.hint,
                key.scope.value,
                key.name,
                key.customer_id,
                when(key.last_used_us, zone),
                when(key.expires_us, zone),
                "revoked" if key.revoked_us else "",
            )
            for key in found
        ]
        columns = ("key_id", "key", "scope", "name", "customer_id", "last_used_at", "expires_at", "revoked")
        out.table(columns, rows, empty="No keys. Make one: lava keys create")


@app.command("rotate")
def rotate(
    key: KeyArgument,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace", metavar="SPAN", help="Let the old key live on for so long, such as 24h.", show_default=False
        ),
    ] = None,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Put a new key in place of an old one, with the same terms.

    \b
    lava keys rotate key_01JZ… --grace 24h
    """
    with open_house(home) as house:
        from lava_proxy.core.instants import parse_span

        grace_us = parse_span(grace, field="grace") if grace else 0
        if not grace_us and not yes:
            old = house.keys.get(key)
            confirm(f"End {old.hint} ({old.name or old.key_id}) at once?")
        _show_new(house, house.keys.rotate(key, by=by(idempotency_key), grace_us=grace_us), json)


@app.command("revoke")
def revoke(
    key: KeyArgument, yes: Yes = False, idempotency_key: IdempotencyKey = None, home: Home = None, json: Json = False
) -> None:
    """End a key. The next call that shows it is refused, on open connections too.

    \b
    lava keys revoke key_01JZ… --yes
    """
    with open_house(home) as house:
        if not yes:
            found = house.keys.get(key)
            confirm(f"Revoke {found.hint} ({found.name or found.key_id})?")
        _show(house, house.keys.revoke(key, by=by(idempotency_key)).value, json)


@app.command("show")
def show(key: KeyArgument, home: Home = None, json: Json = False) -> None:
    """Show what is known of a key; never the key itself.

    \b
    lava keys show key_01JZ…
    """
    with open_house(home) as house:
        _show(house, house.keys.get(key), json)


def _show_new(house: "House", answer: "Answer[NewKey]", json: bool) -> None:
    from lava_proxy.services.documents import new_key_document

    out = output(house, json)
    if json:
        out.document(new_key_document(answer.value))
        return
    if answer.value.text is None:
        say("This key was made before, under the same idempotency key; it cannot be shown again.")
    else:
        say("Keep this key now; it is not shown again.")
        out.facts((("secret_key", answer.value.text),))
    _show(house, answer.value.key, json)


def _show(house: "House", key: "entities.Key", json: bool) -> None:
    from lava_proxy.services.documents import key_document

    out = output(house, json)
    if json:
        out.document(key_document(key))
        return
    zone = zone_of(None, house.settings)
    slugs = [house.meters.get(meter_id).meter.slug for meter_id in key.meter_ids]
    out.facts(
        (
            ("key_id", key.key_id),
            ("key", key.hint),
            ("scope", key.scope.value),
            ("name", key.name),
            ("customer_id", key.customer_id),
            ("meters", ", ".join(slugs)),
            ("created_at", when(key.created_us, zone)),
            ("last_used_at", when(key.last_used_us, zone)),
            ("expires_at", when(key.expires_us, zone)),
            ("revoked_at", when(key.revoked_us, zone)),
        )
    )
