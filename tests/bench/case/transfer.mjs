// SPDX-License-Identifier: MIT
// Media from a web server into each kind of store.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { interleaved, median, round, row } from "../measure.mjs";
import { Curl, FileStore, Gateway, hashingAlone, moveByUs, S3Store, Source,
	warmMemory, writingAlone } from "../media.mjs";

export const title = "media from nginx to the store; the limit is the best " +
	"of curl downloading and then uploading, and curl | curl";

const KIB = 1024, MIB = 1024 * KIB;

// How many at once, and how many in all: so that a run takes a second or two,
// in which starting a program (40 ms, of curl as well) does not count,
// and an S3 store, which keeps everything in memory, stays below 3 GiB.
// Without FULL=1 large ones go to some stores only.
const NEAR = ["file", "S3 v4 https"];
const MOST = [...NEAR, "S3 v4", "S3 v2"];
const plan = [
	{ bytes: 256 * KIB, atOnce: 1, file: 32, s3: 128, only: NEAR },
	{ bytes: 256 * KIB, atOnce: 64, file: 384, s3: 128, only: NEAR },
	{ bytes: 8 * MIB, atOnce: 1, file: 16, s3: 6, only: MOST },
	{ bytes: 8 * MIB, atOnce: 64, file: 64, s3: 64, only: NEAR },
	{ bytes: 256 * MIB, atOnce: 1, file: 1, s3: 1, only: ["file"] },
	{ bytes: 256 * MIB, atOnce: 8, file: 8, s3: 8, only: [] },
];
const wanted = process.env.STORES?.split(","); // names, to measure few
const stepsOf = (bench, store) => plan.filter((step) =>
	bench.full || step.only.includes(store.name));

const sizeOf = (bytes) => bytes >= MIB ? `${bytes / MIB} MiB`
	: `${bytes / KIB} KiB`;

/** Do something in an empty store and see what the others did meanwhile. */
async function watched(dir, source, store, bytes, thing) {
	await store.empty(bytes);
	await warmMemory(dir, bytes);
	const nginx = source.cpu(), before = store.cpu();
	const seen = await thing();

	return { ...seen, cpu: {
		ours: seen.cpu,
		nginx: round(source.cpu() - nginx),
		store: before === null ? undefined : round(store.cpu() - before),
	} };
}

function cpuRow(name, ours, limit, bytes) {
	const perGib = (runs) => median(runs.map((run) => run.cpu.ours)) /
		bytes * 1024 * MIB;

	return {
		name: `${name}, CPU`, ours: round(perGib(ours)), unit: "s/GiB",
		limit: round(perGib(limit)),
		ratio: round(perGib(ours) / perGib(limit), 3), errors: 0,
	};
}

async function measureOne(bench, dir, source, store, step) {
	const what = { ...step, count: step[store.file ? "file" : "s3"] };
	const curl = new Curl(dir, source, store, what);
	const name = `${store.name}, ${sizeOf(what.bytes)} × ${what.atOnce}`;

	const total = what.bytes * what.count;
	const turn = (thing) => () => watched(dir, source, store, total, thing);

	bench.say(name);
	const runs = await interleaved(bench.runs, {
		ours: turn(() => moveByUs(source, store, what)),
		one: turn(() => curl.oneAfterTheOther()),
		piped: turn(() => curl.piped()),
	});
	const rate = (of) => median(of.map((run) => run.rate));
	const [best, word] = rate(runs.one) > rate(runs.piped)
		? [runs.one, "one after the other"] : [runs.piped, "piped"];
	const errors = [...runs.one, ...runs.piped]
		.reduce((sum, run) => sum + run.errors, 0);

	curl.end();
	return {
		rows: [row(name, runs.ours, best, {
			unit: "MiB/s", note: `the limit is curl, ${word}` +
				(errors ? `, with ${errors} errors of its own` : ""),
		}), cpuRow(name, runs.ours, runs.piped, total)],
		memory: median(runs.ours.map((run) => run.memory)),
	};
}

/** What each further transfer takes, from one at a time to many. */
function memoryRow(store, bytes, few, many, further) {
	const each = (many - few) / further / KIB;

	return {
		name: `${store.name}, ${sizeOf(bytes)}, memory of each`,
		ours: round(each), unit: "KiB", limit: 512,
		ratio: round(each / 512, 3), errors: 0, rss_bytes: many,
	};
}

async function warm(dir, source, store, step) {
	const curl = new Curl(dir, source, store, { ...step, count: step.s3 });

	await store.empty(step.bytes * step.s3);
	await curl.oneAfterTheOther();
	curl.end();
}

async function measureStore(bench, dir, source, store, steps) {
	const rows = [];
	let few;

	// The first bytes that a store ever holds are its slowest.
	if (!store.file)
		await warm(dir, source, store, steps.at(-1));
	for (const step of steps) {
		const seen = await measureOne(bench, dir, source, store, step);

		rows.push(...seen.rows);
		if (step.atOnce === 1)
			few = seen.memory;
		else
			rows.push(memoryRow(store, step.bytes, few, seen.memory,
				step.atOnce - 1));
	}
	await store.empty(Infinity);
	return rows;
}

/** What the source gives to nobody in particular: never the bottleneck. */
async function measureSource(bench, dir, source, step) {
	const curl = new Curl(dir, source, {}, { ...step, count: step.file });
	const runs = await interleaved(bench.runs,
		{ nowhere: () => curl.nowhere() });

	curl.end();
	return row(`source alone, ${sizeOf(step.bytes)} × ${step.atOnce}`,
		runs.nowhere.map((run) => ({ ...run, cpu: { load: run.cpu } })),
		null, { unit: "MiB/s" });
}

/** Receiving, hashing and writing, each alone: nobody can do all three for
 * less than their sum. */
async function measureFloor(bench, dir, source, store) {
	const what = { bytes: 256 * MIB, atOnce: 1, count: 2 };
	const curl = new Curl(dir, source, store, what);

	await store.empty();
	const runs = await interleaved(bench.runs, {
		receiving: async () => (await curl.nowhere()).cpu * 2,
		hashing: () => hashingAlone(),
		writing: async () => {
			await store.empty();
			return writingAlone(store.file(0));
		},
	});

	await store.empty();
	curl.end();
	const parts = Object.entries(runs)
		.map(([name, seconds]) => [name, median(seconds)]);

	return {
		name: "file, floor, CPU", unit: "s/GiB", errors: 0,
		ours: round(parts.reduce((sum, part) => sum + part[1], 0)),
		note: parts.map(([name, seconds]) =>
			`${name} ${round(seconds, 2)}`).join(", "),
	};
}

export default async function measure(bench) {
	const dir = fs.mkdtempSync(path.join(fs.realpathSync(
		process.env.SYSTEM_TMP ?? os.tmpdir()), "transfer-"));
	const source = new Source(dir);
	const gateway = new Gateway(dir);
	const file = new FileStore(dir);
	const stores = [file, new S3Store(gateway, { version: 4 }),
		new S3Store(gateway, { version: 4, tls: true }),
		new S3Store(gateway, { version: 4, signed: true }),
		new S3Store(gateway, { version: 2 })]
		.filter((store) => stepsOf(bench, store).length > 0 &&
			(!wanted || wanted.includes(store.name)));
	const rows = [];

	fs.chmodSync(dir, 0o711);
	bench.atEnd(() => fs.rmSync(dir, { recursive: true, force: true }));
	await source.start();
	bench.atEnd(() => source.stop());
	bench.atEnd(() => gateway.stop());
	await gateway.start();
	for (const store of stores) {
		rows.push(...await measureStore(bench, dir, source, store,
			stepsOf(bench, store)));
	}
	rows.push(await measureFloor(bench, dir, source, file));
	for (const step of stepsOf(bench, { name: "file" }))
		rows.push(await measureSource(bench, dir, source, step));
	return rows;
}
