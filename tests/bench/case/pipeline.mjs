// SPDX-License-Identifier: MIT
// Pipelines from the first submit to the last job's end, the provider
// instant, its webhooks signed. A model that answers in words makes no file:
// such a job ends (as "no_media") as soon as its webhook is committed.

import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { flood } from "../flood.mjs";
import { measureFloor } from "../floor.mjs";
import { rawRequest } from "../load.mjs";
import { warmMemory } from "../media.mjs";
import { interleaved, percentile, round, row, watch } from "../measure.mjs";
import { Psql } from "../psql.mjs";

export const title = "executions submitted as fast as they are accepted, " +
	"until the last job has ended; the limit is what the processors can do " +
	"if nothing but the floor of the parts is paid";

const WAIT_S = 60;
const MODEL = "black-forest-labs/flux-1.1-pro";
const none = { form: "text" };

const all = {
	"no media": { media: none, count: 5000 },
	"no media, chains of 2": { media: none, count: 2500, chain: true },
	"256 KiB": { media: { bytes: 256 << 10 }, count: 1000 },
	"256 KiB, chains of 2": {
		media: { bytes: 256 << 10 }, count: 500, chain: true,
	},
	"8 MiB": { media: { bytes: 8 << 20 }, count: 60 },
};

const wanted = process.env.PIPELINES?.split(","); // names, to measure few
const variants = Object.fromEntries(Object.entries(all)
	.filter(([name]) => !wanted || wanted.includes(name)));

const input = (media) => ({
	prompt: "a lighthouse at dawn, slow push in", rushes_sim: { media },
});

function body({ media, chain }) {
	const job = { provider: "replicate", model: MODEL, input: input(media) };

	return JSON.stringify({
		jobs: [{ name: "still", ...job }, ...(chain ? [{
			name: "clip", ...job, depends_on: ["still"],
			on_dependency_failure: "run",
		}] : [])],
	});
}

/** What a run stores. */
const bytesOf = ({ media, count, chain }) =>
	(media.bytes ?? 0) * count * (chain ? 2 : 1);

async function allEnded(psql) {
	const end = Date.now() + WAIT_S * 1000;

	while (await psql.number("SELECT count(*) FROM executions " +
		"WHERE completed_at IS NULL") > 0) {
		if (Date.now() > end)
			throw new Error(`jobs did not end within ${WAIT_S} s`);
		await sleep(100);
	}
}

async function pipeline(bench, stack, psql, variant) {
	const request = rawRequest("POST", "/api/execute",
		{ Authorization: `Bearer ${stack.key}` }, body(variant));

	await warmMemory(stack.dir, bytesOf(variant));
	const before = process.cpuUsage();
	const begun = await psql.number(
		"SELECT extract(epoch FROM clock_timestamp())");
	const seen = await watch(stack, async () => {
		const sent = await flood(stack.base, () => request,
			{ count: variant.count, connections: 32, status: 202 });

		await allEnded(psql);
		return sent;
	});
	const own = process.cpuUsage(before);
	const [[seconds, jobs, odd, p50, p99]] = await psql.rows(`SELECT
		extract(epoch FROM max(completed_at) - min(created_at)), count(*),
		count(*) FILTER (WHERE attempt <> 1 OR status <> 'completed'
			AND error_code <> 'no_media'),
		percentile_cont(0.5) WITHIN GROUP (ORDER BY took),
		percentile_cont(0.99) WITHIN GROUP (ORDER BY took)
		FROM (SELECT *, extract(epoch FROM completed_at - created_at)
			* 1000 AS took FROM execution_jobs) AS job
		WHERE created_at >= to_timestamp(${begun})`.replaceAll(/\s+/g, " "));

	// the load is this very process
	seen.cpu.load = round((own.user + own.system) / 1e6);
	return {
		...seen, rate: jobs / seconds, seconds: Number(seconds),
		p50_ms: Number(p50), p99_ms: Number(p99),
		errors: seen.value.errors + Number(odd),
		submit_p99_ms: percentile(seen.value.ms, 99),
		each: (seen.cpu.ours + seen.cpu.postgres) * 1000 / jobs,
	};
}

/** What the floor of a variant comes to. */
function limitOf(floor, variant, file) {
	const parts = {
		submit: floor.submit / (variant.chain ? 2 : 1),
		"start, provider and webhooks": floor.provider,
		database: floor.database,
		...(file ? { media: file.cpu_ms } : {}),
	};
	const sum = Object.values(parts).reduce((a, b) => a + b, 0);
	const ms = Math.max(sum / os.cpus().length, file ? file.ms : 0);

	return {
		rate: 1000 / ms,
		text: `floor ${sum.toFixed(3)} ms of processor time a job: ` +
			Object.entries(parts).map(([name, part]) =>
				`${name} ${part.toFixed(3)}`).join(", "),
	};
}

export default async function measure(bench) {
	const stack = await bench.stack();
	const psql = new Psql(stack.database);

	bench.atEnd(() => psql.end());
	await pipeline(bench, stack, psql, { media: none, count: 500 });
	const runs = await interleaved(bench.runs, Object.fromEntries(
		Object.entries(variants).map(([name, variant]) => [name,
			() => pipeline(bench, stack, psql, variant)])));

	await stack.holdPoller();
	const floor = await measureFloor(bench, stack, psql, {
		body: body(all["no media"]), input: input(none),
		media: [all["256 KiB"], all["8 MiB"]].map(({ media, count }) =>
			({ input: input(media), bytes: media.bytes, count })),
	});

	return Object.entries(variants).map(([name, variant]) => {
		const file = name.startsWith("256") ? floor.files[0]
			: name.startsWith("8") ? floor.files[1] : null;
		const limit = limitOf(floor, variant, file);
		const each = [...runs[name]].map((run) => run.each)
			.sort((a, b) => a - b)[(runs[name].length - 1) >> 1];

		return row(name, runs[name], [limit], {
			ours_and_postgres_ms_a_job: round(each, 3),
			note: `${each.toFixed(3)} ms of ours and PostgreSQL a job; ` +
				limit.text,
		});
	});
}
