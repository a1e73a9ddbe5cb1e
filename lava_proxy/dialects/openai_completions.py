"""OpenAI's completions, the older wire: prompts instead of messages, ``text`` instead of ``delta``; else as chat."""

from lava_proxy.dialects.faults import openai_fault
from lava_proxy.dialects.openai_request import completions_facts, with_usage_asked
from lava_proxy.dialects.openai_stream import ChatAnswer
from lava_proxy.dialects.wire_format import WireFormat

OPENAI_COMPLETIONS = WireFormat(
    name="openai_completions",
    version=1,
    facts_of=completions_facts,
    interpreter_for=ChatAnswer,
    fault_body=openai_fault,
    with_usage_asked=with_usage_asked,
)
