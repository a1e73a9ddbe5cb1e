"""Rows of billing: plans, bundles, subscriptions, payments, top-up rules, terms."""

from lava_proxy.core.billing import (
    OPEN_PAYMENTS,
    Bundle,
    Payment,
    Plan,
    Purpose,
    Subscription,
    SubscriptionStatus,
    Terms,
    TopUp,
)
from lava_proxy.core.entities import Customer
from lava_proxy.store.flat import flat_table
from lava_proxy.store.table import Lookup, Reference


def _live_of(row: Subscription) -> str | None:
    return None if row.status is SubscriptionStatus.CANCELLED else row.customer_id


def _top_up_of(row: Payment) -> str | None:
    return row.customer_id if row.purpose is Purpose.TOP_UP and row.status in OPEN_PAYMENTS else None


PLANS = flat_table(Plan, "plans", "plan_id", lookups={"name": Lookup(value=lambda row: row.name)})
BUNDLES = flat_table(
    Bundle,
    "bundles",
    "bundle_id",
    lookups={"plan_id": Lookup(value=lambda row: row.plan_id)},
)
SUBSCRIPTIONS = flat_table(
    Subscription,
    "subscriptions",
    "subscription_id",
    lookups={
        "customer_id": Lookup(
            value=lambda row: row.customer_id,
            only=lambda row: row.status is not SubscriptionStatus.CANCELLED,
            only_sql="status <> 'cancelled'",
        )
    },
    unique={"live_of": _live_of},
    derived={"live_of": _live_of},
    references=(Reference(kind=Customer, keys=lambda row: ((row.customer_id,),)),),
)
PAYMENTS = flat_table(
    Payment,
    "payments",
    "payment_id",
    lookups={"customer_id": Lookup(value=lambda row: row.customer_id)},
    unique={"top_up_of": _top_up_of, "reference": lambda row: row.reference},
    derived={"top_up_of": _top_up_of},
    references=(Reference(kind=Customer, keys=lambda row: ((row.customer_id,),)),),
)
TOP_UPS = flat_table(
    TopUp,
    "top_ups",
    "subject",
    lookups={"customer_id": Lookup(value=lambda row: row.customer_id)},
    references=(Reference(kind=Customer, keys=lambda row: ((row.customer_id,),)),),
)
TERMS = flat_table(
    Terms,
    "terms",
    "customer_id",
    lookups={
        "needs_look": Lookup(
            value=lambda row: 1 if row.needs_look else 0,
            only=lambda row: row.needs_look,
            only_sql="needs_look = 1",
        )
    },
    references=(Reference(kind=Customer, keys=lambda row: ((row.customer_id,),)),),
)
