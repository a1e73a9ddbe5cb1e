"""Requests, postings and statements as flat rows, one after the other, in little memory, whatever their number.

Each export is of one state of the ledger. Values are whole: amounts integers of nano-dollars, instants UTC microseconds;
who writes them down turns them into text.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import fields

from lava_proxy.core.entities import Customer, JournalEntry, RequestRecord
from lava_proxy.core.ids import CustomerId
from lava_proxy.core.ports import Books, Ledger, RequestFilter
from lava_proxy.core.usage import Usage
from lava_proxy.services.credits import Credits, StatementLine


class ColumnKind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    AMOUNT = "amount"
    """Nano-dollars."""
    INSTANT = "instant"
    FLAG = "flag"


class Column(Struct, frozen=True):
    name: str
    kind: ColumnKind = ColumnKind.TEXT


type Cell = str | int | bool | None
type Line = tuple[Cell, ...]


class Export(Struct, frozen=True, kw_only=True):
    """Columns, and rows in their order; the rows can be taken once."""

    columns: tuple[Column, ...]
    rows: Iterator[Line]


_INTEGER, _AMOUNT, _INSTANT = ColumnKind.INTEGER, ColumnKind.AMOUNT, ColumnKind.INSTANT
_UNITS = tuple(field.name for field in fields(Usage))
_SECONDS = ("input_seconds", "output_seconds")

REQUEST_COLUMNS = (
    Column("request_id"),
    Column("caller_request_id"),
    Column("created_at", _INSTANT),
    Column("settled_at", _INSTANT),
    Column("status"),
    Column("customer_id"),
    Column("reference_id"),
    Column("key_id"),
    Column("run_id"),
    Column("provider"),
    Column("model"),
    Column("operation"),
    Column("url"),
    Column("is_stream", ColumnKind.FLAG),
    Column("http_status", _INTEGER),
    Column("meter_id"),
    Column("meter_version", _INTEGER),
    Column("meter_rule"),
    Column("cost", _AMOUNT),
    Column("charge", _AMOUNT),
    Column("margin", _AMOUNT),
    Column("quote", _AMOUNT),
    Column("uncovered", _AMOUNT),
    *(Column(unit, ColumnKind.TEXT if unit in _SECONDS else _INTEGER) for unit in _UNITS),
    Column("price_source"),
    Column("price_date"),
    Column("flags"),
    Column("metadata"),
    Column("latency_us", _INTEGER),
    Column("first_byte_us", _INTEGER),
)
POSTING_COLUMNS = (
    Column("sequence", _INTEGER),
    Column("position", _INTEGER),
    Column("transaction_id"),
    Column("at", _INSTANT),
    Column("kind"),
    Column("key"),
    Column("customer_id"),
    Column("request_id"),
    Column("source"),
    Column("destination"),
    Column("amount", _AMOUNT),
    Column("note"),
    Column("actor"),
)
STATEMENT_COLUMNS = (
    Column("customer_id"),
    Column("reference_id"),
    Column("sequence", _INTEGER),
    Column("at", _INSTANT),
    Column("kind"),
    Column("amount", _AMOUNT),
    Column("balance", _AMOUNT),
    Column("request_id"),
    Column("note"),
)


class PostingFilter(Struct, frozen=True, kw_only=True):
    """Which postings: of transactions in this time, of one customer, from or to this account or the accounts under it."""

    customer_id: CustomerId | None = None
    account: str | None = None
    """Such as ``revenue``, or ``provider`` for all of ``provider:…``."""
    since_us: int | None = None
    until_us: int | None = None


class Exports:
    def __init__(self, *, ledger: Ledger, credits: Credits) -> None:
        self._ledger, self._credits = ledger, credits

    def requests(self, which: RequestFilter) -> Export:
        """Finished requests, oldest first by the instant of their hold."""
        return Export(columns=REQUEST_COLUMNS, rows=self._requests(which))

    def postings(self, which: PostingFilter) -> Export:
        """In the journal's order. A transaction without a posting has no row."""
        return Export(columns=POSTING_COLUMNS, rows=self._postings(which))

    def statements(
        self, customer_id: CustomerId | None = None, *, since_us: int | None = None, until_us: int | None = None
    ) -> Export:
        """Every change of each customer's credit, customer by customer; the balance counts what came before too."""
        return Export(columns=STATEMENT_COLUMNS, rows=self._statements(customer_id, since_us, until_us))

    def _requests(self, which: RequestFilter) -> Iterator[Line]:
        with self._ledger.books().snapshot() as books:
            names = _names(books)
            for record in books.each_request(which):
                yield _request(record, names.get(record.customer_id or ""))

    def _postings(self, which: PostingFilter) -> Iterator[Line]:
        for entry in self._ledger.books().journal(customer_id=which.customer_id):
            if _is_within(entry.transaction.at_us, which.since_us, which.until_us):
                yield from _posting_lines(entry, which.account)

    def _statements(self, customer_id: CustomerId | None, since_us: int | None, until_us: int | None) -> Iterator[Line]:
        for customer in self._ledger.books().rows(Customer):
            if customer_id not in (None, customer.customer_id):
                continue
            for line in self._credits.lines(customer.customer_id):
                if _is_within(line.at_us, since_us, until_us):
                    yield _statement_line(customer, line)


def _names(books: Books) -> dict[str, str | None]:
    """Reference ids by customer."""
    return {customer.customer_id: customer.reference_id for customer in books.rows(Customer)}


def _is_within(at_us: int, since_us: int | None, until_us: int | None) -> bool:
    return (since_us is None or at_us >= since_us) and (until_us is None or at_us < until_us)


def _request(record: RequestRecord, reference_id: str | None) -> Line:
    request = record.request
    return (
        record.request_id,
        request.caller_request_id,
        record.created_us,
        record.settled_us,
        record.status.value,
        record.customer_id,
        reference_id,
        record.key_id,
        record.run_id,
        request.provider,
        record.model,
        request.op,
        request.url,
        request.is_stream,
        record.http_status,
        record.meter_id,
        record.meter_version,
        record.meter_rule,
        record.cost_nanos,
        record.charge_nanos,
        None if record.cost_nanos is None else record.charge_nanos - record.cost_nanos,
        record.quote_nanos,
        record.uncovered_nanos,
        *(_quantity(getattr(record.usage, unit)) for unit in _UNITS),
        record.price_source,
        record.price_date,
        ",".join(record.flags),
        json.dumps(dict(request.metadata), ensure_ascii=False) if request.metadata else None,
        record.latency_us,
        record.first_byte_us,
    )


def _quantity(value: int | Decimal | None) -> Cell:
    return str(value) if isinstance(value, Decimal) else value


def _posting_lines(entry: JournalEntry, account: str | None) -> Iterator[Line]:
    transaction = entry.transaction
    for position, posting in enumerate(transaction.postings):
        if account is not None and not (_is_of(posting.source, account) or _is_of(posting.destination, account)):
            continue
        yield (
            entry.sequence,
            position,
            transaction.transaction_id,
            transaction.at_us,
            transaction.kind,
            transaction.key,
            transaction.customer_id,
            transaction.request_id,
            posting.source,
            posting.destination,
            posting.amount_nanos,
            transaction.note,
            transaction.actor,
        )


def _is_of(account: str, wanted: str) -> bool:
    return account == wanted or account.startswith(f"{wanted}:")


def _statement_line(customer: Customer, line: StatementLine) -> Line:
    return (
        customer.customer_id,
        customer.reference_id,
        line.sequence,
        line.at_us,
        line.kind,
        line.amount_nanos,
        line.balance_nanos,
        line.request_id,
        line.note,
    )
