// SPDX-License-Identifier: MIT
// Rushes on that host: what its administrator, its clients and its providers
// do. What tests ask of it is the same as of a stack of "make up".

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

import { Stack, root as tree, until } from "../system/stack.mjs";
import { Machine } from "./machine.mjs";

const build = path.resolve(tree, process.env.BUILD ?? "build");
const guide = fs.readFileSync(path.join(tree, "docs/ASYNC_SETUP_GUIDE.md"),
	"utf8");
const simulator = "http://127.0.0.1:9900";

/** The commands of a section of the guide, as they stand there. */
export function commands(heading) {
	const [, level, rest] = new RegExp(`^(#+) ${heading}$([^]*)`, "m")
		.exec(guide) ?? [];

	assert.ok(rest, `the guide has no "${heading}"`);
	const [section] = rest.split(new RegExp(`^#{1,${level.length}} `, "m"));
	const blocks = [...section.matchAll(/^ *```sh\n([^]*?)^ *```$/gm)];

	assert.ok(blocks.length > 0, `no commands in "${heading}"`);
	return blocks.map(([, text]) => text).join("");
}

/* What the providers' accounts are. Nobody may ever see one of these. */
export const secrets = {
	REPLICATE_API_TOKEN: `r8_${randomBytes(20).toString("hex")}`,
	REPLICATE_WEBHOOK_SECRET: `whsec_${randomBytes(24).toString("base64")}`,
	FAL_KEY: `${randomBytes(8).toString("hex")}:` +
		randomBytes(16).toString("hex"),
};

const settings = {
	ALLOW_LOOPBACK: "1",
	REPLICATE_BASE_URL: `${simulator}/replicate/v1`,
	FAL_QUEUE_URL: `${simulator}/fal/queue`,
	FAL_API_URL: `${simulator}/fal/api/v1`,
	FAL_JWKS_URL: `${simulator}/fal/rest/.well-known/jwks.json`,
	VERTEX_BASE_URL: `${simulator}/vertex/v1`,
	GCS_BASE_URL: `${simulator}/gcs`,
	VERTEX_STORAGE_URI: "gs://simulated/veo",
	VERTEX_POLL_FIRST_MS: "500",
	VERTEX_POLL_MOST_MS: "1000",
	LEASE_S: "10",
};

export class Host extends Stack {
	constructor() {
		super();
		this.logs = process.env.HOST_LOGS;
		this.machine = new Machine(process.env.HOST_ROOT, this.logs);
		this.base = "https://rushes.example.com";
		this.simulator = simulator;
		this.settings = settings;
		this.submitted = [];
	}

	run(script, options) {
		return this.machine.run(script, options);
	}

	/** Do what the guide says, and nothing else. */
	follow(heading, options) {
		return this.run(`set -ex\n${commands(heading)}`, {
			cwd: "/usr/src/rushes",
			...options,
		});
	}

	// ---- the providers ----------------------------------------------------

	/** Outside of the host; they do not know whether it is there. */
	async startProviders() {
		const out = fs.openSync(path.join(this.logs, "simulator.log"), "a");
		const account = path.join(this.logs, "account.json");

		this.provider = spawn(path.join(build, "rushes-simulator"), [
			"--port", "9900", "--quiet", "--delay-ms", "1000",
			"--jobs-max", "100000",
			"--webhook-secret", secrets.REPLICATE_WEBHOOK_SECRET,
			"--service-account", account,
		], { stdio: ["ignore", out, out] });
		fs.closeSync(out);
		await until(() => fs.existsSync(account), "the simulator");
		secrets.GOOGLE_APPLICATION_CREDENTIALS =
			fs.readFileSync(account, "utf8");
	}

	// ---- set-up -----------------------------------------------------------

	/** Settings, as an administrator writes them. */
	configure(some) {
		const file = this.machine.path("etc/rushes/rushes.conf");
		let text = fs.readFileSync(file, "utf8");

		for (const [name, value] of Object.entries(some)) {
			text = text.replace(new RegExp(`^${name}=.*\n`, "m"), "");
			text += `${name}=${value}\n`;
		}
		fs.writeFileSync(file, text);
	}

	/** The other secrets, as systemd/examples/credentials.conf has it. */
	addCredentials() {
		const folder = this.machine.path("etc/rushes/credentials");
		const example = fs.readFileSync(this.machine.path(
			"usr/local/share/rushes/examples/credentials.conf"), "utf8");
		const kept = example.split("\n").filter((line) => {
			const [, name] = /^LoadCredential=(\w+):/.exec(line) ?? [];

			return !name || name in secrets;
		}).join("\n");
		const places = [...example.matchAll(/^#\t(\/etc\/systemd.*)$/gm)];

		assert.equal(places.length, 3);
		for (const [name, value] of Object.entries(secrets)) {
			fs.writeFileSync(path.join(folder, name), `${value}\n`,
				{ mode: 0o600 });
		}
		for (const [, place] of places) {
			const file = this.machine.path(place);

			fs.mkdirSync(path.dirname(file), { recursive: true });
			fs.writeFileSync(file, kept);
		}
	}

	/** What the wake socket, the timer and requests start. */
	async pidOf(program) {
		const { MainPID } = await this.machine.show(`rushes-${program}`);

		return Number(MainPID);
	}

	/** Until nothing is due, and the poller has gone. */
	idle(seconds = 60) {
		return until(async () => (await this.machine.show("rushes-poller"))
			.ActiveState === "inactive", "the poller to go", seconds);
	}

	ready(seconds = 30) {
		return until(async () => {
			try {
				return (await this.api("GET", "/readyz")).status === 200;
			} catch {
				return false;
			}
		}, "the API to be ready", seconds);
	}

	// ---- where it is not a stack of "make up" -------------------------------

	async query(sql) {
		return JSON.parse(await this.sql(
			`SELECT coalesce(json_agg(row), '[]') FROM (${sql}) AS row`));
	}

	sql(statement) {
		return this.run("runuser -u postgres -- psql -X -q -At " +
			"-v ON_ERROR_STOP=1 -d rushes", { input: statement });
	}

	/* There are many, and the newest 10,000 are not all of them. */
	starts(filter = {}) {
		return super.starts({ limit: "1000000", ...filter });
	}

	/** Everything that was ever logged, every field of it. */
	async everyLog() {
		return await this.run("journalctl --no-pager -o export --all; " +
			"cat /var/log/nginx/*.log /var/log/postgresql/*.log");
	}

	async stop() {
		await this.machine.stop();
		this.provider?.kill();
	}

	/** So that a failure can be looked into. */
	async keep() {
		if (!this.machine.init)
			return;
		const { out } = await this.machine.try(
			"journalctl --no-pager -o short-precise; " +
			"cat /var/log/nginx/rushes.*.log");

		fs.writeFileSync(path.join(this.logs, "journal"), out);
	}
}
