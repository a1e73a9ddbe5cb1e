"""The tables of alerts: rules, where each stands with whom, what fired, and where it is told."""

ALERT_TABLES: tuple[str, ...] = (
    """
CREATE TABLE alert_rules (
    rule_id TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    target TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX alert_rules_in_use_by_slug ON alert_rules (slug) WHERE status = 'active'",
    "CREATE INDEX alert_rules_by_status ON alert_rules (status)",
    """
CREATE TABLE alert_states (
    rule_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    is_firing INTEGER NOT NULL CHECK (is_firing IN (0, 1)),
    epoch TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    changed_us INTEGER NOT NULL,
    PRIMARY KEY (rule_id, subject)
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE alerts (
    alert_id TEXT NOT NULL PRIMARY KEY,
    rule_id TEXT NOT NULL,
    slug TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    value INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    fired_us INTEGER NOT NULL,
    resolved_us INTEGER
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE destinations (
    destination_id TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL,
    kind TEXT NOT NULL,
    hint TEXT NOT NULL,
    sealed TEXT NOT NULL,
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX destinations_in_use_by_slug ON destinations (slug) WHERE status = 'active'",
    "CREATE INDEX destinations_by_status ON destinations (status)",
)
