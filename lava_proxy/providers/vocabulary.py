"""The closed lists of words that a provider file may use. A word stands here before any file may say it."""

DIALECTS = (
    "openai_chat",
    "openai_completions",
    "openai_responses",
    "openai_embeddings",
    "anthropic_messages",
    "gemini_generate",
    "bedrock_converse",
    "bedrock_invoke",
    "bedrock_agent",
    "cohere",
    "ollama",
    "gemini_interactions",
    "gemini_embed",
    "gemini_live",
    "google_predict",
    "watsonx",
    "rerank",
    "openai_images",
    "speech",
    "transcription",
    "openai_realtime",
    "openai_runs",
    "batch_results",
    "video_task",
    "replicate",
    "media_task",
    "elevenlabs",
    "web_tools",
    "doc_pages",
    "agent_calls",
    "dashscope",
    "cloudflare",
    "huggingface",
    "aleph_alpha",
    "anthropic_complete",
    "nested_usage",
)
"""The wire formats that an endpoint may name. An endpoint whose format has no reader yet is handled as an unknown one:
passed on or blocked by the setting ``unknown_endpoint``, recorded and flagged."""

UNITS = (
    "tokens",
    "characters",
    "bytes",
    "seconds",
    "minutes",
    "images",
    "megapixels",
    "video_seconds",
    "searches",
    "pages",
    "requests",
    "credits",
    "compute_seconds",
)
"""What providers bill by, for people and the table of providers. The price book has the exact units."""

INJECTIONS = ("stream_options.include_usage",)
"""Options that may be added to a request."""

LOCAL = "self-hosted"
"""The category of packaged providers that answer on the caller's own machine."""
