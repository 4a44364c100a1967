// SPDX-License-Identifier: MIT
// A container with a systemd of its own, in the namespaces of check.sh.

import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { root as tree, until } from "../system/stack.mjs";

/* What the tree was built with, so that "make" finds nothing to do. Nothing
 * else of the environment of whoever runs the tests is seen in there. */
const built = ["BUILD", "CC", "CFLAGS", "DEVELOPER", "SAN"].filter(
	(name) => process.env[name]).map(
	(name) => `${name}=${process.env[name]}`);
const environment = ["PATH=/opt/guide:/usr/local/sbin:/usr/local/bin:" +
	"/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
	"SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", ...built];

function read(file) {
	try {
		return fs.readFileSync(file, "utf8");
	} catch {
		return "";
	}
}

export class Machine {
	constructor(root, logs) {
		this.root = root;
		this.console = path.join(logs, "console.log");
	}

	/** A path of the host's as it is called out here. */
	path(name) {
		return path.join(this.root, name);
	}

	// ---- on and off -------------------------------------------------------

	async boot() {
		const out = fs.openSync(this.console, "a");

		this.nspawn = spawn("systemd-nspawn", ["--quiet", "--boot",
			"--register=no", "--keep-unit", "--console=passive",
			"--resolv-conf=off", "--timezone=off", "--link-journal=no",
			"--capability=CAP_NET_ADMIN",
			// written to only where somebody builds
			`--overlay=${tree}::/usr/src/rushes`,
			`--directory=${this.root}`,
			"systemd.show_status=no"], { stdio: ["ignore", out, out] });
		fs.closeSync(out);
		this.off = new Promise((resolve) => {
			this.nspawn.once("exit", (code) => {
				this.nspawn = this.init = null;
				resolve(code);
			});
		});
		await until(() => this.findInit(), "systemd as process 1", 30);
		await until(async () => /running|degraded/.test((await this.try(
			"systemctl is-system-running")).out), "the host to be up", 60);
	}

	/* nspawn's only child, once it has become systemd. */
	findInit() {
		if (!this.nspawn)
			throw new Error(`no host: ${read(this.console)}`);
		const { pid } = this.nspawn;
		const children = read(`/proc/${pid}/task/${pid}/children`);

		this.init = children.split(" ").find((child) =>
			read(`/proc/${child}/comm`).trim() === "systemd");
		return this.init;
	}

	async reboot() {
		await this.try("systemctl reboot");
		await this.off;
		await this.boot();
	}

	/** The plug is pulled: all of it stops at once. */
	async cut() {
		process.kill(Number(this.init), "SIGKILL");
		await this.off;
	}

	async stop() {
		if (!this.nspawn)
			return;
		await this.try("systemctl poweroff");
		await Promise.race([this.off, sleep(20_000, null, { ref: false })]);
		if (this.nspawn)
			await this.cut();
	}

	// ---- commands in there ------------------------------------------------

	/**
	 * Run a shell script in there, as root.
	 *
	 * @returns {Promise<{code, out, err}>}
	 */
	try(script, { input = "", cwd = "/" } = {}) {
		return new Promise((resolve, reject) => {
			const child = spawn("nsenter", ["-t", this.init, "-a",
				"env", "-i", "-C", cwd, ...environment,
				"sh", "-c", script]);
			const parts = { out: [], err: [] };

			child.stdout.on("data", (part) => parts.out.push(part));
			child.stderr.on("data", (part) => parts.err.push(part));
			child.on("error", reject);
			child.on("close", (code) => resolve({
				code,
				out: Buffer.concat(parts.out).toString(),
				err: Buffer.concat(parts.err).toString(),
			}));
			child.stdin.on("error", () => {});
			child.stdin.end(input);
		});
	}

	/** The same, which must not fail. @returns what it printed */
	async run(script, options) {
		const { code, out, err } = await this.try(script, options);

		if (code !== 0)
			throw new Error(`${script}\nended with ${code}\n${out}${err}`);
		return out;
	}

	/** Properties of a unit, as systemctl show names them. */
	async show(unit) {
		const text = await this.run(`systemctl show ${unit}`);

		return Object.fromEntries(text.trim().split("\n").map((line) => {
			const at = line.indexOf("=");

			return [line.slice(0, at), line.slice(at + 1)];
		}));
	}

	/** Entries of the journal. */
	async journal(matches) {
		const { out, err } = await this.try(
			`journalctl --no-pager -o json --all ${matches}`);

		// no entry is an exit status, but not a failure
		if (err)
			throw new Error(`journalctl ${matches}\n${err}`);
		return out.split("\n").filter(Boolean).map(JSON.parse);
	}
}
