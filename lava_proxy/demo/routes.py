"""Which format answers which path. Providers that copy OpenAI's paths under a prefix are told by the path's end."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from lava_proxy.demo import anthropic_format, gemini_format, openai_format, responses_format
from lava_proxy.demo.answer import Answer, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``ending`` is searched in the path; a group in it is the model."""

    method: str
    ending: re.Pattern[str]
    answer: Callable[[Question], Answer]
    error: Callable[[int, str], Answer]


_OPENAI = openai_format.error
_ANTHROPIC = anthropic_format.error
_GEMINI = gemini_format.error

ROUTES = (
    Route(
        method="POST",
        ending=re.compile(r"/deployments/([^/]+)/chat/completions$"),
        answer=openai_format.chat,
        error=_OPENAI,
    ),
    Route(
        method="POST",
        ending=re.compile(r"/deployments/([^/]+)/embeddings$"),
        answer=openai_format.embeddings,
        error=_OPENAI,
    ),
    Route(method="POST", ending=re.compile(r"/chat/completions$"), answer=openai_format.chat, error=_OPENAI),
    Route(method="POST", ending=re.compile(r"/completions$"), answer=openai_format.completion, error=_OPENAI),
    Route(method="POST", ending=re.compile(r"/responses$"), answer=responses_format.responses, error=_OPENAI),
    Route(method="POST", ending=re.compile(r"/embeddings$"), answer=openai_format.embeddings, error=_OPENAI),
    Route(
        method="POST",
        ending=re.compile(r"/messages/count_tokens$"),
        answer=anthropic_format.count_tokens,
        error=_ANTHROPIC,
    ),
    Route(method="POST", ending=re.compile(r"/messages$"), answer=anthropic_format.messages, error=_ANTHROPIC),
    Route(
        method="POST",
        ending=re.compile(r"/models/([^/:]+):generateContent$"),
        answer=gemini_format.generate,
        error=_GEMINI,
    ),
    Route(
        method="POST",
        ending=re.compile(r"/models/([^/:]+):streamGenerateContent$"),
        answer=gemini_format.stream_generate,
        error=_GEMINI,
    ),
    Route(
        method="POST",
        ending=re.compile(r"/models/([^/:]+):countTokens$"),
        answer=gemini_format.count_tokens,
        error=_GEMINI,
    ),
    Route(method="GET", ending=re.compile(r"^/v1beta/models$"), answer=gemini_format.models, error=_GEMINI),
    Route(method="GET", ending=re.compile(r"/models(?:/[^/]+)?$"), answer=openai_format.models, error=_OPENAI),
)


def find_route(method: str, path: str, *, is_anthropic: bool) -> tuple[Route, str | None] | None:
    """The route and the model that the path names, or ``None``. ``is_anthropic``: the request has that API's version header."""
    for route in ROUTES:
        found = route.ending.search(path)
        if route.method == method and found:
            if is_anthropic and route.answer is openai_format.models:
                return Route(method="GET", ending=route.ending, answer=anthropic_format.models, error=_ANTHROPIC), None
            return route, unquote(found[1]) if route.ending.groups else None
    return None
