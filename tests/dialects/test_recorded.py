"""Real answers of real providers, recorded by other projects, are read exactly.

The rows are not ours and not in the project: they are read from ``../shared`` (or LAVA_SHARED), else these tests skip.
"""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
import zstandard

from lava_proxy.core.usage import RequestFacts
from lava_proxy.dialects import DIALECTS
from tests.dialects.feeding import cut_at, pieces, read_in
from tests.dialects.recorded import ARGUED, LISTED_PROVIDERS, Gate, Row, all_rows, misses, rows
from tests.dialects.recorded_report import judge

pytestmark = [pytest.mark.recorded, pytest.mark.slow]


@pytest.fixture(scope="module")
def every_row(shared: Path) -> list[Row]:
    return list(all_rows(shared))


def test_every_row_of_every_wire_is_read_exactly(every_row: list[Row]) -> None:
    judged = [(row, *judge(row)) for row in every_row]
    assert [note for _, outcome, note in judged if outcome == "missed"] == []
    assert {row.id for row, outcome, _ in judged if outcome == "argued"} == set(ARGUED)
    assert sum(outcome == "exact" for _, outcome, _ in judged) >= 4_880


def test_every_wire_reads_the_same_at_random_cuts(every_row: list[Row]) -> None:
    generator = random.Random(4)
    for row in every_row:
        if not row.is_by_body:
            cuts = [generator.randrange(len(row.body) + 1) for _ in range(generator.randint(1, 30))]
            assert row.reading(cut_at(row.body, cuts)) == row.reading(), row.id


def test_no_wire_reads_tokens_out_of_an_error(shared: Path) -> None:
    errors = [row for row in all_rows(shared, "errors.jsonl.gz") if not row.is_by_body]
    assert errors
    assert [row.id for row in errors if misses(row, row.reading())] == []


@pytest.fixture(scope="module")
def recorded(shared: Path) -> list[Row]:
    return list(rows(shared))


def listed(recorded: list[Row]) -> list[Row]:
    return [row for row in recorded if row.provider in LISTED_PROVIDERS]


def test_every_row_of_the_listed_providers_is_read_exactly(recorded: list[Row]) -> None:
    judged = [(row, *judge(row)) for row in listed(recorded)]
    assert [note for _, outcome, note in judged if outcome == "missed"] == []
    assert {row.id for row, outcome, _ in judged if outcome == "argued"} <= set(ARGUED)
    assert sum(outcome == "exact" for _, outcome, _ in judged) >= 3_700


def test_every_row_of_the_other_providers_with_these_wires_is_read_exactly(recorded: list[Row]) -> None:
    others = [row for row in recorded if row.provider not in LISTED_PROVIDERS]
    assert [note for outcome, note in map(judge, others) if outcome == "missed"] == []
    assert others


def test_rows_are_read_the_same_at_random_cuts_and_the_clients_bytes_stay(recorded: list[Row]) -> None:
    generator = random.Random(1)
    for row in recorded:
        cuts = [generator.randrange(len(row.body) + 1) for _ in range(generator.randint(1, 30))]
        whole = read_in([row.body], row.dialect)
        assert whole[1] == row.body
        assert read_in(cut_at(row.body, cuts), row.dialect) == whole, row.id


def test_rows_are_read_the_same_byte_by_byte(recorded: list[Row], full_length: bool) -> None:
    limit = 200_000 if full_length else 1_500
    chosen = [row for row in recorded if len(row.body) <= limit]
    assert len(chosen) > 1000
    for row in chosen:
        assert read_in(pieces(row.body, 1), row.dialect) == read_in([row.body], row.dialect), row.id


def test_a_reading_asked_for_in_between_changes_nothing(recorded: list[Row]) -> None:
    for row in recorded[::40]:
        reader = DIALECTS[row.dialect].reader(
            row.op, content_type="", content_encoding="", facts=facts_of(row), take_out_usage=False
        )
        for chunk in pieces(row.body, max(len(row.body) // 9, 1)):
            reader.feed(chunk)
            reader.reading()
        reader.finish()
        assert reader.reading() == read_in([row.body], row.dialect)[0], row.id


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("br", lambda body: brotli.compress(body, quality=4)), ("zstd", zstandard.compress)],
)
def test_rows_are_read_the_same_when_compressed(
    recorded: list[Row], encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    for row in recorded[::15]:
        encoded = encode(row.body)
        reading, client = read_in(pieces(encoded, 300), row.dialect, encoding=encoding)
        assert reading == read_in([row.body], row.dialect)[0], row.id
        assert client == encoded


def test_only_usage_events_are_taken_out_and_the_reading_stays(recorded: list[Row]) -> None:
    generator = random.Random(2)
    taken = 0
    for row in recorded:
        if row.dialect not in ("openai_chat", "openai_completions"):
            continue
        reading, client = read_in([row.body], row.dialect, take_out=True)
        cuts = [generator.randrange(len(row.body) + 1) for _ in range(10)]
        assert read_in(cut_at(row.body, cuts), row.dialect, take_out=True) == (reading, client), row.id
        assert reading == read_in([row.body], row.dialect)[0], row.id
        if client != row.body:
            taken += 1
            assert row.is_streamed
            assert lost_events(row.body, client) == 1, row.id
    assert taken > 150


def lost_events(body: bytes, client: bytes) -> int:
    """How many events were taken out; fails where anything but events with usage is missing."""
    kept = client.replace(b"\r\n", b"\n").split(b"\n\n")
    lost = 0
    for event in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        if kept and event == kept[0]:
            kept.pop(0)
        else:
            assert b'"usage"' in event
            lost += 1
    assert not kept
    return lost


def test_an_answer_cut_off_anywhere_invents_no_tokens(recorded: list[Row]) -> None:
    generator = random.Random(3)
    for row in recorded:
        if row.gate is not Gate.EXACT or not row.is_streamed:
            continue
        whole = read_in([row.body], row.dialect)[0].usage
        part = read_in([row.body[: generator.randrange(len(row.body))]], row.dialect, is_over=False)[0].usage
        assert (part.output_tokens or 0) <= (whole.output_tokens or 0), row.id
        if row.dialect != "gemini_generate":  # Gemini's first count of the prompt may be a few tokens above its last
            assert (part.input_tokens or 0) <= (whole.input_tokens or 0), row.id


def test_recorded_errors_are_read_without_tokens(shared: Path) -> None:
    errors = list(rows(shared, "errors.jsonl.gz"))
    assert errors
    for row in errors:
        assert misses(row, read_in([row.body], row.dialect)[0]) == [], row.id
        assert read_in(pieces(row.body, 5), row.dialect) == read_in([row.body], row.dialect), row.id


def test_recorded_requests_tell_their_model_and_size(recorded: list[Row]) -> None:
    named = 0
    for row in recorded:
        facts = facts_of(row)
        assert facts.choices >= 1
        named += facts.model is not None
    assert named > 4_000


def test_recorded_streams_that_do_not_ask_for_usage_can_be_made_to(recorded: list[Row]) -> None:
    changed = 0
    for row in recorded:
        asking = DIALECTS[row.dialect].ask_for_usage(row.request)
        if asking is row.request:
            continue
        changed += 1
        before, after = json.loads(row.request), json.loads(asking)
        assert after["stream_options"].pop("include_usage") is True
        before.get("stream_options", {}).pop("include_usage", None)
        assert {**after, "stream_options": after["stream_options"] or before.get("stream_options", {})} == {
            **before,
            "stream_options": before.get("stream_options", {}),
        }
    assert changed > 50


def facts_of(row: Row) -> RequestFacts:
    return DIALECTS[row.dialect].read_request(row.op, row.request, path_model=row.path_model)
