"""`lava config`: settings of this home."""

import os
from collections.abc import Mapping
from typing import Annotated

import typer

from lava_proxy.cli.groups import noun
from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import say
from lava_proxy.cli.session import open_house, output
from lava_proxy.core.errors import InvalidInput

app = noun(
    "Settings of this home: lava.toml, LAVA_* variables, defaults. `lava restart` makes the proxy read them again."
)


@app.command("show")
def show(
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="One setting.", show_default=False)] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show every setting, its value, where that is from, and what it means.

    \b
    lava config show
    lava config show unpriced
    """
    with open_house(home) as house:
        from lava_proxy.settings import Settings, explain_sources

        sources = explain_sources(house.home)
        values: Mapping[str, object] = house.settings.model_dump(mode="json")
        keys = list(values) if key is None else [key.replace("-", "_")]
        for name in keys:
            if name not in values:
                raise InvalidInput(f"{name}: there is no such setting; `lava config show` lists them", field=name)
        out = output(house, json)
        if json:
            document = {name: {"value": values[name], "source": sources.get(name, "default")} for name in keys}
            out.document({"home": str(house.home.folder), "settings": document})
            return
        rows = [(name, _shown(values[name]), sources.get(name, "default")) for name in keys]
        out.table(("setting", "value", "source"), rows)
        if key is not None:
            say(" ".join((Settings.model_fields[keys[0]].description or "").split()))


@app.command("set")
def set_setting(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A setting, such as upgrade_url.", show_default=False)],
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUE", help="Its value; of a list, its parts with commas between.", show_default=False
        ),
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Take it out of the file: the default holds again.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write a setting into lava.toml. The file's comments stay; a value that cannot be is refused.

    \b
    lava config set unknown_customer create
    lava config set upgrade_url https://example.com/credits
    lava config set upgrade_url --unset
    """
    with open_house(home) as house:
        from lava_proxy.settings import ENV_PREFIX, change_file

        if unset == (value is not None):
            raise InvalidInput("value: give a value, or --unset", field="value")
        name = key.replace("-", "_")
        changed = change_file(house.home, name, value).model_dump(mode="json")
        out = output(house, json)
        if json:
            out.document({"setting": name, "value": changed[name], "file": str(house.home.settings_file)})
        else:
            out.facts(((name, _shown(changed[name])),))
        variable = f"{ENV_PREFIX}{name.upper()}"
        if os.environ.get(variable):
            say(f"{variable} is set in this shell and wins over the file.")
        say("A running proxy takes it up with `lava restart`.")


@app.command("validate")
def validate(home: Home = None, json: Json = False) -> None:
    """Check lava.toml, the LAVA_* variables and the provider files of this home.

    \b
    lava config validate
    """
    with open_house(home) as house:  # the settings have been read, or we would not be here
        own = [provider for provider in house.providers.providers if provider.origin != "packaged"]
        out = output(house, json)
        if json:
            out.document({"valid": True, "file": str(house.home.settings_file), "own_providers": [p.id for p in own]})
            return
        out.facts((("valid", "yes"), ("file", str(house.home.settings_file)), ("own providers", len(own))))


def _shown(value: object) -> str:
    if value in (None, [], {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return str(value)
