// SPDX-License-Identifier: MIT
// Pollers that are stopped past their lease, while another one finishes what
// they held, and then go on as if nothing had been.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, Poller, mixture, quick, settings, submit }
	from "./load.mjs";

const CYCLES = quick ? 2 : 25;
const JOBS = 80;
/* Past the lease, and short of what a watchdog takes for hanging. */
const STOPPED_MS = 14_000;
const AFTER_MS = 2500;

const sim = {
	start: { latency_ms: 800 },
	delay_ms: 500,
	media: { bytes: 40_000, rate: 20_000 },
};

const ended = (stack, ids) => stack.query(`
	SELECT * FROM execution_jobs
	 WHERE job_is_terminal(status) AND next_poll_at IS NULL
	   AND id IN (${ids.map((id) => `'${id}'`).join(",")})
	 ORDER BY id`);

/* @returns how many jobs the stopped poller held that another one ended */
async function cycle(stack, chance, n) {
	for (let given = 0; given < JOBS; given += 20)
		await submit(stack, mixture(chance, 20, sim));
	await sleep(500 + chance.below(3000));

	const pid = await until(() => stack.pid("poller"), "a poller");
	let other, held;

	process.kill(pid, "SIGSTOP");
	try {
		held = await stack.query(`SELECT id, claim FROM execution_jobs
			WHERE lease_until IS NOT NULL`);
		other = new Poller(stack, `poller-${n}`);
		await sleep(STOPPED_MS);
		const before = held.length === 0 ? [] :
			await ended(stack, held.map((row) => row.id));
		const claims = new Map(held.map((row) => [row.id, row.claim]));

		process.kill(pid, "SIGCONT"); // it is stopped, so it is there
		await sleep(AFTER_MS);
		if (before.length === 0)
			return 0;
		// not a single column of what had ended
		assert.deepEqual(await ended(stack, before.map((row) => row.id)),
			before);
		return before.filter((row) =>
			row.claim > claims.get(row.id)).length;
	} finally {
		if (stack.pid("poller") === pid)
			process.kill(pid, "SIGCONT");
		await other?.stop();
	}
}

suite("zombies", { settings }, (test) => {
	test(`${CYCLES} pollers stopped past their lease`, async (stack) => {
		const chance = new Chance("zombies");
		const fired = { "ended by another": 0, "pollers stopped": 0 };

		wholeLedger(stack);
		for (let n = 0; n < CYCLES; n++) {
			fired["ended by another"] += await cycle(stack, chance, n);
			fired["pollers stopped"]++;
		}
		await quiet(stack, 200);
		await judge(stack, fired);
	}, 1500);
});
