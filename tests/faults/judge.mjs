// SPDX-License-Identifier: MIT
// The one judge of every run with faults. Once all is quiet, the simulator's
// ledger, the files in the store and the whole database must tell the same
// story, and the operator's view of violations must be empty. judge.test.mjs
// tells it each lie.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { checkViolations } from "../system/invariants.mjs";
import { Stack, until } from "../system/stack.mjs";

/* A ledger of more starts than a test with hands would ever make. */
const STARTS_MOST = "200000";

/** Let checks of this stack see all of a large ledger. */
export function wholeLedger(stack) {
	stack.starts = (filter) => Stack.prototype.starts.call(stack,
		{ limit: STARTS_MOST, ...filter });
}

/** Wait until nothing is left to do, neither for us nor for the simulator. */
export async function quiet(stack, seconds) {
	let left;

	try {
		await until(async () => {
			left = await stack.query(`SELECT status, count(*) AS jobs
				FROM execution_jobs WHERE NOT job_is_terminal(status)
				   OR next_poll_at IS NOT NULL GROUP BY status`);
			return left.length === 0;
		}, "all jobs to end", seconds);
	} catch (error) {
		error.message += `\n${JSON.stringify(left)}`;
		throw error;
	}
	for (let before = -1, now = 0; before !== now;) {
		before = now;
		await sleep(1500);
		now = Object.values(await stack.totals())
			.reduce((sum, one) => sum + one.deliveries, 0);
	}
}

/* All there is to know, each job with what the provider says of it. */
async function gather(stack) {
	const jobs = await stack.query(`
		SELECT j.id, j.execution_id, j.name, j.provider, j.status,
		       j.attempt, j.error_code, j.completed_at, j.completed_via,
		       (SELECT coalesce(json_agg(d.parent_id), '[]')
		          FROM job_dependencies AS d
		         WHERE d.child_id = j.id) AS parents
		  FROM execution_jobs AS j`);
	const all = new Map(jobs.map((job) => [job.id, job]));

	for (const job of jobs)
		job.paid = [];
	for (const start of await stack.starts()) {
		const job = all.get(start.job);

		assert.ok(job, `paid for nobody: ${JSON.stringify(start)}`);
		job.paid.push(start);
	}
	return all;
}

/* "aborted" is what Replicate cancelled before it began. */
const unpaid = ["failed", "canceled", "cancelled", "aborted"];

/* Did the provider tell us of this start, in any way there is? */
const told = (start) => start.answered || start.listed > 0 ||
	start.polls > 0 || start.results > 0 ||
	start.deliveries.some((one) => one.kind !== "forged" &&
		one.answer === 200);

/* Nothing goes on, nobody holds anything, and no start is in the air. */
async function checkLeft(stack) {
	assert.deepEqual(await stack.query(`
		SELECT id, status, lease_until, next_poll_at, holds_slot
		  FROM execution_jobs
		 WHERE NOT job_is_terminal(status) OR lease_until IS NOT NULL
		    OR next_poll_at IS NOT NULL OR holds_slot
		 LIMIT 10`), [], "jobs are left");
	assert.deepEqual(await stack.query(
		"SELECT name, in_use FROM providers WHERE in_use <> 0"), [],
	"slots are left");
	assert.deepEqual(await stack.query(`
		SELECT job_id, attempt, outcome, cancel_at FROM job_starts
		 WHERE outcome = 'open' OR cancel_at IS NOT NULL LIMIT 10`), [],
	"starts are left");
}

/* No submission was lost, and none that was repeated counts twice. */
async function checkSubmissions(stack) {
	const rows = await stack.query("SELECT id FROM executions");

	assert.deepEqual(rows.map(({ id }) => id).sort(),
		[...new Set(stack.submitted)].sort(), "executions and submissions");
}

/*
 * A job whose start was taken and succeeded has completed, unless no answer,
 * no webhook and no list could tell that it was taken. A job that was never
 * taken may only have ended because nobody could know that. Only what was asked
 * for is cancelled, and then it is at its provider as well.
 *
 * @param asked  ids of the jobs that somebody wanted cancelled
 * @returns how many jobs ended in which way
 */
function checkEnds(all, asked) {
	const ends = {
		completed: 0,
		cancelled: 0,
		may_have_been_billed: 0,
		never_left: 0,
		dependency_failed: 0,
	};

	for (const job of all.values()) {
		const last = job.paid.at(-1);
		const what = JSON.stringify(job, null, 1);

		if (job.status === "completed") {
			ends.completed++;
			assert.equal(last?.status, "succeeded", what);
			continue;
		}
		if (job.status === "cancelled") {
			ends.cancelled++;
			assert.ok(asked?.has(job.id), `nobody asked: ${what}`);
			assert.ok(!last || unpaid.includes(last.status) ||
				!told(last), `it goes on: ${what}`);
			continue;
		}
		assert.equal(job.status, "failed", what);
		if (job.parents.length > 0 && job.paid.length === 0 &&
		    job.parents.some((id) => all.get(id).status !== "completed")) {
			ends.dependency_failed++;
			continue;
		}
		assert.equal(job.error_code, "may_have_been_billed", what);
		if (last) {
			ends.may_have_been_billed++;
			assert.ok(!told(last), `it was told: ${what}`);
		} else {
			ends.never_left++;
		}
	}
	// what nobody could tell us of, counted by the provider's book alone
	assert.equal(ends.may_have_been_billed, [...all.values()].filter(
		(job) => job.paid.length > 0 && job.status !== "cancelled" &&
			!told(job.paid.at(-1))).length,
	"starts that nobody can know of");
	return ends;
}

/* Paid twice is only what surely failed before. */
function checkPaid(all) {
	for (const job of all.values()) {
		for (const start of job.paid.slice(0, -1))
			assert.ok(unpaid.includes(start.status),
				`paid twice: ${JSON.stringify(job)}`);
		assert.equal(new Set(job.paid.map((one) => one.attempt)).size,
			job.paid.length, `an attempt paid twice: ${JSON.stringify(job)}`);
	}
}

/* A dependent starts after its parents, and only if they completed. Times can
 * be compared unless the database's clock was set (stack.clockWasSet). */
function checkOrder(stack, all) {
	for (const job of all.values()) {
		if (job.paid.length === 0)
			continue;
		for (const id of job.parents) {
			const parent = all.get(id);
			const what = JSON.stringify({ job, parent }, null, 1);

			assert.equal(parent.status, "completed", what);
			// the ledger's clock has whole milliseconds
			assert.ok(stack.clockWasSet ||
				Date.parse(job.paid[0].time) >=
				Date.parse(parent.completed_at) - 1, what);
		}
	}
}

/* What a forged delivery claims is that the job failed. And who says to have
 * completed by webhook was sent a genuine one. */
async function checkForgeries(stack, all) {
	for (const job of all.values())
		assert.ok(job.completed_via !== "webhook" || job.paid.some(
			(start) => start.deliveries.some(
				(one) => one.kind !== "forged")),
		`no webhook was sent: ${JSON.stringify(job)}`);

	const claims = await stack.query(`
		SELECT job_id, attempt, event FROM job_events
		 WHERE event IN ('provider_failed', 'provider_faltered',
		                 'provider_cancelled')`);
	const inbox = await stack.query(`
		SELECT job_id, count(*) AS taken FROM webhook_inbox GROUP BY job_id`);

	for (const claim of claims) {
		const start = all.get(claim.job_id).paid.find(
			(one) => one.attempt === claim.attempt);

		assert.notEqual(start?.status, "succeeded",
			`the provider never said so: ${JSON.stringify(claim)}`);
	}
	for (const { job_id, taken } of inbox) {
		const sent = all.get(job_id).paid.flatMap((one) => one.deliveries)
			.filter((one) => one.kind === "genuine");

		assert.ok(taken <= sent.length,
			`${taken} taken of ${sent.length}: ${job_id}`);
	}
}

/* Every file, on the disk itself, or where else stack.stored() finds it. */
async function checkStore(stack, all) {
	const files = await stack.query(`
		SELECT m.job_id, m.attempt, m.index, m.key, m.bytes, m.sha256
		  FROM media AS m JOIN execution_jobs AS j
		    ON j.id = m.job_id AND j.attempt = m.attempt
		 WHERE j.status = 'completed'`);
	const having = new Set(files.map((file) => file.job_id));

	for (const file of files) {
		const bytes = stack.stored ? await stack.stored(file.key) :
			fs.readFileSync(path.join(stack.store, file.key));
		const sha256 = createHash("sha256").update(bytes).digest("hex");
		const served = all.get(file.job_id).paid.find(
			(start) => start.attempt === file.attempt)
			.media[file.index];

		assert.equal(bytes.length, file.bytes, file.key);
		assert.equal(sha256, file.sha256, file.key);
		assert.equal(sha256, served.sha256, file.key);
	}
	for (const job of all.values())
		assert.ok(job.status !== "completed" || having.has(job.id),
			`completed without a file: ${JSON.stringify(job)}`);
	return files.length;
}

/** No program of ours has ended badly, by itself or by its watchdog. */
export function checkLives(stack) {
	assert.doesNotMatch(stack.log("activator"),
		/exited with status [1-9]|was killed|SIGABRT/);
}

/**
 * Judge a run that is over.
 *
 * @param {{[fault: string]: number}} fired  how often each fault of the run
 *	was seen to have happened: a run whose faults did not is none
 * @returns the figures that were printed
 */
export async function judge(stack, fired) {
	await checkLeft(stack);
	await checkSubmissions(stack);

	const all = await gather(stack);
	const ends = checkEnds(all, stack.cancelled);

	checkPaid(all);
	checkOrder(stack, all);
	await checkForgeries(stack, all);
	const files = await checkStore(stack, all);

	const begun = Date.now();

	await checkViolations(stack);
	const violations_ms = Date.now() - begun;

	await stack.checkAll();
	const starts = [...all.values()].flatMap((job) => job.paid).length;
	const figures = { jobs: all.size, ...ends, starts, files, violations_ms,
		fired };

	console.log(`judged: ${JSON.stringify(figures)}`);
	for (const [fault, times] of Object.entries(fired))
		assert.ok(times > 0, `never happened: ${fault}`);
	assert.ok(all.size > 0);
	return figures;
}
