"""Google's embedContent and batchEmbedContents. Many answers carry no usage; where they do, it is generateContent's."""

from lava_proxy.core.usage import RequestFacts
from lava_proxy.dialects.faults import google_fault
from lava_proxy.dialects.gemini_generate import GeminiAnswer
from lava_proxy.dialects.json_text import JsonObject, name_of
from lava_proxy.dialects.pieces import plain_facts
from lava_proxy.dialects.wire_format import WireFormat


def _facts(request: JsonObject, path_model: str | None) -> RequestFacts:
    named = name_of(request.get("model"))
    return plain_facts(
        request,
        path_model or (named.removeprefix("models/") if named else None),
        ("content", "requests", "contents"),
        model_keys=(),
    )


GEMINI_EMBED = WireFormat(
    name="gemini_embed",
    version=1,
    facts_of=_facts,
    interpreter_for=GeminiAnswer,
    fault_body=google_fault,
)
