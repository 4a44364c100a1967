// SPDX-License-Identifier: MIT
// What it costs to have nothing to do: very many jobs render, and none is to
// be asked about yet; or all have ended, and there is no poller but for the
// moment in which the timer starts it.

import { setTimeout as sleep } from "node:timers/promises";

import { fill } from "../fill.mjs";
import { cpuOf, memoryOf, round } from "../measure.mjs";

export const title = "100,000 jobs and none due; processor time of both " +
	"programs a second, and their memory";

const JOBS = 100_000;
const SECONDS = 60; // six periods of the timer; Linux counts by 10 ms

async function idleStack(bench, what) {
	const stack = await bench.stack();

	await fill(stack, { count: JOBS, ...what });
	await stack.get("/readyz");
	return stack;
}

function watchIdle(name, stack) {
	const pids = () => ["fcgi", "poller"].map((one) => stack.pid(one))
		.filter(Boolean);
	// the activator's own cost is that of the tests
	const cpu = () => cpuOf(stack.pid("activator"));
	const before = cpu();
	let memory = 0;

	return {
		look: () => {
			memory = Math.max(memory,
				pids().reduce((sum, pid) => sum + memoryOf(pid), 0));
		},
		row: () => ({
			name, ours: round((cpu() - before) * 1000 / SECONDS, 3),
			unit: "ms CPU/s", limit: null, ratio: null, errors: 0,
			rss_bytes: memory, seconds: SECONDS,
		}),
	};
}

/** Both at once: neither has anything to do that the other could disturb. */
export default async function measure(bench) {
	const stacks = {
		"all of them render": await idleStack(bench,
			{ status: "processing", due: "4 minutes" }),
		"all have ended": await idleStack(bench, { status: "completed" }),
	};

	await sleep(15_000); // until the timer has fired in any case
	const watched = Object.entries(stacks).map(([name, stack]) =>
		watchIdle(name, stack));
	const end = Date.now() + SECONDS * 1000;

	while (Date.now() < end) {
		for (const one of watched)
			one.look();
		await sleep(20);
	}
	return watched.map((one) => one.row());
}
