// SPDX-License-Identifier: MIT
// The host goes and comes back, in the middle of work.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { clip, still, veo } from "../system/jobs.mjs";
import { until } from "../system/stack.mjs";
import { test } from "./test.mjs";

/* A client that has to get its pipeline in: it repeats until it is told 202. */
async function insist(host, jobs, delay_ms) {
	const headers = { "idempotency-key": randomUUID() };
	let tries = 0;

	await sleep(delay_ms);
	for (;;) {
		tries++;
		try {
			const { status, json } = await host.api("POST",
				"/api/execute", { jobs }, headers);

			if (status === 202) {
				host.submitted.push(json.id);
				return { id: json.id, tries };
			}
			assert.equal(status, 503);
		} catch (error) {
			if (error.code === "ERR_ASSERTION")
				throw error;
		}
		await sleep(200);
	}
}

function work(count, every_ms, host) {
	return Promise.all(Array.from({ length: count }, (_, i) => insist(host, [
		still("a", { delay_ms: 1200, start: { latency_ms: 200 } }),
		clip("b", { delay_ms: 800, media: { bytes: 100_000 } },
			{ depends_on: ["a"] }),
		veo("c", { delay_ms: 1500 }),
		still("d", {}, { depends_on: ["b", "c"] }),
	], i * every_ms)));
}

/* Executions that have ended, by how they did. */
function ended(host, ids) {
	return host.query("SELECT id, status FROM executions " +
		"WHERE status <> 'running' AND " +
		`id = ANY('{${ids.join(",")}}'::uuid[])`);
}

/*
 * A power cut may take the answer to a start with it, and nothing but the
 * provider's list can tell whether the start arrived. If it did, the list
 * says so, and the job completes. If not, nobody can know, so it is not sent
 * again until the operator says so.
 */
async function retryUnknown(host, executions) {
	const unknown = await host.query("SELECT id, error_code " +
		"FROM execution_jobs WHERE status = 'failed' AND " +
		"error_code <> 'dependency_failed' AND execution_id = " +
		`ANY('{${executions.join(",")}}'::uuid[])`);

	for (const { id, error_code: code } of unknown) {
		assert.equal(code, "may_have_been_billed");
		assert.deepEqual(await host.startsOf(id), []);
		assert.ok([200, 202].includes((await host.api("POST",
			`/api/jobs/${id}/retry`)).status));
	}
	return unknown.length;
}

async function survives(host, say, goes) {
	// webhooks that find nobody are not all sent again: do not wait long
	host.configure({
		REPLICATE_POLL_FIRST_MS: "2000", REPLICATE_POLL_MOST_MS: "4000",
		FAL_POLL_FIRST_MS: "2000", FAL_POLL_MOST_MS: "4000",
		RECONCILE_S: "40",
	});
	const submitting = work(60, 100, host);

	await sleep(3500);
	const [{ running }] = await host.query("SELECT count(*) AS running " +
		"FROM execution_jobs WHERE status IN ('starting', 'processing')");

	assert.ok(running > 10, `${running} jobs at providers`);
	const begun = Date.now();
	const passed = () => `${((Date.now() - begun) / 1000).toFixed(1)} s`;

	await goes();
	await host.ready();
	say(`ready again after ${passed()}; ${running} jobs were at providers`);
	const all = await submitting;
	const ids = all.map(({ id }) => id);

	await until(async () => (await ended(host, ids)).length === ids.length,
		"all executions to end", 120);
	const unknown = await retryUnknown(host, ids);

	for (const id of ids)
		await host.executionEnded(id, "completed", 60);
	say(`${ids.length} executions completed after ${passed()}; ` +
		`${all.filter(({ tries }) => tries > 1).length} were submitted ` +
		"more than once");
	// each job paid for once, each file as it was sent
	await host.check(...ids);
	return unknown;
}

test("a reboot in the middle loses nothing", async (host, say) => {
	assert.equal(await survives(host, say, () => host.machine.reboot()), 0);
}, 200);

test("neither does a power cut", async (host, say) => {
	const unknown = await survives(host, say, async () => {
		await host.machine.cut();
		await host.machine.boot();
	});

	say(`${unknown} starts were cut off on their way, and retried by hand`);
}, 280);
