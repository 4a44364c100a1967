// SPDX-License-Identifier: MIT
// What it costs to have nothing to do: very many jobs render, none is to be
// asked about. Without work there is no poller but for the moment in which
// the timer starts it; where it stays, it waits.

import { setTimeout as sleep } from "node:timers/promises";

import { fill } from "../fill.mjs";
import { cpuOf, memoryOf, round } from "../measure.mjs";

export const title = "100,000 jobs processing, none due; processor time of " +
	"both programs a second, and their memory";

const JOBS = 100_000;
const SECONDS = 20; // two periods of the timer

/** A stack with all the jobs, whose poller stays so long. */
async function idleStack(bench, linger) {
	const stack = await bench.stack({ POLLER_LINGER_S: linger });

	await fill(stack, { count: JOBS, status: "processing" });
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
		"the timer starts the poller": await idleStack(bench, "0"),
		"the poller stays": await idleStack(bench, "3600"),
	};

	await sleep(3000);
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
