-- SPDX-License-Identifier: MIT
-- What happens to jobs. C decides (common/model/job.c), these statements
-- compare and set. See sql/README.md for the rules they all keep: arrays in,
-- locks in the order executions, execution_jobs, providers, each sorted.

-- name: job_claim
-- params: providers text[], statuses text[], most integer[], lease_ms bigint
-- Takes due jobs, lane by lane (a lane is one provider in one state), each
-- with a new claim number that fences off whoever held it before. Queued
-- jobs take a slot where their provider has a limit, and a token where it has
-- a rate; an open breaker closes the lanes that would ask the provider, but
-- for one probe. The locked counters decide, not the snapshot: several
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
           job.holds_slot
      FROM lane CROSS JOIN LATERAL (
               SELECT id, next_poll_at, holds_slot
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
           least(rate_starts, tokens + extract(epoch FROM now() - tokens_at)
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
                              ORDER BY due.next_poll_at, due.id) AS call_n,
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
 WHERE job.id = granted.id
RETURNING job.id, job.execution_id, job.name, job.provider, job.model,
          job.input, job.dependency_defaults, job.has_references, job.status,
          job.claim, job.attempt, job.max_attempts, job.poll_attempts,
          job.start_failures, job.falters, job.store_failures,
          CASE WHEN job.status = 'start_unknown' AND job.provider_job_id IS NULL
               THEN (SELECT start.provider_job_id FROM job_starts AS start
                      WHERE start.job_id = job.id AND start.attempt = job.attempt)
               ELSE job.provider_job_id END AS provider_job_id,
          CASE WHEN job.status = 'start_unknown' AND job.provider_ref IS NULL
               THEN (SELECT start.provider_ref FROM job_starts AS start
                      WHERE start.job_id = job.id AND start.attempt = job.attempt)
               ELSE job.provider_ref END AS provider_ref,
          job.media_source, job.error_code,
          job.completed_via, job.restart_if_absent,
          job.cancel_requested_at IS NOT NULL AS cancel_requested,
          job.cancel_tried_at IS NOT NULL AS cancel_tried,
          coalesce((extract(epoch FROM now() - job.cancel_requested_at) * 1000)::bigint, 0) AS cancel_age_ms,
          coalesce((extract(epoch FROM now() - job.unknown_since) * 1000)::bigint, 0) AS unknown_age_ms,
          coalesce(job.deadline_at <= now(), false) AS deadline_passed,
          coalesce((extract(epoch FROM job.started_at) * 1000)::bigint, 0) AS started_unix_ms;

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
            THEN greatest(0, ceil(extract(epoch FROM min(at) - now()) * 1000))::bigint
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

-- name: job_move
-- params: moves json, all_or_none boolean, released_why text, failed_why text, skipped_why text
-- The one writer of transitions: every state change of every job, whoever
-- decided it, is a row of "moves". In one statement: compare and set, the
-- timeline, the start's row, the webhook inbox, stored media, slots, the
-- execution's counters, and (for a job that ended) one generation of its
-- dependents: edges are marked delivered, counted down per child, and each
-- child is released, failed or skipped. A child that ends here and has
-- dependents of its own becomes due, so the next statement settles those.
-- A job that runs again takes back what its end told those that still (or
-- again) wait: they wait for it once more. Those that have ended get a new
-- version, so that whoever revives one of them now, having read the parent as
-- ended, decides again.
--
-- A provider id that comes with a move is kept in job_starts even if the
-- job has moved on. A start that a retry looks for is not cancelled any more.
-- all_or_none: a retry moves a whole set of jobs or none.
-- Comes back: a row per job changed; n is the move's number, NULL for a
-- dependent. A move without a row lost its race.
--
-- A row that was locked is written from what the lock showed, not from what
-- the UPDATE finds: that is the snapshot's, older, and checked against the
-- constraints before PostgreSQL sees that it is.
--
-- A move without a claim comes from outside (a webhook, a client). If it does
-- not change the state it leaves a running lease alone; if it does, it raises
-- the claim as well: whoever had the job shall not find it again when it comes
-- back to the state that was claimed. saw_cancel: the worker
-- knew of the cancel request; if it did not, the job is due at once. So is one
-- that would be started again and is to be cancelled instead.
WITH move AS MATERIALIZED (
    SELECT *
      FROM json_to_recordset($1::json) AS move (
               n integer, id uuid, event text, was text, claim bigint,
               version bigint, becomes text, why text, detail text, quiet boolean,
               due_ms bigint, lease_ms bigint, attempt integer,
               provider_job_id text, provider_ref jsonb, progress real,
               output jsonb, media_source jsonb, media jsonb, via text,
               error_code text, error_message text, billed text,
               start_outcome text, delivery_key text, cancel boolean,
               cancel_tried boolean, saw_cancel boolean, stray boolean, restart_if_absent boolean,
               poll_attempts integer, start_failures integer, falters integer,
               store_failures integer, max_attempts integer)
), execution AS MATERIALIZED (
    SELECT id, jobs_total, jobs_completed, jobs_failed, jobs_cancelled,
           jobs_skipped, completed_at
      FROM executions
     WHERE id IN (SELECT job.execution_id
                    FROM move JOIN execution_jobs AS job ON job.id = move.id
                   WHERE job_is_terminal(move.becomes) OR job_is_terminal(move.was))
     ORDER BY id
       FOR NO KEY UPDATE
), edge AS MATERIALIZED (
    SELECT dependency.parent_id, dependency.child_id
      FROM move JOIN job_dependencies AS dependency ON dependency.parent_id = move.id
     WHERE job_is_terminal(move.becomes) AND NOT dependency.delivered
        OR job_is_terminal(move.was) AND NOT job_is_terminal(move.becomes)
           AND dependency.delivered
), locked AS MATERIALIZED (
    SELECT id, execution_id, provider, status, version, claim, attempt,
           needs_left, holds_slot, on_dependency_failure, next_poll_at,
           unknown_since, provider_job_id, error_code, billed, completed_at,
           lease_until > now() AS leased,
           EXISTS (SELECT FROM job_dependencies
                    WHERE parent_id = execution_jobs.id) AS has_dependents
      FROM execution_jobs
     WHERE id IN (SELECT id FROM move UNION SELECT child_id FROM edge)
       AND (SELECT count(*) FROM execution) >= 0
     ORDER BY id
       FOR NO KEY UPDATE
), passed AS MATERIALIZED (
    SELECT DISTINCT ON (move.id) move.*
      FROM move JOIN locked ON locked.id = move.id
     WHERE locked.status = move.was
       AND locked.claim = coalesce(move.claim, locked.claim)
       AND locked.version = coalesce(move.version, locked.version)
     ORDER BY move.id, move.n
), moved AS MATERIALIZED (
    SELECT * FROM passed
     WHERE NOT $2::boolean
        OR (SELECT count(*) FROM passed) = (SELECT count(*) FROM move)
), delivered AS (
    UPDATE job_dependencies AS dependency
       SET delivered = true
      FROM moved
     WHERE dependency.parent_id = moved.id AND NOT dependency.delivered
       AND job_is_terminal(moved.becomes)
    RETURNING dependency.child_id, moved.becomes
), waits AS (
    SELECT locked.id
      FROM locked LEFT JOIN moved ON moved.id = locked.id
     WHERE coalesce(moved.becomes, locked.status) = 'waiting'
), restored AS (
    UPDATE job_dependencies AS dependency
       SET delivered = false
      FROM moved AS parent, waits
     WHERE dependency.parent_id = parent.id AND dependency.child_id = waits.id
       AND dependency.delivered
       AND job_is_terminal(parent.was) AND NOT job_is_terminal(parent.becomes)
    RETURNING dependency.child_id
), tally AS (
    SELECT child_id, count(*)::integer AS ended,
           count(*) FILTER (WHERE becomes <> 'completed') AS bad
      FROM delivered GROUP BY child_id
), regained AS (
    SELECT child_id, count(*)::integer AS edges FROM restored GROUP BY child_id
), overturned AS (
    SELECT DISTINCT edge.child_id AS id
      FROM edge JOIN moved AS parent ON parent.id = edge.parent_id
     WHERE job_is_terminal(parent.was) AND NOT job_is_terminal(parent.becomes)
), change AS MATERIALIZED (
    SELECT locked.id, locked.execution_id, locked.provider, locked.attempt,
           locked.status AS was, locked.holds_slot AS held,
           locked.has_dependents, locked.next_poll_at, locked.unknown_since,
           locked.provider_job_id, locked.error_code, locked.billed,
           locked.completed_at, moved.id IS NOT NULL AS asked,
           CASE WHEN moved.id IS NOT NULL THEN moved.becomes
                WHEN locked.status <> 'waiting' THEN locked.status
                WHEN tally.bad > 0 AND locked.on_dependency_failure = 'fail' THEN 'failed'
                WHEN tally.bad > 0 AND locked.on_dependency_failure = 'skip' THEN 'skipped'
                WHEN tally.ended >= locked.needs_left
                                     + coalesce(regained.edges, 0) THEN 'queued'
                ELSE 'waiting' END AS becomes,
           locked.needs_left - coalesce(tally.ended, 0)
               + coalesce(regained.edges, 0) AS needs_left,
           CASE WHEN moved.id IS NULL THEN job_is_terminal(locked.status)
                ELSE moved.claim IS NULL AND moved.becomes = locked.status
                     AND locked.leased IS TRUE END AS keeps_lease,
           limits.max_concurrent IS NOT NULL AS limited
      FROM locked
      LEFT JOIN moved ON moved.id = locked.id
      LEFT JOIN tally ON tally.child_id = locked.id
      LEFT JOIN regained ON regained.child_id = locked.id
      LEFT JOIN providers AS limits ON limits.name = locked.provider
     WHERE moved.id IS NOT NULL OR tally.child_id IS NOT NULL
        OR regained.child_id IS NOT NULL
        OR job_is_terminal(locked.status)
           AND locked.id IN (SELECT id FROM overturned)
), updated AS (
    UPDATE execution_jobs AS job
       SET status = change.becomes,
           version = job.version + 1,
           claim = job.claim + (change.asked AND moved.claim IS NULL
                                AND change.becomes <> change.was)::integer,
           needs_left = change.needs_left,
           lease_until = CASE WHEN change.keeps_lease THEN job.lease_until
                              ELSE now() + moved.lease_ms * interval '1 ms' END,
           next_poll_at = CASE
               WHEN change.keeps_lease THEN change.next_poll_at
               WHEN change.becomes = 'waiting' THEN NULL
               WHEN job_is_terminal(change.becomes) THEN
                   CASE WHEN NOT change.asked AND change.was = 'waiting'
                             AND change.has_dependents THEN now()
                        WHEN NOT change.asked THEN change.next_poll_at END
               WHEN NOT change.asked THEN
                   CASE WHEN change.was = 'waiting' THEN now() ELSE change.next_poll_at END
               WHEN moved.lease_ms IS NOT NULL THEN now() + moved.lease_ms * interval '1 ms'
               WHEN moved.due_ms IS NULL THEN change.next_poll_at
               WHEN job.cancel_requested_at IS NOT NULL
                    AND (change.becomes = 'processing' AND moved.saw_cancel IS NOT TRUE
                         OR change.becomes = 'queued' AND job_may_render(change.was))
                   THEN now()
               ELSE least(now() + moved.due_ms * interval '1 ms',
                          CASE WHEN change.becomes <> 'storing'
                                    AND job.deadline_at > now() THEN job.deadline_at END)
               END,
           deadline_at = CASE
               WHEN (change.was = 'waiting' OR job_is_terminal(change.was))
                    AND change.becomes IN ('queued', 'start_unknown', 'storing')
                   THEN now() + job.deadline_s * interval '1 s'
               ELSE job.deadline_at END,
           holds_slot = job_may_render(change.becomes) AND (change.held OR change.limited),
           attempt = CASE WHEN change.becomes = 'starting' AND change.was = 'queued'
                          THEN change.attempt + 1 ELSE change.attempt END,
           started_at = CASE WHEN change.becomes = 'starting' AND change.was = 'queued'
                             THEN now() ELSE job.started_at END,
           unknown_since = CASE WHEN change.becomes <> 'start_unknown' THEN NULL
                                ELSE coalesce(change.unknown_since, now()) END,
           restart_if_absent = change.becomes IN ('start_unknown', 'storing', 'processing')
               AND coalesce(moved.restart_if_absent, job.restart_if_absent),
           poll_attempts = CASE WHEN change.becomes <> change.was THEN 0
                                ELSE coalesce(moved.poll_attempts, job.poll_attempts) END,
           start_failures = coalesce(moved.start_failures, job.start_failures),
           falters = coalesce(moved.falters, job.falters),
           store_failures = coalesce(moved.store_failures, job.store_failures),
           max_attempts = coalesce(moved.max_attempts, job.max_attempts),
           cancel_requested_at = CASE
               WHEN job_is_terminal(change.was) AND NOT job_is_terminal(change.becomes) THEN NULL
               WHEN moved.cancel THEN coalesce(job.cancel_requested_at, now())
               ELSE job.cancel_requested_at END,
           cancel_tried_at = CASE
               WHEN job_is_terminal(change.was) AND NOT job_is_terminal(change.becomes) THEN NULL
               WHEN moved.cancel_tried THEN coalesce(job.cancel_tried_at, now())
               ELSE job.cancel_tried_at END,
           provider_job_id = CASE
               WHEN change.becomes IN ('queued', 'waiting', 'starting') THEN NULL
               WHEN moved.attempt <> change.attempt THEN change.provider_job_id
               ELSE coalesce(moved.provider_job_id, change.provider_job_id) END,
           provider_ref = CASE
               WHEN change.becomes IN ('queued', 'waiting', 'starting') THEN NULL
               WHEN moved.attempt <> change.attempt THEN job.provider_ref
               ELSE coalesce(moved.provider_ref, job.provider_ref) END,
           progress = CASE
               WHEN change.becomes = 'completed' THEN 1
               WHEN change.becomes IN ('queued', 'waiting', 'starting') THEN NULL
               ELSE coalesce(moved.progress, job.progress) END,
           output = CASE
               WHEN change.becomes IN ('queued', 'waiting', 'starting') THEN NULL
               ELSE coalesce(moved.output, job.output) END,
           media_source = CASE
               WHEN change.becomes IN ('queued', 'waiting', 'starting', 'completed') THEN NULL
               ELSE coalesce(moved.media_source, job.media_source) END,
           completed_via = CASE
               WHEN change.becomes IN ('queued', 'waiting', 'starting') THEN NULL
               ELSE coalesce(moved.via, job.completed_via) END,
           error_code = CASE
               WHEN NOT job_is_terminal(change.becomes) THEN moved.error_code
               WHEN change.asked AND NOT job_is_terminal(change.was) THEN moved.error_code
               WHEN change.asked THEN coalesce(moved.error_code, change.error_code)
               WHEN change.was = 'waiting' THEN 'dependency_failed'
               ELSE change.error_code END,
           error_message = CASE
               WHEN NOT job_is_terminal(change.becomes) THEN moved.error_message
               WHEN change.asked AND NOT job_is_terminal(change.was) THEN moved.error_message
               WHEN change.asked THEN coalesce(moved.error_message, job.error_message)
               WHEN change.was = 'waiting' THEN
                   CASE change.becomes WHEN 'failed' THEN $4::text ELSE $5::text END
               ELSE job.error_message END,
           billed = CASE
               WHEN NOT job_is_terminal(change.becomes) THEN moved.billed
               WHEN change.asked AND NOT job_is_terminal(change.was) THEN moved.billed
               WHEN change.asked THEN coalesce(moved.billed, change.billed)
               WHEN change.was = 'waiting' THEN 'no'
               ELSE change.billed END,
           completed_at = CASE
               WHEN NOT job_is_terminal(change.becomes) THEN NULL
               WHEN job_is_terminal(change.was) THEN change.completed_at
               ELSE now() END
      FROM change LEFT JOIN moved ON moved.id = change.id
     WHERE job.id = change.id
    RETURNING job.id, job.attempt, job.version, job.claim
), execution_delta AS (
    SELECT execution_id,
           sum((becomes = 'completed')::integer - (was = 'completed')::integer)::integer AS completed,
           sum((becomes = 'failed')::integer - (was = 'failed')::integer)::integer AS failed,
           sum((becomes = 'cancelled')::integer - (was = 'cancelled')::integer)::integer AS cancelled,
           sum((becomes = 'skipped')::integer - (was = 'skipped')::integer)::integer AS skipped
      FROM change
     WHERE becomes <> was AND (job_is_terminal(becomes) OR job_is_terminal(was))
     GROUP BY execution_id
), counted AS (
    UPDATE executions AS execution
       SET jobs_completed = held.jobs_completed + delta.completed,
           jobs_failed = held.jobs_failed + delta.failed,
           jobs_cancelled = held.jobs_cancelled + delta.cancelled,
           jobs_skipped = held.jobs_skipped + delta.skipped,
           completed_at = CASE
               WHEN held.jobs_completed + held.jobs_failed
                    + held.jobs_cancelled + held.jobs_skipped + delta.completed
                    + delta.failed + delta.cancelled + delta.skipped
                    < held.jobs_total THEN NULL
               ELSE coalesce(held.completed_at, now()) END
      FROM execution_delta AS delta JOIN execution AS held ON held.id = delta.execution_id
     WHERE execution.id = held.id
), slot_delta AS (
    SELECT provider,
           sum((job_may_render(becomes) AND (held OR limited))::integer
               - held::integer)::integer AS jobs
      FROM change
     GROUP BY provider
    HAVING sum((job_may_render(becomes) AND (held OR limited))::integer
               - held::integer) <> 0
), slot AS MATERIALIZED (
    SELECT name, in_use
      FROM providers
     WHERE name IN (SELECT provider FROM slot_delta)
     ORDER BY name
       FOR NO KEY UPDATE
), slotted AS (
    UPDATE providers
       SET in_use = slot.in_use + slot_delta.jobs
      FROM slot_delta JOIN slot ON slot.name = slot_delta.provider
     WHERE providers.name = slot_delta.provider
), started AS (
    INSERT INTO job_starts (job_id, attempt, provider)
    SELECT id, attempt + 1, provider
      FROM change
     WHERE becomes = 'starting' AND was = 'queued'
     ORDER BY id
), answered AS (
    UPDATE job_starts AS start
       SET provider_job_id = coalesce(start.provider_job_id, answer.provider_job_id),
           provider_ref = coalesce(answer.provider_ref, start.provider_ref),
           outcome = coalesce(answer.start_outcome, start.outcome),
           answered_at = coalesce(start.answered_at, now()),
           cancel_at = CASE WHEN answer.stray
                                 AND coalesce(start.provider_job_id, answer.provider_job_id) IS NOT NULL
                            THEN now()
                            WHEN EXISTS (SELECT FROM moved
                                          WHERE moved.n = answer.n
                                            AND moved.becomes = 'start_unknown'
                                            AND job_is_terminal(moved.was))
                            THEN NULL ELSE start.cancel_at END
      FROM (SELECT DISTINCT ON (id, attempt) n, id, attempt, provider_job_id,
                   provider_ref, start_outcome, coalesce(stray, false) AS stray
              FROM move
             WHERE attempt IS NOT NULL
               AND (provider_job_id IS NOT NULL OR start_outcome IS NOT NULL OR stray)
             ORDER BY id, attempt, n) AS answer
     WHERE start.job_id = answer.id AND start.attempt = answer.attempt
       AND (SELECT count(*) FROM locked) > 0
), stored AS (
    INSERT INTO media (job_id, attempt, index, key, url, content_type, bytes, sha256)
    SELECT moved.id, change.attempt, file.index, file.key, file.url,
           file.content_type, file.bytes, file.sha256
      FROM moved JOIN change ON change.id = moved.id
           CROSS JOIN LATERAL jsonb_to_recordset(moved.media) AS file (
               index integer, key text, url text, content_type text,
               bytes bigint, sha256 text)
     ORDER BY moved.id, file.index
    ON CONFLICT (job_id, attempt, index) DO UPDATE
       SET key = excluded.key, url = excluded.url,
           content_type = excluded.content_type, bytes = excluded.bytes,
           sha256 = excluded.sha256
), received AS (
    INSERT INTO webhook_inbox (job_id, delivery_key, attempt, event)
    SELECT id, delivery_key, coalesce(attempt, 0), event
      FROM moved
     WHERE delivery_key IS NOT NULL
     ORDER BY id, delivery_key
    ON CONFLICT DO NOTHING
), noted AS (
    INSERT INTO job_events (job_id, attempt, event, from_status, to_status, why, detail)
    SELECT change.id,
           CASE WHEN change.becomes = 'starting' AND change.was = 'queued'
                THEN change.attempt + 1 ELSE change.attempt END,
           CASE WHEN change.asked THEN moved.event
                ELSE CASE change.becomes WHEN 'queued' THEN 'released'
                                         WHEN 'failed' THEN 'dependency_failed'
                                         ELSE 'dependency_skipped' END END,
           change.was, change.becomes,
           CASE WHEN change.asked THEN moved.why
                ELSE CASE change.becomes WHEN 'queued' THEN $3::text
                                         WHEN 'failed' THEN $4::text
                                         ELSE $5::text END END,
           moved.detail
      FROM change LEFT JOIN moved ON moved.id = change.id
     WHERE CASE WHEN change.asked THEN moved.quiet IS NOT TRUE
                ELSE change.becomes <> change.was END
     ORDER BY change.id
)
SELECT moved.n, change.id, change.execution_id, change.provider, change.was,
       change.becomes, updated.attempt, updated.version, updated.claim,
       NOT change.asked AND job_is_terminal(change.becomes)
           AND change.was = 'waiting' AND change.has_dependents AS unsettled
  FROM change
  JOIN updated ON updated.id = change.id
  LEFT JOIN moved ON moved.id = change.id
 ORDER BY moved.n NULLS LAST, change.id;

-- name: job_upstreams
-- params: ids uuid[]
-- What the references in these jobs' inputs may name: the jobs they depend
-- on, with result and media.
SELECT dependency.child_id, parent.name, parent.status, parent.output,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
                            'url', media.url, 'key', media.key,
                            'content_type', media.content_type,
                            'bytes', media.bytes, 'sha256', media.sha256)
                            ORDER BY media.index)
                   FROM media
                  WHERE media.job_id = parent.id
                    AND media.attempt = parent.attempt), '[]') AS media
  FROM job_dependencies AS dependency
  JOIN execution_jobs AS parent ON parent.id = dependency.parent_id
 WHERE dependency.child_id = ANY ($1::uuid[]);

-- name: job_release_expired
-- Queued jobs whose poller died before it started them give their slot back.
WITH dead AS (
    SELECT id, provider, holds_slot
      FROM execution_jobs
     WHERE status = 'queued' AND next_poll_at <= now() AND lease_until < now()
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
  FROM execution_jobs
 WHERE next_poll_at IS NOT NULL
   AND (status = 'queued' AND (deadline_at <= now() OR cancel_requested_at IS NOT NULL)
        OR status IN ('start_unknown', 'processing')
           AND deadline_at <= now() - interval '2 minutes')
   AND (lease_until IS NULL OR lease_until < now())
 ORDER BY id
 LIMIT $1::integer;
