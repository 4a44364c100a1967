-- SPDX-License-Identifier: MIT
-- Transactions, for the few places where one statement cannot do it.

-- name: transaction_begin
BEGIN;

-- name: transaction_commit
COMMIT;

-- name: transaction_rollback
ROLLBACK;
