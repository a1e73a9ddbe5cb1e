"""OpenAI's chat completions: OpenAI, Azure, and all providers that answer in its shape (see ``openai_usage``)."""

from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.openai_request import chat_facts, with_usage_asked
from lava_proxy.dialects.openai_stream import ChatAnswer
from lava_proxy.dialects.wire_format import WireFormat

OPENAI_CHAT = WireFormat(
    name="openai_chat",
    version=1,
    facts_of=chat_facts,
    interpreter_for=ChatAnswer,
    fault_body=openai_fault,
    with_usage_asked=with_usage_asked,
)
