// SPDX-License-Identifier: MIT
// Pipelines: every provider's own way to complete, results handed on, and
// what becomes of those that depend on what did not complete.

import assert from "node:assert/strict";

import { clip, makers, still, veo } from "./jobs.mjs";
import { hardlyPolled, suite } from "./suite.mjs";

/* What a provider was asked: the input it got, from its own books. */
async function inputOf(stack, id) {
	return (await stack.query(
		`SELECT input FROM execution_jobs WHERE id = '${id}'`))[0].input;
}

suite("flows by webhook", { settings: hardlyPolled, concurrency: 4 }, (test) => {
	for (const name of ["replicate", "fal"]) {
		test(`${name} completes by its webhook alone`, async (stack) => {
			// the first look comes at a random moment: it would fail
			const { id, ids } = await stack.submit([
				makers[name]("a", { poll: { status: 503 } }),
			]);
			const job = await stack.ended(ids.a, "completed");
			const start = await stack.start(ids.a);

			assert.equal(job.completed_via, "webhook");
			assert.equal(start.deliveries.at(-1).answer, 200);
			await stack.check(id);
		});
	}

	test("veo completes by polling, through Cloud Storage",
		async (stack) => {
			const { id, ids } = await stack.submit([
				veo("a", null, {}, { parameters: { sampleCount: 2 } }),
			]);
			const job = await stack.ended(ids.a, "completed");

			assert.equal(job.completed_via, "polling");
			assert.equal(job.output.media.length, 2);
			await stack.check(id);
		});

	test("several files of one job are all kept, in order",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", { media: { count: 5 } }),
				clip("b", { media: { count: 3 } }),
			]);

			await stack.executionEnded(id, "completed");
			assert.equal((await stack.job(ids.a)).output.urls.length, 5);
			assert.equal((await stack.job(ids.b)).output.urls.length, 3);
			await stack.check(id);
		});

	for (const form of ["string", "array", "object", "data"]) {
		test(`replicate's output as ${form}`, async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", { media: { form } }),
			]);

			await stack.ended(ids.a, "completed");
			await stack.check(id);
		});
	}

	test("a deployment and a version are addressed as such",
		async (stack) => {
			const { id, ids } = await stack.submit([
				{ ...still("a"), model: "deployments/acme/image" },
				{ ...still("b"), model: `acme/image:${"ab".repeat(32)}` },
				{ ...still("c"), model: "cd".repeat(32) },
			]);

			await stack.executionEnded(id, "completed");
			for (const name of ["a", "b", "c"])
				await stack.start(ids[name]);
		});
});

suite("flows inline", { settings: { VERTEX_STORAGE_URI: "" } }, (test) => {
	test("veo's bytes come inline where it has no storage",
		async (stack) => {
			const { id, ids } = await stack.submit([
				veo("a"),
				veo("b", { media: { bytes: 3 << 20 } }),
			]);

			await stack.executionEnded(id, "completed", 40);
			assert.equal((await stack.job(ids.b)).output.media[0].bytes,
				3 << 20);
			await stack.check(id);
		});
});

suite("pipelines", { concurrency: 4 }, (test) => {
	test("a chain across providers", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a"),
			clip("b", null, {}, { image_url: "${a.output.url}" }),
			veo("c", null, {}, {
				prompt: "after ${b.output.url}",
				image: { $media: "a" },
			}),
			clip("d", { fetch_inputs: true }, {},
				{ video_url: "${c.output.url}" }),
		]);

		await stack.executionEnded(id, "completed", 40);
		const fetched = (await stack.start(ids.d)).fetched_inputs;

		assert.deepEqual(fetched.map((file) => file.url),
			[(await stack.job(ids.c)).output.url]);
		assert.equal(fetched[0].sha256,
			(await stack.job(ids.c)).output.media[0].sha256);
		await stack.check(id);
	});

	test("fan-out and fan-in, with values of every kind",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("root", { media: { count: 2 } }),
				...Array.from({ length: 6 }, (_, i) => clip(`leg${i}`, null,
					{ depends_on: ["root"] })),
				clip("join", { fetch_inputs: true }, {}, {
					urls: Array.from({ length: 6 },
						(_, i) => `\${leg${i}.output.url}`),
					both: "${root.output.urls}",
					second: "${root.output.urls[1]}",
					bytes: "${leg0.output.media[0].bytes}",
					text: "size ${leg0.output.media.0.bytes} $${kept}",
					huge: 1e21,
					file: { $media: "root", index: 1 },
				}),
			]);

			await stack.executionEnded(id, "completed", 40);
			const fetched = (await stack.start(ids.join)).fetched_inputs
				.map((file) => file.url);
			const root = await stack.job(ids.root);

			for (let i = 0; i < 6; i++)
				assert.ok(fetched.includes(
					(await stack.job(ids[`leg${i}`])).output.url));
			assert.ok(fetched.includes(root.output.urls[0]));
			assert.ok(fetched.includes(root.output.urls[1]));
			// what was submitted stays as it was submitted
			assert.equal((await inputOf(stack, ids.join)).second,
				"${root.output.urls[1]}");
			await stack.check(id);
		});

	test("a value that is not there fails the job, and costs nothing",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a"),
				clip("b", null, {}, { x: "${a.output.raw.no.such}" }),
				clip("c", null, {}, { x: { $media: "a", index: 7 } }),
			]);

			await stack.executionEnded(id, "failed");
			for (const name of ["b", "c"]) {
				const job = await stack.job(ids[name]);

				assert.equal(job.status, "failed");
				assert.equal(job.error.code, "reference_missing");
				assert.equal(job.error.billed, "no");
				assert.deepEqual(await stack.startsOf(ids[name]), []);
			}
			await stack.check(id);
		});

	test("policies at each distance from the failure", async (stack) => {
		const run = { on_dependency_failure: "run" };
		const skip = { on_dependency_failure: "skip" };
		const { id, ids } = await stack.submit([
			still("bad", { outcome: "fail" }),
			still("good"),
			still("fails", null, { depends_on: ["bad", "good"] }),
			still("failed_too", null, { depends_on: ["fails"] }),
			still("skips", null, { ...skip, depends_on: ["bad"] }),
			still("skipped_too", null, { ...skip, depends_on: ["skips"] }),
			still("fails_by_skip", null, { depends_on: ["skips"] }),
			clip("runs", { fetch_inputs: false }, {
				...run,
				depends_on: ["good"],
				dependency_defaults: {
					bad: { url: "https://example.net/x.png" },
				},
			}, { x: "${bad.output.url}", y: "${good.output.url}" }),
			clip("runs_without", null, { ...run, depends_on: ["skips"] }),
			clip("lacks", null, run, { x: "${bad.output.url}" }),
			clip("after", null, { depends_on: ["runs"] }),
		]);

		await stack.executionEnded(id, "failed", 40);
		const states = {};

		for (const [name, job] of Object.entries(ids))
			states[name] = (await stack.job(job)).status;
		assert.deepEqual(states, {
			bad: "failed",
			good: "completed",
			fails: "failed",
			failed_too: "failed",
			skips: "skipped",
			skipped_too: "skipped",
			fails_by_skip: "failed",
			runs: "completed",
			runs_without: "completed",
			lacks: "failed",
			after: "completed",
		});
		assert.equal((await stack.job(ids.lacks)).error.code,
			"reference_missing");
		for (const name of ["fails", "failed_too", "fails_by_skip"])
			assert.equal((await stack.job(ids[name])).error.code,
				"dependency_failed");
		await stack.check(id);
	});

	test("a child with two parents that end at once is told of both",
		async (stack) => {
			for (const outcome of ["succeed", "fail"]) {
				const jobs = [];

				for (let i = 0; i < 8; i++) {
					jobs.push(
						still(`l${i}`, { outcome, delay_ms: 300 }),
						still(`r${i}`, { outcome, delay_ms: 300 }),
						still(`c${i}`, null, {
							depends_on: [`l${i}`, `r${i}`],
							on_dependency_failure: "run",
						}));
				}
				const { id, ids } = await stack.submit(jobs);

				await stack.executionEnded(id, outcome === "fail" ?
					"failed" : "completed", 40);
				for (let i = 0; i < 8; i++)
					assert.equal((await stack.job(ids[`c${i}`])).status,
						"completed");
				await stack.check(id);
			}
		});

	for (const policy of ["fail", "skip"]) {
		test(`a chain of 200 settles after its head, with ${policy}`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					still("j0", { outcome: "fail" }),
					...Array.from({ length: 199 }, (_, i) =>
						still(`j${i + 1}`, null, {
							depends_on: [`j${i}`],
							on_dependency_failure: policy,
						})),
				]);

				await stack.executionEnded(id, "failed", 40);
				assert.equal((await stack.job(ids.j199)).status,
					policy === "fail" ? "failed" : "skipped");
				assert.deepEqual(await stack.startsOf(ids.j1), []);
				await stack.check(id);
			});
	}
});
