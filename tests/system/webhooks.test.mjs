// SPDX-License-Identifier: MIT
// Webhooks in every order and every disguise.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";

import { request } from "./http.mjs";
import { clip, makers, still } from "./jobs.mjs";
import { until, webhookUrl } from "./stack.mjs";
import { hardlyPolled, suite } from "./suite.mjs";

const forgeries = {
	// word: which answers are right for Replicate and for fal
	unsigned: 401,
	signature: 401,
	body: 401,
	stale: 401,
	future: 401,
	malformed: 401,
	doubled: [400, 401],
	token: 401,
};

/* The headers of Replicate, with the secret that the simulator has. */
function signed(body) {
	const now = String(Math.floor(Date.now() / 1000));
	const mac = createHmac("sha256", Buffer.from(
		"cnVzaGVzLXNpbXVsYXRvci13ZWJob29rLWtleS0wMDE", "base64"))
		.update(`msg_own.${now}.${body}`).digest("base64");

	return {
		"content-type": "application/json",
		"webhook-id": "msg_own",
		"webhook-timestamp": now,
		"webhook-signature": `v1,${mac}`,
	};
}

suite("webhooks", { settings: hardlyPolled, concurrency: 6 }, (test) => {
	for (const [name, make] of [["replicate", still], ["fal", clip]]) {
		test(`${name}: before the start's own answer`, async (stack) => {
			const { id, ids } = await stack.submit([
				make("a", {
					webhook: { early: true },
					poll: { status: 503 },
				}),
			]);
			const job = await stack.ended(ids.a, "completed");
			const start = await stack.start(ids.a);

			assert.equal(job.completed_via, "webhook");
			assert.equal(job.attempt, 1);
			assert.equal(start.answered, true);
			assert.equal(start.deliveries.at(-1).answer, 200);
			await stack.check(id);
		});

		test(`${name}: delivered five times`, async (stack) => {
			const { id, ids } = await stack.submit([
				make("a", { webhook: { copies: 5 } }),
			]);

			await stack.ended(ids.a, "completed");
			const deliveries = await until(async () => {
				const all = (await stack.start(ids.a)).deliveries
					.filter((d) => d.event !== "start");

				return all.length >= 5 && all;
			}, "five deliveries");

			for (const delivery of deliveries)
				assert.equal(delivery.answer, 200);
			await stack.check(id);
		});

		test(`${name}: long after the end`, async (stack) => {
			const { id, ids } = await stack.submit([
				make("a", { outcome: "never" }),
			]);

			await stack.jobIn(ids.a, "processing");
			await stack.steer(ids.a, { end: "succeed" });
			await stack.ended(ids.a, "completed");
			const before = await stack.row(ids.a);

			await stack.steer(ids.a, { deliver: { copies: 3 } });
			await until(async () => (await stack.start(ids.a))
				.deliveries.length >= 4, "late deliveries");
			for (const d of (await stack.start(ids.a)).deliveries)
				assert.equal(d.answer, 200);
			assert.equal((await stack.row(ids.a)).version, before.version);
			await stack.check(id);
		});

		for (const [forge, want] of Object.entries(forgeries)) {
			test(`${name}: forged by ${forge}`, async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", { webhook: { forge }, delay_ms: 500 }),
				]);

				await stack.ended(ids.a, "completed");
				const start = await stack.start(ids.a);
				const forged = start.deliveries.filter(
					(d) => d.kind === "forged");

				assert.ok(forged.length > 0);
				for (const d of forged)
					assert.ok([want].flat().includes(d.answer),
						`answered ${d.answer}`);
				// the forged one claimed that it failed
				assert.deepEqual((await stack.events(ids.a)).filter(
					(e) => e.to === "failed"), []);
				const inbox = await stack.query(`SELECT delivery_key
					FROM webhook_inbox WHERE job_id = '${ids.a}'`);

				assert.ok(inbox.length <= start.deliveries.filter(
					(d) => d.kind === "genuine").length);
				await stack.check(id);
			});
		}

		test(`${name}: rightly signed, but of another job`,
			async (stack) => {
				const { id, ids } = await stack.submit([
					make("a", {
						webhook: { forge: "other", genuine: false },
						delay_ms: 500,
					}),
				]);
				const forged = await until(async () => {
					const [start] = await stack.startsOf(ids.a);

					return start?.deliveries.find(
						(d) => d.kind === "forged");
				}, "the forged delivery");

				// whatever it is answered, it must not fail the job
				assert.ok(forged.answer < 500);
				const job = await stack.job(ids.a);

				assert.notEqual(job.status, "failed");
				await stack.steer(ids.a, { deliver: {} });
				await stack.ended(ids.a, "completed");
				await stack.check(id);
			});
	}

	test("replicate: signed with one key among several signatures",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", { webhook: { signatures: 5 } }),
			]);

			await stack.ended(ids.a, "completed");
			await stack.check(id);
		});

	test("replicate: progress after the end is history", async (stack) => {
		const { id, ids } = await stack.submit([
			still("a", {
				webhook: { reorder: true },
				delay_ms: 800,
				steps: 5,
			}),
		]);

		await stack.ended(ids.a, "completed");
		await until(async () => {
			const { deliveries } = await stack.start(ids.a);

			return deliveries.length > 1 &&
				deliveries.at(-1).event !== "completed";
		}, "the reordered deliveries");
		for (const d of (await stack.start(ids.a)).deliveries)
			assert.equal(d.answer, 200);
		await stack.check(id);
	});

	test("fal: a result that came without its payload is fetched",
		async (stack) => {
			const { id, ids } = await stack.submit([
				clip("a", { webhook: { payload: false } }),
			]);

			await stack.ended(ids.a, "completed");
			assert.ok((await stack.start(ids.a)).results > 0);
			await stack.check(id);
		});

	test("addresses that are wrong in each part", async (stack) => {
		const { ids } = await stack.submit([still("a", { delay_ms: 4000 })]);
		const url = await webhookUrl(stack, ids.a);
		const [, head, attempt, mac] =
			/^(.*\/)(\d+)\.([\w-]+)$/.exec(url);
		const body = { id: "x", status: "failed", error: "forged" };
		const before = await stack.job(ids.a);
		const wrong = [
			`${head}${attempt}.${mac.slice(0, -2)}`,
			`${head}${attempt}.${"A".repeat(mac.length)}`,
			`${head}${Number(attempt) + 1}.${mac}`,
			`${head}${attempt}.`,
			`${head}.${mac}`,
			`${head}99999999999999999999.${mac}`,
		];

		for (const address of wrong) {
			const answer = await request(address, { body });

			assert.equal(answer.status, 401, `${address}: ${answer.text}`);
		}
		const nobody = await request(url.replace(ids.a,
			"01890000-0000-7000-8000-00000000dead"), { body });

		assert.ok([401, 404].includes(nobody.status), nobody.text);
		assert.equal((await request(url.replace(ids.a, "x"), { body }))
			.status, 404);
		assert.equal((await request(url)).status, 405);
		const after = await stack.job(ids.a);

		assert.equal(after.status, "processing");
		assert.ok(after.version >= before.version);
		await stack.ended(ids.a, "completed");
	});

	test("bodies that are none", async (stack) => {
		const { ids } = await stack.submit([clip("a", { delay_ms: 3000 })]);
		const url = await webhookUrl(stack, ids.a);

		for (const body of ["", "{", "[1]", '{"request_id":'])
			assert.ok([400, 401, 422].includes((await request(url, {
				body,
				headers: { "content-type": "application/json" },
			})).status), body);
		assert.equal((await request(url, {
			body: "x".repeat((2 << 20) + 1),
			headers: { "content-type": "application/json" },
		})).status, 413);
		await stack.ended(ids.a, "completed");
	});

	test("without a token the signature and the id must do",
		async (stack) => {
			const { ids } = await stack.submit([
				still("a", { delay_ms: 3000 }),
			]);

			await stack.jobIn(ids.a, "processing");
			const url = await webhookUrl(stack, ids.a);
			const bare = url.replace(/\/[^/]+$/, "");
			const start = await stack.start(ids.a);

			assert.equal((await request(bare, {
				body: { id: start.id, status: "succeeded" },
			})).status, 401);
			assert.equal((await request(bare, {
				body: { id: start.id, status: "failed" },
				headers: {
					"webhook-id": "msg_1",
					"webhook-timestamp": String(
						Math.floor(Date.now() / 1000)),
					"webhook-signature": "v1,AAAA",
				},
			})).status, 401);
			await stack.ended(ids.a, "completed");
		});

	test("without a token a genuine one counts for what it names",
		async (stack) => {
			const { id, ids } = await stack.submit([
				still("a", { outcome: "never" }),
			]);

			await stack.jobIn(ids.a, "processing");
			const bare = (await webhookUrl(stack, ids.a))
				.replace(/\/[^/]+$/, "");
			const failed = (prediction) => {
				const body = JSON.stringify({ id: prediction,
					status: "failed", error: "stopped (E8367)" });

				return request(bare, { body, headers: signed(body) });
			};

			assert.equal((await failed("another")).status, 401);
			assert.equal((await stack.job(ids.a)).status, "processing");
			assert.equal((await failed((await stack.start(ids.a)).id))
				.status, 200);
			await stack.ended(ids.a, "failed");
			await stack.check(id);
		});
});

suite("lost webhooks", { concurrency: 4 }, (test) => {
	for (const name of ["replicate", "fal"]) {
		test(`${name}: healed by polling`, async (stack) => {
			const { id, ids } = await stack.submit([
				makers[name]("a", { webhook: { drop: true } }),
			]);
			const job = await stack.ended(ids.a, "completed");

			assert.equal(job.completed_via, "polling");
			assert.deepEqual((await stack.start(ids.a)).deliveries, []);
			await stack.check(id);
		});

		test(`${name}: a poll and a webhook at the same time`,
			async (stack) => {
				const { id } = await stack.submit(Array.from(
					{ length: 12 },
					(_, i) => makers[name](`a${i}`,
						{ delay_ms: 600 + 40 * i })));

				await stack.executionEnded(id, "completed", 40);
				await stack.check(id);
			});
	}
});

suite("rotated keys", { settings: hardlyPolled }, (test) => {
	test("fal's new key is fetched when it is met", async (stack) => {
		const first = await stack.submit([clip("a")]);

		await stack.executionEnded(first.id, "completed");
		await stack.control({ rotate: true });
		const second = await stack.submit([clip("a")]);

		// at first a hint: the job is polled at once and completes
		await stack.executionEnded(second.id, "completed", 30);
		await stack.check(first.id, second.id);
	});

	test("a key that was dropped signs no more", async (stack) => {
		const { id, ids } = await stack.submit([
			clip("a", { webhook: { forge: "key" }, delay_ms: 500 }),
		]);

		await stack.executionEnded(id, "completed", 30);
		assert.deepEqual((await stack.events(ids.a)).filter(
			(e) => e.to === "failed"), []);
	});
});
