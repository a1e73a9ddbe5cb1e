"""OpenAI's responses: OpenAI, Azure, xAI, OpenRouter and others (see ``responses_stream``)."""

from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.openai_request import responses_facts
from lava_proxy.dialects.responses_stream import ResponsesAnswer
from lava_proxy.dialects.wire_format import WireFormat

OPENAI_RESPONSES = WireFormat(
    name="openai_responses",
    version=1,
    facts_of=responses_facts,
    interpreter_for=ResponsesAnswer,
    fault_body=openai_fault,
)
