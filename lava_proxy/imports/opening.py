"""Opens a recording: by its path or from standard input, plain or gzip, in the format that is named or that it shows."""

import gzip
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.recorded import Recorded, Unreadable
from lava_proxy.imports.har import read_har
from lava_proxy.imports.jsonl import read_lines


def _read_flows(stream: BinaryIO) -> Iterator[Recorded | Unreadable]:
    from lava_proxy.imports.mitm import read_flows  # mitmproxy is slow to import

    return read_flows(stream)


FORMATS: Mapping[str, Callable[[BinaryIO], Iterator[Recorded | Unreadable]]] = {
    "jsonl": read_lines,
    "har": read_har,
    "mitm": _read_flows,
}

_SHOWN_BYTES = 4096
_GZIP = b"\x1f\x8b"


def read_recording(path: str, form: str | None = None) -> Iterator[Recorded | Unreadable]:
    """The exchanges of a recording, in order. ``path`` of ``-``: standard input.

    Raises:
        InvalidInput: it cannot be opened or read, or its format is unknown.
    """
    if form is not None and form not in FORMATS:
        raise InvalidInput(f"format: {form!r} is none of {', '.join(FORMATS)}", field="format")
    with _opened(path) as stream:
        try:
            yield from FORMATS[form or _shown_format(path, stream)](stream)
        except (OSError, EOFError) as error:
            raise InvalidInput(f"file: {path} cannot be read to its end: {error}", field="file") from error


@contextmanager
def _opened(path: str) -> Iterator[io.BufferedReader]:
    try:
        raw = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 closed below
    except OSError as error:
        raise InvalidInput(f"file: {path} cannot be opened: {error.strerror}", field="file") from error
    stream = cast(io.BufferedReader, raw)
    try:
        if stream.peek(2)[:2] == _GZIP:
            yield io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), 1 << 16)
        else:
            yield stream
    finally:
        if path != "-":
            stream.close()


def _shown_format(path: str, stream: io.BufferedReader) -> str:
    """By the first bytes, for names lie: mitmproxy's begin with a length, a HAR with its ``log``."""
    start = stream.peek(_SHOWN_BYTES)[:_SHOWN_BYTES].lstrip().removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1].isdigit():
        return "mitm"
    name = path.lower().removesuffix(".gz")
    first_line = start.partition(b"\n")[0]
    is_har = b'"log"' in start[:200] and b'"url"' not in first_line[:200]
    return "har" if name.endswith(".har") or (is_har and not name.endswith((".jsonl", ".ndjson"))) else "jsonl"
