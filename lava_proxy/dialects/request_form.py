"""Requests that are not JSON: forms with files in them (multipart), and files by themselves.

A form's fields are given as an object, as if they had come as JSON; a file becomes ``{"filename", "bytes"}`` and, where
it is sound, ``"seconds"`` (see ``sound_length``). The boundary is the body's own first line.
"""

import re

from lava_proxy.dialects.json_text import JsonObject
from lava_proxy.dialects.sound_length import seconds_of_sound

_PARTS_MAX = 500
_TEXT_MAX = 1 << 20
_HEAD_MAX = 8 << 10
_NAME = re.compile(rb';\s*+name="((?:[^"\\]|\\.)*+)"|;\s*+name=([^;\s"]++)', re.IGNORECASE)
_FILE_NAME = re.compile(rb';\s*+filename\*?=(?:"((?:[^"\\]|\\.)*+)"|([^;\s]++))', re.IGNORECASE)


def form_fields(body: bytes) -> JsonObject | None:
    """The fields of a multipart form, the first of each name; ``None`` where ``body`` is none."""
    mark = _boundary(body)
    if mark is None:
        return None
    fields: JsonObject = {}
    position = len(mark)
    for _ in range(_PARTS_MAX):
        end = body.find(b"\r\n" + mark, position)
        part = memoryview(body)[position : end if end >= 0 else len(body)]
        _take_part(fields, part)
        if end < 0:
            break
        position = end + 2 + len(mark)
        if body[position : position + 2] == b"--":
            break
    return fields or None


def upload_of(body: bytes) -> JsonObject | None:
    """A request that is a sound file itself; ``None`` where its length cannot be told."""
    seconds = seconds_of_sound(body)
    return {"file": {"filename": "", "bytes": len(body), "seconds": seconds}} if seconds is not None else None


def _boundary(body: bytes) -> bytes | None:
    end = body.find(b"\r\n", 0, 300)
    mark = body[:end] if end > 2 else b""
    return mark if mark.startswith(b"--") and b"form-data" in body[end : end + _HEAD_MAX].lower() else None


def _take_part(fields: JsonObject, part: memoryview) -> None:
    head, separator, _ = bytes(part[:_HEAD_MAX]).partition(b"\r\n\r\n")
    name = _NAME.search(head)
    if not separator or name is None:
        return
    key = (name[1] or name[2] or b"").decode("utf-8", "replace").removesuffix("[]")
    content = part[len(head) + 4 :]
    file_name = _FILE_NAME.search(head)
    if file_name is None:
        fields.setdefault(key, _value(bytes(content[:_TEXT_MAX])))
        return
    shown = (file_name[1] or file_name[2] or b"").decode("utf-8", "replace")[:200]
    fields.setdefault(
        key, {"filename": shown, "bytes": len(content), "seconds": seconds_of_sound(bytes(content), shown)}
    )


def _value(text: bytes) -> object:
    """A form knows only texts; numbers and truths are read as JSON would have them."""
    word = text.decode("utf-8", "replace")
    if word in ("true", "false"):
        return word == "true"
    return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else word
