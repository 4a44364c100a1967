-- SPDX-License-Identifier: MIT
-- 0002: what must hold of the books, as views that are empty when it does.
-- A row names the invariant, the job (none where it is about an execution or
-- a provider) and the figures. "violations" looks at everything there is;
-- every part of it goes by the job's id, so that a condition on job_id makes
-- it as cheap as the jobs that it leaves: ids are in the order of time, and
-- uuid_at() gives the least id of a moment. "violations_live" looks at jobs
-- that are due some time, whatever the history. They only read and wait for
-- nobody; docs/ASYNC_SETUP_GUIDE.md says how to run them.

CREATE FUNCTION uuid_at(moment timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN rpad(lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0'),
                32, '0')::uuid;

-- Of each job by itself. Counted per job by LATERAL, for which an index is
-- the only way.
CREATE VIEW job_violations AS
SELECT broken.invariant, job.execution_id, job.id AS job_id,
       job.status || ': ' || broken.detail AS detail
  FROM execution_jobs AS job
       CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE NOT edge.delivered) AS undelivered,
                  count(*) FILTER (WHERE edge.delivered AND job.status = 'waiting'
                                     AND NOT job_is_terminal(parent.status)) AS early,
                  count(*) FILTER (WHERE job.on_dependency_failure <> 'run'
                                     AND parent.status <> 'completed') AS unmet,
                  max(coalesce((SELECT min(event.at) FROM job_events AS event
                                 WHERE event.job_id = parent.id
                                   AND job_is_terminal(event.to_status)),
                               'infinity')) AS ready_at
             FROM job_dependencies AS edge
             JOIN execution_jobs AS parent ON parent.id = edge.parent_id
            WHERE edge.child_id = job.id) AS needs
       CROSS JOIN LATERAL (
           SELECT count(*) AS made, coalesce(max(start.attempt), 0) AS newest,
                  min(start.started_at) AS first_at,
                  count(*) FILTER (WHERE start.outcome = 'open'
                                     AND (start.attempt <> job.attempt OR job.status
                                          NOT IN ('starting', 'start_unknown'))) AS open,
                  -- paid for, perhaps, and started again without a reason
                  count(*) FILTER (WHERE start.attempt < job.attempt
                                     AND start.outcome NOT IN ('not_started', 'refused')
                                     AND NOT EXISTS (
                      SELECT FROM job_events AS event
                       WHERE event.job_id = start.job_id
                         AND event.attempt = start.attempt
                         AND event.event IN ('provider_failed', 'provider_faltered',
                                             'provider_cancelled', 'absent',
                                             'retry', 'revived'))) AS again
             FROM job_starts AS start
            WHERE start.job_id = job.id) AS starts
       CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE step.event = 'stored') AS stored,
                  count(*) FILTER (WHERE step.event = 'released') AS released,
                  count(*) FILTER (WHERE step.event = 'revived') AS revived,
                  count(*) FILTER (WHERE step.from_status
                                         IS DISTINCT FROM step.before) AS gaps,
                  (array_agg(step.to_status ORDER BY step.id DESC))[1] AS last
             FROM (SELECT event.*, lag(event.to_status) OVER (ORDER BY event.id) AS before
                     FROM job_events AS event
                    WHERE event.job_id = job.id) AS step) AS told
       CROSS JOIN LATERAL (
           SELECT count(*) AS files, coalesce(max(media.index), -1) AS last
             FROM media
            WHERE media.job_id = job.id AND media.attempt = job.attempt) AS stored
       CROSS JOIN LATERAL (VALUES
           ('needs_left',
            job.needs_left <> needs.undelivered OR needs.early > 0,
            format('waits for %s, %s edges are open, %s told too early',
                   job.needs_left, needs.undelivered, needs.early)),
           ('settled',
            job_is_terminal(job.status) AND job.next_poll_at IS NULL
                AND (SELECT true FROM job_dependencies AS edge
                      WHERE edge.parent_id = job.id AND NOT edge.delivered
                      LIMIT 1) IS TRUE,
            'has dependents that were not told, and nobody will'),
           ('attempts',
            job.attempt <> starts.made OR job.attempt <> starts.newest,
            format('attempt %s, %s starts, the last %s', job.attempt,
                   starts.made, starts.newest)),
           ('paid_once',
            starts.again > 0,
            format('%s starts were followed by another although they may have '
                   'been paid', starts.again)),
           ('start_closed',
            starts.open > 0,
            format('%s starts are neither answered nor looked for', starts.open)),
           ('parents_first',
            starts.made > 0 AND (needs.unmet > 0 OR starts.first_at < needs.ready_at),
            format('first started at %s; the last parent ended at %s, %s did '
                   'not complete', starts.first_at, needs.ready_at, needs.unmet)),
           ('released_once',
            told.released > told.revived + 1,
            format('released %s times', told.released)),
           ('completed_once',
            told.stored <> (job.status = 'completed')::integer,
            format('%s times stored', told.stored)),
           ('timeline',
            told.last IS DISTINCT FROM job.status OR told.gaps > 0,
            format('the last event says %s, %s do not follow the one before',
                   told.last, told.gaps)),
           ('media',
            (stored.files > 0) <> (job.status = 'completed')
                OR stored.last + 1 <> stored.files,
            format('%s files, the last is number %s', stored.files, stored.last)),
           ('lease',
            job.lease_until < now() - interval '10 minutes',
            format('its lease ended at %s, and nobody took it', job.lease_until)),
           ('deadline',
            job.deadline_at < now() - interval '10 minutes'
                AND job.status IN ('queued', 'start_unknown', 'processing'),
            format('its deadline was %s', job.deadline_at))
       ) AS broken (invariant, holds_not, detail)
 WHERE broken.holds_not;

-- Of each execution by itself.
CREATE VIEW execution_violations AS
SELECT 'counters' AS invariant, execution.id AS execution_id,
       format('%s jobs: %s completed, %s failed, %s cancelled, %s skipped; it '
              'says %s: %s, %s, %s, %s', found.jobs, found.completed, found.failed,
              found.cancelled, found.skipped, execution.jobs_total,
              execution.jobs_completed, execution.jobs_failed,
              execution.jobs_cancelled, execution.jobs_skipped) AS detail
  FROM executions AS execution
       CROSS JOIN LATERAL (
           SELECT count(*) AS jobs,
                  count(*) FILTER (WHERE status = 'completed') AS completed,
                  count(*) FILTER (WHERE status = 'failed') AS failed,
                  count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
                  count(*) FILTER (WHERE status = 'skipped') AS skipped
             FROM execution_jobs
            WHERE execution_id = execution.id) AS found
 WHERE (execution.jobs_total, execution.jobs_completed, execution.jobs_failed,
        execution.jobs_cancelled, execution.jobs_skipped)
       IS DISTINCT FROM (found.jobs, found.completed, found.failed,
                         found.cancelled, found.skipped);

-- Of each provider. Whoever holds a slot is due some time.
CREATE VIEW provider_violations AS
SELECT 'slots' AS invariant,
       format('%s: %s in use, %s held', provider.name, provider.in_use,
              found.jobs) AS detail
  FROM providers AS provider
       CROSS JOIN LATERAL (
           SELECT count(*) AS jobs
             FROM execution_jobs
            WHERE provider = provider.name AND next_poll_at IS NOT NULL
              AND holds_slot) AS found
 WHERE provider.in_use <> found.jobs;

-- Of rows whose execution or job is gone.
CREATE VIEW orphan_violations AS
SELECT 'owned' AS invariant, job.execution_id, job.id AS job_id,
       'its execution is gone' AS detail
  FROM execution_jobs AS job
 WHERE (SELECT true FROM executions WHERE id = job.execution_id) IS NOT TRUE
UNION ALL
SELECT 'owned', NULL, job_id, what || ' of a job that is gone'
  FROM (SELECT job_id, 'a start' AS what FROM job_starts
        UNION ALL
        SELECT job_id, 'an event' FROM job_events
        UNION ALL
        SELECT job_id, 'a file' FROM media
        UNION ALL
        SELECT job_id, 'a webhook' FROM webhook_inbox
        UNION ALL
        SELECT child_id, 'an edge' FROM job_dependencies
        UNION ALL
        SELECT parent_id, 'an edge' FROM job_dependencies) AS row
 WHERE (SELECT true FROM execution_jobs WHERE id = row.job_id) IS NOT TRUE;

CREATE VIEW violations AS
SELECT invariant, execution_id, job_id, detail FROM job_violations
UNION ALL
SELECT invariant, execution_id, NULL, detail FROM execution_violations
UNION ALL
SELECT invariant, NULL, NULL, detail FROM provider_violations
UNION ALL
SELECT invariant, execution_id, job_id, detail FROM orphan_violations;

CREATE VIEW violations_live AS
SELECT found.invariant, found.execution_id, found.job_id, found.detail
  FROM (SELECT id FROM execution_jobs WHERE next_poll_at IS NOT NULL OFFSET 0) AS live
       CROSS JOIN LATERAL (SELECT * FROM job_violations WHERE job_id = live.id OFFSET 0) AS found
UNION ALL
SELECT found.invariant, found.execution_id, NULL, found.detail
  FROM (SELECT DISTINCT execution_id AS id FROM execution_jobs
         WHERE next_poll_at IS NOT NULL) AS live
       CROSS JOIN LATERAL (SELECT * FROM execution_violations
                            WHERE execution_id = live.id OFFSET 0) AS found
UNION ALL
SELECT invariant, NULL, NULL, detail FROM provider_violations;
