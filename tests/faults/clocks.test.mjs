// SPDX-License-Identifier: MIT
// Clocks that are set by 30 days and back, in the middle of work. First those
// of our programs: leases, schedules and deadlines go by the database's alone.
// Then the database's own.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { makers } from "../system/jobs.mjs";
import { patience, root } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { Clocks, DAY_S } from "./clocks.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, mixture, quick, settings, submit } from "./load.mjs";

const MONTH_S = 30 * DAY_S;
const STEPS = quick ? 4 : 20;
const ROUNDS = quick ? 1 : 2;
const run = promisify(execFile);

const clocks = new Clocks("fcgi", "poller", "postgres");

after(() => clocks.remove());

/* Of the executions, by the clock that made their ids (UUIDv7). */
async function madeBy(stack) {
	const rows = await stack.query("SELECT id, created_at FROM executions");
	const off = rows.map(({ id, created_at }) =>
		parseInt(id.replace("-", "").slice(0, 12), 16) / 1000 -
		Date.parse(created_at) / 1000);

	return {
		"submitted a month ahead": off.filter(
			(s) => s > MONTH_S - DAY_S).length,
		"submitted a month behind": off.filter(
			(s) => s < DAY_S - MONTH_S).length,
	};
}

/* Each step's clock, and how far off it goes. */
function* steps(chance) {
	const both = ["fcgi", "poller"];

	for (let n = 0; n < STEPS; n++) {
		const off = [MONTH_S, 0, -MONTH_S, 0][n % 4];

		yield [off === 0 || quick || chance.next() < 0.4 ? both :
			[chance.pick(both)], off];
	}
}

suite("clocks of our programs are set", { settings: {
	...settings,
	...clocks.programs(),
} }, (test) => {
	test(`${STEPS} times by 30 days`, async (stack) => {
		const chance = new Chance("clocks");
		const fired = { "API set": 0, "poller set": 0 };
		// a wish that is a date: it is neither undercut nor a month
		const wishes = () => Object.keys(makers).map((name) =>
			makers[name](`w-${name}`, { start: { status: 429,
				times: 1, retry_after_s: 2,
				retry_after_form: name === "vertex" ?
					"seconds" : "date" } }));

		wholeLedger(stack);
		for (const [which, off] of steps(chance)) {
			await submit(stack, mixture(chance, 20,
				{ delay_ms: chance.below(4000) }));
			for (const name of which)
				clocks.set(name, off);
			await submit(stack, wishes());
			await submit(stack, mixture(chance, 20,
				{ delay_ms: chance.below(1000) }));
			for (let n = 0; n < 5; n++) {
				const { uptime_s } = await stack.get("/healthz");
				const pids = [stack.pid("fcgi"), stack.pid("poller")];

				assert.ok(uptime_s >= 0 && uptime_s < 3600,
					`${uptime_s} s`);
				if (off !== 0 && which.includes("fcgi"))
					fired["API set"] += clocks.rules(pids[0]);
				if (off !== 0 && which.includes("poller") && pids[1])
					fired["poller set"] += clocks.rules(pids[1]);
				await sleep(400 + chance.below(800));
			}
		}
		const over = Date.now();

		await quiet(stack, 120);
		console.log(`${STEPS} steps; the last job ended ` +
			`${Date.now() - over} ms after the last`);
		checkLives(stack);
		const { jobs, completed } = await judge(stack,
			{ ...fired, ...await madeBy(stack) });

		assert.equal(completed, jobs);
		assert.ok(Date.now() - over < 60_000 * patience);
	}, 600);
});

/* Its clock's distance from ours. */
async function databaseOff(stack) {
	const [{ now }] = await stack.query(
		"SELECT extract(epoch FROM clock_timestamp()) AS now");

	return now - Date.now() / 1000;
}

/*
 * Forwards by less than a deadline, so that all leases are over at once; back
 * by 30 days, with everything planned for a month from then. Further forwards
 * only while nothing is under way: a deadline that has passed has passed.
 */
const journey = [
	["two hours ahead", 2 * 60 * 60, true],
	["back", 0, true],
	["a month behind", -MONTH_S, true],
	["back", 0, false],
	["a month ahead", MONTH_S, false],
	["back", 0, true],
];

suite("the database's clock is set", { settings }, (test) => {
	test(`${ROUNDS} times ${journey.map(([what]) => what).join(", ")}`,
		async (stack) => {
			const chance = new Chance("database clock");
			const fired = {};
			let worst = 0;

			wholeLedger(stack);
			stack.clockWasSet = true;
			await stack.postgres("stop");
			const dir = new URL(stack.database.replace("postgresql:///",
				"http://x/")).searchParams.get("host");

			await run(path.join(root, "tests/support/postgres.sh"),
				["start", dir], { env: { ...process.env,
					...clocks.environment("postgres") } });
			for (let n = 0; n < ROUNDS; n++) {
				for (const [what, off, busy] of journey) {
					if (busy)
						await submit(stack, mixture(chance, 30,
							{ delay_ms: 500 + chance.below(3000) }));
					await sleep(chance.below(1500));
					clocks.set("postgres", off);
					assert.ok(Math.abs(await databaseOff(stack) -
						off) < 60);
					fired[what] = (fired[what] ?? 0) + 1;
					await submit(stack, mixture(chance, 10));
					const begun = Date.now();

					await quiet(stack, 90);
					worst = Math.max(worst, Date.now() - begun);
					console.log(`${what}: all ended ` +
						`${Date.now() - begun} ms later`);
				}
			}
			checkLives(stack);
			const { jobs, completed } = await judge(stack, fired);

			assert.equal(completed, jobs);
			assert.ok(worst < 60_000 * patience);
		}, 900);
});
