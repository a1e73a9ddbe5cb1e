"""Options that many commands have, each in one place and named like the API's field."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="FOLDER", help="The home (else LAVA_HOME, else the platform's folder).", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.", show_default=False)]
Csv = Annotated[bool, typer.Option("--csv", help="Print it as CSV.", show_default=False)]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="Do it once, however often it is repeated under this key.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]
Preview = Annotated[
    bool, typer.Option("--preview", help="Tell what it would do, and do nothing.", show_default=False)
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="How many at most.")]
Cursor = Annotated[
    str | None,
    typer.Option(
        "--cursor", metavar="CURSOR", help="Go on after this: the `next_cursor` of the page before.", show_default=False
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="WHEN", help="From then on: 30d, 12h, today, a date, or RFC 3339.", show_default=False
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="WHEN", help="Until then; of a date, to its end.", show_default=False),
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        "--tz", metavar="ZONE", help="The time zone of dates and days, such as Europe/Berlin.", show_default=False
    ),
]
Customer = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="A customer, by con_… or reference id.", show_default=False)
]
CustomerOption = Annotated[
    str | None,
    typer.Option(
        "--customer-id",
        "--customer",
        metavar="CUSTOMER",
        envvar="LAVA_CUSTOMER",
        help="A customer, by con_… or reference id.",
        show_default=False,
    ),
]
MeterOption = Annotated[
    str | None,
    typer.Option(
        "--meter-slug",
        "--meter",
        metavar="METER",
        envvar="LAVA_METER",
        help="A meter, by slug or prd_….",
        show_default=False,
    ),
]
MetadataPairs = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="A pair of metadata; repeatable.", show_default=False),
]
