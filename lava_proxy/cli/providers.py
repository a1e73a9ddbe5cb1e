"""`lava providers`: whose calls are metered."""

from typing import Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import NotFound

app = noun("Whose calls are metered: the packaged providers, and yours in providers.d of the home.")


@app.command("list")
def list_providers(home: Home = None, json: Json = False) -> None:
    """List providers and their hosts.

    \b
    lava providers list
    """
    with open_house(home) as house:
        from lava_proxy.services.catalogue import provider_document

        found = house.providers.providers
        out = output(house, json)
        if json:
            out.page([provider_document(provider) for provider in found], None)
            return
        rows = [
            (
                provider.id,
                provider.name,
                ", ".join(provider.hosts),
                len(provider.endpoints),
                provider.checked,
                provider.origin,
            )
            for provider in found
        ]
        out.table(("provider_id", "name", "hosts", "endpoints", "checked", "origin"), rows)


@app.command("show")
def show(
    provider: Annotated[
        str, typer.Argument(metavar="PROVIDER", help="A provider's id, such as openai.", show_default=False)
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Show a provider: hosts, endpoints, and what is done with each.

    \b
    lava providers show openai
    """
    with open_house(home) as house:
        from lava_proxy.services.catalogue import provider_document

        found = house.providers.get(provider)
        if found is None:
            raise NotFound(f"There is no provider {provider!r}.", hint="`lava providers list` shows them all.")
        out = output(house, json)
        if json:
            out.document(provider_document(found))
            return
        out.facts(
            (
                ("provider_id", found.id),
                ("name", found.name),
                ("hosts", ", ".join(found.hosts)),
                ("prices", ", ".join(found.prices)),
                ("other endpoints", found.unmatched.value),
                ("evidence", f"{found.evidence}, checked {found.checked}"),
                ("docs", found.docs),
                ("pricing", found.pricing),
                ("notes", found.notes),
                ("origin", found.origin),
            )
        )
        print()
        rows = [
            (endpoint.method, f"{base}{endpoint.path}", endpoint.op, endpoint.action.value, endpoint.stream.usage.value)
            for endpoint in found.endpoints
            for base in endpoint.bases
        ]
        out.table(("method", "path", "operation", "action", "stream usage"), rows)
