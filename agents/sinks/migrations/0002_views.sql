-- Whom an alias leads to: what an operator said, else the earliest claim of the directory, else what an event said.
CREATE VIEW alias_user AS
SELECT first.alias, first.user_id
FROM (
    SELECT DISTINCT ON (alias) alias, user_id
    FROM (
        SELECT alias, user_id, 0 AS rank, 0 AS claimed_ms FROM identity_link WHERE said_by = 'operator'
        UNION ALL
        SELECT alias, user_id, 1, claimed_ms FROM user_alias
        UNION ALL
        SELECT alias, user_id, 2, 0 FROM identity_link WHERE said_by = 'event'
    ) AS said
    ORDER BY alias, rank, claimed_ms, user_id COLLATE "C"
) AS first
JOIN app_user ON app_user.user_id = first.user_id;
COMMENT ON VIEW alias_user IS 'Alias -> user, as things are; an alias that leads to nobody is not here';

CREATE VIEW user_product_event AS
SELECT
    e.event_id,
    a.user_id,
    coalesce(e.org_id, u.org_id) AS org_id,
    j.name AS job_type,
    u.bot,
    e.alias,
    e.occurred_at,
    e.name,
    e.quantity,
    e.unit,
    e.properties
FROM product_event AS e
LEFT JOIN alias_user AS a ON a.alias = e.alias_key
LEFT JOIN app_user AS u ON u.user_id = a.user_id
LEFT JOIN job_type AS j ON j.job_type_id = u.job_type_id;
COMMENT ON VIEW user_product_event IS 'Product events with whose they are; user_id is null where nobody is known';

CREATE VIEW company_score AS
SELECT
    latest.org_id,
    o.name,
    g.name AS group_type,
    o.account_value_usd,
    latest.week,
    latest.week_start,
    latest.status,
    latest.score,
    latest.band,
    latest.coverage,
    before.score AS score_week_before,
    latest.score - before.score AS change,
    latest.score_licensed,
    latest.score_median,
    latest.active_users,
    latest.activities,
    latest.transactions_count,
    latest.transactions_cents,
    live.score AS live_score,
    live.band AS live_band,
    live.window_end AS live_at
FROM (
    SELECT DISTINCT ON (org_id) *
    FROM company_score_history
    WHERE score IS NOT NULL
    ORDER BY org_id, week_start DESC
) AS latest
LEFT JOIN company_score_history AS before
    ON before.org_id = latest.org_id AND before.week_start = latest.week_start - 7
LEFT JOIN org AS o ON o.org_id = latest.org_id
LEFT JOIN group_type AS g ON g.group_type_id = o.group_type_id
LEFT JOIN live_score AS live ON live.subject = 'org:' || latest.org_id;
COMMENT ON VIEW company_score IS 'Each org''s latest scored week, and its change since the week before';
