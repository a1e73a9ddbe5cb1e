"""Estimates where a provider gives no figures: from the text, rounded up; never over what the provider said."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lava_proxy.core.usage import NO_USAGE, Reading, RequestFacts, Usage
from lava_proxy.dialects import DIALECTS
from lava_proxy.dialects.estimating import FRAMING_TOKENS

FACTS = RequestFacts(model="m", is_stream=True, input_text_characters=300, input_text_bytes=301, input_other_tokens=50)


def estimate(reading: Reading, facts: RequestFacts = FACTS) -> Usage:
    return DIALECTS["openai_chat"].estimate("chat", facts, reading)


def test_input_comes_from_the_request_and_output_from_the_text_seen() -> None:
    seen = Reading(usage=NO_USAGE, output_text_characters=100, output_text_bytes=100)
    assert estimate(seen) == Usage(input_tokens=101 + 50 + FRAMING_TOKENS, output_tokens=34 + FRAMING_TOKENS)


def test_an_answer_without_text_is_estimated_without_output() -> None:
    assert estimate(Reading(usage=NO_USAGE)).output_tokens == 0


def test_the_providers_figures_stand() -> None:
    told = Usage(input_tokens=7, cached_input_tokens=3, output_tokens=0)
    assert estimate(Reading(usage=told, output_text_bytes=999)) == told


def test_only_what_is_missing_is_estimated() -> None:
    told = Usage(input_tokens=900, cached_input_tokens=800)
    assert estimate(Reading(usage=told, output_text_bytes=30)) == replace(told, output_tokens=10 + FRAMING_TOKENS)


def test_an_estimate_is_not_smaller_than_the_parts_that_were_told() -> None:
    told = Usage(cached_input_tokens=5000, reasoning_tokens=6000)
    usage = estimate(Reading(usage=told))
    assert (usage.input_tokens, usage.output_tokens) == (5000, 6000)


def test_embeddings_have_input_alone() -> None:
    facts = replace(FACTS, has_output=False, input_other_tokens=0)
    assert estimate(Reading(usage=NO_USAGE), facts) == Usage(input_tokens=101)


@given(size=st.integers(min_value=0, max_value=10**7), more=st.integers(min_value=0, max_value=10**6))
def test_more_text_is_never_fewer_tokens(size: int, more: int) -> None:
    def output(text_bytes: int) -> int:
        return estimate(Reading(usage=NO_USAGE, output_text_bytes=text_bytes)).output_tokens or 0

    assert output(size) <= output(size + more)
    assert 3 * output(size) >= size
