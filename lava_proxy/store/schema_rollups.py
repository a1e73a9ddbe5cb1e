"""The rollups of requests, and how they are made anew from the requests themselves."""

from lava_proxy.core.rollups import BUCKET_US, DAY_US, FIGURES, KEY

ROLLUPS = (("daily_rollups", DAY_US), ("rollups", BUCKET_US))
"""Tables and the span of their buckets, in microseconds; the widest first."""

_SUMS = {
    "requests": "count(*)",
    "errors": "sum(status = 'error')",
    "unpriced": "sum(instr(flags, '\"unpriced\"') > 0)",
    "estimated": "sum(instr(flags, '\"estimated\"') > 0)",
}
SUMS_OF_REQUESTS = tuple(_SUMS.get(name, f"sum(coalesce({name}, 0))") for name in FIGURES)
"""The figures over rows of ``requests``, in SQL."""


def _table(name: str) -> str:
    figures = ", ".join(f"{figure} INTEGER NOT NULL" for figure in FIGURES)
    return f"""
CREATE TABLE {name} (
    bucket_us INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    meter_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    {figures},
    PRIMARY KEY ({", ".join(KEY)})
) STRICT, WITHOUT ROWID"""


TABLES = tuple(_table(name) for name, _ in ROLLUPS)


def anew(span_us: int) -> str:
    """What the requests say, in SQL: the rows of the rollups of this span."""
    keys = f"created_us - created_us % {span_us}, coalesce(customer_id, ''), meter_id, provider, coalesce(model, '')"
    return f"SELECT {keys}, {', '.join(SUMS_OF_REQUESTS)} FROM requests GROUP BY 1, 2, 3, 4, 5"  # noqa: S608 - names are ours


def fill(name: str, span_us: int) -> str:
    """Fill an empty table of rollups."""
    return f"INSERT INTO {name} ({', '.join((*KEY, *FIGURES))}) {anew(span_us)}"
