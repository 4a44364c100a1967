// SPDX-License-Identifier: MIT
// The essential flows, in well under a minute: what must work before anything
// else is worth testing.

import assert from "node:assert/strict";

import { request } from "./http.mjs";
import { clip, still, veo } from "./jobs.mjs";
import { until, webhookUrl } from "./stack.mjs";
import { suite } from "./suite.mjs";

const settings = {
	// its webhooks are all it has: what completes here came that way
	REPLICATE_POLL_FIRST_MS: "3600000",
	REPLICATE_POLL_MOST_MS: "3600000",
};

suite("main", { settings, concurrency: 8 }, (test) => {
	test("a job completes by webhook", async (stack) => {
		// the first look comes at a random moment: it would fail
		const { id, ids } = await stack.submit([
			still("a", { poll: { status: 503 } }),
		]);
		const job = await stack.ended(ids.a, "completed");

		assert.equal(job.provider, "replicate");
		assert.equal(job.attempt, 1);
		assert.equal(job.completed_via, "webhook");
		assert.equal(job.output.media[0].content_type, "image/png");
		assert.equal(job.error ?? null, null);
		assert.deepEqual(
			(await stack.events(ids.a)).map((event) => event.to),
			["queued", "starting", "processing", "storing",
				"completed"]);
		await stack.executionEnded(id, "completed");
		await stack.check(id);
	});

	test("a job completes by polling", async (stack) => {
		const { id, ids } = await stack.submit([veo("a")]);
		const job = await stack.ended(ids.a, "completed");

		assert.equal(job.completed_via, "polling");
		assert.equal(job.output.media[0].content_type, "video/mp4");
		await stack.check(id);
	});

	test("a pipeline hands results on", async (stack) => {
		const { id, ids } = await stack.submit([
			still("still"),
			clip("fal", null, {}, { image_url: "${still.output.url}" }),
			veo("veo", null, {}, { image: { $media: "still" } }),
			{
				name: "film",
				provider: "fal",
				model: "fal-ai/ffmpeg-api/compose",
				input: {
					tracks: [{
						id: "1",
						type: "video",
						keyframes: [
							{ timestamp: 0, duration: 1000, url: "${fal.output.url}" },
							{ timestamp: 1000, duration: 1000, url: "${veo.output.url}" },
						],
					}],
				},
			},
		]);

		await stack.executionEnded(id, "completed", 40);
		const made = await stack.job(ids.still);
		const film = await stack.start(ids.film);

		// it really fetched both clips, from us
		assert.deepEqual(
			film.fetched_inputs.map((file) => [file.url, file.status])
				.sort(),
			[[(await stack.job(ids.fal)).output.url, 200],
				[(await stack.job(ids.veo)).output.url, 200]].sort());
		assert.equal(made.output.media.length, 1);
		await stack.check(id);
	}, 90);

	test("what depends on a failed job follows its policy", async (stack) => {
		const { id, ids } = await stack.submit([
			still("bad", { outcome: "fail" }),
			still("fails", null, { depends_on: ["bad"] }),
			still("skips", null, {
				depends_on: ["bad"],
				on_dependency_failure: "skip",
			}),
			still("runs", null, {
				on_dependency_failure: "run",
				dependency_defaults: {
					bad: { url: "https://example.net/default.png" },
				},
			}, { image: "${bad.output.url}" }),
		]);

		await stack.executionEnded(id, "failed");
		assert.equal((await stack.job(ids.bad)).error.code,
			"provider_failed");
		assert.equal((await stack.job(ids.fails)).error.code,
			"dependency_failed");
		assert.equal((await stack.job(ids.fails)).status, "failed");
		assert.equal((await stack.job(ids.skips)).status, "skipped");
		assert.equal((await stack.job(ids.runs)).status, "completed");
		await stack.check(id);
	});

	test("fifty twins get one execution", async (stack) => {
		const body = { jobs: [still("a")] };
		const headers = { "idempotency-key": `twins-${process.pid}` };
		const answers = await Promise.all(Array.from({ length: 50 },
			() => stack.api("POST", "/api/execute", body, headers)));
		const first = answers[0].json;

		for (const answer of answers) {
			assert.equal(answer.status, 202, answer.text);
			assert.deepEqual(answer.json.id, first.id);
			assert.deepEqual(answer.json.jobs.map((job) => job.id),
				first.jobs.map((job) => job.id));
		}
		stack.submitted.push(first.id);
		const other = await stack.api("POST", "/api/execute",
			{ jobs: [still("b")] }, headers);

		assert.equal(other.status, 422, other.text);
		await stack.executionEnded(first.id, "completed");
		assert.equal((await stack.startsOf(first.jobs[0].id)).length, 1);
		await stack.check(first.id);
	});

	test("a submission that is wrong is told where", async (stack) => {
		const answer = await stack.api("POST", "/api/execute", {
			jobs: [still("a"), { ...still("b"), provider: "nobody" }],
		});

		assert.equal(answer.status, 422, answer.text);
		assert.match(answer.headers["content-type"],
			/^application\/problem\+json/);
		assert.equal(answer.json.code, "unknown_provider");
		assert.match(answer.text, /\/jobs\/1\/provider/);
	});

	test("keys and owners are kept apart", async (stack) => {
		const { ids } = await stack.submit([still("a")]);
		const where = `/api/jobs/${ids.a}`;

		assert.equal((await stack.api("GET", where, undefined,
			{ authorization: null })).status, 401);
		assert.equal((await stack.api("GET", where, undefined,
			{ authorization: "Bearer nonsense" })).status, 401);
		await stack.ended(ids.a, "completed");
	});

	test("a forged webhook is refused and changes nothing", async (stack) => {
		const { ids } = await stack.submit([
			still("a", { webhook: { forge: "signature" }, delay_ms: 600 }),
		]);
		const job = await stack.ended(ids.a, "completed");
		const start = await stack.start(ids.a);
		const forged = start.deliveries.filter((d) => d.kind === "forged");

		assert.ok(forged.length > 0);
		for (const delivery of forged)
			assert.equal(delivery.answer, 401);
		assert.equal(job.attempt, 1);
	});

	test("a lost webhook is healed by polling", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", { webhook: { drop: true } }),
		]);
		const job = await stack.ended(ids.a, "completed");

		assert.equal(job.completed_via, "polling");
		await stack.check(id);
	});

	test("a lost answer is not paid for twice", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a", { start: { drop: "after", times: 1 } }),
		]);

		await stack.ended(ids.a, "completed");
		const start = await stack.start(ids.a);

		assert.equal(start.answered, false);
		await stack.check(id);
	});

	test("a job that renders is cancelled at its provider", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", { outcome: "never" }),
			clip("b", null, { depends_on: ["a"] }),
		]);

		await stack.jobIn(ids.a, "processing");
		const answer = await stack.api("POST",
			`/api/executions/${id}/cancel`);

		assert.ok([200, 202].includes(answer.status), answer.text);
		await stack.executionEnded(id, "cancelled");
		assert.equal((await stack.start(ids.a)).cancels, 1);
		assert.deepEqual(await stack.startsOf(ids.b), []);
		await stack.check(id);
	});

	test("a retry revives what a failure stopped", async (stack) => {
		const { id, ids } = await stack.submit([
			still("done"),
			still("flaky", { outcome: "never" }, { depends_on: ["done"] }),
			still("last", null, { depends_on: ["flaky"] }),
		]);

		await stack.jobIn(ids.flaky, "processing");
		await stack.steer(ids.flaky, { end: "fail" });
		await stack.executionEnded(id, "failed");
		assert.equal((await stack.job(ids.last)).status, "failed");
		const answer = await stack.api("POST",
			`/api/jobs/${ids.flaky}/retry`);

		assert.ok([200, 202].includes(answer.status), answer.text);
		await stack.jobIn(ids.flaky, "processing");
		await stack.steer(ids.flaky, { end: "succeed" });
		await stack.executionEnded(id, "completed");
		assert.equal((await stack.job(ids.flaky)).attempt, 2);
		assert.equal((await stack.startsOf(ids.done)).length, 1);
		await stack.check(id);
	});

	test("a webhook to a wrong address is refused", async (stack) => {
		const { ids } = await stack.submit([still("a", { delay_ms: 1500 })]);
		const url = await webhookUrl(stack, ids.a);
		const wrong = url.slice(0, -1) + (url.endsWith("A") ? "B" : "A");
		const unknown = url.replace(ids.a,
			"01890000-0000-7000-8000-00000000dead");

		assert.equal((await request(wrong, { body: {} })).status, 401);
		assert.ok([401, 404].includes(
			(await request(unknown, { body: {} })).status));
		await stack.ended(ids.a, "completed");
	});
});

suite("main restarts", { settings: { LEASE_S: "5" } }, (test) => {
	test("restarts in the middle lose nothing", async (stack) => {
		const executions = [];

		for (let i = 0; i < 3; i++) {
			executions.push(await stack.submit([
				still("a", { delay_ms: 4000 }),
				clip("b", { delay_ms: 800 }, { depends_on: ["a"] }),
				veo("c", { delay_ms: 4000 }),
			]));
		}
		// A start that is killed before it leaves is looked for at its
		// provider for minutes; crash points are for tests/faults to try.
		for (const { ids } of executions) {
			for (const id of [ids.a, ids.c])
				await stack.jobIn(id, "processing");
		}
		await stack.restart("fcgi");
		await until(() => stack.pid("poller"), "a poller");
		await stack.replace("poller", "SIGTERM");
		await stack.replace("poller", "SIGKILL");
		await stack.replace("fcgi", "SIGKILL");
		for (const execution of executions)
			await stack.executionEnded(execution.id, "completed", 60);
		for (const { ids } of executions) {
			for (const id of [ids.a, ids.b])
				await stack.start(id);
		}
	}, 120);
});
