-- SPDX-License-Identifier: MIT
-- What only a sweep puts right.

-- name: job_replan
-- params: most integer, furthest_ms bigint
-- No job is planned further ahead than that, nothing else further than an hour,
-- and no lease is longer. What is was written by a clock that has been set back
-- since: it is due now, and so is what providers are spared until. Whoever still
-- works on such a job has renewed its lease by the new clock, or is fenced off
-- like anybody who did not.
WITH stale AS MATERIALIZED (
    SELECT job.id
      FROM providers AS lane
           CROSS JOIN unnest(ARRAY['queued', 'starting', 'start_unknown', 'processing',
                                   'storing', 'completed', 'failed', 'cancelled', 'skipped'])
               AS state (name)
           CROSS JOIN LATERAL (
               SELECT id
                 FROM execution_jobs
                WHERE provider = lane.name AND status = state.name
                  AND next_poll_at > now() + $2::bigint * interval '1 ms'
                ORDER BY next_poll_at DESC
                LIMIT $1::integer
                  FOR NO KEY UPDATE SKIP LOCKED
           ) AS job
), due AS (
    UPDATE execution_jobs AS job
       SET next_poll_at = now(), lease_until = least(job.lease_until, now())
      FROM stale
     WHERE job.id = ANY (ARRAY[stale.id])
    RETURNING job.id
), gate AS MATERIALIZED (
    SELECT name
      FROM provider_gates
     WHERE (tokens_at > now() + interval '1 minute'
            OR open_until > now() + interval '61 minutes'
            OR probing_until > now() + interval '61 minutes')
       AND (SELECT count(*) FROM due) >= 0
     ORDER BY name
       FOR NO KEY UPDATE
), spared AS (
    UPDATE provider_gates AS gates
       SET tokens_at = least(gates.tokens_at, now()),
           open_until = least(gates.open_until, now()),
           probing_until = least(gates.probing_until, now()),
           failing_since = least(gates.failing_since, now())
      FROM gate
     WHERE gates.name = gate.name
), stray AS MATERIALIZED (
    SELECT job_id, attempt
      FROM job_starts
     WHERE cancel_at > now() + interval '61 minutes'
     ORDER BY cancel_at DESC
     LIMIT $1::integer
       FOR NO KEY UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE job_starts AS start
       SET cancel_at = now()
      FROM stray
     WHERE start.job_id = ANY (ARRAY[stray.job_id]) AND start.attempt = stray.attempt
)
SELECT count(*) AS jobs FROM due;

-- name: job_release_expired
-- Queued jobs whose poller died before it started them give their slot back.
WITH dead AS (
    SELECT id, provider, holds_slot
      FROM execution_jobs
     WHERE status = 'queued' AND next_poll_at <= now() AND lease_until < now()
       AND job_stuck_at(deadline_at, lease_until, cancel_requested_at) <= now()
     ORDER BY id
       FOR NO KEY UPDATE SKIP LOCKED
), freed AS (
    UPDATE execution_jobs AS job
       SET lease_until = NULL, holds_slot = false
      FROM dead
     WHERE job.id = dead.id
    RETURNING job.id
), slot AS (
    SELECT name, in_use
      FROM providers
     WHERE name IN (SELECT provider FROM dead WHERE holds_slot)
     ORDER BY name
       FOR NO KEY UPDATE
), slotted AS (
    UPDATE providers
       SET in_use = slot.in_use - news.jobs
      FROM (SELECT provider, count(*)::integer AS jobs
              FROM dead WHERE holds_slot GROUP BY provider) AS news
      JOIN slot ON slot.name = news.provider
     WHERE providers.name = news.provider
)
SELECT count(*) AS jobs FROM freed;

-- name: job_overdue
-- params: most integer
-- Jobs whose time is over although no lane could take them: queued ones (no
-- slot, no token, breaker open) at the deadline, or at once if they are to be
-- cancelled; those that may be rendering after two minutes, in which they are
-- asked about once more. Not claimed: the move compares the version.
SELECT id, execution_id, name, provider, status, version, attempt,
       cancel_requested_at IS NOT NULL AS cancel_requested
  FROM (SELECT *
          FROM execution_jobs
         WHERE status = 'queued'
           AND job_stuck_at(deadline_at, lease_until, cancel_requested_at) <= now()
           AND (deadline_at <= now() OR cancel_requested_at IS NOT NULL)
        UNION ALL
        SELECT job.*
          FROM providers
               CROSS JOIN unnest(ARRAY['start_unknown', 'processing']) AS lane (status)
               CROSS JOIN LATERAL (
                   SELECT *
                     FROM execution_jobs
                    WHERE provider = providers.name AND status = lane.status
                      AND next_poll_at <= now()
                      AND deadline_at <= now() - interval '2 minutes'
                   OFFSET 0
               ) AS job) AS job
 WHERE lease_until IS NULL OR lease_until < now()
 ORDER BY id
 LIMIT $1::integer;
