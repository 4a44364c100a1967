// SPDX-License-Identifier: MIT
// Load of every kind for some minutes, in rounds; after each, what our programs
// hold. Growth is the slope of a line through those samples, not its two ends.
// Then bursts: memory follows the most that was ever in flight at once, and
// later bursts must find what the first ones left.

import { randomUUID } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { rawRequest, wrk } from "../bench/load.mjs";
import { round } from "../bench/measure.mjs";
import { Psql } from "../bench/psql.mjs";
import { request } from "../system/http.mjs";
import { clip, still } from "../system/jobs.mjs";
import { Stack, root, until } from "../system/stack.mjs";
import { leaks, line } from "./line.mjs";

const ROUND_S = 2;
const CONNECTIONS = 32;
const SUBMIT_EVERY_MS = 100;
const ODD_EVERY_MS = 15;
const BURSTS = 4;
const BURST = { executions: 20, jobs: 100 };
const QUIET_MS = 3000;
const BURST_MORE = 1.15; // the last may hold so much of what the second did
const WARM_UP = 1 / 3; // of the time: caches and pools fill

// What growth is a leak. Of memory, private and written to: a byte for each
// request, a tenth of a KiB for each job. Of descriptors, beyond the
// connections that nginx and the poller keep for the next time (what a peak
// left): one a minute.
const bounds = {
	"rushes-fcgi": { per: "requests", kib: 1, kept: 192 },
	"rushes-poller": { per: "jobs", kib: 100, kept: 128 },
};
const DESCRIPTORS_AN_HOUR = 60;

// What the programs say here and would not say on a host, or were asked for.
const expected = /ALLOW_LOOPBACK=1|webhook refused, 40[14]/;

// As on a host, but with one poller from beginning to end, whose providers are
// quick.
const settings = {
	POLLER_PERIOD_S: "10",
	POLLER_LINGER_S: "3600",
	LOG_LEVEL: "warning",
	REPLICATE_POLL_FIRST_MS: "30000",
	REPLICATE_POLL_MOST_MS: "300000",
	FAL_POLL_FIRST_MS: "30000",
	FAL_POLL_MOST_MS: "300000",
	SIMULATOR_ARGS: "--delay-ms 100 --quiet",
};

const unknown = "01890000-0000-7000-8000-000000000000";
const build = path.resolve(root, process.env.BUILD ?? "build");

function numberIn(pid, file, name) {
	const text = fs.readFileSync(`/proc/${pid}/${file}`, "utf8");

	return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)[1]);
}

function look(pid) {
	return {
		pid,
		pss: numberIn(pid, "smaps_rollup", "Pss"),
		dirty: numberIn(pid, "smaps_rollup", "Private_Dirty"),
		descriptors: fs.readdirSync(`/proc/${pid}/fd`).length,
	};
}

class Soak {
	constructor(stack) {
		this.stack = stack;
		this.agent = new http.Agent({ keepAlive: true });
		this.psql = new Psql(stack.database);
		this.jobs = [];
		this.executions = [];
		this.counts = {};
		this.samples = [];
		this.wrong = [];
		this.begun = performance.now();
	}

	count(what, n = 1) {
		this.counts[what] = (this.counts[what] ?? 0) + n;
	}

	get requests() {
		return Object.values(this.counts).reduce((sum, n) => sum + n, 0);
	}

	complain(what) {
		this.wrong.push(what);
		if (this.wrong.length <= 20)
			console.log(`soak: ${what}`);
	}

	/** One request, and what has to come back. */
	async ask(what, wanted, method, where, options = {}) {
		const headers = { authorization: `Bearer ${this.stack.key}`,
			...options.headers };

		if (options.open)
			delete headers.authorization;
		try {
			const answer = await request(this.stack.base + where, {
				method, headers, body: options.body, agent: this.agent,
			});

			this.count(what);
			if (answer.status !== wanted)
				this.complain(`${what}: ${answer.status} rather than ` +
					`${wanted}: ${answer.text.slice(0, 200)}`);
			return answer;
		} catch (error) {
			this.complain(`${what}: ${error.message}`);
			return null;
		}
	}

	async submit(jobs = [still("a"),
		clip("b", null, {}, { image_url: "${a.output.url}" })]) {
		const headers = { "idempotency-key": randomUUID() };
		const body = { jobs };
		const answer = await this.ask("submissions", 202, "POST",
			"/api/execute", { headers, body });

		if (answer?.status !== 202)
			return;
		this.executions.push(answer.json.id);
		this.jobs.push(...answer.json.jobs.map((job) => job.id));
		if (Math.random() < 0.1) {
			const again = await this.ask("submissions repeated", 202,
				"POST", "/api/execute", { headers, body });

			if (again && again.json?.id !== answer.json.id)
				this.complain("a repeated submission was another");
		}
	}

	/** Something else than a submission or a look at a job. */
	odd() {
		const any = (list) => list[Math.floor(Math.random() * list.length)];
		const job = any(this.jobs), webhook = "/api/webhooks/job";
		const kinds = [
			["executions", 200, "GET",
				`/api/executions/${any(this.executions)}`],
			["lists", 200, "GET", "/api/executions?limit=20"],
			["timelines", 200, "GET", `/api/jobs/${job}/events`],
			["wrong ids", 404, "GET", `/api/jobs/${unknown}`],
			["wrong paths", 404, "GET", `/api/${randomUUID()}`],
			["wrong methods", 405, "PUT", "/api/execute", { body: "x" }],
			["missing keys", 401, "GET", `/api/jobs/${job}`,
				{ open: true }],
			["cut bodies", 400, "POST", "/api/execute",
				{ body: "{\"jobs\":" }],
			["wrong pipelines", 422, "POST", "/api/execute", { body: { jobs: [{
				...still("a"), provider: "nobody" }] } }],
			["bad tokens", 401, "POST", `${webhook}/${job}/1.forged`,
				{ open: true, body: { status: "succeeded" } }],
			["bad signatures", 401, "POST", `${webhook}/${job}`, {
				open: true,
				headers: {
					"webhook-id": randomUUID(),
					"webhook-timestamp":
						String(Math.floor(Date.now() / 1000)),
					"webhook-signature": "v1,Zm9yZ2VkIQ==",
				},
				body: { id: "x", status: "succeeded" },
			}],
			["webhooks for nobody", 404, "POST",
				`${webhook}/${unknown}/1.forged`, { open: true,
					body: {} }],
		];

		return this.ask(...any(kinds));
	}

	/** Do something again and again until the signal. */
	async every(ms, thing, signal) {
		const running = new Set();

		while (!signal.aborted) {
			if (running.size < 64) {
				const one = thing().finally(() => running.delete(one));

				running.add(one);
			}
			await sleep(ms);
		}
		await Promise.all(running);
	}

	async looks() {
		const headers = { Authorization: `Bearer ${this.stack.key}` };
		const list = this.jobs.slice(-2000);
		const seen = await wrk(this.stack.base, this.stack.dir,
			list.map((id) => rawRequest("GET", `/api/jobs/${id}`, headers)),
			{ connections: CONNECTIONS, seconds: ROUND_S });

		this.count("looks at a job", seen.count);
		if (seen.errors > 0)
			this.complain(`looks at a job: ${seen.errors} errors`);
	}

	async sample() {
		const at = { seconds: (performance.now() - this.begun) / 1000,
			requests: this.requests };

		at.jobs = await this.psql.number("SELECT count(*) FROM " +
			"execution_jobs WHERE status = 'completed'");
		for (const name of ["fcgi", "poller"]) {
			const pid = this.stack.pid(name);

			if (!pid)
				throw new Error(`${name} does not run`);
			at[`rushes-${name}`] = look(pid);
		}
		this.samples.push(at);
	}

	async run(minutes) {
		const end = this.begun + minutes * 60_000;
		const stop = new AbortController();

		await Promise.all(Array.from({ length: 20 }, () => this.submit()));
		const beside = [
			this.every(SUBMIT_EVERY_MS, () => this.submit(), stop.signal),
			this.every(ODD_EVERY_MS, () => this.odd(), stop.signal),
		];

		while (performance.now() < end) {
			await this.looks();
			await this.sample();
		}
		stop.abort();
		await Promise.all(beside);
	}

	ended() {
		return until(() => this.psql.number("SELECT count(*) FROM " +
			"executions WHERE completed_at IS NULL").then((n) => n === 0),
		"all executions to end", 120);
	}

	/** @returns what the programs held after each burst */
	async bursts() {
		const after = { "rushes-fcgi": [], "rushes-poller": [] };

		for (let i = 0; i < BURSTS; i++) {
			await Promise.all(Array.from({ length: BURST.executions },
				() => this.submit(Array.from({ length: BURST.jobs },
					(_, n) => still(`j${n}`)))));
			await this.ended();
			// what is not needed any more goes back when all is quiet
			await sleep(QUIET_MS);
			for (const [name, held] of Object.entries(after))
				held.push(look(this.stack.pid(name.slice(7))).dirty);
		}
		for (const [name, held] of Object.entries(after))
			if (held.at(-1) > held[1] * BURST_MORE)
				this.complain(`${name} holds more after each burst`);
		return after;
	}

	/** All that was taken is done. */
	async settle() {
		await this.ended();
		const good = await this.psql.number("SELECT count(*) FROM " +
			"executions WHERE status = 'completed'");

		if (good !== this.executions.length)
			this.complain(`${good} of ${this.executions.length} ` +
				"executions completed");
		this.deliveries = (await this.psql.number(
			"SELECT count(*) FROM webhook_inbox"));
	}

	/** Each line that a program logged, but for what we asked for. */
	readLogs() {
		for (const name of ["fcgi", "poller"])
			for (const text of this.stack.log(name).split("\n"))
				if (text && !expected.test(text))
					this.complain(`rushes-${name} logged: ${text}`);
	}

	/** @returns {Array<string[]>} a row for each thing that may grow */
	judge(fresh) {
		const rows = [["", "from", "to", "KiB/1,000 requests", "KiB/1,000 jobs",
			"an hour"]];
		const after = this.samples.filter((at) => at.seconds >=
			this.samples.at(-1).seconds * WARM_UP);
		const say = ({ slope, sure }) =>
			`${round(slope, 2)} ± ${round(sure, 2)}`;

		for (const [name, bound] of Object.entries(bounds)) {
			if (new Set(this.samples.map((at) => at[name].pid)).size > 1)
				this.complain(`${name} was started anew`);
			for (const [what, unit] of [["pss", "KiB"], ["dirty", "KiB"],
				["descriptors", ""]]) {
				const values = after.map((at) => at[name][what]);
				const over = (axis, scale) => line(after.map(
					(at) => at[axis] / scale), values);
				const hours = over("seconds", 3600);
				const memory = what !== "descriptors";

				if (what === "dirty" &&
				    leaks(over(bound.per, 1000), bound.kib))
					this.complain(`${name} leaks memory: ` +
						`${say(over(bound.per, 1000))} KiB per 1,000 ` +
						`${bound.per}, ${bound.kib} are allowed`);
				if (!memory && leaks(hours, DESCRIPTORS_AN_HOUR) &&
				    hours.last > fresh[name].descriptors + bound.kept)
					this.complain(`${name} leaks descriptors: ` +
						`${say(hours)} an hour`);
				rows.push([`${name} ${words[what]}`,
					`${Math.round(hours.first)} ${unit}`,
					`${Math.round(hours.last)} ${unit}`,
					memory ? say(over("requests", 1000)) : "",
					memory ? say(over("jobs", 1000)) : "",
					`${say(hours)} ${unit}`]);
			}
		}
		return rows;
	}
}

const words = { pss: "PSS", dirty: "private, written to",
	descriptors: "descriptors" };

function print(rows) {
	const widths = rows[0].map((_, i) =>
		Math.max(...rows.map((row) => row[i].length)));

	for (const row of rows)
		console.log(row.map((cell, i) => i === 0 ? cell.padEnd(widths[i])
			: cell.padStart(widths[i])).join("  ").trimEnd());
}

async function main(minutes) {
	const stack = await Stack.start(settings);
	let failed = true;

	try {
		const soak = new Soak(stack);
		const fresh = Object.fromEntries(["fcgi", "poller"].map(
			(name) => [`rushes-${name}`, look(stack.pid(name))]));

		await soak.run(minutes);
		const rows = soak.judge(fresh);

		await soak.ended();
		const held = await soak.bursts();

		await soak.settle();
		soak.readLogs();
		soak.psql.end();
		soak.agent.destroy();
		fs.writeFileSync(path.join(build, "soak.json"),
			`${JSON.stringify(soak.samples)}\n`);
		const kinds = Object.entries(soak.counts)
			.sort((a, b) => b[1] - a[1])
			.map(([what, n]) => `${n.toLocaleString("en-US")} ${what}`);
		const { jobs } = soak.samples.at(-1);

		console.log(`${os.cpus().length} processors; ${minutes} minutes, ` +
			`${soak.requests.toLocaleString("en-US")} requests: ` +
			`${kinds.join(", ")}; ` +
			`${soak.deliveries.toLocaleString("en-US")} webhooks taken, ` +
			`${jobs.toLocaleString("en-US")} jobs completed with media.`);
		console.log("Just started: " + Object.entries(fresh).map(
			([name, at]) => `${name} ${at.pss} KiB PSS, ` +
				`${at.dirty} KiB private, ${at.descriptors} descriptors`)
			.join("; ") + ". Lines through what came after the first third " +
			"of the time, ± in 95 of 100 cases:");
		print(rows);
		console.log(`After each of ${BURSTS} bursts of ` +
			`${BURST.executions * BURST.jobs} jobs, private KiB: ` +
			Object.entries(held).map(([name, all]) =>
				`${name} ${all.join(", ")}`).join("; "));
		failed = soak.wrong.length > 0;
		console.log(failed ? `soak: ${soak.wrong.length} things are wrong`
			: "soak: no leak, and nothing unexpected");
	} finally {
		await stack.stop("soak", failed);
	}
	return failed ? 1 : 0;
}

const minutes = Number(process.argv[2]);

if (!(minutes >= 0.5)) {
	console.error("soak: MINUTES is a number, 0.5 or more");
	process.exit(2);
}
process.exitCode = await main(minutes);
