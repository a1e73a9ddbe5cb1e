"""Rows into a file or a pipe, as CSV, JSON lines, or Parquet."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import batched
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.instants import format_instant
from lava_proxy.core.money import format_amount

if TYPE_CHECKING:
    from lava_proxy.services.exports import Cell, Column, Export, Line

PARQUET_ROWS_AT_ONCE = 10_000


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def write(export: "Export", format: Format, out: Path | None) -> int:
    """Write all rows; gives how many. A file appears under its name only when it is complete.

    Raises:
        InvalidInput: Parquet without a file, or without its library; or the file cannot be written.
    """
    if format is Format.PARQUET:
        return _write_parquet(export, out)
    with _opened(out) as target:
        return _write_csv(export, target) if format is Format.CSV else _write_jsonl(export, target)


def _write_csv(export: "Export", target: IO[str]) -> int:
    """After RFC 4180 but for the ends of lines, which are plain; what is not known is empty."""
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([column.name for column in export.columns])
    count = 0
    for line in export.rows:
        writer.writerow(["" if cell is None else _text(cell) for cell in _cells(export, line)])
        count += 1
    return count


def _write_jsonl(export: "Export", target: IO[str]) -> int:
    """Amounts are texts, as everywhere in JSON of ours."""
    names = [column.name for column in export.columns]
    count = 0
    for line in export.rows:
        document = dict(zip(names, _cells(export, line), strict=True))
        target.write(json.dumps(document, ensure_ascii=False) + "\n")
        count += 1
    return count


def _cells(export: "Export", line: "Line") -> Iterator["Cell"]:
    for column, cell in zip(export.columns, line, strict=True):
        yield _cell(column, cell)


def _cell(column: "Column", cell: "Cell") -> "Cell":
    if cell is None or not isinstance(cell, int):
        return cell
    if column.kind.value == "amount":
        return format_amount(cell)
    return format_instant(cell) if column.kind.value == "instant" else cell


def _text(cell: "str | int | bool") -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    with _whole(out) as partial, partial.open("w", encoding="utf-8", newline="") as target:
        yield target


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A file beside ``out`` that takes its place when all went well, and goes when it did not."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.close(descriptor)
        yield partial
        partial.replace(out)
    except OSError as error:
        raise InvalidInput(f"out: {out} cannot be written: {error.strerror or error}", field="out") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_parquet(export: "Export", out: Path | None) -> int:
    if out is None:
        raise InvalidInput("out: Parquet needs a file, with --out", field="out")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InvalidInput(
            "format: Parquet needs another library", hint='pip install "lava-proxy[parquet]"', field="format"
        ) from error
    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "amount": pyarrow.decimal128(28, 9),
        "instant": pyarrow.timestamp("us", tz="UTC"),
        "flag": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(column.name, types[column.kind.value]) for column in export.columns])
    reads = [_reader(column) for column in export.columns]
    count = 0
    with _whole(out) as partial, pyarrow.parquet.ParquetWriter(partial, schema) as writer:
        for lines in batched(export.rows, PARQUET_ROWS_AT_ONCE):
            columns = [[read(cell) for cell in cells] for read, cells in zip(reads, zip(*lines, strict=True), strict=True)]
            arrays = [pyarrow.array(cells, field.type) for cells, field in zip(columns, schema, strict=True)]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
            count += len(lines)
    return count


def _reader(column: "Column") -> "Callable[[Cell], object]":
    """Amounts are exact decimals of dollars; all else is as it is."""
    if column.kind.value != "amount":
        return lambda cell: cell
    from decimal import Decimal

    return lambda cell: None if cell is None else Decimal(int(cell)).scaleb(-9)
