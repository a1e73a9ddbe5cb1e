"""A file of spool lines: each line all on the disk or not at all, and read again by request."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lava_proxy.core.settlement import Measured
from lava_proxy.services.spool_lines import SentLine, read_line

log = logging.getLogger(__name__)

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, AssertionError)


class Page(Struct, frozen=True, kw_only=True):
    """What stands in a file, by request id."""

    sent: Mapping[str, SentLine]
    ended: Mapping[str, Measured]
    is_sound: bool
    """Whether every whole line could be read. A torn last one is none: its call never left, or is booked at its quote."""


def append_line(path: Path, text: str) -> None:
    """Add a line; it is on the disk afterwards.

    Raises:
        OSError: it is not, and the file is as it was, for half a line would spoil the next one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            _write(descriptor, f"{text}\n".encode())
            if not size:
                _sync_folder(path.parent)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def read_page(path: Path) -> Page:
    """
    Raises:
        OSError: it is not there, or cannot be read.
    """
    sent: dict[str, SentLine] = {}
    ended: dict[str, Measured] = {}
    is_sound = True
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            try:
                line = read_line(text)
            except _UNREADABLE as error:
                log.error("a spool line cannot be read: %s", error, extra={"file": path.name, "line": number})
                is_sound = is_sound and not text.endswith("\n")
                continue
            if isinstance(line, SentLine):
                sent[line.hold.request_id] = line
            else:
                ended[line.request_id] = line.measured
    return Page(sent=sent, ended=ended, is_sound=is_sound)


def _write(descriptor: int, line: bytes) -> None:
    while line:
        line = line[os.write(descriptor, line) :]
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """A new file is there after a loss of power only if its folder was synced as well."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
