// SPDX-License-Identifier: MIT
// Runs the cases and prints their tables; see bench.sh.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { Stack, root } from "../system/stack.mjs";
import { emptyFiles } from "./media.mjs";

const build = path.resolve(root, process.env.BUILD ?? "build");
const cases = path.join(root, "tests/bench/case");

// As on a host, not as in tests.
const settings = {
	POLLER_PERIOD_S: "10",
	POLLER_LINGER_S: "2",
	LOG_LEVEL: "warning",
	REPLICATE_POLL_FIRST_MS: "30000",
	REPLICATE_POLL_MOST_MS: "300000",
	FAL_POLL_FIRST_MS: "30000",
	FAL_POLL_MOST_MS: "300000",
	VERTEX_POLL_FIRST_MS: "5000",
	VERTEX_POLL_MOST_MS: "60000",
	CANCEL_CONFIRM_S: "60",
	SIMULATOR_ARGS: "--delay-ms 0 --quiet",
	POSTGRES_SETTINGS: "shared_buffers=1GB max_wal_size=8GB " +
		"checkpoint_timeout=15min",
};

const columns = [
	["", (row) => row.name],
	["ours", (row) => `${number(row.ours)} ${row.unit}`],
	["limit", (row) => number(row.limit)],
	["ratio", (row) => number(row.ratio)],
	["p50 ms", (row) => number(row.p50_ms)],
	["p99 ms", (row) => number(row.p99_ms)],
	["max ms", (row) => number(row.max_ms)],
	["errors", (row) => String(row.errors ?? 0)],
	["CPU s: ours", (row) => number(row.cpu_s?.ours)],
	["nginx", (row) => number(row.cpu_s?.nginx)],
	["PostgreSQL", (row) => number(row.cpu_s?.postgres)],
	["simulator", (row) => number(row.cpu_s?.simulator)],
	["store", (row) => number(row.cpu_s?.store)],
	["load", (row) => number(row.cpu_s?.load)],
	["in s", (row) => number(row.seconds)],
	["MiB", (row) => number(row.rss_bytes && row.rss_bytes / 1048576)],
	["noise", (row) => row.spread === undefined || row.spread === null
		? "" : `${Math.round(row.spread * 100)} %`],
];

function number(value) {
	if (value === undefined || value === null)
		return "";
	if (Math.abs(value) >= 1000)
		return Math.round(value).toLocaleString("en-US");
	return String(Number(value.toPrecision(3)));
}

/** Columns that are empty in every row are left out. */
export function table(rows) {
	const shown = columns.map(([title, show]) => [title, ...rows.map(show)])
		.filter((cells) => cells.slice(1).some((cell) => cell !== ""));
	const widths = shown.map((cells) =>
		Math.max(...cells.map((cell) => cell.length)));

	return [...Array(rows.length + 1).keys()].map((line) =>
		shown.map((cells, column) => column === 0
			? cells[line].padEnd(widths[column])
			: cells[line].padStart(widths[column])).join("  ")
			.trimEnd()).join("\n");
}

class Bench {
	constructor() {
		this.full = Boolean(process.env.FULL);
		this.runs = Number(process.env.RUNS ?? 3);
		this.stacks = [];
		this.last = [];
	}

	/** What is to be done at the end of the case, however it ends. */
	atEnd(step) {
		this.last.unshift(step);
	}

	/** A stack as on a host, with the simulator at its fastest; stopped when
	 * the case has ended. @param more  settings that differ */
	async stack(more = {}) {
		const all = { ...settings, ...more };

		if (process.env.PROFILE)
			all.POSTGRES_SETTINGS +=
				" shared_preload_libraries=pg_stat_statements";
		const stack = await Stack.start(all);

		this.stacks.push(stack);
		if (process.env.PROFILE)
			await stack.sql("CREATE EXTENSION pg_stat_statements");
		return stack;
	}

	/** With PROFILE=1: where the database spent its time. */
	async profile() {
		for (const stack of process.env.PROFILE ? this.stacks : []) {
			const rows = await stack.query(`SELECT calls,
				round(total_exec_time)::integer AS total_ms,
				round(mean_exec_time::numeric, 3) AS mean_ms, rows,
				round(wal_bytes / calls) AS wal_bytes_a_call,
				regexp_replace(left(query, 300), '\\s+', ' ', 'g')
					AS query
				FROM pg_stat_statements
				ORDER BY total_exec_time DESC LIMIT 12`);

			for (const row of rows)
				console.log(`  ${row.total_ms} ms, ${row.calls} calls ` +
					`of ${row.mean_ms} ms, ${row.rows} rows, ` +
					`${row.wal_bytes_a_call} WAL bytes a call: ` +
					row.query.slice(0, 100));
		}
	}

	/** A line about how it goes. */
	say(text) {
		process.stderr.write(`  ${text}\n`);
	}

	async stop(name, failed) {
		for (const step of this.last)
			await step();
		for (const stack of this.stacks.splice(0)) {
			if (!failed)
				await this.keepMedia(stack);
			await stack.stop(`bench-${name}`, failed);
		}
	}

	/** Media is removed after all cases: see emptyFiles(). */
	async keepMedia(stack) {
		const kept = fs.mkdtempSync(path.join(process.env.SYSTEM_TMP,
			"media-"));

		await stack.down();
		await emptyFiles(stack.store);
		fs.renameSync(stack.store, path.join(kept, "store"));
	}
}

async function runCase(name) {
	const { title, default: measure } =
		await import(path.join(cases, `${name}.mjs`));
	const bench = new Bench();
	const begun = Date.now();
	let failed = true;

	console.log(`\n${name}: ${title}`);
	try {
		const rows = await measure(bench);

		failed = false;
		await bench.profile();
		fs.mkdirSync(path.join(build, "bench"), { recursive: true });
		fs.writeFileSync(path.join(build, "bench", `${name}.json`),
			`${JSON.stringify(rows, null, "\t")}\n`);
		console.log(table(rows));
		for (const row of rows.filter((one) => one.note))
			console.log(`  ${row.name}: ${row.note}`);
		console.log(`(${Math.round((Date.now() - begun) / 1000)} s)`);
		return rows.every((row) => !row.errors);
	} finally {
		await bench.stop(name, failed);
	}
}

const known = fs.readdirSync(cases).filter((file) => file.endsWith(".mjs"))
	.map((file) => file.slice(0, -4)).sort();
const wanted = process.argv.slice(2);
const strange = wanted.filter((name) => !known.includes(name));

if (strange.length > 0) {
	console.error(`bench: no case ${strange.join(", ")}; there are ` +
		known.join(", "));
	process.exit(2);
}
console.log(`${os.cpus().length} processors (${os.cpus()[0].model.trim()}), ` +
	`Linux ${os.release()}; everything runs on them: load, nginx, ` +
	"PostgreSQL, simulator and ours.");
let clean = true;

for (const name of wanted.length > 0 ? wanted : known) {
	try {
		clean = await runCase(name) && clean;
	} catch (error) {
		console.error(`${name} could not be measured: ${error.stack}`);
		clean = false;
	}
}
if (!clean) {
	console.error("bench: there were errors");
	process.exit(1);
}
