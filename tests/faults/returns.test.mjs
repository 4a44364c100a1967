// SPDX-License-Identifier: MIT
// PostgreSQL is away for seconds and for minutes, with work in hand and clients
// that go on asking. As soon as it is back a submission is taken and a poller
// writes: within a second.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { patience } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, mixture, quick, settings, submit } from "./load.mjs";
import { Resuming } from "./resuming.mjs";

/* Seconds; between the tries that a backoff would make as well. */
const AWAY_S = quick ? [[2, 8]] : [[1, 2, 5, 10, 20, 1, 3, 9], [40, 80]];
const MOST_MS = 1000;

/* When the server said last that it is there, by its own log. */
function readyAt(stack) {
	const lines = fs.readFileSync(path.join(stack.logs, "postgres.log"),
		"utf8").split("\n").filter((line) =>
		line.includes("ready to accept connections"));

	return Date.parse(lines.at(-1).replace(
		/^(\S+) (\S+) (\w+) .*/, "$1T$2 $3").replace(" GMT", "Z")
		.replace(" UTC", "Z"));
}

async function run(stack, list) {
	const chance = new Chance(`returns ${list}`);
	const worst = { api: 0, poller: 0 };
	const fired = { "away": 0, "refused meanwhile": 0 };

	wholeLedger(stack);
	for (const seconds of list) {
		await submit(stack, mixture(chance, 40,
			{ delay_ms: 500 + chance.below(2000) }));
		await sleep(chance.below(1500));
		await stack.postgres("stop");
		const resuming = new Resuming(stack);

		await sleep(seconds * 1000);
		await stack.postgres("start");
		const ms = await resuming.since(readyAt(stack));

		console.log(`away for ${seconds} s: a submission was taken ` +
			`after ${ms.api} ms, a poller wrote after ${ms.poller} ms`);
		for (const who of Object.keys(worst))
			worst[who] = Math.max(worst[who], ms[who]);
		fired.away++;
		fired["refused meanwhile"] += resuming.refused;
	}
	console.log(`worst: API ${worst.api} ms, poller ${worst.poller} ms`);
	await quiet(stack, 200);
	checkLives(stack);
	await judge(stack, fired);
	for (const [who, ms] of Object.entries(worst))
		assert.ok(ms < MOST_MS * patience, `${who}: ${ms} ms`);
}

suite("PostgreSQL comes back", { settings: { ...settings,
	POSTGRES_SETTINGS: "log_timezone='UTC'" } }, (test) => {
	for (const list of AWAY_S)
		test(`after ${list.join(", ")} s`, (stack) => run(stack, list), 600);
});
