"""Writes the present schema, with a few rows, to ``schemas/``: run it once when a version of the schema is released.

python -m tests.store.dump
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from lava_proxy.core.entities import AuditEntry, Mode
from lava_proxy.store import open_ledger
from lava_proxy.store.migrations import APPLICATION_ID, STEPS, schema_version
from tests.store.samples import ACME, FOUNDATION, FakeClock, event, hold, transaction, write

SCHEMAS = Path(__file__).parent / "schemas"


def dump_of(path: Path) -> str:
    """The statements that make this file again."""
    with closing(sqlite3.connect(path)) as connection:
        lines = list(connection.iterdump())
        version = schema_version(connection)
    head = [f"PRAGMA application_id = {APPLICATION_ID};", f"PRAGMA user_version = {version};"]
    return "\n".join([*head, *lines, ""])


def schema_of(connection: sqlite3.Connection) -> dict[str, str]:
    """Every table, index and trigger by name, without what SQLite and sqlite-utils keep for themselves."""
    found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {name: " ".join(sql.split()) for name, sql in found if "sqlite_" not in name}


def fill(path: Path) -> None:
    """A small ledger of the present version."""
    with open_ledger(path, mode=Mode.TEST, clock=FakeClock()) as ledger:
        trail = AuditEntry(at_us=1, actor="a", action="b", subject="c")
        funded = transaction("grant:grt_1", ("funding:manual", "grant:grt_1:free", 1000), customer_id=ACME)
        write(ledger, *FOUNDATION, event("first"), trail, transactions=(funded,))
        write(ledger, hold("1"), transactions=(transaction("hold:req_1", customer_id=ACME),))


def main() -> None:
    target = SCHEMAS / f"v{len(STEPS):04d}.sql"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        fill(path)
        target.write_text(dump_of(path))
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
