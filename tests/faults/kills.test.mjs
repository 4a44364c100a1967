// SPDX-License-Identifier: MIT
// kill -9, at random, of the API and of three pollers, over many small jobs.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { suite } from "../system/suite.mjs";
import { judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, Poller, mixture, quick, settings, submit }
	from "./load.mjs";

const KILLS = quick ? 100 : 2000;
const JOBS = quick ? 600 : 10_000;
const JOBS_AT_ONCE = 10;
/* The default form never takes longer than this, whatever the machine. */
const MOST_S = quick ? 60 : 1500;

/* Submit it all while the kills go on, spread over their time. */
async function feed(stack, chance, progress) {
	for (let given = 0; given < JOBS; given += JOBS_AT_ONCE) {
		while (progress() < given / JOBS)
			await sleep(20);
		await submit(stack, mixture(chance, JOBS_AT_ONCE));
	}
}

function victims(stack, pollers) {
	const ofStack = (name) => () => {
		const pid = stack.pid(name);

		return pid !== null && process.kill(pid, "SIGKILL");
	};

	return {
		fcgi: ofStack("fcgi"),
		poller: ofStack("poller"),
		"second poller": () => pollers[0].kill("SIGKILL"),
		"third poller": () => pollers[1].kill("SIGKILL"),
	};
}

/* Who asks for it gets the rest as well: what was paid for is found, what was
 * not is started, and what waited for it goes on. */
async function retry(stack) {
	const failed = await stack.query(`SELECT id FROM execution_jobs
		WHERE error_code = 'may_have_been_billed'`);

	for (const { id } of failed) {
		const answer = await stack.api("POST", `/api/jobs/${id}/retry`);

		assert.ok([200, 202].includes(answer.status), answer.text);
	}
	return failed.length;
}

suite("random kills", { settings }, (test) => {
	test(`${KILLS} kills over ${JOBS} jobs`, async (stack) => {
		const chance = new Chance("kills");
		const pollers = [2, 3].map((n) => new Poller(stack, `poller-${n}`));
		const prey = victims(stack, pollers);
		const fired = Object.fromEntries(
			Object.keys(prey).map((name) => [name, 0]));
		const end = Date.now() + MOST_S * 1000;
		let kills = 0, over = false;

		wholeLedger(stack);
		const fed = feed(stack, new Chance("jobs"),
			() => over ? 1 : kills / KILLS);

		while (kills < KILLS && Date.now() < end) {
			await sleep(50 + chance.below(quick ? 200 : 250));
			const name = chance.pick(Object.keys(prey));

			try {
				if (!prey[name]())
					continue;
			} catch {
				continue; // it had just ended by itself
			}
			fired[name]++;
			kills++;
		}
		over = true;
		await fed;
		for (const poller of pollers)
			await poller.stop();
		await quiet(stack, 240);
		await judge(stack, fired);
		console.log(`retried: ${await retry(stack)}`);
		await quiet(stack, 240);
		const { jobs, completed } = await judge(stack, fired);

		assert.equal(completed, jobs);
	}, MOST_S + 600);
});
