-- SPDX-License-Identifier: MIT
-- API keys, readiness, and the removal of what is too old.

-- name: api_key_add
-- params: id uuid, owner text, key_sha256 text
INSERT INTO api_keys (id, owner, key_sha256)
VALUES ($1::uuid, $2::text, decode($3::text, 'hex'));

-- name: api_key_list
SELECT id, owner, encode(key_sha256, 'hex') AS key_sha256,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
       to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS revoked_at
  FROM api_keys
 ORDER BY created_at, id;

-- name: api_key_revoke
-- params: id uuid
UPDATE api_keys
   SET revoked_at = coalesce(revoked_at, now())
 WHERE id = $1::uuid
RETURNING id;

-- name: api_key_active
-- All keys that open the API; the program keeps them for a few seconds.
SELECT owner, encode(key_sha256, 'hex') AS key_sha256
  FROM api_keys
 WHERE revoked_at IS NULL;

-- name: database_ready
-- The newest migration that was applied.
SELECT max(version) AS version FROM schema_migrations;

-- name: cleanup_executions
-- params: completed_days integer, other_days integer, most integer
-- Ended executions older than their retention go, with all that hangs on
-- them, some at a time so that no statement runs long. Ids begin with the
-- milliseconds in which they were made (UUID version 7): what was made within
-- the shorter retention has not ended before it.
WITH old AS (
    SELECT id
      FROM executions
     WHERE id < rpad(lpad(to_hex((date_part('epoch', now()
                     - least($1::integer, $2::integer) * interval '1 day')
                     * 1000)::bigint), 12, '0'), 32, '0')::uuid
       AND completed_at < now() - CASE status WHEN 'completed' THEN $1::integer
                                              ELSE $2::integer END * interval '1 day'
     ORDER BY id
     LIMIT $3::integer
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM executions USING old WHERE executions.id = old.id RETURNING executions.id
)
SELECT count(*) AS executions FROM gone;

-- name: cleanup_inbox
-- params: days integer, most integer
-- Some at a time, too, by their jobs: no webhook is older than its job.
WITH old AS MATERIALIZED (
    SELECT job_id, delivery_key
      FROM webhook_inbox
     WHERE job_id < uuid_at(now() - $1::integer * interval '1 day')
       AND received_at < now() - $1::integer * interval '1 day'
     ORDER BY job_id, delivery_key
     LIMIT $2::integer
), gone AS (
    DELETE FROM webhook_inbox AS inbox USING old
     WHERE inbox.job_id = ANY (ARRAY[old.job_id])
       AND inbox.delivery_key = ANY (ARRAY[old.delivery_key])
    RETURNING inbox.job_id
)
SELECT count(*) AS webhooks FROM gone;

-- name: cleanup_idempotency
-- params: hours integer, most integer, owner text, key text
-- So many keys are looked at, beginning after this one; comes back the last of
-- them, or nothing at the end. They are freed in the order in which whoever
-- ends jobs locks executions.
WITH seen AS MATERIALIZED (
    SELECT id, owner, idempotency_key, created_at
      FROM executions
     WHERE idempotency_key IS NOT NULL
       AND (owner, idempotency_key) > ($3::text, $4::text)
     ORDER BY owner, idempotency_key
     LIMIT $2::integer
), old AS MATERIALIZED (
    SELECT execution.id
      FROM (SELECT id
              FROM seen
             WHERE created_at < now() - $1::integer * interval '1 hour'
             ORDER BY id) AS wanted
           CROSS JOIN LATERAL (
               SELECT id FROM executions
                WHERE id = wanted.id
                  FOR NO KEY UPDATE
           ) AS execution
), freed AS (
    UPDATE executions SET idempotency_key = NULL
      FROM old
     WHERE executions.id = ANY (ARRAY[old.id])
    RETURNING executions.id
)
SELECT owner, idempotency_key AS key, (SELECT count(*) FROM freed) AS keys
  FROM seen
 ORDER BY owner DESC, idempotency_key DESC
 LIMIT 1;
