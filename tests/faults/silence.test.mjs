// SPDX-License-Identifier: MIT
// The network to PostgreSQL loses everything and says nothing: no reset, no
// error, in both directions or in one. Our programs notice within seconds,
// since they set TCP_USER_TIMEOUT, and go on when it is over.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { patience, until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { alone, must } from "./alone.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, mixture, quick, settings, submit } from "./load.mjs";
import { Resuming } from "./resuming.mjs";

alone();

const LOST_S = quick ? [12] : [12, 20, 45];
/* tcp_user_timeout is 3 s; where nothing of ours waits to be acknowledged it
 * is a keepalive after 5 s that does. */
const NOTICED_MS = 10_000;
/* A connection is being tried when the network returns; the kernel sends its
 * SYN after 0, 1 and 3 s. */
const RESUMED_MS = 4000;

const rules = {
	"nothing arrives": ["tcp dport 5432 drop", "tcp sport 5432 drop"],
	"no question arrives": ["tcp dport 5432 drop"],
	"no answer arrives": ["tcp sport 5432 drop"],
};

must("nft", "add table inet faults");
must("nft", "add chain inet faults in { type filter hook input priority 0; }");

function lose(list) {
	for (const rule of list)
		must("nft", `add rule inet faults in ${rule.replace(" drop",
			" counter drop")}`);
}

/* @returns how many packets were dropped */
function loseNothing() {
	const dropped = [...must("nft", "list chain inet faults in")
		.matchAll(/packets (\d+)/g)]
		.reduce((sum, [, packets]) => sum + Number(packets), 0);

	must("nft", "flush chain inet faults in");
	return dropped;
}

const away = (stack, program) =>
	stack.log(program).split("the database is away").length;

/* How long each program believed in a connection that was none. */
async function noticed(stack, before) {
	const begun = Date.now();

	return Object.fromEntries(await Promise.all(
		Object.entries(before).map(async ([program, count]) => {
			await until(() => away(stack, program) > count,
				`${program} to notice`, 30);
			return [program, Date.now() - begun];
		})));
}

async function run(stack, fault, list) {
	const chance = new Chance(`silence ${fault}`);
	const worst = { noticed: 0, api: 0, poller: 0 };
	let dropped = 0;

	wholeLedger(stack);
	for (const seconds of LOST_S) {
		await submit(stack, mixture(chance, 40,
			{ delay_ms: 500 + chance.below(2000) }));
		await sleep(300 + chance.below(1000));
		const before = { fcgi: away(stack, "fcgi"),
			poller: away(stack, "poller") };

		lose(list);
		const end = Date.now() + seconds * 1000;
		const resuming = new Resuming(stack);
		const seen = await noticed(stack, before);

		await sleep(Math.max(0, end - Date.now()));
		dropped += loseNothing();
		const ms = await resuming.since(Date.now());

		console.log(`${fault} for ${seconds} s: noticed after ` +
			`${seen.fcgi} ms (API) and ${seen.poller} ms (poller); ` +
			`then a submission was taken after ${ms.api} ms, a ` +
			`poller wrote after ${ms.poller} ms`);
		worst.noticed = Math.max(worst.noticed, seen.fcgi, seen.poller);
		worst.api = Math.max(worst.api, ms.api);
		worst.poller = Math.max(worst.poller, ms.poller);
	}
	console.log(`worst: ${JSON.stringify(worst)}`);
	await quiet(stack, 200);
	checkLives(stack);
	await judge(stack, { [fault]: dropped });
	assert.ok(worst.noticed < NOTICED_MS * patience);
	assert.ok(worst.api < RESUMED_MS * patience);
	assert.ok(worst.poller < RESUMED_MS * patience);
}

suite("the network to PostgreSQL is silent", { settings: { ...settings,
	DATABASE_TCP: "127.0.0.1",
	POSTGRES_SETTINGS: "listen_addresses='127.0.0.1'",
} }, (test) => {
	for (const [fault, list] of Object.entries(rules))
		test(fault, (stack) => run(stack, fault, list), 600);
});
