"""What lists and sums need whichever the backend: cursors, grouping, and the order of lines."""

from collections.abc import Callable, Iterable

from lava_proxy.core.entities import RequestRecord
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.ports import Page, RequestFilter
from lava_proxy.store.periods import PERIODS

GROUPINGS = (*PERIODS, "customer", "meter", "model", "provider")


def check_grouping(by: tuple[str, ...]) -> None:
    """Refuse what usage cannot be summed by.

    Raises:
        InvalidInput: one of them is unknown, or stands twice.
    """
    for name in by:
        if name not in GROUPINGS:
            raise InvalidInput(f"usage is summed by {', '.join(GROUPINGS)}, not by {name!r}", field="by")
    if len(set(by)) != len(by):
        raise InvalidInput("usage is summed by each of these once", field="by")
    if len(set(by) & set(PERIODS)) > 1:
        raise InvalidInput(f"usage is summed by one of {', '.join(PERIODS)}", field="by")


def page_of[T](found: Iterable[T], *, limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """The first ``limit`` of what was found; where there is one more, the cursor that leads on."""
    items = tuple(found)
    rest = items[limit:]
    return Page(items=items[:limit], next_cursor=cursor_of(items[limit - 1]) if rest else None)


def request_cursor(record: RequestRecord) -> str:
    """Where a list of requests, newest first, goes on after this one."""
    return f"{record.created_us}.{record.request_id}"


def parse_request_cursor(cursor: str) -> tuple[int, str]:
    """The instant and the id in a cursor of ``request_cursor``.

    Raises:
        InvalidInput: it is none.
    """
    instant, _, request_id = cursor.partition(".")
    try:
        return int(instant), request_id
    except ValueError:
        raise InvalidInput(f"{cursor!r} is not a cursor of this list", field="cursor") from None


def check_limit(limit: int) -> None:
    """A page has at least one line.

    Raises:
        InvalidInput: it would not.
    """
    if limit < 1:
        raise InvalidInput(f"limit: {limit} is too small; ask for 1 or more", field="limit")


def matches(record: RequestRecord, which: RequestFilter) -> bool:
    """True where a request is among those asked for."""
    wanted = (
        (which.customer_id, record.customer_id),
        (which.meter_id, record.meter_id),
        (which.run_id, record.run_id),
        (which.provider, record.request.provider),
        (which.model, record.model),
        (which.status, record.status),
    )
    return (
        all(value is None or value == own for value, own in wanted)
        and (which.flag is None or which.flag in record.flags)
        and all(pair in record.request.metadata for pair in which.metadata)
        and (which.since_us is None or record.created_us >= which.since_us)
        and (which.until_us is None or record.created_us < which.until_us)
    )
