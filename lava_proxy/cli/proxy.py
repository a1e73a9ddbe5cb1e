"""`lava up`, `down`, `restart`, `status`, `logs`: the running proxy of a home."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import Output, say, when
from lava_proxy.cli.session import open_house, zone_of
from lava_proxy.core.errors import NotFound

if TYPE_CHECKING:
    from lava_proxy.cli.standing import Standing
    from lava_proxy.wiring import House

EXIT_NOT_READY = 6
POLL_SECONDS = 0.2

Instance = Annotated[
    str | None,
    typer.Option("--instance", metavar="NAME", help="Which proxy of this home; else `main`.", show_default=False),
]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="Wait for it to be ready, so long.", show_default=False),
]


def up(
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="ADDRESS", help="Listen on this address; else 127.0.0.1.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Listen on this port; else 8080. 0 picks a free one.",
            show_default=False,
        ),
    ] = None,
    connect_to: Annotated[
        list[str] | None,
        typer.Option(
            "--connect-to",
            metavar="HOST:PORT:HOST2:PORT2",
            help="Connect there for calls to HOST:PORT, as curl does; repeatable.",
            show_default=False,
        ),
    ] = None,
    upstream_ca: Annotated[
        Path | None,
        typer.Option(
            "--upstream-ca", metavar="FILE", help="Trust these authorities for providers, too.", show_default=False
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert", metavar="FILE", help="Speak TLS on the port, with this certificate …", show_default=False
        ),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="… and this key.", show_default=False)
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(
            "--instance",
            metavar="NAME",
            help="A name of its own, to run beside others of this home.",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.", show_default=False),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready, and let it run.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Start the proxy: one process, one port. In the foreground until Ctrl-C, unless detached.

    \b
    lava up
    lava up --detach
    lava up --port 0 --instance trial --connect-to api.openai.com:443:127.0.0.1:9443 --upstream-ca ca.pem
    """
    given = {
        "host": host,
        "port": port,
        "connect_to": tuple(connect_to) if connect_to else None,
        "upstream_ca": str(upstream_ca.absolute()) if upstream_ca else None,
        "tls_cert": str(tls_cert.absolute()) if tls_cert else None,
        "tls_key": str(tls_key.absolute()) if tls_key else None,
        "instance": instance,
        "log_level": log_level,
    }
    from lava_proxy.cli.starting import become_proxy, check_startable, remember_flags, start_detached

    with open_house(home, given) as house:
        check_startable(house)
        remember_flags(house, given)
        if detach:
            start_detached(house, given)
            _show_standing(house, json)
            return
        folder = house.home
    become_proxy(folder, given)


def down(
    instance: Instance = None,
    force: Annotated[
        bool, typer.Option("--force", help="Kill it now: calls in flight are charged at their holds.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Stop the proxy. It takes no new calls, finishes those in flight up to a deadline, and settles all.

    \b
    lava down
    """
    with _visit(home, instance) as house:
        from lava_proxy.cli.starting import stop

        stopped = stop(house, force=force) if house is not None else False
        out = Output(as_json=json, mode=house.mode if house is not None else None)
        if json:
            out.document({"stopped": stopped})
        else:
            say("The proxy is stopped." if stopped else "No proxy runs.")


def restart(instance: Instance = None, home: Home = None, json: Json = False) -> None:
    """Stop the proxy and start it again, detached, with the options it was started with and its present settings.

    \b
    lava config set drain_seconds 60 && lava restart
    """
    from lava_proxy.cli.starting import check_startable, remembered_flags, start_detached, stop

    with open_house(home, {"instance": instance}) as house:
        given = {**remembered_flags(house), "instance": instance or house.settings.instance}
        stop(house, force=False)
    with open_house(home, given) as house:
        check_startable(house)
        start_detached(house, given)
        _show_standing(house, json)


def status(instance: Instance = None, wait: Wait = 0, home: Home = None, json: Json = False) -> None:
    """Tell whether the proxy is ready, and where. Ends with 6 when it is not.

    \b
    lava status
    lava status --wait 10 --json
    """
    with _visit(home, instance) as house:
        from lava_proxy.cli.standing import NO_HOME, standing

        deadline = time.monotonic() + wait
        found = NO_HOME if house is None else standing(house)
        while house is not None and not found.is_ready and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            found = standing(house)
        _print_standing(house, found, json)
    if not found.is_ready:
        raise typer.Exit(EXIT_NOT_READY)


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many lines of the past.")] = 50,
    instance: Instance = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show the log of a detached proxy. With --json one document a line.

    \b
    lava logs
    lava logs -f
    """
    with _visit(home, instance) as house:
        file = None if house is None else house.settings.log_file or house.home.log_file(house.settings.instance)
        if house is None or file is None or not file.exists():
            raise NotFound(
                "There is no log yet.",
                hint="A proxy in the foreground logs to its terminal; lava up --detach writes one.",
            )
        out = Output(as_json=json, mode=house.mode)
    from lava_proxy.cli.standing import grow, last_lines

    for line in last_lines(file, lines):
        _print_line(out, line)
    if follow:
        for line in grow(file, pause=lambda: time.sleep(POLL_SECONDS)):
            _print_line(out, line)


def _print_line(out: Output, line: str) -> None:
    if out.as_json:
        out.line({"line": line})
    else:
        print(line, flush=True)


@contextmanager
def _visit(home: Path | None, instance: str | None) -> "Iterator[House | None]":
    """A home as it is; ``None`` where there is none, and none is made."""
    from lava_proxy.settings import resolve_home
    from lava_proxy.wiring import is_home

    if not is_home(resolve_home(home)):
        yield None
        return
    with open_house(home, {"instance": instance}) as house:
        yield house


def _show_standing(house: "House", json: bool) -> None:
    from lava_proxy.cli.standing import standing

    _print_standing(house, standing(house), json)


def _print_standing(house: "House | None", found: "Standing", json: bool) -> None:
    from lava_proxy.cli.standing import standing_document

    out = Output(as_json=json, mode=house.mode if house is not None else None)
    if json:
        out.document(standing_document(found))
        return
    if found.presence is None or house is None:
        say(f"Not ready: {found.reason}")
        return
    presence = found.presence
    out.facts(
        (
            ("ready", "yes" if found.is_ready else f"no: {found.reason}"),
            ("mode", house.mode.value),
            ("instance", presence.name),
            ("pid", presence.pid),
            ("port", presence.port),
            ("proxy_url", presence.proxy_url),
            ("ca_file", presence.ca_file),
            ("database", presence.database),
            ("version", presence.version),
            ("started_at", when(presence.started_us, zone_of(None, house.settings))),
        )
    )
