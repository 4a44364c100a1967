// SPDX-License-Identifier: MIT
// Webhooks doubled, reordered, late, early, forged in each way, and lost: one
// completion each, and nothing that was forged has an effect.

import { suite } from "../system/suite.mjs";
import { makers } from "../system/jobs.mjs";
import { judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, quick, settings, submit } from "./load.mjs";

/* 15 words, two providers: 10,000 deliveries and more. */
const EACH = quick ? 6 : 250;
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
		await judge(stack, fired);
	}, 1200);
});
