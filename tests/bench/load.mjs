// SPDX-License-Identifier: MIT
// Load: wrk through nginx, pgbench straight at the database, and a FastCGI
// program that says hello behind a second nginx of the same configuration.

import { execFile, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

import { root, until } from "../system/stack.mjs";

const build = path.resolve(root, process.env.BUILD ?? "build");

/** The first of so many ports in a row that nobody listens on. */
export function freePort(count) {
	for (;;) {
		const port = 20000 + Math.floor(Math.random() * 10000);
		const taken = execFileSync("ss", ["-Hltn", `sport >= :${port} ` +
			`and sport < :${port + count}`], { encoding: "utf8" });

		if (taken === "")
			return port;
	}
}

/** Run a program; its standard output is the result. */
export function run(file, args, options = {}) {
	return new Promise((resolve, reject) => {
		const child = execFile(file, args, { maxBuffer: 64 << 20, ...options },
			(error, stdout, stderr) => {
				if (error) {
					error.message += `\n${stdout}\n${stderr}`;
					reject(error);
				} else {
					resolve(stdout);
				}
			});

		child.stdin.end();
	});
}

/** The text of an HTTP request, as it goes over the wire. */
export function rawRequest(method, where, headers, body) {
	const lines = [`${method} ${where} HTTP/1.1`, "Host: localhost"];

	for (const [name, value] of Object.entries(headers))
		lines.push(`${name}: ${value}`);
	if (body !== undefined)
		lines.push("Content-Type: application/json",
			`Content-Length: ${Buffer.byteLength(body)}`);
	return lines.join("\r\n") + "\r\n\r\n" + (body ?? "");
}

/**
 * Requests over and over.
 *
 * @param {string} base  http://host:port
 * @param {string} dir  where the requests may lie meanwhile
 * @param {string[]} requests  raw ones; taken in turn
 * @param {{connections: number, seconds: number, once?: boolean}} options
 *	once: each may be sent once only; running out of them is an error
 * @returns {Promise<{rate, count, p50_ms, p99_ms, max_ms, errors, seconds}>}
 */
export async function wrk(base, dir, requests, options) {
	const file = path.join(dir, "requests");

	fs.writeFileSync(file, requests.join("\0"));
	const text = await run("wrk", ["-t1", `-c${options.connections}`,
		`-d${options.seconds}s`, "--timeout", "20s", "-s",
		path.join(root, "tests/bench/wrk.lua"), base, "--", file]);
	const seen = JSON.parse(/^bench: (.*)$/m.exec(text)[1]);
	const again = options.once
		? Math.max(0, seen.sent - requests.length) : 0;

	fs.rmSync(file);
	return {
		rate: seen.requests / seen.seconds,
		count: seen.requests,
		p50_ms: seen.p50_us / 1000,
		p99_ms: seen.p99_us / 1000,
		max_ms: seen.max_us / 1000,
		errors: seen.errors + again,
	};
}

/**
 * One statement over and over, prepared, each a transaction of its own.
 *
 * @param {string} database  URL
 * @param {string} dir  where the script may lie meanwhile
 * @param {string} script  of pgbench
 * @param {{clients: number, seconds?: number, transactions?: number,
 *	variables?: object}} options  seconds, or transactions of each client
 */
export async function pgbench(database, dir, script, options) {
	const bindir = execFileSync("pg_config", ["--bindir"],
		{ encoding: "utf8" }).trim();
	const file = path.join(dir, "script.sql");
	const args = ["-n", "-M", "prepared", "-f", file,
		"-c", String(options.clients), "-j", "1",
		...(options.transactions ? ["-t", String(options.transactions)]
			: ["-T", String(options.seconds)])];

	for (const [name, value] of Object.entries(options.variables ?? {}))
		args.push("-D", `${name}=${value}`);
	fs.writeFileSync(file, script);
	const text = await run(path.join(bindir, "pgbench"),
		[...args, database]);
	const failed = /^number of failed transactions: (\d+)/m.exec(text);

	return {
		rate: Number(/^tps = ([\d.]+)/m.exec(text)[1]),
		errors: failed ? Number(failed[1]) : 0,
	};
}

/**
 * A FastCGI program that answers at once, behind an nginx that is configured
 * as that of the stack: what nginx and FastCGI can do at most.
 *
 * @param {{statement: string, first: number}} [sql]  answer when the rows are
 *	committed, all that wait together: what a program can do at most that
 *	writes; its text takes the numbers of the first and the last row
 * @returns {Promise<string>} its http://host:port; it ends with the case
 */
export async function startHello(bench, stack, sql) {
	const dir = path.join(stack.dir, sql ? "hello-commits" : "hello");
	const socket = path.join(dir, "hello.sock");
	const from = path.join(stack.dir, "stack/nginx");
	const port = freePort(1);
	const oldPort = new URL(stack.base).port;
	// where the runner finds them, should we be killed
	const pids = path.join(path.dirname(stack.dir), `hello-${port}`);

	fs.cpSync(from, dir, { recursive: true });
	for (const file of ["nginx.conf",
		...fs.readdirSync(path.join(dir, "snippets"))
			.map((name) => `snippets/${name}`)]) {
		const text = fs.readFileSync(path.join(dir, file), "utf8");

		fs.writeFileSync(path.join(dir, file), text
			.replaceAll(/unix:[^;\s]*fcgi\.sock/g, `unix:${socket}`)
			.replaceAll(`:${oldPort}`, `:${port}`)
			.replaceAll(/^pid .*$/gm, `pid ${pids}-nginx.pid;`)
			.replaceAll(/nginx-(access|error)\.log/g, "hello-$1.log"));
	}
	const program = spawn(path.join(build, "tests/bench/hello"),
		[socket, "2", ...(sql ? [stack.database, sql.statement,
			String(sql.first)] : [])],
		{ stdio: ["ignore", "ignore", "inherit"] });

	fs.writeFileSync(`${pids}-program.pid`, `${program.pid}\n`);
	bench.atEnd(() => program.kill());
	await until(() => fs.existsSync(socket), "the hello program");
	await run("/usr/sbin/nginx", ["-p", `${dir}/`, "-c",
		`${dir}/nginx.conf`, "-e", `${dir}/error.log`]);
	bench.atEnd(() => process.kill(
		Number(fs.readFileSync(`${pids}-nginx.pid`))));
	return `http://127.0.0.1:${port}`;
}
