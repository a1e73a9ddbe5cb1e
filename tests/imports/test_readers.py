"""Recordings of every format become the same exchanges; what cannot be read is told, and the rest goes on."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.recorded import Recorded, Unreadable
from lava_proxy.imports import read_recording
from tests.imports.recordings import ANSWER, REQUEST, URL, flows, har, line, written


def exchanges(path: str, form: str | None = None) -> list[Recorded | Unreadable]:
    return list(read_recording(path, form))


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", line()), ("a.har", har()), ("a.mitm", flows())])
@pytest.mark.parametrize("is_packed", [False, True])
def test_every_format_gives_the_same_exchange(tmp_path: Path, name: str, content: bytes, is_packed: bool) -> None:
    path = written(tmp_path, name + ".gz" * is_packed, gzip.compress(content) if is_packed else content)
    found = exchanges(path)[0]
    assert isinstance(found, Recorded)
    assert (found.method, found.url, found.status, found.line) == ("POST", URL, 200, 1)
    assert json.loads(found.request_body) == REQUEST
    assert json.loads(found.response_body) == ANSWER
    assert dict(found.response_headers)["content-type"] == "application/json"
    assert found.recording_id == exchanges(path)[0].recording_id


@pytest.mark.parametrize(("name", "content"), [("a.txt", line()), ("b.txt", har()), ("c.txt", flows())])
def test_the_format_is_seen_in_the_file_or_named(tmp_path: Path, name: str, content: bytes) -> None:
    assert isinstance(exchanges(written(tmp_path, name, content))[0], Recorded)
    with pytest.raises(InvalidInput, match="format: 'xml' is none of jsonl, har, mitm"):
        exchanges(written(tmp_path, "d", b""), "xml")


def test_a_bad_line_is_told_with_its_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    content = (
        b"\xef\xbb\xbf"
        + line(1)
        + b"\n{half\n"
        + line(4, response_body_b64=True)
        + b'{"id":"x5"}\n[]\n'
        + line(7).rstrip()
    )
    found = exchanges(written(tmp_path, "a.jsonl", content))
    assert [(piece.line, type(piece).__name__) for piece in found] == [
        (1, "Recorded"), (3, "Unreadable"), (4, "Unreadable"), (5, "Unreadable"), (6, "Unreadable"), (7, "Recorded"),
    ]  # fmt: skip
    told = {piece.line: piece for piece in found if isinstance(piece, Unreadable)}
    assert "url" in told[5].why and "base64" in told[4].why
    assert told[4].recording_id == "x4"


def test_binary_bodies_lists_of_headers_and_lines_without_an_id_are_read(tmp_path: Path) -> None:
    changed = line(
        1, id=None, response_body="AAEC", response_body_b64=True, response_headers=[["X-A", "1"], ["x-a", "2"]]
    )
    first, second = exchanges(written(tmp_path, "a.jsonl", changed + changed))
    assert isinstance(first, Recorded) and isinstance(second, Recorded)
    assert first.response_body == b"\x00\x01\x02"
    assert first.response_headers == (("x-a", "1"), ("x-a", "2"))
    assert len(first.recording_id) == 32 and first.recording_id == second.recording_id


def test_an_instant_is_kept_where_the_recording_tells(tmp_path: Path) -> None:
    found = exchanges(written(tmp_path, "a.har", har()))[0]
    assert isinstance(found, Recorded)
    assert found.at_us == 1_793_534_400_250_000


def test_a_har_that_ends_too_early_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    found = exchanges(written(tmp_path, "a.har", har(3, cut=len(har(2)))))
    assert [type(piece).__name__ for piece in found][:2] == ["Recorded", "Recorded"]
    assert isinstance(found[-1], Unreadable) and "ends in the middle" in found[-1].why
    none = exchanges(written(tmp_path, "b.har", b'{"log": {}}'))
    assert isinstance(none[0], Unreadable) and "no HAR" in none[0].why


def test_a_dumps_sessions_become_lines_and_other_flows_are_told(tmp_path: Path) -> None:
    call, session, other = exchanges(written(tmp_path, "a.mitm", flows()))
    assert isinstance(call, Recorded) and isinstance(session, Recorded)
    assert [json.loads(text)["type"] for text in session.response_body.splitlines()] == [
        "session.created",
        "response.done",
    ]
    assert json.loads(session.request_body) == {"type": "response.create"}
    assert isinstance(other, Unreadable) and "not HTTP" in other.why
    damaged = exchanges(written(tmp_path, "b.mitm", flows()[:-50]))
    assert isinstance(damaged[-1], Unreadable)


def test_a_file_that_is_not_there_or_is_cut_off_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"file: .* cannot be opened"):
        exchanges(str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match="cannot be read to its end"):
        exchanges(written(tmp_path, "a.gz", gzip.compress(line() * 50)[:-20]))


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", line() * 2_000), ("a.har", har(2_000))])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = written(tmp_path, name, content)
    assert len(content) > 1_000_000
    tracemalloc.start()
    count = sum(isinstance(piece, Recorded) for piece in read_recording(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2_000
    assert peak < 1_500_000
