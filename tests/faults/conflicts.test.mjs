// SPDX-License-Identifier: MIT
// Serialization failures and deadlocks, raised by the database itself on every
// table, before a statement writes and when it commits: what they undid is done
// again, and nothing is lost.

import assert from "node:assert/strict";

import { suite } from "../system/suite.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, Poller, mixture, quick, settings, submit }
	from "./load.mjs";

const JOBS = quick ? 100 : 300;

/*
 * Each trigger counts its calls with a sequence, which no failure undoes, and
 * raises an error on the n-th of every PERIOD. Periods are primes, so that
 * triggers of one statement meet in every combination. Deferred triggers
 * raise theirs when the transaction commits, and count transactions: they are
 * called for each row, and a large batch would never get through.
 */
const tables = {
	executions: ["INSERT", "UPDATE"],
	execution_jobs: ["INSERT", "UPDATE"],
	job_dependencies: ["INSERT", "UPDATE"],
	job_starts: ["INSERT", "UPDATE"],
	job_events: ["INSERT"],
	media: ["INSERT"],
	webhook_inbox: ["INSERT"],
	providers: ["UPDATE"],
};
const deferred = { job_events: ["INSERT"], execution_jobs: ["UPDATE"] };
const periods = [29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83];
const codes = { 40001: "serialization failure", "40P01": "deadlock" };

function* triggers() {
	let n = 0;

	for (const [when, list] of [["writing", tables],
		["committing", deferred]]) {
		for (const [table, events] of Object.entries(list)) {
			for (const event of events)
				yield { when, table, event, period: periods[n++] };
		}
	}
}

function makeTrigger({ when, table, event, period }) {
	const name = `${when}_${table}_${event}`.toLowerCase();
	const [kind, rows] = when === "writing"
		? [`TRIGGER ${name} BEFORE`, "STATEMENT"]
		: [`CONSTRAINT TRIGGER ${name} AFTER`,
			"ROW"];

	return `
		CREATE SEQUENCE faults.${name};
		${Object.keys(codes).map((code) =>
			`CREATE SEQUENCE faults."${name}_${code}";`).join("\n")}
		CREATE ${kind} ${event} ON ${table}
		${when === "writing" ? "" : "DEFERRABLE INITIALLY DEFERRED"}
		FOR EACH ${rows} EXECUTE FUNCTION faults.raise_some('${name}', ${period});`;
}

const setUp = `
	CREATE SCHEMA faults;
	CREATE FUNCTION faults.raise_some() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER AS $$
	DECLARE
		code text;
	BEGIN
		IF TG_LEVEL = 'ROW' THEN
			IF current_setting('faults.' || TG_ARGV[0], true)
					= txid_current()::text THEN
				RETURN NEW;
			END IF;
			PERFORM set_config('faults.' || TG_ARGV[0],
				txid_current()::text, true);
		END IF;
		code := CASE nextval('faults.' || TG_ARGV[0])
				% TG_ARGV[1]::integer
			WHEN 5 THEN '40001' WHEN 17 THEN '40P01' END;
		IF code IS NOT NULL THEN
			PERFORM nextval('faults."' || TG_ARGV[0] || '_' || code || '"');
			RAISE EXCEPTION 'made up' USING ERRCODE = code;
		END IF;
		RETURN CASE TG_LEVEL WHEN 'ROW' THEN NEW END;
	END $$;
	${[...triggers()].map(makeTrigger).join("\n")}`;

/* How often each error was raised where. */
async function raised(stack) {
	const rows = await stack.query(`
		SELECT sequencename AS name, coalesce(last_value, 0) AS times
		  FROM pg_sequences WHERE schemaname = 'faults'
		   AND sequencename ~ '_40(001|P01)$'`);

	return Object.fromEntries(rows.map(({ name, times }) => [name, times]));
}

suite("the database undoes statements", { settings }, (test) => {
	test(`${JOBS} jobs`, async (stack) => {
		const chance = new Chance("conflicts");
		const second = new Poller(stack, "poller-2");

		wholeLedger(stack);
		await stack.sql(setUp);
		for (let given = 0; given < JOBS; given += 5)
			await submit(stack, mixture(chance, 5,
				{ delay_ms: chance.below(500), steps: 3 }));
		await quiet(stack, 300);
		const fired = await raised(stack);

		await stack.sql("DROP SCHEMA faults CASCADE");
		await second.stop();
		assert.equal(Object.keys(fired).length,
			[...triggers()].length * Object.keys(codes).length);
		checkLives(stack);
		await judge(stack, fired);
	}, 700);
});
