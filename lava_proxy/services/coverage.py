"""How well the calls of a time were measured, out of the ledger."""

from lava_proxy.core.coverage import Coverage, Grade, coverage_of
from lava_proxy.core.ports import Ledger, RequestFilter
from lava_proxy.services.documents import Document, Json


def coverage(ledger: Ledger, which: RequestFilter) -> Coverage:
    """Of the finished calls that were not refused by their provider."""
    return coverage_of(ledger.books().flag_sets(which))


def percent(found: Coverage, grade: Grade) -> str:
    """A grade's share, as people write it: ``99.95 %``."""
    points = found.share_basis_points(grade)
    return f"{points // 100}.{points % 100:02d} %"


def coverage_document(found: Coverage) -> Document:
    """Shares are in hundredths of a percent, rounded down."""
    grades: Document = {
        grade.value: {"requests": found.counts[grade], "share_basis_points": found.share_basis_points(grade)}
        for grade in Grade
    }
    reasons: list[Json] = [
        {
            "grade": line.grade.value,
            "reason": line.reason,
            "provider": line.provider,
            "requests": line.requests,
            "sample_request_id": line.sample,
        }
        for line in found.lines
    ]
    return {"requests": found.total, "grades": grades, "reasons": reasons}
