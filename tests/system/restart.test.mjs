// SPDX-License-Identifier: MIT
// Programs and the database go away in the middle of things, politely and
// not. What was taken is finished, and nothing is paid for twice.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { request } from "./http.mjs";
import { clip, still, veo } from "./jobs.mjs";
import { until, webhookUrl } from "./stack.mjs";
import { noBreaker, suite } from "./suite.mjs";

const settings = { LEASE_S: "5", ...noBreaker };

/* Some work of every kind, long enough to be met in the middle. */
async function work(stack, count = 3) {
	const executions = [];

	for (let i = 0; i < count; i++) {
		executions.push(await stack.submit([
			still("a", { delay_ms: 1500, start: { latency_ms: 300 } }),
			clip("b", { delay_ms: 800, media: { bytes: 200_000, rate: 200_000 } },
				{ depends_on: ["a"] }),
			veo("c", { delay_ms: 1500 }),
			still("d", null, { depends_on: ["b", "c"] }),
		]));
	}
	return executions;
}

async function finished(stack, executions) {
	for (const { id } of executions)
		await stack.executionEnded(id, "completed", 90);
	await stack.check(...executions.map(({ id }) => id));
}

suite("restarts", { settings }, (test) => {
	for (const name of ["fcgi", "poller"]) {
		for (const signal of ["SIGTERM", "SIGKILL"]) {
			test(`${name} by ${signal}, again and again`,
				async (stack) => {
					const executions = await work(stack);

					for (let i = 0; i < 5; i++) {
						await sleep(400);
						await until(() => stack.pid(name),
							`a ${name}`);
						await stack.replace(name, signal);
					}
					await finished(stack, executions);
				}, 150);
		}

		test(`${name} restarted as systemctl would`, async (stack) => {
			const executions = await work(stack);

			for (let i = 0; i < 3; i++) {
				await sleep(400);
				await stack.restart(name);
			}
			await finished(stack, executions);
		}, 150);
	}

	test("fcgi restarted under load: every client has its answer",
		async (stack) => {
			const { ids } = await stack.submit([still("a")]);

			await stack.ended(ids.a, "completed");
			let busy = true;
			const answers = [];
			const client = async (n) => {
				for (let i = 0; busy; i++)
					answers.push(n % 2 ?
						await stack.api("GET", `/api/jobs/${ids.a}`) :
						await stack.api("POST", "/api/execute", {
							dry_run: true,
							jobs: [still("x")],
						}));
			};
			const clients = Array.from({ length: 8 }, (_, n) => client(n));

			for (let i = 0; i < 5; i++) {
				await sleep(300);
				await stack.restart("fcgi");
			}
			busy = false;
			await Promise.all(clients);
			const bad = answers.filter((a) => a.status >= 300);

			assert.deepEqual(bad.map((a) => [a.status, a.text]), []);
			assert.ok(answers.length > 50);
		}, 120);

	test("a poller that dies with a start on the wire", async (stack) => {
		const { id, ids } = await stack.submit(Array.from({ length: 6 },
			(_, i) => still(`a${i}`, {
				start: { latency_ms: 2000 },
				delay_ms: 500,
			})));

		await stack.jobIn(ids.a0, "starting");
		await sleep(300);
		await stack.replace("poller", "SIGKILL");
		// by webhook where it comes, else by the provider's list
		await stack.executionEnded(id, "completed", 90);
		for (const job of Object.values(ids))
			await stack.start(job);
		await stack.check(id);
	}, 150);

	test("a poller that is asked to stop with starts on the wire",
		async (stack) => {
			const { id, ids } = await stack.submit(Array.from(
				{ length: 6 }, (_, i) => clip(`a${i}`, {
					start: { latency_ms: 1500 },
					delay_ms: 500,
				})));

			await stack.jobIn(ids.a0, "starting");
			await stack.replace("poller", "SIGTERM");
			await stack.executionEnded(id, "completed", 60);
			for (const job of Object.values(ids)) {
				await stack.start(job);
				assert.deepEqual((await stack.events(job)).filter(
					(e) => e.to === "start_unknown"), []);
			}
			await stack.check(id);
		}, 120);

	test("a poller that dies while it stores", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", { media: { bytes: 300_000, rate: 100_000 } }),
		]);

		await stack.jobIn(ids.a, "storing");
		await sleep(1000);
		await stack.replace("poller", "SIGKILL");
		await stack.ended(ids.a, "completed", 60);
		await stack.check(id);
	}, 120);
});

suite("the database goes", { settings }, (test) => {
	for (const mode of ["fast", "immediate"]) {
		test(`PostgreSQL restarted, ${mode}`, async (stack) => {
			const executions = await work(stack);

			await sleep(700);
			await stack.postgres("restart", mode);
			await sleep(700);
			await stack.postgres("restart", mode);
			// what was asked in that moment may have been told to wait;
			// from now on nobody is
			await until(async () => (await request(
				`${stack.base}/readyz`)).status === 200, "readiness");
			await finished(stack, executions);
			for (const { ids } of executions) {
				for (const name of ["a", "b", "d"])
					await stack.start(ids[name]);
			}
		}, 150);
	}

	test("a schema that is newer is served, an older one is not",
		async (stack) => {
			const ready = () => request(`${stack.base}/readyz`);
			const shift = (by) => stack.sql(`UPDATE schema_migrations
				SET version = version + ${by}`);
			const { json: now } = await ready();

			// another host was upgraded first: this one stays in use
			await shift(1000);
			try {
				const { status, json } = await ready();

				assert.equal(status, 200, JSON.stringify(json));
				assert.equal(json.schema_version,
					now.schema_version + 1000);
			} finally {
				await shift(-1000);
			}
			await shift(-1000);
			try {
				const { status, json } = await ready();

				assert.equal(status, 503);
				assert.equal(json.code, "schema_mismatch");
			} finally {
				await shift(1000);
			}
			assert.equal((await ready()).status, 200);
		});

	test("while it is away: 503, and nothing is half done",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", { outcome: "never" }),
			]);

			await stack.jobIn(ids.a, "processing");
			const url = await webhookUrl(stack, ids.a);

			await stack.postgres("stop");
			try {
				await away(stack, ids.a, url);
				// the provider's webhook meets it, and is told to repeat
				await stack.steer(ids.a, {
					words: { webhook: { retry_first_ms: 1000 } },
					end: "succeed",
				});
				await until(async () => (await stack.start(ids.a))
					.deliveries.some((d) => d.answer === 503),
				"a delivery answered 503");
			} finally {
				await stack.postgres("restart");
			}
			await until(async () => (await request(
				`${stack.base}/readyz`)).status === 200, "readiness");
			const job = await stack.ended(ids.a, "completed", 60);

			assert.equal(job.attempt, 1);
			await stack.check(id);
		}, 150);
});

async function away(stack, job, url) {
	await until(async () => (await request(`${stack.base}/readyz`))
		.status === 503, "readyz to say so");
	assert.equal((await request(`${stack.base}/healthz`)).status, 200);
	for (const answer of [
		await stack.api("GET", `/api/jobs/${job}`),
		await stack.api("POST", "/api/execute", { jobs: [still("a")] }),
		await request(url, { body: { id: "x", status: "processing" } }),
	]) {
		// a forged webhook may be told apart without the database
		if (answer.status === 401)
			continue;
		assert.equal(answer.status, 503, answer.text);
		assert.ok(answer.headers["retry-after"], answer.text);
	}
}
