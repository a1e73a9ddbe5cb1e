"""What a request consumed, by unit, and what a wire-format reader found out about it.

Totals include their parts: ``input_tokens`` contains cached, cache-write, audio and image tokens, ``output_tokens``
contains reasoning, audio and image tokens. ``None`` means "the provider did not say", which is never the same as 0.
"""

from decimal import Decimal
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import astuple


class Usage(Struct, frozen=True, kw_only=True):
    """The quantities of one request. Every field is a count of its unit, or ``None`` where nobody reported it."""

    input_tokens: int | None = None
    """All input tokens: fresh, cached, cache writes, audio, image."""
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    """All tokens written to a prompt cache: 5-minute and 1-hour ones together."""
    cache_write_1h_tokens: int | None = None
    """The part of ``cache_write_tokens`` that is kept for an hour."""
    input_audio_tokens: int | None = None
    cached_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    output_tokens: int | None = None
    """All output tokens: text, reasoning, audio, image."""
    reasoning_tokens: int | None = None
    output_audio_tokens: int | None = None
    output_image_tokens: int | None = None
    input_characters: int | None = None
    output_characters: int | None = None
    input_seconds: Decimal | None = None
    output_seconds: Decimal | None = None
    images: int | None = None
    searches: int | None = None
    """Searches that a provider's own tool made (web search, grounding)."""
    pages: int | None = None
    video_seconds: Decimal | None = None
    """Seconds of video made."""
    requests: int | None = None
    """Calls, where a provider counts more or fewer than the one that was made (search units, jobs of a batch)."""
    credits: Decimal | None = None
    """The provider's own unit of account."""

    def is_empty(self) -> bool:
        """True where nothing at all was reported."""
        return self == NO_USAGE

    def is_zero(self) -> bool:
        """True where nothing above 0 was reported."""
        return not any(astuple(self))

    def total_tokens(self) -> int:
        """Input and output tokens together; what was not reported counts as none."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)


UNITS: tuple[str, ...] = Usage.__struct_fields__
_QUANTITIES = attrgetter(*UNITS)
NO_USAGE = Usage()


class RequestFacts(Struct, frozen=True, kw_only=True):
    """What a request body says before it is sent: enough to quote it and to read its answer."""

    model: str | None
    is_stream: bool
    input_text_characters: int
    """Characters of text in the prompt: the base of the input estimate."""
    input_text_bytes: int
    """UTF-8 bytes of that text: no tokenizer makes more tokens than bytes."""
    input_other_tokens: int = 0
    """An upper estimate for what is not text in the request: images, audio, files."""
    output_limit: int | None = None
    """The caller's own limit on output tokens for one choice (max_tokens and its kin)."""
    choices: int = 1
    """How many answers were asked for (``n``); each may reach the limit."""
    has_output: bool = True
    """False for embeddings and the like, which produce no tokens."""
    asked_for_usage: bool = True
    """False where a stream would carry no usage unless we ask for it."""
    end_user: str | None = None
    """The body's own end-user field (``user``, ``metadata.user_id``)."""
    service_tier: str | None = None
    counted: Usage = NO_USAGE
    """What the request itself tells of what it will consume: characters to be spoken, images and seconds asked for.
    It stands where the answer is silent."""


class Reading(Struct, frozen=True, kw_only=True):
    """What a reader found in an answer. Reading the same bytes in other chunks gives the same reading."""

    usage: Usage
    model: str | None = None
    """The model that the answer itself names."""
    response_id: str | None = None
    service_tier: str | None = None
    """``flex``, ``priority``, ``batch``, ``standard`` … as the answer says, for the price; ``None``: it does not say."""
    reported_cost: Decimal | None = None
    """US dollars, where the provider itself says what it charges."""
    raw_usage: tuple[str, ...] = ()
    """The provider's usage objects, verbatim JSON with numbers and enums only (no text of prompts or answers)."""
    output_text_characters: int = 0
    output_text_bytes: int = 0
    """Size of the text produced as far as it was seen: the base of the estimate for an aborted stream."""
    is_complete: bool = False
    """True where the answer's own end was seen (terminal event, or a whole JSON document)."""
    is_error: bool = False
    """True where a 2xx answer carries an error in its body instead of a result."""
    is_pending: bool = False
    """True where the provider only took the work on and goes on with it after the answer: its usage comes elsewhere."""
    billed: Usage | None = None
    """What the provider charges, where it says so and that is not what was consumed (Cohere's billed units)."""
    is_replay: bool = False
    """True where the same figures were, or will be, told elsewhere: a job or a stored answer that is looked at again."""
    flags: tuple[str, ...] = ()
    """Anything worth telling: ``malformed_body``, ``decode_failed``, ``body_too_large`` …"""
