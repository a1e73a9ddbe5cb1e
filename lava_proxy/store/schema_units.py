"""Units that came after the first version of the schema: seconds of video, calls, a provider's credits."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = ("video_seconds TEXT", "requests INTEGER", "credits TEXT")


def add_units(database: "Database") -> None:
    """Add their columns to the requests; what was booked before has none."""
    for column in _COLUMNS:
        database.conn.execute(f"ALTER TABLE requests ADD COLUMN {column}")
