-- Transactions, for the few places where one statement cannot do it.

-- name: transaction_begin
-- params: none
BEGIN;

-- name: transaction_commit
-- params: none
COMMIT;

-- name: transaction_rollback
-- params: none
ROLLBACK;
