-- SPDX-License-Identifier: MIT
-- Submitting, and what the API shows. Milliseconds are counted with date_part(),
-- in doubles: extract() would count them in numeric, which costs more.

-- name: execution_submit
-- params: executions json, jobs json, dependencies json, queued_why text, waiting_why text
-- Stores whole executions, each with its jobs, edges and first events, or
-- nothing of it where the owner has used the idempotency key before. Returns
-- the ids that are new. All are due at once, in the order of the submission
-- (LIMIT_JOBS_MOST is 100000, so none of them later than now).
WITH execution AS (
    INSERT INTO executions (id, owner, name, metadata, idempotency_key,
                            body_sha256, jobs_total)
    SELECT id, owner, name, coalesce(metadata, '{}'), idempotency_key,
           decode(body_sha256, 'hex'), jobs_total
      FROM json_to_recordset($1::json) AS execution (
               id uuid, owner text, name text, metadata jsonb,
               idempotency_key text, body_sha256 text, jobs_total integer)
     ORDER BY owner, idempotency_key, id
    ON CONFLICT (owner, idempotency_key) WHERE idempotency_key IS NOT NULL
    DO NOTHING
    RETURNING id
), job AS (
    INSERT INTO execution_jobs (id, execution_id, position, name, provider,
                                model, input, on_dependency_failure,
                                dependency_defaults, has_references,
                                deadline_s, max_attempts, needs_left, status,
                                next_poll_at, deadline_at)
    SELECT job.id, job.execution_id, job.position, job.name, job.provider,
           job.model, job.input, job.on_dependency_failure,
           job.dependency_defaults, job.has_references, job.deadline_s,
           job.max_attempts, job.needs_left,
           CASE WHEN job.needs_left > 0 THEN 'waiting' ELSE 'queued' END,
           CASE WHEN job.needs_left > 0 THEN NULL
                ELSE now() - (100000 - job.position) * interval '1 microsecond' END,
           CASE WHEN job.needs_left > 0 THEN NULL
                ELSE now() + job.deadline_s * interval '1 s' END
      FROM json_to_recordset($2::json) AS job (
               id uuid, execution_id uuid, position integer, name text,
               provider text, model text, input jsonb,
               on_dependency_failure text, dependency_defaults jsonb,
               has_references boolean, deadline_s integer,
               max_attempts integer, needs_left integer)
      JOIN execution ON execution.id = job.execution_id
    RETURNING id, status
), dependency AS (
    INSERT INTO job_dependencies (parent_id, child_id)
    SELECT parent.id, dependency.child_id
      FROM json_to_recordset($3::json) AS dependency (
               execution_id uuid, parent_ids uuid[], child_id uuid)
      JOIN execution ON execution.id = dependency.execution_id
           CROSS JOIN LATERAL unnest(dependency.parent_ids) AS parent (id)
), event AS (
    INSERT INTO job_events (job_id, attempt, event, to_status, why)
    SELECT id, 0, 'submitted', status,
           CASE status WHEN 'waiting' THEN $5::text ELSE $4::text END
      FROM job
)
SELECT id FROM execution;

-- name: execution_by_key
-- params: owners text[], keys text[]
-- Who used these idempotency keys: read by a statement of its own, after the
-- insert that found them taken, so that it sees what won.
SELECT execution.id, execution.owner, execution.idempotency_key,
       encode(execution.body_sha256, 'hex') AS body_sha256
  FROM unnest($1::text[], $2::text[]) AS asked (owner, key)
  JOIN executions AS execution ON execution.owner = asked.owner
                              AND execution.idempotency_key = asked.key;

-- name: execution_exists
-- params: ids uuid[]
-- After a connection lost during COMMIT: which of these were stored?
SELECT id FROM executions WHERE id = ANY ($1::uuid[]);

-- name: execution_read
-- params: id uuid, owner text
-- An execution and its jobs, in the order of the submission, by one statement:
-- its counts are those of the jobs as they are shown. A row for each job; the
-- first has the execution as well.
SELECT job.id, job.cancel_requested_at IS NOT NULL
                   AND NOT job_is_terminal(job.status) AS cancelling,
       job.status, job.name, job.provider, job.model, job.attempt, job.progress,
       job.version, job.error_code, execution.*
  FROM executions AS owned
  JOIN execution_jobs AS job ON job.execution_id = owned.id
  LEFT JOIN LATERAL (
      SELECT owned.id AS execution_id, owned.name AS execution_name,
             owned.status AS execution_status, owned.metadata,
             owned.jobs_total, owned.jobs_completed, owned.jobs_failed,
             owned.jobs_cancelled, owned.jobs_skipped,
             (date_part('epoch', owned.created_at) * 1000)::bigint AS created_unix_ms,
             (date_part('epoch', owned.completed_at) * 1000)::bigint AS completed_unix_ms
       WHERE job.position = 0
      OFFSET 0
  ) AS execution ON true
 WHERE owned.id = $1::uuid AND owned.owner = $2::text
 ORDER BY job.position;

-- name: execution_list
-- params: owner text, status text, before uuid, most integer
-- Newest first; "before" is the last id of the page before. The owner's part of
-- the index of owners is said as a range: said as "=", the planner may rather
-- go through everybody's executions, newest first, until a page is full.
SELECT id AS execution_id, name AS execution_name, status AS execution_status,
       metadata, jobs_total, jobs_completed, jobs_failed, jobs_cancelled,
       jobs_skipped,
       (date_part('epoch', created_at) * 1000)::bigint AS created_unix_ms,
       (date_part('epoch', completed_at) * 1000)::bigint AS completed_unix_ms
  FROM executions
 WHERE owner >= $1::text
   AND (owner, id) < ($1::text,
                      coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
   AND ($2::text IS NULL OR status = $2::text)
 ORDER BY owner DESC, id DESC
 LIMIT $4::integer;

-- name: execution_graph
-- params: execution_id uuid
-- What cancel and retry decide on.
SELECT id, name, provider, status, version, attempt, needs_left,
       on_dependency_failure, error_code, billed,
       media_source IS NOT NULL AS has_result, max_attempts, falters,
       cancel_requested_at IS NOT NULL AS cancel_requested
  FROM execution_jobs
 WHERE execution_id = $1::uuid
 ORDER BY position;

-- name: execution_edges
-- params: execution_id uuid
SELECT dependency.parent_id, dependency.child_id
  FROM execution_jobs AS child
  JOIN job_dependencies AS dependency ON dependency.child_id = child.id
 WHERE child.execution_id = $1::uuid;

-- name: job_read
-- params: ids uuid[], known bigint[]
-- Jobs as the API shows them, with their owner for the handler to compare; n is
-- the place in the arrays. A job that has completed comes once for each of its
-- files, in their order, any other once. Who knows this version of a job is not
-- told of its files, nor of its output, which others are told once; known is 0
-- for who knows none. An output that is long where it lies is left to whoever
-- reads that job alone, or a thousand of them would be in memory at once.
-- short: job_read_alone without together
SELECT asked.n, file.url AS file_url, file.content_type AS file_type,
       file.bytes AS file_bytes, file.sha256 AS file_sha256,
       job.id, job.execution_id, execution.owner, job.name, job.provider,
       job.model, job.status, job.attempt, job.progress, job.version,
       CASE WHEN job.version <> asked.known AND coalesce(file.index, 0) = 0
-- { together
             AND pg_column_size(job.output) <= 8192
-- }
            THEN job.output END AS output,
-- { together
       job.version <> asked.known
           AND coalesce(pg_column_size(job.output) > 8192, false) AS is_long,
-- }
       job.completed_via, job.error_code, job.error_message,
       job.billed, job.provider_job_id,
       job.cancel_requested_at IS NOT NULL
           AND NOT job_is_terminal(job.status) AS cancelling,
       (date_part('epoch', job.created_at) * 1000)::bigint AS created_unix_ms,
       (date_part('epoch', job.started_at) * 1000)::bigint AS started_unix_ms,
       (date_part('epoch', job.completed_at) * 1000)::bigint AS completed_unix_ms
  FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS asked (id, known, n)
  JOIN execution_jobs AS job ON job.id = asked.id
  JOIN executions AS execution ON execution.id = job.execution_id
  LEFT JOIN LATERAL (
      SELECT index, url, content_type, bytes, sha256
        FROM media
       WHERE job_id = job.id AND attempt = job.attempt
         AND job.status = 'completed' AND job.version <> asked.known
      OFFSET 0
  ) AS file ON true
 ORDER BY asked.n, file.index;

-- name: job_events_read
-- params: job_id uuid, after bigint, most integer
SELECT id, (date_part('epoch', at) * 1000)::bigint AS at_unix_ms, attempt,
       event, from_status, to_status, why, detail
  FROM job_events
 WHERE job_id = $1::uuid AND id > $2::bigint
 ORDER BY id
 LIMIT $3::integer;

-- name: job_brief
-- params: id uuid, owner text
-- What cancelling and retrying start from.
SELECT job.id, job.execution_id, job.provider, job.status, job.attempt,
       job.cancel_requested_at IS NOT NULL AS cancel_requested
  FROM execution_jobs AS job
  JOIN executions AS execution ON execution.id = job.execution_id
 WHERE job.id = $1::uuid AND execution.owner = $2::text;

-- name: job_provider
-- params: id uuid
-- Who sends webhooks for this job?
SELECT provider FROM execution_jobs WHERE id = $1::uuid;

-- name: job_for_webhook
-- params: ids uuid[], delivery_keys text[], attempts integer[]
-- What a webhook's meaning depends on, a row per job asked for; n is its
-- place in the arrays. attempt 0: the newest. known_id: the provider's id of
-- that attempt, if it is known; was_accepted: the provider said that it took it.
SELECT asked.n, job.id, job.execution_id, job.name, job.provider, job.model,
       job.status, job.version, job.attempt, job.max_attempts, job.falters,
       job.start_failures, job.provider_ref,
       start.provider_job_id AS known_id,
       coalesce(start.outcome = 'accepted', false) AS was_accepted,
       job.cancel_requested_at IS NOT NULL AS cancel_requested,
       job.restart_if_absent, (SELECT true FROM webhook_inbox AS inbox
                               WHERE inbox.job_id = job.id
                                 AND inbox.delivery_key = asked.delivery_key
                             ) IS TRUE AS repeated
  FROM unnest($1::uuid[], $2::text[], $3::integer[]) WITH ORDINALITY
       AS asked (id, delivery_key, attempt, n)
  JOIN execution_jobs AS job ON job.id = asked.id
  LEFT JOIN job_starts AS start
    ON start.job_id = ANY (ARRAY[job.id])
   AND start.attempt = ANY (ARRAY[CASE asked.attempt WHEN 0 THEN job.attempt
                                       ELSE asked.attempt END]);

-- name: job_poke
-- params: ids uuid[]
-- A hint came: look at these now. Not where somebody is looking already. The
-- version stays, for nothing is known to have changed.
WITH poked AS (
    SELECT id
      FROM execution_jobs
     WHERE id = ANY ($1::uuid[])
       AND status IN ('processing', 'start_unknown')
       AND (lease_until IS NULL OR lease_until < now())
     ORDER BY id
       FOR NO KEY UPDATE
)
UPDATE execution_jobs AS job
   SET next_poll_at = least(job.next_poll_at, now())
  FROM poked
 WHERE job.id = poked.id
RETURNING job.id;

-- name: webhook_note
-- params: notes json
-- Webhooks that do not move their job: late ones, and those of a start that
-- was overtaken. The inbox remembers them, the start its provider's id; the
-- job's row stays as it is. stray: that start lives and is to be cancelled.
-- The lock is in the way only of the cleanup, which removes the job: it waits
-- and then removes these notes too, or was first, and there are none.
WITH note AS MATERIALIZED (
    SELECT note.*
      FROM (SELECT *
              FROM json_to_recordset($1::json) AS note (
                       job_id uuid, delivery_key text, attempt integer,
                       event text, provider_job_id text, stray boolean)
             ORDER BY job_id) AS note
           CROSS JOIN LATERAL (
               SELECT FROM execution_jobs
                WHERE id = note.job_id
                  FOR KEY SHARE SKIP LOCKED
           ) AS job
), received AS (
    INSERT INTO webhook_inbox (job_id, delivery_key, attempt, event)
    SELECT job_id, delivery_key, attempt, event
      FROM note
     ORDER BY job_id, delivery_key
    ON CONFLICT DO NOTHING
), known AS (
    SELECT job_id, attempt, min(provider_job_id) AS provider_job_id,
           bool_or(stray) AS stray
      FROM note
     WHERE provider_job_id IS NOT NULL OR stray
     GROUP BY job_id, attempt
), start AS MATERIALIZED (
    SELECT start.job_id, start.attempt, known.provider_job_id, known.stray
      FROM known JOIN job_starts AS start
        ON start.job_id = ANY (ARRAY[known.job_id])
       AND start.attempt = ANY (ARRAY[known.attempt])
     ORDER BY start.job_id, start.attempt
       FOR NO KEY UPDATE OF start
)
UPDATE job_starts AS kept
   SET provider_job_id = coalesce(kept.provider_job_id, known.provider_job_id),
       answered_at = coalesce(kept.answered_at, now()),
       cancel_at = CASE WHEN known.stray
                             AND coalesce(kept.provider_job_id, known.provider_job_id) IS NOT NULL
                        THEN now() ELSE kept.cancel_at END
  FROM start AS known
 WHERE kept.job_id = ANY (ARRAY[known.job_id])
   AND kept.attempt = ANY (ARRAY[known.attempt])
RETURNING kept.job_id, kept.attempt;

-- name: webhook_take
-- params: results json, event text, why text
-- What comes most often, written without a look before it: the result of a job
-- that renders. If it does, in this attempt and under this id, and the delivery
-- is new, the result is written as job_move writes it, whose many other cases
-- cost more than this one (tests/db/webhook_test.c compares what comes of
-- both). Any other job is left as it is, and its webhook decided after a look.
-- job_starts has nothing to learn: a job gets to "processing", and to its
-- provider's id, by the answer that is noted there.
-- Comes back: a row for each that was written; n is its number.
WITH locked AS MATERIALIZED (
    SELECT result.*, job.execution_id, job.provider, job.holds_slot AS held
      FROM (SELECT *
              FROM json_to_recordset($1::json) AS result (
                       n integer, id uuid, attempt integer,
                       provider_job_id text, delivery_key text, output jsonb,
                       media_source jsonb)
             WHERE (SELECT true FROM webhook_inbox AS inbox
                     WHERE inbox.job_id = result.id
                       AND inbox.delivery_key = result.delivery_key
                   ) IS NOT TRUE
             ORDER BY id) AS result
           CROSS JOIN LATERAL (
               SELECT execution_id, provider, holds_slot
                 FROM execution_jobs
                WHERE id = result.id AND status = 'processing'
                  AND attempt = result.attempt
                  AND provider_job_id = result.provider_job_id
                  FOR NO KEY UPDATE
           ) AS job
), updated AS (
    UPDATE execution_jobs AS job
       SET status = 'storing',
           version = job.version + 1,
           claim = job.claim + 1,
           lease_until = NULL,
           next_poll_at = now(),
           holds_slot = false,
           unknown_since = NULL,
           poll_attempts = 0,
           start_failures = 0,
           output = coalesce(locked.output, job.output),
           media_source = locked.media_source,
           completed_via = 'webhook',
           error_code = NULL,
           error_message = NULL,
           billed = NULL,
           completed_at = NULL
      FROM locked
     WHERE job.id = ANY (ARRAY[locked.id])
), slot AS MATERIALIZED (
    SELECT provider.name, provider.in_use - delta.jobs AS in_use
      FROM (SELECT provider AS name, count(*)::integer AS jobs
              FROM locked
             WHERE held
             GROUP BY provider
             ORDER BY provider) AS delta
           CROSS JOIN LATERAL (
               SELECT name, in_use FROM providers
                WHERE name = delta.name
                  FOR NO KEY UPDATE
           ) AS provider
), slotted AS (
    UPDATE providers
       SET in_use = slot.in_use
      FROM slot
     WHERE providers.name = ANY (ARRAY[slot.name])
), received AS (
    INSERT INTO webhook_inbox (job_id, delivery_key, attempt, event)
    SELECT id, delivery_key, attempt, $2::text
      FROM locked
    ON CONFLICT DO NOTHING
), noted AS (
    INSERT INTO job_events (job_id, attempt, event, from_status, to_status, why)
    SELECT id, attempt, $2::text, 'processing', 'storing', $3::text
      FROM locked
)
SELECT n, id, execution_id, provider, attempt FROM locked;
