"""Completions: as chat, with ``text`` for the answer and prompts for messages."""

import json

from lava_proxy.core.usage import Usage
from tests.dialects.feeding import DONE, event, read, read_in

COMPLETIONS = "openai_completions"


def chunk(text: str) -> dict[str, object]:
    return {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [{"text": text, "index": 0}]}


USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def test_a_document_gives_usage_and_text() -> None:
    reading = read(json.dumps({**chunk(" yes"), "usage": USAGE}).encode(), COMPLETIONS)
    assert reading.usage == Usage(input_tokens=5, output_tokens=7)
    assert reading.output_text_characters == 4


def test_a_stream_gives_the_usage_of_its_last_event_which_can_be_taken_out() -> None:
    usage = event({**chunk(""), "choices": [], "usage": USAGE})
    head = event({**chunk(" ye"), "usage": None}) + event({**chunk("s"), "usage": None})
    reading, client = read_in([head + usage + DONE], COMPLETIONS, take_out=True)
    assert reading.usage == Usage(input_tokens=5, output_tokens=7)
    assert reading.output_text_characters == 4
    assert client == head + DONE
