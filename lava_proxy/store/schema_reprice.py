"""What a request keeps so that it can be priced again, and the list price of calls by subscription."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = (
    "list_nanos INTEGER",
    "service_tier TEXT NOT NULL DEFAULT ''",
    "billed TEXT NOT NULL DEFAULT ''",
    "reprices INTEGER NOT NULL DEFAULT 0",
)


def add_pricing_facts(database: "Database") -> None:
    """Add their columns to the requests; what was booked before has none of them."""
    for column in _COLUMNS:
        database.conn.execute(f"ALTER TABLE requests ADD COLUMN {column}")
