// SPDX-License-Identifier: MIT
// The stack itself: two side by side (one of them in a folder with blanks in
// its path), up twice, and down without a trace.

import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";

import { request } from "./http.mjs";
import { still } from "./jobs.mjs";
import { Stack, patience } from "./stack.mjs";

/* Processes that have this folder in their arguments or their files. */
function processesOf(dir) {
	const found = [];

	for (const pid of fs.readdirSync("/proc")) {
		if (!/^\d+$/.test(pid) || Number(pid) === process.pid)
			continue;
		try {
			const words = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
			const environment = fs.readFileSync(
				`/proc/${pid}/environ`, "utf8");

			if (`${words}\0${environment}`.includes(dir))
				found.push(`${pid} ${words.replaceAll("\0", " ")}`);
		} catch {
			// it ended meanwhile, or is not ours to look at
		}
	}
	return found;
}

/* From the kernel's own table: address:port in hexadecimal, state 0A. */
function listens(port) {
	const hex = Number(port).toString(16).toUpperCase().padStart(4, "0");

	return fs.readFileSync("/proc/net/tcp", "utf8").split("\n")
		.some((line) => new RegExp(`^ *\\d+: \\w+:${hex} \\w+:0000 0A `)
			.test(line));
}

const portOf = (url) => new URL(url).port;

test("two stacks side by side, up twice, down without a trace",
	{ timeout: 240_000 * patience }, async () => {
		const one = await Stack.start();
		const two = await Stack.start({}, "rushes with blanks ");

		try {
			assert.notEqual(one.base, two.base);
			const pids = ["activator", "fcgi", "nginx", "simulator"]
				.map((name) => one.pid(name));

			// up again is no new stack
			await one.up();
			assert.deepEqual(["activator", "fcgi", "nginx", "simulator"]
				.map((name) => one.pid(name)), pids);

			// a key of one opens nothing in the other
			assert.equal((await two.api("GET", "/api/executions",
				undefined, { authorization: `Bearer ${one.key}` }))
				.status, 401);
			const first = await one.submit([still("a")]);
			const second = await two.submit([still("a")]);

			await one.executionEnded(first.id, "completed");
			await two.executionEnded(second.id, "completed");
			assert.equal((await two.starts()).length, 1);
			await one.checkAll();

			// another name on our port is not answered
			await assert.rejects(request(`${one.base}/healthz`,
				{ headers: { host: "elsewhere.example" } }));

			const ports = [portOf(one.base), portOf(one.simulator)];

			assert.ok(ports.every(listens));
			await one.down();
			assert.deepEqual(ports.filter(listens), []);
			assert.deepEqual(processesOf(one.dir), []);
			// media outlives the stack
			assert.ok(fs.existsSync(`${one.store}/${first.id}`));

			// the other one goes on
			const third = await two.submit([still("b")]);

			await two.executionEnded(third.id, "completed");
			await two.checkAll();

			// and down twice is down
			await one.down();
			await one.up();
			assert.equal((await request(`${one.base}/readyz`)).status,
				200);
		} finally {
			await one.stop("stack");
			await two.stop("stack");
		}
		assert.deepEqual(processesOf(one.dir), []);
		assert.deepEqual(processesOf(two.dir), []);
	});
