// SPDX-License-Identifier: MIT
// Paid starts that are refused for a while, or never leave. Whatever happens,
// the provider's own books show at most one start for each attempt.

import assert from "node:assert/strict";

import { makers, still, veo } from "./jobs.mjs";
import { hardlyPolled, noBreaker, suite } from "./suite.mjs";

/* A job's timeline with the time of each line. */
function times(events, event) {
	return events.filter((e) => e.event === event)
		.map((e) => Date.parse(e.at));
}

suite("starts on kept connections", {
	settings: { ...hardlyPolled, ...noBreaker, POLLER_LINGER_S: "5" },
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
	settings: { ...noBreaker, START_RETRIES: "2" },
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
suite("starts with a token that expired", { settings: noBreaker }, (test) => {
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
		...noBreaker,
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
