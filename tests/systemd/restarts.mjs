// SPDX-License-Identifier: MIT
// The API and nginx are restarted and reloaded under load, judged by clients.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { still } from "../system/jobs.mjs";
import { Load } from "./load.mjs";
import { test } from "./test.mjs";

/* Nothing that was answered 202 is lost or there twice; and it is all run. */
async function checkAccepted(host, load) {
	const ids = [...load.ids.values()];
	const [{ found }] = await host.query("SELECT count(*) AS found " +
		"FROM executions WHERE id = ANY(" +
		`'{${ids.join(",")}}'::uuid[])`);
	const [{ keys, rows }] = await host.query("SELECT count(*) AS rows, " +
		"count(DISTINCT idempotency_key) AS keys FROM executions " +
		"WHERE idempotency_key = ANY(" +
		`'{${[...load.ids.keys()].join(",")}}'::text[])`);

	assert.equal(new Set(ids).size, load.sent - load.failed.length);
	assert.equal(found, ids.length);
	assert.equal(keys, ids.length);
	assert.equal(rows, ids.length);
	host.submitted.push(...ids);
}

test("systemctl restart of the API 200 times under load",
	async (host, say) => {
		const load = new Load(host);

		await sleep(500);
		let took = 0;

		for (let i = 0; i < 200; i++) {
			const begun = Date.now();

			await host.run("systemctl restart rushes-fcgi");
			took += Date.now() - begun;
			await sleep(100);
		}

		await sleep(500);
		await load.stop();
		say(`${load}`);
		say(`a restart took ${Math.round(took / 200)} ms`);
		assert.deepEqual(load.failed.slice(0, 5), []);
		// nginx stays, so not one connection is closed under its client
		assert.equal(load.repeated, 0);
		assert.ok(load.sent > 2000);
		await checkAccepted(host, load);
	}, 240);

test("nginx -s reload 50 times under load", async (host, say) => {
	const load = new Load(host);

	await sleep(500);
	for (let i = 0; i < 50; i++) {
		await host.run("nginx -s reload");
		await sleep(250);
	}
	await sleep(500);
	await load.stop();
	say(`${load}`);
	assert.deepEqual(load.failed.slice(0, 5), []);
	assert.ok(load.sent > 500);
	await checkAccepted(host, load);
}, 120);

/* @returns how long the next client waited, in milliseconds */
async function killed(host) {
	const pid = await host.pidOf("fcgi");

	// it is gone when its connections are, too
	await host.run(`kill -9 ${pid}; while [ -e /proc/${pid} ]; do :; done`);
	const begun = performance.now();

	await host.submit([still("a", { delay_ms: 1 })]);
	const took = performance.now() - begun;

	assert.notEqual(await host.pidOf("fcgi"), pid);
	await sleep(200);
	return took;
}

/* Up to three series, for a machine that does something else as well makes
 * everybody wait; of one of them every answer has to be in time. */
test("kill -9 of the API: the next request is served within half a second",
	async (host, say) => {
		let worst;

		for (let series = 0; series < 3; series++) {
			const times = [];

			for (let i = 0; i < 20; i++)
				times.push(Math.round(await killed(host)));
			times.sort((a, b) => a - b);
			[worst] = times.slice(-1);
			say(`20 times: half within ${times[10]} ms, worst ${worst} ms`);
			if (worst < 500)
				break;
		}
		assert.ok(worst < 500);
	}, 180);

test("what was accepted meanwhile completes", async (host, say) => {
	const begun = Date.now();
	let left;

	do {
		await sleep(500);
		[{ left }] = await host.query("SELECT count(*) AS left " +
			"FROM executions WHERE status = 'running'");
	} while (left > 0 && Date.now() - begun < 150_000);
	assert.equal(left, 0);
	say(`${host.submitted.length} executions`);
	await host.check(...host.submitted);
}, 180);
