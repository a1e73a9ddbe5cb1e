"""What can go wrong, named for the fact. Each carries a stable ``code``; edges map codes to statuses and exit codes.

``ERRORS`` is the whole list: `docs/errors.md` describes every entry, and a test holds the two together.
"""

from collections.abc import Mapping

from msgspec import Struct, field


class LavaError(Exception):
    """Something a caller can act on. ``code`` is stable; ``details`` holds the figures, by name.

    ``hint`` says what to do about it, as one sentence for a person.
    """

    code = "internal_error"

    def __init__(self, message: str, *, hint: str = "", **details: str | int | bool | None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: Mapping[str, str | int | bool | None] = details


class InvalidInput(LavaError):
    """A value that a person or a program gave is not acceptable; ``details['field']`` names it."""

    code = "invalid_input"


class InvalidAmount(InvalidInput):
    code = "invalid_amount"


class InvalidSettings(InvalidInput):
    """A settings file, variable or option is wrong."""

    code = "invalid_settings"


class InvalidProviderFile(InvalidInput):
    """A provider's TOML file is wrong; the message has file, key and what to write instead."""

    code = "invalid_provider_file"


class InvalidBackup(InvalidInput):
    """The file is no backup, or was damaged; nothing was written."""

    code = "invalid_backup"


class WrongPassphrase(InvalidInput):
    """The passphrase does not open the backup; nothing was written."""

    code = "wrong_passphrase"


class SealBroken(InvalidInput):
    """What was sealed cannot be opened: it was sealed with another key or for another purpose, or was changed."""

    code = "seal_broken"


class NotFound(LavaError):
    code = "not_found"


class CustomerNotFound(NotFound):
    code = "customer_not_found"


class MeterNotFound(NotFound):
    code = "meter_not_found"


class Conflict(LavaError):
    code = "conflict"


class IdempotencyConflict(Conflict):
    """The same idempotency key came with other content."""

    code = "idempotency_conflict"


class Refused(LavaError):
    """Understood, and not allowed in the present state (a customer with open holds is not archived, …)."""

    code = "refused"


class InsufficientCredits(LavaError):
    """The wallet cannot cover the hold. Details: needed, available, held (nano-dollars)."""

    code = "insufficient_credits"


class RunLimitReached(LavaError):
    """A cap of `lava run` (``--max-cost``, ``--max-charge``) would be passed."""

    code = "run_limit_reached"


class LedgerUnavailable(LavaError):
    """The ledger cannot be read or written now: locked, full disk, corrupt file."""

    code = "ledger_unavailable"


class LedgerInconsistent(LavaError):
    """The books do not add up; `lava verify` lists what is wrong."""

    code = "ledger_inconsistent"


class LedgerTooNew(LavaError):
    """The file was written by a newer version."""

    code = "ledger_too_new"


class NotReachable(LavaError):
    """The proxy does not answer."""

    code = "not_reachable"


class Fault(Struct, frozen=True, kw_only=True):
    """An answer of ours in place of the provider's. A dialect writes it in the shape that its SDK parses."""

    status: int
    code: str
    message: str
    """One or two readable sentences: what happened, and what to do."""
    details: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    """Figures beside the message, by name; amounts as decimal strings of dollars."""
    retry_after_seconds: int | None = None
