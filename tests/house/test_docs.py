"""Everything that can be set, said or go wrong is written down, as it is."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import lava_proxy
from lava_proxy.cli.entry import EXIT_CODES
from lava_proxy.core.errors import LavaError
from lava_proxy.providers import DIALECTS, UNITS
from lava_proxy.providers.loader import TEMPLATES, packaged_providers, toml_files
from lava_proxy.providers.schema import EndpointTable, ProviderFile
from lava_proxy.services.faults import STATUSES
from lava_proxy.settings import Settings
from tests.house.catalogue_page import with_table
from tests.house.cli_page import render
from tests.house.project import DOCS, PACKAGE, ROOT, modules, page

CODE = re.compile(r"`([a-z0-9_]+)`")


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row, without heads and rules."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and not set(cells[0]) <= set("-: "):
            yield cells


def written_default(value: object) -> str:
    if value in (None, (), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def test_every_setting_is_described_with_its_default() -> None:
    described = {name: cells[1] for cells in rows(page("settings.md")) for name in CODE.findall(cells[0])}
    special = {"body_size_limit": "`64MiB`", "unpriced_hold": '`"1.00"`'}

    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        assert described.get(name) == special.get(name, written_default(default)), name


def test_no_setting_is_described_that_does_not_exist() -> None:
    described = {name for cells in rows(page("settings.md")) for name in CODE.findall(cells[0])}

    assert described == set(Settings.model_fields)


def error_classes() -> Iterator[type[LavaError]]:
    """Of the whole package: every module is imported for it."""
    for module in pkgutil.walk_packages(lava_proxy.__path__, "lava_proxy."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return subclasses(LavaError)


def subclasses(kind: type[LavaError]) -> Iterator[type[LavaError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


def codes_in_source() -> set[str]:
    """Every ``code="…"`` that the package passes to anything, but for the stand-in's, which are providers'."""
    return {
        keyword.value.value
        for file, tree in modules()
        if PACKAGE / "demo" not in file.parents
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }


def test_every_error_is_described() -> None:
    codes = {kind.code for kind in error_classes()} | set(STATUSES) | codes_in_source()
    described = {code for cells in rows(page("errors.md")) for code in CODE.findall(cells[0])}

    assert codes - described == set()
    assert described - codes == set()


@pytest.mark.parametrize("code", STATUSES)
def test_the_described_status_of_a_refused_call_is_its_status(code: str) -> None:
    refused = page("errors.md").partition("## A refused call")[2].partition("\n## ")[0]
    found = {CODE.findall(cells[0])[0]: cells[1] for cells in rows(refused) if CODE.search(cells[0])}

    assert found[code] == str(STATUSES[code])


@pytest.mark.parametrize("code", EXIT_CODES)
def test_the_described_exit_code_of_an_error_is_its_exit_code(code: str) -> None:
    of_commands = page("errors.md").partition("## A command's error")[2]
    found = {CODE.findall(cells[0])[0]: cells[1] for cells in rows(of_commands) if CODE.search(cells[0])}

    assert found[code] == str(EXIT_CODES[code])


def test_every_error_has_an_exit_code() -> None:
    assert {kind.code for kind in error_classes()} == set(EXIT_CODES)


def test_the_page_of_the_command_line_is_what_the_commands_say_of_themselves() -> None:
    assert page("cli.md") == render(), "run `make docs`"


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "table"),
    [("Keys of a file", ProviderFile), ("Keys of an endpoint", EndpointTable)],
    ids=["file", "endpoint"],
)
def test_every_key_of_a_provider_file_is_described(title: str, table: type[ProviderFile] | type[EndpointTable]) -> None:
    keys = {field.alias or name for name, field in table.model_fields.items()}

    assert {
        name for cells in rows(section(page("provider-files.md"), title)) for name in CODE.findall(cells[0])
    } == keys


def test_every_wire_format_unit_and_template_of_provider_files_is_described() -> None:
    text = page("provider-files.md")
    templates = [path.stem for path in toml_files(TEMPLATES)]

    assert [name for name in (*DIALECTS, *UNITS, *templates) if f"`{name}`" not in text] == []


def test_the_table_of_providers_is_what_their_files_say() -> None:
    text = page("providers.md")

    assert text == with_table(text, packaged_providers()), "run `make catalogue`"


def test_the_wire_formats_are_those_of_the_page_of_fidelity() -> None:
    told = page("fidelity.md").partition("## Wire formats")[2].partition("\n## ")[0]
    wires = {cells[0].strip("`") for cells in rows(told)}

    assert wires - {"wire"} == set(DIALECTS)


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{file.name}: {target}"
        for file in [*DOCS.glob("*.md"), ROOT / "README.md"]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text())
        if not (file.parent / target).exists()
    ]

    assert broken == []


def test_pages_that_the_code_names_exist() -> None:
    named = {name for file, _ in modules() for name in re.findall(r"docs/([a-z_]+\.md)", file.read_text())}

    assert named - {file.name for file in DOCS.glob("*.md")} == set()


def test_every_page_is_reached_from_the_index() -> None:
    index = page("index.md")

    assert [file.name for file in DOCS.glob("*.md") if file.name != "index.md" and f"({file.name})" not in index] == []
