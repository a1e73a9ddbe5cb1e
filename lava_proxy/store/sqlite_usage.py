"""Sums over requests: which rows (``requests_where``), and the sums themselves."""

import sqlite3

from lava_proxy.core.ids import RequestId
from lava_proxy.core.ports import FlagSet, RequestFilter, UsageLine
from lava_proxy.store.days import days_between, zone
from lava_proxy.store.reading import check_grouping
from lava_proxy.store.table import Cell, list_from_json, to_json

_GROUP_COLUMNS = {
    "day": "days.value ->> 0",
    "customer": "coalesce(customer_id, '')",
    "meter": "meter_id",
    "model": "coalesce(model, '')",
    "provider": "provider",
}
_EQUAL = ("customer_id", "meter_id", "run_id", "provider", "model", "status")
_SUMS = """
    count(*),
    coalesce(sum(status = 'error'), 0),
    coalesce(sum(input_tokens), 0),
    coalesce(sum(output_tokens), 0),
    coalesce(sum(cached_input_tokens), 0),
    coalesce(sum(cost_nanos), 0),
    coalesce(sum(charge_nanos), 0),
    coalesce(sum(instr(flags, '"unpriced"') > 0), 0),
    coalesce(sum(instr(flags, '"estimated"') > 0), 0)
"""
_DAYS = "json_each(:days) AS days CROSS JOIN"


def requests_where(which: RequestFilter) -> tuple[list[str], dict[str, Cell]]:
    """The conditions of a filter, and the values that they name."""
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
            where.append(f"created_us {comparison} :{name}")
            values[name] = instant_us
    return where, values


def usage_lines(
    connection: sqlite3.Connection, which: RequestFilter, *, by: tuple[str, ...], time_zone: str
) -> tuple[UsageLine, ...]:
    """See ``core.ports.Books.usage``; lines are sorted by their group."""
    check_grouping(by)
    days_zone = zone(time_zone)
    where, values = requests_where(which)
    source = "requests"
    if "day" in by:
        extent = f"SELECT min(created_us), max(created_us) FROM requests{_where(where)}"  # noqa: S608 - the names are ours
        first_us, last_us = connection.execute(extent, values).fetchone()
        if first_us is None:
            return ()
        days = days_between(first_us, last_us, days_zone)
        values["days"] = to_json([[day.name, day.start_us, day.end_us] for day in days])
        source = f"{_DAYS} requests"
        where = [*where, "created_us >= days.value ->> 1", "created_us < days.value ->> 2"]
    columns = [_GROUP_COLUMNS[name] for name in by]
    group = f" GROUP BY {', '.join(columns)} ORDER BY {', '.join(columns)}" if by else ""
    sql = f"SELECT {', '.join([*columns, _SUMS])} FROM {source}{_where(where)}{group}"  # noqa: S608 - the names are ours
    return tuple(_line(cells, len(by)) for cells in connection.execute(sql, values))


def flag_sets(connection: sqlite3.Connection, which: RequestFilter) -> tuple[FlagSet, ...]:
    """See ``core.ports.Books``."""
    where, values = requests_where(which)
    where.append("status <> 'error'")
    columns = "provider, flags, count(*), max(request_id)"
    sql = f"SELECT {columns} FROM requests{_where(where)} GROUP BY provider, flags ORDER BY provider, flags"  # noqa: S608 - the names are ours
    return tuple(
        FlagSet(provider=provider, flags=list_from_json(flags), requests=count, sample=RequestId(sample))
        for provider, flags, count, sample in connection.execute(sql, values)
    )


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _line(cells: tuple[str | int, ...], width: int) -> UsageLine:
    group = tuple(str(cell) for cell in cells[:width])
    requests, errors, fresh, output, cached, cost, charge, unpriced, estimated = (int(cell) for cell in cells[width:])
    return UsageLine(
        group=group,
        requests=requests,
        errors=errors,
        input_tokens=fresh,
        output_tokens=output,
        cached_input_tokens=cached,
        cost_nanos=cost,
        charge_nanos=charge,
        unpriced=unpriced,
        estimated=estimated,
    )
