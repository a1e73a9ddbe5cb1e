"""The cells of a report's lines, out of sums over requests and flows of the journal."""

from collections.abc import Iterable
from operator import add

from lava_proxy.core.flows import FLOWS, NO_FLOWS, FlowLine, Flows
from lava_proxy.core.money import format_amount
from lava_proxy.core.ports import UsageLine
from lava_proxy.core.rollups import FIGURES, NOTHING, Figures
from lava_proxy.services.documents import Document
from lava_proxy.services.exports import Cell, Column, ColumnKind, Line

_INTEGER, _AMOUNT = ColumnKind.INTEGER, ColumnKind.AMOUNT
USAGE_COLUMNS = (
    Column("requests", _INTEGER),
    Column("errors", _INTEGER),
    Column("unpriced", _INTEGER),
    Column("estimated", _INTEGER),
    Column("input_tokens", _INTEGER),
    Column("cached_input_tokens", _INTEGER),
    Column("cache_write_tokens", _INTEGER),
    Column("output_tokens", _INTEGER),
    Column("reasoning_tokens", _INTEGER),
    Column("cost", _AMOUNT),
    Column("charge", _AMOUNT),
    Column("margin", _AMOUNT),
    Column("margin_percent"),
)
CREDIT_COLUMNS = (
    Column("revenue", _AMOUNT),
    Column("credit_sold", _AMOUNT),
    Column("credit_given", _AMOUNT),
    Column("credit_given_back", _AMOUNT),
    Column("credit_used", _AMOUNT),
    Column("breakage", _AMOUNT),
    Column("overage", _AMOUNT),
    Column("overage_collected", _AMOUNT),
    Column("uncovered", _AMOUNT),
    Column("debt_paid", _AMOUNT),
    Column("money_in", _AMOUNT),
    Column("refunds", _AMOUNT),
    Column("deferred_credit", _AMOUNT),
)


def usage_cells(line: UsageLine) -> Line:
    """The cells of ``USAGE_COLUMNS``."""
    return (
        line.requests,
        line.errors,
        line.unpriced,
        line.estimated,
        line.input_tokens,
        line.cached_input_tokens,
        line.cache_write_tokens,
        line.output_tokens,
        line.reasoning_tokens,
        line.cost_nanos,
        line.charge_nanos,
        line.charge_nanos - line.cost_nanos,
        margin_percent(charge_nanos=line.charge_nanos, cost_nanos=line.cost_nanos),
    )


def credit_cells(flow: FlowLine, line: UsageLine, deferred_nanos: int) -> Line:
    """The cells of ``CREDIT_COLUMNS``; ``deferred_nanos`` is the credit that is left at the end."""
    return (
        line.charge_nanos + flow.overage_billed_nanos,
        flow.sold_nanos,
        flow.given_nanos,
        flow.given_back_nanos,
        credit_used(flow, line),
        flow.breakage_nanos,
        flow.overage_nanos + flow.overage_billed_nanos,
        flow.overage_collected_nanos,
        line.uncovered_nanos,
        flow.debt_paid_nanos,
        flow.money_in_nanos,
        flow.money_back_nanos,
        deferred_nanos,
    )


def credit_used(flow: FlowLine, line: UsageLine) -> int:
    """What charges took from credit, at once or later: a debt is paid from credit too."""
    return line.charge_nanos - line.uncovered_nanos - flow.overage_nanos + flow.debt_paid_nanos


def credit_gained(flow: FlowLine, line: UsageLine) -> int:
    """By how much the credit of all customers grew; below 0 it shrank."""
    new = flow.sold_nanos + flow.given_nanos + flow.given_back_nanos
    return new - flow.breakage_nanos - credit_used(flow, line)


def margin_percent(*, charge_nanos: int, cost_nanos: int) -> str | None:
    """Of the charge, with two decimals, half away from zero; ``None`` where nothing was charged.

    >>> margin_percent(charge_nanos=3, cost_nanos=2)
    '33.33'
    """
    if not charge_nanos:
        return None
    hundredths = (2 * 10_000 * abs(charge_nanos - cost_nanos) + charge_nanos) // (2 * charge_nanos)
    sign = "-" if hundredths and cost_nanos > charge_nanos else ""
    return f"{sign}{hundredths // 100}.{hundredths % 100:02}"


def no_usage(group: tuple[str, ...]) -> UsageLine:
    """A line without requests."""
    return _usage(group, NOTHING)


def sum_usage(lines: Iterable[UsageLine]) -> UsageLine:
    """All of them together."""
    total: Figures = NOTHING
    for line in lines:
        total = tuple(map(add, total, [getattr(line, name) for name in FIGURES]))
    return _usage((), total)


def sum_flows(lines: Iterable[FlowLine]) -> FlowLine:
    """All of them together."""
    total: Flows = NO_FLOWS
    for line in lines:
        total = tuple(map(add, total, [getattr(line, name) for name in FLOWS]))
    return FlowLine(period="", **dict(zip(FLOWS, total, strict=True)))


def document_of(columns: tuple[Column, ...], line: Line) -> Document:
    """Names and values; amounts are texts."""
    return {column.name: _value(column, cell) for column, cell in zip(columns, line, strict=True)}


def _value(column: Column, cell: Cell) -> Cell:
    is_amount = column.kind is ColumnKind.AMOUNT and cell is not None
    return format_amount(int(cell or 0)) if is_amount else cell


def _usage(group: tuple[str, ...], figures: Figures) -> UsageLine:
    return UsageLine(group=group, **dict(zip(FIGURES, figures, strict=True)))
