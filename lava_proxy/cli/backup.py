"""`lava backup`, `restore` and `resume`."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from lava_proxy.cli.options import Home, Json
from lava_proxy.cli.output import Output, say
from lava_proxy.cli.session import by, open_house, output
from lava_proxy.core.errors import InvalidInput

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Whose first line is the passphrase; - is standard input. Else it is asked for.",
        show_default=False,
    ),
]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; never one that is there.", show_default=False)],
    passphrase_file: PassphraseFile = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write a backup of the whole home to one file: ledger, settings, providers.d, certificate authority, keys.

    Calls may go on meanwhile. Keys are sealed under a passphrase, without which the backup cannot be restored; the ledger
    itself is in it as it is.

    \b
    lava backup monday.lavabackup
    lava backup /backups/monday.lavabackup --passphrase-file /etc/lava/passphrase
    """
    with open_house(home) as house:
        chosen = passphrase_file or house.settings.backup_passphrase_file
        made = house.backups.make(file.expanduser().absolute(), _passphrase(chosen, twice=True))
        out = output(house, json)
        document = {
            "file": str(made.file),
            "bytes": made.size,
            "home_id": made.manifest.home_id or None,
            "created_at": made.manifest.created_at,
            "files": [member.name for member in made.manifest.members],
        }
        if json:
            out.document(document)
            return
        out.facts(
            (
                ("file", str(made.file)),
                ("bytes", made.size),
                ("created_at", made.manifest.created_at),
                ("files", ", ".join(member.name for member in made.manifest.members)),
            )
        )
        say("Without its passphrase it cannot be restored: keep both, and not in one place.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `lava backup` wrote.", show_default=False)],
    passphrase_file: PassphraseFile = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make a home from a backup, where there is none yet. A file that is not sound is refused, and nothing is written.

    The restored home has an id of its own, and keeps payments, sync and webhooks paused until `lava resume`, so that two
    copies never both act. Calls are served all the same.

    \b
    lava restore monday.lavabackup --home ./restored
    lava verify --home ./restored
    lava resume --home ./restored
    """
    from lava_proxy.settings import resolve_home
    from lava_proxy.wiring import restore_home

    found = resolve_home(home)
    actor = by(None).actor
    made = restore_home(file.expanduser().absolute(), found, _passphrase(passphrase_file, twice=False), actor=actor)
    out = Output(as_json=json, mode=made.mode)
    document = {
        "home": str(made.home.folder),
        "home_id": made.home_id,
        "restored_from": made.manifest.home_id or None,
        "created_at": made.manifest.created_at,
        "paused": True,
    }
    if json:
        out.document(document)
        return
    out.facts(
        (
            ("home", str(made.home.folder)),
            ("home_id", made.home_id),
            ("created_at", made.manifest.created_at),
            ("paused", "payments, sync and webhooks"),
        )
    )
    say("Prove the books with `lava verify`. When the other copy is gone for good: `lava resume`.")


def resume(home: Home = None, json: Json = False) -> None:
    """Let a restored home send payments, usage and webhooks again. Make sure first that the other copy never runs again.

    \b
    lava resume
    """
    with open_house(home) as house:
        from lava_proxy.services.backups import resume as resume_home

        reason = resume_home(house.ledger, clock=house.clock, by=by(None))
        out = output(house, json)
        if json:
            out.document({"resumed": bool(reason), "was_paused": reason or None})
            return
        out.facts((("resumed", "yes" if reason else "it was not paused"), ("was paused", reason or None)))


def _passphrase(file: Path | None, *, twice: bool) -> str:
    """From the file, else from the person.

    Raises:
        InvalidInput: nobody is there to be asked, or it is too short.
    """
    from lava_proxy.services.backups import check_passphrase, read_passphrase

    if file is not None and str(file) != "-":
        return read_passphrase(file)
    if file is not None:
        passphrase = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        passphrase = getpass.getpass("Passphrase: ")
        if twice and getpass.getpass("Again: ") != passphrase:
            raise InvalidInput("passphrase: the two were not the same", field="passphrase")
    else:
        raise InvalidInput("passphrase: name a file with --passphrase-file", field="passphrase_file")
    check_passphrase(passphrase)
    return passphrase
