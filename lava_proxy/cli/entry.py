"""Runs the command line and turns what went wrong into words on standard error and an exit code."""

import json
import os
import sys
from collections.abc import Sequence

import typer

from lava_proxy.cli.session import Declined
from lava_proxy.core.errors import LavaError

EXIT_OTHER = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_CODES = {
    "invalid_input": 2,
    "invalid_amount": 2,
    "invalid_settings": 2,
    "invalid_provider_file": 2,
    "invalid_backup": 2,
    "wrong_passphrase": 2,
    "not_found": 3,
    "customer_not_found": 3,
    "meter_not_found": 3,
    "insufficient_credits": 4,
    "run_limit_reached": 4,
    "ledger_inconsistent": 5,
    "not_reachable": 6,
    "conflict": 7,
    "idempotency_conflict": 7,
    "refused": 8,
    "ledger_unavailable": 9,
    "ledger_too_new": 9,
    "seal_broken": 1,
    "internal_error": 1,
}
"""The exit code of every error code; `docs/errors.md` has the same table."""

USAGE_ERROR = typer.BadParameter.__mro__[1]
"""The class of all wrong usage, for which typer has no public name."""


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(app, given))


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command; gives its exit code. What a person should read of an error is on standard error by then."""
    as_json = wants_json(arguments)
    try:
        outcome = app(list(arguments), standalone_mode=False, prog_name="lava")
        return outcome if isinstance(outcome, int) else 0
    except LavaError as error:
        say_error(error, as_json=as_json)
        return EXIT_CODES.get(error.code, EXIT_OTHER)
    except Declined:
        return EXIT_OTHER
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer has caught it, and would end with 1
            return _reader_gone()
        raise
    except Exception as error:
        if not isinstance(error, USAGE_ERROR):
            raise
        return say_usage(error, as_json=as_json)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--json`` stands among our own arguments; what follows ``--`` is another command's."""
    return "--json" in arguments[: arguments.index("--")] if "--" in arguments else "--json" in arguments


def say_error(error: LavaError, *, as_json: bool) -> None:
    if as_json:
        document = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint or None,
            "details": dict(error.details),
        }
        print(json.dumps({"error": document}, ensure_ascii=False), file=sys.stderr)
        return
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


def say_usage(error: Exception, *, as_json: bool) -> int:
    """Of typer's own errors: a missing argument, an unknown option. `lava` alone shows the help, which is no error."""
    text = str(getattr(error, "format_message", error.__str__)())
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(text)
        return EXIT_USAGE
    if as_json:
        document: dict[str, object] = {"code": "invalid_input", "message": text, "hint": None, "details": {}}
        print(json.dumps({"error": document}, ensure_ascii=False), file=sys.stderr)
        return EXIT_USAGE
    print(f"error: {text}", file=sys.stderr)
    if context is not None:
        print(f"hint: {context.get_usage()}\n      `{context.command_path} --help` tells more.", file=sys.stderr)
    return EXIT_USAGE


def _reader_gone() -> int:
    """Whoever read our output has gone, which is no error; nothing may be written at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
