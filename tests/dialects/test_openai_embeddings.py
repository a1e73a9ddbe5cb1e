"""Embeddings: a little usage in a lot of numbers."""

import json
import random

import pytest

from lava_proxy.core.usage import NO_USAGE, Usage
from tests.dialects.feeding import pieces, read, read_in
from tests.dialects.samples import EMBEDDINGS_DOCUMENT

EMBEDDINGS = "openai_embeddings"


def large(*, order: str, numbers: int = 120_000, usage: object = None) -> bytes:
    generator = random.Random(7)
    vector = [round(generator.uniform(-1, 1), 9) for _ in range(numbers)]
    members = {
        "object": "list",
        "data": [{"object": "embedding", "embedding": vector, "index": 0}],
        "model": "embed-1",
        "usage": usage or {"prompt_tokens": 11, "total_tokens": 11},
    }
    return json.dumps({name: members[name] for name in order.split()}).encode()


def test_the_prompt_is_the_input_and_there_is_no_output() -> None:
    reading = read(EMBEDDINGS_DOCUMENT, EMBEDDINGS)
    assert reading.usage == Usage(input_tokens=9)
    assert reading.model == "text-embedding-3-small"
    assert reading.is_complete


def test_a_lone_total_is_the_input() -> None:
    body = b'{"object":"list","data":[],"model":"voyage-3","usage":{"total_tokens":14}}'
    assert read(body, EMBEDDINGS).usage == Usage(input_tokens=14)


@pytest.mark.parametrize(
    "order",
    ["object data model usage", "model object data usage", "usage model data object", "data object usage model"],
)
def test_a_large_answer_is_read_from_its_ends_wherever_model_and_usage_stand(order: str) -> None:
    body = large(order=order)
    assert len(body) > 1 << 20
    reading, _ = read_in(pieces(body, 50_000), EMBEDDINGS)
    assert reading.usage == Usage(input_tokens=11)
    assert reading.model == "embed-1"
    assert reading.is_complete


def test_an_answer_beyond_all_bounds_is_still_read_and_flagged() -> None:
    head, tail = b'{"object":"list","data":[0', b'],"model":"embed-1","usage":{"prompt_tokens":11,"total_tokens":11}}'
    reading, _ = read_in([head, *([b",0.123456789" * 80_000] * 40), tail], EMBEDDINGS)
    assert reading.usage == Usage(input_tokens=11)
    assert reading.flags == ("body_too_large",)


def test_usage_inside_the_numbers_of_a_large_answer_is_not_the_answers_usage() -> None:
    inner = b'{"object":"list","data":[' + b"0," * 100_000 + b'{"usage":{"prompt_tokens":1}}],"model":"m"}'
    assert read_in([inner], EMBEDDINGS)[0].usage == NO_USAGE


def test_a_cost_is_read() -> None:
    cost = {"cost": {"input_cost": 0.000001, "total_cost": 0.000001, "currency": "USD"}}
    body = large(order="data model usage", numbers=3, usage={"prompt_tokens": 5, **cost})
    assert str(read(body, EMBEDDINGS).reported_cost) == "0.000001"


def test_an_answer_that_was_cut_off_has_no_usage() -> None:
    reading, _ = read_in([EMBEDDINGS_DOCUMENT[:-9]], EMBEDDINGS)
    assert reading.usage == NO_USAGE
    assert reading.flags == ("malformed_body",)
    assert not reading.is_complete
