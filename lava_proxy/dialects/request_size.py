"""How large a request's input is: its text counted, what is not text estimated from above.

Text is every string in the prompt, with the names of its fields (a tool's schema is read by the model as well).
What is not text gets a documented number of tokens per part. The constants are upper ends of what the providers
describe, read November 2026: images cost up to 1,445 tokens on OpenAI's tiles, 3,800 on its patches, 4,800 at
Anthropic, 6,404 at Together, but 48,169 on gpt-4o-mini; Gemini counts 32 tokens for a second of audio and about 300 for
one of video; a PDF page has 1,500 to 3,000 tokens; tools bring a system prompt of 300 to 700 tokens at Anthropic, and
what a provider's own tools find (web pages, files) comes back as input: 10,000 to 40,000 tokens in recorded calls.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from lava_proxy.dialects.json_text import JsonObject, as_object, as_objects, name_of

IMAGE_TOKENS = 6_500
IMAGE_TOKENS_OF_4O_MINI = 48_200
LOW_DETAIL_IMAGE_TOKENS = 300
LOW_DETAIL_IMAGE_TOKENS_OF_4O_MINI = 2_900

AUDIO_BYTES_PER_TOKEN = 60
"""32 tokens a second of speech at 16 kbit/s; for plain samples (8 kHz, 16 bit) see the next."""
SAMPLED_AUDIO_BYTES_PER_TOKEN = 500
VIDEO_BYTES_PER_TOKEN = 100
"""300 tokens a second of video at 240 kbit/s."""
FILE_BYTES_PER_TOKEN = 8
SMALLEST_FILE_TOKENS = 3_000
LARGEST_FILE_TOKENS = 200_000
"""No file fills more than a usual context window."""
UNSEEN_TOKENS = 20_000
"""A file, video, conversation or cache that the request only points to, or what a provider's own tool will find."""
TOOL_USE_TOKENS = 700
"""Anthropic's hidden system prompt for tools; and the hidden schema of a tool that a provider defined."""

OWN_TOOL_TOKENS = 100
"""What frames the schema of a caller's tool, beside its text: 50 to 150 in recorded calls of several providers."""

_IMAGES = frozenset({"image", "image_url", "input_image"})
_AUDIO = frozenset({"input_audio", "audio", "audio_url"})
_FILES = frozenset({"file", "input_file", "document", "document_url", "file_url"})
_VIDEOS = frozenset({"video", "video_url", "input_video"})
_POINTERS = (
    *("previous_response_id", "conversation", "cachedContent", "cached_content"),
    *("web_search_options", "plugins", "mcp_servers"),
)
_OWN_TOOLS = ("function", "custom", "functionDeclarations", "function_declarations")
_DEFINED_TOOLS = ("bash_2", "text_editor", "computer", "memory", "local_shell", "shell", "apply_patch")
"""Tools that the provider defined and the caller runs: they fetch nothing by themselves."""
_NOT_READ = frozenset({"signature", "thoughtSignature", "thought_signature", "cache_control"})
_DEEPEST = 60


@dataclass(slots=True)
class Size:
    """The measured input."""

    characters: int = 0
    utf8_bytes: int = 0
    other_tokens: int = 0
    is_4o_mini: bool = False

    @classmethod
    def of(cls, request: JsonObject, names: Iterable[str], *, tool_tokens: int = 0) -> Self:
        """The size of the members ``names`` of ``request``, and of what it points to.

        ``tool_tokens``: what the provider puts before the prompt where there are tools.
        """
        size = cls(is_4o_mini="4o-mini" in (name_of(request.get("model")) or ""))
        for name in names:
            size.add(request.get(name))
        size.other_tokens += UNSEEN_TOKENS * sum(bool(request.get(name)) for name in _POINTERS)
        size.other_tokens += _tokens_of_tools(request.get("tools"))
        size.other_tokens += tool_tokens if request.get("tools") else 0
        return size

    def add(self, value: object, *, depth: int = _DEEPEST) -> None:
        """Count ``value`` and what is in it."""
        if isinstance(value, str):
            self._add_text(value)
        elif depth == 0:
            return
        elif isinstance(value, list):
            for item in value:
                self.add(item, depth=depth - 1)
        elif isinstance(value, dict):
            media = self._media_tokens(value)
            if media is not None:
                self.other_tokens += media
                return
            for name, item in value.items():
                if name not in _NOT_READ:
                    self._add_text(name)
                    self.add(item, depth=depth - 1)

    def add_prompts(self, value: object) -> int:
        """Count a prompt or a list of them, each text or token numbers; gives how many there are."""
        if not isinstance(value, list):
            self.add(value)
            return 1
        if value and all(isinstance(item, int) for item in value):
            self.other_tokens += len(value)
            return 1
        for item in value:
            if isinstance(item, list):
                self.other_tokens += len(item)
            else:
                self.add(item)
        return max(len(value), 1)

    def _add_text(self, text: str) -> None:
        self.characters += len(text)
        self.utf8_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def _media_tokens(self, part: JsonObject) -> int | None:
        """An upper estimate for ``part``, where it is no text."""
        kind = part.get("type")
        if isinstance(kind, str):
            return self._tokens_of_kind(kind, part)
        for name in ("inlineData", "inline_data", "fileData", "file_data"):
            blob = part.get(name)
            if isinstance(blob, dict):
                return self._tokens_of_blob(blob)
        return None

    def _tokens_of_kind(self, kind: str, part: JsonObject) -> int | None:
        if kind in _IMAGES:
            return self._image_tokens(part)
        if kind in _AUDIO:
            audio = as_object(part.get("input_audio")) or part
            return _audio_tokens(_longest(audio), name_of(audio.get("format")) or "")
        if kind in _VIDEOS:
            return _media_by_size(_longest(part), VIDEO_BYTES_PER_TOKEN)
        if kind in _FILES and as_object(part.get("source")).get("type") not in ("text", "content"):
            return _file_tokens(_longest(part))
        return None

    def _tokens_of_blob(self, blob: JsonObject) -> int:
        mime = name_of(blob.get("mimeType")) or name_of(blob.get("mime_type")) or ""
        size = _longest(blob)
        if mime.startswith("image/"):
            return self._image_tokens(blob)
        if mime.startswith("audio/"):
            return _audio_tokens(size, mime)
        if mime.startswith("video/"):
            return _media_by_size(size, VIDEO_BYTES_PER_TOKEN)
        return _file_tokens(size)

    def _image_tokens(self, part: JsonObject) -> int:
        detail = part.get("detail") or as_object(part.get("image_url")).get("detail")
        if detail == "low":
            return LOW_DETAIL_IMAGE_TOKENS_OF_4O_MINI if self.is_4o_mini else LOW_DETAIL_IMAGE_TOKENS
        return IMAGE_TOKENS_OF_4O_MINI if self.is_4o_mini else IMAGE_TOKENS


def _tokens_of_tools(tools: object) -> int:
    """What tools cost beside the text of their schemas."""
    tokens = 0
    for tool in as_objects(tools):
        kind = name_of(tool.get("type")) or next((name for name in tool if "name" not in tool), "function")
        if kind.startswith(_DEFINED_TOOLS):
            tokens += TOOL_USE_TOKENS
        else:
            tokens += OWN_TOOL_TOKENS if kind in _OWN_TOOLS else UNSEEN_TOKENS
    return tokens


def _longest(part: JsonObject, *, depth: int = 4) -> int:
    """The length of the longest string in ``part``: the base64 of its content, where it is there; a pointer is short."""
    longest = 0
    for value in part.values():
        if isinstance(value, str):
            longest = max(longest, len(value))
        elif isinstance(value, dict) and depth:
            longest = max(longest, _longest(value, depth=depth - 1))
    return longest


_SHORT = 4_096
"""Shorter strings are taken for a URL, a path or an id."""


def _media_by_size(base64_length: int, bytes_per_token: int) -> int:
    return UNSEEN_TOKENS if base64_length < _SHORT else base64_length * 3 // 4 // bytes_per_token + 1


def _audio_tokens(base64_length: int, form: str) -> int:
    is_sampled = any(name in form.lower() for name in ("wav", "pcm", "l16"))
    return _media_by_size(base64_length, SAMPLED_AUDIO_BYTES_PER_TOKEN if is_sampled else AUDIO_BYTES_PER_TOKEN)


def _file_tokens(base64_length: int) -> int:
    if base64_length < _SHORT:
        return UNSEEN_TOKENS
    return min(max(base64_length * 3 // 4 // FILE_BYTES_PER_TOKEN, SMALLEST_FILE_TOKENS), LARGEST_FILE_TOKENS)
