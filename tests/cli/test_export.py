"""`lava export`, in each format, into a pipe and into files."""

import csv
import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.cli.conftest import Lava


@pytest.fixture
def shop(lava: Lava) -> Lava:
    lava("init", "--mode", "test")
    for name in ("acme", "bolt"):
        lava("customers", "create", name)
        lava("credits", "grant", name, "5.000000001", "--note", 'a "note", with\ttabs')
    return lava


def test_csv_goes_to_the_pipe(shop: Lava) -> None:
    said = shop("export", "statements")
    rows = list(csv.DictReader(said.out.splitlines()))
    assert [row["reference_id"] for row in rows] == ["acme", "bolt"]
    assert rows[0]["amount"] == "5.0000000010" and rows[0]["note"] == 'a "note", with\ttabs'
    assert rows[0]["at"].endswith("Z") and rows[0]["request_id"] == ""
    assert shop("export", "requests").out.startswith("request_id,caller_request_id,created_at")


def test_json_lines_have_amounts_as_texts(shop: Lava) -> None:
    lines = [json.loads(line) for line in shop("export", "postings", "--json").out.splitlines()]
    assert [line["amount"] for line in lines] == ["5.0000000010"] * 2
    assert lines[0]["source"] == "funding:manual" and lines[0]["request_id"] is None
    assert shop("export", "postings", "--format", "jsonl").out == shop("export", "postings", "--json").out
    assert shop("export", "postings", "--account", "revenue", "--json").out == ""


def test_a_file_is_whole_or_not_there(shop: Lava, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    said = shop("export", "statements", "--customer", "acme", "--out", str(out))
    assert said.code == 0 and said.out == "" and "1 rows" in said.err
    assert len(out.read_text().splitlines()) == 2
    assert shop("export", "statements", "--out", str(tmp_path / "none" / "x")).code == 2
    assert shop("export", "statements", "--customer", "nobody", "--out", str(tmp_path / "y")).code == 3
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.csv"]


def test_parquet_has_types_and_exact_amounts(shop: Lava, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra lava-proxy[parquet] is not installed")
    assert shop("export", "statements", "--format", "parquet").code == 2
    out = tmp_path / "out.parquet"
    assert shop("export", "statements", "--format", "parquet", "--out", str(out)).code == 0
    table = parquet.read_table(out)
    assert table.column("amount").to_pylist() == [Decimal("5.000000001")] * 2
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert shop("export", "requests", "--format", "parquet", "--out", str(tmp_path / "empty.parquet")).code == 0
    assert parquet.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_parquet_without_its_library_is_refused_with_what_to_do(
    shop: Lava, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = shop("export", "requests", "--format", "parquet", "--out", str(tmp_path / "x"))
    assert said.code == 2 and "lava-proxy[parquet]" in said.err
