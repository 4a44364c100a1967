// SPDX-License-Identifier: MIT
// A stack with shim.c in its programs, and a small scenario that goes through
// everything the poller or the API does, seen to its end whatever happens.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { clip, still, veo } from "../system/jobs.mjs";
import { Stack, patience, terminal, until } from "../system/stack.mjs";
import { wholeLedger } from "./judge.mjs";
import { settings } from "./load.mjs";
import { Preload } from "./preload.mjs";

const LEASE_S = 5;
/* How long a start stays lost until fate lets the time pass. */
const LOST_MS = 600;

const quickly = {
	...settings,
	LEASE_S: `${LEASE_S}`,
	POLLER_PERIOD_S: "1",
	POLLER_LINGER_S: "0",
	CANCEL_CONFIRM_S: "20",
	FCGI_THREADS: "2",
	RESTART_TIRED_MS: "100",
	SIMULATOR_ARGS: "--delay-ms 30",
};

const webhook = { retry_first_ms: 150 };

/* One of each way: by webhook, by polling, and never. */
const jobs = (n) => [
	still(`p${n}-hook`, { webhook }),
	clip(`p${n}-polled`, { webhook: { drop: true } },
		{ depends_on: [`p${n}-hook`] },
		{ image_url: `\${p${n}-hook.output.url}` }),
	veo(`p${n}-veo`, { media: { length: "chunked" } }),
	still(`p${n}-never`, { outcome: "never", webhook }),
];

/* The API has more to do: a retry, and an execution to cancel. */
const more = (n) => [
	...jobs(n),
	clip(`p${n}-refused`, { start: { status: 422, times: 1 }, webhook }),
];

export class Lane {
	constructor(program) {
		this.program = program;
		this.preload = new Preload();
		this.look_ms = 30;
		this.most_s = 40; // for an execution, and for an answer
		this.again = [0, 502, 503, 504]; // answers after which to repeat
		this.crashes = 0;
	}

	async start(settings = {}) {
		this.stack = await Stack.start({
			...quickly, ...settings, ...this.preload.settings,
		});
		wholeLedger(this.stack);
		this.stack.cancelled = new Set();
		return this;
	}

	/** As a client that does not give up. */
	async ask(method, where, body, headers) {
		const end = Date.now() + this.most_s * 1000 * patience;

		for (;;) {
			const answer = await this.stack.api(method, where, body,
				headers).catch((error) => ({
				status: 0, text: error.message,
			}));

			if (!this.again.includes(answer.status))
				return answer;
			assert.ok(Date.now() < end, `no answer: ${answer.text}`);
			await sleep(30);
		}
	}

	async submit(list) {
		const answer = await this.ask("POST", "/api/execute",
			{ jobs: list }, { "idempotency-key": randomUUID() });

		assert.equal(answer.status, 202, answer.text);
		this.stack.submitted.push(answer.json.id);
		return answer.json;
	}

	async cancel(kind, id, ids) {
		for (const job of ids)
			this.stack.cancelled.add(job);
		const answer = await this.ask("POST", `/api/${kind}/${id}/cancel`);

		assert.ok([200, 202, 409].includes(answer.status), answer.text);
	}

	/* When the program died at its point. */
	firedAt() {
		try {
			return fs.statSync(this.preload.path(this.program,
				"fired")).mtimeMs;
		} catch {
			return null;
		}
	}

	/* Whoever died at that time holds no lease any more. */
	endLeases(at) {
		return this.stack.sql(`UPDATE execution_jobs
			   SET lease_until = now(), next_poll_at = now()
			 WHERE lease_until < to_timestamp(${at / 1000}) +
			       interval '${LEASE_S} s'`);
	}

	/* First looked for at the provider, then given up. */
	async passTime(round) {
		await this.stack.sql(`UPDATE execution_jobs
			   SET next_poll_at = now()${round === 0 ? "" : `,
			       unknown_since = now() - interval '1 hour'`}
			 WHERE status = 'start_unknown' AND lease_until IS NULL`);
	}

	/** See an execution to its end, whatever it takes. */
	async ended(execution, alsoDo = () => {}) {
		const end = Date.now() + this.most_s * 1000 * patience;
		let leased = false, lostAt = null, rounds = 0;

		for (;;) {
			const answer = await this.ask("GET",
				`/api/executions/${execution.id}`);
			const states = answer.json.jobs;

			if (states.every((job) => terminal.has(job.status)))
				return;
			await alsoDo(states);
			if (!leased && this.firedAt() !== null) {
				leased = true;
				await this.endLeases(this.firedAt());
			}
			const lost = states.some(
				(job) => job.status === "start_unknown");

			lostAt = lost ? lostAt ?? Date.now() : null;
			if (lost && Date.now() > lostAt + LOST_MS * (rounds + 1))
				await this.passTime(rounds++);
			assert.ok(Date.now() < end, `does not end: ${answer.text}`);
			await sleep(this.look_ms);
		}
	}

	/* What is to be cancelled is, as soon as it is paid for. */
	canceller(id) {
		const since = Date.now();
		let asked = false;

		return async (states) => {
			const { status } = states.find((job) => job.id === id);

			if (asked || (["waiting", "queued", "starting"]
				.includes(status) && Date.now() < since + 1500))
				return;
			asked = true;
			await this.cancel("jobs", id, [id]);
		};
	}

	async stop(name, failed) {
		await this.stack?.stop(`${name}-${this.program}`, failed);
		this.preload.remove();
	}
}

export class PollerLane extends Lane {
	/** @returns whether the point was met */
	async run(n, plan) {
		const { stack, preload } = this;

		await until(() => !stack.pid("poller"), "the poller to end");
		preload.plan("poller", plan);
		await this.scenario(n);
		await until(() => this.firedAt() || !stack.pid("poller"),
			"the poller to end");
		preload.forget("poller");
		return this.firedAt() !== null;
	}

	async scenario(n) {
		const execution = await this.submit(jobs(n));
		const never = execution.jobs.find(
			(job) => job.name.endsWith("-never"));

		await this.ended(execution, this.canceller(never.id));
	}
}

export class FcgiLane extends Lane {
	constructor(program) {
		super(program);
		this.look_ms = 150; // each look is calls of the API
	}

	async run(n, plan) {
		const { stack, preload } = this;

		preload.plan("fcgi", plan);
		await stack.restart("fcgi");
		await this.scenario(n);
		if (this.firedAt() === null) {
			await stack.restart("fcgi");
			await sleep(50);
		}
		preload.forget("fcgi");
		return this.firedAt() !== null;
	}

	async scenario(n) {
		const execution = await this.submit(more(n));
		const id = (name) => execution.jobs.find(
			(job) => job.name === `p${n}-${name}`).id;
		const doomed = await this.submit(
			[still(`p${n}-doomed`, { outcome: "never", webhook })]);
		const cancel = this.canceller(id("never"));
		const refused = id("refused");

		await until(async () => (await this.ask("GET",
			`/api/jobs/${refused}`)).json.status === "failed",
		"a refusal");
		const again = await this.ask("POST", `/api/jobs/${refused}/retry`);

		assert.ok([200, 202, 409].includes(again.status), again.text);
		await this.cancel("executions", doomed.id, [doomed.jobs[0].id]);
		await this.ended(execution, cancel);
		await this.ended(doomed);
		for (const where of [`/api/jobs/${id("hook")}`,
			`/api/jobs/${id("hook")}/events`, "/api/executions",
			"/healthz", "/readyz"])
			assert.equal((await this.ask("GET", where)).status, 200);
	}
}
