// SPDX-License-Identifier: MIT
// POST /api/execute with one job. The answer means: committed.

import { interleaved, nearFloor, row, watch } from "../measure.mjs";
import { pgbench, rawRequest, startHello, wrk } from "../load.mjs";
import { requestFloor } from "../request_floor.mjs";

export const title = "POST /api/execute, one job, through nginx; the limit " +
	"is pgbench writing the same rows, one statement a request";

const SECONDS = 3;
const input = { prompt: "a lighthouse at dawn, slow push in" };
const body = JSON.stringify({
	jobs: [{
		name: "still", provider: "replicate",
		model: "black-forest-labs/flux-1.1-pro", input,
	}],
});

// The rows of one such request: execution, job, first event. Ids grow, as ours
// do, so that the newest entries of an index lie together.
const script = `
WITH next AS MATERIALIZED (
    SELECT lpad(to_hex(nextval('bench_submit')), 12, '0') AS n
), execution AS (
    INSERT INTO executions (id, owner, body_sha256, jobs_total)
    SELECT ('01900000-0000-7000-8000-' || n)::uuid, 'demo', sha256('x'), 1
      FROM next
    RETURNING id
), job AS (
    INSERT INTO execution_jobs (id, execution_id, position, name, provider,
                                model, input, deadline_s, max_attempts,
                                status, next_poll_at, deadline_at)
    SELECT ('01900000-1000-7000-8000-' || n)::uuid, id, 0, 'still', 'replicate',
           'black-forest-labs/flux-1.1-pro', '${JSON.stringify(input)}',
           21600, 3, 'queued', now(), now() + interval '6 hours'
      FROM execution, next
    RETURNING id, status
)
INSERT INTO job_events (job_id, attempt, event, to_status, why)
SELECT id, 0, 'submitted', status, 'submitted; it waits for nothing' FROM job;
`;

// The same for many requests at a time, with nothing around it.
const id = (kind) => `('01910000-${kind}000-7000-8000-' ||
	lpad(to_hex(n), 12, '0'))::uuid`;
const barest = {
	args: (n, count) => `${n}, ${n + count - 1}`,
	statement: `
WITH execution AS (
    INSERT INTO executions (id, owner, body_sha256, jobs_total)
    SELECT ${id(0)}, 'demo', sha256('x'), 1
      FROM generate_series($1::bigint, $2::bigint) AS n
), job AS (
    INSERT INTO execution_jobs (id, execution_id, position, name, provider,
                                model, input, deadline_s, max_attempts,
                                status, next_poll_at, deadline_at)
    SELECT ${id(1)}, ${id(0)}, 0, 'still', 'replicate',
           'black-forest-labs/flux-1.1-pro', '${JSON.stringify(input)}',
           21600, 3, 'queued', now(), now() + interval '6 hours'
      FROM generate_series($1::bigint, $2::bigint) AS n
    RETURNING id, status
)
INSERT INTO job_events (job_id, attempt, event, to_status, why)
SELECT id, 0, 'submitted', status, 'submitted; it waits for nothing' FROM job`,
};

export default async function measure(bench) {
	const stack = await bench.stack();
	const request = rawRequest("POST", "/api/execute",
		{ Authorization: `Bearer ${stack.key}` }, body);
	const hello = await startHello(bench, stack);
	const barely = await startHello(bench, stack,
		{ ...barest, first: 100_000_000 });
	const load = (base, connections) => wrk(base, stack.dir, [request],
		{ connections, seconds: SECONDS });
	const ours = async (connections) => {
		const seen = await watch(stack,
			() => load(stack.base, connections));

		return { ...seen, ...seen.value };
	};

	await stack.holdPoller();
	await stack.sql("CREATE SEQUENCE bench_submit CACHE 100");
	await ours(32); // caches, prepared statements, files
	const runs = await interleaved(bench.runs, {
		few: () => ours(32),
		limit: () => pgbench(stack.database, stack.dir, script,
			{ clients: 32, seconds: SECONDS }),
		many: () => ours(128),
		barelyFew: () => load(barely, 32),
		barelyMany: () => load(barely, 128),
		hello: () => load(hello, 32),
	});

	const floor = await requestFloor(stack, () => load(hello, 32), barest,
		{ few: 32, many: 128 });

	return [
		row("32 connections", runs.few, runs.limit,
			nearFloor(runs.few, runs.limit, floor.few)),
		row("128 connections", runs.many, runs.limit,
			nearFloor(runs.many, runs.limit, floor.many)),
		row("the barest, 32 connections", runs.barelyFew, runs.limit),
		row("the barest, 128 connections", runs.barelyMany, runs.limit),
		row("nginx + FastCGI hello", runs.hello, null),
	];
}
