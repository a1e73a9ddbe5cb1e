"""Usage taken apart into quantities that do not overlap, so that each token is charged once."""

from collections.abc import Mapping
from decimal import Decimal
from operator import attrgetter

from msgspec import Struct

from lava_proxy.core.usage import Usage

Quantity = int | Decimal

_OTHER_UNITS = (
    "input_characters",
    "output_characters",
    "input_seconds",
    "output_seconds",
    "images",
    "searches",
    "pages",
    "video_seconds",
    "requests",
    "credits",
)
_READ_OTHER = attrgetter(*_OTHER_UNITS)


class Parts(Struct, frozen=True, kw_only=True):
    """Usage as parts that do not overlap. In it ``input_tokens`` and ``output_tokens`` are the rest: plain text."""

    quantities: Mapping[str, Quantity]
    """Only what is not 0."""
    input_total: int
    """All input tokens, for prices that depend on them."""
    flags: tuple[str, ...] = ()
    """parts_exceed_total: the report contradicts itself. overlapping_parts: some audio or image tokens must have been
    cached, and nobody says how many."""


def split(usage: Usage) -> Parts:
    """The disjoint parts of ``usage``.

    Cached tokens above the total cannot be inside it (Azure reports Grok's so): then they count beside it. Audio and
    image tokens that do not fit beside the cached ones are among them, and count as cached, once.
    """
    flags: list[str] = []
    input_parts = _split_input(usage, flags)
    output_parts = _split_output(usage, flags)
    quantities: dict[str, Quantity] = {
        unit: count for unit, count in (*input_parts.items(), *output_parts.items()) if count
    }
    quantities.update((unit, count) for unit, count in zip(_OTHER_UNITS, _READ_OTHER(usage), strict=True) if count)
    return Parts(
        quantities=quantities,
        input_total=sum(input_parts.values()),
        flags=tuple(dict.fromkeys(flags)),
    )


def _split_input(usage: Usage, flags: list[str]) -> dict[str, int]:
    cached_audio = usage.cached_audio_tokens or 0
    cached = max(usage.cached_input_tokens or 0, cached_audio)
    write_1h = usage.cache_write_1h_tokens or 0
    write = max(usage.cache_write_tokens or 0, write_1h)
    audio = max((usage.input_audio_tokens or 0) - cached_audio, 0)
    image = usage.input_image_tokens or 0
    total = usage.input_tokens
    if total is None:
        fresh = audio + image
    elif cached + write > total:
        flags.append("parts_exceed_total")
        fresh = total
    else:
        fresh = total - cached - write
    fresh_audio = min(audio, fresh)
    fresh_image = min(image, fresh - fresh_audio)
    if fresh_audio + fresh_image < audio + image:
        flags.append("overlapping_parts")
    return {
        "input_tokens": fresh - fresh_audio - fresh_image,
        "cached_input_tokens": cached - cached_audio,
        "cached_audio_tokens": cached_audio,
        "cache_write_tokens": write - write_1h,
        "cache_write_1h_tokens": write_1h,
        "input_audio_tokens": fresh_audio,
        "input_image_tokens": fresh_image,
    }


def _split_output(usage: Usage, flags: list[str]) -> dict[str, int]:
    reasoning = usage.reasoning_tokens or 0
    audio = usage.output_audio_tokens or 0
    image = usage.output_image_tokens or 0
    total = reasoning + audio + image if usage.output_tokens is None else usage.output_tokens
    if reasoning + audio + image > total:
        flags.append("parts_exceed_total")
    audio = min(audio, total)
    image = min(image, total - audio)
    reasoning = min(reasoning, total - audio - image)
    return {
        "output_tokens": total - audio - image - reasoning,
        "reasoning_tokens": reasoning,
        "output_audio_tokens": audio,
        "output_image_tokens": image,
    }
