"""`lava customers`: whom you bill."""

from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Cursor, Customer, Home, IdempotencyKey, Json, Limit, MetadataPairs, Yes
from lava_proxy.cli.output import money, say, when
from lava_proxy.cli.reading import read_pairs
from lava_proxy.cli.session import by, confirm, open_house, output, zone_of
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.core import entities
    from lava_proxy.core.ids import Metadata
    from lava_proxy.services.customer_fields import Keep
    from lava_proxy.services.idempotency import Answer
    from lava_proxy.wiring import House

app = noun("Whom you bill. A customer is named by con_… or by your own reference id.")

Name = Annotated[str | None, typer.Option("--name", metavar="TEXT", help="A name, for you.", show_default=False)]
Email = Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="An e-mail address.", show_default=False)]
Phone = Annotated[
    str | None, typer.Option("--phone", metavar="NUMBER", help="A number such as +4915112345678.", show_default=False)
]
Meter = Annotated[
    str | None,
    typer.Option(
        "--meter-slug",
        "--meter",
        metavar="METER",
        help="The customer's own meter, by slug or prd_….",
        show_default=False,
    ),
]


@app.command("create")
def create(
    reference_id: Annotated[
        str | None, typer.Argument(metavar="REFERENCE_ID", help="Your own id for the customer.", show_default=False)
    ] = None,
    name: Name = None,
    email: Email = None,
    phone: Phone = None,
    meter_slug: Meter = None,
    metadata: MetadataPairs = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a customer. One who exists already, with nothing that differs, is told instead.

    \b
    lava customers create acme --name "Acme Inc." --email billing@acme.example
    lava customers create user_42 --meter premium --metadata team=search
    """
    with open_house(home) as house:
        from lava_proxy.services.customer_fields import KEEP, CustomerFields

        given = CustomerFields(
            reference_id=reference_id or KEEP,
            name=name or KEEP,
            email=email or KEEP,
            phone=phone or KEEP,
            metadata=read_pairs(metadata) if metadata else KEEP,
            meter=meter_slug or KEEP,
        )
        answer = house.customers.create(given, by=by(idempotency_key))
        _show_answer(house, answer, json, "was there already")


@app.command("list")
def list_customers(
    archived: Annotated[bool, typer.Option("--archived", help="Archived and erased ones too.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List customers.

    \b
    lava customers list
    lava customers list --archived --json
    """
    with open_house(home) as house:
        from lava_proxy.services.documents import customer_document

        page = house.customers.page(cursor=cursor, limit=limit, include_archived=archived)
        out = output(house, json)
        if json:
            out.page([customer_document(customer) for customer in page.items], page.next_cursor)
            return
        zone = zone_of(None, house.settings)
        rows = [
            (c.customer_id, c.reference_id, c.name, c.email, c.status.value, when(c.created_us, zone))
            for c in page.items
        ]
        columns = ("customer_id", "reference_id", "name", "email", "status", "created_at")
        out.table(columns, rows, empty="No customers yet. Make one: lava customers create acme")
        out.more(page.next_cursor)


@app.command("show")
def show(customer: Customer, home: Home = None, json: Json = False) -> None:
    """Show a customer, with what credit they have.

    \b
    lava customers show acme
    """
    with open_house(home) as house:
        _show(house, house.customers.get(customer), json)


@app.command("update")
def update(
    customer: Customer,
    reference_id: Annotated[
        str | None, typer.Option("--reference-id", metavar="ID", help="Another id of yours.", show_default=False)
    ] = None,
    name: Name = None,
    email: Email = None,
    phone: Phone = None,
    meter_slug: Meter = None,
    metadata: MetadataPairs = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(
            "--clear", metavar="FIELD", help="Empty a field, such as email or meter; repeatable.", show_default=False
        ),
    ] = None,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Change what is given, keep the rest. Metadata is replaced as a whole.

    \b
    lava customers update acme --meter premium
    lava customers update acme --clear phone --clear meter
    """
    with open_house(home) as house:
        from lava_proxy.services.customer_fields import KEEP, CustomerFields

        cleared = _cleared(clear)

        def field(key: str, value: "str | None") -> "str | Keep | None":
            return value if value is not None else None if key in cleared else KEEP

        no_metadata: Metadata | Keep = () if "metadata" in cleared else KEEP
        given = CustomerFields(
            reference_id=field("reference_id", reference_id),
            name=field("name", name),
            email=field("email", email),
            phone=field("phone", phone),
            metadata=read_pairs(metadata) if metadata else no_metadata,
            meter=field("meter", meter_slug),
        )
        _show(house, house.customers.update(customer, given, by=by(idempotency_key)).value, json)


@app.command("archive")
def archive(
    customer: Customer,
    undo: Annotated[bool, typer.Option("--undo", help="Bring the customer back.")] = False,
    idempotency_key: IdempotencyKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """No more calls for this customer; books and credit stay. Refused while calls are in flight.

    \b
    lava customers archive acme
    lava customers archive acme --undo
    """
    with open_house(home) as house:
        change = house.customers.restore if undo else house.customers.archive
        _show(house, change(customer, by=by(idempotency_key)).value, json)


@app.command("erase")
def erase(
    customer: Customer, yes: Yes = False, idempotency_key: IdempotencyKey = None, home: Home = None, json: Json = False
) -> None:
    """Forget a person: name, e-mail, phone, reference id and metadata are emptied, keys revoked. Postings stay.

    \b
    lava customers erase con_01JZ… --yes
    """
    with open_house(home) as house:
        if not yes:
            found = house.customers.get(customer)
            confirm(f"Erase {found.reference_id or found.customer_id} for good?")
        _show(house, house.customers.erase(customer, by=by(idempotency_key)).value, json)


def _show_answer(house: "House", answer: "Answer[entities.Customer]", json: bool, repeated: str) -> None:
    if answer.is_repeat and not json:
        say(f"{answer.value.reference_id or answer.value.customer_id} {repeated}.")
    _show(house, answer.value, json)


def _show(house: "House", customer: "entities.Customer", json: bool) -> None:
    from lava_proxy.services.documents import customer_document

    out = output(house, json)
    if json:
        out.document(customer_document(customer))
        return
    balance = house.credits.balance(customer.customer_id)
    meter = house.meters.get(customer.meter_id).meter.slug if customer.meter_id else "(the default)"
    out.facts(
        (
            ("customer_id", customer.customer_id),
            ("reference_id", customer.reference_id),
            ("name", customer.name),
            ("email", customer.email),
            ("phone", customer.phone),
            ("metadata", " ".join(f"{key}={value}" for key, value in customer.metadata)),
            ("meter", meter),
            ("status", customer.status.value),
            ("available", money(balance.available_nanos)),
            ("held", money(balance.held_nanos)),
            ("created_at", when(customer.created_us, zone_of(None, house.settings))),
        )
    )


def _cleared(fields: list[str] | None) -> set[str]:
    known = ("reference_id", "name", "email", "phone", "metadata", "meter")
    names = {field.replace("-", "_") for field in fields or ()}
    for name in names.difference(known):
        raise InvalidInput(f"clear: {name!r} is no field; choose of {', '.join(known)}", field="clear")
    return names
