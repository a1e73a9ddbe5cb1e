"""`lava demo`: the whole story with real processes, each figure computed twice, nothing left behind."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lava_proxy.demo.story import ACME, GLOBEX, INITECH, Tokens, expected_charge, expected_cost
from tests.support.lava import LAVA, clean_environment, lava
from tests.support.proxy import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo's temporary home is to be."""
    place = tmp_path / "temporary"
    place.mkdir()
    return place


def test_the_demo_tells_the_whole_story_and_leaves_nothing_behind(tmp_path: Path, folder: Path) -> None:
    environment = clean_environment(tmp_path / "unused", TMPDIR=str(folder))
    said = lava(tmp_path, "demo", "--json", environment=environment)
    assert said.code == 0, said.out + said.err
    document: Any = said.json()
    assert (document["ok"], document["mode"], document["mismatches"]) == (True, "test", [])
    told = [event["event"] for event in document["events"]]
    assert told.count("customer") == 3 and told.count("refused") == 1
    assert [event["how"] for event in document["events"] if event["event"] == "call"].count("aborted") == 1
    assert next(event for event in document["events"] if event["event"] == "verify")["ok"] is True
    assert list(folder.iterdir()) == [] and not (tmp_path / "unused").exists()


def test_piped_it_is_plain_and_says_what_to_do_next(tmp_path: Path) -> None:
    said = lava(tmp_path / "unused", "demo")
    assert said.code == 0 and "\x1b" not in said.out
    assert "402 refused" in said.out and "margin" in said.out and "lava verify: the books proved" in said.out
    assert said.out.rstrip().splitlines()[-1].strip().startswith("lava doctor --prove")


def test_a_kept_home_can_be_looked_at(tmp_path: Path, folder: Path) -> None:
    environment = clean_environment(tmp_path / "unused", TMPDIR=str(folder))
    home = Path(lava(tmp_path, "demo", "--keep", "--json", environment=environment).json()["home"])
    customers = lava(home, "customers", "list", "--json").json()["data"]
    assert {customer["reference_id"] for customer in customers} == {"acme", "globex", "initech"}
    assert lava(home, "verify").code == 0


def test_an_interrupted_demo_leaves_no_process_and_no_folder(tmp_path: Path, folder: Path) -> None:
    environment = clean_environment(tmp_path / "unused", TMPDIR=str(folder))
    with subprocess.Popen(
        [*LAVA, "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("Proxy http"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert eventually(lambda: list(folder.iterdir()) == [])


@pytest.fixture
def spoiled(tmp_path: Path) -> Iterator[Path]:
    """A folder whose ``sitecustomize`` makes the scenario's own arithmetic wrong."""
    place = tmp_path / "spoiled"
    place.mkdir()
    lines = (
        "import sys",
        "if 'lava_proxy.demo' in sys.orig_argv:",
        "    from lava_proxy.demo import story",
        "    story.CENT += 1",
    )
    (place / "sitecustomize.py").write_text("\n".join(lines))
    yield place
    shutil.rmtree(place)


def test_a_figure_that_is_not_as_computed_is_told_and_ends_with_1(tmp_path: Path, spoiled: Path) -> None:
    environment = clean_environment(tmp_path / "unused", PYTHONPATH=str(spoiled))
    said = lava(tmp_path, "demo", "--json", environment=environment)
    assert said.code == 1
    assert [
        line for line in said.json()["mismatches"] if line.startswith("initech, gpt-4o-mini: charge: 20000000, not")
    ]


def test_the_storys_own_arithmetic_is_the_one_on_paper() -> None:
    tokens = Tokens(input=400, output=800)
    cost = expected_cost(tokens, input_nanos=Fraction(150), output_nanos=Fraction(600))
    assert cost == 540_000
    assert expected_charge(ACME, tokens, cost, tokens_before=0) == 702_000
    assert expected_charge(GLOBEX, tokens, cost, tokens_before=0) == 1_000 * 12_000 + 200 * 8_000
    assert expected_charge(GLOBEX, tokens, cost, tokens_before=5_000) == 1_200 * 8_000
    assert expected_charge(INITECH, tokens, cost, tokens_before=0) == 20_000_000
