"""What a path alone tells of its wire: for recorded traffic to hosts or paths that no file describes.

A proxy never guesses: there, an unknown endpoint is flagged. But who imports a recording says that it is AI traffic, and
`…/chat/completions` is the same wire on a company's gateway and on a laptop as at OpenAI. What was found so is flagged.
"""

import re
from urllib.parse import unquote

from msgspec import Struct

from lava_proxy.providers.model import Action, Endpoint, StreamRule, StreamUsage

_MODEL = r"(?P<model>[^/]+)"


class Shape(Struct, frozen=True, kw_only=True):
    """Requests of one kind. ``dialect`` of "": nothing is metered there."""

    methods: frozenset[str]
    path: re.Pattern[str]
    """Searched in the path, which has no query."""
    dialect: str
    op: str
    host: re.Pattern[str] | None = None


def _shape(path: str, dialect: str, op: str, *, methods: str = "POST", host: str | None = None) -> Shape:
    return Shape(
        methods=frozenset(methods.split()),
        path=re.compile(path, re.IGNORECASE),
        dialect=dialect,
        op=op,
        host=re.compile(host, re.IGNORECASE) if host else None,
    )


_SOCKETS = "GET WS"

SHAPES: tuple[Shape, ...] = (
    # What looks like work and is none.
    _shape(r"/(?:count_tokens|count-tokens|input_tokens|tokenize)$|:countTokens$|count-tokens:rawPredict$", "", "free"),
    _shape(r"/moderations$|/threads(?:/[^/]+)?$|/threads/[^/]+/messages|/runs/[^/]+/cancel$", "", "free"),
    _shape(r"/(?:client_secrets|sessions|calls)$|/batches/[^/]+/(?:cancel|requests)$|/files$|/uploads", "", "free"),
    # Sessions.
    _shape(r"BidiGenerateContent", "gemini_live", "live", methods=_SOCKETS),
    _shape(r"/realtime$", "openai_realtime", "realtime", methods=_SOCKETS),
    _shape(r"/responses$", "openai_realtime", "responses", methods="WS"),
    # Makers whose paths others use as well.
    _shape(r"/v[12]/(?:chat|generate|embed|rerank|classify|summarize)$", "cohere", "cohere", host=r"cohere"),
    _shape(r"/audio/transcriptions$", "transcription", "transcription", host=r"cohere"),
    _shape(r"/v1/chat$", "openai_chat", "chat", host=r"(?:^|\.)writer\.com$"),
    _shape(r"/conversations(?:/[^/]+)?$", "openai_chat", "chat", host=r"mistral\.ai$"),
    _shape(r"/agents/[^/]+$", "bedrock_agent", "agent", host=r"bedrock-agent-runtime"),
    _shape(r"/complete$|/evaluate$|/embed$|/semantic_embed$", "aleph_alpha", "completions", host=r"aleph-alpha"),
    _shape(r"/text-to-speech|/sound-generation|/speech-to-|/music|/text-to-dialogue", "elevenlabs", "speech", host=r"elevenlabs"),
    _shape(r"/(?:pipeline|models)/(?!.*/v1/)", "huggingface", "inference", host=r"huggingface\.co$"),
    _shape(r"^/(?:generate(?:_stream)?|embed)?$", "huggingface", "inference", host=r"huggingface\.cloud$"),
    _shape(r"^/(?!.*/(?:status|cancel|completions|responses)$)[^/]+/", "media_task", "inference", methods="POST GET", host=r"(?:^|\.)fal\.run$"),
    _shape(r"/accounts/[^/]+/ai/run/(?P<model>.+)$", "cloudflare", "run"),
    _shape(r"/services/(?:aigc|embeddings|audio|rerank)/", "dashscope", "generation"),
    _shape(r"/ml/v[^/]+/(?:deployments/[^/]+/)?(?:generation/text(?:_stream)?|text/(?:generation(?:_stream)?|embeddings|rerank))$", "watsonx", "generation"),
    # Token wires.
    _shape(r"/chat/completions$|/(?:fim|agents)/completions$|/text/chat(?:_stream)?$", "openai_chat", "chat"),
    _shape(r"/inference:complete$", "openai_chat", "chat"),
    _shape(rf"/serving-endpoints/{_MODEL}/invocations$", "openai_chat", "chat"),
    _shape(r"/completions$", "openai_completions", "completions"),
    _shape(r"/responses(?:/compact)?$", "openai_responses", "responses"),
    _shape(r"/v1/complete$", "anthropic_complete", "completions"),
    _shape(r"/messages$", "anthropic_messages", "messages"),
    _shape(rf"/publishers/(?!anthropic/)[^/]+/models/{_MODEL}:(?:streamRawPredict|rawPredict)$", "openai_chat", "chat"),
    _shape(rf"/models/{_MODEL}:(?:streamRawPredict|rawPredict)$", "anthropic_messages", "messages"),
    _shape(rf"/{_MODEL}:generateContent$", "gemini_generate", "generate"),
    _shape(rf"/{_MODEL}:streamGenerateContent$", "gemini_generate", "stream_generate"),
    _shape(rf"/{_MODEL}:(?:batchEmbedContents|embedContent)$", "gemini_embed", "embeddings"),
    _shape(rf"/{_MODEL}:(?:predict|predictLongRunning)$", "google_predict", "predict"),
    _shape(r"/interactions$", "gemini_interactions", "interactions"),
    _shape(rf"/model/{_MODEL}/converse$", "bedrock_converse", "converse"),
    _shape(rf"/model/{_MODEL}/converse-stream$", "bedrock_converse", "converse_stream"),
    _shape(rf"/model/{_MODEL}/invoke$", "bedrock_invoke", "invoke"),
    _shape(rf"/model/{_MODEL}/invoke-with-response-stream$", "bedrock_invoke", "invoke_stream"),
    _shape(r"/agents/[^/]+/agentAliases/[^/]+/sessions/[^/]+/text$|/retrieveAndGenerate(?:Stream)?$", "bedrock_agent", "agent"),
    _shape(r"/api/(?:chat|generate|embed|embeddings)$", "ollama", "chat"),
    _shape(r"/(?:embeddings|multimodalembeddings|contextualizedembeddings)$", "openai_embeddings", "embeddings"),
    _shape(r"/(?:rerank|reranking)$", "rerank", "rerank"),
    _shape(r"/threads/(?:[^/]+/)?runs(?:/[^/]+/submit_tool_outputs)?$", "openai_runs", "runs"),
    # Media.
    _shape(r"/images?(?:/(?:generations?|edits?|variations|generate))?$|/openai-images/", "openai_images", "images"),
    _shape(r"/audio/speech$|/tts(?:/|$)|/text-to-speech|/t2a_v2$|/speak$|/synthesize", "speech", "speech"),
    _shape(r"/audio/(?:transcriptions|translations)$|/stt$|/listen$|/speech-to-text$", "transcription", "transcription"),
    _shape(r"/transcripts?$|/speechtotext/v1/jobs$|/pre-recorded$|/transcriptions(?::transcribe)?$", "transcription", "transcription"),
    _shape(r"/transcripts?/[^/]+$|/speechtotext/v1/jobs/[^/]+$|/pre-recorded/[^/]+$", "transcription", "poll", methods="GET"),
    _shape(r"/videos(?:/(?:generations|edits|extensions|remix))?$|/videos/[^/]+/remix$", "video_task", "video"),
    _shape(r"/videos/[^/]+$", "video_task", "poll", methods="GET"),
    _shape(r"/predictions$", "replicate", "predictions"),
    _shape(r"/predictions/[^/]+$", "replicate", "poll", methods="GET"),
    _shape(r"/ocr$", "doc_pages", "ocr"),
    # What is looked at again.
    _shape(r"/responses/[^/]+$", "openai_responses", "poll", methods="GET"),
    _shape(r"/interactions/[^/]+$", "gemini_interactions", "poll", methods="GET"),
    _shape(r"/threads/[^/]+/runs/[^/]+$", "openai_runs", "poll", methods="GET"),
    _shape(r"/batches/[^/]+(?:/results)?$|/batch/jobs/[^/]+$|/files/[^/]+/content$", "batch_results", "poll", methods="GET"),
    _shape(r"/batches$|/batch/jobs$", "batch_results", "batch"),
)


def shape_of(*, method: str, host: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """The endpoint that ``path`` (with or without query) looks like, and what its variables stand for."""
    bare = path.partition("?")[0].rstrip("/")
    for shape in SHAPES:
        if method not in shape.methods or (shape.host is not None and shape.host.search(host) is None):
            continue
        found = shape.path.search(bare)
        if found is not None:
            variables = {name: unquote(value) for name, value in found.groupdict().items() if value}
            return _endpoint(shape, method, bare), variables
    return None


def _endpoint(shape: Shape, method: str, path: str) -> Endpoint:
    return Endpoint(
        method=method,
        bases=("",),
        path=path,
        action=Action.METER if shape.dialect else Action.FREE,
        op=shape.op,
        dialect=shape.dialect or "openai_chat",
        stream=StreamRule(usage=StreamUsage.ALWAYS),
        model=("response:model", "path:model", "request:model"),
    )
