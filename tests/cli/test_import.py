"""`lava import` as it is typed."""

import json
from pathlib import Path

from tests.cli.conftest import Lava
from tests.imports.recordings import COST, har, line, written


def test_a_dry_run_makes_no_home_and_books_nothing(lava: Lava, home: Path, tmp_path: Path) -> None:
    said = lava("import", "--dry-run", "--jsonl", written(tmp_path, "a.jsonl", line(1) + line(2)))
    assert said.code == 0
    documents = [json.loads(text) for text in said.out.splitlines()]
    assert [document["id"] for document in documents] == ["x1", "x2"]
    assert {document["cost"] for document in documents} == {COST}
    assert not home.exists()


def test_json_and_jsonl_are_the_same(lava: Lava, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", line(1))
    assert lava("import", "--dry-run", "--json", path).out == lava("import", "--dry-run", "--jsonl", path).out


def test_a_bad_line_is_told_and_the_rest_is_read(lava: Lava, tmp_path: Path) -> None:
    said = lava("import", "--dry-run", "--json", written(tmp_path, "a.jsonl", line(1) + b"nonsense\n" + line(3)))
    assert said.code == 2
    assert [json.loads(text).get("reason") for text in said.out.splitlines()] == [None, "unreadable", None]
    assert "a.jsonl:2:" in said.err


def test_an_import_is_booked_once(lava: Lava, tmp_path: Path) -> None:
    lava("customers", "create", "acme")
    lava("credits", "grant", "acme", "1.00")
    path = written(tmp_path, "a.har", har(3))
    first, again = lava("import", "--customer", "acme", path), lava("import", "--customer", "acme", path)
    assert "3 booked now" in first.err and "0 booked now" in again.err
    assert first.rows[0]["charge"] == "$0.00135" and again.rows[0]["booked_before"] == "3"
    assert len(lava("requests", "list", "--customer", "acme").rows) == 3
    assert lava("verify").code == 0


def test_several_files_and_formats_go_together(lava: Lava, tmp_path: Path) -> None:
    said = lava("import", "--dry-run", written(tmp_path, "a.jsonl", line(1)), written(tmp_path, "b.har", har(2)))
    assert said.rows[0]["exchanges"] == "3"


def test_what_is_wrong_with_the_question_is_said(lava: Lava, tmp_path: Path) -> None:
    assert lava("import", "--dry-run", str(tmp_path / "none")).code == 2
    assert lava("import", "--format", "xml", "--dry-run", written(tmp_path, "a", line(1))).code == 2
    assert lava("import", "--customer", "nobody", written(tmp_path, "b", line(1))).code == 3
