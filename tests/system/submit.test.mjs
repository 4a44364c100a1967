// SPDX-License-Identifier: MIT
// The API from a client's side: what it takes, what it refuses and how it
// says so, what it shows and to whom.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

import { still } from "./jobs.mjs";
import { root, until } from "./stack.mjs";
import { suite } from "./suite.mjs";

const settings = {
	JOBS_PER_EXECUTION_MAX: "1000",
	BODY_BYTES_MAX: "1M",
};

/* A refusal as RFC 9457 wants it, with the request's id on it. */
function refused(answer, status, code) {
	assert.equal(answer.status, status, answer.text);
	assert.match(answer.headers["content-type"],
		/^application\/problem\+json/);
	assert.equal(answer.json.status, status);
	assert.ok(answer.json.title, answer.text);
	assert.ok(answer.headers["x-request-id"], "no X-Request-Id");
	assert.equal(answer.json.request_id, answer.headers["x-request-id"]);
	if (code)
		assert.equal(answer.json.code, code, answer.text);
	return answer.json;
}

const good = { name: "a", provider: "replicate", model: "o/m", input: {} };
const broken = [
	["no body at all", "", 400, "malformed_json"],
	["half a body", '{"jobs": [', 400, "malformed_json"],
	["two values", "{} {}", 400, "malformed_json"],
	["a key twice", '{"jobs":[],"jobs":[]}', 400, "malformed_json"],
	["no UTF-8", Buffer.from([0x22, 0xff, 0x22]), 400, "malformed_json"],
	["too deep", "[".repeat(200) + "]".repeat(200), 400],
	["no object", "[]", 422, "wrong_type", ""],
	["no jobs", {}, 422, "missing_field", "/jobs"],
	["empty jobs", { jobs: [] }, 422, "out_of_range", "/jobs"],
	["a job that is none", { jobs: [1] }, 422, "wrong_type", "/jobs/0"],
	["an unknown field", { jobs: [good], speed: 9 }, 422, "unknown_field",
		"/speed"],
	["an unknown field of a job", { jobs: [{ ...good, inputs: {} }] }, 422,
		"unknown_field", "/jobs/0/inputs"],
	["no name", { jobs: [{ ...good, name: undefined }] }, 422, null,
		"/jobs/0/name"],
	["a bad name", { jobs: [{ ...good, name: "a b" }] }, 422, "bad_name",
		"/jobs/0/name"],
	["a name twice", { jobs: [good, good] }, 422, "duplicate_name",
		"/jobs/1/name"],
	["an unknown provider", { jobs: [{ ...good, provider: "acme" }] }, 422,
		"unknown_provider", "/jobs/0/provider"],
	["no model", { jobs: [{ ...good, model: undefined }] }, 422,
		"missing_field", "/jobs/0/model"],
	["a model that is no text", { jobs: [{ ...good, model: 7 }] }, 422,
		"wrong_type", "/jobs/0/model"],
	["no input", { jobs: [{ ...good, input: undefined }] }, 422,
		"missing_field", "/jobs/0/input"],
	["an input that is no object", { jobs: [{ ...good, input: [] }] }, 422,
		"wrong_type", "/jobs/0/input"],
	["an unknown dependency", { jobs: [{ ...good, depends_on: ["b"] }] },
		422, "unknown_job", "/jobs/0/depends_on/0"],
	["a dependency that is no name",
		{ jobs: [{ ...good, depends_on: [3] }] }, 422, "wrong_type",
		"/jobs/0/depends_on/0"],
	["itself as dependency", { jobs: [{ ...good, depends_on: ["a"] }] },
		422, "dependency_cycle"],
	["a cycle", {
		jobs: [
			{ ...good, depends_on: ["b"] },
			{ ...good, name: "b", input: { x: "${a.output.url}" } },
		],
	}, 422, "dependency_cycle"],
	["a reference to nobody",
		{ jobs: [{ ...good, input: { deep: ["${b.output.url}"] } }] },
		422, "unknown_job", "/jobs/0/input/deep/0"],
	["half a reference",
		{ jobs: [{ ...good, input: { x: "${a.output" } }] }, 422,
		"bad_reference", "/jobs/0/input/x"],
	["an unknown policy",
		{ jobs: [{ ...good, on_dependency_failure: "hope" }] }, 422,
		"out_of_range", "/jobs/0/on_dependency_failure"],
	["defaults without the policy",
		{ jobs: [{ ...good, dependency_defaults: {} }] }, 422,
		"not_allowed", "/jobs/0/dependency_defaults"],
	["no time at all", { jobs: [{ ...good, deadline_s: 0 }] }, 422,
		"out_of_range", "/jobs/0/deadline_s"],
	["more than a week", { jobs: [{ ...good, deadline_s: 604801 }] }, 422,
		"out_of_range", "/jobs/0/deadline_s"],
	["half an attempt", { jobs: [{ ...good, max_attempts: 1.5 }] }, 422,
		"wrong_type", "/jobs/0/max_attempts"],
	["too many attempts", { jobs: [{ ...good, max_attempts: 11 }] }, 422,
		"out_of_range", "/jobs/0/max_attempts"],
	["metadata that is no object", { jobs: [good], metadata: "x" }, 422,
		"wrong_type", "/metadata"],
	["too much metadata",
		{ jobs: [good], metadata: { x: "x".repeat(17 << 10) } }, 422,
		"too_large", "/metadata"],
	["too many jobs", {
		jobs: Array.from({ length: 1001 },
			(_, i) => ({ ...good, name: `j${i}` })),
	}, 422, "too_many_jobs", "/jobs"],
];

suite("submit", { settings, concurrency: 4 }, (test) => {
	test("a submission is answered with ids and links", async (stack) => {
		const answer = await stack.api("POST", "/api/execute", {
			name: "night shoot",
			metadata: { scene: 12, tags: ["x"] },
			jobs: [still("a"), still("b", null, { depends_on: ["a"] })],
		});
		const { id, status, jobs, links } = answer.json;

		stack.submitted.push(id);
		assert.equal(answer.status, 202, answer.text);
		assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/);
		assert.equal(status, "running");
		assert.equal(links.self, `/api/executions/${id}`);
		assert.equal(links.cancel, `/api/executions/${id}/cancel`);
		assert.ok(answer.headers.location.endsWith(links.self));
		assert.deepEqual(jobs.map((job) => [job.name, job.status]),
			[["a", "queued"], ["b", "waiting"]]);
		for (const job of jobs) {
			assert.equal(job.links.self, `/api/jobs/${job.id}`);
			assert.equal(job.links.events, `/api/jobs/${job.id}/events`);
		}

		const execution = await stack.executionEnded(id, "completed");

		assert.equal(execution.name, "night shoot");
		assert.deepEqual(execution.metadata, { scene: 12, tags: ["x"] });
		assert.deepEqual(execution.jobs.map((job) => job.name), ["a", "b"]);
		await stack.check(id);
	});

	test("what is wrong is named, and nothing is stored", async (stack) => {
		const before = await stack.query("SELECT count(*) FROM executions");

		for (const [what, body, status, code, pointer] of broken) {
			const headers = { "content-type": "application/json" };
			const answer = await stack.api("POST", "/api/execute", body,
				headers);
			const problem = refused(answer, status, code);

			assert.ok(problem.detail, what);
			if (pointer)
				assert.ok(answer.text.includes(`"${pointer}"`),
					`${what}: ${answer.text}`);
		}
		// another test may submit at the same time
		const stray = await stack.query(`
			SELECT e.id FROM executions AS e
			  JOIN execution_jobs AS j ON j.execution_id = e.id
			 WHERE j.model = 'o/m'`);

		assert.ok(before.length === 1);
		assert.deepEqual(stray, []);
	});

	test("private words stay out of refusals", async (stack) => {
		const answer = await stack.api("POST", "/api/execute", {
			jobs: [{
				...good,
				model: 7,
				input: { prompt: "a secret plot" },
			}],
		});

		refused(answer, 422, "wrong_type");
		assert.ok(!answer.text.includes("secret plot"));
	});

	test("numbers the database refuses fail only themselves", async (stack) => {
		const poison = `{"jobs":[{"name":"a","provider":"replicate",` +
			`"model":"o/m","input":{"x":1e-99999}}]}`;
		const answers = await Promise.all(Array.from({ length: 32 },
			(_, i) => i === 7 ?
				stack.api("POST", "/api/execute", poison,
					{ "content-type": "application/json" }) :
				stack.api("POST", "/api/execute",
					{ jobs: [still("a")] })));

		for (const [i, answer] of answers.entries()) {
			if (i === 7) {
				assert.ok([400, 422].includes(answer.status),
					answer.text);
				continue;
			}
			assert.equal(answer.status, 202, answer.text);
			stack.submitted.push(answer.json.id);
			await stack.executionEnded(answer.json.id, "completed");
		}
	});

	test("text that is no text for the database is refused", async (stack) => {
		const answer = await stack.api("POST", "/api/execute",
			`{"jobs":[{"name":"a","provider":"replicate","model":"o/m",` +
			`"input":{"x":"\\u0000"}}]}`,
			{ "content-type": "application/json" });

		assert.ok([400, 422].includes(answer.status), answer.text);
		refused(answer, answer.status);
	});

	test("a dry run checks and stores nothing", async (stack) => {
		const jobs = [still("a"), still("b", null, { depends_on: ["a"] })];
		const name = `dry-${process.pid}`;
		const fine = await stack.api("POST", "/api/execute",
			{ name, jobs, dry_run: true });
		const wrong = await stack.api("POST", "/api/execute",
			{ name, dry_run: true, jobs: [{ ...jobs[0], model: 1 }] });

		assert.equal(fine.status, 200, fine.text);
		refused(wrong, 422, "wrong_type");
		assert.deepEqual(await stack.query(
			`SELECT id FROM executions WHERE name = '${name}'`), []);
	});

	test("a body over the limit is refused and read to its end",
		async (stack) => {
			const big = "x".repeat((1 << 20) + 1);
			const huge = "x".repeat(6 << 20);

			for (let i = 0; i < 3; i++) {
				refused(await stack.api("POST", "/api/execute", big,
					{ "content-type": "application/json" }),
				413, "body_too_large");
				assert.equal((await stack.api("POST", "/api/execute",
					huge, { "content-type": "application/json" }))
					.status, 413);
				// and what comes next is not harmed by it
				await stack.get("/api/executions?limit=1");
			}
		});

	test("only JSON is taken", async (stack) => {
		refused(await stack.api("POST", "/api/execute", "a=b", {
			"content-type": "application/x-www-form-urlencoded",
		}), 415);
	});

	test("methods and paths that are not there", async (stack) => {
		const wrong = await stack.api("GET", "/api/execute");

		refused(wrong, 405);
		assert.match(wrong.headers.allow, /POST/);
		refused(await stack.api("GET", "/api/nothing"), 404);
		refused(await stack.api("GET", "/api/jobs/nonsense"), 404);
		refused(await stack.api("GET",
			"/api/jobs/01890000-0000-7000-8000-00000000dead"), 404);
		refused(await stack.api("GET",
			"/api/executions/01890000-0000-7000-8000-00000000dead"), 404);
		refused(await stack.api("DELETE",
			"/api/jobs/01890000-0000-7000-8000-00000000dead"), 405);
	});

	test("a request id that was given is echoed", async (stack) => {
		// by the program, and by nginx where it refuses
		for (const where of ["/api/jobs/nonsense", "/nothing"]) {
			const ask = (id) => stack.api("GET", where, undefined,
				{ "x-request-id": id });

			for (const id of ["shoot-42", "A.b_c", "x".repeat(64)])
				assert.equal(refused(await ask(id), 404).request_id,
					id);
			for (const id of ["<script>", "x".repeat(65), "a b", ""])
				assert.notEqual(refused(await ask(id), 404)
					.request_id, id);
		}
	});
});

suite("keys", { concurrency: 2 }, (test) => {
	const administer = (stack, options, stdio) => execFileSync(
		path.join(root, process.env.BUILD ?? "build", "rushes-poller"),
		options, {
			encoding: "utf8",
			stdio,
			env: { ...process.env, DATABASE_URL: stack.database },
		});
	const addKey = (stack, name) => administer(stack, ["--add-key", name])
		.trim().split(/\s+/).at(-1);

	test("a database without our schema is told what it wants",
		async (stack) => {
			const other = { database: stack.database
				.replace("///rushes", "///postgres") };

			assert.throws(() => administer(other, ["--list-keys"]),
				(error) => {
					assert.equal(error.status, 1, error.stderr);
					assert.match(error.stderr, /--migrate/);
					return true;
				});
		});

	test("a key that cannot be written down is no success",
		async (stack) => {
			const full = fs.openSync("/dev/full", "w");

			assert.throws(() => administer(stack, ["--add-key", "lost"],
				["ignore", full, "pipe"]), (error) => {
				assert.equal(error.status, 1, error.stderr);
				// which one it is, to revoke it
				assert.match(error.stderr, /^key [0-9a-f-]{36} of "lost"/);
				return true;
			});
			fs.closeSync(full);
		});

	test("a twin of a request gets the same answer", async (stack) => {
		const headers = { "idempotency-key": "key-1" };
		const body = { jobs: [still("a"), still("b")] };
		const answers = await Promise.all(Array.from({ length: 50 },
			() => stack.api("POST", "/api/execute", body, headers)));

		stack.submitted.push(answers[0].json.id);
		for (const answer of answers) {
			assert.equal(answer.status, 202, answer.text);
			assert.equal(answer.json.id, answers[0].json.id);
			assert.deepEqual(answer.json.jobs.map((job) => job.id),
				answers[0].json.jobs.map((job) => job.id));
			assert.equal(answer.headers.location,
				answers[0].headers.location);
		}
		await stack.executionEnded(answers[0].json.id, "completed");

		const late = await stack.api("POST", "/api/execute", body, headers);

		assert.equal(late.status, 202);
		assert.equal(late.json.id, answers[0].json.id);
		refused(await stack.api("POST", "/api/execute",
			{ jobs: [still("c")] }, headers), 422);
		refused(await stack.api("POST", "/api/execute", body,
			{ "idempotency-key": "x".repeat(256) }), 400);
	});

	test("rivals for one key: one wins, the others are told",
		async (stack) => {
			const headers = { "idempotency-key": "key-2" };
			const bodies = Array.from({ length: 20 },
				(_, i) => ({ jobs: [still(`job${i}`)] }));
			const answers = await Promise.all(bodies.map((body) =>
				stack.api("POST", "/api/execute", body, headers)));
			const taken = answers.filter((a) => a.status === 202);

			assert.equal(taken.length, 1);
			for (const answer of answers) {
				if (answer !== taken[0])
					refused(answer, 422, "idempotency_conflict");
			}

			// once it is decided: the winner's body among the others
			const again = await Promise.all(Array.from({ length: 20 },
				(_, i) => stack.api("POST", "/api/execute",
					i % 3 ? { jobs: [still("x")] } :
						bodies[answers.indexOf(taken[0])],
					headers)));

			for (const [i, answer] of again.entries()) {
				if (i % 3)
					refused(answer, 422, "idempotency_conflict");
				else
					assert.equal(answer.json.id,
						taken[0].json.id, answer.text);
			}
			stack.submitted.push(taken[0].json.id);
			await stack.executionEnded(taken[0].json.id, "completed");
		});

	test("an owner sees only its own", async (stack) => {
		const { id, ids } = await stack.submit([still("a")]);
		const other = {
			authorization: `Bearer ${addKey(stack, "another")}`,
		};

		await stack.executionEnded(id, "completed");
		for (const [method, where] of [
			["GET", `/api/jobs/${ids.a}`],
			["GET", `/api/jobs/${ids.a}/events`],
			["GET", `/api/executions/${id}`],
			["POST", `/api/executions/${id}/cancel`],
			["POST", `/api/jobs/${ids.a}/cancel`],
			["POST", `/api/jobs/${ids.a}/retry`],
		])
			refused(await stack.api(method, where, undefined, other), 404);

		const list = await stack.api("GET", "/api/executions", undefined,
			other);

		assert.equal(list.status, 200);
		assert.deepEqual(list.json.items, []);

		// the key of the same name belongs to the same owner
		const mine = { authorization: `Bearer ${addKey(stack, "demo")}` };

		assert.equal((await stack.api("GET", `/api/jobs/${ids.a}`,
			undefined, mine)).status, 200);

		// another owner may use the same idempotency key
		const twin = { "idempotency-key": "shared" };
		const first = await stack.submit([still("a")], {}, twin);
		const second = await stack.api("POST", "/api/execute",
			{ jobs: [still("b")] }, { ...twin, ...other });

		assert.equal(second.status, 202, second.text);
		assert.notEqual(first.id, second.json.id);
		await stack.executionEnded(first.id, "completed");
		await until(async () => (await stack.api("GET",
			second.json.links.self, undefined, other))
			.json.status === "completed", "the other's execution");
	});

	test("without a key there is nothing", async (stack) => {
		for (const authorization of [null, "", "Bearer", "Bearer x",
			`Basic ${stack.key}`, `Bearer ${stack.key}x`,
			`Bearer ${"x".repeat(5000)}`]) {
			const answer = await stack.api("GET", "/api/executions",
				undefined, { authorization });

			refused(answer, 401);
			assert.match(answer.headers["www-authenticate"], /Bearer/);
		}
		refused(await stack.api("POST", "/api/execute",
			{ jobs: [still("a")] }, { authorization: null }), 401);
	});

	test("what has not changed is not sent again", async (stack) => {
		const { id, ids } = await stack.submit([still("a")]);

		await stack.ended(ids.a, "completed");
		await stack.executionEnded(id, "completed");
		for (const where of [`/api/jobs/${ids.a}`]) {
			const first = await stack.api("GET", where);
			const again = await stack.api("GET", where, undefined,
				{ "if-none-match": first.headers.etag });
			const other = await stack.api("GET", where, undefined,
				{ "if-none-match": '"nonsense"' });

			assert.ok(first.headers.etag, where);
			assert.equal(again.status, 304);
			assert.equal(again.bytes.length, 0);
			assert.equal(again.headers.etag, first.headers.etag);
			assert.equal(other.status, 200);
		}
	});
});

suite("lists", {}, (test) => {
	test("pages join without a gap or a double", async (stack) => {
		const made = [];

		for (let i = 0; i < 7; i++) {
			const { id } = await stack.submit([still("a")],
				{ name: `n${i}` });

			made.unshift(id);
		}
		const seen = [];
		let where = "/api/executions?limit=3";

		for (let page = 0; page < 5; page++) {
			const list = await stack.get(where);

			assert.ok(list.items.length <= 3);
			seen.push(...list.items.map((item) => item.id));
			if (!list.next_cursor)
				break;
			where = "/api/executions?limit=3&cursor=" +
				encodeURIComponent(list.next_cursor);
		}
		assert.deepEqual(seen, made);
		for (const id of made)
			await stack.executionEnded(id, "completed");

		const done = await stack.get("/api/executions?status=completed");
		const none = await stack.get("/api/executions?status=cancelled");

		assert.equal(done.items.length, 7);
		assert.deepEqual(none.items, []);
	});

	test("questions that make no sense are refused", async (stack) => {
		for (const query of ["limit=0", "limit=201", "limit=x",
			"status=nonsense", "cursor=nonsense"])
			refused(await stack.api("GET", `/api/executions?${query}`),
				400);
	});

	test("health needs no key", async (stack) => {
		for (const where of ["/healthz", "/readyz"]) {
			const answer = await stack.api("GET", where, undefined,
				{ authorization: null });

			assert.equal(answer.status, 200, answer.text);
		}
	});

	test("a timeline tells the whole story in order", async (stack) => {
		const { ids } = await stack.submit([still("a")]);

		await stack.ended(ids.a, "completed");
		const events = await stack.events(ids.a);

		assert.deepEqual(events.map((event) => [event.event, event.to]), [
			["submitted", "queued"],
			["start", "starting"],
			[events[2].event, "processing"],
			["rendered", "storing"],
			["stored", "completed"],
		]);
		for (const event of events)
			assert.ok(event.why && event.at, JSON.stringify(event));
	});
});
