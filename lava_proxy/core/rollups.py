"""Sums over requests in buckets of 15 minutes: what reports are made of, kept in step with every settlement.

A rollup is a projection of the request records alone, by the instant of their holds. 15 minutes fit into the days of every
time zone that is in use. A record that changes (a late settlement, a correction) moves its rollup by the difference.
"""

from lava_proxy.core.entities import RequestRecord, RequestStatus

BUCKET_US = 15 * 60 * 1_000_000
DAY_US = 24 * 60 * 60 * 1_000_000
"""Buckets are summed once more by the day in UTC: a month of many customers is read from a tenth of the rows."""

KEY = ("bucket_us", "customer_id", "meter_id", "provider", "model")
"""``customer_id`` and ``model`` are empty where a request has none."""
FIGURES = (
    "requests",
    "errors",
    "unpriced",
    "estimated",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nanos",
    "charge_nanos",
    "uncovered_nanos",
)

type RollupKey = tuple[int, str, str, str, str]
type Figures = tuple[int, ...]

NOTHING: Figures = (0,) * len(FIGURES)


def bucket_of(instant_us: int) -> int:
    """The begin of the bucket in which an instant lies."""
    return instant_us - instant_us % BUCKET_US


def key_of(record: RequestRecord) -> RollupKey:
    return (
        bucket_of(record.created_us),
        record.customer_id or "",
        record.meter_id,
        record.request.provider,
        record.model or "",
    )


def figures_of(record: RequestRecord) -> Figures:
    """What one request adds to its rollup, in the order of ``FIGURES``."""
    usage, flags = record.usage, record.flags
    return (
        1,
        int(record.status is RequestStatus.ERROR),
        int("unpriced" in flags),
        int("estimated" in flags),
        usage.input_tokens or 0,
        usage.cached_input_tokens or 0,
        usage.cache_write_tokens or 0,
        usage.output_tokens or 0,
        usage.reasoning_tokens or 0,
        record.cost_nanos or 0,
        record.charge_nanos,
        record.uncovered_nanos,
    )


def add(rollups: dict[RollupKey, Figures], record: RequestRecord, *, sign: int = 1) -> None:
    """Add a request to the rollups, or take it out with ``sign=-1``."""
    key, figures = key_of(record), figures_of(record)
    before = rollups.get(key)
    if before is None:
        rollups[key] = figures if sign == 1 else tuple(-figure for figure in figures)
    else:
        rollups[key] = tuple([old + sign * new for old, new in zip(before, figures, strict=True)])
