"""OpenAI's chat completions: OpenAI, Azure, and all providers that answer in its shape (see ``openai_usage``)."""

from msgspec.structs import replace

from lava_proxy.core.usage import Reading, Usage
from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.openai_request import chat_facts, with_usage_asked
from lava_proxy.dialects.openai_stream import ChatAnswer
from lava_proxy.dialects.pieces import count_in, laid_over
from lava_proxy.dialects.wire_format import Exchange, WireFormat


def _completed(reading: Reading, exchange: Exchange) -> Reading:
    """Fireworks counts the prompt in headers, which come before the body: there also where a stream was cut off."""
    prompt = count_in(exchange.headers.get("fireworks-prompt-tokens"))
    if prompt is None or reading.usage.input_tokens is not None:
        return reading
    cached = count_in(exchange.headers.get("fireworks-cached-prompt-tokens"))
    told = Usage(input_tokens=prompt, cached_input_tokens=cached)
    return replace(reading, usage=laid_over(told, reading.usage))


OPENAI_CHAT = WireFormat(
    name="openai_chat",
    version=1,
    facts_of=chat_facts,
    interpreter_for=ChatAnswer,
    fault_body=openai_fault,
    with_usage_asked=with_usage_asked,
    completed=_completed,
)
