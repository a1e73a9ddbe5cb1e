"""Sums over requests: which rows (``requests_where``), and the sums themselves.

Where nothing is asked for that the rollups do not know, the sums come from them, but for the ends of a period that are no
whole quarter of an hour; everything else is summed over the requests themselves.
"""

import sqlite3
from collections.abc import Iterator
from operator import add
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from lava_proxy.core.ids import RequestId
from lava_proxy.core.ports import FlagSet, RequestFilter, UsageLine
from lava_proxy.core.rollups import BUCKET_US, FIGURES, NOTHING, Figures
from lava_proxy.store.periods import PERIODS, Period, periods_between, zone
from lava_proxy.store.reading import check_grouping
from lava_proxy.store.schema_rollups import ROLLUPS, SUMS_OF_REQUESTS
from lava_proxy.store.table import Cell, list_from_json, to_json

_GROUP_COLUMNS = {
    "customer": "coalesce(customer_id, '')",
    "meter": "meter_id",
    "model": "coalesce(model, '')",
    "provider": "provider",
}
_EQUAL = ("customer_id", "meter_id", "run_id", "provider", "model", "status")
_REQUEST_SUMS = ", ".join(f"coalesce({text}, 0)" for text in SUMS_OF_REQUESTS)
_ROLLUP_SUMS = ", ".join(f"coalesce(sum({name}), 0)" for name in FIGURES)


def requests_where(which: RequestFilter, *, instant: str = "created_us") -> tuple[list[str], dict[str, Cell]]:
    """The conditions of a filter, and the values that they name. ``instant``: the column that lies in the range."""
    where: list[str] = []
    values: dict[str, Cell] = {}
    for column in _EQUAL:
        value: str | None = getattr(which, column)
        if value is not None:
            where.append(f"{column} = :{column}")
            values[column] = str(value)
    if which.flag is not None:
        where.append("instr(flags, :flag) > 0")
        values["flag"] = to_json(which.flag)
    for number, (key, value) in enumerate(which.metadata):
        pair = f"pair.key = :key_{number} AND pair.value = :value_{number}"
        where.append(f"EXISTS (SELECT 1 FROM json_each(metadata) AS pair WHERE {pair})")  # noqa: S608 - the names are ours
        values[f"key_{number}"], values[f"value_{number}"] = key, value
    for name, comparison, instant_us in (("since_us", ">=", which.since_us), ("until_us", "<", which.until_us)):
        if instant_us is not None:
            where.append(f"{instant} {comparison} :{name}")
            values[name] = instant_us
    return where, values


def usage_lines(
    connection: sqlite3.Connection, which: RequestFilter, *, by: tuple[str, ...], time_zone: str
) -> tuple[UsageLine, ...]:
    """See ``core.ports.Books.usage``; lines are sorted by their group."""
    check_grouping(by)
    days_zone = zone(time_zone)
    kind = next((name for name in by if name in PERIODS), None)
    found: dict[tuple[str, ...], Figures] = {} if by else {(): NOTHING}
    for period in _periods(connection, which, kind, days_zone):
        for table, since_us, until_us in _parts(period, is_plain=_is_plain(which)):
            for group, figures in _sums(connection, which, table, since_us, until_us, by, period.name):
                found[group] = tuple(map(add, found.get(group, NOTHING), figures))
    return tuple(_line(group, found[group]) for group in sorted(found) if found[group][0] or not by)


def flag_sets(connection: sqlite3.Connection, which: RequestFilter) -> tuple[FlagSet, ...]:
    """See ``core.ports.Books``."""
    where, values = requests_where(which)
    where.append("status <> 'error'")
    columns = "provider, flags, count(*), max(request_id)"
    sql = (
        f"SELECT {columns} FROM requests WHERE {' AND '.join(where)} GROUP BY provider, flags ORDER BY provider, flags"  # noqa: S608 - the names are ours
    )
    return tuple(
        FlagSet(provider=provider, flags=list_from_json(flags), requests=count, sample=RequestId(sample))
        for provider, flags, count, sample in connection.execute(sql, values)
    )


def _is_plain(which: RequestFilter) -> bool:
    """Whether the rollups know everything that is asked for."""
    return which.run_id is None and which.status is None and which.flag is None and not which.metadata


def _periods(
    connection: sqlite3.Connection, which: RequestFilter, kind: str | None, time_zone: ZoneInfo
) -> list[Period]:
    """The periods in which there can be requests of the filter, cut to its range; one where none is asked for."""
    first_us, last_us = connection.execute(
        "SELECT (SELECT min(bucket_us) FROM rollups), (SELECT max(bucket_us) FROM rollups)"
    ).fetchone()
    if first_us is None:
        return []
    first_us = first_us if which.since_us is None else max(first_us, which.since_us)
    end_us = last_us + BUCKET_US if which.until_us is None else min(last_us + BUCKET_US, which.until_us)
    if first_us >= end_us:
        return []
    if kind is None:
        return [Period(name="", start_us=first_us, end_us=end_us)]
    return [
        Period(name=period.name, start_us=max(period.start_us, first_us), end_us=min(period.end_us, end_us))
        for period in periods_between(kind, first_us, end_us - 1, time_zone)
    ]


def _parts(period: Period, *, is_plain: bool) -> list[tuple[str, int, int]]:
    """What to read for a period: whole days and quarters of an hour as far as they fit in, requests at its ends."""
    parts: list[tuple[str, int, int]] = []
    todo = [(period.start_us, period.end_us)]
    for table, span_us in ROLLUPS if is_plain else ():
        left: list[tuple[int, int]] = []
        for start_us, end_us in todo:
            first_us, last_us = -(-start_us // span_us) * span_us, end_us // span_us * span_us
            if first_us >= last_us:
                left.append((start_us, end_us))
                continue
            parts.append((table, first_us, last_us))
            left += [(start_us, first_us), (last_us, end_us)]
        todo = left
    return parts + [("requests", start_us, end_us) for start_us, end_us in todo if start_us < end_us]


def _sums(
    connection: sqlite3.Connection,
    which: RequestFilter,
    table: str,
    since_us: int,
    until_us: int,
    by: tuple[str, ...],
    period: str,
) -> Iterator[tuple[tuple[str, ...], Figures]]:
    is_rollup = table != "requests"
    cut = replace(which, since_us=since_us, until_us=until_us)
    where, values = requests_where(cut, instant="bucket_us" if is_rollup else "created_us")
    columns = [_GROUP_COLUMNS[name] for name in by if name not in PERIODS]
    cells = ", ".join([*columns, _ROLLUP_SUMS if is_rollup else _REQUEST_SUMS])
    group = f" GROUP BY {', '.join(columns)}" if columns else ""
    sql = f"SELECT {cells} FROM {table} WHERE {' AND '.join(where)}{group}"  # noqa: S608 - the names are ours
    for row in connection.execute(sql, values):
        names = iter(row)
        yield tuple(period if name in PERIODS else str(next(names)) for name in by), tuple(map(int, names))


def _line(group: tuple[str, ...], figures: Figures) -> UsageLine:
    return UsageLine(group=group, **dict(zip(FIGURES, figures, strict=True)))
