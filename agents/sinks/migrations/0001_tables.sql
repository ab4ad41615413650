-- What people did in the product, as it came in. Of two events with one id the one at the first place counts.
CREATE TABLE product_event (
    event_id text PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    name text NOT NULL,
    alias text NOT NULL,
    alias_key text NOT NULL,
    org_id text,
    quantity bigint,
    unit text,
    properties jsonb,
    source_partition integer NOT NULL,
    fence bigint NOT NULL
);
COMMENT ON COLUMN product_event.alias IS 'E-mail, user name or user id, as it came in';
COMMENT ON COLUMN product_event.alias_key IS 'The alias as it is looked up: e-mail addresses in lower case';
COMMENT ON COLUMN product_event.org_id IS 'Only where the event itself names one';
CREATE INDEX product_event_time ON product_event (occurred_at);
CREATE INDEX product_event_alias ON product_event (alias_key, occurred_at);

-- The directory.
CREATE TABLE job_type (
    job_type_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
CREATE TABLE group_type (
    group_type_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
CREATE TABLE app_user (
    user_id text PRIMARY KEY,
    org_id text NOT NULL,
    email text,
    username text,
    display_name text,
    job_type_id integer REFERENCES job_type,
    licensed boolean NOT NULL,
    bot boolean NOT NULL,
    since timestamptz,
    until timestamptz,
    fence bigint NOT NULL
);
CREATE INDEX app_user_org ON app_user (org_id);
CREATE TABLE user_alias (
    user_id text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    alias text NOT NULL,
    claimed_ms bigint NOT NULL,
    PRIMARY KEY (user_id, alias)
);
COMMENT ON TABLE user_alias IS 'Aliases that the directory claims for a user; several users may claim one';
COMMENT ON COLUMN user_alias.claimed_ms IS 'Since when, milliseconds since 1970: of several claims the earliest counts';
CREATE INDEX user_alias_alias ON user_alias (alias);
CREATE TABLE identity_link (
    alias text PRIMARY KEY,
    user_id text,
    said_by text NOT NULL,
    fence bigint NOT NULL
);
COMMENT ON TABLE identity_link IS 'What operators and events said of aliases; no user = the alias leads to nobody';
CREATE TABLE org (
    org_id text PRIMARY KEY,
    name text NOT NULL,
    group_type_id integer REFERENCES group_type,
    account_value_usd numeric,
    timezone text NOT NULL,
    licenses numeric,
    fence bigint NOT NULL
);

-- History: one row per subject and calendar week. Shares are percentages with two decimals.
CREATE TABLE user_score (
    org_id text NOT NULL,
    user_id text NOT NULL,
    week text NOT NULL,
    week_start date NOT NULL,
    status text NOT NULL,
    score numeric(5, 2),
    band text,
    coverage numeric(5, 4),
    contributions jsonb,
    attributes jsonb,
    calibration bigint,
    activities bigint NOT NULL,
    transactions_count bigint NOT NULL,
    transactions_cents bigint NOT NULL,
    replies bigint NOT NULL,
    reply_latency_seconds_sum bigint NOT NULL,
    counts jsonb NOT NULL,
    sums jsonb NOT NULL,
    fence bigint NOT NULL,
    PRIMARY KEY (org_id, user_id, week)
);
COMMENT ON COLUMN user_score.status IS 'provisional, final or restated';
COMMENT ON COLUMN user_score.coverage IS 'Share of the model''s weight that had data, 0 to 1';
COMMENT ON COLUMN user_score.contributions IS 'Attribute -> points; they add up to the score';
COMMENT ON COLUMN user_score.attributes IS 'Attribute -> value before ranking';
COMMENT ON COLUMN user_score.fence IS 'Position of the row in its log; a row gives way to a higher one only';
CREATE INDEX user_score_user ON user_score (user_id, week_start);
CREATE INDEX user_score_week ON user_score (week_start);
CREATE TABLE company_score_history (
    org_id text NOT NULL,
    week text NOT NULL,
    week_start date NOT NULL,
    status text NOT NULL,
    score numeric(5, 2),
    score_licensed numeric(5, 2),
    score_median numeric(5, 2),
    band text,
    coverage numeric(5, 4),
    contributions jsonb,
    calibration bigint,
    activities bigint NOT NULL,
    active_users bigint NOT NULL,
    transactions_count bigint NOT NULL,
    transactions_cents bigint NOT NULL,
    replies bigint NOT NULL,
    reply_latency_seconds_sum bigint NOT NULL,
    counts jsonb NOT NULL,
    sums jsonb NOT NULL,
    fence bigint NOT NULL,
    PRIMARY KEY (org_id, week)
);
COMMENT ON COLUMN company_score_history.score IS 'Mean over active users';
COMMENT ON COLUMN company_score_history.coverage IS 'Share of licensed seats that were active, from the two means';
CREATE INDEX company_score_history_week ON company_score_history (week_start);
CREATE INDEX company_score_history_latest ON company_score_history (org_id, week_start DESC) WHERE score IS NOT NULL;

-- What is shown live: the last document of each subject in the topic scores (the rolling week).
CREATE TABLE live_score (
    subject text PRIMARY KEY,
    org_id text NOT NULL,
    user_id text,
    window_end timestamptz,
    score numeric(5, 2),
    band text,
    coverage numeric(5, 4),
    document jsonb NOT NULL,
    fence bigint NOT NULL
);
COMMENT ON COLUMN live_score.score IS 'A user''s score; of an org the mean over active users';
CREATE INDEX live_score_org ON live_score (org_id);

-- Up to where each partition is here; written in the transaction of what it is about.
CREATE TABLE sink_position (
    topic text NOT NULL,
    partition integer NOT NULL,
    topic_id text NOT NULL,
    epoch integer NOT NULL,
    next_offset bigint,
    PRIMARY KEY (topic, partition)
);
COMMENT ON COLUMN sink_position.epoch IS 'Goes up when the topic is made anew; part of every fence';
COMMENT ON COLUMN sink_position.next_offset IS 'Null: from where the log begins';
CREATE TABLE sink_refused (
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (topic, partition, record_offset)
);
COMMENT ON TABLE sink_refused IS 'Messages that could not be stored; each is a dead letter too';
