-- SPDX-License-Identifier: MIT
-- Roles with least rights for the two programs and for operators. Run it as the owner of the
-- database after rushes-poller --migrate, and again after each upgrade:
--	psql -d rushes -f roles.sql
-- It may be run at any time; it changes nothing that is right already. The
-- names are those of the system users, so that peer authentication needs no
-- map. Migrations and API keys stay with the owner.

-- All at once, for the programs may be at work; and one host after the other.
BEGIN;

DO $$
DECLARE
    role_name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('rushes roles'));
    FOREACH role_name IN ARRAY ARRAY['rushes_fcgi', 'rushes_poller'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I',
                       current_database(), role_name);
    END LOOP;
    -- No statement of ours needs a temporary table, and whoever may make one
    -- can give it the name of any of our tables.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, rushes_fcgi, '
                   'rushes_poller', current_database());
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rushes_operator') THEN
        CREATE ROLE rushes_operator NOLOGIN;
    END IF;
END
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM rushes_fcgi, rushes_poller;
GRANT USAGE ON SCHEMA public TO rushes_fcgi, rushes_poller;

-- Both: the life of jobs. What was paid, what happened and what was stored is
-- never taken back by either.
GRANT SELECT, UPDATE ON executions, execution_jobs, job_dependencies,
    providers TO rushes_fcgi, rushes_poller;
GRANT SELECT, INSERT, UPDATE ON job_starts, media TO rushes_fcgi, rushes_poller;
GRANT SELECT, INSERT ON job_events, webhook_inbox TO rushes_fcgi, rushes_poller;
GRANT SELECT ON provider_gates, provider_keys, schema_migrations
    TO rushes_fcgi, rushes_poller;

-- The API: takes submissions and knows whom to let in.
GRANT INSERT ON executions, execution_jobs, job_dependencies TO rushes_fcgi;
GRANT SELECT ON api_keys TO rushes_fcgi;

-- The poller: keeps limits, breakers and verification keys, and (as the
-- cleanup) removes executions past their retention with all that hangs on
-- them. It cannot read API keys.
GRANT INSERT, UPDATE ON providers, provider_gates TO rushes_poller;
GRANT INSERT, UPDATE, DELETE ON provider_keys TO rushes_poller;
GRANT DELETE ON executions, webhook_inbox TO rushes_poller;

-- Operators and monitoring: may see which invariant does not hold of which
-- job, and nothing else. GRANT rushes_operator TO whoever shall look.
GRANT USAGE ON SCHEMA public TO rushes_operator;
GRANT SELECT ON violations, violations_live TO rushes_operator;

COMMIT;
