"""Token counts where a provider gives none: from the size of the text, rounded up.

The rule: one token for each 3 UTF-8 bytes of text, rounded up, and 16 tokens more for what frames it: roles, the
markup of tool calls. Recorded answers of 150 and more tokens of plain text have a median of 4.1 to 4.8 bytes a token by
model, and 3.0 with the newest Claude; a Chinese or Japanese character has 3 bytes and is about one token. So the rule
lies a quarter to a half above prose, and below only for long runs of digits, base64 and rare scripts, and for thinking
that is charged and not shown. No tokenizer makes more tokens than bytes.
"""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, RequestFacts, Usage

BYTES_PER_TOKEN = 3
FRAMING_TOKENS = 16


def estimated_usage(facts: RequestFacts, reading: Reading) -> Usage:
    """The provider's figures where it gave them, estimates for the input and output tokens that it did not tell."""
    usage = reading.usage
    if usage.input_tokens is None:
        usage = replace(usage, input_tokens=_estimated_input(facts, usage))
    if usage.output_tokens is None and facts.has_output:
        usage = replace(usage, output_tokens=_estimated_output(reading, usage))
    return usage


def tokens_of_text(text_bytes: int) -> int:
    """How many tokens ``text_bytes`` of text may be."""
    return -(-text_bytes // BYTES_PER_TOKEN)


def _estimated_input(facts: RequestFacts, usage: Usage) -> int:
    estimate = tokens_of_text(facts.input_text_bytes) + facts.input_other_tokens
    if facts.has_output:
        estimate += FRAMING_TOKENS
    parts = (usage.cached_input_tokens or 0) + (usage.cache_write_tokens or 0)
    return max(estimate, parts)


def _estimated_output(reading: Reading, usage: Usage) -> int:
    text_bytes = reading.output_text_bytes
    estimate = tokens_of_text(text_bytes) + FRAMING_TOKENS if text_bytes else 0
    return max(estimate, usage.reasoning_tokens or 0)
