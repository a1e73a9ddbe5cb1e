"""`lava providers`: whose calls are metered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import say
from lava_proxy.cli.quote import read_body
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import NotFound

if TYPE_CHECKING:
    from lava_proxy.providers import Provider
    from lava_proxy.services.trials import Trial

app = noun("Whose calls are metered: the packaged providers, and yours in providers.d of the home.")


@app.command("list")
def list_providers(
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="A part of an id, name or host.", show_default=False)
    ] = None,
    own: Annotated[bool, typer.Option("--own", help="Only yours.")] = False,
    dialect: Annotated[
        str | None,
        typer.Option("--dialect", metavar="DIALECT", help="Only with this wire format.", show_default=False),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option("--evidence", metavar="TIER", help="Only verified, or only community.", show_default=False),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List providers and their hosts.

    \b
    lava providers list
    lava providers list mistral
    lava providers list --dialect anthropic_messages --evidence verified
    """
    with open_house(home) as house:
        from lava_proxy.services.catalogue import provider_document

        found = [
            provider
            for provider in house.providers.providers
            if _has(provider, text)
            and (not own or provider.origin != "packaged")
            and (dialect is None or dialect in provider.dialects)
            and (evidence is None or evidence == provider.evidence)
        ]
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
                provider.evidence,
                provider.checked,
                provider.origin,
            )
            for provider in found
        ]
        out.table(
            ("provider_id", "name", "hosts", "endpoints", "evidence", "checked", "origin"), rows, empty="There are none."
        )


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
        out.facts(_facts(found))
        print()
        rows = [
            (
                endpoint.method,
                f"{base}{endpoint.path}",
                endpoint.op,
                endpoint.action.value,
                endpoint.dialect,
                ", ".join(endpoint.units),
                endpoint.settle.value,
                endpoint.stream.usage.value,
            )
            for endpoint in found.endpoints
            for base in endpoint.bases
        ]
        out.table(("method", "path", "operation", "action", "dialect", "units", "settle", "stream usage"), rows)


@app.command("validate")
def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]…", help="Files to check, else those in providers.d.", show_default=False),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Check provider files before the proxy sees them: those of this home, or files that are to go there.

    Ends with 2 where one is wrong, with its file, its key and a hint.

    \b
    lava providers validate
    lava providers validate my-provider.toml
    """
    with open_house(home) as house:
        from lava_proxy.providers import check_files
        from lava_proxy.services.trials import unread_formats

        there = sorted(house.home.providers_folder.glob("*.toml"))
        given = list(files or [])
        names = {file.name for file in given}
        index = check_files([*(file for file in there if file.name not in names), *given], readable=house.dialects)
        own = [provider for provider in index.providers if provider.origin != "packaged"]
        unread = unread_formats(index, house.dialects)
        out = output(house, json)
        if json:
            documents = [{"provider_id": each.id, "file": each.origin, "hosts": list(each.hosts)} for each in own]
            formats = {provider_id: list(names) for provider_id, names in unread}
            out.document({"valid": True, "providers": len(index.providers), "own": documents, "unread": formats})
            return
        out.facts((("valid", "yes"), ("providers", len(index.providers)), ("own", ", ".join(each.id for each in own))))
        for provider_id, formats_of in unread:
            say(f"{provider_id}: no reader yet for {', '.join(formats_of)}; such calls are recorded as unknown.")


@app.command("test")
def test(
    url: Annotated[str, typer.Argument(metavar="URL", help="The address of a request.", show_default=False)],
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help="Its method; WS for a WebSocket.")] = "POST",
    body: Annotated[
        str | None,
        typer.Option("--data", metavar="JSON|@FILE", help="Its body; @- reads standard input.", show_default=False),
    ] = None,
    headers: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="NAME:VALUE", help="With --connect-to: a header to send; repeatable.", show_default=False
        ),
    ] = None,
    connect_to: Annotated[
        str | None,
        typer.Option(
            "--connect-to",
            metavar="HOST:PORT:HOST2:PORT2",
            help="Send it once, to this server on your own machine or network instead, and read the answer.",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Tell what a request is taken for: provider, endpoint, wire format, key, prices. Nothing is sent to the internet.

    Ends with 3 where the address is no provider's.

    \b
    lava providers test https://api.openai.com/v1/chat/completions
    lava providers test https://llm.corp.example:8443/v1/chat/completions --data @request.json
    lava providers test http://llm.corp.example/v1/chat/completions --data @request.json \\
        --connect-to llm.corp.example:80:127.0.0.1:8000
    """
    with open_house(home) as house:
        from lava_proxy.services.trials import answer_document, read_answer, trial_document

        content = read_body(body) if body is not None else b""
        trial = house.trials.recognise(url=url, method=method.upper(), body=content, at_us=house.clock.now_us())
        if trial is None:
            hint = "`lava providers list` shows the hosts; a file in providers.d adds one."
            raise NotFound(f"{url} is no provider's: it would be passed on as it is.", hint=hint)
        document, answer = trial_document(trial), {}
        if connect_to is not None:
            from lava_proxy.cli.sending import send_once

            status, got, bytes_got = send_once(trial, connect_to, content, headers or [], house.settings.upstream_ca)
            answer = dict(answer_document(status, read_answer(trial, got, bytes_got)))
            document["answer"] = answer
        out = output(house, json)
        if json:
            out.document(document)
            return
        out.facts(_trial_facts(trial))
        if answer:
            out.facts((f"answer {name}", _shown(value)) for name, value in answer.items())


def _has(provider: "Provider", text: str | None) -> bool:
    wanted = (text or "").lower()
    return any(wanted in each.lower() for each in (provider.id, provider.name, *provider.aliases, *provider.hosts))


def _facts(found: "Provider") -> tuple[tuple[str, str], ...]:
    return (
        ("provider_id", found.id),
        ("name", found.name),
        ("hosts", ", ".join(found.hosts)),
        ("billed by", ", ".join(found.units)),
        ("key", _slots(found)),
        ("prices", ", ".join(found.prices)),
        ("other endpoints", found.unmatched.value),
        ("evidence", f"{found.evidence} ({', '.join(found.sources)}), checked {found.checked}"),
        ("docs", found.docs),
        ("pricing", found.pricing),
        ("notes", found.notes),
        ("origin", found.origin),
    )


def _trial_facts(trial: "Trial") -> tuple[tuple[str, str | None], ...]:
    match, endpoint = trial.match, trial.match.endpoint
    return (
        ("provider", f"{match.provider.id} ({match.provider.evidence}, {match.provider.origin})"),
        ("endpoint", f"{endpoint.method} {endpoint.path}" if endpoint else None),
        ("operation", endpoint.op if endpoint else None),
        ("dialect", endpoint.dialect if endpoint else None),
        ("outcome", trial.outcome),
        ("model", trial.model),
        ("billed by", ", ".join(endpoint.units) if endpoint else None),
        ("settled", endpoint.settle.value if endpoint else None),
        ("prices", ", ".join(match.provider.prices)),
        ("price found", trial.price_source),
        ("region", match.region),
        ("key", _slots(match.provider)),
    )


def _slots(provider: "Provider") -> str:
    return ", ".join(f"{slot.place} {slot.name} {slot.scheme}".rstrip() for slot in provider.auth)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
