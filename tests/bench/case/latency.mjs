// SPDX-License-Identifier: MIT
// One job at a time from its submit to its end, the provider instant: with the
// poller awake, and with none running, which the activator then starts.

import { setTimeout as sleep } from "node:timers/promises";
import path from "node:path";

import { pgbench, run } from "../load.mjs";
import { percentile, round } from "../measure.mjs";
import { Psql } from "../psql.mjs";
import { root, until } from "../../system/stack.mjs";

export const title = "submit to end of one job at a time, provider instant; " +
	"the limit is three durable commits in a row (submitted, claimed, written " +
	"ahead), and for an absent poller a C program that starts, connects, asks " +
	"one question and ends as well";

const build = path.resolve(root, process.env.BUILD ?? "build");
const AWAKE = 100;
const ASLEEP = 15;

const job = {
	name: "still", provider: "replicate",
	model: "black-forest-labs/flux-1.1-pro",
	input: {
		prompt: "a lighthouse at dawn, slow push in",
		rushes_sim: { media: { form: "text" } },
	},
};

/** Looking is kept away from what is looked at: first after "quiet" ms. */
async function runJobs(stack, psql, { count, quiet, before }) {
	for (let i = 0; i < count; i++) {
		await before?.();
		await stack.submit([job]);
		do
			await sleep(quiet);
		while (await psql.number("SELECT count(*) FROM executions " +
			"WHERE completed_at IS NULL") > 0);
	}
	const rows = await psql.rows("SELECT extract(epoch FROM completed_at " +
		"- created_at) * 1000 FROM execution_jobs ORDER BY id DESC " +
		`LIMIT ${count}`);

	return rows.map(([ms]) => Number(ms));
}

const summary = (name, ms, limit) => ({
	name, ours: round(percentile(ms, 50), 3), unit: "ms",
	limit: round(limit, 3), ratio: round(percentile(ms, 50) / limit, 3),
	p50_ms: round(percentile(ms, 50), 3), p99_ms: round(percentile(ms, 99), 3),
	max_ms: round(Math.max(...ms), 3), errors: 0,
});

/** When the steps of a job were written, from its submit on. */
async function timeline(psql) {
	const rows = await psql.rows(`SELECT event, round(percentile_cont(0.5)
		WITHIN GROUP (ORDER BY extract(epoch FROM event.at - job.created_at)
			* 1000)::numeric, 1) AS ms
		FROM job_events AS event JOIN execution_jobs AS job
			ON job.id = event.job_id
		GROUP BY event ORDER BY ms`.replaceAll(/\s+/g, " "));

	return `medians: ${rows.map(([event, ms]) => `${event} at ${ms} ms`)
		.join(", ")}`;
}

/** Starting a program that asks PostgreSQL one question: ms of each. */
async function spawnFloor(stack) {
	const text = await run(path.join(build, "tests/bench/ask"),
		[stack.database, "30"]);

	return percentile(text.trim().split("\n").map(Number), 50);
}

/** A durable commit by one client: ms. */
async function commitFloor(stack) {
	await stack.sql("CREATE TABLE commits (n integer)");
	const { rate } = await pgbench(stack.database, stack.dir,
		"INSERT INTO commits VALUES (1);", { clients: 1, seconds: 2 });

	return 1000 / rate;
}

export default async function measure(bench) {
	const sleepy = await bench.stack({ POLLER_LINGER_S: "0" });
	const sleepyPsql = new Psql(sleepy.database);
	const isAsleep = () => until(() => !sleepy.pid("poller"),
		"the poller to end");

	bench.atEnd(() => sleepyPsql.end());
	const asleep = await runJobs(sleepy, sleepyPsql,
		{ count: ASLEEP, quiet: 100, before: isAsleep });
	const commits = 3 * await commitFloor(sleepy);
	const spawn = await spawnFloor(sleepy);

	sleepyPsql.end();
	const awake = await bench.stack({ POLLER_LINGER_S: "3600" });
	const psql = new Psql(awake.database);

	bench.atEnd(() => psql.end());
	await runJobs(awake, psql, { count: 10, quiet: 30 });
	const resident = await runJobs(awake, psql, { count: AWAKE, quiet: 30 });

	return [
		summary("asleep", asleep, commits + spawn),
		{
			...summary("awake", resident, commits),
			note: await timeline(psql),
		},
	];
}
