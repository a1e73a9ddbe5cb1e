"""Cohere: what was consumed and what is charged are two things."""

from lava_proxy.core.usage import Usage
from lava_proxy.dialects import DIALECTS
from tests.dialects.feeding import as_bytes, exchange
from tests.dialects.samples_more import COHERE_LINES, COHERE_STREAM, COHERE_USAGE

USED = Usage(input_tokens=503, output_tokens=13, cached_input_tokens=448)
BILLED = Usage(input_tokens=8, output_tokens=10)


def test_tokens_are_the_usage_and_billed_units_stand_beside_it() -> None:
    found = exchange(
        "cohere", {"id": "x", "message": {"content": [{"type": "text", "text": "Rain"}]}, "usage": COHERE_USAGE}
    )
    assert (found.usage, found.billed) == (USED, BILLED)
    assert found.model is None


def test_a_stream_of_version_2_tells_it_at_its_end() -> None:
    found = exchange("cohere", COHERE_STREAM)
    assert (found.usage, found.billed, found.is_complete) == (USED, BILLED, True)
    assert found.output_text_characters == 4


def test_a_stream_of_version_1_is_lines() -> None:
    found = exchange("cohere", COHERE_LINES)
    assert found.usage == Usage(input_tokens=14, output_tokens=9)
    assert found.billed is None
    assert found.response_id == "g-1"
    assert found.is_complete


def test_rerank_is_counted_in_searches_and_asked_for_in_hundreds() -> None:
    found = exchange("cohere", {"results": [], "meta": {"billed_units": {"search_units": 2}}})
    assert found.usage == Usage(searches=2)
    asked = DIALECTS["cohere"].read_request(
        "rerank", as_bytes({"model": "rerank-v3.5", "query": "q", "documents": ["d"] * 101}), path_model=None
    )
    assert asked.counted == Usage(searches=2)
    assert not asked.has_output


def test_embedded_pictures_are_counted() -> None:
    assert exchange("cohere", {"meta": {"billed_units": {"images": 1}}}).usage == Usage(images=1)


def test_a_stream_that_ended_in_an_error_invents_nothing() -> None:
    body = b'data: {"type":"message-end","delta":{"finish_reason":"ERROR","usage":{}}}\n\n'
    found = exchange("cohere", body)
    assert found.is_error
    assert found.usage == Usage()
