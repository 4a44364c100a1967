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

-- What one column may hold is said by its type, and what a job's state must
-- have by a function. A constraint of the table is read from its text for each
-- statement that changes a row, whatever it changes: the longer the dearer. A
-- type's is kept ready, and asked only when the column is written; so is what
-- PL/pgSQL has made of a function.
CREATE DOMAIN tally AS integer CHECK (VALUE >= 0);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN json_object AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
CREATE DOMAIN json_array AS jsonb CHECK (jsonb_typeof(VALUE) = 'array');
CREATE DOMAIN file_size AS bigint CHECK (VALUE > 0);
-- A regular expression is slow to say what is 64 digits and nothing else.
CREATE DOMAIN sha256_hex AS text
    CHECK (length(VALUE) = 64 AND ltrim(VALUE, '0123456789abcdef') = '');
CREATE DOMAIN checksum AS bytea CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN caller_key AS text CHECK (length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN dependency_policy AS text CHECK (VALUE IN ('fail', 'skip', 'run'));
CREATE DOMAIN arrival AS text CHECK (VALUE IN ('webhook', 'polling'));
CREATE DOMAIN billing AS text CHECK (VALUE IN ('no', 'yes', 'unknown'));
CREATE DOMAIN start_outcome AS text CHECK (VALUE IN (
    'open', 'accepted', 'not_started', 'refused', 'unknown'));
CREATE DOMAIN part_done AS real CHECK (VALUE BETWEEN 0 AND 1);

-- The states there are, and what each of them must have.
CREATE FUNCTION job_is_sound(
    status text, needs_left tally, attempt tally, holds_slot boolean,
    next_poll_at timestamptz, lease_until timestamptz,
    unknown_since timestamptz, completed_at timestamptz,
    provider_job_id text, media_source json_array, error_code text,
    billed billing)
    RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN CASE status
        WHEN 'waiting' THEN needs_left > 0 AND lease_until IS NULL
                            AND next_poll_at IS NULL AND completed_at IS NULL
                            AND NOT holds_slot
        WHEN 'queued' THEN next_poll_at IS NOT NULL AND completed_at IS NULL
        WHEN 'starting' THEN next_poll_at IS NOT NULL AND completed_at IS NULL
                             AND attempt > 0
        WHEN 'start_unknown' THEN next_poll_at IS NOT NULL AND attempt > 0
                                  AND completed_at IS NULL
                                  AND unknown_since IS NOT NULL
        WHEN 'processing' THEN next_poll_at IS NOT NULL AND attempt > 0
                               AND completed_at IS NULL
                               AND provider_job_id IS NOT NULL
        WHEN 'storing' THEN next_poll_at IS NOT NULL AND completed_at IS NULL
                            AND media_source IS NOT NULL AND NOT holds_slot
        WHEN 'failed' THEN completed_at IS NOT NULL AND NOT holds_slot
                           AND error_code IS NOT NULL AND billed IS NOT NULL
        WHEN 'completed' THEN completed_at IS NOT NULL AND NOT holds_slot
        WHEN 'cancelled' THEN completed_at IS NOT NULL AND NOT holds_slot
        WHEN 'skipped' THEN completed_at IS NOT NULL AND NOT holds_slot
        ELSE false END;
END
$$;

CREATE TABLE api_keys (
    id          uuid PRIMARY KEY,
    owner       text NOT NULL CHECK (length(owner) BETWEEN 1 AND 128),
    key_sha256  checksum NOT NULL UNIQUE,
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
    metadata         json_object NOT NULL DEFAULT '{}',
    idempotency_key  caller_key,
    body_sha256      checksum NOT NULL,
    jobs_total       positive NOT NULL,
    jobs_completed   tally NOT NULL DEFAULT 0,
    jobs_failed      tally NOT NULL DEFAULT 0,
    jobs_cancelled   tally NOT NULL DEFAULT 0,
    jobs_skipped     tally NOT NULL DEFAULT 0,
    status           text NOT NULL GENERATED ALWAYS AS (
                         CASE WHEN completed_at IS NULL THEN 'running'
                              WHEN jobs_failed > 0 THEN 'failed'
                              WHEN jobs_cancelled > 0 THEN 'cancelled'
                              ELSE 'completed' END) STORED,
    created_at       timestamptz NOT NULL DEFAULT now(),
    completed_at     timestamptz,

    -- Ended, and so no longer running, is what has no job left to end.
    CHECK (least(1, jobs_total - jobs_completed - jobs_failed
                    - jobs_cancelled - jobs_skipped)
           = (completed_at IS NULL)::integer)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

CREATE UNIQUE INDEX executions_idempotency
    ON executions (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- No index knows what changes while jobs run, so that every update is HOT.
CREATE INDEX executions_owner ON executions (owner, id);

CREATE TABLE execution_jobs (
    id                     uuid PRIMARY KEY,
    execution_id           uuid NOT NULL,
    position               tally NOT NULL,
    name                   text NOT NULL,
    provider               text NOT NULL,
    model                  text NOT NULL,
    input                  json_object NOT NULL,
    on_dependency_failure  dependency_policy NOT NULL DEFAULT 'fail',
    dependency_defaults    json_object,
    has_references         boolean NOT NULL DEFAULT false,
    deadline_s             positive NOT NULL,
    max_attempts           positive NOT NULL,

    status                 text NOT NULL,
    version                bigint NOT NULL DEFAULT 1,
    claim                  bigint NOT NULL DEFAULT 0,
    lease_until            timestamptz,
    next_poll_at           timestamptz,
    deadline_at            timestamptz,
    attempt                tally NOT NULL DEFAULT 0,
    poll_attempts          tally NOT NULL DEFAULT 0,
    start_failures         tally NOT NULL DEFAULT 0,
    falters                tally NOT NULL DEFAULT 0,
    store_failures         tally NOT NULL DEFAULT 0,
    needs_left             tally NOT NULL DEFAULT 0,
    holds_slot             boolean NOT NULL DEFAULT false,
    cancel_requested_at    timestamptz,
    cancel_tried_at        timestamptz,
    unknown_since          timestamptz,
    restart_if_absent      boolean NOT NULL DEFAULT false,

    provider_job_id        text,
    provider_ref           jsonb,
    progress               part_done,
    output                 jsonb,
    media_source           json_array,
    completed_via          arrival,
    error_code             text,
    error_message          text,
    billed                 billing,
    created_at             timestamptz NOT NULL DEFAULT now(),
    started_at             timestamptz,
    completed_at           timestamptz,

    UNIQUE (execution_id, name),
    CHECK (job_is_sound(status, needs_left, attempt, holds_slot, next_poll_at,
                        lease_until, unknown_since, completed_at,
                        provider_job_id, media_source, error_code, billed))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);

-- The only index for due work. Each provider and state is a lane of its own,
-- so one that cannot move holds up no other; ended jobs are not in it.
CREATE INDEX execution_jobs_due
    ON execution_jobs (provider, status, next_poll_at)
    WHERE next_poll_at IS NOT NULL;

-- And the only one for what no lane finds among the queued, of which there may
-- be any number: those whose time is over, whose poller is gone with them in
-- its hands, who are to be cancelled.
CREATE FUNCTION job_stuck_at(deadline_at timestamptz, lease_until timestamptz,
                             cancel_requested_at timestamptz)
    RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN cancel_requested_at IS NOT NULL
                THEN least(lease_until, cancel_requested_at)
                ELSE least(deadline_at, lease_until) END;
CREATE INDEX execution_jobs_stuck
    ON execution_jobs (job_stuck_at(deadline_at, lease_until, cancel_requested_at))
    WHERE status = 'queued';

-- delivered: the child has counted this parent's end. needs_left of a job is
-- always the number of its edges that are not delivered.
CREATE TABLE job_dependencies (
    parent_id  uuid NOT NULL,
    child_id   uuid NOT NULL,
    delivered  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (parent_id, child_id),
    CHECK (parent_id <> child_id)
) WITH (fillfactor = 50); -- each changes once, at the end of its parent
CREATE INDEX job_dependencies_child ON job_dependencies (child_id);

-- One row a paid start. A provider's id is kept here even when the job has
-- moved on; it can belong to one start only. cancel_at: a start nobody waits
-- for any more is to be cancelled at its provider.
CREATE TABLE job_starts (
    job_id           uuid NOT NULL,
    attempt          positive NOT NULL,
    provider         text NOT NULL,
    provider_job_id  text,
    provider_ref     jsonb,
    outcome          start_outcome NOT NULL DEFAULT 'open',
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
    index         tally NOT NULL,
    key           text NOT NULL,
    url           text NOT NULL,
    content_type  text NOT NULL,
    bytes         file_size NOT NULL,
    sha256        sha256_hex NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, attempt, index)
);

-- Webhooks that were taken, so that a repeated delivery has no effect.
CREATE TABLE webhook_inbox (
    job_id        uuid NOT NULL,
    delivery_key  caller_key NOT NULL,
    attempt       integer NOT NULL,
    event         text NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, delivery_key)
);

-- What belongs to an execution goes with it. Foreign keys would do it as well,
-- and look each new row's parent up and lock it, which the one statement that
-- writes such rows has done already: rows of jobs are written by the holder of
-- the job's lock, jobs and edges together with their execution. The owner's
-- rights, because who removes executions may remove nothing else. So these two
-- look for tables among their callers' own (pg_temp) last, which is first where
-- nothing is said; and nobody may make them triggers of other tables.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);
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
REVOKE EXECUTE ON FUNCTION executions_removed(), jobs_removed() FROM PUBLIC;
