"""Meters with options, counters by cycle, and budgets with periods, rates and lists: additions to the first tables."""

METER_STEP: tuple[str, ...] = (
    "ALTER TABLE meter_versions ADD COLUMN options TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE tier_counters ADD COLUMN held_micros INTEGER NOT NULL DEFAULT 0 CHECK (held_micros >= 0)",
    "ALTER TABLE holds ADD COLUMN cycle TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE holds ADD COLUMN allowance_micros INTEGER NOT NULL DEFAULT 0 CHECK (allowance_micros >= 0)",
    "ALTER TABLE hold_allocations ADD COLUMN period_start_us INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE budgets ADD COLUMN burst INTEGER NOT NULL DEFAULT 0 CHECK (burst >= 0)",
    "ALTER TABLE budgets ADD COLUMN arrival_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE budgets ADD COLUMN allowed TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE budgets ADD COLUMN template_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE budgets ADD COLUMN ended_us INTEGER",
    # The values that a meter counts different ones of, each as its SHA-256.
    """
CREATE TABLE unique_values (
    customer_id TEXT NOT NULL,
    meter_id TEXT NOT NULL,
    cycle TEXT NOT NULL,
    value_sha256 TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    PRIMARY KEY (customer_id, meter_id, cycle, value_sha256)
) STRICT, WITHOUT ROWID""",
)
"""The statements of the step, in order."""
