"""The table of tables: every kind of row and where it is kept, those that others refer to first."""

from typing import Any

from lava_proxy.core.alert_rows import Alert, AlertRule, AlertState, Destination
from lava_proxy.core.billing import Bundle, Payment, Plan, Subscription, Terms, TopUp
from lava_proxy.core.entities import (
    AuditEntry,
    Budget,
    Counter,
    Customer,
    Delivery,
    Entity,
    Event,
    Grant,
    Hold,
    HomeFact,
    IdempotentResult,
    Instance,
    Key,
    Meter,
    MeterVersion,
    Refusal,
    RequestRecord,
    Run,
    UniqueValue,
    Wallet,
)
from lava_proxy.store.rows_alerts import ALERT_RULES, ALERT_STATES, ALERTS, DESTINATIONS
from lava_proxy.store.rows_billing import BUNDLES, PAYMENTS, PLANS, SUBSCRIPTIONS, TERMS, TOP_UPS
from lava_proxy.store.rows_credit import BUDGETS, GRANTS, REFUSALS, WALLETS
from lava_proxy.store.rows_holds import HOLDS
from lava_proxy.store.rows_house import AUDIT, DELIVERIES, EVENTS, HOME_FACTS, IDEMPOTENCY
from lava_proxy.store.rows_meters import COUNTERS, METER_VERSIONS, METERS, UNIQUE_VALUES
from lava_proxy.store.rows_people import CUSTOMERS, INSTANCES, KEYS_OF_CALLERS, RUNS
from lava_proxy.store.rows_requests import REQUESTS
from lava_proxy.store.table import Table

TABLES: dict[type, Table[Any]] = {
    HomeFact: HOME_FACTS,
    Instance: INSTANCES,
    Customer: CUSTOMERS,
    Run: RUNS,
    Key: KEYS_OF_CALLERS,
    Meter: METERS,
    MeterVersion: METER_VERSIONS,
    Grant: GRANTS,
    Wallet: WALLETS,
    Budget: BUDGETS,
    Counter: COUNTERS,
    UniqueValue: UNIQUE_VALUES,
    Hold: HOLDS,
    RequestRecord: REQUESTS,
    Refusal: REFUSALS,
    Plan: PLANS,
    Bundle: BUNDLES,
    Subscription: SUBSCRIPTIONS,
    Payment: PAYMENTS,
    TopUp: TOP_UPS,
    Terms: TERMS,
    IdempotentResult: IDEMPOTENCY,
    Event: EVENTS,
    Delivery: DELIVERIES,
    AuditEntry: AUDIT,
    AlertRule: ALERT_RULES,
    AlertState: ALERT_STATES,
    Alert: ALERTS,
    Destination: DESTINATIONS,
}
"""``Any`` stands for the entity: the kinds differ, and a dict cannot say that each key fits its value."""

KEYS = {kind: table.key for kind, table in TABLES.items()}
"""The parts of each primary key, in the order in which ``Rows.get`` takes them."""


def table_of[T: Entity](kind: type[T]) -> Table[T]:
    """The table of a kind.

    Raises:
        TypeError: it is not a row of the ledger.
    """
    found = TABLES.get(kind)
    if found is None:
        raise TypeError(f"{kind!r} is not a row of the ledger")
    return found
