// SPDX-License-Identifier: MIT
// A whole Rushes of a test file's own, started and stopped by the same script
// as "make up" and "make down". Nothing of it is shared with another stack.

import assert from "node:assert/strict";
import { execFile, execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { request } from "./http.mjs";
import { checkExecutions, checkStack, sanitizer } from "./invariants.mjs";

export const root = path.resolve(
	path.dirname(fileURLToPath(import.meta.url)), "../..");
const script = path.join(root, "tests/stack/stack.sh");
export const build = path.resolve(root, process.env.BUILD ?? "build");

export const terminal = new Set(["completed", "failed", "cancelled", "skipped"]);

// Programs with sanitizers are several times slower, and so are machines that
// do something else as well: every wait in the tests grows with this.
export const patience = Number(process.env.PATIENCE ?? 1);

// Short enough for tests, and still longer than what they are to be longer
// than. A file changes what it is about.
const quick = {
	POLLER_PERIOD_S: "1",
	POLLER_LINGER_S: "1",
	LOG_LEVEL: "debug",
	REPLICATE_POLL_FIRST_MS: "700",
	REPLICATE_POLL_MOST_MS: "1000",
	FAL_POLL_FIRST_MS: "700",
	FAL_POLL_MOST_MS: "1000",
	VERTEX_POLL_FIRST_MS: "500",
	VERTEX_POLL_MOST_MS: "700",
	CANCEL_CONFIRM_S: "3",
	SIMULATOR_ARGS: "--delay-ms 200",
};

// Settings of whoever runs the tests must not reach the stacks.
const foreign = new RegExp("^(REPLICATE_|FAL_|VERTEX_|GCS_|S3_|POLLER_|" +
	"GOOGLE_|PROVIDER_|BREAKER_|RETAIN_|STORE_|CDN_|API_BASE|LEASE_S|" +
	"START_|DEADLINE_S|DATABASE_|WEBHOOK_|ALLOW_LOOPBACK|WAKE_SOCKET|" +
	"PORT$|STACK_DIR$|SIMULATOR_ARGS|POSTGRES_SETTINGS|RESTART_TIRED)");

const stacks = new Set();

// A test run that is cut short leaves no process behind.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
	process.once(signal, () => {
		for (const stack of stacks)
			stack.downNow();
		process.exit(1);
	});
}

function run(file, args, { input = "", ...options } = {}) {
	return new Promise((resolve, reject) => {
		const child = execFile(file, args, {
			maxBuffer: 64 << 20,
			...options,
		}, (error, stdout, stderr) => {
			if (error) {
				error.message += `\n${stderr}`;
				reject(error);
			} else {
				resolve(stdout);
			}
		});

		child.stdin.on("error", () => {}); // it says why on its own
		child.stdin.end(input);
	});
}

/**
 * Ask until the answer is there.
 *
 * @param ask  async; what it gives is the result once it is truthy
 */
export async function until(ask, what, seconds = 20) {
	const end = Date.now() + seconds * 1000 * patience;

	for (;;) {
		const answer = await ask();

		if (answer)
			return answer;
		if (Date.now() > end)
			throw new Error(
				`waited ${seconds * patience} s in vain: ${what}`);
		await sleep(50);
	}
}

let bindir;

function psql() {
	bindir ??= execFileSync("pg_config", ["--bindir"], {
		encoding: "utf8",
	}).trim();
	return path.join(bindir, "psql");
}

function parseEnv(text) {
	const values = {};

	for (const line of text.split("\n")) {
		const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];

		if (name)
			values[name] = value.replace(/\\(.)/g, "$1");
	}
	return values;
}

export class Stack {
	/**
	 * Start one.
	 *
	 * @param settings  environment of the programs
	 * @param prefix  of its folder's name
	 */
	static async start(settings = {}, prefix = "rushes-system-") {
		const stack = new Stack();

		stack.dir = fs.mkdtempSync(path.join(
			fs.realpathSync(process.env.SYSTEM_TMP ?? os.tmpdir()),
			prefix));
		// PostgreSQL runs as somebody else when we are root
		fs.chmodSync(stack.dir, 0o711);
		stack.settings = { ...quick, ...settings };
		stack.submitted = [];
		stacks.add(stack);
		await stack.up();
		// a webhook that is faster than the first fetch of fal's keys is
		// rightly only a hint; the tests are about what comes after
		await until(async () => (await stack.query(`SELECT key_id
			FROM provider_keys WHERE provider = 'fal'`)).length > 0,
		"fal's verification keys");
		return stack;
	}

	environment() {
		const kept = Object.entries(process.env).filter(
			([name]) => !foreign.test(name));

		return {
			...Object.fromEntries(kept),
			BUILD: build,
			...this.settings,
			STACK_DIR: path.join(this.dir, "stack"),
		};
	}

	async up() {
		const stack = path.join(this.dir, "stack");

		await run(script, ["up"], { env: this.environment() });
		const env = parseEnv(
			fs.readFileSync(path.join(stack, "env"), "utf8"));

		this.base = env.BASE_URL;
		this.key = env.API_KEY;
		this.database = env.DATABASE_URL;
		this.store = env.STORE_DIR;
		this.simulator = env.SIMULATOR_URL;
		this.run = env.PIDS_DIR;
		this.logs = path.join(stack, "logs");
	}

	async down() {
		await run(script, ["down"], { env: this.environment() });
	}

	downNow() {
		spawnSync(script, ["down"], {
			env: this.environment(),
			stdio: "ignore",
		});
		fs.rmSync(this.dir, { recursive: true, force: true });
	}

	/** Stop it; its logs stay in build/tests/system/NAME if a test failed. */
	async stop(name, failed) {
		const programs = ["fcgi", "poller", "simulator", "activator"];

		// postgres.log is a link into what "down" removes
		if (failed)
			this.keepLogs(name);
		await this.down();
		stacks.delete(this);
		// sanitizers speak last
		const bad = programs.filter((program) =>
			sanitizer.test(this.log(program)));

		if (bad.length > 0 && !failed)
			this.keepLogs(name);
		fs.rmSync(this.dir, { recursive: true, force: true });
		assert.deepEqual(bad, [], `a sanitizer spoke; logs of ${name}`);
	}

	keepLogs(name) {
		const kept = path.join(build, "tests/system", name);

		fs.rmSync(kept, { recursive: true, force: true });
		fs.mkdirSync(kept, { recursive: true });
		for (const file of fs.readdirSync(this.logs)) {
			const from = path.join(this.logs, file);

			if (fs.existsSync(from))
				fs.copyFileSync(from, path.join(kept, file));
		}
	}

	// ---- the API ----------------------------------------------------------

	/** A request with our key; headers given win, null removes one. */
	api(method, where, body, headers = {}) {
		const all = { authorization: `Bearer ${this.key}`, ...headers };

		for (const [name, value] of Object.entries(all)) {
			if (value === null)
				delete all[name];
		}
		return request(this.base + where, { method, headers: all, body });
	}

	async get(where) {
		const answer = await this.api("GET", where);

		assert.equal(answer.status, 200, answer.text);
		return answer.json;
	}

	/**
	 * Submit jobs and remember the execution for the final check.
	 *
	 * @returns {Promise<{id, status, jobs, links, ids: {[name]: id}}>}
	 */
	async submit(jobs, rest = {}, headers = {}) {
		const answer = await this.api("POST", "/api/execute",
			{ jobs, ...rest }, headers);

		assert.equal(answer.status, 202, answer.text);
		this.submitted.push(answer.json.id);
		return {
			...answer.json,
			ids: Object.fromEntries(
				answer.json.jobs.map((job) => [job.name, job.id])),
		};
	}

	job(id) {
		return this.get(`/api/jobs/${id}`);
	}

	execution(id) {
		return this.get(`/api/executions/${id}`);
	}

	async events(id) {
		return (await this.get(`/api/jobs/${id}/events?limit=1000`)).items;
	}

	/** Wait for a job to be in a state (or one of several). */
	async jobIn(id, states, seconds) {
		const wanted = [states].flat();
		let job;

		try {
			return await until(async () => {
				job = await this.job(id);
				return wanted.includes(job.status) && job;
			}, `job ${id} to be ${wanted}`, seconds);
		} catch (error) {
			error.message += `\n${JSON.stringify(job, null, 1)}`;
			throw error;
		}
	}

	/** Wait for the end of a job, and insist on how it ends. */
	async ended(id, state, seconds) {
		const job = await this.jobIn(id, [...terminal], seconds);

		assert.equal(job.status, state, JSON.stringify(job, null, 1));
		return job;
	}

	async executionEnded(id, state, seconds) {
		let execution;

		await until(async () => {
			execution = await this.execution(id);
			return execution.status !== "running";
		}, `execution ${id} to end`, seconds);
		assert.equal(execution.status, state,
			JSON.stringify(execution, null, 1));
		return execution;
	}

	// ---- the database -----------------------------------------------------

	/** Rows of a query as objects. For looking, never for changing. */
	async query(sql) {
		const text = await run(psql(), ["-X", "-q", "-At", "-v",
			"ON_ERROR_STOP=1", "-d", this.database], {
			// an argument could not be as long as some lists are
			input: "SELECT coalesce(json_agg(row), '[]') " +
				`FROM (${sql}) AS row`,
		});

		return JSON.parse(text);
	}

	/** A statement that changes something, where a test must play fate. */
	async sql(statement) {
		await run(psql(), ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
			this.database, "-c", statement]);
	}

	async row(id) {
		return (await this.query(
			`SELECT * FROM execution_jobs WHERE id = '${id}'`))[0];
	}

	// ---- the simulator ----------------------------------------------------

	async control(words) {
		const answer = await request(`${this.simulator}/_control`,
			{ method: "POST", body: words });

		assert.equal(answer.status, 200, answer.text);
		return answer.json;
	}

	/** Steer one job at its provider, by our id (its newest start) or the
	 * provider's: { words, end, deliver }. */
	steer(job, members) {
		return this.control({ job, ...members });
	}

	/**
	 * What the providers were paid for, oldest first. Veo reports to nobody
	 * and so knows no job of ours; its folder in Cloud Storage tells.
	 */
	async starts(filter = {}) {
		const query = new URLSearchParams({ limit: "10000", ...filter });
		const answer = await request(`${this.simulator}/_ledger?${query}`);

		assert.equal(answer.status, 200, answer.text);
		for (const start of answer.json.starts) {
			const [, job, attempt] = /\/([0-9a-f-]{36})\/(\d+)\/?$/
				.exec(start.storage_uri ?? "") ?? [];

			start.job ??= job ?? null;
			start.attempt ??= attempt ? Number(attempt) : null;
		}
		return answer.json.starts.sort((a, b) => a.seq - b.seq);
	}

	/** Those of one job of ours. */
	async startsOf(job) {
		return (await this.starts()).filter((start) => start.job === job);
	}

	/** The one start a job must have had. */
	async start(job) {
		const starts = await this.startsOf(job);

		assert.equal(starts.length, 1, JSON.stringify(starts, null, 1));
		return starts[0];
	}

	async totals() {
		return (await request(`${this.simulator}/_ledger?totals=1`))
			.json.totals;
	}

	// ---- processes --------------------------------------------------------

	/** The pid of fcgi, poller, activator, simulator, nginx; or null. */
	pid(name) {
		let pid;

		try {
			pid = Number(fs.readFileSync(
				path.join(this.run, `${name}.pid`), "utf8"));
			process.kill(pid, 0);
		} catch {
			return null;
		}
		return pid || null;
	}

	/** While held a program is not started; the one that runs goes on. */
	hold(name) {
		fs.writeFileSync(path.join(this.run, `${name}.hold`), "");
	}

	letGo(name) {
		fs.rmSync(path.join(this.run, `${name}.hold`), { force: true });
	}

	/** Stop the poller and keep it from starting. */
	async holdPoller() {
		this.hold("poller");
		await until(() => {
			const pid = this.pid("poller");

			if (pid)
				process.kill(pid, "SIGTERM");
			return !pid;
		}, "the poller to stop");
	}

	/** Signal a program and wait until another one has its place. */
	async replace(name, signal) {
		const old = this.pid(name);

		if (old)
			process.kill(old, signal);
		return until(() => {
			const pid = this.pid(name);

			return pid !== old && pid;
		}, `${name} to come back after ${signal}`);
	}

	/** As systemctl restart does it. */
	restart(name) {
		const old = this.pid(name);

		process.kill(this.pid("activator"),
			name === "fcgi" ? "SIGUSR1" : "SIGUSR2");
		return until(() => {
			const pid = this.pid(name);

			return (!old || pid !== old) && pid;
		}, `${name} to be restarted`);
	}

	async postgres(verb, ...args) {
		const dir = new URL(this.database.replace("postgresql:///",
			"http://x/")).searchParams.get("host");

		await run(path.join(root, "tests/support/postgres.sh"),
			[verb, dir, ...args]);
	}

	log(name) {
		try {
			return fs.readFileSync(
				path.join(this.logs, `${name}.log`), "utf8");
		} catch {
			return "";
		}
	}

	// ---- what must always be true -----------------------------------------

	/** Of these executions, which must have ended. */
	check(...executions) {
		return checkExecutions(this, executions);
	}

	/** Of all that was submitted, and of the stack as a whole. */
	checkAll() {
		return checkStack(this);
	}
}

/**
 * A provider's webhook as it would deliver it: helper for tests that play
 * the provider themselves.
 */
export async function webhookUrl(stack, job) {
	const starts = await until(async () => {
		const found = await stack.startsOf(job);

		return found.length > 0 && found;
	}, `a start of ${job}`);

	return starts.at(-1).webhook;
}
