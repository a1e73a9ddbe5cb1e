"""The ledger: the journal and its projections, kept on SQLite, or in memory.

Every write is a step of ``transact``: rows are read under the write lock, a pure rule decides, and its decision is
written with others in one durable commit (``writer``, ``unit``). Where each kind of row is kept stands in one table
(``tables``); a backend is a file here that passes the contract tests in ``tests/store``.
"""

from collections.abc import Callable
from pathlib import Path

from lava_proxy.core.entities import Mode
from lava_proxy.core.ports import Clock
from lava_proxy.store.copying import copy_ledger
from lava_proxy.store.integrity import Integrity, integrity
from lava_proxy.store.ledger import no_probe
from lava_proxy.store.memory_ledger import MemoryLedger
from lava_proxy.store.sqlite_ledger import BUSY_SECONDS, SqliteLedger
from lava_proxy.store.tables import KEYS

__all__ = ["KEYS", "Integrity", "MemoryLedger", "SqliteLedger", "copy_ledger", "integrity", "open_ledger"]


def open_ledger(
    path: Path,
    *,
    mode: Mode | None,
    clock: Clock,
    synchronous: str | None = None,
    create: bool = True,
    busy_seconds: float = BUSY_SECONDS,
    probe: Callable[[str], None] = no_probe,
) -> SqliteLedger:
    """The ledger in the file at ``path``, which is made (mode 0600) or migrated as needed. Close it after use.

    ``mode`` of ``None``: whichever the file has, live for a new one.
    ``synchronous``, FULL or NORMAL, is kept in the file; ``None`` takes what it says, FULL at first.

    Raises:
        NotFound: there is no file, and ``create`` is false.
        Refused: it belongs to a home in the other mode.
        InvalidSettings: ``synchronous`` is something else.
        LedgerTooNew: a newer program wrote it.
        LedgerUnavailable: it is no ledger, or cannot be read or written.
    """
    return SqliteLedger(
        path, mode=mode, clock=clock, synchronous=synchronous, create=create, busy_seconds=busy_seconds, probe=probe
    )
