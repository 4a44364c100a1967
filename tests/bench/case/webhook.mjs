// SPDX-License-Identifier: MIT
// POST /api/webhooks/job/…: token and signature are verified, the delivery is
// deduplicated, the job moved. The answer means: committed.

import { createHmac } from "node:crypto";

import { fill, idOf } from "../fill.mjs";
import { pgbench, rawRequest, startHello, wrk } from "../load.mjs";
import { interleaved, nearFloor, row, watch } from "../measure.mjs";
import { floorRows, requestFloor } from "../request_floor.mjs";

export const title = "webhooks of Replicate, each of another job, through " +
	"nginx; the limit is pgbench writing the same rows, one statement each";

const SECONDS = 3;
const OURS = 80_000; // jobs for a run of ours: more than it can take
const LIMIT = 60_000;
const BARELY = 40_000; // of the barest program, in a second
const tokenKey = Buffer.alloc(32, "rushes");
const secret = Buffer.alloc(24, "bench");

const base64 = (key, text) =>
	createHmac("sha256", key).update(text).digest("base64");

function delivery(n, now) {
	const id = idOf(n, 1);
	const token = createHmac("sha256", tokenKey)
		.update(`${id}.1.replicate`).digest("base64url");
	const body = JSON.stringify({
		id: `p${n}`, model: "owner/model", version: "hidden",
		input: { prompt: "a lighthouse at dawn, slow push in" },
		logs: "", output: `https://replicate.delivery/x/${n}.mp4`,
		error: null, status: "succeeded", data_removed: false,
		created_at: "2026-01-01T00:00:00.000Z",
		metrics: { predict_time: 4.2 },
	});

	return rawRequest("POST", `/api/webhooks/job/${id}/1.${token}`, {
		"webhook-id": `msg_${n}`,
		"webhook-timestamp": String(now),
		"webhook-signature":
			`v1,${base64(secret, `msg_${n}.${now}.${body}`)}`,
	}, body);
}

// The rows of one: job, inbox, event. Its start was answered before.
const move = `    UPDATE execution_jobs AS job
       SET status = 'storing', version = version + 1, next_poll_at = now(),
           output = '"https://replicate.delivery/x/1.mp4"',
           media_source = '[{"url": "https://replicate.delivery/x/1.mp4"}]',
           completed_via = 'webhook'`;
const rest = `), inbox AS (
    INSERT INTO webhook_inbox (job_id, delivery_key, attempt, event)
    SELECT id, 'msg_' || id, attempt, 'succeeded' FROM job
    ON CONFLICT DO NOTHING
)
INSERT INTO job_events (job_id, attempt, event, from_status, to_status, why)
SELECT id, attempt, 'succeeded', 'processing', 'storing',
       'the result is ready to fetch' FROM job`;
const script = `
WITH next AS MATERIALIZED (
    SELECT ('01900000-1000-7000-8000-' ||
            lpad(to_hex(nextval('bench_webhook')), 12, '0'))::uuid AS id
), job AS (
${move}
      FROM next
     WHERE job.id = next.id AND job.status = 'processing'
    RETURNING job.id, job.attempt
${rest};
`;

// The same for many at a time, with nothing around it.
const barest = {
	args: (n, count) => `${n}, ${n + count - 1}`,
	statement: `
WITH job AS (
${move}
     WHERE id = ANY (ARRAY(
               SELECT ('01900000-1000-7000-8000-' ||
                       lpad(to_hex(n), 12, '0'))::uuid
                 FROM generate_series($1::bigint, $2::bigint) AS n))
       AND status = 'processing'
    RETURNING id, attempt
${rest}`,
};
const TOGETHER = { few: 32, many: 128 };

export default async function measure(bench) {
	const stack = await bench.stack({
		WEBHOOK_TOKEN_KEY: tokenKey.toString("base64"),
		REPLICATE_WEBHOOK_SECRET: `whsec_${secret.toString("base64")}`,
	});
	const ours = async (first, connections, seconds) => {
		const now = Math.floor(Date.now() / 1000);
		const requests = Array.from({ length: OURS },
			(_, i) => delivery(first + i, now));
		const seen = await watch(stack, () => wrk(stack.base, stack.dir,
			requests, { connections, seconds, once: true }));

		return { ...seen, ...seen.value };
	};
	const runs = bench.runs;
	const limitFirst = OURS * 2 * runs;
	const floorFirst = limitFirst + LIMIT * runs + 1000;
	const barelyFirst = floorFirst + floorRows(TOGETHER);
	const hello = await startHello(bench, stack);
	const asked = [delivery(floorFirst, 0)];
	const committing = await startHello(bench, stack,
		{ statement: barest.statement, first: barelyFirst });
	const barely = (connections) => wrk(committing, stack.dir, asked,
		{ connections, seconds: 1 });

	await stack.holdPoller();
	await fill(stack, {
		count: barelyFirst + BARELY * 2 * runs, status: "processing",
	});
	await stack.sql(`CREATE SEQUENCE bench_webhook START ${limitFirst} CACHE 100`);
	const seen = await interleaved(runs, {
		few: (i) => ours(OURS * i, 32, SECONDS),
		limit: () => pgbench(stack.database, stack.dir, script,
			{ clients: 32, seconds: SECONDS }),
		many: (i) => ours(OURS * (runs + i), 128, SECONDS),
		barelyFew: () => barely(32),
		barelyMany: () => barely(128),
	});
	// Were they all taken for what they are?
	const [{ moved }] = await stack.query(`SELECT count(*) AS moved
		FROM execution_jobs WHERE status = 'storing'
		AND id < '${idOf(limitFirst, 1)}'`);
	const answered = [...seen.few, ...seen.many]
		.reduce((sum, run) => sum + run.count, 0);

	// wrk ends without waiting for what it has sent
	if (moved < answered || moved > answered + runs * (32 + 128))
		throw new Error(`${answered} answered, but ${moved} moved`);
	const barelyMoved = [...seen.barelyFew, ...seen.barelyMany]
		.reduce((sum, run) => sum + run.count, 0);

	if (barelyMoved > BARELY * 2 * runs)
		throw new Error(`the barest program ran out of jobs`);
	const floor = await requestFloor(stack, () => wrk(hello, stack.dir, asked,
		{ connections: 32, seconds: SECONDS }),
	{ ...barest, first: floorFirst }, TOGETHER);

	return [
		row("32 connections", seen.few, seen.limit,
			nearFloor(seen.few, seen.limit, floor.few)),
		row("128 connections", seen.many, seen.limit,
			nearFloor(seen.many, seen.limit, floor.many)),
		row("the barest, 32 connections", seen.barelyFew, seen.limit),
		row("the barest, 128 connections", seen.barelyMany, seen.limit),
	];
}
