// SPDX-License-Identifier: MIT
// What the API answers comes whole, however long it is and whoever else asks.

import assert from "node:assert/strict";

import { clip } from "./jobs.mjs";
import { until } from "./stack.mjs";
import { suite } from "./suite.mjs";

/* Longer ones are not answered together with others: fcgi/committer.c. */
const together_bytes = 32 * 1024;

/* As the simulator writes them: docs/SIMULATOR.md. */
const notes = (count) => Array.from({ length: count }, (_, i) =>
	`note ${i}: "é" and \\, 🎬 and\ttabs, and so on ` +
	"until there are about a hundred of them in a row");

const get = (stack, id, headers) =>
	stack.api("GET", `/api/jobs/${id}`, undefined, headers);

/* An answer that is all there, with a result of so many notes. */
function checkAnswer(answer, id, count) {
	assert.equal(answer.status, 200, answer.text.slice(0, 1000));
	assert.equal(answer.json?.id, id);
	assert.equal(answer.json.output.media.length, 1);
	assert.deepEqual(answer.json.output.raw.notes, notes(count));
	assert.equal(answer.bytes.length > together_bytes, count > 300,
		`${answer.bytes.length} bytes of ${count} notes`);
	if (answer.headers["content-length"] !== undefined)
		assert.equal(Number(answer.headers["content-length"]),
			answer.bytes.length);
}

function checkUnchanged(answer, etag) {
	assert.equal(answer.status, 304);
	assert.equal(answer.bytes.length, 0);
	assert.equal(answer.headers.etag, etag);
}

suite("answers", {}, (test) => {
	for (const [what, count] of [
		["a little longer than most", 320],
		["of 100 KiB", 1000],
		["of nearly as much as is kept", 8000],
	]) {
		test(`an answer ${what} comes whole`, async (stack) => {
			const { id, ids } = await stack.submit([
				clip("a", { notes: count }),
			]);

			await stack.ended(ids.a, "completed");
			await stack.executionEnded(id, "completed");
			const first = await get(stack, ids.a);
			const again = await get(stack, ids.a);
			const { etag } = first.headers;

			checkAnswer(first, ids.a, count);
			assert.deepEqual(again.bytes, first.bytes);
			for (const known of [etag, `W/${etag}`, `"0", ${etag}`, "*"])
				checkUnchanged(await get(stack, ids.a,
					{ "if-none-match": known }), etag);
			// who knows another version is told all of it
			for (const known of ['"1"', `${etag.slice(0, -1)}0"`]) {
				const other = await get(stack, ids.a,
					{ "if-none-match": known });

				assert.deepEqual(other.bytes, first.bytes);
				assert.equal(other.headers.etag, etag);
			}
			await stack.check(id);
		});
	}

	// Where counts were read before the jobs, both were changed in between.
	test("an execution and its jobs are of one moment", async (stack) => {
		const { id, ids } = await stack.submit([clip("before")],
			{ name: "before" });

		await stack.ended(ids.before, "completed");
		// whoever asks for jobs waits, and goes on when both have changed
		const changed = stack.sql(`DO $$ BEGIN
			LOCK TABLE execution_jobs IN ACCESS EXCLUSIVE MODE;
			FOR i IN 1..600 LOOP
				EXIT WHEN EXISTS (SELECT FROM pg_stat_activity
					JOIN pg_locks USING (pid)
					WHERE NOT granted
					  AND application_name LIKE 'rushes-fcgi%');
				PERFORM pg_sleep(0.1), pg_stat_clear_snapshot();
			END LOOP;
			UPDATE executions SET name = 'after' WHERE id = '${id}';
			UPDATE execution_jobs SET name = 'after'
			 WHERE execution_id = '${id}';
		END $$`);

		await until(async () => (await stack.query(`SELECT FROM pg_locks
			WHERE relation = 'execution_jobs'::regclass AND granted
			  AND mode = 'AccessExclusiveLock'`)).length > 0,
		"the lock");
		const answer = await stack.execution(id);

		await changed;
		assert.equal(answer.name, answer.jobs[0].name);
		await stack.check(id);
	});

	test("long ones with many files are asked for at once", async (stack) => {
		const count = 8000, files = 16, clients = 12;
		const { id, jobs } = await stack.submit(Array.from({ length: 10 },
			(_, i) => clip(`j${i}`, { notes: count, media: { count: files } })));

		await stack.executionEnded(id, "completed", 60);
		const first = await get(stack, jobs[0].id);
		const asked = Array.from({ length: clients },
			(_, i) => jobs[i % jobs.length].id);
		const all = await Promise.all(asked.map((job) => get(stack, job)));

		for (const [i, answer] of all.entries()) {
			assert.equal(answer.status, 200, answer.text.slice(0, 1000));
			assert.equal(answer.json.id, asked[i]);
			assert.equal(answer.json.output.media.length, files);
			assert.deepEqual(answer.json.output.raw.notes, notes(count));
		}
		// who has it already is not read any of it
		const known = await Promise.all(Array.from({ length: clients },
			() => get(stack, jobs[0].id,
				{ "if-none-match": first.headers.etag })));

		for (const answer of known)
			checkUnchanged(answer, first.headers.etag);
		await stack.check(id);
	}, 120);

	test("long and short ones are asked for at once", async (stack) => {
		const counts = Array.from({ length: 40 },
			(_, i) => (i % 2 ? 2 + i : 1000 + i));
		const { id, jobs } = await stack.submit(counts.map(
			(count, i) => clip(`j${i}`, { notes: count })));

		await stack.executionEnded(id, "completed", 60);
		const alone = [];

		for (const [i, job] of jobs.entries()) {
			alone[i] = await get(stack, job.id);
			checkAnswer(alone[i], job.id, counts[i]);
		}
		for (let round = 0; round < 5; round++) {
			const all = await Promise.all(
				jobs.map((job) => get(stack, job.id)));
			const known = await Promise.all(
				jobs.map((job, i) => get(stack, job.id,
					{ "if-none-match": alone[i].headers.etag })));
			// every other one is news
			const some = await Promise.all(
				jobs.map((job, i) => get(stack, job.id,
					{ "if-none-match": i % 4 < 2 ? '"1"' :
						alone[i].headers.etag })));

			for (const [i, job] of jobs.entries()) {
				assert.deepEqual(all[i].bytes, alone[i].bytes,
					job.name);
				checkUnchanged(known[i], alone[i].headers.etag);
				if (i % 4 < 2)
					assert.deepEqual(some[i].bytes,
						alone[i].bytes, job.name);
				else
					checkUnchanged(some[i],
						alone[i].headers.etag);
			}
		}
		await stack.check(id);
	}, 120);
});
