"""The tables of billing: plans, bundles, subscriptions, payments, top-up rules, terms; and the overage part of holds.

Written once, like the first tables. The file itself keeps what money depends on: one live subscription and one open
top-up for each customer, a plan's price, and that what was paid stays paid.
"""

BILLING_TABLES: tuple[str, ...] = (
    """
CREATE TABLE plans (
    plan_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    amount_nanos INTEGER NOT NULL CHECK (amount_nanos >= 0),
    interval TEXT NOT NULL,
    included_nanos INTEGER NOT NULL CHECK (included_nanos >= 0),
    rollover TEXT NOT NULL,
    rollover_cap_nanos INTEGER,
    bundle_rollover TEXT NOT NULL,
    bundle_rollover_cap_nanos INTEGER,
    meter_ids TEXT NOT NULL,
    top_up_bundle_id TEXT,
    trial_days INTEGER NOT NULL,
    overage_cap_nanos INTEGER NOT NULL CHECK (overage_cap_nanos >= 0),
    overage_markup_nanos INTEGER NOT NULL,
    overage_collect_nanos INTEGER,
    grace_days INTEGER NOT NULL,
    after_grace TEXT NOT NULL,
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT""",
    "CREATE INDEX plans_by_name ON plans (name)",
    """
CREATE TRIGGER plans_keep_their_price BEFORE UPDATE ON plans
WHEN NEW.amount_nanos <> OLD.amount_nanos OR NEW.interval <> OLD.interval
BEGIN SELECT RAISE(ABORT, 'the price and the interval of a plan never change'); END""",
    """
CREATE TABLE bundles (
    bundle_id TEXT NOT NULL PRIMARY KEY,
    plan_id TEXT NOT NULL,
    name TEXT NOT NULL,
    cost_nanos INTEGER NOT NULL CHECK (cost_nanos > 0),
    credit_nanos INTEGER NOT NULL CHECK (credit_nanos >= 0),
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT""",
    "CREATE INDEX bundles_of_plan ON bundles (plan_id)",
    """
CREATE TABLE subscriptions (
    subscription_id TEXT NOT NULL PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers (customer_id),
    plan_id TEXT NOT NULL,
    status TEXT NOT NULL,
    anchor_us INTEGER NOT NULL,
    intervals INTEGER NOT NULL,
    cycle INTEGER NOT NULL,
    cycle_start_us INTEGER NOT NULL,
    cycle_end_us INTEGER NOT NULL,
    pending_plan_id TEXT,
    is_cancelling INTEGER NOT NULL CHECK (is_cancelling IN (0, 1)),
    own_amount_nanos INTEGER,
    discount_nanos INTEGER NOT NULL,
    minimum_nanos INTEGER NOT NULL,
    awaiting_payment_id TEXT,
    grace_until_us INTEGER,
    is_blocked INTEGER NOT NULL CHECK (is_blocked IN (0, 1)),
    left_us INTEGER,
    due_us INTEGER,
    started_us INTEGER NOT NULL,
    ended_us INTEGER,
    live_of TEXT UNIQUE,
    CHECK (live_of IS CASE WHEN status = 'cancelled' THEN NULL ELSE customer_id END),
    CHECK (cycle_start_us <= cycle_end_us)
) STRICT""",
    "CREATE INDEX subscriptions_live ON subscriptions (customer_id) WHERE status <> 'cancelled'",
    "CREATE INDEX subscriptions_due ON subscriptions (due_us) WHERE due_us IS NOT NULL",
    """
CREATE TABLE payments (
    payment_id TEXT NOT NULL PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers (customer_id),
    subscription_id TEXT,
    purpose TEXT NOT NULL,
    amount_nanos INTEGER NOT NULL CHECK (amount_nanos >= 0),
    status TEXT NOT NULL,
    gateway TEXT NOT NULL,
    plan_id TEXT,
    bundle_id TEXT,
    cycle INTEGER NOT NULL,
    credit_nanos INTEGER NOT NULL CHECK (credit_nanos >= 0),
    grant_id TEXT,
    refund_of TEXT,
    refunded_nanos INTEGER NOT NULL CHECK (refunded_nanos >= 0),
    rule TEXT,
    attempts INTEGER NOT NULL,
    repeats INTEGER NOT NULL,
    reference TEXT UNIQUE,
    url TEXT,
    reason TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    due_us INTEGER,
    paid_us INTEGER,
    top_up_of TEXT UNIQUE,
    CHECK ((paid_us IS NOT NULL) = (status = 'paid')),
    CHECK (refunded_nanos <= amount_nanos),
    CHECK (top_up_of IS CASE WHEN purpose = 'top_up' AND status IN ('due', 'sent', 'unknown', 'pending') THEN customer_id END)
) STRICT""",
    "CREATE INDEX payments_of_customer ON payments (customer_id)",
    "CREATE INDEX payments_due ON payments (due_us) WHERE due_us IS NOT NULL",
    """
CREATE TRIGGER payments_stay_paid BEFORE UPDATE ON payments
WHEN OLD.status = 'paid' AND (NEW.status <> 'paid' OR NEW.amount_nanos <> OLD.amount_nanos)
BEGIN SELECT RAISE(ABORT, 'what was paid stays paid'); END""",
    """
CREATE TABLE top_ups (
    subject TEXT NOT NULL PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers (customer_id),
    below_nanos INTEGER NOT NULL,
    bundle_id TEXT,
    amount_nanos INTEGER,
    month_cap_nanos INTEGER,
    cooldown_us INTEGER NOT NULL,
    is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    last_us INTEGER,
    failures INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT""",
    "CREATE INDEX top_ups_of_customer ON top_ups (customer_id)",
    """
CREATE TABLE terms (
    customer_id TEXT NOT NULL PRIMARY KEY REFERENCES customers (customer_id),
    subscription_id TEXT,
    plan_id TEXT,
    cycle_start_us INTEGER NOT NULL,
    cycle_end_us INTEGER NOT NULL,
    cycle INTEGER NOT NULL,
    counted_from_us INTEGER NOT NULL,
    meter_ids TEXT NOT NULL,
    block TEXT NOT NULL,
    overage_limit_nanos INTEGER NOT NULL,
    overage_markup_nanos INTEGER NOT NULL,
    overage_collect_nanos INTEGER,
    overage_used_nanos INTEGER NOT NULL,
    overage_billed_nanos INTEGER NOT NULL CHECK (overage_billed_nanos >= 0),
    overage_held_nanos INTEGER NOT NULL CHECK (overage_held_nanos >= 0),
    top_up_below_nanos INTEGER,
    wanted_nanos INTEGER NOT NULL,
    needs_look INTEGER NOT NULL CHECK (needs_look IN (0, 1))
) STRICT""",
    "CREATE INDEX terms_to_look_at ON terms (needs_look) WHERE needs_look = 1",
    "ALTER TABLE holds ADD COLUMN overage_nanos INTEGER NOT NULL DEFAULT 0 CHECK (overage_nanos >= 0)",
)
"""The statements of this step, in order."""
