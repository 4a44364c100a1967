-- SPDX-License-Identifier: MIT
-- Limits, rates, breakers and verification keys of providers.

-- name: provider_configure
-- params: names text[], max_concurrent integer[], rate_starts integer[], rate_period_s integer[]
-- What the operator configured, written by each poller at its start. A row
-- that already says so is not touched.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::integer[], $3::integer[], $4::integer[])
           AS wanted (name, max_concurrent, rate_starts, rate_period_s)
     ORDER BY name
), provider AS (
    INSERT INTO providers (name, max_concurrent)
    SELECT name, max_concurrent FROM wanted ORDER BY name
    ON CONFLICT (name) DO UPDATE SET max_concurrent = excluded.max_concurrent
     WHERE providers.max_concurrent IS DISTINCT FROM excluded.max_concurrent
)
INSERT INTO provider_gates (name, rate_starts, rate_period_s, tokens)
SELECT name, rate_starts, rate_period_s, coalesce(rate_starts, 0)
  FROM wanted ORDER BY name
ON CONFLICT (name) DO UPDATE
   SET rate_starts = excluded.rate_starts,
       rate_period_s = excluded.rate_period_s,
       tokens = least(provider_gates.tokens, excluded.rate_starts)
 WHERE provider_gates.rate_starts IS DISTINCT FROM excluded.rate_starts
    OR provider_gates.rate_period_s IS DISTINCT FROM excluded.rate_period_s;

-- name: provider_lock_slots
-- First half of the slot check: while these rows are locked no counter moves,
-- and whoever changes a job's slot waits for the counter before it commits.
SELECT name FROM providers ORDER BY name FOR NO KEY UPDATE;

-- name: provider_recount_slots
-- Second half, with a snapshot taken after the lock: counters are compared
-- with the jobs and repaired. Jobs that were in flight when a limit was set
-- are marked now; a job somebody is changing is left for the next check.
WITH unmarked AS MATERIALIZED (
    SELECT job.id
      FROM providers JOIN execution_jobs AS job ON job.provider = providers.name
     WHERE providers.max_concurrent IS NOT NULL AND job.next_poll_at IS NOT NULL
       AND job.status IN ('starting', 'start_unknown', 'processing')
       AND NOT job.holds_slot
     ORDER BY job.id
       FOR NO KEY UPDATE OF job SKIP LOCKED
), marked AS (
    UPDATE execution_jobs AS job
       SET holds_slot = true
      FROM unmarked
     WHERE job.id = unmarked.id
    RETURNING job.provider
), held AS (
    SELECT provider, count(*)::integer AS jobs
      FROM (SELECT provider FROM execution_jobs
             WHERE holds_slot AND next_poll_at IS NOT NULL
            UNION ALL
            SELECT provider FROM marked) AS holder
     GROUP BY provider
), wrong AS (
    SELECT providers.name, providers.in_use AS counted,
           coalesce(held.jobs, 0) AS found
      FROM providers LEFT JOIN held ON held.provider = providers.name
     WHERE providers.in_use <> coalesce(held.jobs, 0)
)
UPDATE providers
   SET in_use = wrong.found
  FROM wrong
 WHERE providers.name = wrong.name
RETURNING providers.name, wrong.counted, wrong.found;

-- name: provider_report
-- params: names text[], failed integer[], succeeded integer[], failures_most integer, window_s integer, open_ms bigint
-- What the last exchanges said about their providers. Enough failures within
-- the window open the breaker; a failed probe opens it again; any success
-- closes it. Returns the breakers that changed.
WITH report AS (
    SELECT * FROM unnest($1::text[], $2::integer[], $3::integer[])
           AS report (name, failed, succeeded)
), gate AS MATERIALIZED (
    SELECT name, failures, failing_since, open_until
      FROM provider_gates
     WHERE name IN (SELECT name FROM report)
     ORDER BY name
       FOR NO KEY UPDATE
), verdict AS (
    SELECT gate.name, gate.open_until IS NOT NULL AS was_open,
           CASE WHEN report.succeeded > 0 THEN 0
                WHEN gate.failing_since > now() - $5::integer * interval '1 s'
                THEN gate.failures + report.failed
                ELSE report.failed END AS failures,
           CASE WHEN report.succeeded > 0 THEN NULL
                WHEN gate.failing_since > now() - $5::integer * interval '1 s'
                THEN gate.failing_since
                ELSE now() END AS failing_since
      FROM gate JOIN report ON report.name = gate.name
     WHERE report.failed > 0 OR gate.failures > 0 OR gate.open_until IS NOT NULL
)
UPDATE provider_gates
   SET failures = verdict.failures,
       failing_since = verdict.failing_since,
       probing_until = NULL,
       open_until = CASE
           WHEN verdict.failures = 0 THEN NULL
           WHEN verdict.was_open OR verdict.failures >= $4::integer
               THEN now() + $6::bigint * interval '1 ms' END
  FROM verdict
 WHERE provider_gates.name = verdict.name
RETURNING provider_gates.name, verdict.was_open,
          provider_gates.open_until IS NOT NULL AS is_open;

-- name: provider_keys_store
-- params: provider text, key_ids text[], keys text[]
-- Replaces the keys a provider signs its webhooks with.
WITH fetched AS (
    SELECT DISTINCT ON (key_id) key_id, key
      FROM unnest($2::text[], $3::text[]) AS fetched (key_id, key)
     ORDER BY key_id
), gone AS (
    DELETE FROM provider_keys
     WHERE provider = $1::text AND key_id NOT IN (SELECT key_id FROM fetched)
)
INSERT INTO provider_keys (provider, key_id, key)
SELECT $1::text, key_id, key FROM fetched
ON CONFLICT (provider, key_id) DO UPDATE
   SET key = excluded.key, fetched_at = now();

-- name: provider_keys_read
SELECT provider, key_id, key,
       (date_part('epoch', now() - fetched_at))::bigint AS age_s
  FROM provider_keys
 ORDER BY provider, key_id;
