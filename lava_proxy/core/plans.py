"""Plans: the built-in free one, how they are found, what one costs a customer, and what may stand in one."""

from lava_proxy.core.billing import Bundle, Interval, Plan, PlanStatus, Subscription
from lava_proxy.core.cycles import CENT_NANOS, discounted
from lava_proxy.core.errors import InvalidAmount, InvalidInput
from lava_proxy.core.ids import PlanId
from lava_proxy.core.money import parse_amount
from lava_proxy.core.ports import Rows

FREE_PLAN_ID = PlanId("sc_free")
FREE_PLAN = Plan(plan_id=FREE_PLAN_ID, name="Free", amount_nanos=0, interval=Interval.MONTH, created_us=0)
"""There from the start; it needs a row only once somebody has changed it."""
CURRENCY = "usd"
NAME_CHARACTERS_MAX = 100
TRIAL_DAYS_MAX = 365
GRACE_DAYS_MAX = 90
MARKUP_PERCENT_MAX = 1000
CYCLE_AMOUNT_MAX_NANOS = 10_000 * 1_000_000_000
"""As of Lava: no cycle costs more than $10,000."""


def parse_price(text: str, *, field: str, allow_zero: bool = True) -> int:
    """Nano-dollars of a price: whole cents.

    Raises:
        InvalidAmount: it is no amount, or has more than 2 decimals.

    >>> parse_price("19.99", field="amount")
    19990000000
    """
    nanos = parse_amount(text, field=field, allow_zero=allow_zero)
    if nanos % CENT_NANOS:
        raise InvalidAmount(f"{field}: {text!r} is no price; money has at most 2 decimals, such as 19.99", field=field)
    return nanos


def check_currency(text: str) -> None:
    """
    Raises:
        InvalidInput: it is not the one that there is.
    """
    if text.strip().lower() != CURRENCY:
        raise InvalidInput(
            f"currency: {text!r} is not known; amounts are in {CURRENCY}, and one credit is one dollar",
            field="currency",
        )


def load_plan(rows: Rows, plan_id: str) -> Plan | None:
    """By its id, the free one too."""
    found = rows.get(Plan, plan_id)
    return found or (FREE_PLAN if plan_id == FREE_PLAN_ID else None)


def find_plan(rows: Rows, reference: str) -> Plan | None:
    """By ``sc_…`` or by the name of an active plan."""
    if reference.startswith("sc_"):
        return load_plan(rows, reference)
    found = [plan for plan in rows.find(Plan, name=reference) if plan.status is PlanStatus.ACTIVE]
    if found:
        return found[0]
    free = load_plan(rows, FREE_PLAN_ID)
    return free if free is not None and reference == free.name else None


def price_of(plan: Plan, subscription: Subscription | None) -> int:
    """What a cycle costs this customer: an own price in place of the plan's, and the discount off it."""
    if subscription is None:
        return plan.amount_nanos
    own = subscription.own_amount_nanos if subscription.plan_id == plan.plan_id else None
    return discounted(plan.amount_nanos if own is None else own, subscription.discount_nanos)


def check_plan(plan: Plan) -> Plan:
    """
    Raises:
        InvalidInput: something in it cannot be; the message names the field and the rule.
    """
    _check_name(plan.name)
    _check_range("trial_days", plan.trial_days, TRIAL_DAYS_MAX)
    _check_range("grace_days", plan.grace_days, GRACE_DAYS_MAX)
    _check_range("overage_markup", plan.overage_markup_nanos, MARKUP_PERCENT_MAX * 10**9)
    for field in ("amount", "overage_cap"):
        if getattr(plan, f"{field}_nanos") % CENT_NANOS:
            raise InvalidInput(f"{field}: money has at most 2 decimals", field=field)
    for field in ("amount", "included", "overage_cap", "rollover_cap", "bundle_rollover_cap", "overage_collect"):
        if (getattr(plan, f"{field}_nanos") or 0) < 0:
            raise InvalidInput(f"{field}: it must be 0 or more", field=field)
    if plan.amount_nanos > CYCLE_AMOUNT_MAX_NANOS:
        raise InvalidInput("amount: a cycle costs at most 10000.00", field="amount")
    if plan.overage_collect_nanos is not None and not 0 < plan.overage_collect_nanos <= plan.overage_cap_nanos:
        raise InvalidInput(
            "overage_collect: it must be more than 0 and at most the overage cap", field="overage_collect"
        )
    return plan


def check_bundle(bundle: Bundle) -> Bundle:
    """
    Raises:
        InvalidInput: something in it cannot be.
    """
    _check_name(bundle.name)
    if bundle.cost_nanos <= 0 or bundle.cost_nanos % CENT_NANOS:
        raise InvalidInput("cost: it must be more than 0, in whole cents", field="cost")
    if bundle.credit_nanos <= 0:
        raise InvalidInput("credit: it must be more than 0", field="credit")
    return bundle


def _check_name(name: str) -> None:
    if not 0 < len(name.strip()) <= NAME_CHARACTERS_MAX or not name.isprintable() or name.startswith(("sc_", "cb_")):
        raise InvalidInput(
            f"name: 1 to {NAME_CHARACTERS_MAX} printable characters that do not begin like an id", field="name"
        )


def _check_range(field: str, value: int, most: int) -> None:
    if not 0 <= value <= most:
        shown = most // 10**9 if field == "overage_markup" else most
        raise InvalidInput(f"{field}: it must be 0 to {shown}", field=field)
