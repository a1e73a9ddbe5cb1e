"""`lava apply` and `lava pull`: meters, plans, bundles, budgets and alerts as a file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.options import Home, Json, Yes
from lava_proxy.cli.output import say
from lava_proxy.cli.session import by, confirm, open_house, output
from lava_proxy.core.errors import InvalidInput

if TYPE_CHECKING:
    from lava_proxy.services.as_code import Change, Plan, Value
    from lava_proxy.wiring import House


def apply(
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="The file; - is standard input.", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would change, and change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what the file does not name.")] = False,
    yes: Yes = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Bring meters, plans, bundles, budgets and alerts to what a file says, and tell the difference.

    The home's own lava.toml may be the file.

    What the file does not name stays, unless --prune is given. All of it is checked before anything is changed.

    \b
    lava apply -f lava.toml --dry-run
    lava apply -f lava.toml
    """
    with open_house(home) as house:
        text, place = _read(file)
        plan = house.as_code.plan(text, place=place, others=_others(house, file), prune=prune)
        removed = [change for change in plan.changes if change.action.value == "remove"]
        if removed and not dry_run and not yes:
            names = ", ".join(f"{change.kind}.{change.name}" for change in removed)
            confirm(f"Remove {names}?")
        if not dry_run:
            house.as_code.apply(plan, by=by(None))
        _show(house, plan, dry_run=dry_run, json=json)


def pull(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Into this new file; else standard output.", show_default=False),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write meters, plans, bundles, budgets and alerts as a file that `lava apply` takes. With --json the same in one document.

    \b
    lava pull
    lava pull --out lava-code.toml
    """
    with open_house(home) as house:
        text = house.as_code.pull()
        if json:
            import tomllib

            output(house, json).document(tomllib.loads(text))
            return
        if out is None:
            print(text, end="")
            return
        try:
            with out.open("x", encoding="utf-8") as target:
                target.write(text)
        except OSError as error:
            raise InvalidInput(f"out: {out} cannot be made: {error.strerror}", field="out") from error
        say(f"Wrote {out}.")


def _read(file: str) -> tuple[str, str]:
    """The text, and where it is from."""
    if file == "-":
        return sys.stdin.read(), "standard input"
    try:
        return Path(file).read_text(encoding="utf-8"), file
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"file: {file} cannot be read: {error}", field="file") from error


def _others(house: "House", file: str) -> frozenset[str]:
    """In the home's own lava.toml there are settings too, which are read when the proxy starts."""
    from lava_proxy.settings import Settings

    settings_file = house.home.settings_file
    is_own = file != "-" and settings_file.exists() and Path(file).samefile(settings_file)
    return frozenset(Settings.model_fields) if is_own else frozenset()


def _show(house: "House", plan: "Plan", *, dry_run: bool, json: bool) -> None:
    out = output(house, json)
    if json:
        out.document(
            {
                "dry_run": dry_run,
                "changes": [_document(change) for change in plan.changes],
                "untold": list(plan.untold),
            }
        )
        return
    rows = [
        (change.action.value, f"{change.kind}.{change.name}", field.field, _text(field.before), _text(field.after))
        for change in plan.changes
        for field in change.fields
    ]
    out.table(("action", "what", "field", "before", "after"), rows, empty="No difference.")
    if plan.untold:
        say(f"Not in the file, and left as they are: {', '.join(plan.untold)}")
    if dry_run and plan.changes:
        say("A dry run: nothing was changed.")


def _document(change: "Change") -> dict[str, object]:
    fields = [{"field": each.field, "before": each.before, "after": each.after} for each in change.fields]
    return {"action": change.action.value, "kind": change.kind, "name": change.name, "fields": fields}


def _text(value: "Value | None") -> str | None:
    if isinstance(value, list):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else value
