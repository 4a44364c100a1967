// SPDX-License-Identifier: MIT
// What statements cost when a million jobs have gone through the tables, and
// a hundred thousand wait. Two databases in one cluster take turns.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

import { fill } from "../fill.mjs";
import { run } from "../load.mjs";
import { interleaved, median, percentile, round, spread } from "../measure.mjs";
import { root } from "../../system/stack.mjs";

export const title = "statements in full tables; ours is their median, the " +
	"limit that in empty ones (a ratio up to 1.3 is what is wanted)";

const CALLS = 200; // of each statement in a run
const FEW_CALLS = 80; // ... of one that would leave nothing to claim
const GROWN = 100_000; // what every statement must not read
const many = [1_000_000, 10_000_000];
const WAITING = 100_000;

const submission = (n) => {
	const id = (kind) => `01990000-${kind}000-7000-8000-` +
		(n + Math.floor(Math.random() * 2 ** 46)).toString(16)
			.padStart(12, "0");
	const execution = id(2), job = id(3);

	return [[{
		id: execution, owner: "demo", body_sha256: "00".repeat(32),
		jobs_total: 1,
	}], [{
		id: job, execution_id: execution, position: 0, name: "still",
		provider: "replicate", model: "owner/model",
		input: { prompt: "a lighthouse at dawn, slow push in" },
		on_dependency_failure: "fail", has_references: false,
		deadline_s: 21600, max_attempts: 3, needs_left: 0,
	}], []].map((rows) => `'${JSON.stringify(rows)}'`).join(", ");
};

// Name of the row, statement, its parameters at the n-th call, other CALLS.
const asked = [
	["submit one", "execution_submit",
		(n) => `${submission(n)}, 'submitted', 'submitted'`],
	["claim one", "job_claim", () => "'{replicate}', '{queued}', '{1}', 60000"],
	["claim 100", "job_claim",
		() => "'{replicate}', '{queued}', '{100}', 60000", FEW_CALLS],
	["move one", "job_move_on", (n, ids) => `'${JSON.stringify([{
		n: 0, id: ids[n % ids.length], event: "progress",
		was: "processing", becomes: "processing", why: "it still renders",
		due_ms: 60000, quiet: true,
	}])}'`],
	["when is something due", "job_next_due",
		() => "'{replicate,replicate}', '{queued,processing}'"],
	["what is overdue", "job_overdue", () => "100"],
	["a job", "job_read",
		(n, ids) => `'{${ids[n % ids.length]}}', '{0}'`],
	["its timeline", "job_events_read",
		(n, ids) => `'${ids[n % ids.length]}', 0, 1000`],
	["a page of the list", "execution_list", () => "'demo', NULL, NULL, 50"],
];

/** Our statements as PREPAREs, by name, from what the programs are built of:
 * C strings that are JSON as well. */
function statements() {
	const text = fs.readFileSync(path.join(build, "gen/queries.inc"), "utf8");
	const found = {};

	for (const [, name, lines] of text.matchAll(
		/^QUERY\((\w+), \d+,\n([^]*?)\n\)$/gm)) {
		const sql = `${lines.split("\n").map((line) => JSON.parse(line))
			.join("")};`;

		found[name] = name === "session_begin" ? sql
			: `PREPARE ${name} AS ${sql}`;
	}
	return found;
}

const build = path.resolve(root, process.env.BUILD ?? "build");
const known = statements();
const bindir = execFileSync("pg_config", ["--bindir"], { encoding: "utf8" })
	.trim();

function psql(database, dir, text) {
	const file = path.join(dir, "growth.sql");

	fs.writeFileSync(file, `${known.session_begin}\n${text}`);
	return run(path.join(bindir, "psql"),
		["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null",
			"-f", file, database]);
}

/** Median and the rest of many calls, each a round trip and a commit. */
async function time(database, dir, [, name, params, count = CALLS], ids) {
	const calls = Array.from({ length: count }, (_, n) =>
		`EXECUTE ${name}(${params(n, ids)});`);
	const text = await psql(database, dir, `${known[name]}\n${calls[0]}\n` +
		`\\timing on\n${calls.slice(1).join("\n")}\n`);
	const ms = [...text.matchAll(/^Time: ([\d.]+) ms/gm)]
		.map(([, number]) => Number(number));

	if (ms.length !== count - 1)
		throw new Error(`${name}: ${ms.length} times`);
	return { p50: percentile(ms, 50), p99: percentile(ms, 99),
		max: Math.max(...ms) };
}

function nodes(plan) {
	return [plan, ...(plan.Plans ?? []).flatMap(nodes)];
}

/** How a statement enters the tables, and which it reads whole. */
async function planOf(stack, [, name, params], ids, sizes) {
	const file = path.join(stack.dir, "growth.sql");

	fs.writeFileSync(file, `\\o /dev/null\n${known.session_begin}\n` +
		`${known[name]}\n\\o\n` +
		`EXPLAIN (FORMAT JSON) EXECUTE ${name}(${params(0, ids)});`);
	const text = await run(path.join(bindir, "psql"),
		["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-f", file,
			stack.database]);
	const [{ Plan: plan }] = JSON.parse(text);
	const scans = nodes(plan).filter((node) => node["Relation Name"] &&
		node["Node Type"].includes("Scan"));
	const whole = scans.filter((node) => node["Node Type"] === "Seq Scan" &&
		sizes[node["Relation Name"]] > GROWN);

	return {
		ways: [...new Set(scans.map((node) => node["Node Type"] === "Seq Scan"
			? `${node["Relation Name"]} (whole)`
			: node["Index Name"] ?? node["Relation Name"]))].join(", "),
		whole: whole.map((node) => node["Relation Name"]),
	};
}

export default async function measure(bench) {
	const stack = await bench.stack();
	const empty = Object.create(stack, { database: {
		value: stack.database.replace("/rushes?", "/small?"),
	} });
	const finished = bench.full ? many[1] : many[0];

	await stack.holdPoller();
	await stack.sql("CREATE DATABASE small");
	await run(path.join(build, "rushes-poller"), ["--migrate"], { env: {
		...process.env, DATABASE_ADMIN_URL: empty.database,
	} });
	// in both: jobs that are rendered, and some that wait
	for (const one of [empty, stack]) {
		await fill(one, { first: 0, count: 1000, status: "processing" });
		await fill(one, { first: 10_000, count: 30_000,
			status: "queued" });
	}
	const begun = Date.now();

	for (let first = 1_000_000; first < 1_000_000 + finished;
		first += 500_000)
		await fill(stack, { first, count: Math.min(500_000,
			1_000_000 + finished - first), status: "completed" });
	await fill(stack, { first: 50_000, count: WAITING - 30_000,
		status: "queued" });
	bench.say(`${finished} finished jobs made in ` +
		`${Math.round((Date.now() - begun) / 1000)} s`);

	const ids = (await stack.query(`SELECT id FROM execution_jobs
		WHERE status = 'processing' LIMIT 500`)).map(({ id }) => id);
	const sizes = Object.fromEntries((await stack.query(
		"SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'"))
		.map(({ relname, reltuples }) => [relname, reltuples]));
	const results = [];

	for (const one of asked) {
		const runs = await interleaved(bench.runs, {
			empty: () => time(empty.database, stack.dir, one, ids),
			full: () => time(stack.database, stack.dir, one, ids),
		});
		const full = runs.full.map((seen) => seen.p50);
		const base = median(runs.empty.map((seen) => seen.p50));
		const { ways, whole } = await planOf(stack, one, ids, sizes);

		results.push({
			name: one[0], ours: round(median(full)), unit: "ms",
			limit: round(base), ratio: round(median(full) / base, 3),
			p50_ms: round(median(full)),
			p99_ms: round(median(runs.full.map((seen) => seen.p99))),
			max_ms: round(Math.max(...runs.full.map((seen) => seen.max))),
			errors: whole.length, spread: round(spread(full), 2),
			finished, waiting: WAITING,
			note: whole.length > 0 ? `reads ${whole} whole` : ways,
		});
	}
	return results;
}
