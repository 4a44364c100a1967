// SPDX-License-Identifier: MIT
// How much there is of us: programs, memory, time to start, and what a job
// leaves in the database.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { flood } from "../flood.mjs";
import { rawRequest } from "../load.mjs";
import { median, memoryOf, peakOf, round } from "../measure.mjs";
import { Psql } from "../psql.mjs";
import { root, until } from "../../system/stack.mjs";

export const title = "programs, memory, start, and a job in the database";

const JOBS = 2000;
const QUIET_MS = 3000; // until what the jobs took was given back
const build = path.resolve(root, process.env.BUILD ?? "build");
const tables = ["executions", "execution_jobs", "job_events", "job_starts",
	"media", "webhook_inbox"];

const one = (name, ours, unit, more = {}) =>
	({ name, ours: round(ours), unit, limit: null, ratio: null, errors: 0,
		...more });

function programs(dir) {
	return ["rushes-fcgi", "rushes-poller"].map((name) => {
		const stripped = path.join(dir, name);

		execFileSync("strip", ["-o", stripped, path.join(build, name)]);
		return one(`${name}, stripped`, fs.statSync(stripped).size / 1024,
			"KiB");
	});
}

/** From its process's beginning to its first answer, through nginx. */
async function fcgiTime(stack) {
	const times = [];

	for (let i = 0; i < 7; i++) {
		const old = stack.pid("fcgi");

		process.kill(stack.pid("activator"), "SIGUSR1");
		while ([null, old].includes(stack.pid("fcgi")))
			await sleep(1);
		const begun = performance.now();

		await stack.api("GET", "/healthz");
		times.push(performance.now() - begun);
	}
	return median(times);
}

async function runJobs(stack, psql) {
	const request = rawRequest("POST", "/api/execute",
		{ Authorization: `Bearer ${stack.key}` }, JSON.stringify({
			jobs: [{
				name: "still", provider: "replicate",
				model: "black-forest-labs/flux-1.1-pro",
				input: { prompt: "a lighthouse at dawn, slow push in" },
			}],
		}));
	const { errors } = await flood(stack.base, () => request,
		{ count: JOBS, connections: 32, status: 202 });

	while (await psql.number("SELECT count(*) FROM executions WHERE " +
		"completed_at IS NULL") > 0)
		await sleep(100);
	return errors;
}

export default async function measure(bench) {
	const stack = await bench.stack({ POLLER_LINGER_S: "3600" });
	const psql = new Psql(stack.database);
	const pids = () => ["fcgi", "poller"].map((name) => stack.pid(name));
	const sum = (of) => pids().reduce((all, pid) => all + of(pid), 0);

	bench.atEnd(() => psql.end());
	await until(() => pids().every(Boolean), "both programs");
	await sleep(1000);
	const fresh = sum(memoryOf);
	const wal = "SELECT pg_current_wal_lsn() - '0/0'";
	const before = await psql.number(wal);
	const errors = await runJobs(stack, psql);

	await sleep(QUIET_MS);
	const after = sum(memoryOf);
	const written = await psql.number(wal) - before;
	const rows = await psql.number(`SELECT ${tables.map((table) =>
		`(SELECT count(*) FROM ${table})`).join(" + ")}`);
	const bytes = await psql.number(`SELECT ${tables.map((table) =>
		`pg_total_relation_size('${table}')`).join(" + ")}`);

	return [
		...programs(stack.dir),
		one("memory of both, just started", fresh / 1048576, "MiB"),
		one(`memory of both, when ${JOBS} jobs have ended`, after / 1048576,
			"MiB"),
		one("the same at its peak, shared pages in full",
			sum(peakOf) / 1048576, "MiB"),
		one("rushes-fcgi, from its start to an answer",
			await fcgiTime(stack), "ms"),
		one("rows of a job with a file", rows / JOBS, "rows", { errors }),
		one("WAL of a job with a file", written / JOBS / 1024, "KiB"),
		one("tables and indexes of a job", bytes / JOBS / 1024, "KiB"),
	];
}
