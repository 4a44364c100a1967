-- SPDX-License-Identifier: MIT
-- 0001: executions, their jobs, what waits for what, and what was paid.
-- Times are the database's own; every schedule and lease uses its clock.

CREATE FUNCTION job_is_terminal(status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN status IN ('completed', 'failed', 'cancelled', 'skipped');

-- May the job be rendering at its provider (and hold a slot there)?
CREATE FUNCTION job_may_render(status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN status IN ('starting', 'start_unknown', 'processing');

CREATE TABLE api_keys (
    id          uuid PRIMARY KEY,
    owner       text NOT NULL CHECK (length(owner) BETWEEN 1 AND 128),
    key_sha256  bytea NOT NULL UNIQUE CHECK (octet_length(key_sha256) = 32),
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);

-- max_concurrent NULL: no limit, and nothing is counted. in_use is the
-- number of jobs with holds_slot; the row holds nothing else.
CREATE TABLE providers (
    name            text PRIMARY KEY,
    max_concurrent  integer CHECK (max_concurrent > 0),
    in_use          integer NOT NULL DEFAULT 0 CHECK (in_use >= 0)
);

-- Rate and breaker, apart from the slots because they change more often.
CREATE TABLE provider_gates (
    name           text PRIMARY KEY REFERENCES providers ON DELETE CASCADE,
    rate_starts    integer CHECK (rate_starts > 0),
    rate_period_s  integer CHECK (rate_period_s > 0),
    tokens         double precision NOT NULL DEFAULT 0,
    tokens_at      timestamptz NOT NULL DEFAULT now(),
    failures       integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failing_since  timestamptz,
    open_until     timestamptz,
    probing_until  timestamptz,
    CHECK ((rate_starts IS NULL) = (rate_period_s IS NULL))
);

CREATE TABLE provider_keys (
    provider    text NOT NULL,
    key_id      text NOT NULL,
    key         text NOT NULL,
    fetched_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, key_id)
);

-- The status is computed from the counters, so the two cannot disagree.
CREATE TABLE executions (
    id               uuid PRIMARY KEY,
    owner            text NOT NULL,
    name             text,
    metadata         jsonb NOT NULL DEFAULT '{}'
                     CHECK (jsonb_typeof(metadata) = 'object'),
    idempotency_key  text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    body_sha256      bytea NOT NULL CHECK (octet_length(body_sha256) = 32),
    jobs_total       integer NOT NULL CHECK (jobs_total > 0),
    jobs_completed   integer NOT NULL DEFAULT 0,
    jobs_failed      integer NOT NULL DEFAULT 0,
    jobs_cancelled   integer NOT NULL DEFAULT 0,
    jobs_skipped     integer NOT NULL DEFAULT 0,
    status           text NOT NULL GENERATED ALWAYS AS (
                         CASE WHEN jobs_completed + jobs_failed
                                   + jobs_cancelled + jobs_skipped < jobs_total
                              THEN 'running'
                              WHEN jobs_failed > 0 THEN 'failed'
                              WHEN jobs_cancelled > 0 THEN 'cancelled'
                              ELSE 'completed' END) STORED,
    created_at       timestamptz NOT NULL DEFAULT now(),
    completed_at     timestamptz,

    CHECK (least(jobs_completed, jobs_failed, jobs_cancelled, jobs_skipped) >= 0),
    CHECK (CASE WHEN completed_at IS NULL
                THEN jobs_completed + jobs_failed + jobs_cancelled + jobs_skipped
                     < jobs_total
                ELSE jobs_completed + jobs_failed + jobs_cancelled + jobs_skipped
                     = jobs_total END)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

CREATE UNIQUE INDEX executions_idempotency
    ON executions (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX executions_owner ON executions (owner, id);
CREATE INDEX executions_ended ON executions (completed_at)
    WHERE completed_at IS NOT NULL;

CREATE TABLE execution_jobs (
    id                     uuid PRIMARY KEY,
    execution_id           uuid NOT NULL,
    position               integer NOT NULL,
    name                   text NOT NULL,
    provider               text NOT NULL,
    model                  text NOT NULL,
    input                  jsonb NOT NULL CHECK (jsonb_typeof(input) = 'object'),
    on_dependency_failure  text NOT NULL DEFAULT 'fail'
                           CHECK (on_dependency_failure IN ('fail', 'skip', 'run')),
    dependency_defaults    jsonb CHECK (jsonb_typeof(dependency_defaults) = 'object'),
    has_references         boolean NOT NULL DEFAULT false,
    deadline_s             integer NOT NULL,
    max_attempts           integer NOT NULL,

    status                 text NOT NULL,
    version                bigint NOT NULL DEFAULT 1,
    claim                  bigint NOT NULL DEFAULT 0,
    lease_until            timestamptz,
    next_poll_at           timestamptz,
    deadline_at            timestamptz,
    attempt                integer NOT NULL DEFAULT 0,
    poll_attempts          integer NOT NULL DEFAULT 0,
    start_failures         integer NOT NULL DEFAULT 0,
    falters                integer NOT NULL DEFAULT 0,
    store_failures         integer NOT NULL DEFAULT 0,
    needs_left             integer NOT NULL DEFAULT 0,
    holds_slot             boolean NOT NULL DEFAULT false,
    cancel_requested_at    timestamptz,
    cancel_tried_at        timestamptz,
    unknown_since          timestamptz,
    restart_if_absent      boolean NOT NULL DEFAULT false,

    provider_job_id        text,
    provider_ref           jsonb,
    progress               real CHECK (progress BETWEEN 0 AND 1),
    output                 jsonb,
    media_source           jsonb CHECK (jsonb_typeof(media_source) = 'array'),
    completed_via          text CHECK (completed_via IN ('webhook', 'polling')),
    error_code             text,
    error_message          text,
    billed                 text CHECK (billed IN ('no', 'yes', 'unknown')),
    created_at             timestamptz NOT NULL DEFAULT now(),
    started_at             timestamptz,
    completed_at           timestamptz,

    UNIQUE (execution_id, name),
    -- The states there are, and what each of them must have.
    CHECK (CASE status
               WHEN 'waiting' THEN needs_left > 0 AND next_poll_at IS NULL
                                   AND lease_until IS NULL
               WHEN 'queued' THEN next_poll_at IS NOT NULL
               WHEN 'starting' THEN next_poll_at IS NOT NULL AND attempt > 0
               WHEN 'start_unknown' THEN next_poll_at IS NOT NULL AND attempt > 0
                                         AND unknown_since IS NOT NULL
               WHEN 'processing' THEN next_poll_at IS NOT NULL AND attempt > 0
                                      AND provider_job_id IS NOT NULL
               WHEN 'storing' THEN next_poll_at IS NOT NULL
                                   AND media_source IS NOT NULL
               WHEN 'failed' THEN completed_at IS NOT NULL
                                  AND error_code IS NOT NULL AND billed IS NOT NULL
               WHEN 'completed' THEN completed_at IS NOT NULL
               WHEN 'cancelled' THEN completed_at IS NOT NULL
               WHEN 'skipped' THEN completed_at IS NOT NULL
               ELSE false END),
    CHECK (completed_at IS NULL
           OR status IN ('completed', 'failed', 'cancelled', 'skipped')),
    CHECK (NOT holds_slot
           OR status IN ('queued', 'starting', 'start_unknown', 'processing')),
    CHECK (least(position, attempt, poll_attempts, start_failures, falters,
                 store_failures, needs_left, deadline_s - 1, max_attempts - 1) >= 0)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- The only index for due work. Each provider and state is a lane of its own,
-- so one that cannot move holds up no other; ended jobs are not in it.
CREATE INDEX execution_jobs_due
    ON execution_jobs (provider, status, next_poll_at)
    WHERE next_poll_at IS NOT NULL;

-- delivered: the child has counted this parent's end. needs_left of a job is
-- always the number of its edges that are not delivered.
CREATE TABLE job_dependencies (
    parent_id  uuid NOT NULL,
    child_id   uuid NOT NULL,
    delivered  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (parent_id, child_id),
    CHECK (parent_id <> child_id)
);
CREATE INDEX job_dependencies_child ON job_dependencies (child_id);

-- One row a paid start. A provider's id is kept here even when the job has
-- moved on; it can belong to one start only. cancel_at: a start nobody waits
-- for any more is to be cancelled at its provider.
CREATE TABLE job_starts (
    job_id           uuid NOT NULL,
    attempt          integer NOT NULL CHECK (attempt > 0),
    provider         text NOT NULL,
    provider_job_id  text,
    provider_ref     jsonb,
    outcome          text NOT NULL DEFAULT 'open' CHECK (outcome IN (
                         'open', 'accepted', 'not_started', 'refused', 'unknown')),
    started_at       timestamptz NOT NULL DEFAULT now(),
    answered_at      timestamptz,
    cancel_at        timestamptz,
    cancel_tries     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, attempt),
    CHECK (cancel_at IS NULL OR provider_job_id IS NOT NULL)
);
CREATE UNIQUE INDEX job_starts_provider_job
    ON job_starts (provider, provider_job_id) WHERE provider_job_id IS NOT NULL;
CREATE INDEX job_starts_cancel ON job_starts (cancel_at)
    WHERE cancel_at IS NOT NULL;

CREATE TABLE job_events (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    job_id       uuid NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    attempt      integer NOT NULL,
    event        text NOT NULL,
    from_status  text,
    to_status    text NOT NULL,
    why          text NOT NULL,
    detail       text,
    PRIMARY KEY (job_id, id)
);

CREATE TABLE media (
    job_id        uuid NOT NULL,
    attempt       integer NOT NULL,
    index         integer NOT NULL CHECK (index >= 0),
    key           text NOT NULL,
    url           text NOT NULL,
    content_type  text NOT NULL,
    bytes         bigint NOT NULL CHECK (bytes > 0),
    sha256        text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, attempt, index)
);

-- Webhooks that were taken, so that a repeated delivery has no effect.
CREATE TABLE webhook_inbox (
    job_id        uuid NOT NULL,
    delivery_key  text NOT NULL CHECK (length(delivery_key) BETWEEN 1 AND 255),
    attempt       integer NOT NULL,
    event         text NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, delivery_key)
);
CREATE INDEX webhook_inbox_received ON webhook_inbox USING brin (received_at);

-- What belongs to an execution goes with it. Foreign keys would do it as well,
-- and look each new row's parent up and lock it, which the one statement that
-- writes such rows has done already: rows of jobs are written by the holder of
-- the job's lock, jobs and edges together with their execution. The owner's
-- rights, because who removes executions may remove nothing else.
CREATE FUNCTION executions_removed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM execution_jobs USING gone
     WHERE execution_jobs.execution_id = gone.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER executions_removed AFTER DELETE ON executions
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION executions_removed();

CREATE FUNCTION jobs_removed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM job_dependencies USING gone WHERE parent_id = gone.id;
    DELETE FROM job_dependencies USING gone WHERE child_id = gone.id;
    DELETE FROM job_starts USING gone WHERE job_id = gone.id;
    DELETE FROM job_events USING gone WHERE job_id = gone.id;
    DELETE FROM media USING gone WHERE job_id = gone.id;
    DELETE FROM webhook_inbox USING gone WHERE job_id = gone.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_removed AFTER DELETE ON execution_jobs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION jobs_removed();
