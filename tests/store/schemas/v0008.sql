PRAGMA application_id = 1818326625;
PRAGMA user_version = 8;
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'ledger','first_tables','2026-11-28 08:00:15.357379+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'ledger','rollups','2026-11-28 08:00:15.357964+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'ledger','alert_tables','2026-11-28 08:00:15.358508+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'ledger','meters_and_budgets','2026-11-28 08:00:15.374898+00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'ledger','billing','2026-11-28 08:00:15.378346+00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'ledger','more_units','2026-11-28 08:00:15.381996+00:00');
INSERT INTO "_sqlite_migrations" VALUES(7,'ledger','reports','2026-11-28 08:00:15.382437+00:00');
INSERT INTO "_sqlite_migrations" VALUES(8,'ledger','pricing_facts','2026-11-28 08:00:15.384552+00:00');
CREATE TABLE alert_rules (
    rule_id TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    target TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE alert_states (
    rule_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    is_firing INTEGER NOT NULL CHECK (is_firing IN (0, 1)),
    epoch TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    changed_us INTEGER NOT NULL,
    PRIMARY KEY (rule_id, subject)
) STRICT, WITHOUT ROWID;
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
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
) STRICT;
INSERT INTO "audit" VALUES(1,1,'a','b','c','','');
CREATE TABLE budgets (
    budget_id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    measure TEXT NOT NULL,
    limit_amount INTEGER NOT NULL CHECK (limit_amount >= 0),
    spent INTEGER NOT NULL CHECK (spent >= 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    period TEXT NOT NULL,
    period_start_us INTEGER NOT NULL,
    created_us INTEGER NOT NULL
, burst INTEGER NOT NULL DEFAULT 0 CHECK (burst >= 0), arrival_ns INTEGER NOT NULL DEFAULT 0, allowed TEXT NOT NULL DEFAULT '[]', template_id TEXT NOT NULL DEFAULT '', ended_us INTEGER) STRICT;
INSERT INTO "budgets" VALUES('bud_1','run:run_1','cost',10,0,0,'total',0,1790000000000000,0,0,'[]','',NULL);
CREATE TABLE bundles (
    bundle_id TEXT NOT NULL PRIMARY KEY,
    plan_id TEXT NOT NULL,
    name TEXT NOT NULL,
    cost_nanos INTEGER NOT NULL CHECK (cost_nanos > 0),
    credit_nanos INTEGER NOT NULL CHECK (credit_nanos >= 0),
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;
CREATE TABLE customers (
    customer_id TEXT NOT NULL PRIMARY KEY,
    reference_id TEXT UNIQUE,
    name TEXT,
    email TEXT,
    phone TEXT,
    metadata TEXT NOT NULL,
    meter_id TEXT,
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;
INSERT INTO "customers" VALUES('con_acme','acme',NULL,NULL,NULL,'{}',NULL,'active',1790000000000000);
CREATE TABLE daily_rollups (
    bucket_us INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    meter_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL, errors INTEGER NOT NULL, unpriced INTEGER NOT NULL, estimated INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, cost_nanos INTEGER NOT NULL, charge_nanos INTEGER NOT NULL, uncovered_nanos INTEGER NOT NULL,
    PRIMARY KEY (bucket_us, customer_id, meter_id, provider, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE deliveries (
    consumer TEXT NOT NULL,
    event_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    leased_until_us INTEGER NOT NULL,
    next_attempt_us INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    PRIMARY KEY (consumer, event_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE destinations (
    destination_id TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL,
    kind TEXT NOT NULL,
    hint TEXT NOT NULL,
    sealed TEXT NOT NULL,
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    payload TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,'evt_first','test','first','{"a":1}',1790000000000000);
CREATE TABLE grants (
    grant_id TEXT NOT NULL PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers (customer_id),
    source TEXT NOT NULL,
    amount_nanos INTEGER NOT NULL,
    paid_nanos INTEGER NOT NULL CHECK (paid_nanos >= 0),
    free_nanos INTEGER NOT NULL CHECK (free_nanos >= 0),
    held_nanos INTEGER NOT NULL CHECK (held_nanos >= 0),
    spent_nanos INTEGER NOT NULL CHECK (spent_nanos >= 0),
    lapsed_nanos INTEGER NOT NULL CHECK (lapsed_nanos >= 0),
    priority INTEGER NOT NULL,
    expires_us INTEGER,
    meter_ids TEXT NOT NULL,
    status TEXT NOT NULL,
    note TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    is_open INTEGER NOT NULL CHECK (is_open = (free_nanos + held_nanos > 0)),
    CHECK (amount_nanos = free_nanos + held_nanos + spent_nanos + lapsed_nanos)
) STRICT;
INSERT INTO "grants" VALUES('grt_1','con_acme','manual',1000,0,1000,0,0,0,50,NULL,'[]','active','',1790000000000000,1);
CREATE TABLE hold_allocations (
    hold_id TEXT NOT NULL REFERENCES holds (hold_id),
    position INTEGER NOT NULL,
    grant_id TEXT REFERENCES grants (grant_id),
    budget_id TEXT REFERENCES budgets (budget_id),
    amount INTEGER NOT NULL CHECK (amount >= 0), period_start_us INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hold_id, position),
    CHECK ((grant_id IS NULL) <> (budget_id IS NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE holds (
    hold_id TEXT NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    instance_id TEXT NOT NULL,
    customer_id TEXT REFERENCES customers (customer_id),
    key_id TEXT,
    run_id TEXT,
    meter_id TEXT NOT NULL,
    meter_version INTEGER NOT NULL,
    meter_rule TEXT NOT NULL,
    billed INTEGER NOT NULL CHECK (billed IN (0, 1)),
    amount_nanos INTEGER NOT NULL CHECK (amount_nanos >= 0),
    cost_quote_nanos INTEGER CHECK (cost_quote_nanos >= 0),
    state TEXT NOT NULL CHECK (state IN ('in_flight', 'reserved', 'settled', 'voided', 'expired', 'orphaned')),
    quote TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    resolved_us INTEGER,
    provider TEXT NOT NULL,
    dialect TEXT NOT NULL,
    op TEXT NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    requested_model TEXT,
    provider_key_type TEXT NOT NULL,
    is_stream INTEGER NOT NULL CHECK (is_stream IN (0, 1)),
    metadata TEXT NOT NULL,
    caller_request_id TEXT, cycle TEXT NOT NULL DEFAULT '', allowance_micros INTEGER NOT NULL DEFAULT 0 CHECK (allowance_micros >= 0), overage_nanos INTEGER NOT NULL DEFAULT 0 CHECK (overage_nanos >= 0),
    CHECK ((resolved_us IS NULL) = (state IN ('in_flight', 'reserved')))
) STRICT;
INSERT INTO "holds" VALUES('hld_1','req_1','ins_1','con_acme',NULL,NULL,'prd_1',1,'home_default',1,0,NULL,'in_flight','',1790000000000000,1790000000000001,NULL,'openai','openai_chat','chat','POST','https://api.openai.com/v1/chat/completions','gpt-5','unmanaged',0,'{}',NULL,'',0,0);
CREATE TABLE home_facts (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "home_facts" VALUES('mode','test');
INSERT INTO "home_facts" VALUES('synchronous','FULL');
INSERT INTO "home_facts" VALUES('written_by','0.1.0');
CREATE TABLE idempotency (
    key TEXT NOT NULL PRIMARY KEY,
    content_sha256 TEXT NOT NULL,
    result TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;
CREATE TABLE instances (
    instance_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    ended_us INTEGER
) STRICT;
CREATE TABLE keys (
    key_id TEXT NOT NULL PRIMARY KEY,
    scope TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    hint TEXT NOT NULL,
    name TEXT NOT NULL,
    customer_id TEXT REFERENCES customers (customer_id),
    meter_ids TEXT NOT NULL,
    run_id TEXT REFERENCES runs (run_id),
    created_us INTEGER NOT NULL,
    expires_us INTEGER,
    revoked_us INTEGER,
    last_used_us INTEGER
) STRICT;
CREATE TABLE meter_versions (
    meter_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    rate_type TEXT NOT NULL,
    tier_unit TEXT NOT NULL,
    tiers TEXT NOT NULL,
    reset TEXT NOT NULL,
    created_us INTEGER NOT NULL, options TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (meter_id, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE meters (
    meter_id TEXT NOT NULL PRIMARY KEY,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    rate_type TEXT NOT NULL,
    tier_unit TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT;
CREATE TABLE overage_rollups (
    bucket_us INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    overage_nanos INTEGER NOT NULL,
    PRIMARY KEY (bucket_us, customer_id)
) STRICT, WITHOUT ROWID;
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
) STRICT;
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
) STRICT;
CREATE TABLE postings (
    sequence INTEGER NOT NULL REFERENCES transactions (sequence),
    position INTEGER NOT NULL,
    source TEXT NOT NULL,
    destination TEXT NOT NULL CHECK (source <> destination),
    amount_nanos INTEGER NOT NULL CHECK (amount_nanos > 0),
    PRIMARY KEY (sequence, position)
) STRICT, WITHOUT ROWID;
INSERT INTO "postings" VALUES(1,0,'funding:manual','grant:grt_1:free',1000);
CREATE TABLE refusals (
    bucket_us INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    code TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (bucket_us, customer_id, run_id, code)
) STRICT, WITHOUT ROWID;
CREATE TABLE requests (
    request_id TEXT NOT NULL PRIMARY KEY,
    hold_id TEXT NOT NULL REFERENCES holds (hold_id),
    customer_id TEXT REFERENCES customers (customer_id),
    key_id TEXT,
    run_id TEXT,
    meter_id TEXT NOT NULL,
    meter_version INTEGER NOT NULL,
    meter_rule TEXT NOT NULL,
    model TEXT,
    status TEXT NOT NULL,
    http_status INTEGER,
    response_id TEXT,
    dialect_version INTEGER NOT NULL,
    raw_usage TEXT NOT NULL,
    quote_nanos INTEGER NOT NULL,
    cost_nanos INTEGER,
    charge_nanos INTEGER NOT NULL CHECK (charge_nanos >= 0),
    uncovered_nanos INTEGER NOT NULL CHECK (uncovered_nanos >= 0),
    breakdown TEXT NOT NULL,
    unit_prices TEXT NOT NULL,
    price_source TEXT NOT NULL,
    price_date TEXT NOT NULL,
    cost_basis TEXT NOT NULL,
    flags TEXT NOT NULL,
    latency_us INTEGER,
    first_byte_us INTEGER,
    created_us INTEGER NOT NULL,
    settled_us INTEGER NOT NULL,
    provider TEXT NOT NULL,
    dialect TEXT NOT NULL,
    op TEXT NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    requested_model TEXT,
    provider_key_type TEXT NOT NULL,
    is_stream INTEGER NOT NULL CHECK (is_stream IN (0, 1)),
    metadata TEXT NOT NULL,
    caller_request_id TEXT,
    input_tokens INTEGER,
    cached_input_tokens INTEGER,
    cache_write_tokens INTEGER,
    cache_write_1h_tokens INTEGER,
    input_audio_tokens INTEGER,
    cached_audio_tokens INTEGER,
    input_image_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    output_audio_tokens INTEGER,
    output_image_tokens INTEGER,
    input_characters INTEGER,
    output_characters INTEGER,
    input_seconds TEXT,
    output_seconds TEXT,
    images INTEGER,
    searches INTEGER,
    pages INTEGER
, video_seconds TEXT, requests INTEGER, credits TEXT, list_nanos INTEGER, service_tier TEXT NOT NULL DEFAULT '', billed TEXT NOT NULL DEFAULT '', reprices INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE rollups (
    bucket_us INTEGER NOT NULL,
    customer_id TEXT NOT NULL,
    meter_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL, errors INTEGER NOT NULL, unpriced INTEGER NOT NULL, estimated INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_input_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, cost_nanos INTEGER NOT NULL, charge_nanos INTEGER NOT NULL, uncovered_nanos INTEGER NOT NULL,
    PRIMARY KEY (bucket_us, customer_id, meter_id, provider, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    customer_id TEXT REFERENCES customers (customer_id),
    meter_id TEXT,
    created_us INTEGER NOT NULL,
    ended_us INTEGER
) STRICT;
INSERT INTO "runs" VALUES('run_1',NULL,NULL,1790000000000000,NULL);
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
) STRICT;
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
) STRICT;
CREATE TABLE tier_counters (
    customer_id TEXT NOT NULL,
    meter_id TEXT NOT NULL,
    cycle TEXT NOT NULL,
    count_micros INTEGER NOT NULL CHECK (count_micros >= 0),
    charge_carry TEXT NOT NULL,
    cost_carry TEXT NOT NULL, held_micros INTEGER NOT NULL DEFAULT 0 CHECK (held_micros >= 0),
    PRIMARY KEY (customer_id, meter_id, cycle)
) STRICT, WITHOUT ROWID;
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
) STRICT;
CREATE TABLE transactions (
    sequence INTEGER PRIMARY KEY,
    transaction_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,
    at_us INTEGER NOT NULL,
    customer_id TEXT,
    request_id TEXT,
    note TEXT NOT NULL,
    actor TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
INSERT INTO "transactions" VALUES(1,'txn_grant:grt_1','adjust','grant:grt_1',1790000000000000,'con_acme',NULL,'','','0000000000000000000000000000000000000000000000000000000000000000','c7d514864f72b6d0fc2ce1188e6890ab1820aee8925534759bab24b142edd287');
INSERT INTO "transactions" VALUES(2,'txn_hold:req_1','adjust','hold:req_1',1790000000000000,'con_acme',NULL,'','','c7d514864f72b6d0fc2ce1188e6890ab1820aee8925534759bab24b142edd287','0c6cc349d91f41b21741a7ff5f09590e58f3ff8a9ee0921818b48e77c48d06e3');
CREATE TABLE unique_values (
    customer_id TEXT NOT NULL,
    meter_id TEXT NOT NULL,
    cycle TEXT NOT NULL,
    value_sha256 TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    PRIMARY KEY (customer_id, meter_id, cycle, value_sha256)
) STRICT, WITHOUT ROWID;
CREATE TABLE wallets (
    customer_id TEXT NOT NULL PRIMARY KEY REFERENCES customers (customer_id),
    debt_nanos INTEGER NOT NULL CHECK (debt_nanos >= 0)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX transactions_of_request ON transactions (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX transactions_of_customer ON transactions (customer_id) WHERE request_id IS NULL AND customer_id IS NOT NULL;
CREATE TRIGGER transactions_follow_each_other BEFORE INSERT ON transactions
WHEN NOT EXISTS (SELECT 1 FROM transactions WHERE sequence = NEW.sequence - 1 AND hash = NEW.previous_hash)
    AND NOT (NEW.sequence = 1 AND NOT EXISTS (SELECT 1 FROM transactions))
BEGIN SELECT RAISE(ABORT, 'a transaction must follow the last one of the journal'); END;
CREATE INDEX instances_by_end ON instances (ended_us);
CREATE INDEX keys_of_customer ON keys (customer_id);
CREATE INDEX keys_of_run ON keys (run_id);
CREATE INDEX meters_by_slug ON meters (slug);
CREATE UNIQUE INDEX meters_in_use_by_slug ON meters (slug) WHERE status = 'active';
CREATE INDEX meters_by_status ON meters (status);
CREATE INDEX grants_of_customer ON grants (customer_id, created_us);
CREATE INDEX grants_in_use ON grants (customer_id) WHERE is_open = 1;
CREATE INDEX budgets_by_subject ON budgets (subject);
CREATE INDEX holds_open ON holds (state, hold_id) WHERE state IN ('in_flight', 'reserved');
CREATE UNIQUE INDEX holds_open_by_caller ON holds (caller_request_id)
WHERE caller_request_id IS NOT NULL AND state IN ('in_flight', 'reserved');
CREATE TRIGGER holds_of_a_caller_are_new BEFORE INSERT ON holds
WHEN NEW.caller_request_id IS NOT NULL
    AND EXISTS (SELECT 1 FROM requests WHERE caller_request_id = NEW.caller_request_id AND status = 'completed')
BEGIN SELECT RAISE(ABORT, 'a completed request has this caller_request_id'); END;
CREATE INDEX requests_by_instant ON requests (created_us, request_id);
CREATE INDEX requests_of_customer ON requests (customer_id, created_us, request_id) WHERE customer_id IS NOT NULL;
CREATE INDEX requests_of_run ON requests (run_id, created_us, request_id) WHERE run_id IS NOT NULL;
CREATE INDEX requests_by_caller ON requests (caller_request_id) WHERE caller_request_id IS NOT NULL;
CREATE INDEX deliveries_pending ON deliveries (consumer, next_attempt_us) WHERE state = 'pending';
CREATE TRIGGER transactions_refuse_update BEFORE UPDATE ON transactions BEGIN SELECT RAISE(ABORT, 'transactions only ever grows'); END;
CREATE TRIGGER transactions_refuse_delete BEFORE DELETE ON transactions BEGIN SELECT RAISE(ABORT, 'transactions only ever grows'); END;
CREATE TRIGGER postings_refuse_update BEFORE UPDATE ON postings BEGIN SELECT RAISE(ABORT, 'postings only ever grows'); END;
CREATE TRIGGER postings_refuse_delete BEFORE DELETE ON postings BEGIN SELECT RAISE(ABORT, 'postings only ever grows'); END;
CREATE TRIGGER audit_refuse_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit only ever grows'); END;
CREATE TRIGGER audit_refuse_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit only ever grows'); END;
CREATE TRIGGER meter_versions_refuse_update BEFORE UPDATE ON meter_versions BEGIN SELECT RAISE(ABORT, 'meter_versions only ever grows'); END;
CREATE TRIGGER meter_versions_refuse_delete BEFORE DELETE ON meter_versions BEGIN SELECT RAISE(ABORT, 'meter_versions only ever grows'); END;
CREATE UNIQUE INDEX alert_rules_in_use_by_slug ON alert_rules (slug) WHERE status = 'active';
CREATE INDEX alert_rules_by_status ON alert_rules (status);
CREATE UNIQUE INDEX destinations_in_use_by_slug ON destinations (slug) WHERE status = 'active';
CREATE INDEX destinations_by_status ON destinations (status);
CREATE INDEX plans_by_name ON plans (name);
CREATE TRIGGER plans_keep_their_price BEFORE UPDATE ON plans
WHEN NEW.amount_nanos <> OLD.amount_nanos OR NEW.interval <> OLD.interval
BEGIN SELECT RAISE(ABORT, 'the price and the interval of a plan never change'); END;
CREATE INDEX bundles_of_plan ON bundles (plan_id);
CREATE INDEX subscriptions_live ON subscriptions (customer_id) WHERE status <> 'cancelled';
CREATE INDEX subscriptions_due ON subscriptions (due_us) WHERE due_us IS NOT NULL;
CREATE INDEX payments_of_customer ON payments (customer_id);
CREATE INDEX payments_due ON payments (due_us) WHERE due_us IS NOT NULL;
CREATE TRIGGER payments_stay_paid BEFORE UPDATE ON payments
WHEN OLD.status = 'paid' AND (NEW.status <> 'paid' OR NEW.amount_nanos <> OLD.amount_nanos)
BEGIN SELECT RAISE(ABORT, 'what was paid stays paid'); END;
CREATE INDEX top_ups_of_customer ON top_ups (customer_id);
CREATE INDEX terms_to_look_at ON terms (needs_look) WHERE needs_look = 1;
CREATE INDEX postings_of_money ON postings (sequence, source, destination, amount_nanos) WHERE (
    destination = 'breakage' OR destination GLOB 'debt:*'
    OR source GLOB 'funding:*' OR source GLOB 'sales:*' OR source GLOB 'money:*'
);
COMMIT;
