// SPDX-License-Identifier: MIT
// Clients that submit all the time, each over one kept-alive connection, and
// judge what they get.
//
// A client repeats a request in one case alone, in which HTTP lets it: the
// server closed a connection that had been used before, and no byte of an
// answer came. It may, for each submission has an Idempotency-Key of its own.
// Repeats are counted, and the time of an answer goes on over them.

import { randomUUID } from "node:crypto";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

import { still } from "../system/jobs.mjs";

const closed = new Set(["ECONNRESET", "EPIPE"]);

class Client {
	constructor(load) {
		this.load = load;
		this.agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
	}

	async run() {
		while (this.load.going) {
			const begun = performance.now();

			await this.submit();
			await sleep(this.load.pace_ms - (performance.now() - begun));
		}
		this.agent.destroy();
	}

	async submit() {
		const { load } = this;
		const key = randomUUID();
		const body = JSON.stringify({ jobs: [still("a", load.sim)] });
		const begun = performance.now();

		load.sent++;
		try {
			const { status, text } = await this.post(key, body);

			if (status !== 202)
				throw new Error(`${status} ${text}`);
			load.ids.set(key, JSON.parse(text).id);
		} catch (error) {
			load.failed.push(`${new Date().toISOString()} ${error.message}`);
		}
		load.times.push(performance.now() - begun);
	}

	async post(key, body) {
		for (;;) {
			try {
				return await this.once(key, body);
			} catch (error) {
				if (!error.mayRepeat)
					throw error;
				this.load.repeated++;
			}
		}
	}

	once(key, body) {
		return new Promise((resolve, reject) => {
			const sent = https.request(`${this.load.base}/api/execute`, {
				method: "POST",
				agent: this.agent,
				timeout: 20_000,
				headers: {
					"authorization": `Bearer ${this.load.key}`,
					"content-type": "application/json",
					"content-length": Buffer.byteLength(body),
					"idempotency-key": key,
				},
			});
			let answered = false;

			sent.on("response", (answer) => {
				const parts = [];

				answered = true;
				answer.on("data", (part) => parts.push(part));
				answer.on("error", reject);
				answer.on("end", () => resolve({
					status: answer.statusCode,
					text: Buffer.concat(parts).toString(),
				}));
			});
			sent.on("timeout", () => sent.destroy(
				new Error("no answer within 20 s")));
			sent.on("error", (error) => {
				error.mayRepeat = sent.reusedSocket && !answered &&
					closed.has(error.code);
				reject(error);
			});
			sent.on("socket", (socket) => {
				if (!sent.reusedSocket)
					this.load.connections += 1;
				socket.setNoDelay(true);
			});
			sent.end(body);
		});
	}
}

export class Load {
	/**
	 * @param host  whose address and key are used
	 * @param clients  how many at once
	 * @param pace_ms  a client submits once in so many milliseconds
	 * @param sim  how the simulator treats the jobs
	 */
	constructor(host, { clients = 8, pace_ms = 150, sim } = {}) {
		Object.assign(this, {
			base: host.base, key: host.key, pace_ms, going: true,
			sim: sim ?? { delay_ms: 1, media: { bytes: 256 } },
			sent: 0, repeated: 0, connections: 0,
			failed: [], times: [], ids: new Map(),
		});
		this.clients = Array.from({ length: clients },
			() => new Client(this).run());
	}

	/** No new ones; all that are under way are waited for. */
	async stop() {
		this.going = false;
		await Promise.all(this.clients);
		this.times.sort((a, b) => a - b);
	}

	/** The slowest answer but for a share of them, in milliseconds. */
	time(share) {
		return Math.round(this.times.at(
			Math.min(this.times.length - 1,
				Math.floor(this.times.length * share))));
	}

	toString() {
		return `${this.sent} POSTs over ${this.connections} connections of ` +
			`${this.clients.length} clients: ${this.failed.length} failed, ` +
			`${this.repeated} sent again; answers: half within ` +
			`${this.time(0.5)} ms, 99 % within ${this.time(0.99)} ms, ` +
			`worst ${this.time(1)} ms`;
	}
}
