// SPDX-License-Identifier: MIT
// What must be true whatever happened on the way: nothing paid twice, nothing
// leaked, nothing lost, and three places that agree on every byte.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { request } from "./http.mjs";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const list = (ids) => ids.map((id) => `'${id}'`).join(",");

/** What a sanitizer or an assertion says; libfcgi's own answer to a want of
 * memory is not ours. */
export const sanitizer = new RegExp("AddressSanitizer|LeakSanitizer|" +
	"ThreadSanitizer|runtime error:|" +
	"(?<!fcgiapp\\.c:\\d+: Malloc: )Assertion .* failed");

/* Downloads of more than this in all would only make the tests slow. */
const MEDIA_MOST = 200;

/** Executions that have ended. */
export async function checkExecutions(stack, executions) {
	if (executions.length === 0)
		return;
	await checkEnded(stack, executions);
	await checkViolations(stack,
		`WHERE execution_id IN (${list(executions)})`);
	await checkStarts(stack, executions);
	await checkMedia(stack, executions);
}

/* Nothing is left to be done for them, nobody has hold of one. */
async function checkEnded(stack, executions) {
	const ended = await stack.query(`SELECT id FROM executions
		WHERE completed_at IS NOT NULL AND id IN (${list(executions)})`);
	const left = await stack.query(`
		SELECT id, name, status, lease_until, next_poll_at, holds_slot
		  FROM execution_jobs
		 WHERE execution_id IN (${list(executions)})
		   AND (NOT job_is_terminal(status) OR lease_until IS NOT NULL
		        OR next_poll_at IS NOT NULL OR holds_slot)
		 LIMIT 10`);

	assert.equal(ended.length, executions.length, "executions still run");
	assert.deepEqual(left, [], "jobs still run");
}

/** What an operator's view says: sql/schema/0002_violations.sql. */
export async function checkViolations(stack, where = "") {
	assert.deepEqual(await stack.query(
		`SELECT * FROM violations ${where} LIMIT 10`), [], "violations");
}

/* The ledger's entry for a start of ours. The last part of an operation's
 * name is what the simulator calls it; one that was found by what it left in
 * Cloud Storage has no name that we know. */
function paidFor(start, paid) {
	const id = start.provider_job_id?.split("/").at(-1);

	return paid.find((entry) => entry.provider === start.provider &&
		(id ? entry.id === id : entry.job === start.job_id &&
			entry.attempt === start.attempt));
}

/* Every paid start is in our books and every start in our books was paid at
 * most once. */
async function checkStarts(stack, executions) {
	const booked = await stack.query(`
		SELECT s.job_id, s.attempt, s.provider, s.provider_job_id, s.outcome,
		       j.attempt AS attempts, j.status
		  FROM job_starts AS s JOIN execution_jobs AS j ON j.id = s.job_id
		 WHERE j.execution_id IN (${list(executions)})`);
	const paid = await stack.starts();
	const ofAttempt = new Map();

	for (const start of paid) {
		const key = `${start.job} ${start.attempt}`;

		ofAttempt.set(key, (ofAttempt.get(key) ?? 0) + 1);
	}
	for (const start of booked) {
		const what = JSON.stringify(start);

		assert.ok(start.attempt <= start.attempts, what);
		assert.notEqual(start.outcome, "open", what);
		if (start.outcome === "accepted")
			assert.ok(paidFor(start, paid), `never paid: ${what}`);
		// Veo without a folder of its own says nothing of our job
		if (start.provider === "vertex" && stack.settings
			.VERTEX_STORAGE_URI === "")
			continue;
		const count = ofAttempt.get(`${start.job_id} ${start.attempt}`) ?? 0;

		if (start.outcome === "accepted")
			assert.equal(count, 1, `paid ${count} times: ${what}`);
		else if (start.outcome === "unknown")
			assert.ok(count <= 1, `paid ${count} times: ${what}`);
		else
			assert.equal(count, 0, `paid all the same: ${what}`);
	}

	const jobs = await stack.query(`
		SELECT id FROM execution_jobs
		 WHERE execution_id IN (${list(executions)})`);
	const books = new Set(booked.map((s) => `${s.job_id} ${s.attempt}`));

	for (const { id } of jobs) {
		for (const start of paid.filter((s) => s.job === id))
			assert.ok(books.has(`${id} ${start.attempt}`),
				`not in our books: ${JSON.stringify(start)}`);
	}
}

/* API, what nginx serves, and what the provider says it served. */
async function checkMedia(stack, executions) {
	const jobs = await stack.query(`
		SELECT j.id AS job_id, s.attempt, s.provider, s.provider_job_id
		  FROM execution_jobs AS j LEFT JOIN job_starts AS s
		    ON s.job_id = j.id AND s.attempt = j.attempt
		 WHERE j.status = 'completed'
		   AND j.execution_id IN (${list(executions)})
		 LIMIT ${MEDIA_MOST}`);
	const paid = await stack.starts();

	for (const booked of jobs) {
		const job = await stack.job(booked.job_id);
		const start = paidFor(booked, paid);

		assert.equal(job.status, "completed");
		assert.ok(job.output.media.length > 0, JSON.stringify(job));
		assert.equal(job.output.url, job.output.media[0].url);
		assert.deepEqual(job.output.urls,
			job.output.media.map((file) => file.url));
		assert.ok(start, `no start for ${JSON.stringify(booked)}`);
		for (const [i, file] of job.output.media.entries()) {
			const got = await request(file.url);
			const served = start.media[i];

			assert.equal(got.status, 200, file.url);
			assert.equal(got.bytes.length, file.bytes, file.url);
			assert.equal(sha256(got.bytes), file.sha256, file.url);
			assert.equal(file.sha256, served.sha256, file.url);
			assert.equal(got.headers["content-type"],
				file.content_type, file.url);
			assert.equal(got.headers["x-content-type-options"],
				"nosniff");
		}
	}
}

/** The stack as a whole, once all that was submitted has ended. */
export async function checkStack(stack) {
	const executions = [...new Set(stack.submitted)];

	await checkExecutions(stack, executions);
	await checkViolations(stack);
	await checkQuiet(stack);
	await checkLogs(stack);
}

/* Nothing due, nothing leased: and then the poller goes away by itself. */
async function checkQuiet(stack) {
	const busy = await stack.query(`
		SELECT id, status, lease_until, next_poll_at FROM execution_jobs
		 WHERE next_poll_at IS NOT NULL OR lease_until IS NOT NULL
		 LIMIT 10`);
	const strays = await stack.query(`
		SELECT job_id, attempt, cancel_at FROM job_starts
		 WHERE cancel_at IS NOT NULL`);

	assert.deepEqual(busy, [], "work is left");
	assert.deepEqual(strays, [], "a start is left to be cancelled");
	for (let i = 0; stack.pid("poller"); i++) {
		assert.ok(i < 300, "the poller stays although nothing is due");
		await sleep(100);
	}
}

/* Secrets are in no log, and no sanitizer had anything to say. */
async function checkLogs(stack) {
	const secrets = [stack.key, "r8_simulated", "simulated:key",
		"cnVzaGVzLXNpbXVsYXRvci13ZWJob29rLWtleS0wMDE"];

	await sleep(1100); // nginx's access log is as late as a second
	for (const name of ["fcgi", "poller", "activator", "nginx-access",
		"nginx-error"]) {
		const text = stack.log(name);

		for (const secret of secrets)
			assert.ok(!text.includes(secret),
				`a secret is in ${name}.log`);
		assert.doesNotMatch(text, /\/api\/webhooks\/job\/[0-9a-f-]{36}\/\d/,
			`a webhook token is in ${name}.log`);
		assert.doesNotMatch(text, sanitizer, `${name}.log`);
	}
}
