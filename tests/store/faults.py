"""Connections to SQLite that fail when a test wants them to."""

import sqlite3
from typing import Any


class FailingConnection(sqlite3.Connection):
    """Raises at the n-th statement that it is given, once armed; counts them otherwise."""

    armed_at: int | None = None
    count = 0
    code = sqlite3.SQLITE_IOERR
    opened: "list[FailingConnection]"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        type(self).opened.append(self)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Of the statements that the writer gives, the n-th fails before it is run."""
        kind = type(self)
        kind.count += 1
        if kind.armed_at is not None and kind.count == kind.armed_at and sql != "ROLLBACK":
            kind.armed_at = None
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = kind.code
            raise error
        return super().execute(sql, *values)

    @classmethod
    def arm(cls, number: int) -> None:
        """Let the statement with this number from now on fail."""
        cls.count, cls.armed_at = 0, number


def failing_class() -> type[FailingConnection]:
    """A class of its own for each test, since SQLite takes a class."""
    return type("FailingConnectionOfATest", (FailingConnection,), {"opened": []})
