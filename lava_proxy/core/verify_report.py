"""What a proof of the books comes to."""

from msgspec import Struct

FINDINGS_MAX = 1000
"""A ruined file has as many findings as rows; after so many the rest is only counted."""


class Finding(Struct, frozen=True, kw_only=True):
    """Something that does not hold: which invariant, about what (an id, or ``journal``), and the numbers."""

    invariant: str
    subject: str
    message: str


class Report(Struct, frozen=True, kw_only=True):
    """The outcome of a proof. The counts are what was looked at."""

    findings: tuple[Finding, ...]
    findings_more: int
    """How many were found beyond those listed; at least, where whole groups of rows were ruined."""
    warnings: tuple[Finding, ...]
    """What is no fault of the books, but wants somebody's attention: holds open past their time."""
    transactions: int
    postings: int
    grants: int
    holds: int
    open_holds: int
    requests: int
    events: int
    head_hash: str
    """The last link of the chain: written down elsewhere, it proves later that nothing before it was changed."""

    @property
    def is_sound(self) -> bool:
        """True where nothing was found."""
        return not self.findings


class Findings:
    """Collects findings, up to a limit."""

    def __init__(self) -> None:
        self.listed: list[Finding] = []
        self.more = 0

    def add(self, invariant: str, subject: str, message: str) -> None:
        """Note one."""
        if len(self.listed) < FINDINGS_MAX:
            self.listed.append(Finding(invariant=invariant, subject=subject, message=message))
        else:
            self.more += 1

    def compare(self, invariant: str, subject: str, what: str, *, kept: int, told: int) -> None:
        """Note a number that a row keeps and the journal, or other rows, tell otherwise."""
        if kept != told:
            self.add(invariant, subject, f"{what} is kept as {kept}, and comes to {told} when it is counted again")
