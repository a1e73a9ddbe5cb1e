"""The closed lists of words that a provider file may use. A word stands here before any file may say it."""

DIALECTS = (
    "openai_chat",
    "openai_completions",
    "openai_responses",
    "openai_embeddings",
    "openai_images",
    "openai_audio",
    "openai_realtime",
    "openai_batches",
    "openai_videos",
    "openai_assistants",
    "anthropic_messages",
    "anthropic_batches",
    "anthropic_complete",
    "gemini_generate",
    "gemini_embeddings",
    "gemini_interactions",
    "gemini_live",
    "google_predict",
    "bedrock_converse",
    "bedrock_invoke",
    "bedrock_agent",
    "cohere",
    "mistral_ocr",
    "dashscope",
    "deepinfra",
    "edenai",
    "cloudflare",
    "huggingface",
    "ollama",
    "watsonx",
    "oci",
    "yandex",
    "jina",
    "generic_json",
    "elevenlabs",
    "deepgram",
    "assemblyai",
    "tts_chars",
    "stt_seconds",
    "replicate",
    "fal",
    "bfl",
    "kling",
    "runway",
    "runware",
    "image_count",
    "async_task",
    "agent_minutes",
    "request",
    "exa",
    "dataforseo",
    "deepl",
    "doc_pages",
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
