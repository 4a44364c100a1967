-- SPDX-License-Identifier: MIT
-- Used by db_migrate() alone, which runs them by their text: on an empty
-- database nothing can be prepared yet.

-- name: migration_lock
-- A second host that migrates at the same time waits here.
SELECT pg_advisory_lock(hashtext('rushes migrations'));

-- name: migration_table
CREATE TABLE IF NOT EXISTS schema_migrations (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);

-- name: migration_find
-- params: version integer
SELECT version FROM schema_migrations WHERE version = $1::integer;

-- name: migration_note
-- params: version integer, name text
INSERT INTO schema_migrations (version, name) VALUES ($1::integer, $2::text);
