// SPDX-License-Identifier: MIT
// Programs that cannot start, and programs that hang.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { request } from "../system/http.mjs";
import { still, veo } from "../system/jobs.mjs";
import { until } from "../system/stack.mjs";
import { test } from "./test.mjs";

const sockets = ["rushes-fcgi.socket", "rushes-wake.socket"];

async function assertListening(host) {
	for (const socket of [...sockets, "rushes-poller.timer"]) {
		const { ActiveState } = await host.machine.show(socket);

		assert.equal(ActiveState, "active", socket);
	}
}

async function restarts(host, program) {
	return Number((await host.machine.show(`rushes-${program}`)).NRestarts);
}

test("start limits never take a socket down", async (host, say) => {
	const before = {
		fcgi: await restarts(host, "fcgi"),
		poller: await restarts(host, "poller"),
	};

	// neither program starts with this, and it is tried again and again
	host.configure({ LOG_LEVEL: "nonsense" });
	await host.run("systemctl restart --no-block rushes-fcgi " +
		"rushes-poller");
	await sleep(1000);
	// who comes meanwhile waits
	const waiting = host.submit([veo("a")]);

	for (const [program, times] of [["fcgi", 40], ["poller", 7]]) {
		await until(async () => await restarts(host, program) >=
			before[program] + times, `${times} failures of ${program}`,
		60);
		say(`${program} was started ` +
			`${await restarts(host, program) - before[program]} times`);
	}
	await assertListening(host);
	host.configure({ LOG_LEVEL: "info" });
	const { ids } = await waiting;

	await host.ended(ids.a, "completed", 30);
	await assertListening(host);
	for (const program of ["fcgi", "poller"]) {
		const [entry] = (await host.machine.journal(`-u rushes-${program} ` +
			"MESSAGE_ID=503863bb76994c6688e2ee20011985a8")).slice(-1);

		assert.match(entry.MESSAGE, /LOG_LEVEL/);
	}
}, 120);

/* The server's processes of a program's connections. */
async function backends(host, user) {
	return (await host.query("SELECT pid, application_name AS name " +
		`FROM pg_stat_activity WHERE usename = '${user}'`));
}

/* What systemd itself says of a program, since a time in milliseconds. */
function told(host, program, since, words) {
	return host.machine.journal(`_PID=1 -g '${words}' ` +
		`UNIT=rushes-${program}.service --since=@${since / 1000}`);
}

/* @returns how long it took, in whole seconds */
async function watched(host, program, since) {
	await until(async () => (await told(host, program, since,
		"Failed with result .watchdog")).length > 0,
	`the watchdog to end rushes-${program}`, 130);
	return Math.round((Date.now() - since) / 1000);
}

/* Enough to keep all threads busy. */
function ask(host, job) {
	const headers = { authorization: `Bearer ${host.key}` };

	return Promise.all(Array.from({ length: 12 }, (_, i) => i % 3 ?
		request(`${host.base}/api/jobs/${job}`,
			{ headers, timeout_ms: 180_000 }) :
		request(`${host.base}/api/execute`, {
			headers: { ...headers, "idempotency-key": `hung-${i}` },
			body: { jobs: [{ ...still("b"), input: { prompt: "b" } }] },
			timeout_ms: 180_000,
		})));
}

/*
 * Both hang as a bug or a database that never answers makes them hang: in the
 * middle of a statement. The API's main thread lives on, so it is its own
 * judgment of its workers that is tested. Both at once, for it takes time.
 */
test("a hung worker and a hung poller are caught by the watchdog",
	async (host, say) => {
		const threads = Number(/with (\d+) threads/.exec(
			(await host.machine.journal("-u rushes-fcgi --grep=threads"))
				.at(-1).MESSAGE)[1]);

		// all threads have a connection of their own by now
		await until(async () => {
			await Promise.all(Array.from({ length: 64 },
				() => host.get("/api/executions?limit=200")));
			return (await backends(host, "rushes_fcgi")).filter(
				({ name }) => name === "rushes-fcgi").length === threads;
		}, "connections of all threads");
		const { ids } = await host.submit([
			still("a", { start: { latency_ms: 1500 } })]);

		await host.jobIn(ids.a, "starting");
		const held = [...await backends(host, "rushes_fcgi"),
			...await backends(host, "rushes_poller")]
			.map(({ pid }) => pid).join(" ");
		const begun = Date.now();

		await host.run(`kill -STOP ${held}`);
		const answers = ask(host, ids.a);

		try {
			const [fcgi, poller] = await Promise.all([
				watched(host, "fcgi", begun),
				watched(host, "poller", begun)]);

			say(`rushes-fcgi was ended after ${fcgi} s ` +
				`(WatchdogSec=30s), rushes-poller after ${poller} s (60s)`);
		} finally {
			await host.run(`kill -CONT ${held}`);
		}
		// and by the watchdog's own signal, without waiting for SIGKILL
		for (const program of ["fcgi", "poller"])
			assert.deepEqual(await told(host, program, begun, "SIGKILL"),
				[]);
		// clients were told, and whoever asks again is served
		for (const { status } of await answers)
			assert.ok([202, 200, 503].includes(status), `${status}`);
		for (const { status, json, text } of await ask(host, ids.a)) {
			assert.ok([200, 202].includes(status), text);
			if (status === 202)
				host.submitted.push(json.id);
		}
		// and work goes on where it stood
		await host.ended(ids.a, "completed", 60);
		await host.start(ids.a);
	}, 200);
