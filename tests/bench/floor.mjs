// SPDX-License-Identifier: MIT
// The least that the parts of a job's way cost in processor time, each
// measured alone: what cannot be had for less, whoever wrote the programs.

import fs from "node:fs";
import path from "node:path";

import { root, until } from "../system/stack.mjs";
import { flood } from "./flood.mjs";
import { rawRequest, run, startHello } from "./load.mjs";
import { cpuOf, cpuOfStack, postgresPid } from "./measure.mjs";
import { emptyFiles, warmMemory } from "./media.mjs";

const build = path.resolve(root, process.env.BUILD ?? "build");

/**
 * URLs asked for by a bare libcurl client.
 *
 * @param {{method?: string, at_once: number, dir?: string, body?: string}} how
 *	dir: answers are written there and made durable
 * @returns {Promise<{count, errors, bytes, seconds, cpu}>} cpu: of the client
 */
export async function exchange(stack, urls, how) {
	const file = path.join(stack.dir, "urls");
	const load = cpuOfStack(stack).load;

	fs.writeFileSync(file, urls.map((url) => `${url}\n`).join(""));
	const text = await run(path.join(build, "tests/bench/exchange"),
		[how.method ?? "GET", file, String(how.at_once), how.dir ?? "-",
			...(how.body ? [how.body] : [])]);

	return { ...JSON.parse(text), cpu: cpuOfStack(stack).load - load };
}

/** Processes of the hello program and its nginx, by the folder they are in. */
export function helloCpu(stack) {
	const dir = path.join(stack.dir, "hello");
	const pids = fs.readdirSync("/proc").filter((pid) => {
		try {
			return /^\d+$/.test(pid) && fs.readFileSync(
				`/proc/${pid}/cmdline`, "utf8").includes(`${dir}/`);
		} catch {
			return false; // it has ended
		}
	});

	return pids.reduce((sum, pid) => sum + cpuOf(Number(pid)), 0);
}

/** A POST through nginx to a FastCGI program that only says hello: ms each. */
async function helloFloor(stack, hello, body, count) {
	const request = rawRequest("POST", "/api/execute",
		{ Authorization: `Bearer ${stack.key}` }, body);
	const before = helloCpu(stack);

	const { errors } = await flood(hello, () => request,
		{ count, connections: 32, status: 200 });

	if (errors > 0)
		throw new Error(`${errors} times no hello`);
	return (helloCpu(stack) - before) * 1000 / count;
}

/** A start by bare libcurl, the provider, and its webhook to the hello
 * program: ms each, of all of them. */
async function providerFloor(stack, hello, input, count) {
	const all = () => helloCpu(stack) + cpuOf(stack.pid("simulator"));
	const delivered = async () =>
		(await stack.totals()).replicate.deliveries;
	const already = await delivered();
	const before = all();
	const client = await exchange(stack, Array(count).fill(
		`${stack.simulator}/replicate/v1/models/black-forest-labs/` +
		"flux-1.1-pro/predictions"), {
		method: "POST",
		at_once: 64,
		body: JSON.stringify({
			input,
			webhook: `${hello}/api/webhooks/job/` +
				"01900000-1000-7000-8000-000000000000/1.x",
			webhook_events_filter: ["start", "completed"],
		}),
	});

	await until(async () => await delivered() - already >= 2 * count,
		"the provider's webhooks");
	return (all() - before + client.cpu) * 1000 / count;
}

const TOGETHER = 100; // jobs a statement

/** What PostgreSQL needs to write the same rows by the barest statements, a
 * hundred jobs each: ms a job. */
async function databaseFloor(stack, psql, count) {
	const before = cpuOf(postgresPid(stack));
	const why = "'the provider accepted the job'";
	const note = (event, from, to) => `INSERT INTO job_events
		(job_id, attempt, event, from_status, to_status, why)
		SELECT id, 1, '${event}', '${from}', '${to}', ${why} FROM job`;

	for (let n = 0; n < count; n += TOGETHER) {
		const id = (kind) => `('01910000-${kind}000-7000-8000-' ||
			lpad(to_hex(n), 12, '0'))::uuid`;
		const series = `generate_series(${n}, ${n + TOGETHER - 1}) AS n`;
		const jobs = `ARRAY(SELECT ${id(1)} FROM ${series})`;
		const update = (set) => `WITH job AS (UPDATE execution_jobs
			SET version = version + 1, ${set} WHERE id = ANY (${jobs})
			RETURNING id, execution_id)`;

		for (const sql of [
			`WITH execution AS (INSERT INTO executions
				(id, owner, body_sha256, jobs_total)
				SELECT ${id(0)}, 'floor', sha256('x'), 1 FROM ${series}
			), job AS (INSERT INTO execution_jobs
				(id, execution_id, position, name, provider, model,
				 input, deadline_s, max_attempts, deadline_at, status,
				 next_poll_at)
				SELECT ${id(1)}, ${id(0)}, 0, 'still', 'floor',
				'black-forest-labs/flux-1.1-pro',
				'{"prompt": "a lighthouse at dawn"}', 21600, 3,
				now() + interval '6 hours', 'queued', now()
				FROM ${series} RETURNING id)
			INSERT INTO job_events (job_id, attempt, event, to_status, why)
			SELECT id, 0, 'submitted', 'queued', ${why} FROM job`,
			`${update("claim = 1, next_poll_at = now()")} SELECT FROM job`,
			`${update("status = 'starting', attempt = 1")},
			start AS (INSERT INTO job_starts (job_id, attempt, provider)
				SELECT id, 1, 'floor' FROM job)
			${note("start", "queued", "starting")}`,
			`${update(`status = 'processing', provider_job_id = id::text,
				next_poll_at = now()`)}, start AS (UPDATE job_starts
				SET provider_job_id = job_id::text, outcome = 'accepted'
				WHERE job_id = ANY (${jobs}))
			${note("accepted", "starting", "processing")}`,
			`${update(`status = 'failed', next_poll_at = NULL,
				completed_at = now(), error_code = 'no_media',
				billed = 'yes'`)}, inbox AS (INSERT INTO webhook_inbox
				(job_id, delivery_key, attempt, event)
				SELECT id, 'msg_' || id, 1, 'rendered' FROM job
			), execution AS (UPDATE executions SET jobs_failed = 1,
				completed_at = now()
				WHERE id IN (SELECT execution_id FROM job))
			${note("rendered", "processing", "failed")}`,
		])
			await psql.rows(sql.replaceAll(/\s+/g, " "));
	}
	const cpu = cpuOf(postgresPid(stack)) - before;

	await psql.rows("DELETE FROM executions WHERE owner = 'floor'");
	return cpu * 1000 / count;
}

/** The media of so many jobs by bare libcurl into durable files: ms of
 * processor time and of clock time a job. */
async function mediaFloor(stack, { input, bytes, count }) {
	const dir = path.join(stack.store, `floor-${bytes}`);
	const start = await run("curl", ["-sS", "-H", "Authorization: Bearer r8_simulated",
		"-H", "Content-Type: application/json",
		"-d", JSON.stringify({ input }),
		`${stack.simulator}/replicate/v1/models/a/flux/predictions`]);
	const { id } = JSON.parse(start);
	const { output } = JSON.parse(await until(async () => {
		const text = await run("curl", ["-sS", "-H",
			"Authorization: Bearer r8_simulated",
			`${stack.simulator}/replicate/v1/predictions/${id}`]);

		return text.includes('"succeeded"') && text;
	}, "a prediction"));

	fs.mkdirSync(dir);
	await warmMemory(dir, bytes * count);
	const before = cpuOf(stack.pid("simulator"));
	const got = await exchange(stack, Array(count).fill([output].flat()[0]),
		{ at_once: 16, dir });
	const cpu = cpuOf(stack.pid("simulator")) - before + got.cpu;

	await emptyFiles(dir);
	return { cpu_ms: cpu * 1000 / count, ms: got.seconds * 1000 / count };
}

/**
 * The parts of the floor, in milliseconds of processor time a job.
 *
 * @param {{body: string, input: object, media: {input, bytes, count}[]}} what
 *	a submission; the input of its job; jobs with media, and how many of each
 */
export async function measureFloor(bench, stack, psql, { body, input, media }) {
	const hello = await startHello(bench, stack);
	const submit = await helloFloor(stack, hello, body, 5000);
	const provider = await providerFloor(stack, hello, input, 3000);
	const database = await databaseFloor(stack, psql, 5000);
	const files = [];

	for (const file of media)
		files.push(await mediaFloor(stack, file));
	return { submit, provider, database, files };
}
