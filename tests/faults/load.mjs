// SPDX-License-Identifier: MIT
// Work for the runs, and who does it: seeded chance, submissions that are
// repeated until they are taken, and more pollers than the stack has.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { makers } from "../system/jobs.mjs";
import { patience, root } from "../system/stack.mjs";
import { noBreaker } from "../system/suite.mjs";

export const quick = Boolean(process.env.QUICK);

/** What every run needs: short leases, and no breaker that hides a fault. */
export const settings = {
	LEASE_S: "5",
	RECONCILE_S: "30",
	...noBreaker,
	LOG_LEVEL: "info",
};

const seed = Number(process.env.SEED || Date.now() % 1_000_000_007);

/** Chance that SEED= repeats (mulberry32); each user has its own stream. */
export class Chance {
	constructor(name) {
		this.state = seed;
		for (const letter of name)
			this.state = Math.imul(this.state ^
				letter.charCodeAt(0), 0x9e3779b1);
		console.log(`SEED=${seed}`);
	}

	/** @returns a number of [0, 1) */
	next() {
		this.state = (this.state + 0x6d2b79f5) | 0;
		let t = Math.imul(this.state ^ (this.state >>> 15),
			1 | this.state);

		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	}

	below(n) {
		return Math.floor(this.next() * n);
	}

	pick(list) {
		return list[this.below(list.length)];
	}
}

/** One job at a provider by chance. */
export function anyJob(chance, name, sim, rest) {
	return makers[chance.pick(Object.keys(makers))](name, sim, rest);
}

/** About so many jobs in one execution: single ones, and pairs. */
export function mixture(chance, count, sim = {}) {
	const jobs = [];

	while (jobs.length < count) {
		const name = `j${jobs.length}`;

		jobs.push(anyJob(chance, name, sim));
		if (jobs.length < count && chance.next() < 0.5)
			jobs.push(anyJob(chance, `j${jobs.length}`, sim,
				{ depends_on: [name] }));
	}
	return jobs;
}

/**
 * Submit as a client does who must not lose a job nor pay twice for it: the
 * same key again until there is an answer.
 *
 * @returns names of jobs to their ids
 */
export async function submit(stack, jobs) {
	const headers = { "idempotency-key": randomUUID() };
	const end = Date.now() + 60_000 * patience;
	let answer;

	do {
		assert.ok(Date.now() < end, `not taken: ${answer?.text}`);
		if (answer !== undefined)
			await sleep(100);
		answer = await stack.api("POST", "/api/execute", { jobs }, headers)
			.catch((error) => ({ status: 0, text: error.message }));
	} while ([0, 502, 503, 504].includes(answer.status));
	assert.equal(answer.status, 202, answer.text);
	stack.submitted.push(answer.json.id);
	return Object.fromEntries(answer.json.jobs.map(
		(job) => [job.name, job.id]));
}

function words(file) {
	return fs.readFileSync(file, "utf8").split("\0").filter(Boolean);
}

/* A test that failed leaves none behind, stopped or not. */
const children = new Set();

process.once("exit", () => {
	for (const child of children)
		child.kill("SIGKILL");
});

/**
 * A poller as another host would run it: no wake socket, started again as
 * soon as it ends. The activator knows the settings; more may be given.
 */
export class Poller {
	constructor(stack, name, more = {}) {
		const activator = `/proc/${stack.pid("activator")}`;
		const argv = words(`${activator}/cmdline`);
		const environment = Object.fromEntries(
			words(`${activator}/environ`).map((line) => {
				const at = line.indexOf("=");

				return [line.slice(0, at), line.slice(at + 1)];
			}));

		this.program = argv[argv.indexOf("--poller") + 1];
		this.environment = {
			...environment,
			DATABASE_URL: argv[argv.indexOf("--poller-database") + 1],
			...more,
		};
		this.name = name;
		this.log = path.join(stack.logs, `${name}.log`);
		this.stopped = false;
		this.bad = [];
		this.start();
	}

	start() {
		const log = fs.openSync(this.log, "a");
		const child = spawn(this.program, [], {
			cwd: root,
			env: this.environment,
			stdio: ["ignore", log, log],
		});

		fs.closeSync(log);
		child.unref();
		children.add(child);
		this.child = child;
		this.ended = new Promise((resolve) => {
			child.once("exit", (status, signal) => {
				children.delete(child);
				if (status !== 0 && signal !== "SIGKILL")
					this.bad.push(`${status ?? signal}`);
				resolve();
				if (!this.stopped)
					setTimeout(() => this.stopped || this.start(),
						status === 0 ? 500 : 50).unref();
			});
		});
	}

	/** @returns whether there was one */
	kill(signal) {
		return this.child.exitCode === null &&
			this.child.signalCode === null && this.child.kill(signal);
	}

	async stop() {
		this.stopped = true;
		this.child.ref();
		this.kill("SIGCONT");
		this.kill("SIGTERM");
		await this.ended;
		assert.deepEqual(this.bad, [], `ends of ${this.log}`);
	}
}
