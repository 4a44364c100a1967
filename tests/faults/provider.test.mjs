// SPDX-License-Identifier: MIT
// Providers that misbehave over starts, looks and results: whatever they
// answer, an attempt is paid for once, and a success that can be found out is
// found out.

import { setTimeout as sleep } from "node:timers/promises";

import { suite } from "../system/suite.mjs";
import { makers } from "../system/jobs.mjs";
import { judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, quick, settings, submit } from "./load.mjs";

const EACH = quick ? 3 : 60;

/* Taken by the provider, and its answer does not say so. */
const lost = {
	"the connection closed": { drop: "after" },
	"half an answer": { drop: "partial" },
	"no answer": { hang: true },
	"500 although taken": { status: 500, accepted: true },
	"503 although taken": { status: 503, accepted: true },
	"not JSON": { answer: "garbage" },
	"empty": { answer: "empty" },
	"no id": { answer: "no_id" },
	"2 MiB": { answer: "huge" },
};

const looks = {
	"closed": { drop: "after" },
	"half": { drop: "partial" },
	"no answer": { hang: true },
	"503": { status: 503 },
	"429": { status: 429, retry_after_s: 1 },
	"not JSON": { answer: "garbage" },
};

/* Name of the fault: words, how the job's books show it, providers. */
const faults = {};

for (const [what, start] of Object.entries(lost)) {
	for (const drop of [false, true])
		faults[`start: ${what}${drop ? ", webhook lost" : ""}`] = [{
			start: { ...start, times: 1 },
			webhook: { drop },
			delay_ms: 2500,
		}, ({ paid }) => paid?.answered === false];
}
for (const [what, poll] of Object.entries(looks))
	faults[`look: ${what}`] = [{
		poll: { ...poll, times: 2 },
		webhook: { drop: true },
	}, ({ paid }) => paid?.polls > 2];
faults["start: not taken, closed"] = [
	{ start: { drop: "before", times: 1 } },
	({ events }) => events.includes("start_lost")];
faults["start: not taken, 429"] = [
	{ start: { status: 429, retry_after_s: 1, times: 2 } },
	({ events }) => events.includes("throttled")];
faults["result: closed"] = [
	{ result: { drop: "after", times: 2 }, webhook: { drop: true } },
	({ paid }) => paid?.results > 2, ["fal"]];
faults["media: cut"] = [{ media: { cut: 1000, times: 1 } },
	({ events }) => events.includes("store_again")];
faults["media: 503"] = [{ media: { status: 503, times: 1 } },
	({ events }) => events.includes("store_again")];

suite("a provider that misbehaves", {
	settings: { ...settings, ANSWER_TIMEOUT_MS: "4000" },
}, (test) => {
	test(`${EACH} jobs for each fault and provider`, async (stack) => {
		const chance = new Chance("provider");
		const of = new Map(), fired = {};

		wholeLedger(stack);
		for (const [fault, [sim, , only]] of Object.entries(faults)) {
			fired[fault] = 0;
			for (const name of only ?? Object.keys(makers)) {
				const ids = await submit(stack, Array.from(
					{ length: EACH }, (_, i) => makers[name](
						`j${i}`, {
							delay_ms: chance.below(1000),
							...sim,
						})));

				// a crowd would be slow where it is to be wrong
				await sleep(10 * EACH);
				for (const id of Object.values(ids))
					of.set(id, { fault, events: [] });
			}
		}
		await quiet(stack, 400);

		for (const start of await stack.starts())
			of.get(start.job).paid = start;
		for (const { job_id, event } of await stack.query(
			"SELECT job_id, event FROM job_events"))
			of.get(job_id).events.push(event);
		for (const job of of.values())
			fired[job.fault] += faults[job.fault][1](job) ? 1 : 0;
		await judge(stack, fired);
	}, 900);
});
