"""Whether a home may act on the world: a restored copy may not, until its operator says so.

Two copies of one home would both charge cards, push usage, and call webhooks. So a restored home has an id of its own and
a fact that it is paused. Whoever sends money or messages out asks ``is_paused`` first; calls are served all the same.
"""

from lava_proxy.core.entities import HomeFact
from lava_proxy.core.ports import Rows

HOME_ID_FACT = "home_id"
PAUSED_FACT = "paused"


def pause_reason(rows: Rows) -> str:
    """Why payments, sync and webhooks wait; empty where they do not."""
    fact = rows.get(HomeFact, PAUSED_FACT)
    return fact.value if fact else ""


def is_paused(rows: Rows) -> bool:
    return bool(pause_reason(rows))


def home_id(rows: Rows) -> str:
    """Which copy this is; empty for a home from before there were such ids."""
    fact = rows.get(HomeFact, HOME_ID_FACT)
    return fact.value if fact else ""
