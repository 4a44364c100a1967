// SPDX-License-Identifier: MIT
// The judge is not blind: each kind of lie is told once, and is seen.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

import { clip, still, veo } from "../system/jobs.mjs";
import { Stack } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { judge, quiet } from "./judge.mjs";
import { settings, submit } from "./load.mjs";

const seen = { "a fault": 1 };

/* Tell it, have it judged, take it back. */
async function lie(stack, { tell, undo, message }) {
	await tell();
	try {
		await assert.rejects(() => judge(stack, seen), {
			name: "AssertionError",
			message,
		});
	} finally {
		await undo();
	}
}

/* A ledger that says something else. */
const ledger = (stack, change) => ({
	tell: () => {
		stack.starts = async (filter) => change(
			await Stack.prototype.starts.call(stack, filter));
	},
	undo: () => delete stack.starts,
});

/* The entry of one job is another. */
const entry = (stack, job, members) => ledger(stack, (starts) =>
	starts.map((one) => one.job === job ? { ...one, ...members } : one));

/* A database that says something else; "undo" is the truth. */
const database = (stack, tell, undo) => ({
	tell: () => stack.sql(tell),
	undo: () => stack.sql(undo),
});

/* Columns of a job, and what they were. */
async function columns(stack, job, members) {
	const names = Object.keys(members);
	const was = await stack.row(job);
	const literal = (value) => value === null || value === undefined ?
		"NULL" : `'${value}'`;
	const set = (values) => `UPDATE execution_jobs SET ${names.map((name) =>
		`${name} = ${literal(values[name])}`)} WHERE id = '${job}'`;

	return database(stack, set(members), set(was));
}

/* Words nobody says in a row, and their removal. */
const event = (stack, job, kind) => database(stack,
	`INSERT INTO job_events (job_id, attempt, event, from_status, to_status,
		why) VALUES ('${job}', 1, '${kind}', 'completed', 'completed', 'a lie')`,
	"DELETE FROM job_events WHERE why = 'a lie'");

const unheard = { answered: false, polls: 0, results: 0, listed: 0,
	deliveries: [] };

suite("the judge", { settings }, (test) => {
	test("sees what is wrong, and nothing else", async (stack) => {
		const ids = await submit(stack, [
			still("a"), clip("b", null, { depends_on: ["a"] }), veo("c"),
		]);

		await quiet(stack, 60);
		await judge(stack, seen);
		await assert.rejects(() => judge(stack, { "a fault": 0 }),
			/never happened: a fault/);

		const [media] = await stack.query(`
			SELECT key, sha256 FROM media WHERE job_id = '${ids.a}'`);
		const place = path.join(stack.store, media.key);
		const bytes = fs.readFileSync(place);
		const running = { status: "processing", completed_at: null,
			next_poll_at: "2100-01-01" };
		const lost = { status: "failed", billed: "unknown",
			error_code: "may_have_been_billed" };
		const cancelled = await columns(stack, ids.c,
			{ status: "cancelled" });
		let forgotten;

		const lies = {
			// of jobs that did not end
			"one runs": { ...await columns(stack, ids.a, running),
				message: /jobs are left/ },
			"one is in starting": { ...await columns(stack, ids.a,
				{ ...running, status: "starting" }),
			message: /jobs are left/ },
			"a lease": { ...await columns(stack, ids.a,
				{ lease_until: "2100-01-01" }),
			message: /jobs are left/ },
			"a slot that a job holds": { ...await columns(stack, ids.a,
				{ ...running, holds_slot: true }),
			message: /jobs are left/ },
			"a slot that nobody holds": { ...database(stack,
				"UPDATE providers SET in_use = 1 WHERE name = 'fal'",
				"UPDATE providers SET in_use = 0 WHERE name = 'fal'"),
			message: /slots are left/ },
			"a start in the air": { ...database(stack,
				`UPDATE job_starts SET outcome = 'open'
				  WHERE job_id = '${ids.a}'`,
				`UPDATE job_starts SET outcome = 'accepted'
				  WHERE job_id = '${ids.a}'`),
			message: /starts are left/ },
			"a start to be cancelled": { ...database(stack,
				`UPDATE job_starts SET cancel_at = now() + interval
				  '1 day' WHERE job_id = '${ids.a}'`,
				"UPDATE job_starts SET cancel_at = NULL"),
			message: /starts are left/ },

			// of how they ended
			"given up although it was told": {
				...await columns(stack, ids.c, lost),
				message: /it was told/ },
			"failed for no reason": { ...await columns(stack, ids.c,
				{ ...lost, error_code: "provider_failed" }),
			message: /'provider_failed'/ },
			"cancelled for no reason": { ...cancelled,
				message: /nobody asked/ },
			"cancelled, and it goes on": {
				tell: async () => {
					stack.cancelled = new Set([ids.c]);
					await cancelled.tell();
				},
				undo: async () => {
					delete stack.cancelled;
					await cancelled.undo();
				},
				message: /it goes on/ },
			"completed although the provider failed it": {
				...entry(stack, ids.c, { status: "failed" }),
				message: /'failed'/ },
			"completed and never started": { ...ledger(stack, (starts) =>
				starts.filter((one) => one.job !== ids.c)),
			message: /undefined/ },
			"one start more that nobody can know of": {
				...entry(stack, ids.c, unheard),
				message: /starts that nobody can know of/ },
			"a submission that is lost": {
				tell: () => {
					[forgotten] = stack.submitted.splice(0);
				},
				undo: () => stack.submitted.push(forgotten),
				message: /executions and submissions/ },

			// of money
			"paid for nobody": { ...ledger(stack, (starts) => [...starts,
				{ ...starts[0], job: "nobody" }]),
			message: /paid for nobody/ },
			"an attempt paid twice": { ...ledger(stack, (starts) =>
				starts.flatMap((one) => one.job === ids.a ?
					[{ ...one, id: "more", status: "failed" }, one] :
					[one])),
			message: /an attempt paid twice/ },
			"a job paid twice": { ...ledger(stack, (starts) =>
				starts.flatMap((one) => one.job === ids.a ?
					[one, { ...one, id: "more", attempt: 2 }] :
					[one])),
			message: /^paid twice/ },
			"a start that is not in our books": { ...ledger(stack,
				(starts) => starts.flatMap((one) =>
					one.job !== ids.a ? [one] : [{ ...one, id: "more",
						attempt: 2, status: "failed" }, one])),
			message: /not in our books/ },
			"a start that was never paid": { ...entry(stack, ids.a,
				{ id: "another" }),
			message: /never paid/ },

			// of order and of what was told
			"a dependent before its parent": { ...entry(stack, ids.b,
				{ time: "2000-01-01T00:00:00.000Z" }),
			message: /"parent":/ },
			"completed twice": { ...event(stack, ids.a, "stored"),
				message: /completed_once/ },
			"released twice": { ...event(stack, ids.b, "released"),
				message: /released_once/ },
			"a failure the provider never told": {
				...event(stack, ids.a, "provider_failed"),
				message: /the provider never said so/ },
			"deliveries that were never made": { ...database(stack,
				`INSERT INTO webhook_inbox SELECT '${ids.a}',
					'forged ' || n, 1, 'completed'
				   FROM generate_series(1, 9) AS n`,
				`DELETE FROM webhook_inbox
				  WHERE delivery_key LIKE 'forged %'`),
			message: /taken of/ },
			"completed by a webhook that nobody sent": {
				...await columns(stack, ids.c,
					{ completed_via: "webhook" }),
				message: /no webhook was sent/ },

			// of files
			"a file that was changed": {
				tell: () => fs.writeFileSync(place, Buffer.concat(
					[bytes.subarray(1), Buffer.from("x")])),
				undo: () => fs.writeFileSync(place, bytes),
				message: new RegExp(media.key) },
			"another file than the provider's": { ...ledger(stack,
				(starts) => starts.map((one) => ({ ...one,
					media: one.media.map((file) => ({ ...file,
						sha256: "0".repeat(64) })) }))),
			message: /\.(png|mp4)/ },
			"completed without a file": { ...database(stack,
				`UPDATE media SET attempt = 9 WHERE job_id = '${ids.a}'`,
				`UPDATE media SET attempt = 1 WHERE job_id = '${ids.a}'`),
			message: /completed without a file/ },

			// of the books as such: tests/db/violations_test.c has the others
			"a counter that is wrong": { ...database(stack,
				`UPDATE executions SET jobs_completed = 2,
					jobs_failed = 1`,
				`UPDATE executions SET jobs_completed = 3,
					jobs_failed = 0`),
			message: /counters/ },
		};

		for (const [what, one] of Object.entries(lies)) {
			console.log(`a lie: ${what}`);
			await lie(stack, one);
		}
		await judge(stack, seen);
	}, 180);
});
