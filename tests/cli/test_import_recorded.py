"""The whole of the recorded traffic through `lava import`, held against what is expected of it.

The rows are not in the project: they are read from ``../shared`` (or LAVA_SHARED), else these tests skip.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Lava
from tests.dialects.recorded import ARGUED, COUNTS

pytestmark = [pytest.mark.recorded, pytest.mark.slow]


def raw_rows(shared: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(shared / "traffic" / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def documents(lava: Lava, path: Path) -> dict[str, dict[str, Any]]:
    said = lava("import", "--dry-run", "--json", str(path))
    assert said.code == 0, said.err
    return {document["id"]: document for document in map(json.loads, said.out.splitlines())}


def is_as_expected(row: dict[str, Any], document: dict[str, Any]) -> bool:
    """By the recordings' own rule: sure rows exactly, unsure ones by either reading, and no tokens where none are expected."""
    usage, expected = document["usage"], row["expected"]
    if expected is None:
        return not any(usage.get(name) for name in COUNTS)
    extra = (expected.get("extra") or {}) if row["oracle"].get("unsure") else {}
    counts = all((usage.get(name) or 0) in {expected[name] or 0, extra.get(f"{name}_alt")} for name in COUNTS)
    return counts and (not expected["model"] or document["model"] == expected["model"])


def test_every_exchange_is_told_as_expected(lava: Lava, shared: Path) -> None:
    found = documents(lava, shared / "traffic" / "recorded.jsonl.gz")
    rows = [row for row in raw_rows(shared, "recorded.jsonl.gz") if not row["flags"].get("response_truncated")]
    missed = {row["id"] for row in rows if not is_as_expected(row, found[row["id"]])}
    assert missed == set(ARGUED)
    assert len(rows) > 5_000


def test_seconds_pictures_and_characters_are_told_as_expected(lava: Lava, shared: Path) -> None:
    found = documents(lava, shared / "traffic" / "recorded.jsonl.gz")
    held = 0
    for row in raw_rows(shared, "recorded.jsonl.gz"):
        for name in ("seconds", "images", "input_characters"):
            if row["expected"] and row["expected"][name] is not None and not row["flags"].get("response_truncated"):
                assert found[row["id"]]["usage"][name] == pytest.approx(row["expected"][name], abs=0.001), row["id"]
                held += 1
    assert held >= 50


def test_no_error_tells_tokens(lava: Lava, shared: Path) -> None:
    found = documents(lava, shared / "traffic" / "errors.jsonl.gz")
    assert found
    assert [key for key, document in found.items() if any(document["usage"].get(name) for name in COUNTS)] == []


def test_a_second_import_of_it_all_books_nothing(lava: Lava, shared: Path) -> None:
    path = str(shared / "traffic" / "recorded.jsonl.gz")
    lava("customers", "create", "acme")
    assert lava("import", "--customer", "acme", path).code == 0
    again = lava("import", "--customer", "acme", path)
    assert "0 booked now" in again.err
    assert lava("verify").code == 0
