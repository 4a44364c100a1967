// SPDX-License-Identifier: MIT
// Paid starts whose answer says no, nothing, or nonsense. Whatever happens,
// the provider's own books show at most one start for each attempt.

import assert from "node:assert/strict";

import { clip, makers, still, veo } from "./jobs.mjs";
import { until } from "./stack.mjs";
import { suite } from "./suite.mjs";

const hours = {
	REPLICATE_POLL_FIRST_MS: "3600000",
	REPLICATE_POLL_MOST_MS: "3600000",
	FAL_POLL_FIRST_MS: "3600000",
	FAL_POLL_MOST_MS: "3600000",
};
// What fails here must not close the door for the tests beside it.
const open = { BREAKER_FAILURES: "1000" };

const withUnknown = (events) => events.some((e) => e.to === "start_unknown");

/* A job's timeline with the time of each line. */
function times(events, event) {
	return events.filter((e) => e.event === event)
		.map((e) => Date.parse(e.at));
}

// A first look comes at a random moment, and a list is asked after a while:
// neither has anything to tell, however long a test takes.
const onlyWebhook = { poll: { status: 503 }, list: { hide: true } };

const lost = {
	"the connection closed": { drop: "after", times: 1 },
	"half an answer": { drop: "partial", times: 1 },
	"an answer that is not JSON": { answer: "garbage", times: 1 },
	"an empty answer": { answer: "empty", times: 1 },
	"an answer without the id": { answer: "no_id", times: 1 },
	"an answer of 2 MiB": { answer: "huge", times: 1 },
	"500 to a start that was taken": {
		status: 500,
		accepted: true,
		times: 1,
	},
	"503 to a start that was taken": {
		status: 503,
		accepted: true,
		times: 1,
	},
	"no answer in time": { hang: true, times: 1 },
};

suite("starts lost, webhook tells", {
	settings: { ...hours, ...open, ANSWER_TIMEOUT_MS: "1500" },
	concurrency: 8,
}, (test) => {
	for (const [what, start] of Object.entries(lost)) {
		for (const name of ["replicate", "fal"]) {
			test(`${name}: ${what}`, async (stack) => {
				const { id, ids } = await stack.submit([
					makers[name]("a", {
						start,
						delay_ms: 2500,
						...onlyWebhook,
					}),
				]);
				const job = await stack.ended(ids.a, "completed", 40);

				assert.equal(job.attempt, 1);
				assert.equal(job.completed_via, "webhook");
				await stack.start(ids.a);
				// fal names the job in a header as well, and Replicate
				// reports that it begins before we give up waiting
				if (!(name === "fal" ? start.answer : start.hang))
					assert.ok(withUnknown(
						await stack.events(ids.a)));
				await stack.check(id);
			});
		}
	}
});

suite("starts lost, the list tells", {
	settings: { ...open, RECONCILE_S: "120" },
	concurrency: 8,
}, (test) => {
	for (const name of ["replicate", "fal", "vertex"]) {
		test(`${name}: found in its list`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", {
					start: { drop: "after", times: 1 },
					webhook: { drop: true },
				}),
			]);

			await stack.jobIn(ids.a, "start_unknown");
			const job = await stack.ended(ids.a, "completed", 60);

			assert.equal(job.attempt, 1);
			assert.equal(job.completed_via, "polling");
			await stack.start(ids.a);
			await stack.check(id);
		}, 120);
	}

	test("found behind and before full pages of others", async (stack) => {
		const lost = {
			start: { drop: "after", times: 1 },
			webhook: { drop: true },
		};
		// a page has 100; the newest come first
		const others = (from) => Array.from({ length: 110 }, (_, i) =>
			clip(`x${from + i}`));
		const first = await stack.submit([clip("a", lost)]);

		await stack.jobIn(first.ids.a, "start_unknown");
		const between = await stack.submit(others(0));
		const last = await stack.submit([clip("b", lost)]);

		await stack.jobIn(last.ids.b, "start_unknown");
		const after = await stack.submit(others(200));
		for (const { id } of [first, between, last, after])
			await stack.executionEnded(id, "completed", 90);
		for (const job of [first.ids.a, last.ids.b])
			await stack.start(job);
		for (const { id } of [first, last])
			await stack.check(id);
	}, 150);

	test("twins in one list are not mixed up", async (stack) => {
		const sim = {
			start: { drop: "after", times: 1 },
			webhook: { drop: true },
		};
		const twin = still("a", sim);
		const { id } = await stack.submit([
			twin,
			{ ...twin, name: "b" },
			{ ...twin, name: "c" },
		]);

		await stack.executionEnded(id, "completed", 60);
		// the check compares every file with its own start
		await stack.check(id);
	}, 120);
});

suite("starts lost, the list is odd", {
	settings: { ...open, RECONCILE_S: "120" },
}, (test) => {
	test("found although it is late, or does not say whose it is",
		async (stack) => {
			const sim = {
				start: { drop: "after", times: 1 },
				webhook: { drop: true },
			};

			await stack.control({
				replicate: { list: { omit_webhook: true } },
				fal: { list: { lag_ms: 20_000 } },
			});
			const { id, ids } = await stack.submit([
				still("a", sim),
				clip("b", sim),
			]);

			await stack.executionEnded(id, "completed", 100);
			for (const job of [ids.a, ids.b])
				await stack.start(job);
			await stack.check(id);
		}, 150);
});

suite("starts lost, nobody tells", {
	settings: { ...open, RECONCILE_S: "18" },
	concurrency: 2,
}, (test) => {
	test("may have been billed; a retry adopts what was paid",
		async (stack) => {
			const sim = {
				start: { drop: "after", times: 1 },
				webhook: { drop: true },
			};

			await stack.control({ all: { list: { hide: true } } });
			const { id, ids } = await stack.submit([
				still("a", sim),
				clip("b", sim),
				veo("c", sim),
			]);

			for (const job of Object.values(ids)) {
				const { error, attempt } = await stack.ended(job,
					"failed", 60);

				assert.equal(error.code, "may_have_been_billed");
				assert.equal(error.billed, "unknown");
				assert.equal(attempt, 1);
			}
			await stack.check(id);
			await stack.control({ all: { list: null } });
			for (const job of Object.values(ids)) {
				const answer = await stack.api("POST",
					`/api/jobs/${job}/retry`);

				assert.ok([200, 202].includes(answer.status),
					answer.text);
			}
			for (const job of Object.values(ids)) {
				assert.equal((await stack.ended(job, "completed", 60))
					.attempt, 1);
				await stack.start(job);
			}
			await stack.check(id);
		}, 180);

	test("a retry starts anew what surely never was", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a", { start: { drop: "before", times: 1 } }),
		]);

		await stack.ended(ids.a, "failed", 60);
		assert.deepEqual(await stack.startsOf(ids.a), []);
		await stack.api("POST", `/api/jobs/${ids.a}/retry`);
		const job = await stack.ended(ids.a, "completed", 60);

		assert.equal(job.attempt, 2);
		await stack.start(ids.a);
		await stack.check(id);
	}, 180);
});

suite("starts on kept connections", {
	settings: { ...hours, ...open, POLLER_LINGER_S: "5" },
}, (test) => {
	for (const name of ["replicate", "fal"]) {
		test(`${name}: a reused connection dies under the start`,
			async (stack) => {
				const make = makers[name];
				let died = 0;

				for (let i = 0; i < 4; i++) {
					const warm = await stack.submit([make("warm")]);

					await stack.executionEnded(warm.id, "completed");
					const { id, ids } = await stack.submit([
						make("a", {
							start: { drop: "reused" },
							delay_ms: 1000,
						}),
					]);

					await stack.ended(ids.a, "completed");
					const start = await stack.start(ids.a);

					died += start.answered ? 0 : 1;
					await stack.check(id, warm.id);
				}
				assert.ok(died > 0, "no connection was ever reused");
			});
	}
});

suite("starts refused for now", {
	settings: { ...open, START_RETRIES: "2" },
	concurrency: 8,
}, (test) => {
	const forms = {
		replicate: ["seconds", "date", "body", "text", "reset", "none"],
		fal: ["fraction", "rfc850", "none"],
		vertex: ["seconds", "asctime", "none"],
	};

	for (const [name, all] of Object.entries(forms)) {
		for (const form of all) {
			test(`${name}: 429, the wait said as ${form}`,
				async (stack) => {
					const { id, ids } = await stack.submit([
						makers[name]("a", {
							start: {
								status: 429,
								times: 2,
								retry_after_s: 3,
								retry_after_form: form,
								// Replicate's own words name a time
								...(["reset", "none"].includes(form) &&
									{ body: { detail: "Slow down." } }),
							},
						}),
					]);

					await stack.ended(ids.a, "completed", 40);
					const events = await stack.events(ids.a);
					const throttled = times(events, "throttled");
					const starts = times(events, "start");

					assert.equal(throttled.length, 2);
					assert.equal(starts.length, 3);
					// a date has whole seconds: up to one may be gone
					const least_ms = { none: 0, date: 2000, rfc850: 2000,
						asctime: 2000, fraction: 3500 }[form] ?? 3000;

					for (let i = 0; i < 2; i++)
						assert.ok(starts[i + 1] - throttled[i] >=
							least_ms - 5,
						`${starts[i + 1] - throttled[i]} ms`);
					await stack.start(ids.a);
					await stack.check(id);
				});
		}
	}
});

// Alone: every start to Vertex is refused when the token expires.
suite("starts with a token that expired", { settings: open }, (test) => {
	test("vertex: it is renewed, once",
		async (stack) => {
			const first = await stack.submit([veo("a")]);

			await stack.executionEnded(first.id, "completed");
			await stack.control({
				credentials: { vertex: "issued" },
				expire_tokens: true,
			});
			const { id } = await stack.submit([veo("a"), veo("b")]);

			await stack.executionEnded(id, "completed");
			await stack.check(first.id, id);
		});
});

suite("starts that never leave", {
	settings: {
		...open,
		START_RETRIES: "1",
		REPLICATE_BASE_URL: "http://127.0.0.1:1/replicate/v1",
	},
}, (test) => {
	test("nobody listens: tried until the deadline, nothing paid",
		async (stack) => {
			const { id, ids } = await stack.submit(
				[still("a", null, { deadline_s: 10 })]);
			const job = await stack.ended(ids.a, "failed", 40);
			const events = (await stack.events(ids.a))
				.map((event) => event.event);

			const count = (name) =>
				events.filter((event) => event === name).length;

			assert.equal(job.error.code, "deadline_exceeded");
			assert.equal(job.error.billed, "no");
			assert.ok(count("not_started") > 2, events.join());
			assert.equal(count("start"), count("not_started"));
			await stack.check(id);
		});
});

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

suite("failures", { settings: open, concurrency: 8 }, (test) => {
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
