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
- ``invocation_metrics_differ``, ``blocked_by_guardrail``: see ``bedrock_invoke``.
- ``transcription_outside_totals``: see ``openai_realtime``. ``annotated_pages_in_pages``: see ``doc_pages``.
- ``seconds_measured``: the length of the uploaded file, for the answer did not tell; ``seconds_from_words``: the end of
  the last word.
"""

from collections.abc import Mapping

from lava_proxy.dialects.agent_calls import AGENT_CALLS
from lava_proxy.dialects.aleph_alpha import ALEPH_ALPHA
from lava_proxy.dialects.anthropic_complete import ANTHROPIC_COMPLETE
from lava_proxy.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from lava_proxy.dialects.base import Dialect, Reader
from lava_proxy.dialects.batch_results import BATCH_RESULTS
from lava_proxy.dialects.bedrock_agent import BEDROCK_AGENT
from lava_proxy.dialects.bedrock_converse import BEDROCK_CONVERSE
from lava_proxy.dialects.bedrock_invoke import BEDROCK_INVOKE
from lava_proxy.dialects.cloudflare import CLOUDFLARE
from lava_proxy.dialects.cohere import COHERE
from lava_proxy.dialects.dashscope import DASHSCOPE
from lava_proxy.dialects.doc_pages import DOC_PAGES
from lava_proxy.dialects.elevenlabs import ELEVENLABS
from lava_proxy.dialects.gemini_embed import GEMINI_EMBED
from lava_proxy.dialects.gemini_generate import GEMINI_GENERATE
from lava_proxy.dialects.gemini_interactions import GEMINI_INTERACTIONS
from lava_proxy.dialects.gemini_live import GEMINI_LIVE
from lava_proxy.dialects.google_predict import GOOGLE_PREDICT
from lava_proxy.dialects.huggingface import HUGGINGFACE
from lava_proxy.dialects.media_task import MEDIA_TASK
from lava_proxy.dialects.nested_usage import NESTED_USAGE
from lava_proxy.dialects.ollama import OLLAMA
from lava_proxy.dialects.openai_chat import OPENAI_CHAT
from lava_proxy.dialects.openai_completions import OPENAI_COMPLETIONS
from lava_proxy.dialects.openai_embeddings import OPENAI_EMBEDDINGS
from lava_proxy.dialects.openai_images import OPENAI_IMAGES
from lava_proxy.dialects.openai_realtime import OPENAI_REALTIME
from lava_proxy.dialects.openai_responses import OPENAI_RESPONSES
from lava_proxy.dialects.openai_runs import OPENAI_RUNS
from lava_proxy.dialects.replicate import REPLICATE
from lava_proxy.dialects.rerank import RERANK
from lava_proxy.dialects.speech import SPEECH
from lava_proxy.dialects.transcription import TRANSCRIPTION
from lava_proxy.dialects.video_task import VIDEO_TASK
from lava_proxy.dialects.watsonx import WATSONX
from lava_proxy.dialects.web_tools import WEB_TOOLS

__all__ = ["DIALECTS", "Dialect", "Reader"]

DIALECTS: Mapping[str, Dialect] = {
    "openai_chat": OPENAI_CHAT,
    "openai_completions": OPENAI_COMPLETIONS,
    "openai_responses": OPENAI_RESPONSES,
    "openai_embeddings": OPENAI_EMBEDDINGS,
    "anthropic_messages": ANTHROPIC_MESSAGES,
    "gemini_generate": GEMINI_GENERATE,
    "bedrock_converse": BEDROCK_CONVERSE,
    "bedrock_invoke": BEDROCK_INVOKE,
    "bedrock_agent": BEDROCK_AGENT,
    "cohere": COHERE,
    "ollama": OLLAMA,
    "gemini_interactions": GEMINI_INTERACTIONS,
    "gemini_embed": GEMINI_EMBED,
    "gemini_live": GEMINI_LIVE,
    "google_predict": GOOGLE_PREDICT,
    "watsonx": WATSONX,
    "rerank": RERANK,
    "openai_images": OPENAI_IMAGES,
    "speech": SPEECH,
    "transcription": TRANSCRIPTION,
    "openai_realtime": OPENAI_REALTIME,
    "openai_runs": OPENAI_RUNS,
    "batch_results": BATCH_RESULTS,
    "video_task": VIDEO_TASK,
    "replicate": REPLICATE,
    "media_task": MEDIA_TASK,
    "elevenlabs": ELEVENLABS,
    "web_tools": WEB_TOOLS,
    "doc_pages": DOC_PAGES,
    "agent_calls": AGENT_CALLS,
    "dashscope": DASHSCOPE,
    "cloudflare": CLOUDFLARE,
    "huggingface": HUGGINGFACE,
    "aleph_alpha": ALEPH_ALPHA,
    "anthropic_complete": ANTHROPIC_COMPLETE,
    "nested_usage": NESTED_USAGE,
}
