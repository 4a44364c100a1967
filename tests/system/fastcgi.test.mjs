// SPDX-License-Identifier: MIT
// The program's own socket, spoken to as only nginx may: nothing runs that was
// not a request of its own, nobody holds up the others, nothing stays.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

import { ABORT, GET_VALUES, Peer, STDIN, ask, head, record }
	from "./fastcgi.mjs";
import { clip, still } from "./jobs.mjs";
import { patience, until } from "./stack.mjs";
import { suite } from "./suite.mjs";

const unknown = "01890000-0000-7000-8000-000000000000";

function connect(stack) {
	return Peer.open(path.join(stack.run, "fcgi.sock"));
}

/* A submission that would be taken, were it ever read as one. */
function submission(stack, name) {
	return ask("POST", "/api/execute", {
		HTTP_AUTHORIZATION: `Bearer ${stack.key}`,
		CONTENT_TYPE: "application/json",
	}, JSON.stringify({ name, jobs: [clip("a")] }));
}

async function stored(stack, name) {
	const [{ count }] = await stack.query(
		`SELECT count(*) FROM executions WHERE name = '${name}'`);

	return count;
}

function descriptors(stack) {
	return fs.readdirSync(`/proc/${stack.pid("fcgi")}/fd`).length;
}

/* KiB that are the program's alone. */
function memory(stack) {
	const text = fs.readFileSync(
		`/proc/${stack.pid("fcgi")}/smaps_rollup`, "utf8");

	return Number(/^Private_Dirty: +(\d+)/m.exec(text)[1]);
}

async function back(stack, before) {
	await until(() => descriptors(stack) <= before,
		`${descriptors(stack)} descriptors to be ${before}`, 40);
}

suite("fastcgi", { settings: { FCGI_THREADS: "2" } }, (test) => {
	test("a body never becomes a request, whatever is answered early",
		async (stack) => {
			const key = { HTTP_AUTHORIZATION: `Bearer ${stack.key}` };
			const { ids } = await stack.submit([clip("a")]);
			const token = "/api/webhooks/job";
			const cases = [
				[200, "GET", "/healthz"],
				[200, "GET", `/api/jobs/${ids.a}`, key],
				[400, "POST", "/api/execute", key],
				[400, "POST", "/api/execute",
					{ ...key, CONTENT_LENGTH: "9000000x" }],
				[400, "POST", "/api/execute",
					{ ...key, CONTENT_LENGTH: "90000" }],
				[401, "POST", "/api/execute"],
				[401, "POST", `${token}/${ids.a}/1.forged`],
				[404, "POST", "/nowhere"],
				[404, "GET", `/api/jobs/${unknown}`, key],
				[404, "POST", `${token}/${unknown}/1.forged`],
				[405, "PUT", "/api/execute", key],
				[413, "POST", `/api/jobs/${ids.a}/retry`, key],
				[413, "POST", "/api/execute", key, 5 << 20],
				[413, "POST", `${token}/${ids.a}/1.forged`, {},
					2 << 20],
				[415, "POST", "/api/execute",
					{ ...key, CONTENT_TYPE: "text/html" }],
			];
			const peer = await connect(stack);

			for (const [status, method, uri, params, room] of cases) {
				const forged = Buffer.concat([
					Buffer.alloc(room ?? 8192, " "),
					...Array.from({ length: 5 },
						() => submission(stack, "forged"))]);

				peer.send(ask(method, uri, params, forged));
				assert.equal(await peer.answer(), status, uri);
			}
			// the same bytes, not in a body, are a request
			peer.send(submission(stack, "genuine"));
			assert.equal(await peer.answer(), 202);
			peer.close();
			assert.equal(await stored(stack, "genuine"), 1);
			assert.equal(await stored(stack, "forged"), 0);
		});

	test("requests behind each other are each served, and no more",
		async (stack) => {
			const peer = await connect(stack);

			peer.send(Buffer.concat([
				ask("POST", "/nowhere", {}, submission(stack, "hidden")),
				...Array.from({ length: 50 }, (_, i) => Buffer.concat([
					ask("GET", "/healthz"),
					submission(stack, `queue ${i}`)]))]));
			assert.equal(await peer.answer(), 404);
			for (let i = 0; i < 50; i++) {
				assert.equal(await peer.answer(), 200);
				assert.equal(await peer.answer(), 202);
				assert.equal(await stored(stack, `queue ${i}`), 1);
			}
			assert.equal(await stored(stack, "hidden"), 0);
			peer.close();
		});

	test("silent peers hold up nobody, and their end leaves nothing",
		async (stack) => {
			const before = descriptors(stack);
			const whole = submission(stack, "half");
			const begun = head("POST", "/api/execute").length;
			const silent = [];

			for (let i = 0; i < 200; i++)
				silent.push(await connect(stack));
			for (let cut = 1; cut < begun; cut += 3) {
				const peer = await connect(stack);

				peer.send(whole.subarray(0, cut));
				silent.push(peer);
			}
			for (let i = 0; i < 200; i++)
				assert.equal((await stack.api("GET", "/healthz"))
					.status, 200);
			silent.forEach((peer) => peer.close());
			await back(stack, before);
			assert.equal(await stored(stack, "half"), 0);
		});

	test("half bodies hold a thread for one timeout at most",
		async (stack) => {
			const before = descriptors(stack);
			const whole = submission(stack, "half");
			const halves = [];

			for (let i = 0; i < 2; i++) {
				halves.push(await connect(stack));
				halves[i].send(whole.subarray(0, -20));
			}
			const began = Date.now();

			assert.equal((await stack.api("GET", "/healthz")).status, 200);
			assert.ok(Date.now() - began < 15_000 * patience);
			for (const peer of halves) {
				assert.equal(await peer.answer(), 400);
				await peer.gone();
			}
			await back(stack, before);
			assert.equal(await stored(stack, "half"), 0);
		});

	test("hostile peers leave no descriptor and no memory",
		async (stack) => {
			const strays = [
				record(GET_VALUES, Buffer.concat(Array(100).fill(
					Buffer.from("\x0e\0FCGI_MAX_CONNS"))), 0),
				Buffer.concat(Array(500).fill(record(200, "", 0))),
				record(ABORT),
				record(STDIN, "x", 2),
				head("POST", "/api/execute"),
			];
			const round = async (i) => {
				const peer = await connect(stack);

				peer.send(Buffer.concat([
					head("POST", "/api/webhooks/job/x/1.a",
						{ CONTENT_LENGTH: 1 }),
					strays[i % strays.length],
					submission(stack, "forged")]));
				assert.equal(await peer.answer(), 400);
				await peer.gone();
			};

			for (let i = 0; i < 500; i++)
				await round(i);
			const pid = stack.pid("fcgi"), before = descriptors(stack);
			const kib = memory(stack);

			for (let i = 0; i < 2500; i++)
				await round(i);
			await back(stack, before);
			assert.equal(stack.pid("fcgi"), pid);
			// sanitizers keep what was freed, and look themselves
			if (!/[at]san/.test(process.env.BUILD))
				assert.ok(memory(stack) < kib + 256,
					`${kib} KiB, then ${memory(stack)}`);
			assert.equal(await stored(stack, "forged"), 0);
		});
});

function say(stack, method, uri, body = "", params = {}) {
	return ask(method, uri, {
		HTTP_AUTHORIZATION: `Bearer ${stack.key}`,
		CONTENT_TYPE: "application/json",
		...params,
	}, body);
}

async function status(stack, request) {
	const peer = await connect(stack);

	peer.send(request);
	const answer = await peer.answer(60);

	peer.close();
	return answer;
}

/* Submit it. "too_slow" it may be at first; then the key tells. @returns id */
async function taken(stack, name, jobs) {
	const request = say(stack, "POST", "/api/execute",
		JSON.stringify({ name, jobs }), { HTTP_IDEMPOTENCY_KEY: name });

	await until(async () => await status(stack, request) === 202,
		`${name} to be taken`, 60);
	const [{ id }] = await stack.query(
		`SELECT id FROM executions WHERE name = '${name}'`);

	return id;
}

suite("the largest body", { settings: { BODY_BYTES_MAX: "64M" } }, (test) => {
	// what waits to be committed is the body and its rows: twice as much
	test("what BODY_BYTES_MAX allows is taken", async (stack) => {
		const id = await taken(stack, "large", [
			clip("never", { outcome: "never" }),
			...Array.from({ length: 66 }, (_, i) => ({
				...still(`s${i}`, null, { depends_on: ["never"] }),
				input: { prompt: "a".repeat(1_000_000) },
			}))]);

		await stack.api("POST", `/api/executions/${id}/cancel`);
		await stack.executionEnded(id, "cancelled", 60);
	}, 120);
});

suite("the most jobs", {
	settings: { BODY_BYTES_MAX: "6M", JOBS_PER_EXECUTION_MAX: "20000" },
}, (test) => {
	// answers are much longer than the body that they are about
	test("more than the default are shown, and cancelled", async (stack) => {
		const id = await taken(stack, "many", [
			clip("n", { outcome: "never" }),
			...Array.from({ length: 19_999 }, (_, i) => ({
				name: `${i}`,
				provider: "fal",
				model: "m".repeat(200),
				input: {},
				depends_on: ["n"],
			}))]);
		const uri = `/api/executions/${id}`;

		assert.equal(await status(stack, say(stack, "GET", uri)), 200);
		const cancel = say(stack, "POST", `${uri}/cancel`);

		assert.ok([200, 202].includes(await status(stack, cancel)));
		await stack.executionEnded(id, "cancelled", 60);
	}, 240);
});
