// SPDX-License-Identifier: MIT
// Pipelines of ten thousand jobs: how long until one is accepted, until the
// end of one job has released 9,999 others, and until all is done, with a
// provider that needs no time.

import { setTimeout as sleep } from "node:timers/promises";

import { live } from "./queue.mjs";
import { median, round, spread, watch } from "../measure.mjs";

export const title = "pipelines of 10,000 jobs, provider instant, files of " +
	"1 KiB; the limits are those wanted: 1 s to create, 0.3 s to release";

const JOBS = 10_000;
const CHAIN = 500; // 10,000 take minutes: FULL=1
const WIDTH = 100; // of a layer
const WAIT_S = 300;
const sim = { media: { bytes: 1024 } };

const job = (n, parents = [], more = {}) => ({
	name: `job${n}`, provider: "replicate", model: "owner/model",
	input: { prompt: "a lighthouse", rushes_sim: sim, ...more },
	...(parents.length > 0
		? { depends_on: parents.map((parent) => `job${parent}`) } : {}),
});
const numbers = (count) => [...Array(count).keys()];

const shapes = {
	"fan-out": () => numbers(JOBS).map((n) => job(n, n > 0 ? [0] : [])),
	"fan-in": () => numbers(JOBS).map((n) => job(n,
		n === JOBS - 1 ? numbers(JOBS - 1) : [])),
	// each on two of the layer before it
	layered: () => numbers(JOBS).map((n) => job(n, n < WIDTH ? [] :
		[n - WIDTH, n - n % WIDTH - WIDTH + (n + 1) % WIDTH])),
	chain: (full) => numbers(full ? JOBS : CHAIN).map((n) => job(n, [],
		n > 0 ? { image: `\${job${n - 1}.output.url}` } : {})),
};

async function create(stack, jobs) {
	const begun = process.hrtime.bigint();
	const answer = await stack.api("POST", "/api/execute", { jobs });
	const ms = Number(process.hrtime.bigint() - begun) / 1e6;

	if (answer.status !== 202)
		throw new Error(`${answer.status}: ${answer.text}`);
	return { ms, id: answer.json.id };
}

/** From the submission to the last job's end. */
async function finish(stack, id) {
	const end = Date.now() + WAIT_S * 1000;

	for (;;) {
		const [row] = await stack.query(`SELECT status, jobs_completed,
			extract(epoch FROM completed_at - created_at) AS seconds
			FROM executions WHERE id = '${id}'`);

		if (row.status !== "running")
			return row;
		if (Date.now() > end)
			throw new Error(`${row.jobs_completed} after ${WAIT_S} s`);
		await sleep(200);
	}
}

function times(name, ms, limit, more = {}) {
	return {
		name, ours: round(median(ms)), unit: "ms", limit,
		ratio: limit ? round(median(ms) / limit, 3) : null,
		p50_ms: round(median(ms)), max_ms: round(Math.max(...ms)),
		errors: 0, spread: round(spread(ms), 2), ...more,
	};
}

async function whole(stack, name, jobs) {
	const seen = await watch(stack, async () => {
		const { id, ms } = await create(stack, jobs);

		return { ms, ...await finish(stack, id) };
	});
	const { ms, seconds, jobs_completed: completed } = seen.value;
	const per = (seen.cpu.ours + seen.cpu.postgres) * 1000 / jobs.length;

	return [ms, {
		name: `${name}, ${jobs.length} jobs: done`,
		ours: round(jobs.length / seconds), unit: "jobs/s", limit: null,
		ratio: null, errors: jobs.length - completed, cpu_s: seen.cpu,
		seconds: round(Number(seconds)), rss_bytes: seen.memory,
		note: `${per.toFixed(2)} ms of processor time a job, ours and ` +
			"PostgreSQL",
	}];
}

export default async function measure(bench) {
	const stack = await bench.stack({ BODY_BYTES_MAX: String(16 << 20) });
	const rows = [];
	const released = [];

	for (const [name, make] of Object.entries(shapes)) {
		const jobs = make(bench.full);
		const [ms, row] = await whole(stack, name, jobs);

		rows.push(times(`${name}, ${jobs.length} jobs: create`, [ms], 1000),
			row);
	}
	await stack.holdPoller();
	for (let i = 0; i < bench.runs; i++) {
		const steps = await live(stack, { jobs: JOBS, insert: JOBS,
			wide: JOBS, children: 2, clients: 1 });

		released.push(steps.complete.max_ms);
		if (steps.complete.count !== 1 || steps.complete.errors > 0)
			throw new Error("the first job was not completed");
		await stack.sql(`DELETE FROM executions
			WHERE completed_at IS NULL`);
	}
	rows.push(times("complete one job, which releases 9,999", released, 300));
	return rows;
}
