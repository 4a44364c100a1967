// SPDX-License-Identifier: MIT
// Webhooks doubled, reordered, late, early, forged in each way, and lost: one
// completion each, and nothing that was forged has an effect. And a provider
// none of whose webhooks arrives.

import assert from "node:assert/strict";

import { suite } from "../system/suite.mjs";
import { makers } from "../system/jobs.mjs";
import { judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, mixture, quick, settings, submit } from "./load.mjs";

/* 15 words, two providers: 10,000 deliveries and more. */
const EACH = quick ? 6 : 250;
const DELIVERIES = quick ? 240 : 10_000;
const UNHEARD = quick ? 100 : 3000;
const LATE_MS = 6000;
const DELAY_MS = 300;

const genuine = (start) => start.deliveries.filter(
	(one) => one.kind === "genuine");

/* What a provider does, and how its books show that it did. */
const faults = {
	doubled: [{ copies: 5 },
		(start) => start.deliveries.some((one) => one.kind === "copy")],
	reordered: [{ reorder: true }, (start) => {
		const events = genuine(start).map((one) => one.event);

		return events.includes("completed") &&
			events.at(-1) !== "completed";
	}],
	late: [{ late_ms: LATE_MS }, (start) => genuine(start).some((one) =>
		Date.parse(one.time) - Date.parse(start.ended) >= LATE_MS)],
	early: [{ early: true }, (start) => // it rendered for no time at all
		Date.parse(start.ended) - Date.parse(start.time) < DELAY_MS &&
		genuine(start).some((one) => one.answer === 200)],
	lost: [{ drop: true }, (start) => start.deliveries.length === 0],
};

for (const forge of ["unsigned", "signature", "key", "body", "stale",
	"future", "malformed", "doubled", "token", "other"])
	faults[`forged: ${forge}`] = [{ forge }, (start) =>
		start.deliveries.some((one) => one.kind === "forged")];

/* How many of each kind, and how forged ones were answered: a forgery that
 * cannot be told from a key we do not know yet is a hint (200) to look. */
function countDeliveries(starts, of) {
	const sent = { all: 0, genuine: 0, copy: 0, forged: 0, answers: {} };

	for (const start of starts) {
		for (const one of start.deliveries) {
			sent.all++;
			sent[one.kind]++;
			if (one.kind !== "forged")
				continue;
			const answers = sent.answers[of.get(start.job)] ??= {};

			answers[one.answer] = (answers[one.answer] ?? 0) + 1;
		}
	}
	return sent;
}

/* Slow enough looks that most webhooks are first, and some are not. */
const slow = {
	REPLICATE_POLL_FIRST_MS: "4000",
	REPLICATE_POLL_MOST_MS: "5000",
	FAL_POLL_FIRST_MS: "4000",
	FAL_POLL_MOST_MS: "5000",
};

suite("hostile webhooks", { settings: { ...settings, ...slow } }, (test) => {
	test(`${EACH} jobs for each fault and provider`, async (stack) => {
		const chance = new Chance("webhooks");
		const plan = [], of = new Map();

		wholeLedger(stack);
		for (const [fault, [webhook]] of Object.entries(faults)) {
			for (const name of ["replicate", "fal"]) {
				// fal reports nothing that could come too late
				if (fault === "reordered" && name === "fal")
					continue;
				for (let i = 0; i < EACH; i++)
					plan.push([fault, name, webhook]);
			}
		}
		for (let i = plan.length - 1; i > 0; i--) {
			const other = chance.below(i + 1);

			[plan[i], plan[other]] = [plan[other], plan[i]];
		}
		for (let at = 0; at < plan.length; at += 20) {
			const part = plan.slice(at, at + 20);
			const ids = await submit(stack, part.map(
				([, name, webhook], i) => makers[name](`j${i}`, {
					webhook,
					steps: 5,
					delay_ms: DELAY_MS + chance.below(800),
				})));

			part.forEach(([fault], i) => of.set(ids[`j${i}`], fault));
		}
		await quiet(stack, 600);

		const fired = Object.fromEntries(
			Object.keys(faults).map((fault) => [fault, 0]));

		for (const start of await stack.starts()) {
			const fault = of.get(start.job);

			fired[fault] += faults[fault][1](start) ? 1 : 0;
		}
		const sent = countDeliveries(await stack.starts(), of);

		console.log(`deliveries: ${JSON.stringify(sent)}`);
		assert.ok(sent.all >= DELIVERIES, `${sent.all} deliveries`);
		await judge(stack, fired);
	}, 1200);
});

suite("no webhooks at all", { settings }, (test) => {
	test(`${UNHEARD} jobs complete by polling`, async (stack) => {
		const chance = new Chance("no webhooks");

		wholeLedger(stack);
		await stack.control({ all: { webhook: { drop: true } } });
		for (let given = 0; given < UNHEARD; given += 20)
			await submit(stack, mixture(chance, 20));
		await quiet(stack, 400);

		const starts = await stack.starts();
		const [{ jobs }] = await stack.query(`SELECT count(*) AS jobs
			FROM execution_jobs WHERE status = 'completed'
			 AND completed_via = 'polling'`);

		assert.equal(jobs, UNHEARD, "completed by polling");
		assert.ok(starts.every((one) => one.deliveries.length === 0));
		await judge(stack, { "webhook dropped": starts.filter(
			(one) => one.webhook).length });
	}, 600);
});
