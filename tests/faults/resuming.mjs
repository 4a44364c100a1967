// SPDX-License-Identifier: MIT
// How soon work goes on once the database is back: a client that never stops
// asking, and what pollers write, by the database's clock, which is ours.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { still } from "../system/jobs.mjs";
import { until } from "../system/stack.mjs";

const EVERY_MS = 20;

/* Written by pollers alone. */
const BY_POLLERS = "('start', 'unsent', 'accepted', 'stored', 'not_started')";

export class Resuming {
	/** From now on a client submits one job, again and again. */
	constructor(stack) {
		this.stack = stack;
		this.refused = 0;
		this.done = this.knock();
	}

	/* One key for each job: what was taken unseen counts once. */
	async knock() {
		this.times = [];
		while (!this.over) {
			const headers = { "idempotency-key": randomUUID() };
			const body = { jobs: [still("knock")] };
			let answer;

			do {
				answer = await this.stack.api("POST", "/api/execute",
					body, headers).catch((error) =>
					({ status: 0, text: error.message }));
				if (answer.status !== 202) {
					this.refused++;
					await sleep(EVERY_MS);
				}
			} while (answer.status !== 202);
			this.stack.submitted.push(answer.json.id);
			this.times.push(Date.now());
			await sleep(EVERY_MS);
		}
	}

	/**
	 * Wait until both have gone on after that time, and end the client.
	 *
	 * @returns {Promise<{api: number, poller: number}>} milliseconds
	 */
	async since(ready) {
		const when = new Date(ready).toISOString();
		const first = () => this.times.find((time) => time >= ready);
		let row;

		try {
			await until(async () => {
				[row] = await this.stack.query(`
					SELECT min(at) AS at FROM job_events
					 WHERE event IN ${BY_POLLERS}
					   AND at > '${when}'`).catch(() => [{}]);
				return first() && row.at;
			}, "work to go on", 60);
		} finally {
			this.over = true;
		}
		await this.done;
		return { api: first() - ready, poller: Date.parse(row.at) - ready };
	}
}
