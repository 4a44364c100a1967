// SPDX-License-Identifier: MIT
// What a provider refuses or fails at, and looks at it that fail: each error
// has its code, and is paid for as often as it says.

import assert from "node:assert/strict";

import { request } from "./http.mjs";
import { clip, makers, still, veo } from "./jobs.mjs";
import { until } from "./stack.mjs";
import { noBreaker, suite } from "./suite.mjs";

const refusals = [
	["replicate", { status: 401 }, "provider_auth"],
	["replicate", { status: 402 }, "provider_quota"],
	["replicate", { status: 404 }, "model_not_found"],
	["replicate", { status: 422 }, "invalid_input"],
	["fal", { status: 401 }, "provider_auth"],
	["fal", { status: 403, error: "exhausted_balance" }, "provider_quota"],
	["fal", { status: 422, error: "value_error" }, "invalid_input"],
	["vertex", { status: 400 }, "invalid_input"],
	["vertex", { status: 403 }, "provider_auth"],
	["vertex", { status: 404 }, "model_not_found"],
];

const failures = [
	// provider, words of the simulator, code, paid attempts
	["replicate", { outcome: "fail" }, "provider_failed", 1],
	["replicate", { outcome: "fail", error: "E1001: out of memory" },
		"out_of_memory", 1],
	["replicate", { outcome: "fail", error: "E6716: timeout starting" },
		"provider_faltered", 3],
	["replicate", { outcome: "nothing" }, "no_media", 1],
	["replicate", { outcome: "refuse" }, "content_refused", 1],
	["fal", { outcome: "fail" }, "provider_faltered", 3],
	["fal", { outcome: "fail", error: "no_media_generated" }, "no_media", 1],
	["fal", { outcome: "fail", error: "image_too_large" }, "invalid_input",
		1],
	["fal", { outcome: "fail", error: "runner_disconnected" },
		"provider_unavailable", 1],
	["fal", { outcome: "refuse" }, "content_refused", 1],
	["vertex", { outcome: "fail", error: 3 }, "invalid_input", 1],
	["vertex", { outcome: "fail", error: 13 }, "provider_faltered", 3],
	["vertex", { outcome: "refuse" }, "content_refused", 1],
];

suite("failures", { settings: noBreaker, concurrency: 8 }, (test) => {
	for (const [name, start, code] of refusals) {
		test(`${name}: ${start.error ?? start.status} to the start`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					makers[name]("a", { start }),
				]);
				const job = await stack.ended(ids.a, "failed");

				assert.equal(job.error.code, code);
				assert.equal(job.error.billed, "no");
				assert.equal(job.attempt, 1);
				assert.ok(job.error.message);
				assert.deepEqual(await stack.startsOf(ids.a), []);
				await stack.check(id);
			});
	}

	for (const [name, sim, code, paid] of failures) {
		const what = `${sim.outcome} ${sim.error ?? ""}`.trim();

		test(`${name}: ${what}`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", sim, { max_attempts: 3 }),
			]);
			const job = await stack.ended(ids.a, "failed", 60);

			assert.equal(job.error.code, code, job.error.message);
			assert.equal(job.attempt, paid);
			assert.equal((await stack.startsOf(ids.a)).length, paid);
			await stack.check(id);
		}, 120);
	}

	for (const name of ["replicate", "fal"]) {
		test(`${name}: falters once and then succeeds`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", { outcome: "never" }),
			]);

			await stack.jobIn(ids.a, "processing");
			await stack.steer(ids.a, {
				words: {
					error: name === "fal" ? "internal_error" :
						"E8765: health check failed",
				},
				end: "fail",
			});
			await until(async () =>
				(await stack.startsOf(ids.a)).length === 2,
			"a second start");
			await stack.jobIn(ids.a, "processing");
			await stack.steer(ids.a, { end: "succeed" });
			const job = await stack.ended(ids.a, "completed");

			assert.equal(job.attempt, 2);
			assert.equal(job.error ?? null, null);
			await stack.check(id);
		});

		test(`${name}: statuses that no manual has mean it runs`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					makers[name]("a", {
						webhook: { drop: true },
						statuses: ["dreaming", "", "DREAMING"],
						delay_ms: 300,
					}),
				]);

				await stack.ended(ids.a, "completed", 40);
				await stack.start(ids.a);
				assert.match(stack.log("poller"), /dreaming/);
				await stack.check(id);
			});

		test(`${name}: what ended does not run again`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", { regress: 3, delay_ms: 600 }),
			]);

			await stack.ended(ids.a, "completed", 40);
			await stack.start(ids.a);
			await stack.check(id);
		});
	}

	for (const name of Object.keys(makers)) {
		test(`${name}: looks that fail are repeated`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", {
					webhook: { drop: true },
					poll: { status: 503, times: 2 },
				}),
				makers[name]("b", {
					webhook: { drop: true },
					poll: { drop: "after", times: 2 },
				}),
				makers[name]("c", {
					webhook: { drop: true },
					poll: { answer: "garbage", times: 2 },
				}),
				makers[name]("d", {
					webhook: { drop: true },
					poll: { status: 429, times: 1, retry_after_s: 2 },
				}),
			]);

			await stack.executionEnded(id, "completed", 60);
			for (const name_ of ["a", "b", "c", "d"])
				assert.equal((await stack.job(ids[name_])).attempt, 1);
			await stack.check(id);
		}, 120);
	}

	test("fal: a result that fails to come is fetched again",
		async (stack) => {
			const { id } = await stack.submit([
				clip("a", {
					webhook: { drop: true },
					result: { drop: "after", times: 2 },
				}),
			]);

			await stack.executionEnded(id, "completed", 40);
			await stack.check(id);
		});

	test("a job that its provider forgot", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a", { outcome: "vanish", webhook: { drop: true } },
				{ deadline_s: 15 }),
		]);
		const job = await stack.ended(ids.a, "failed", 40);

		assert.notEqual(job.error.billed, "no");
		await stack.check(id);
	});
});

// Alone: tokens are counted, and then nobody is let in at Vertex any more.
suite("no access token", {
	settings: { ...noBreaker, STORE_RETRIES: "1" },
}, (test) => {
	test("vertex: a right that is missing buys no other token",
		async (stack) => {
			const { id } = await stack.submit([
				veo("a", { poll: { status: 403, times: 3 } }),
			]);

			await stack.executionEnded(id, "completed");
			const { json } = await request(
				`${stack.simulator}/_ledger?totals=1`);

			assert.equal(json.tokens, 1);
			await stack.check(id);
		});

	test("vertex: deadlines and cancellations hold all the same",
		async (stack) => {
			const soon = { deadline_s: 8 };
			const { id, ids } = await stack.submit([
				veo("renders", { delay_ms: 600_000 }, soon),
				veo("lost", { start: { drop: "after" } }, soon),
				veo("stores", { media: { status: 503 } }, soon),
				veo("queued", { start: { status: 429 } }, soon),
				veo("cancelled", { delay_ms: 600_000 }),
			]);

			await stack.jobIn(ids.renders, "processing");
			await stack.jobIn(ids.cancelled, "processing");
			await stack.jobIn(ids.lost, "start_unknown");
			await stack.jobIn(ids.stores, "storing");
			await stack.control({
				vertex: { token: { status: 400 } },
				expire_tokens: true,
			});
			await stack.api("POST",
				`/api/jobs/${ids.cancelled}/cancel`);

			const code = async (job) =>
				(await stack.ended(job, "failed", 60)).error.code;

			assert.equal(await code(ids.renders),
				"deadline_exceeded");
			assert.equal(await code(ids.lost),
				"may_have_been_billed");
			assert.equal(await code(ids.stores),
				"media_unavailable");
			assert.equal(await code(ids.queued),
				"deadline_exceeded");
			await stack.ended(ids.cancelled, "cancelled");
			await stack.check(id);
		});
});
