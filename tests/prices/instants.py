"""Instants and names as the tests of prices write them."""

from datetime import datetime

OPENAI = ("lava:openai", "genai-prices:openai")
AZURE = ("lava:azure", "genai-prices:azure")
ANTHROPIC = ("lava:anthropic", "genai-prices:anthropic")
GOOGLE = ("lava:google", "genai-prices:google")
VERTEX = ("lava:google-vertex", "genai-prices:google")
MISTRAL = ("lava:mistral", "genai-prices:mistral")
DEEPSEEK = ("lava:deepseek", "genai-prices:deepseek")
GROQ = ("lava:groq", "genai-prices:groq")
XAI = ("lava:xai", "genai-prices:x-ai")
OPENROUTER = ("lava:openrouter", "genai-prices:openrouter")


def us(text: str) -> int:
    """Microseconds of an instant written as RFC 3339."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


NOW = us("2026-11-21T12:00:00Z")
