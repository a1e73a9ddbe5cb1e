"""What holds for every command: help with examples, --json, quick help, plain pipes, quiet ends."""

import os
import pty
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from lava_proxy.cli import COMMANDS, app
from tests.cli.conftest import Lava

LAVA = [sys.executable, "-c", "from lava_proxy.cli import main; main()"]
ESCAPE = "\x1b["

WRITES = {
    "customers create",
    "customers update",
    "customers archive",
    "customers erase",
    "keys create",
    "keys rotate",
    "keys revoke",
    "meters create",
    "meters update",
    "meters archive",
    "credits grant",
    "credits void",
    "holds void",
    "credits adjust",
    "requests dispute",
    "alerts create",
    "alerts delete",
    "destinations create",
    "destinations delete",
    "budgets set",
    "budgets delete",
    "usage record",
    "prices set",
    "prices unset",
    "plans create",
    "plans update",
    "plans archive",
    "bundles create",
    "bundles archive",
    "bundles buy",
    "subscriptions start",
    "subscriptions change",
    "subscriptions cancel",
    "subscriptions pause",
    "subscriptions resume",
    "topups set",
    "topups off",
    "payments mark-paid",
    "payments refund",
    "payments void",
}
DESTROYS = {"budgets delete", "customers erase", "keys rotate", "keys revoke", "meters archive", "credits void", "holds void"}


def walk(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from walk(command, (*path, name))
        if not hasattr(command, "list_commands") or command.invoke_without_command:
            yield " ".join((*path, name)), command


ALL = dict(walk(get_command(app)))


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_the_commands_are_those_of_the_product() -> None:
    wanted = (
        "init up down restart status logs run env doctor demo verify quote usage "
        "config_show config_set config_validate customers_create customers_list customers_show customers_update "
        "customers_archive customers_erase keys_create keys_list keys_rotate keys_revoke meters_create meters_list "
        "meters_show meters_update meters_archive credits_grant credits_balance credits_statement requests_list "
        "requests_show requests_tail holds_list holds_void prices_show prices_search providers_list providers_show "
        "outbox_list outbox_retry alerts_create alerts_list alerts_rules alerts_test alerts_check alerts_delete "
        "destinations_create destinations_list destinations_delete backup restore resume "
        "export_requests export_postings export_statements credits_adjust requests_dispute apply pull meters_simulate usage_record budgets_set budgets_list budgets_show budgets_delete "
        "reprice prices_set prices_unset prices_diff prices_update"
    )
    assert {name.replace("_", " ") for name in wanted.split()} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_with_an_example_and_json(name: str) -> None:
    command = ALL[name]
    assert re.search(rf"\blava {name}\b|lava {name.split()[0]} \w+", command.help), name
    assert "\b" in command.help, "examples are kept as they are typed"
    assert {"--json", "--home"} <= options(command) or name in ("doctor", "demo")
    assert "--json" in options(command)
    for parameter in command.params:
        assert getattr(parameter, "help", None), (name, parameter.name)


def test_what_writes_takes_an_idempotency_key_and_what_destroys_asks() -> None:
    assert {name for name, command in ALL.items() if "--idempotency-key" in options(command)} == WRITES
    assert {name for name, command in ALL.items() if "--yes" in options(command)} >= DESTROYS


def test_the_table_of_commands_says_what_their_help_says(lava: Lava) -> None:
    shown = lava("--help").out
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(entry.help.split()[0])}", shown, re.MULTILINE), name


def test_the_version_is_told(lava: Lava) -> None:
    assert re.fullmatch(r"lava \d+\.\d+\.\d+\n", lava("--version").out)


def test_a_group_alone_shows_its_help(lava: Lava) -> None:
    said = lava("customers")
    assert said.code == 2 and "archive" in said.out + said.err


def cpu_seconds(*command: str) -> float:
    """The least of five runs: what the command needs, and not what the machine was busy with."""
    needed = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", *command], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        needed.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(needed)


@pytest.mark.slow
def test_help_costs_little_more_than_typer_and_rich_themselves() -> None:
    assert cpu_seconds(LAVA[2], "--help") - cpu_seconds("import typer, rich") <= 0.2


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from lava_proxy.cli import app; from lava_proxy.cli.entry import run; run(app, ['--help']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "pydantic",
        "sqlite3",
        "sqlite_utils",
        "httpx",
        "mitmproxy",
        "cryptography",
        "genai_prices",
        "asyncio",
        "rich.table",
    }
    assert heavy & set(loaded) == set()


@pytest.fixture
def filled(lava: Lava, home: Path) -> Path:
    lava("customers", "create", "acme", "--name", "Acme Inc.")
    lava("credits", "grant", "acme", "5")
    return home


def on_terminal(*arguments: str, **variables: str) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **variables}
    process = subprocess.Popen([*LAVA, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_a_terminal_gets_a_table_and_a_pipe_gets_tabs(filled: Path) -> None:
    shown = on_terminal("customers", "list")
    assert ESCAPE in shown and "\t" not in shown and "Acme Inc." in shown
    piped = subprocess.run([*LAVA, "customers", "list"], capture_output=True, text=True, check=True).stdout
    assert ESCAPE not in piped
    assert piped.splitlines()[0].split("\t")[:3] == ["customer_id", "reference_id", "name"]


def test_no_color_is_obeyed(filled: Path) -> None:
    assert "\x1b[3" not in on_terminal("customers", "list", NO_COLOR="1")
    assert "\x1b[9" not in on_terminal("customers", "list", NO_COLOR="1")


def test_an_empty_list_tells_a_person_what_to_do(lava: Lava, home: Path) -> None:
    lava("init")
    assert "lava customers create acme" in on_terminal("customers", "list")


def test_a_question_is_asked_on_a_terminal_and_no_means_no(filled: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*LAVA, "customers", "erase", "acme"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.write(ours, b"n\n")
    out, err = process.communicate()
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 1 and out == "" and "Erase acme for good?" in err
    subprocess.run([*LAVA, "customers", "show", "acme"], capture_output=True, check=True)


def test_a_reader_that_has_gone_is_no_error(filled: Path) -> None:
    process = subprocess.Popen([*LAVA, "providers", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_ctrl_c_ends_a_stream_with_130_and_without_a_trace(filled: Path) -> None:
    process = subprocess.Popen([*LAVA, "requests", "tail"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"created_at\t")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, b"")


def test_the_shell_completes_commands(home: Path) -> None:
    environment = {**os.environ, "_LAVA_COMPLETE": "complete_bash", "COMP_WORDS": "lava cust", "COMP_CWORD": "1"}
    done = subprocess.run(LAVA, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["customers"]
