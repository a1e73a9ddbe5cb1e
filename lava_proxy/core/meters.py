"""The built-in meter, and the rules by which a request finds its meter."""

from enum import StrEnum

from msgspec import Struct

from lava_proxy.core.entities import Meter, MeterVersion, RateType, Tier, TierUnit
from lava_proxy.core.ids import MeterId

AT_COST_ID = MeterId("prd_at_cost")
AT_COST = Meter(
    meter_id=AT_COST_ID,
    slug="at-cost",
    name="At cost",
    rate_type=RateType.PERCENTAGE,
    tier_unit=TierUnit.REQUESTS,
    version=1,
    created_us=0,
)
"""What applies where nothing else is set: the customer pays what the provider charges. It needs no row."""
AT_COST_VERSION = MeterVersion(
    meter_id=AT_COST_ID,
    version=1,
    rate_type=RateType.PERCENTAGE,
    tier_unit=TierUnit.REQUESTS,
    tiers=(Tier(start=0, rate_nanos=0),),
    created_us=0,
)


class MeterRule(StrEnum):
    """Why a request has its meter, in the order in which they are asked."""

    NAMED = "named"
    """By a caller who may choose."""
    RUN = "run"
    """Given to `lava run` or `lava env`."""
    KEY = "key"
    CUSTOMER = "customer"
    PLAN = "plan"
    HOME_DEFAULT = "home_default"
    AT_COST = "at_cost"


class MeterChoice(Struct, frozen=True, kw_only=True):
    meter: Meter
    version: MeterVersion
    rule: MeterRule
