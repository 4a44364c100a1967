// SPDX-License-Identifier: MIT
// The queue alone: the programs' own statements and functions, by queue.c.
// The limits are the barest statements that change the same rows.

import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";

import { cpuOf, interleaved, postgresPid, row } from "../measure.mjs";
import { pgbench } from "../load.mjs";
import { root } from "../../system/stack.mjs";

export const title = "the queue alone, without HTTP, providers and media; " +
	"the limit of insert is one bare INSERT of the same rows, of the others " +
	"one bare UPDATE … SKIP LOCKED of the same number of jobs";

const JOBS = 20000; // of a run in batches
const SINGLES = 3000; // of a run one by one
const build = path.resolve(root, process.env.BUILD ?? "build");

const moves = ["start", "accepted", "asked", "rendered", "complete"];
const names = {
	insert: "insert, 1,000 a call",
	claim: "claim, 500 a call",
	start: "queued → starting",
	accepted: "starting → processing",
	"claim to ask": "claim what renders",
	asked: "still processing",
	rendered: "processing → storing",
	"claim to store": "claim what is to be stored",
	complete: "complete",
};

/** The rows of :n submissions, as bare as can be. */
const insert = `
WITH execution AS (
    INSERT INTO executions (id, owner, body_sha256, jobs_total)
    SELECT gen_random_uuid(), 'limit', '\\x${"00".repeat(32)}', 1
      FROM generate_series(1, :n)
    RETURNING id
), job AS (
    INSERT INTO execution_jobs (id, execution_id, position, name, provider,
                                model, input, deadline_s, max_attempts,
                                attempt, status, media_source, next_poll_at,
                                deadline_at)
    SELECT gen_random_uuid(), id, 0, 'job0', 'limit',
           'black-forest-labs/flux-1.1-pro',
           '{"prompt": "a lighthouse at dawn, slow push in"}', 21600, 3, 1,
           :state, '[]', now() - interval '1 s', now() + interval '6 hours'
      FROM execution
    RETURNING id, status
)
INSERT INTO job_events (job_id, attempt, event, to_status, why)
SELECT id, 0, 'submitted', status, 'submitted; it waits for nothing' FROM job;
`;

/** Take :n jobs of one state, and change them at once. */
const update = `
WITH due AS (
    SELECT id FROM execution_jobs
     WHERE provider = 'limit' AND status = :state AND next_poll_at <= now()
     ORDER BY next_poll_at LIMIT :n FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE execution_jobs AS job SET :change FROM due WHERE job.id = due.id
RETURNING job.*;
`;
/** A commit that waits for the disk and has changed nothing. */
const nothing = "SELECT pg_logical_emit_message(true, '', '');";
const claiming = "claim = claim + 1, lease_until = now() + " +
	"interval '60 s', next_poll_at = now() + interval '60 s'";
const completing = "status = 'completed', completed_at = now(), " +
	"next_poll_at = NULL";

/** queue.c's steps, each with what it cost us and PostgreSQL. */
export async function live(stack, options) {
	const words = Object.entries(options).map(([name, value]) =>
		`${name}=${value}`);
	const child = spawn(path.join(build, "tests/bench/queue"),
		[stack.database, ...words],
		{ stdio: ["pipe", "pipe", "inherit"] });
	const ended = new Promise((resolve) => child.once("close", resolve));
	const steps = {};
	let before = cpuOf(postgresPid(stack));

	for await (const line of createInterface({ input: child.stdout })) {
		const step = JSON.parse(line);
		const now = cpuOf(postgresPid(stack));

		steps[step.step] = {
			...step,
			cpu: { ours: step.cpu_s, postgres: now - before },
		};
		before = now;
		if (step.step === "complete")
			child.stdin.end();
	}
	if (await ended !== 0)
		throw new Error("queue failed");
	return steps;
}

/** Bare statements on jobs made for them, all of one size and client count. */
async function bare(stack, { jobs, batch, insertBatch, clients }) {
	const run = (script, n, variables = {}) => pgbench(stack.database,
		stack.dir, script.replaceAll(/:(state|change)\b/g,
			(_, name) => variables[name]),
		{ clients, transactions: Math.ceil(jobs / n / clients),
			variables: { n } });
	const rate = async (n, ...rest) => {
		const seen = await run(rest[0], n, rest[1]);

		return { rate: seen.rate * n, errors: seen.errors };
	};
	const steps = {
		insert: await rate(insertBatch, insert, { state: "'queued'" }),
	};

	steps.claim = await rate(batch, update,
		{ state: "'queued'", change: claiming });
	await run(insert, insertBatch, { state: "'storing'" });
	steps.complete = await rate(batch, update,
		{ state: "'storing'", change: completing });
	return steps;
}

const rules = {
	"a counter is not what its jobs say": `
		SELECT e.id FROM executions AS e JOIN execution_jobs AS j
		    ON j.execution_id = e.id
		 WHERE e.owner = 'demo' GROUP BY e.id
		HAVING e.jobs_completed <> count(*) FILTER
		       (WHERE j.status = 'completed')`,
	"a job was not told exactly once": `
		SELECT j.id FROM execution_jobs AS j
		 WHERE j.provider <> 'limit' AND (SELECT count(*)
		  FROM job_events AS e WHERE e.job_id = j.id)
		    <> CASE j.status WHEN 'completed' THEN 5 ELSE 1 END
		       + (SELECT count(*) FROM job_dependencies AS d
		           WHERE d.child_id = j.id)`,
	"an edge was not delivered": `
		SELECT child_id FROM job_dependencies WHERE NOT delivered`,
};

async function check(stack, jobs) {
	const [{ done }] = await stack.query(`SELECT count(*) AS done
		FROM execution_jobs WHERE status = 'completed'
		 AND provider <> 'limit'`);
	let errors = Math.abs(done - jobs);

	for (const [what, sql] of Object.entries(rules)) {
		const wrong = await stack.query(sql);

		if (wrong.length > 0)
			console.error(`queue: ${what}: ${wrong.length}`);
		errors += wrong.length;
	}
	return errors;
}

async function clean(stack) {
	await stack.sql("TRUNCATE executions, execution_jobs, job_starts, " +
		"job_dependencies, job_events, media, webhook_inbox");
}

export default async function measure(bench) {
	const stack = await bench.stack();

	await stack.holdPoller();
	const run = async (options, completed) => {
		await clean(stack);
		const steps = await live(stack, options);

		steps.complete.errors += await check(stack, completed);
		return steps;
	};
	const limit = async (options) => {
		await clean(stack);
		return bare(stack, options);
	};
	const runs = await interleaved(bench.runs, {
		batches: () => run({ jobs: JOBS }, JOBS),
		chains: () => run({ jobs: JOBS, wide: 2, children: 1, media: 1 },
			JOBS / 2),
		limit: () => limit({ jobs: JOBS, batch: 500, insertBatch: 1000,
			clients: 2 }),
		singles: () => run({ jobs: SINGLES, insert: 1, batch: 1,
			clients: 8 }, SINGLES),
		single: () => limit({ jobs: SINGLES, batch: 1, insertBatch: 1,
			clients: 8 }),
		commits: () => pgbench(stack.database, stack.dir, nothing,
			{ clients: 8, transactions: 1000 }),
	});
	const rows = (ours, limits, title) => Object.keys(names).map((step) =>
		row(title(step), runs[ours].map((one) => one[step]),
			runs[limits].map((one) => one[step.startsWith("claim")
				? "claim" : moves.includes(step)
					? "complete" : step])));

	return [
		...rows("batches", "limit", (step) => names[step]),
		...rows("chains", "limit", (step) => names[step]).slice(-1)
			.map((one) => ({ ...one, name: "complete with a file, " +
				"each releasing one" })),
		...rows("singles", "single", (step) => `one by one: ${step}`),
		row("one by one: a commit of nothing", runs.commits, null),
	];
}
