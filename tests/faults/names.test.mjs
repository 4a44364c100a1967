// SPDX-License-Identifier: MIT
// Name servers that fail in each way, and names that lead to a private address
// all of a sudden, or every other time. Nobody connects to where nobody may go,
// and every job completes when names are right again.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import { patience } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { alone, must } from "./alone.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, anyJob, quick, settings, submit } from "./load.mjs";

alone();

const JOBS = quick ? 8 : 60;
const WRONG_S = quick ? 6 : 25;
/* The longest wait to which failures of so many seconds lead. */
const OVER_S = 40;
const PORT = 8099;
const RIGHT = "127.0.0.1", FORBIDDEN = "10.66.0.1";
const A = 1;

/* ---- the name server ---- */

const answers = { mode: "right", given: {}, turn: 0 };

function respond(question, code, addresses) {
	const end = question.indexOf(0, 12) + 5;
	const isA = question.readUInt16BE(end - 4) === A;
	const list = isA ? addresses : [];
	const head = Buffer.from(question.subarray(0, 12));

	head.writeUInt16BE(0x8580 | code, 2);
	head.writeUInt16BE(list.length, 6);
	head.writeUInt32BE(0, 8);
	return Buffer.concat([head, question.subarray(12, end),
		...list.map((address) => Buffer.from([0xc0, 12, 0, A, 0, 1,
			0, 0, 0, 0, 0, 4, ...address.split(".").map(Number)]))]);
}

const modes = {
	"right": (q) => respond(q, 0, [RIGHT]),
	"failing": (q) => respond(q, 2, []),
	"no such name": (q) => respond(q, 3, []),
	"refusing": (q) => respond(q, 5, []),
	"no address": (q) => respond(q, 0, []),
	"silent": () => null,
	"talking nonsense": (q) => Buffer.concat([q.subarray(0, 2),
		Buffer.from("nonsense")]),
	"rebound": (q) => respond(q, 0, [FORBIDDEN]),
	"rebound every other time": (q) => respond(q, 0,
		[answers.turn++ % 4 < 2 ? RIGHT : FORBIDDEN]),
	"rebound beside the right one": (q) => respond(q, 0,
		[FORBIDDEN, RIGHT]),
};

async function serveNames() {
	const names = createSocket("udp4");

	names.on("message", (question, from) => {
		const answer = modes[answers.mode](question);

		answers.given[answers.mode] =
			(answers.given[answers.mode] ?? 0) + 1;
		if (answer)
			names.send(answer, from.port, from.address);
	});
	names.bind(53, "127.0.0.1");
	await once(names, "listening");
	names.unref();
}

/* ---- where nobody may go, though it can be reached ---- */

const forbidden = net.createServer((socket) => {
	forbidden.connections++;
	socket.destroy();
});

async function guard() {
	forbidden.connections = 0;
	forbidden.listen(PORT, FORBIDDEN);
	await once(forbidden, "listening");
	forbidden.unref();
	// else its silence would prove nothing
	await once(net.connect(PORT, FORBIDDEN), "connect");
	while (forbidden.connections === 0)
		await sleep(10);
	forbidden.connections = 0;
}

const folder = fs.mkdtempSync(path.join(
	process.env.SYSTEM_TMP ?? os.tmpdir(), "rushes-names-"));

for (const [name, text] of Object.entries({
	"resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n",
	"hosts": "127.0.0.1 localhost\n",
	"nsswitch.conf": "hosts: files dns\n",
})) {
	fs.writeFileSync(path.join(folder, name), text);
	must("mount", "--bind", path.join(folder, name), `/etc/${name}`);
}
must("ip", "addr", "add", `${FORBIDDEN}/32`, "dev", "lo");
await serveNames();
await guard();

const at = (name, where) => `http://${name}.rushes.test:${PORT}/${where}`;

suite("names", { settings: {
	...settings,
	SIMULATOR_ARGS: `--delay-ms 200 --port ${PORT}`,
	REPLICATE_BASE_URL: at("replicate", "replicate/v1"),
	FAL_QUEUE_URL: at("queue.fal", "fal/queue"),
	FAL_API_URL: at("api.fal", "fal/api/v1"),
	FAL_JWKS_URL: at("keys.fal", "fal/rest/.well-known/jwks.json"),
	VERTEX_BASE_URL: at("vertex", "vertex/v1"),
	GCS_BASE_URL: at("storage.vertex", "gcs"),
} }, (test) => {
	for (const mode of Object.keys(modes).slice(1)) {
		test(mode, async (stack) => {
			const chance = new Chance(`names ${mode}`);
			const some = (count) => Array.from({ length: count },
				(_, i) => anyJob(chance, `j${i}`,
					{ delay_ms: chance.below(2000) }));

			wholeLedger(stack);
			// some are under way, some begin while names are wrong
			const ids = await submit(stack, some(JOBS / 2));

			await sleep(500);
			answers.mode = mode;
			Object.assign(ids, await submit(stack, some(JOBS / 2)));
			const end = Date.now() + WRONG_S * 1000;

			// a new one knows no name yet
			while (Date.now() < end) {
				if (stack.pid("poller"))
					await stack.restart("poller");
				await sleep(1500);
			}
			answers.mode = "right";
			const over = Date.now();

			await quiet(stack, OVER_S + 60);
			const [{ last }] = await stack.query(`
				SELECT max(completed_at) AS last FROM execution_jobs`);
			const ms = Math.max(0, Date.parse(last) - over);

			console.log(`${mode}: ${answers.given[mode]} answers; all ` +
				`completed ${ms} ms after it was over`);
			assert.equal(forbidden.connections, 0, "connected");
			checkLives(stack);
			const { jobs, completed } = await judge(stack,
				{ [mode]: answers.given[mode] ?? 0 });

			assert.equal(completed, jobs);
			assert.ok(ms < OVER_S * 1000 * patience);
		}, 300);
	}
});
