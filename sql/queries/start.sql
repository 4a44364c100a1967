-- SPDX-License-Identifier: MIT
-- Paid starts that nobody waits for any more.

-- name: start_claim_stray
-- params: most integer, lease_ms bigint
-- Starts to be cancelled at their provider: of an attempt that was overtaken
-- or of a job that ended without it. Pushed past the lease, so that a crash
-- only delays the next try. Behind an open breaker they wait for it, and what
-- is tried before it has closed does not count: an outage uses up no tries, for
-- a day.
WITH due AS MATERIALIZED (
    SELECT stray.job_id, stray.attempt,
           gate.open_until IS NOT NULL AS is_ailing,
           CASE WHEN greatest(gate.open_until, gate.probing_until) > now()
                THEN greatest(gate.open_until, gate.probing_until)
           END AS closed_until
      FROM (SELECT job_id, attempt, provider
              FROM job_starts
             WHERE cancel_at <= now()
             ORDER BY cancel_at
             LIMIT $1::integer
               FOR NO KEY UPDATE SKIP LOCKED) AS stray
      LEFT JOIN provider_gates AS gate ON gate.name = stray.provider
), claimed AS (
    UPDATE job_starts AS start
       SET cancel_at = coalesce(due.closed_until,
                                now() + $2::bigint * interval '1 ms'),
           cancel_tries = start.cancel_tries +
                          (NOT due.is_ailing OR
                           start.started_at < now() - interval '1 day')::integer
      FROM due
     WHERE start.job_id = ANY (ARRAY[due.job_id]) AND start.attempt = due.attempt
    RETURNING start.job_id, start.attempt, start.provider,
              start.provider_job_id, start.provider_ref, start.cancel_tries,
              due.closed_until
)
SELECT claimed.job_id AS id, job.execution_id, claimed.attempt,
       claimed.provider, job.model, claimed.provider_job_id,
       claimed.provider_ref, claimed.cancel_tries
  FROM claimed
       CROSS JOIN LATERAL (
           SELECT execution_id, model
             FROM execution_jobs
            WHERE id = claimed.job_id
           OFFSET 0
       ) AS job
 WHERE claimed.closed_until IS NULL;

-- name: start_cancelled
-- params: job_ids uuid[], attempts integer[]
-- The provider was asked (or cannot be); nothing more to do for these.
UPDATE job_starts AS start
   SET cancel_at = NULL
  FROM unnest($1::uuid[], $2::integer[]) AS done (job_id, attempt)
 WHERE start.job_id = done.job_id AND start.attempt = done.attempt;

-- name: start_history
-- params: job_id uuid
-- What is known of a job's paid starts, newest first.
SELECT attempt, provider_job_id, provider_ref, outcome,
       (date_part('epoch', started_at) * 1000)::bigint AS started_unix_ms
  FROM job_starts
 WHERE job_id = $1::uuid
 ORDER BY attempt DESC;

-- name: start_known_ids
-- params: provider text, provider_job_ids text[], job_id uuid, attempt integer
-- Which of these provider ids belong to another start already: reconciling must
-- not give one prediction to two jobs. That it became known as this one's since
-- the job was claimed is no reason not to take it.
SELECT provider_job_id
  FROM job_starts
 WHERE provider = $1::text AND provider_job_id = ANY ($2::text[])
   AND (job_id, attempt) <> ($3::uuid, $4::integer);

-- name: start_late
-- params: job_ids uuid[]
-- What became of jobs whose start was answered after they had moved; n is
-- their place in the array.
SELECT asked.n, job.status, job.attempt, job.provider_job_id
  FROM unnest($1::uuid[]) WITH ORDINALITY AS asked (id, n)
       CROSS JOIN LATERAL (
           SELECT status, attempt, provider_job_id
             FROM execution_jobs
            WHERE id = asked.id
           OFFSET 0
       ) AS job;
