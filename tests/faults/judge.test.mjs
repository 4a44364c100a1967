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

/* A ledger with a start more than there was. */
function paidAgain(stack, job, attempt) {
	return {
		tell: () => {
			stack.starts = async (filter) => {
				const starts = await Stack.prototype.starts
					.call(stack, filter);
				const one = starts.find((s) => s.job === job);

				return [...starts, { ...one, attempt, id: "more" }];
			};
		},
		undo: () => delete stack.starts,
	};
}

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
		let forgotten;

		await lie(stack, {
			tell: () => fs.writeFileSync(place,
				Buffer.concat([bytes.subarray(1), Buffer.from("x")])),
			undo: () => fs.writeFileSync(place, bytes),
			message: new RegExp(media.key),
		});
		await lie(stack, {
			tell: () => stack.sql(`INSERT INTO job_events (job_id, attempt,
				event, from_status, to_status, why) VALUES ('${ids.a}',
				1, 'provider_failed', 'completed', 'completed', '')`),
			undo: () => stack.sql(`DELETE FROM job_events
				WHERE event = 'provider_failed'`),
			message: /the provider never said so/,
		});
		await lie(stack, {
			tell: () => stack.sql(`INSERT INTO webhook_inbox
				SELECT '${ids.a}', 'forged ' || n, 1, 'completed'
				  FROM generate_series(1, 9) AS n`),
			undo: () => stack.sql(`DELETE FROM webhook_inbox
				WHERE delivery_key LIKE 'forged %'`),
			message: /taken of/,
		});
		await lie(stack, {
			tell: () => stack.sql(`UPDATE execution_jobs SET completed_at =
				completed_at + interval '1 day' WHERE id = '${ids.a}'`),
			undo: () => stack.sql(`UPDATE execution_jobs SET completed_at =
				completed_at - interval '1 day' WHERE id = '${ids.a}'`),
			message: /"parent":/,
		});
		await lie(stack, {
			tell: () => {
				[forgotten] = stack.submitted.splice(0);
			},
			undo: () => stack.submitted.push(forgotten),
			message: /executions and submissions/,
		});
		await lie(stack, {
			...paidAgain(stack, ids.a, 1),
			message: /paid 2 times/,
		});
		await lie(stack, {
			...paidAgain(stack, ids.a, 2),
			message: /not in our books/,
		});
		await judge(stack, seen);
	}, 120);
});
