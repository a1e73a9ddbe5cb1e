"""Gemini: events, arrays and documents; counts beside counts; modalities; enums as integers."""

import json

import pytest

from lava_proxy.core.usage import NO_USAGE, Reading, Usage
from tests.dialects.feeding import event, pieces, read, read_in
from tests.dialects.samples import GEMINI_ARRAY, GEMINI_PIECES, GEMINI_STREAM, gemini_piece

GEMINI = "gemini_generate"


def usage_of(counts: object, **fields: object) -> Reading:
    return read(json.dumps({"candidates": [], "usageMetadata": counts, **fields}).encode(), GEMINI)


def test_thoughts_stand_beside_candidates_and_a_key_that_goes_missing_is_kept() -> None:
    reading = read(GEMINI_STREAM, GEMINI)
    assert reading.usage == Usage(input_tokens=40, output_tokens=31, reasoning_tokens=27)
    assert (reading.model, reading.response_id) == ("gemini-2.5-pro", "r1")
    assert reading.is_complete
    assert reading.output_text_characters == 8


def test_an_array_in_pieces_reads_as_the_same_events() -> None:
    assert read(GEMINI_ARRAY, GEMINI) == read(GEMINI_STREAM, GEMINI)


def test_an_element_of_the_array_is_read_as_soon_as_it_is_whole() -> None:
    first = len(json.dumps(GEMINI_PIECES[0], indent=1)) + 1
    before, _ = read_in(pieces(GEMINI_ARRAY[: first - 1], 10), GEMINI, is_over=False)
    after, _ = read_in(pieces(GEMINI_ARRAY[:first], 10), GEMINI, is_over=False)
    assert before.usage == NO_USAGE
    assert after.usage == Usage(input_tokens=40, output_tokens=20, reasoning_tokens=20)
    assert not after.is_complete


def test_an_array_that_was_cut_off_says_so() -> None:
    reading = read(GEMINI_ARRAY[:-40], GEMINI)
    assert "malformed_body" in reading.flags
    assert reading.usage.input_tokens == 40


def test_tool_prompts_stand_beside_the_prompt() -> None:
    counts = {"promptTokenCount": 30, "toolUsePromptTokenCount": 200, "candidatesTokenCount": 5, "totalTokenCount": 235}
    assert usage_of(counts).usage == Usage(input_tokens=230, output_tokens=5)


def test_an_answer_that_thought_up_to_its_limit_has_output_without_candidates() -> None:
    assert usage_of({"promptTokenCount": 5, "thoughtsTokenCount": 60}).usage == Usage(
        input_tokens=5, output_tokens=60, reasoning_tokens=60
    )


@pytest.mark.parametrize(("image", "audio"), [("IMAGE", "AUDIO"), (2, 4)], ids=["names", "integers"])
def test_modalities_are_told_apart_by_name_and_by_number(image: object, audio: object) -> None:
    counts = {
        "promptTokenCount": 400,
        "cachedContentTokenCount": 90,
        "candidatesTokenCount": 1300,
        "promptTokensDetails": [{"modality": image, "tokenCount": 258}, {"modality": audio, "tokenCount": 96}],
        "cacheTokensDetails": [{"modality": audio, "tokenCount": 64}],
        "candidatesTokensDetails": [{"modality": image, "tokenCount": 1290}],
        "trafficType": 1,
    }
    assert usage_of(counts).usage == Usage(
        input_tokens=400,
        cached_input_tokens=90,
        cached_audio_tokens=64,
        input_audio_tokens=96,
        input_image_tokens=258,
        output_tokens=1300,
        output_image_tokens=1290,
    )


@pytest.mark.parametrize(
    ("counts", "tier", "flags"),
    [
        ({}, None, ()),
        ({"trafficType": "ON_DEMAND"}, "standard", ()),
        ({"trafficType": 1}, "standard", ()),
        ({"serviceTier": "standard"}, "standard", ()),
        ({"serviceTier": "standard", "trafficType": "ON_DEMAND_FLEX"}, "flex", ()),
        ({"serviceTier": "flex", "trafficType": "ON_DEMAND"}, "flex", ()),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex", ()),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority", ()),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput", ()),
        ({"trafficType": 77}, None, ("unknown_service_tier",)),
        ({"trafficType": {}}, None, ("unknown_service_tier",)),
    ],
)
def test_the_traffic_type_gives_the_tier(counts: dict[str, object], tier: str | None, flags: tuple[str, ...]) -> None:
    reading = usage_of({"promptTokenCount": 5, **counts})
    assert (reading.service_tier, reading.flags) == (tier, flags)


def test_the_searches_of_grounding_are_counted_once_though_they_come_again() -> None:
    def grounded(text: str, queries: list[str]) -> dict[str, object]:
        piece = gemini_piece(text, promptTokenCount=3)
        piece["candidates"] = [{"content": {}, "groundingMetadata": {"webSearchQueries": queries}}]
        return piece

    body = event(grounded("a", ["x"])) + event(grounded("b", ["x", "y"])) + event(grounded("c", ["x", "y"]))
    assert read(body, GEMINI).usage.searches == 2


def test_function_calls_count_as_text() -> None:
    piece = gemini_piece("", promptTokenCount=3)
    piece["candidates"] = [{"content": {"parts": [{"functionCall": {"name": "go", "args": {"a": 1}}}]}}]
    assert read(event(piece), GEMINI).output_text_characters == len("go" + '{"a": 1}')


def test_a_function_call_cannot_pass_itself_off_as_usage() -> None:
    piece = gemini_piece("", promptTokenCount=300, candidatesTokenCount=20)
    args = {"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1}}
    spoof = {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": args}}]}}]}
    assert read(event(piece) + event(spoof), GEMINI).usage == Usage(input_tokens=300, output_tokens=20)


def test_a_blocked_prompt_is_complete_and_invents_no_tokens() -> None:
    reading = usage_of({"trafficType": "ON_DEMAND"}, promptFeedback={"blockReason": "MODEL_ARMOR"})
    assert reading.usage == NO_USAGE
    assert reading.is_complete


def test_an_error_in_an_array_is_an_error() -> None:
    reading = read(b'[{"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}\n]', GEMINI)
    assert reading.is_error
    assert reading.usage == NO_USAGE


def test_half_a_document_still_counts_its_text() -> None:
    whole = json.dumps(gemini_piece("All that was said", promptTokenCount=3)).encode()
    reading, _ = read_in([whole[:-30]], GEMINI, is_over=False)
    assert reading.output_text_characters == 17
    assert not reading.is_complete
