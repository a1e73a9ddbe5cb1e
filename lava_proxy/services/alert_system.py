"""What alerts look at of the home itself: disk, writer, holds, outbox, certificates, backups, spool."""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from lava_proxy.core.alert_units import DAY_US
from lava_proxy.core.alerts import SYSTEM, SystemFacts
from lava_proxy.core.entities import DeliveryState, HomeFact
from lava_proxy.core.instants import to_datetime
from lava_proxy.core.ports import Clock, Ledger
from lava_proxy.core.verify_rows import SWEEP_GRACE_US

LAST_BACKUP_FACT = "last_backup_us"
UNDELIVERED_AFTER_US = 600 * 1_000_000
"""An event that is not delivered so long after it happened is told."""
_COUNTED_MAX = 1000


class SystemPlaces(Struct, frozen=True, kw_only=True):
    """Where to look. ``certificate_ends`` gives the ends of the certificates that matter; it may raise OSError, ValueError."""

    folder: Path
    spool_folder: Path
    certificate_ends: Callable[[], list[datetime]]
    backup_every_us: int | None
    """How often backups are scheduled; ``None``: they are not."""
    proxy: str | None = None
    """The name of the proxy that this process is, if it is one."""


class SystemFactsReader:
    def __init__(self, *, ledger: Ledger, clock: Clock, places: SystemPlaces) -> None:
        self._ledger, self._clock, self._places = ledger, clock, places
        self._since_us = clock.now_us()

    def read(self) -> tuple[SystemFacts, ...]:
        """What all processes see alike, and what a proxy alone knows of itself: two would contradict each other."""
        now_us = self._clock.now_us()
        shared = SystemFacts(
            disk_free_bytes=shutil.disk_usage(self._places.folder).free,
            holds_overdue=self._overdue(now_us),
            undelivered=self._undelivered(now_us),
            certificate_days=self._certificate_days(now_us),
            backup_overdue_days=self._backup_overdue(now_us),
            spool_files=self._spooled(),
            read_us=now_us,
        )
        proxy = self._places.proxy
        if proxy is None:
            return (shared,)
        lag_us = self._ledger.backlog().oldest_us
        return shared, SystemFacts(subject=f"{SYSTEM}:{proxy}", writer_lag_us=lag_us, read_us=now_us)

    def _overdue(self, now_us: int) -> int:
        """Holds past their time, and not by the sweep's next round."""
        cursor, count = None, 0
        books = self._ledger.books()
        while True:
            page = books.holds(open_only=True, cursor=cursor, limit=500)
            count += sum(hold.expires_us + SWEEP_GRACE_US <= now_us for hold in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return count

    def _undelivered(self, now_us: int) -> int:
        outbox = self._ledger.outbox()
        dead = outbox.deliveries(state=DeliveryState.DEAD.value, limit=_COUNTED_MAX)
        waiting = outbox.deliveries(state=DeliveryState.PENDING.value, limit=_COUNTED_MAX)
        return len(dead) + sum(event.created_us + UNDELIVERED_AFTER_US <= now_us for event, _ in waiting)

    def _certificate_days(self, now_us: int) -> int | None:
        """Until the first of them ends; -1 where one cannot be read."""
        try:
            ends = self._places.certificate_ends()
        except (OSError, ValueError):
            return -1
        return min(((end - to_datetime(now_us)).days for end in ends), default=None)

    def _backup_overdue(self, now_us: int) -> int | None:
        """Whole days since a backup was due; ``None`` where none are scheduled."""
        every_us = self._places.backup_every_us
        if every_us is None:
            return None
        fact = self._ledger.read(lambda rows: rows.get(HomeFact, LAST_BACKUP_FACT))
        last_us = int(fact.value) if fact else self._since_us
        return max(now_us - last_us - every_us, 0) // DAY_US

    def _spooled(self) -> int:
        """Files with calls in them that are not booked yet."""
        folder = self._places.spool_folder
        return sum(map(_has_content, folder.iterdir())) if folder.is_dir() else 0


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # booked at this moment
        return False
