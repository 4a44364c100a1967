// SPDX-License-Identifier: MIT
// PostgreSQL restarts, loses backends, has no room or is held up by others,
// again and again under load. No program of ours ends for it, and work goes on
// as soon as it is back.

import assert from "node:assert/strict";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Stack, patience, until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, mixture, quick, settings, submit } from "./load.mjs";

const ROUNDS = quick ? 1 : 12;
const CROWD = 130; /* more than max_connections */
const OURS = "usename IN ('rushes_fcgi', 'rushes_poller')";
/* Far more than it takes; the time is printed. */
const RESUMED_MS = 15_000;

/* A client that says who it is and then nothing. */
function squatter(socket, user) {
	const text = Buffer.from(`user\0${user}\0database\0rushes\0\0`);
	const head = Buffer.alloc(8);
	const client = net.connect(socket);

	head.writeInt32BE(head.length + text.length, 0);
	head.writeInt32BE(196608, 4);
	client.on("error", () => {});
	client.on("data", () => {});
	client.write(Buffer.concat([head, text]));
	return client;
}

/* Again until it can be done. @param excuse  why it could not */
const insist = (stack, statement, excuse) => until(
	() => stack.sql(statement).then(() => 1, (error) => {
		assert.match(error.message, excuse);
		return 0;
	}), statement, 20);

const crowded = (stack) => stack.log("postgres")
	.match(/FATAL: .*(too many|remaining) (clients|connection)/g)
	?.length ?? 0;

const faults = {
	"immediate restart": async (stack) => {
		await stack.postgres("restart", "immediate");
		return 1;
	},
	"backends terminated": async (stack) => (await stack.query(`
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		 WHERE ${OURS}`)).length,
	"backend killed": async (stack, chance) => {
		const backends = await stack.query(`
			SELECT pid FROM pg_stat_activity WHERE ${OURS}`);

		if (backends.length === 0)
			return 0;
		process.kill(chance.pick(backends).pid, "SIGKILL");
		return 1;
	},
	// rows locked, and a snapshot that grows old; it begins anew if one of
	// the rows has changed between the two. Of a claim, which takes rows
	// as they come and waits for none, it may wait in a circle
	"foreign transaction": (stack) => insist(stack, `
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT 1 FROM execution_jobs
		 WHERE NOT job_is_terminal(status)
		 ORDER BY id LIMIT 50 FOR UPDATE;
		SELECT pg_sleep(4); COMMIT`, /could not serialize|deadlock/),
	"no connection free": async (stack) => {
		const socket = `${new URL(stack.database.replace(
			"postgresql:///", "http://x/")).searchParams.get("host")}` +
			"/.s.PGSQL.5432";
		const before = crowded(stack);
		const crowd = Array.from({ length: CROWD },
			() => squatter(socket, "rushes_fcgi"));

		try {
			await sleep(1000);
			// what becomes free is wanted by two sides
			// for a moment newcomers have what is kept for us
			await insist(stack, `SELECT pg_terminate_backend(pid)
				FROM pg_stat_activity
				WHERE usename = 'rushes_poller' OR
				      (usename = 'rushes_fcgi' AND query <> '')`,
			/too many clients/);
			for (let i = 0; i < 20; i++)
				crowd.push(squatter(socket, "rushes_fcgi"));
			await sleep(2000);
		} finally {
			for (const client of crowd)
				client.destroy();
		}
		return crowded(stack) - before;
	},
};

/* Until the database tells us that somebody wrote something again. */
async function resumed(stack) {
	const begun = Date.now();
	const last = () => Stack.prototype.query.call(stack,
		"SELECT coalesce(max(id), 0) AS id FROM job_events")
		.then((rows) => rows[0].id, () => null);
	let first = null;

	await until(async () => {
		const now = await last();

		first ??= now;
		return now !== null && now > first;
	}, "work to go on", 60);
	return Date.now() - begun;
}

/* Work that never ends while the faults go on. */
function feeding(stack) {
	const chance = new Chance("postgres jobs");
	let on = true;
	const done = (async () => {
		while (on) {
			await submit(stack, mixture(chance, 10, { delay_ms: 500 }));
			await sleep(250);
		}
	})();

	return async () => {
		on = false;
		await done;
	};
}

suite("PostgreSQL misbehaves", { settings }, (test) => {
	test(`${ROUNDS} times each fault`, async (stack) => {
		const chance = new Chance("postgres");
		const fired = Object.fromEntries(
			Object.keys(faults).map((name) => [name, 0]));
		const fcgi = stack.pid("fcgi");
		const stop = feeding(stack);
		let worst = 0;

		wholeLedger(stack);
		try {
			await sleep(1500);
			for (let round = 0; round < ROUNDS; round++) {
				for (const [name, fault] of Object.entries(faults)) {
					fired[name] += await fault(stack, chance);
					const ms = await resumed(stack);

					console.log(`${name}: resumed in ${ms} ms`);
					worst = Math.max(worst, ms);
					await sleep(chance.below(1500));
				}
			}
		} finally {
			await stop();
		}
		assert.ok(worst < RESUMED_MS * patience, `${worst} ms`);
		await quiet(stack, 200);
		assert.equal(stack.pid("fcgi"), fcgi, "rushes-fcgi has ended");
		checkLives(stack);
		await judge(stack, fired);
	}, 1200);
});
