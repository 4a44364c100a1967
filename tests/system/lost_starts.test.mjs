// SPDX-License-Identifier: MIT
// Paid starts whose answer is lost or nonsense. Whatever happens, the
// provider's own books show at most one start for each attempt.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

import { clip, makers, still, veo } from "./jobs.mjs";
import { until } from "./stack.mjs";
import { hardlyPolled, noBreaker, suite } from "./suite.mjs";

const withUnknown = (events) => events.some((e) => e.to === "start_unknown");

// A first look comes at a random moment, and a list is asked after a while:
// neither has anything to tell, however long a test takes. A list names no
// job, so that its words are everybody's.
const noPoll = { poll: { status: 503 } };
const noList = { all: { list: { hide: true } } };

// The provider took it, and says so neither in its answer nor later.
const unheard = {
	start: { drop: "after", times: 1 },
	webhook: { drop: true },
};

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
	settings: { ...hardlyPolled, ...noBreaker, ANSWER_TIMEOUT_MS: "1500" },
	concurrency: 8,
}, (test) => {
	for (const [what, start] of Object.entries(lost)) {
		for (const name of ["replicate", "fal"]) {
			test(`${name}: ${what}`, async (stack) => {
				await stack.control(noList);
				const { id, ids } = await stack.submit([
					makers[name]("a", {
						start,
						delay_ms: 2500,
						...noPoll,
						// that it begins would be news
						webhook: { reorder: true },
					}),
				]);
				const job = await stack.ended(ids.a, "completed", 40);

				assert.equal(job.attempt, 1);
				assert.equal(job.completed_via, "webhook");
				await stack.start(ids.a);
				// fal names the job in a header as well
				if (name !== "fal" || !start.answer)
					assert.ok(withUnknown(
						await stack.events(ids.a)));
				await stack.check(id);
			});
		}
	}
});

suite("starts lost, the list tells", {
	settings: { ...noBreaker, RECONCILE_S: "120" },
	concurrency: 8,
}, (test) => {
	for (const name of ["replicate", "fal", "vertex"]) {
		test(`${name}: found in its list`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", unheard),
			]);

			await stack.jobIn(ids.a, "start_unknown");
			const job = await stack.ended(ids.a, "completed", 60);

			assert.equal(job.attempt, 1);
			assert.equal(job.completed_via, "polling");
			await stack.start(ids.a);
			await stack.check(id);
		}, 120);
	}

	for (const name of ["replicate", "fal", "vertex"]) {
		test(`${name}: not looked for before it wishes`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", {
					...unheard,
					start: {
						status: 503,
						accepted: true,
						retry_after_s: 25,
						times: 1,
					},
				}),
			]);

			await stack.jobIn(ids.a, "start_unknown");
			const [{ wait_s }] = await stack.query(`SELECT extract(epoch
				FROM next_poll_at - unknown_since) AS wait_s
				FROM execution_jobs WHERE id = '${ids.a}'`);

			assert.ok(wait_s >= 25, `${wait_s} s`);
			await stack.ended(ids.a, "completed", 60);
			await stack.start(ids.a);
			await stack.check(id);
		}, 120);
	}

	test("found behind and before full pages of others", async (stack) => {
		// a page has 100; the newest come first
		const others = (from) => Array.from({ length: 110 }, (_, i) =>
			clip(`x${from + i}`));
		const first = await stack.submit([clip("a", unheard)]);

		await stack.jobIn(first.ids.a, "start_unknown");
		const between = await stack.submit(others(0));
		const last = await stack.submit([clip("b", unheard)]);

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
		const twin = still("a", unheard);
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
	settings: { ...noBreaker, RECONCILE_S: "120" },
}, (test) => {
	test("found although it is late, or does not say whose it is",
		async (stack) => {
			await stack.control({
				replicate: { list: { omit_webhook: true } },
				fal: { list: { lag_ms: 20_000 } },
			});
			const { id, ids } = await stack.submit([
				still("a", unheard),
				clip("b", unheard),
			]);

			await stack.executionEnded(id, "completed", 100);
			for (const job of [ids.a, ids.b])
				await stack.start(job);
			await stack.check(id);
		}, 150);
});

suite("starts lost, the list is away", { settings: noBreaker }, (test) => {
	test("nobody is given up who may yet be found", async (stack) => {
		const look = () => stack.sql(`UPDATE execution_jobs
			   SET next_poll_at = now(),
			       unknown_since = now() - interval '5 hours'
			 WHERE status = 'start_unknown'`);

		await stack.control({ all: { list: { status: 503 } } });
		const { id, ids } = await stack.submit([
			still("a", unheard),
			clip("b", unheard),
			veo("c", unheard),
		]);

		for (const job of Object.values(ids))
			await stack.jobIn(job, "start_unknown");
		await look();
		for (const job of Object.values(ids)) {
			await until(async () => (await stack.query(`SELECT
				poll_attempts FROM execution_jobs
				WHERE id = '${job}'`))[0].poll_attempts > 0,
			"a look in vain");
			await stack.jobIn(job, "start_unknown");
		}
		await stack.control({ all: { list: null } });
		await look();
		await stack.executionEnded(id, "completed");
		for (const job of Object.values(ids))
			await stack.start(job);
		await stack.check(id);
	});
});

suite("starts lost, nobody tells", {
	settings: { ...noBreaker, RECONCILE_S: "18" },
	concurrency: 2,
}, (test) => {
	test("may have been billed; a retry adopts what was paid",
		async (stack) => {
			await stack.control(noList);
			const { id, ids } = await stack.submit([
				still("a", unheard),
				clip("b", unheard),
				veo("c", unheard),
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

suite("starts lost, and nobody may look", {
	settings: { ...noBreaker, RECONCILE_S: "18" },
}, (test) => {
	/* A poller for this stack as it is on a host without that setting. */
	const without = (stack, setting, environment) => {
		const env = Object.fromEntries(environment
			.filter((line) => !line.startsWith("LISTEN_"))
			.map((line) => [line.slice(0, line.indexOf("=")),
				line.slice(line.indexOf("=") + 1)]));

		delete env[setting];
		delete env.NOTIFY_SOCKET;
		return spawn(path.join(process.env.BUILD ?? "build",
			"rushes-poller"), { env, stdio: "ignore" });
	};

	test("a host without the credential starts nothing anew",
		async (stack) => {
			await stack.control(noList);
			const { id, ids } = await stack.submit([still("a", unheard)]);

			await stack.jobIn(ids.a, "start_unknown");
			const environment = fs.readFileSync(
				`/proc/${stack.pid("poller")}/environ`, "utf8")
				.split("\0").filter(Boolean);

			await stack.ended(ids.a, "failed", 60);
			await stack.control({ all: { list: null } });
			await stack.holdPoller();
			assert.equal((await stack.api("POST",
				`/api/jobs/${ids.a}/retry`)).status, 202);
			const other = without(stack, "REPLICATE_API_TOKEN",
				environment);

			try {
				await until(async () => (await stack.query(`SELECT
					id FROM execution_jobs
					 WHERE id = '${ids.a}' AND lease_until IS NULL
					   AND (poll_attempts > 0 OR attempt > 1
					        OR status <> 'start_unknown')`)).length,
				"a look");
			} finally {
				other.kill("SIGTERM");
			}
			stack.letGo("poller");
			assert.equal((await stack.ended(ids.a, "completed", 60))
				.attempt, 1);
			await stack.start(ids.a);
			await stack.check(id);
		}, 180);
});

suite("starts lost, the list goes on elsewhere", {
	settings: {
		...noBreaker,
		RECONCILE_S: "18",
		SIMULATOR_ARGS: "--delay-ms 200 --public-url http://other.invalid",
	},
}, (test) => {
	test("what is not on its first page may be on the next",
		async (stack) => {
			const { id, ids } = await stack.submit([still("a", unheard)]);

			// a page has 100; the newest come first
			await stack.jobIn(ids.a, "start_unknown");
			const others = await stack.submit(Array.from({ length: 110 },
				(_, i) => still(`x${i}`, { outcome: "fail" })));

			await stack.executionEnded(others.id, "failed", 90);
			for (let looked = 0; looked < 2; looked++) {
				const { error, attempt } = await stack.ended(ids.a,
					"failed", 60);

				assert.equal(error.code, "may_have_been_billed");
				assert.equal(attempt, 1);
				if (looked === 0)
					await stack.api("POST",
						`/api/jobs/${ids.a}/retry`);
			}
			await stack.start(ids.a);
			await stack.check(id);
		}, 180);
});
