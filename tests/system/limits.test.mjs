// SPDX-License-Identifier: MIT
// What a provider is spared: more jobs than it takes at once, more starts
// than its rate, and questions while it is down.

import assert from "node:assert/strict";

import { clip, makers, still, veo } from "./jobs.mjs";
import { until } from "./stack.mjs";
import { noBreaker, suite } from "./suite.mjs";

const limits = {
	PROVIDER_CONCURRENCY: "replicate=3 fal=2 vertex=2",
	...noBreaker,
};

suite("slots", { settings: limits }, (test) => {
	test("no provider renders more than it may", async (stack) => {
		const { id } = await stack.submit([
			...Array.from({ length: 15 },
				(_, i) => still(`r${i}`, { delay_ms: 300 })),
			...Array.from({ length: 8 },
				(_, i) => clip(`f${i}`, { delay_ms: 300 })),
			...Array.from({ length: 6 },
				(_, i) => veo(`v${i}`, { delay_ms: 300 })),
		]);

		await stack.executionEnded(id, "completed", 60);
		const totals = await stack.totals();

		assert.ok(totals.replicate.running_most <= 3,
			`${totals.replicate.running_most} of 3`);
		assert.ok(totals.fal.running_most <= 2,
			`${totals.fal.running_most} of 2`);
		assert.ok(totals.vertex.running_most <= 2,
			`${totals.vertex.running_most} of 2`);
		// and they are used
		assert.equal(totals.replicate.running_most, 3);
		await stack.check(id);
	}, 120);

	test("a slot comes back whatever ends the job", async (stack) => {
		const names = ["ok", "bad", "refused", "lost", "faltering",
			"cancelled", "throttled"];
		const { id, ids } = await stack.submit([
			still("ok"),
			still("bad", { outcome: "fail" }),
			still("refused", { start: { status: 422 } }),
			still("lost", { start: { drop: "after", times: 1 } }),
			still("faltering", {
				outcome: "fail",
				error: "E6716: timeout starting",
			}, { max_attempts: 2 }),
			still("cancelled", { outcome: "never" }),
			still("throttled", { start: { status: 429, times: 1 } }),
		]);

		await stack.jobIn(ids.cancelled, "processing", 40);
		await stack.api("POST", `/api/jobs/${ids.cancelled}/cancel`);
		await stack.executionEnded(id, "failed", 60);
		assert.equal(Object.keys(ids).length, names.length);
		const [slots] = await stack.query(
			"SELECT in_use FROM providers WHERE name = 'replicate'");

		assert.equal(slots.in_use, 0);
		await stack.check(id);
	}, 120);

	test("a job that nobody knows about keeps its slot", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", {
				start: { drop: "after", times: 1 },
				webhook: { drop: true },
				outcome: "never",
			}),
			clip("b", { outcome: "never" }),
		]);

		await stack.jobIn(ids.a, "start_unknown");
		await stack.jobIn(ids.b, "processing");
		const third = await stack.submit([clip("c")]);
		const [slots] = await stack.query(
			"SELECT in_use FROM providers WHERE name = 'fal'");

		assert.equal(slots.in_use, 2);
		assert.equal((await stack.job(third.ids.c)).status, "queued");
		await stack.api("POST", `/api/jobs/${ids.b}/cancel`);
		await stack.ended(third.ids.c, "completed");
		await stack.api("POST", `/api/jobs/${ids.a}/cancel`);
		await stack.executionEnded(id, "cancelled", 40);
		await stack.check(id);
	}, 120);
});

suite("rates", {
	settings: { PROVIDER_RATE: "replicate=4/4" },
}, (test) => {
	test("starts keep to the rate", async (stack) => {
		const { id } = await stack.submit(Array.from({ length: 12 },
			(_, i) => still(`r${i}`)));

		await stack.executionEnded(id, "completed", 60);
		const times = (await stack.starts({ provider: "replicate" }))
			.map((start) => Date.parse(start.time));

		// a bucket of 4 that fills in 4 s: 8 at most in any 4 s
		for (let i = 8; i < times.length; i++)
			assert.ok(times[i] - times[i - 8] >= 3900,
				`${times[i] - times[i - 8]} ms`);
		assert.ok(times[11] - times[0] >= 7500,
			`12 starts in ${times[11] - times[0]} ms`);
		await stack.check(id);
	}, 120);
});

suite("breaker", {
	settings: {
		BREAKER_FAILURES: "3",
		BREAKER_WINDOW_S: "30",
		BREAKER_OPEN_S: "3",
		ANSWER_TIMEOUT_MS: "2000",
	},
}, (test) => {
	test("it opens, spares the provider, probes, and closes",
		async (stack) => {
			const first = await stack.submit(Array.from({ length: 4 },
				(_, i) => clip(`a${i}`, {
					outcome: "never",
					webhook: { drop: true },
				})));

			for (const job of first.jobs)
				await stack.jobIn(job.id, "processing");
			await stack.control({ down: { fal: true } });
			const opened = await until(async () => {
				const [gate] = await stack.query(`SELECT open_until
					FROM provider_gates WHERE name = 'fal'`);

				return gate.open_until;
			}, "the breaker to open");

			assert.ok(opened);
			// another provider goes on meanwhile
			const other = await stack.submit([still("b")]);

			await stack.executionEnded(other.id, "completed");
			// a job of its own waits, and does not fail
			const waiting = await stack.submit([clip("c")]);

			assert.equal((await stack.job(waiting.ids.c)).status,
				"queued");
			await stack.control({ down: { fal: false } });
			await stack.executionEnded(waiting.id, "completed", 40);
			for (const job of first.jobs)
				await stack.steer(job.id, { end: "succeed" });
			await stack.executionEnded(first.id, "completed", 40);
			const [gate] = await stack.query(`SELECT open_until, failures
				FROM provider_gates WHERE name = 'fal'`);

			assert.equal(gate.open_until, null);
			assert.match(stack.log("poller"), /fal/);
			await stack.check(first.id, other.id, waiting.id);
		}, 150);
});

suite("deadlines", {
	settings: { PROVIDER_CONCURRENCY: "fal=1", CANCEL_CONFIRM_S: "3" },
	concurrency: 4,
}, (test) => {
	for (const name of ["replicate", "vertex"]) {
		test(`${name}: passed while it renders`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", { outcome: "never" },
					{ deadline_s: 3 }),
				still("b", null, { depends_on: ["a"] }),
			]);
			const job = await stack.ended(ids.a, "failed", 30);

			assert.equal(job.error.code, "deadline_exceeded");
			assert.notEqual(job.error.billed, "no");
			await stack.executionEnded(id, "failed");
			// nobody waits for it any more: it is cancelled there
			if (name === "replicate")
				await until(async () =>
					(await stack.start(ids.a)).cancels > 0,
				"the cancel");
			await stack.check(id);
		});
	}

	test("passed while there is no slot for it", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", { outcome: "never" }),
		]);

		await stack.jobIn(ids.a, "processing");
		const late = await stack.submit([
			clip("b", null, { deadline_s: 2 }),
		]);
		const job = await stack.ended(late.ids.b, "failed", 30);

		assert.equal(job.error.code, "deadline_exceeded");
		assert.equal(job.error.billed, "no");
		assert.deepEqual(await stack.startsOf(late.ids.b), []);
		await stack.api("POST", `/api/jobs/${ids.a}/cancel`);
		await stack.executionEnded(id, "cancelled");
		await stack.check(id, late.id);
	});

	test("passed before its start was found", async (stack) => {
		// a list names no job, so that this cannot be said with one
		await stack.control({ replicate: { list: { hide: true } } });
		const { id, ids } = await stack.submit([
			still("a", {
				start: { drop: "after", times: 1 },
				webhook: { drop: true },
				outcome: "never",
			}, { deadline_s: 3 }),
		]);
		const job = await stack.ended(ids.a, "failed", 40);

		assert.equal(job.error.code, "may_have_been_billed");
		assert.equal(job.error.billed, "unknown");
		await stack.check(id);
	});
});
