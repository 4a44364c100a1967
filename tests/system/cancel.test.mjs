// SPDX-License-Identifier: MIT
// Cancelling and retrying: in each state, and of whole executions.

import assert from "node:assert/strict";

import { clip, makers, still, veo } from "./jobs.mjs";
import { until } from "./stack.mjs";
import { noBreaker, suite } from "./suite.mjs";

const settings = {
	PROVIDER_CONCURRENCY: "vertex=1",
	CANCEL_CONFIRM_S: "3",
	// so long after a cancel that was not answered comes the next
	LEASE_S: "5",
	...noBreaker,
};

async function cancel(stack, id, statuses = [200, 202]) {
	const answer = await stack.api("POST", `/api/jobs/${id}/cancel`);

	assert.ok(statuses.includes(answer.status), answer.text);
	return answer.json;
}

async function retry(stack, id, statuses = [200, 202]) {
	const answer = await stack.api("POST", `/api/jobs/${id}/retry`);

	assert.ok(statuses.includes(answer.status), answer.text);
	return answer.json;
}

suite("cancel", { settings, concurrency: 6 }, (test) => {
	test("waiting: at once, and its dependents end", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", { outcome: "never" }),
			clip("b", null, { depends_on: ["a"] }),
			clip("c", null, { depends_on: ["b"] }),
		]);

		await cancel(stack, ids.b, [200]);
		assert.equal((await stack.job(ids.b)).status, "cancelled");
		await stack.ended(ids.c, "failed");
		await stack.jobIn(ids.a, "processing");
		await cancel(stack, ids.a);
		await stack.executionEnded(id, "failed");
		assert.deepEqual(await stack.startsOf(ids.b), []);
		await stack.check(id);
	});

	test("queued: at once, and nothing is paid", async (stack) => {
		// one slot: the second stays queued
		const first = await stack.submit([
			veo("a", { outcome: "never" }, { deadline_s: 600 }),
		]);

		await stack.jobIn(first.ids.a, "processing");
		const { id, ids } = await stack.submit([veo("a")]);
		const before = (await stack.starts({ provider: "vertex" })).length;

		assert.equal((await stack.job(ids.a)).status, "queued");
		await cancel(stack, ids.a, [200]);
		assert.equal((await stack.job(ids.a)).status, "cancelled");
		await stack.executionEnded(id, "cancelled");
		assert.equal((await stack.starts({ provider: "vertex" })).length,
			before);
		// Veo cannot be cancelled: ours gives up after the wait
		await cancel(stack, first.ids.a, [202]);
		const job = await stack.ended(first.ids.a, "cancelled", 30);

		assert.notEqual(job.error.billed, "no");
		await stack.check(id, first.id);
	});

	for (const name of ["replicate", "fal"]) {
		const make = makers[name];

		test(`${name} starting: as soon as the start is answered`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", {
						start: { latency_ms: 2500 },
						// Replicate reports before it answers
						webhook: { drop: true },
						outcome: "never",
					}),
				]);

				await stack.jobIn(ids.a, "starting");
				const answer = await cancel(stack, ids.a, [202]);

				assert.equal(answer.cancelling ?? true, true);
				const job = await stack.job(ids.a);

				assert.ok(job.cancelling, JSON.stringify(job));
				await stack.ended(ids.a, "cancelled", 30);
				assert.ok((await stack.start(ids.a)).cancels >= 1);
				await stack.check(id);
			});

		test(`${name} start_unknown: found, then cancelled`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", {
						start: { drop: "after", times: 1 },
						webhook: { drop: true },
						outcome: "never",
					}),
				]);

				await stack.jobIn(ids.a, "start_unknown");
				await cancel(stack, ids.a, [202]);
				const job = await stack.ended(ids.a, "cancelled", 60);

				assert.equal(job.error.billed, "unknown");
				await stack.check(id);
			}, 120);

		test(`${name} processing: the provider confirms`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", { outcome: "never" }),
				]);

				await stack.jobIn(ids.a, "processing");
				await cancel(stack, ids.a, [202]);
				await stack.ended(ids.a, "cancelled", 30);
				assert.ok((await stack.start(ids.a)).cancels >= 1);
				const why = (await stack.events(ids.a)).at(-1);

				assert.equal(why.event, "provider_cancelled");
				await stack.check(id);
			});

		test(`${name} processing: the provider takes no notice`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", { outcome: "never", ignore_cancel: true }),
				]);

				await stack.jobIn(ids.a, "processing");
				await cancel(stack, ids.a, [202]);
				const job = await stack.ended(ids.a, "cancelled", 30);
				const why = (await stack.events(ids.a)).at(-1);

				assert.equal(why.event, "cancel_expired");
				assert.equal(job.error.billed, "unknown");
				await stack.check(id);
			});

		test(`${name} processing: asked until the provider answers`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", {
						outcome: "never",
						// longer than is waited for
						cancel: { status: 500, times: 4 },
					}),
				]);

				await stack.jobIn(ids.a, "processing");
				await cancel(stack, ids.a, [202]);
				await stack.ended(ids.a, "cancelled", 30);
				// it would go on rendering, and be paid for
				await until(async () =>
					(await stack.start(ids.a)).ended,
				"its end at the provider");
				await stack.check(id);
			});

		test(`${name} processing: the result is faster, and wins`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", {
						delay_ms: 2000,
						ignore_cancel: true,
					}),
				]);

				await stack.jobIn(ids.a, "processing");
				await cancel(stack, ids.a, [202]);
				await stack.ended(ids.a, "completed", 30);
				await stack.check(id);
			});
	}

	test("starting: a start that is put off is not sent again",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", {
					start: {
						status: 429,
						times: 1,
						latency_ms: 2500,
						retry_after_s: 60,
					},
				}),
			]);

			await stack.jobIn(ids.a, "starting");
			await cancel(stack, ids.a, [202]);
			const job = await stack.ended(ids.a, "cancelled", 30);
			const events = await stack.events(ids.a);

			assert.equal(job.attempt, 1);
			assert.deepEqual(await stack.startsOf(ids.a), []);
			assert.deepEqual(events.slice(-2).map((e) => e.event),
				["throttled", "cancel"]);
			await stack.check(id);
		});

	test("starting: nor is it while its provider is full", async (stack) => {
		// one slot, which the second takes when the first is put off
		const first = await stack.submit([
			veo("a", {
				start: {
					status: 429,
					times: 1,
					latency_ms: 2500,
					retry_after_s: 60,
				},
			}),
		]);

		await stack.jobIn(first.ids.a, "starting");
		const second = await stack.submit([
			veo("a", { outcome: "never" }, { deadline_s: 600 }),
		]);

		await cancel(stack, first.ids.a, [202]);
		await stack.jobIn(second.ids.a, "processing", 30);
		await stack.ended(first.ids.a, "cancelled", 30);
		assert.deepEqual(await stack.startsOf(first.ids.a), []);
		await cancel(stack, second.ids.a, [202]);
		await stack.ended(second.ids.a, "cancelled", 30);
		await stack.check(first.id, second.id);
	});

	test("what has ended is not cancelled", async (stack) => {
		const { id, ids } = await stack.submit([still("a")]);

		await stack.ended(ids.a, "completed");
		const answer = await cancel(stack, ids.a, [200, 409]);

		assert.ok(answer);
		assert.equal((await stack.job(ids.a)).status, "completed");
		await stack.check(id);
	});

	test("an execution: everything in it, in each state", async (stack) => {
		const { id, ids } = await stack.submit([
			still("done"),
			still("renders", { outcome: "never" }),
			still("starts", {
				start: { latency_ms: 2500 },
				outcome: "never",
			}),
			clip("stores", { media: { bytes: 4 << 20, rate: 4096 } }),
			clip("waits", null, { depends_on: ["renders"] }),
			clip("waits_too", null, { depends_on: ["waits", "done"] }),
		]);

		await stack.ended(ids.done, "completed");
		await stack.jobIn(ids.renders, "processing");
		await stack.jobIn(ids.stores, "storing");
		const answer = await stack.api("POST",
			`/api/executions/${id}/cancel`);

		assert.ok([200, 202].includes(answer.status), answer.text);
		await stack.executionEnded(id, "cancelled", 30);
		assert.equal((await stack.job(ids.done)).status, "completed");
		for (const name of ["renders", "starts", "stores", "waits",
			"waits_too"])
			assert.equal((await stack.job(ids[name])).status,
				"cancelled", name);
		for (const name of ["waits", "waits_too"])
			assert.deepEqual(await stack.startsOf(ids[name]), []);
		// twice is once
		assert.ok([200, 202].includes((await stack.api("POST",
			`/api/executions/${id}/cancel`)).status));
		await stack.check(id);
	});
});

suite("retry", {
	settings: { ...noBreaker, CANCEL_CONFIRM_S: "3" },
	concurrency: 6,
}, (test) => {
	/* Let a job that waits for our word fail, or succeed. */
	const end = (stack, job, outcome) =>
		stack.steer(job, { end: outcome });

	test("finished work is used again, dependents revive",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a"),
				clip("b", { outcome: "never" }, {},
					{ image_url: "${a.output.url}" }),
				still("c", null, { depends_on: ["b"] }),
				still("d", null, {
					depends_on: ["c"],
					on_dependency_failure: "skip",
				}),
				still("e", null, { depends_on: ["a"] }),
				still("f", null, {
					depends_on: ["b"],
					on_dependency_failure: "run",
				}),
			]);

			await stack.jobIn(ids.b, "processing");
			await end(stack, ids.b, "refuse");
			await stack.executionEnded(id, "failed");
			assert.equal((await stack.job(ids.d)).status, "skipped");
			const url = (await stack.job(ids.a)).output.url;

			await retry(stack, ids.b);
			assert.equal((await stack.execution(id)).status, "running");
			await stack.jobIn(ids.b, "processing");
			await end(stack, ids.b, "succeed");
			await stack.executionEnded(id, "completed");
			assert.equal((await stack.job(ids.a)).output.url, url);
			for (const [name, paid] of Object.entries(
				{ a: 1, b: 2, c: 1, d: 1, e: 1, f: 1 }))
				assert.equal((await stack.startsOf(ids[name])).length,
					paid, name);
			await stack.check(id);
		});

	test("a child of two failures revives only with both",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", { outcome: "never" }),
				still("b", { outcome: "never" }),
				still("c", null, { depends_on: ["a", "b"] }),
			]);

			for (const name of ["a", "b"]) {
				await stack.jobIn(ids[name], "processing");
				await end(stack, ids[name], "fail");
				await stack.ended(ids[name], "failed");
			}
			await stack.executionEnded(id, "failed");
			await retry(stack, ids.a);
			await stack.jobIn(ids.a, "processing");
			assert.equal((await stack.job(ids.c)).status, "failed");
			await end(stack, ids.a, "succeed");
			await stack.ended(ids.a, "completed");
			await retry(stack, ids.b);
			assert.equal((await stack.job(ids.c)).status, "waiting");
			await stack.jobIn(ids.b, "processing");
			await end(stack, ids.b, "succeed");
			await stack.executionEnded(id, "completed");
			await stack.check(id);
		});

	test("what was cancelled may be run again", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a", { outcome: "never" }),
			still("b", null, { depends_on: ["a"] }),
		]);

		await stack.jobIn(ids.a, "processing");
		await stack.api("POST", `/api/executions/${id}/cancel`);
		await stack.executionEnded(id, "cancelled", 30);
		await retry(stack, ids.a);
		const job = await stack.jobIn(ids.a, "processing");

		assert.equal(job.cancelling ?? false, false);
		await end(stack, ids.a, "succeed");
		await stack.ended(ids.a, "completed");
		await stack.check().catch(() => {});
		// the other was cancelled for itself, and is asked for by itself
		if ((await stack.job(ids.b)).status === "cancelled")
			await retry(stack, ids.b);
		await stack.executionEnded(id, "completed");
		await stack.check(id);
	});

	test("twenty impatient clicks are one retry", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a", { outcome: "never" }),
		]);

		await stack.jobIn(ids.a, "processing");
		await end(stack, ids.a, "fail");
		await stack.ended(ids.a, "failed");
		const answers = await Promise.all(Array.from({ length: 20 },
			() => stack.api("POST", `/api/jobs/${ids.a}/retry`)));

		for (const { status, text } of answers)
			assert.ok([200, 202, 409].includes(status), text);
		assert.ok(answers.some(({ status }) => status < 300));
		await stack.jobIn(ids.a, "processing");
		await end(stack, ids.a, "succeed");
		await stack.executionEnded(id, "completed");
		assert.equal((await stack.startsOf(ids.a)).length, 2);
		await stack.check(id);
	});

	test("what completed or still runs is not retried", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a"),
			still("b", { outcome: "never" }),
		]);

		await stack.ended(ids.a, "completed");
		await stack.jobIn(ids.b, "processing");
		for (const job of [ids.a, ids.b]) {
			const answer = await stack.api("POST",
				`/api/jobs/${job}/retry`);

			assert.equal(answer.status, 409, answer.text);
		}
		await end(stack, ids.b, "succeed");
		await stack.executionEnded(id, "completed");
		await stack.check(id);
	});

	test("a webhook of the first attempt does not end the second",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", { outcome: "never", webhook: { drop: true } }),
			]);

			await stack.jobIn(ids.a, "processing");
			const first = await stack.start(ids.a);

			await end(stack, ids.a, "fail");
			await stack.ended(ids.a, "failed");
			await retry(stack, ids.a);
			await stack.jobIn(ids.a, "processing");
			await stack.steer(first.id, { deliver: {} });
			await until(async () => (await stack.starts({ id: first.id }))[0]
				.deliveries.some((d) => d.answer > 0),
			"the late delivery");
			const [{ deliveries }] = await stack.starts({ id: first.id });

			assert.equal(deliveries.at(-1).answer, 200);
			assert.equal((await stack.job(ids.a)).status, "processing");
			await end(stack, ids.a, "succeed");
			const job = await stack.ended(ids.a, "completed");

			assert.equal(job.attempt, 2);
			await stack.check(id);
		});
});
