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

async function idle(bench, name, linger, seconds) {
	const stack = await bench.stack({ POLLER_LINGER_S: linger });
	const pids = () => ["fcgi", "poller"].map((one) => stack.pid(one))
		.filter(Boolean);
	// the activator's own cost is that of the tests
	const cpu = () => cpuOf(stack.pid("activator"));
	let memory = 0;

	await fill(stack, { count: JOBS, status: "processing" });
	await stack.get("/readyz");
	await sleep(3000);
	const before = cpu();
	const end = Date.now() + seconds * 1000;

	while (Date.now() < end) {
		memory = Math.max(memory,
			pids().reduce((sum, pid) => sum + memoryOf(pid), 0));
		await sleep(20);
	}
	return {
		name, ours: round((cpu() - before) * 1000 / seconds, 3),
		unit: "ms CPU/s", limit: null, ratio: null, errors: 0,
		rss_bytes: memory, seconds,
	};
}

export default async function measure(bench) {
	return [
		await idle(bench, "the timer starts the poller", "0", 20),
		await idle(bench, "the poller stays", "3600", 5),
	];
}
