// SPDX-License-Identifier: MIT
// Media on its way home: all of it, or none and another try, or a clear no.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

import { request } from "./http.mjs";
import { clip, veo } from "./jobs.mjs";
import { until } from "./stack.mjs";
import { suite } from "./suite.mjs";

const settings = {
	MEDIA_BYTES_MAX: "8M",
	STORE_RETRIES: "3",
	STALL_TIMEOUT_S: "2",
};

/* All files in the store, as far as they belong to an execution. */
function filesOf(stack, execution) {
	const top = path.join(stack.store, execution);

	return fs.existsSync(top) ? fs.readdirSync(top, { recursive: true })
		.map(String).filter((file) =>
			fs.statSync(path.join(top, file)).isFile()) : [];
}

const healed = {
	"cut short of its length": { cut: 1000, length: "known", times: 1 },
	"cut before the last chunk": { cut: 1000, length: "chunked", times: 1 },
	"404 at first": { status: 404, times: 1 },
	"503 at first": { status: 503, times: 2 },
	"late": { latency_ms: 1500 },
	"stalled": { stall: 500, times: 1 },
};

const fine = {
	"without a length, in chunks": { length: "chunked" },
	"slow, but coming": { bytes: 60_000, rate: 20_000 },
	"after three redirects": { redirect: 3 },
	"of 5 MB": { bytes: 5_000_000 },
	"called by a type it is not": { type: "application/octet-stream" },
};

const hopeless = {
	"HTML": { kind: "html" },
	"empty": { kind: "empty" },
	"noise": { kind: "random", bytes: 5000 },
	"too large, and says so": { bytes: 9 << 20 },
	"too large, and does not say so": { bytes: 9 << 20, length: "chunked" },
	"after too many redirects": { redirect: 9 },
	"gone": { status: 410 },
	"elsewhere, where no file is": {
		redirect_to: "http://127.0.0.1:1/x.mp4",
	},
	"elsewhere, by another protocol": { redirect_to: "file:///etc/passwd" },
};

suite("media", { settings, concurrency: 6 }, (test) => {
	for (const [what, media] of Object.entries({ ...fine, ...healed })) {
		test(`${what}`, async (stack) => {
			const { id, ids } = await stack.submit([
				clip("a", { media }),
			]);
			const job = await stack.ended(ids.a, "completed", 60);

			assert.equal(job.output.media.length, 1);
			assert.equal(filesOf(stack, id).length, 1);
			await stack.start(ids.a);
			await stack.check(id);
		}, 120);
	}

	for (const [what, media] of Object.entries(hopeless)) {
		test(`hopeless: ${what}`, async (stack) => {
			const { id, ids } = await stack.submit([
				clip("a", { media }),
			]);
			const job = await stack.ended(ids.a, "failed", 90);

			assert.match(job.error.code, /^(not_media|(store|media)_\w+)$/);
			// rendered is rendered
			assert.equal(job.error.billed, "yes");
			assert.equal(job.attempt, 1);
			assert.deepEqual(filesOf(stack, id), []);
			await stack.start(ids.a);
			await stack.check(id);
		}, 150);
	}

	test("cut, and closed as if it were whole", async (stack) => {
		const { ids } = await stack.submit([
			clip("a", { media: { length: "close", cut: 800 } }),
		]);

		// nothing tells that such a body is whole: it is never taken
		await stack.ended(ids.a, "failed", 90);
	}, 150);

	test("a failed storing is retried without paying again",
		async (stack) => {
			const { id, ids } = await stack.submit([
				clip("a", { media: { status: 503 } }),
			]);
			const job = await stack.ended(ids.a, "failed", 90);

			assert.equal(job.error.billed, "yes");
			await stack.steer(ids.a, { words: { media: {} } });
			await stack.api("POST", `/api/jobs/${ids.a}/retry`);
			assert.equal((await stack.ended(ids.a, "completed", 40))
				.attempt, 1);
			await stack.start(ids.a);
			await stack.check(id);
		}, 150);

	// What is forbidden to whom shows who he is has not gone.
	test("veo: no right to read in Cloud Storage, until it is given",
		async (stack) => {
			const { id, ids } = await stack.submit([
				veo("a", { media: { status: 403 } }),
			]);
			const job = await stack.ended(ids.a, "failed", 90);

			assert.equal(job.error.code, "media_unavailable");
			const [{ id: start }] = await stack.startsOf(ids.a);

			await stack.steer(start, { words: { media: {} } });
			await stack.api("POST", `/api/jobs/${ids.a}/retry`);
			await stack.ended(ids.a, "completed", 40);
			await stack.start(ids.a);
			await stack.check(id);
		}, 150);

	test("veo: truncated out of Cloud Storage", async (stack) => {
		const { id } = await stack.submit([
			veo("a", { media: { cut: 500, times: 1 } }),
			veo("b", { media: { length: "chunked" } }),
		]);

		await stack.executionEnded(id, "completed", 60);
		await stack.check(id);
	}, 120);

	test("nginx serves ranges, and only what is a finished file",
		async (stack) => {
			const { id, ids } = await stack.submit([clip("a")]);
			const { output } = await stack.ended(ids.a, "completed");
			const part = await request(output.url,
				{ headers: { range: "bytes=4-7" } });

			assert.equal(part.status, 206);
			assert.equal(part.text, "ftyp");
			// what it does not serve of it, it says as elsewhere
			for (const [status, method, headers] of [
				[405, "DELETE"], [405, "POST"],
				[412, "GET", { "if-match": '"x"' }],
				[416, "GET", { range: "bytes=99999999-" }]]) {
				const no = await request(output.url, { method, headers });

				assert.equal(no.json?.status, status, no.text);
				assert.equal(no.status, status);
				assert.equal(no.headers.allow,
					status === 405 ? "GET, HEAD" : undefined);
				assert.equal(no.headers["x-request-id"],
					no.json.request_id);
				// of two lines the stricter counts
				assert.match(no.headers["cache-control"],
					/(^|, )no-store$/);
			}
			const folder = output.url.replace(/[^/]+$/, "");

			for (const where of [folder, folder + ".", folder + "x.tmp",
				`${stack.base}/media/`, `${stack.base}/media/${id}/`,
				`${stack.base}/media/..%2f..%2fenv`])
				assert.ok([400, 404].includes(
					(await request(where)).status), where);
			await stack.check(id);
		});

	test("a cancel while storing stops the transfer", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", { media: { bytes: 4 << 20, rate: 4096 } }),
		]);

		await stack.jobIn(ids.a, "storing");
		const answer = await stack.api("POST", `/api/jobs/${ids.a}/cancel`);

		assert.equal(answer.status, 200, answer.text);
		await stack.ended(ids.a, "cancelled", 5);
		await until(() => filesOf(stack, id).length === 0,
			"the part to be removed");
		await stack.check(id);
	});
});
