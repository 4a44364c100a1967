// SPDX-License-Identifier: MIT
// That the judge of answers sees what is not as in docs/openapi.yaml.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";

import "./contract.mjs";
import { request } from "./http.mjs";

const id = "01890000-0000-7000-8000-000000000000";
const links = {
	self: `/api/executions/${id}`,
	cancel: `/api/executions/${id}/cancel`,
};
const counts = {
	total: 1, running: 1, completed: 0, failed: 0, cancelled: 0, skipped: 0,
};
const job = {
	id,
	name: "a",
	provider: "fal",
	model: "fal-ai/x",
	status: "processing",
	cancelling: false,
	attempt: 1,
	progress: null,
	version: 3,
	error_code: null,
	links: { self: `/api/jobs/${id}`, events: `/api/jobs/${id}/events` },
};
const execution = {
	id,
	name: null,
	status: "running",
	counts,
	metadata: { any: ["thing"] },
	created_at: "2026-01-01T00:00:00.000Z",
	completed_at: null,
	links,
	jobs: [job],
};
const problem = {
	type: "about:blank",
	title: "Service Unavailable",
	status: 503,
	code: "unavailable",
	request_id: "x",
};
const headers = {
	"content-type": "application/json",
	"cache-control": "no-store",
	"x-request-id": "x",
};
const refused = { ...headers, "content-type": "application/problem+json" };
const sound = { status: 200, headers, body: execution };
const away = {
	status: 503,
	headers: { ...refused, "retry-after": "2" },
	body: problem,
};

/* What each is, and what is said of it; no word: it is as it should be. */
const cases = {
	"an execution": [sound],
	"a refusal": [away],
	"none of our addresses": [{ ...sound, body: "x" }, null, "GET", "/api/x"],
	"a member too many": [
		{ ...sound, body: { ...execution, more: 1 } }, /"more"/],
	"one too many in a list": [
		{ ...sound, body: { ...execution, jobs: [{ ...job, more: 1 }] } },
		/jobs\/0 .*"more"/],
	"a member too few": [
		{ ...sound, body: { ...execution, jobs: undefined } }, /jobs/],
	"a word that it does not have": [
		{ ...sound, body: { ...execution, status: "paused" } }, /status/],
	"a time of another form": [
		{ ...sound, body: { ...execution, completed_at: "2026-01-01" } },
		/completed_at/],
	"no JSON": [{ ...sound, body: "x" }, /must be object/],
	"another type": [
		{ ...sound, headers: { ...headers, "content-type": "text/html" } },
		/text\/html/],
	"a status that it does not have": [
		{ ...sound, status: 201 }, /a status that .* not have/],
	"a method that it does not have": [
		sound, /nor the method/, "DELETE"],
	"no id": [
		{ ...sound, headers: { ...headers, "x-request-id": "" } },
		/input did not match/],
	"may be kept": [
		{ ...sound, headers: { ...headers, "cache-control": "public" } },
		/public/],
	"no Retry-After": [{ ...away, headers: refused }, /no Retry-After/],
};

let server, base, answer;

before(() => new Promise((resolve) => {
	server = http.createServer((_, back) => {
		back.writeHead(answer.status, answer.headers);
		back.end(typeof answer.body === "string" ? answer.body :
			JSON.stringify(answer.body));
	});
	server.listen(0, "127.0.0.1", () => {
		base = `http://127.0.0.1:${server.address().port}`;
		resolve();
	});
}));
after(() => server.close());

for (const [what, [given, said, method = "GET",
	where = `/api/executions/${id}`]] of Object.entries(cases)) {
	test(`judged: ${what}`, async () => {
		answer = given;
		const asked = request(base + where, { method });

		if (!said)
			assert.equal((await asked).status, given.status);
		else
			await assert.rejects(asked, (error) => said.test(
				error.message.split("\n{")[0]) &&
				error.message.includes(String(given.status)) &&
				error.message.includes(method));
	});
}
