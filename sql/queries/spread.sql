-- SPDX-License-Identifier: MIT
-- After an outage.

-- name: job_spread
-- params: provider text, statuses text[], window_ms bigint[], gap_ms bigint, before bigint, most integer
-- Jobs that became due while their provider's breaker was open are due at
-- different times again: evenly over gap_ms a job, and no longer than the
-- window of their state. Some at a time; "before" is how many have been spread
-- already. Those that somebody holds or waits for (a cancel) stay as they are.
WITH backlog AS MATERIALIZED (
    SELECT $5::bigint + count(*) AS jobs
      FROM unnest($2::text[]) AS lane (status)
           CROSS JOIN LATERAL (
               SELECT id
                 FROM execution_jobs
                WHERE provider = $1::text AND status = lane.status
                  AND next_poll_at <= now()
               OFFSET 0
           ) AS job
), late AS MATERIALIZED (
    SELECT job.id,
           least(lane.window_ms, $4::bigint * (SELECT jobs FROM backlog)) AS window_ms
      FROM unnest($2::text[], $3::bigint[]) AS lane (status, window_ms)
           CROSS JOIN LATERAL (
               SELECT id
                 FROM execution_jobs
                WHERE provider = $1::text AND status = lane.status
                  AND next_poll_at <= now()
                  AND lease_until IS NULL AND cancel_requested_at IS NULL
                ORDER BY next_poll_at
                LIMIT $6::integer
                  FOR NO KEY UPDATE SKIP LOCKED
           ) AS job
), spread AS (
    UPDATE execution_jobs AS job
       SET next_poll_at = least(now() + random() * late.window_ms * interval '1 ms',
                                CASE WHEN job.deadline_at > now() THEN job.deadline_at END)
      FROM late
     WHERE job.id = ANY (ARRAY[late.id])
    RETURNING job.id
)
SELECT count(*) AS jobs FROM spread;
