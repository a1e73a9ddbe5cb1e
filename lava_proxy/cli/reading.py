"""What is typed, read: pairs, ranges, amounts, and which requests are meant."""

import json
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

from lava_proxy.cli.session import zone_of
from lava_proxy.core.errors import InvalidInput
from lava_proxy.core.instants import parse_since, parse_until
from lava_proxy.core.metadata import read_metadata

if TYPE_CHECKING:
    from lava_proxy.core.ids import Metadata
    from lava_proxy.core.ports import RequestFilter
    from lava_proxy.wiring import House


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """From ``since_us`` on, before ``until_us``; ``zone`` is that of days and dates."""

    since_us: int | None
    until_us: int | None
    zone: tzinfo
    zone_name: str


def read_range(house: "House", since: str | None, until: str | None, tz: str | None) -> Range:
    """
    Raises:
        InvalidInput: a bound or the zone cannot be read, or nothing can lie between the bounds.
    """
    zone, now_us = zone_of(tz, house.settings), house.clock.now_us()
    since_us = parse_since(since, now_us=now_us, zone=zone) if since else None
    until_us = parse_until(until, now_us=now_us, zone=zone) if until else None
    if since_us is not None and until_us is not None and until_us <= since_us:
        raise InvalidInput(f"until: {until!r} is not after --since {since!r}", field="until")
    return Range(since_us=since_us, until_us=until_us, zone=zone, zone_name=tz or house.settings.time_zone)


def check_formats(*, json: bool, csv: bool) -> None:
    """
    Raises:
        InvalidInput: both are asked for.
    """
    if json and csv:
        raise InvalidInput("csv: the output is CSV or JSON, not both", field="csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which requests, as it was typed."""

    customer: str | None = None
    meter: str | None = None
    run: str | None = None
    provider: str | None = None
    model: str | None = None
    status: str | None = None
    flag: str | None = None
    metadata: list[str] | None = None


def read_filter(house: "House", wanted: Wanted, between: Range) -> "RequestFilter":
    """
    Raises:
        CustomerNotFound, MeterNotFound, InvalidInput
    """
    from lava_proxy.core.entities import RequestStatus
    from lava_proxy.core.ids import RunId
    from lava_proxy.core.ports import RequestFilter

    statuses = [known.value for known in RequestStatus]
    if wanted.status is not None and wanted.status not in statuses:
        raise InvalidInput(f"status: {wanted.status!r} is none; choose of {', '.join(statuses)}", field="status")
    return RequestFilter(
        customer_id=house.customers.get(wanted.customer).customer_id if wanted.customer else None,
        meter_id=house.meters.get(wanted.meter).meter.meter_id if wanted.meter else None,
        run_id=RunId(wanted.run) if wanted.run else None,
        provider=wanted.provider,
        model=wanted.model,
        status=RequestStatus(wanted.status) if wanted.status else None,
        flag=wanted.flag,
        metadata=read_pairs(wanted.metadata) if wanted.metadata else (),
        since_us=between.since_us,
        until_us=between.until_us,
    )


def read_pairs(given: list[str]) -> "Metadata":
    """``KEY=VALUE`` pairs, or one JSON object.

    Raises:
        InvalidInput
    """
    if len(given) == 1 and given[0].lstrip().startswith("{"):
        try:
            return read_metadata(json.loads(given[0]))
        except ValueError as error:
            raise InvalidInput(f"metadata: not a JSON object: {error}", field="metadata") from error
    pairs = [text.partition("=") for text in given]
    for key, sign, _ in pairs:
        if not sign:
            raise InvalidInput(f"metadata: {key!r} is not KEY=VALUE", field="metadata")
    return read_metadata({key: value for key, _, value in pairs})
