// SPDX-License-Identifier: MIT
// An S3 store that refuses, asks to slow down, hangs, is slow, breaks off, and
// breaks off after it took a file. What was paid for waits for it: every job
// completes when it is over, with what its provider served.

import assert from "node:assert/strict";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { patience, until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, anyJob, quick, settings, submit } from "./load.mjs";
import { Front, S3, mischief } from "./s3.mjs";

const JOBS = quick ? 6 : 30;
const LAST_S = quick ? 5 : 20;
/* The longest wait between two tries that a fault of this length leads to, and
 * then the upload itself; refused, a try each minute. */
const OVER_S = 75;

const all = Object.keys(mischief);
const few = quick ? ["reset in the middle", "reset after success"] : all;
const variants = {
	"http, signed with version 4": [false, "v4", all],
	"https, piped through": [true, "v4", few],
	"http, signed with version 2": [false, "v2", few],
};

let server;
const fronts = [];

after(async () => {
	for (const front of fronts)
		front.stop();
	await server?.stop();
});

for (const [name, [tls, signature, faults]] of Object.entries(variants)) {
	let front;
	const options = { settings: async () => {
		server ??= await S3.start();
		front = await Front.start(server, tls);
		fronts.push(front);
		return { ...settings, STALL_TIMEOUT_S: "2",
			...front.settings(signature) };
	} };

	suite(`a store that misbehaves: ${name}`, options, (test) => {
		for (const fault of faults) {
			test(`${fault}; ${name}`, async (stack) => {
				const chance = new Chance(`store ${name} ${fault}`);

				wholeLedger(stack);
				stack.stored = (key) => server.stored(key);
				front.fault = fault;
				const ids = await submit(stack, Array.from(
					{ length: JOBS }, (_, i) => anyJob(chance, `j${i}`, {
						delay_ms: chance.below(500),
						media: { bytes: 20_000 + chance.below(40_000) },
					})));
				const list = Object.values(ids)
					.map((id) => `'${id}'`).join();

				await until(() => front.fired[fault] > 0, "an upload", 60);
				await sleep(LAST_S * 1000);
				// as documented: it stays, and says why
				if (/^40/.test(fault))
					assert.deepEqual(await stack.query(`
						SELECT DISTINCT status, error_code
						  FROM execution_jobs WHERE id IN (${list})`),
					[{ status: "storing", error_code: "store_refused" }]);
				front.fault = null;
				const over = Date.now();

				await quiet(stack, OVER_S + 60);
				const [{ last }] = await stack.query(`
					SELECT max(completed_at) AS last
					  FROM execution_jobs WHERE id IN (${list})`);
				const ms = Math.max(0, Date.parse(last) - over);

				console.log(`${fault}: ${front.fired[fault]} uploads; all ` +
					`completed ${ms} ms after it was over`);
				checkLives(stack);
				const { jobs, completed } = await judge(stack,
					{ [fault]: front.fired[fault] });

				assert.equal(completed, jobs);
				assert.ok(ms < OVER_S * 1000 * patience);
			}, 300);
		}
	});
}
