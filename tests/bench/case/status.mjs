// SPDX-License-Identifier: MIT
// GET /api/jobs/{id} over many jobs, and the same when nothing has changed.

import { fill, idOf } from "../fill.mjs";
import { pgbench, rawRequest, startHello, wrk } from "../load.mjs";
import { costs, interleaved, nearFloor, row, watch } from "../measure.mjs";
import { requestFloor } from "../request_floor.mjs";

const JOBS = 400_000;
const ASKED = 50_000; // of them, in any order
const SECONDS = 3;

export const title = `GET /api/jobs/{id} over ${JOBS} jobs, through nginx; ` +
	"the limit is pgbench selecting the same columns";

// What DB_job_read says, for one id.
const select = `
SELECT job.id, job.execution_id, execution.owner, job.name, job.provider,
       job.model, job.status, job.attempt, job.progress, job.version,
       job.output, job.completed_via, job.error_code, job.error_message,
       job.billed, job.provider_job_id, job.cancel_requested_at,
       job.created_at, job.started_at, job.completed_at,
       media.url, media.content_type, media.bytes, media.sha256
  FROM execution_jobs AS job
  JOIN executions AS execution ON execution.id = job.execution_id
  LEFT JOIN media ON media.job_id = job.id AND media.attempt = job.attempt
 WHERE job.id = `;
const script = `
\\set n random(0, ${JOBS - 1})
${select} ('01900000-1000-7000-8000-' ||
                 lpad(to_hex(:n::bigint), 12, '0'))::uuid
 ORDER BY media.index;
`;
// Many at a time.
const barest = {
	args: (_, count) => `'{${Array.from({ length: count }, () =>
		idOf(Math.floor(Math.random() * JOBS), 1)).join(",")}}'`,
	statement: `${select} ANY ($1::uuid[])`,
};
// The same by numbers, which come from anywhere in the table.
const byNumber = `${select} ANY (ARRAY(
    SELECT ('01900000-1000-7000-8000-' ||
            lpad(to_hex(n * 7919 % ${JOBS}), 12, '0'))::uuid
      FROM generate_series($1::bigint, $2::bigint) AS n))`;

export default async function measure(bench) {
	const stack = await bench.stack();
	const headers = { Authorization: `Bearer ${stack.key}` };
	const asked = Array.from({ length: ASKED },
		() => idOf(Math.floor(Math.random() * JOBS), 1));
	const requests = (more) => asked.map((id) => rawRequest("GET",
		`/api/jobs/${id}`, { ...headers, ...more }));
	const hello = await startHello(bench, stack);
	const barely = await startHello(bench, stack,
		{ statement: byNumber, first: 0 });
	const ours = async (list, connections) => {
		const seen = await watch(stack, () => wrk(stack.base, stack.dir,
			list, { connections, seconds: SECONDS }));

		return { ...seen, ...seen.value };
	};
	const full = requests({}), same = requests({ "If-None-Match": '"1"' });

	await stack.holdPoller();
	await fill(stack, { count: JOBS, status: "completed" });
	await ours(full, 32);
	const runs = await interleaved(bench.runs, {
		few: () => ours(full, 32),
		limit: () => pgbench(stack.database, stack.dir, script,
			{ clients: 32, seconds: SECONDS }),
		crowd: () => ours(full, 1000),
		same: () => ours(same, 32),
		barely: () => wrk(barely, stack.dir, full,
			{ connections: 32, seconds: SECONDS }),
		hello: () => wrk(hello, stack.dir, full,
			{ connections: 32, seconds: SECONDS }),
	});

	const floor = await requestFloor(stack, () => wrk(hello, stack.dir, full,
		{ connections: 32, seconds: SECONDS }), barest,
	{ few: 32, crowd: 512 });

	return [
		row("32 connections", runs.few, runs.limit,
			nearFloor(runs.few, runs.limit, floor.few)),
		row("1000 connections", runs.crowd, runs.limit,
			nearFloor(runs.crowd, runs.limit, floor.crowd)),
		row("If-None-Match, 304", runs.same, runs.limit,
			{ note: costs(runs.same) }),
		row("the barest, 32 connections", runs.barely, runs.limit),
		row("nginx + FastCGI hello", runs.hello, null),
	];
}
