-- SPDX-License-Identifier: MIT
-- Transactions, for the few places where one statement cannot do it.

-- name: transaction_begin
BEGIN;

-- name: transaction_commit
COMMIT;

-- name: transaction_rollback
ROLLBACK;

-- name: session_begin
-- What a connection begins with: how our statements are planned, and which
-- schema there is. They are prepared and take arrays, whose length the planner
-- guesses: it takes a plan for one element to be so much cheaper that it would
-- plan anew each time, which costs more than the statement. None runs long
-- enough for machine code to pay.
-- A plan lasts as long as the connection, and was perhaps made while a table
-- was still empty: so big tables are always entered by an index, row by row,
-- whatever the planner believes of their size.
-- A program that is frozen in the middle of a transaction (a host that is
-- paused) loses it, and with it the locks that all others wait for.
SELECT set_config('idle_in_transaction_session_timeout', '10s', false),
       set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('jit', 'off', false),
       set_config('enable_seqscan', 'off', false),
       set_config('random_page_cost', '0.01', false),
       set_config('cpu_operator_cost', '0.0001', false),
       (SELECT coalesce(max(version), 0) FROM schema_migrations) AS version;
