"""`lava init`: a new home."""

from typing import Annotated

import typer

from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import Output, say
from lava_proxy.core.entities import Mode

NEXT = """
Next:
  lava up                                         start the proxy
  lava customers create acme                      whom you bill; then: lava credits grant acme 5.00
  lava run --customer acme -- python app.py       its AI calls go through the proxy
"""


def init(
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", help="For real money, or for trying. A home keeps its mode.", show_default="live"),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a home: ledger, certificate authority, default meter, and your first key, shown this once.

    Asks nothing. Doing it again changes nothing. Other commands do it by themselves when there is no home yet.

    \b
    lava init
    lava init --mode test --home ./trial
    """
    from lava_proxy.settings import load_settings, resolve_home
    from lava_proxy.wiring import make_home

    found = resolve_home(home)
    made = make_home(found, load_settings(found), mode=mode)
    out = Output(as_json=json, mode=made.mode)
    if json:
        out.document(
            {
                "home": str(found.folder),
                "is_new": made.is_new,
                "secret_key": made.key_text,
                "ca_file": str(made.authority_file),
                "database": str(found.ledger_file),
                "settings": str(found.settings_file),
            }
        )
        return
    out.facts(
        (
            ("home", str(found.folder)),
            ("mode", made.mode.value),
            *((("secret_key", made.key_text),) if made.key_text else ()),
            ("ca_file", str(made.authority_file)),
        )
    )
    say(
        "Keep the key now; it is not shown again."
        if made.is_new
        else "This home was there already; nothing was changed."
    )
    say(NEXT.rstrip())
