-- SPDX-License-Identifier: MIT
-- What happens to jobs. C decides (common/model/job.c), these statements
-- compare and set. See sql/README.md for the rules they all keep: arrays in,
-- locks in the order executions, execution_jobs, providers, each sorted.

-- name: job_asked
-- params: ids uuid[], claims bigint[], due_ms bigint[], poll_attempts integer[], progress real[], saw_cancel boolean[]
-- What most questions to a provider end in: the job still renders, and all that
-- is new is when to ask next. It leaves the row as job_move would leave it,
-- without what job_move does for a change of state; n is the job's place in the
-- arrays. Whoever holds the claim has had the row in this state since before
-- this statement's snapshot, so what the UPDATE finds is what the lock showed.
WITH asked AS MATERIALIZED (
    SELECT *
      FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::integer[],
                  $5::real[], $6::boolean[]) WITH ORDINALITY
           AS asked (id, claim, due_ms, poll_attempts, progress, saw_cancel, n)
     ORDER BY id
), held AS MATERIALIZED (
    SELECT asked.*
      FROM asked CROSS JOIN LATERAL (
               SELECT id
                 FROM execution_jobs
                WHERE id = asked.id AND claim = asked.claim
                  AND status = 'processing'
                  FOR NO KEY UPDATE
           ) AS job
)
UPDATE execution_jobs AS job
   SET version = job.version + 1,
       lease_until = NULL,
       next_poll_at = CASE
           WHEN job.cancel_requested_at IS NOT NULL AND NOT held.saw_cancel
               THEN now()
           ELSE least(now() + held.due_ms * interval '1 ms',
                      CASE WHEN job.deadline_at > now() THEN job.deadline_at END)
           END,
       poll_attempts = held.poll_attempts,
       start_failures = 0,
       progress = coalesce(held.progress, job.progress),
       error_code = NULL,
       error_message = NULL,
       billed = NULL
  FROM held
 WHERE job.id = ANY (ARRAY[held.id])
RETURNING held.n, job.attempt, job.version, job.claim;

-- name: job_move
-- params: moves json, released_why text, failed_why text, skipped_why text, all_or_none boolean
-- short: job_move_on without ends
-- short: job_move_last without dependents slots starts inbox again sets
-- short: job_move_end without slots starts inbox again sets
-- short: job_move_told without starts again sets
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
-- job has moved on, and so is that the start was taken, whatever a move that is
-- too late says. A start that a retry looks for is not cancelled any more.
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
--
-- Half of what one move costs alone is making the parts of its plan ready to
-- run, so C takes the form without those that its moves do not need: job_move_on
-- where nothing ends or runs again (no execution, no dependents), job_move_end
-- where what was rendered ends (no slot, no start's row, no webhook, nothing
-- that had ended before, no set), job_move_last where besides nobody depends on
-- it, job_move_told where a webhook ends it.
--
-- What is known of a job and of its move is joined once, in "change": joining
-- again for each table is what a large batch would pay for. Tables are entered
-- by LATERAL or "= ANY (ARRAY[…])", for which an index is the only way, however
-- small a table was when the statement was planned.
WITH move AS MATERIALIZED (
    SELECT *, job_is_terminal(becomes) AS ends, job_is_terminal(was) AS had_ended
      FROM json_to_recordset($1::json) AS move (
               n integer, id uuid, event text, was text, claim bigint,
               version bigint, becomes text, why text, detail text, quiet boolean,
               due_ms bigint, lease_ms bigint, attempt integer,
               provider_job_id text, provider_ref jsonb, progress real,
               output jsonb, media_source jsonb, media json, via text,
               error_code text, error_message text, billed text,
               start_outcome text, delivery_key text, cancel boolean,
               cancel_tried boolean, saw_cancel boolean, stray boolean, restart_if_absent boolean,
               poll_attempts integer, start_failures integer, falters integer,
               store_failures integer, max_attempts integer)
-- { ends
), execution AS MATERIALIZED (
    SELECT execution.*
      FROM (SELECT DISTINCT job.execution_id AS id
              FROM move CROSS JOIN LATERAL (
                       SELECT execution_id FROM execution_jobs
                        WHERE id = move.id
                       OFFSET 0
                   ) AS job
             WHERE move.ends OR move.had_ended
             ORDER BY id) AS wanted
           CROSS JOIN LATERAL (
               SELECT id, jobs_total, jobs_completed, jobs_failed,
                      jobs_cancelled, jobs_skipped, completed_at
                 FROM executions
                WHERE id = wanted.id
                  FOR NO KEY UPDATE
           ) AS execution
-- { dependents
), edge AS MATERIALIZED (
    SELECT move.id AS parent_id, dependency.child_id
      FROM move CROSS JOIN LATERAL (
               SELECT child_id FROM job_dependencies
                WHERE parent_id = move.id AND delivered = NOT move.ends
               OFFSET 0
           ) AS dependency
     WHERE move.ends OR move.had_ended
-- }
-- }
), locked AS MATERIALIZED (
    SELECT wanted.id, wanted.n, wanted.becomes, wanted.ends, wanted.had_ended, job.*,
           (job.status = wanted.was AND job.claim = coalesce(wanted.claim, job.claim)
            AND job.version = coalesce(wanted.version, job.version)) IS TRUE AS passes
      FROM (SELECT id, n, was, claim, version, becomes, ends, had_ended FROM move
-- { ends
             WHERE (SELECT count(*) FROM execution) >= 0
-- { dependents
            UNION ALL
            SELECT child_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM edge
-- }
-- }
             ORDER BY id) AS wanted
           CROSS JOIN LATERAL (
               SELECT execution_id, provider, status, version, claim, attempt,
                      needs_left, holds_slot, on_dependency_failure,
                      next_poll_at, unknown_since, provider_job_id, error_code,
                      billed, completed_at, lease_until > now() AS leased
                 FROM execution_jobs
                WHERE id = wanted.id
                  FOR NO KEY UPDATE
           ) AS job
), judged AS MATERIALIZED (
    SELECT DISTINCT ON (id) *,
           passes
-- { ends
-- { sets
               AND (SELECT NOT $5::boolean OR json_array_length($1::json)
                           = count(DISTINCT id) FILTER (WHERE passes)
                      FROM locked)
-- }
-- }
               AS asked
      FROM locked
     WHERE passes
-- { ends
-- { dependents
        OR n IS NULL
-- }
-- }
     ORDER BY id, passes DESC, n
-- { ends
-- { dependents
), told AS (
    UPDATE job_dependencies AS dependency
       SET delivered = parent.ends
      FROM judged AS parent
     WHERE parent.asked AND (parent.ends OR parent.had_ended)
       AND dependency.parent_id = ANY (ARRAY[parent.id])
       AND dependency.delivered = NOT parent.ends
-- { again
       AND (parent.ends OR dependency.child_id IN (
               SELECT id FROM judged
                WHERE CASE WHEN asked THEN becomes ELSE status END = 'waiting'))
-- }
    RETURNING dependency.child_id, parent.ends, parent.becomes
), tally AS (
    SELECT child_id, count(*) FILTER (WHERE ends)::integer AS ended,
           count(*) FILTER (WHERE ends AND becomes <> 'completed') AS bad,
           count(*) FILTER (WHERE NOT ends)::integer AS regained
      FROM told GROUP BY child_id
-- }
-- }
), change AS MATERIALIZED (
    SELECT job.id, job.execution_id, job.provider, job.attempt AS attempt_was,
           job.status AS was, job.holds_slot AS held,
           job.next_poll_at AS due_was, job.unknown_since AS unknown_was,
           job.provider_job_id AS provider_job_was, job.error_code AS error_was,
           job.billed AS billed_was, job.completed_at AS completed_was,
           job.asked, result.becomes, job_is_terminal(result.becomes) AS ends,
           job_is_terminal(job.status) AS had_ended,
           result.becomes IN ('queued', 'waiting', 'starting') AS anew,
           result.becomes = 'starting' AND job.status = 'queued' AS starts,
           job_may_render(result.becomes)
               AND (job.holds_slot
                    OR job.provider = ANY (ARRAY(SELECT name FROM providers
                                                  WHERE max_concurrent IS NOT NULL)))
               AS holds,
           job.needs_left
-- { ends
-- { dependents
               - coalesce(tally.ended, 0) + coalesce(tally.regained, 0)
-- }
-- }
               AS needs_left,
           CASE WHEN NOT job.asked THEN job_is_terminal(job.status)
                ELSE move.claim IS NULL AND job.becomes = job.status
                     AND job.leased IS TRUE END AS keeps_lease,
           (move.claim IS NULL AND job.becomes <> job.status)::integer AS fences,
           move.n, move.event, move.why, move.detail, move.quiet, move.due_ms,
           move.lease_ms, move.attempt, move.provider_job_id, move.provider_ref,
           move.progress, move.output, move.media_source, move.media, move.via,
           move.error_code, move.error_message, move.billed, move.delivery_key,
           move.cancel, move.cancel_tried, move.saw_cancel, move.restart_if_absent,
           move.poll_attempts, move.start_failures, move.falters,
           move.store_failures, move.max_attempts
      FROM judged AS job
      LEFT JOIN move ON move.n = job.n
-- { ends
-- { dependents
      LEFT JOIN tally ON tally.child_id = job.id
-- }
-- }
           CROSS JOIN LATERAL (
               SELECT CASE WHEN job.asked THEN job.becomes
-- { ends
-- { dependents
                           WHEN job.status <> 'waiting' THEN job.status
                           WHEN tally.bad > 0 AND job.on_dependency_failure = 'fail' THEN 'failed'
                           WHEN tally.bad > 0 AND job.on_dependency_failure = 'skip' THEN 'skipped'
                           WHEN tally.ended >= job.needs_left + tally.regained THEN 'queued'
                           ELSE 'waiting'
-- }
-- }
                           END AS becomes
           ) AS result
-- { ends
-- { dependents
     WHERE job.asked OR tally.child_id IS NOT NULL
-- { again
        OR job_is_terminal(job.status) AND job.id IN (
               SELECT edge.child_id
                 FROM edge JOIN judged AS parent ON parent.id = edge.parent_id
                WHERE parent.asked AND parent.had_ended AND NOT parent.ends)
-- }
-- }
-- }
), updated AS (
    UPDATE execution_jobs AS job
       SET status = change.becomes,
           version = job.version + 1,
           claim = job.claim + coalesce(change.fences, 0),
           needs_left = change.needs_left,
           lease_until = CASE WHEN change.keeps_lease THEN job.lease_until
                              ELSE now() + change.lease_ms * interval '1 ms' END,
           next_poll_at = CASE
               WHEN change.keeps_lease THEN change.due_was
-- { ends
               WHEN change.becomes = 'waiting' THEN NULL
               WHEN change.ends AND change.asked THEN NULL
-- { dependents
               WHEN change.ends THEN
                   CASE WHEN change.was <> 'waiting' THEN change.due_was
                        WHEN (SELECT true FROM job_dependencies
                               WHERE parent_id = job.id LIMIT 1) THEN now() END
               WHEN NOT change.asked THEN
                   CASE WHEN change.was = 'waiting' THEN now() ELSE change.due_was END
-- }
-- }
               WHEN change.lease_ms IS NOT NULL THEN now() + change.lease_ms * interval '1 ms'
               WHEN change.due_ms IS NULL THEN change.due_was
               WHEN job.cancel_requested_at IS NOT NULL
                    AND (change.becomes IN ('processing', 'start_unknown')
                             AND change.saw_cancel IS NOT TRUE
                         OR change.becomes = 'queued' AND job_may_render(change.was))
                   THEN now()
               ELSE least(now() + change.due_ms * interval '1 ms',
                          CASE WHEN change.becomes <> 'storing'
                                    AND job.deadline_at > now() THEN job.deadline_at END)
               END,
           deadline_at = CASE
               WHEN (change.was = 'waiting' OR change.had_ended)
                    AND change.becomes IN ('queued', 'start_unknown', 'storing')
                   THEN now() + job.deadline_s * interval '1 s'
               ELSE job.deadline_at END,
           holds_slot = change.holds,
           attempt = CASE WHEN change.starts THEN change.attempt_was + 1
                          ELSE change.attempt_was END,
           started_at = CASE WHEN change.starts THEN now() ELSE job.started_at END,
           unknown_since = CASE WHEN change.becomes <> 'start_unknown' THEN NULL
                                ELSE coalesce(change.unknown_was, now()) END,
           restart_if_absent = change.becomes IN ('start_unknown', 'storing', 'processing')
               AND coalesce(change.restart_if_absent, job.restart_if_absent),
           poll_attempts = CASE WHEN change.becomes <> change.was THEN 0
                                ELSE coalesce(change.poll_attempts, job.poll_attempts) END,
           start_failures = coalesce(change.start_failures, job.start_failures),
           falters = coalesce(change.falters, job.falters),
           store_failures = coalesce(change.store_failures, job.store_failures),
           max_attempts = coalesce(change.max_attempts, job.max_attempts),
           cancel_requested_at = CASE
               WHEN change.had_ended AND NOT change.ends THEN NULL
               WHEN change.cancel THEN coalesce(job.cancel_requested_at, now())
               ELSE job.cancel_requested_at END,
           cancel_tried_at = CASE
               WHEN change.had_ended AND NOT change.ends THEN NULL
               WHEN change.cancel_tried THEN coalesce(job.cancel_tried_at, now())
               ELSE job.cancel_tried_at END,
           provider_job_id = CASE
               WHEN change.anew THEN NULL
               WHEN change.attempt <> change.attempt_was THEN change.provider_job_was
               ELSE coalesce(change.provider_job_id, change.provider_job_was) END,
           provider_ref = CASE
               WHEN change.anew THEN NULL
               WHEN change.attempt <> change.attempt_was THEN job.provider_ref
               ELSE coalesce(change.provider_ref, job.provider_ref) END,
           progress = CASE
               WHEN change.becomes = 'completed' THEN 1
               WHEN change.anew THEN NULL
               ELSE coalesce(change.progress, job.progress) END,
           output = CASE WHEN change.anew THEN NULL
                         ELSE coalesce(change.output, job.output) END,
           media_source = CASE WHEN change.anew OR change.becomes = 'completed' THEN NULL
                               ELSE coalesce(change.media_source, job.media_source) END,
           completed_via = CASE WHEN change.anew THEN NULL
                                ELSE coalesce(change.via, job.completed_via) END,
           error_code = CASE
               WHEN NOT change.ends THEN change.error_code
               WHEN change.asked AND NOT change.had_ended THEN change.error_code
-- { ends
               WHEN change.asked THEN coalesce(change.error_code, change.error_was)
               WHEN change.was = 'waiting' THEN 'dependency_failed'
               ELSE change.error_was
-- }
               END,
           error_message = CASE
               WHEN NOT change.ends THEN change.error_message
               WHEN change.asked AND NOT change.had_ended THEN change.error_message
-- { ends
               WHEN change.asked THEN coalesce(change.error_message, job.error_message)
               WHEN change.was = 'waiting' THEN
                   CASE change.becomes WHEN 'failed' THEN $3::text ELSE $4::text END
               ELSE job.error_message
-- }
               END,
           billed = CASE
               WHEN NOT change.ends THEN change.billed
               WHEN change.asked AND NOT change.had_ended THEN change.billed
-- { ends
               WHEN change.asked THEN coalesce(change.billed, change.billed_was)
               WHEN change.was = 'waiting' THEN 'no'
               ELSE change.billed_was
-- }
               END,
           completed_at = CASE
               WHEN NOT change.ends THEN NULL
               WHEN change.had_ended THEN change.completed_was
               ELSE now() END
      FROM change
     WHERE job.id = ANY (ARRAY[change.id])
    RETURNING change.n, job.id, change.execution_id, change.provider, change.was,
              change.becomes, job.attempt, job.version, job.claim,
              NOT change.asked AND change.ends AND change.was = 'waiting'
                  AND job.next_poll_at IS NOT NULL AS unsettled
-- { ends
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
      FROM (SELECT execution_id,
                   sum((becomes = 'completed')::integer - (was = 'completed')::integer)::integer AS completed,
                   sum((becomes = 'failed')::integer - (was = 'failed')::integer)::integer AS failed,
                   sum((becomes = 'cancelled')::integer - (was = 'cancelled')::integer)::integer AS cancelled,
                   sum((becomes = 'skipped')::integer - (was = 'skipped')::integer)::integer AS skipped
              FROM change
             WHERE becomes <> was AND (ends OR had_ended)
             GROUP BY execution_id) AS delta
      JOIN execution AS held ON held.id = delta.execution_id
     WHERE execution.id = ANY (ARRAY[held.id])
-- }
-- { slots
), slot AS MATERIALIZED (
    SELECT provider.name, provider.in_use + delta.jobs AS in_use
      FROM (SELECT provider AS name, sum(holds::integer - held::integer)::integer AS jobs
              FROM change
             WHERE holds <> held
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
-- }
-- { starts
), started AS (
    INSERT INTO job_starts (job_id, attempt, provider)
    SELECT id, attempt_was + 1, provider
      FROM change
     WHERE starts
), answered AS (
    UPDATE job_starts AS start
       SET provider_job_id = coalesce(start.provider_job_id, answer.provider_job_id),
           provider_ref = coalesce(answer.provider_ref, start.provider_ref),
           outcome = CASE WHEN start.outcome = 'accepted' THEN start.outcome
                          ELSE coalesce(answer.start_outcome, start.outcome) END,
           answered_at = coalesce(start.answered_at, now()),
           cancel_at = CASE WHEN answer.stray
                                 AND coalesce(start.provider_job_id, answer.provider_job_id) IS NOT NULL
                            THEN now()
-- { ends
                            WHEN start.cancel_at IS NULL THEN NULL
                            WHEN (SELECT true FROM judged
                                   WHERE judged.n = answer.n AND judged.asked
                                     AND judged.had_ended
                                     AND judged.becomes = 'start_unknown')
                            THEN NULL
-- }
                            ELSE start.cancel_at END
      FROM (SELECT DISTINCT ON (id, attempt) n, id, attempt, provider_job_id,
                   provider_ref, start_outcome, coalesce(stray, false) AS stray
              FROM move
             WHERE attempt IS NOT NULL
               AND (provider_job_id IS NOT NULL OR start_outcome IS NOT NULL OR stray)
             ORDER BY id, attempt, n) AS answer
     WHERE start.job_id = ANY (ARRAY[answer.id])
       AND start.attempt = ANY (ARRAY[answer.attempt])
       AND (SELECT count(*) FROM locked) > 0
-- }
-- { ends
), stored AS (
    INSERT INTO media (job_id, attempt, index, key, url, content_type, bytes, sha256)
    SELECT change.id, change.attempt_was, file.index, file.key, file.url,
           file.content_type, file.bytes, file.sha256
      FROM change CROSS JOIN LATERAL json_to_recordset(change.media) AS file (
               index integer, key text, url text, content_type text,
               bytes bigint, sha256 text)
     WHERE change.media IS NOT NULL
    ON CONFLICT (job_id, attempt, index) DO UPDATE
       SET key = excluded.key, url = excluded.url,
           content_type = excluded.content_type, bytes = excluded.bytes,
           sha256 = excluded.sha256
-- }
-- { inbox
), received AS (
    INSERT INTO webhook_inbox (job_id, delivery_key, attempt, event)
    SELECT id, delivery_key, coalesce(attempt, 0), event
      FROM change
     WHERE delivery_key IS NOT NULL
     ORDER BY id
    ON CONFLICT DO NOTHING
-- }
), noted AS (
    INSERT INTO job_events (job_id, attempt, event, from_status, to_status, why, detail)
    SELECT id, CASE WHEN starts THEN attempt_was + 1 ELSE attempt_was END,
           CASE WHEN asked THEN event
-- { ends
                WHEN becomes = 'queued' THEN 'released'
                WHEN becomes = 'failed' THEN 'dependency_failed'
                ELSE 'dependency_skipped'
-- }
                END,
           was, becomes,
           CASE WHEN asked THEN why
-- { ends
                WHEN becomes = 'queued' THEN $2::text
                WHEN becomes = 'failed' THEN $3::text
                ELSE $4::text
-- }
                END,
           detail
      FROM change
     WHERE CASE WHEN asked THEN quiet IS NOT TRUE ELSE becomes <> was END
)
SELECT n, id, execution_id, provider, was, becomes, attempt, version, claim,
       unsettled
  FROM updated;

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
