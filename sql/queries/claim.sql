-- SPDX-License-Identifier: MIT
-- Who gets a job, when one is due next, and how long it is held. The rules of
-- sql/README.md hold here as well.

-- name: job_claim
-- params: providers text[], statuses text[], most integer[], lease_ms bigint
-- Takes due jobs, lane by lane (a lane is one provider in one state), each
-- with a new claim number that fences off whoever held it before. Queued
-- jobs take a slot where their provider has a limit, and a token where it has
-- a rate; an open breaker closes the lanes that would ask the provider, but
-- for one probe: a lost start only where nothing else is due, because there may
-- be no way to look for it, and then it tells nothing. The locked counters decide, not the snapshot: several
-- pollers never exceed a limit together.
WITH lane AS MATERIALIZED (
    SELECT asked.provider, asked.status,
           asked.status IN ('queued', 'start_unknown', 'processing') AS calls,
           CASE WHEN asked.status NOT IN ('queued', 'start_unknown', 'processing')
                THEN asked.most
                WHEN gate.open_until > now() OR gate.probing_until > now() THEN 0
                WHEN gate.open_until IS NOT NULL THEN 1
                WHEN asked.status = 'queued' AND provider.max_concurrent IS NOT NULL
                THEN least(asked.most, provider.max_concurrent - provider.in_use)
                ELSE asked.most END AS most
      FROM unnest($1::text[], $2::text[], $3::integer[])
           AS asked (provider, status, most)
      LEFT JOIN providers AS provider ON provider.name = asked.provider
      LEFT JOIN provider_gates AS gate ON gate.name = asked.provider
), due AS MATERIALIZED (
    SELECT job.id, lane.provider, lane.status, lane.calls, job.next_poll_at,
           job.holds_slot, job.attempt
      FROM lane CROSS JOIN LATERAL (
               SELECT id, next_poll_at, holds_slot, attempt
                 FROM execution_jobs
                WHERE provider = lane.provider AND status = lane.status
                  AND next_poll_at <= now()
                ORDER BY next_poll_at
                LIMIT greatest(lane.most, 0)
                  FOR NO KEY UPDATE SKIP LOCKED
           ) AS job
), slot AS MATERIALIZED (
    SELECT name, max_concurrent - in_use AS free
      FROM providers
     WHERE max_concurrent IS NOT NULL
       AND name IN (SELECT provider FROM due WHERE status = 'queued')
     ORDER BY name
       FOR NO KEY UPDATE
), gate AS MATERIALIZED (
    SELECT name, open_until, probing_until, rate_starts,
           least(rate_starts, tokens + date_part('epoch', now() - tokens_at)
                              * rate_starts / rate_period_s) AS tokens
      FROM provider_gates
     WHERE (rate_starts IS NOT NULL OR open_until IS NOT NULL)
       AND name IN (SELECT provider FROM due WHERE calls)
       AND (SELECT count(*) FROM slot) >= 0
     ORDER BY name
       FOR NO KEY UPDATE
), ranked AS (
    SELECT due.*, slot.free, gate.rate_starts, gate.tokens,
           gate.open_until IS NOT NULL AS probe,
           gate.probing_until > now() OR gate.open_until > now() AS closed,
           row_number() OVER (PARTITION BY due.provider, due.calls
                              ORDER BY due.status = 'start_unknown',
                                       due.next_poll_at, due.id) AS call_n,
           row_number() OVER (PARTITION BY due.provider, due.status
                              ORDER BY due.next_poll_at, due.id) AS lane_n
      FROM due
      LEFT JOIN slot ON slot.name = due.provider
      LEFT JOIN gate ON gate.name = due.provider
), granted AS MATERIALIZED (
    SELECT * FROM ranked
     WHERE NOT calls
        OR ((NOT coalesce(probe, false) OR (call_n = 1 AND NOT coalesce(closed, false)))
            AND (status <> 'queued'
                 OR (lane_n <= coalesce(free, lane_n)
                     AND (rate_starts IS NULL OR lane_n <= tokens))))
), taken AS (
    UPDATE providers
       SET in_use = providers.in_use + news.jobs
      FROM (SELECT provider, count(*)::integer AS jobs
              FROM granted
             WHERE status = 'queued' AND free IS NOT NULL AND NOT holds_slot
             GROUP BY provider) AS news
     WHERE providers.name = news.provider
), spent AS (
    UPDATE provider_gates
       SET tokens = CASE WHEN news.rate_starts IS NULL THEN provider_gates.tokens
                         ELSE news.tokens - news.starts END,
           tokens_at = now(),
           probing_until = CASE WHEN provider_gates.open_until IS NULL THEN NULL
                                ELSE now() + $4::bigint * interval '1 ms' END
      FROM (SELECT provider, min(rate_starts) AS rate_starts,
                   min(tokens) AS tokens,
                   count(*) FILTER (WHERE status = 'queued') AS starts
              FROM granted
             WHERE calls AND (rate_starts IS NOT NULL OR coalesce(probe, false))
             GROUP BY provider) AS news
     WHERE provider_gates.name = news.provider
)
UPDATE execution_jobs AS job
   SET claim = job.claim + 1,
       lease_until = now() + $4::bigint * interval '1 ms',
       next_poll_at = now() + $4::bigint * interval '1 ms',
       holds_slot = job.holds_slot OR (granted.status = 'queued' AND granted.free IS NOT NULL)
  FROM granted
       LEFT JOIN LATERAL (
           SELECT provider_job_id, provider_ref
             FROM job_starts
            WHERE granted.status = 'start_unknown'
              AND job_id = granted.id AND attempt = granted.attempt
           OFFSET 0
       ) AS start ON true
 WHERE job.id = granted.id
RETURNING job.id, job.execution_id, job.name, job.provider, job.model,
          job.input, job.dependency_defaults, job.has_references, job.status,
          job.claim, job.attempt, job.max_attempts, job.poll_attempts,
          job.start_failures, job.falters, job.store_failures,
          coalesce(job.provider_job_id, start.provider_job_id) AS provider_job_id,
          coalesce(job.provider_ref, start.provider_ref) AS provider_ref,
          job.media_source, job.error_code,
          job.completed_via, job.restart_if_absent,
          job.cancel_requested_at IS NOT NULL AS cancel_requested,
          job.cancel_tried_at IS NOT NULL AS cancel_tried,
          coalesce((date_part('epoch', now() - job.cancel_requested_at) * 1000)::bigint, 0) AS cancel_age_ms,
          coalesce((date_part('epoch', now() - job.unknown_since) * 1000)::bigint, 0) AS unknown_age_ms,
          coalesce(job.deadline_at <= now(), false) AS deadline_passed,
          CASE WHEN job.status = 'storing'
               THEN (SELECT true FROM job_dependencies AS edge
                      WHERE edge.parent_id = job.id LIMIT 1) IS NOT TRUE
               ELSE false END AS childless,
          coalesce((date_part('epoch', job.started_at) * 1000)::bigint, 0) AS started_unix_ms;

-- name: job_next_due
-- params: providers text[], statuses text[]
-- Milliseconds until a claim of these lanes could find work; NULL if nothing
-- is planned at all. A lane that cannot move (no slot) is left out: what
-- frees it wakes the poller. A closed breaker or an empty token bucket delay it.
WITH lane AS (
    SELECT asked.provider, asked.status, gate.open_until, gate.probing_until,
           asked.status IN ('queued', 'start_unknown', 'processing') AS calls,
           asked.status = 'queued' AND provider.max_concurrent IS NOT NULL
               AND provider.in_use >= provider.max_concurrent AS full_up,
           CASE WHEN asked.status = 'queued' AND gate.rate_starts IS NOT NULL
                THEN gate.tokens_at + greatest(0, 1 - gate.tokens)
                     * gate.rate_period_s / gate.rate_starts * interval '1 s'
                END AS token_at
      FROM unnest($1::text[], $2::text[]) AS asked (provider, status)
      LEFT JOIN providers AS provider ON provider.name = asked.provider
      LEFT JOIN provider_gates AS gate ON gate.name = asked.provider
), planned AS (
    SELECT greatest(job.next_poll_at, lane.token_at,
                    CASE WHEN lane.calls THEN lane.open_until END,
                    CASE WHEN lane.calls THEN lane.probing_until END) AS at
      FROM lane CROSS JOIN LATERAL (
               SELECT next_poll_at
                 FROM execution_jobs
                WHERE provider = lane.provider AND status = lane.status
                  AND next_poll_at IS NOT NULL
                ORDER BY next_poll_at
                LIMIT 1
           ) AS job
     WHERE NOT lane.full_up
    UNION ALL
    (SELECT cancel_at FROM job_starts WHERE cancel_at IS NOT NULL
      ORDER BY cancel_at LIMIT 1)
)
SELECT CASE WHEN min(at) IS NOT NULL
            THEN greatest(0, ceil(date_part('epoch', min(at) - now()) * 1000))::bigint
            END AS due_ms
  FROM planned;

-- name: job_renew
-- params: ids uuid[], claims bigint[], lease_ms bigint
-- Renews the leases of work in hand. A job that does not come back belongs to
-- somebody else now: what was being done for it stops.
WITH held AS (
    SELECT job.id
      FROM unnest($1::uuid[], $2::bigint[]) AS mine (id, claim)
      JOIN execution_jobs AS job ON job.id = mine.id
     WHERE job.claim = mine.claim AND job.lease_until IS NOT NULL
     ORDER BY job.id
       FOR NO KEY UPDATE OF job
)
UPDATE execution_jobs AS job
   SET lease_until = now() + $3::bigint * interval '1 ms',
       next_poll_at = now() + $3::bigint * interval '1 ms'
  FROM held
 WHERE job.id = held.id
RETURNING job.id, job.status, job.cancel_requested_at IS NOT NULL AS cancel_requested;
