"""Wire formats: bytes in, usage out. One file each, and one line in the table.

A dialect reads requests (model, size, limits), reads answers while they pass (usage, model, reported cost), estimates
where a provider gives no figures, and writes our own errors in the provider's shape. It knows no network, clock or log.

Flags that a reading may carry:

- ``malformed_body``: an answer that ended and was not what its wire promises.
- ``decode_failed``: a content encoding that is unknown or broken; nothing was read.
- ``body_too_large``: a document, event or element above 32 MiB; usage was sought in what remained.
- ``reasoning_outside_output``, ``output_from_total``, ``cached_outside_input``, ``reasoning_exceeds_output``,
  ``tokens_outside_totals``, ``byok``: see ``openai_usage``.
- ``tool_use_outside_totals``: the answer used tools that are charged beside its tokens (see ``responses_stream``).
- ``iterations_outside_totals``: see ``anthropic_messages``.
- ``unknown_service_tier``: see ``gemini_generate``.
"""

from collections.abc import Mapping

from lava_proxy.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from lava_proxy.dialects.base import Dialect, Reader
from lava_proxy.dialects.gemini_generate import GEMINI_GENERATE
from lava_proxy.dialects.openai_chat import OPENAI_CHAT
from lava_proxy.dialects.openai_completions import OPENAI_COMPLETIONS
from lava_proxy.dialects.openai_embeddings import OPENAI_EMBEDDINGS
from lava_proxy.dialects.openai_responses import OPENAI_RESPONSES

__all__ = ["DIALECTS", "Dialect", "Reader"]

DIALECTS: Mapping[str, Dialect] = {
    "openai_chat": OPENAI_CHAT,
    "openai_completions": OPENAI_COMPLETIONS,
    "openai_responses": OPENAI_RESPONSES,
    "openai_embeddings": OPENAI_EMBEDDINGS,
    "anthropic_messages": ANTHROPIC_MESSAGES,
    "gemini_generate": GEMINI_GENERATE,
}
