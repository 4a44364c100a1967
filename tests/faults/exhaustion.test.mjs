// SPDX-License-Identifier: MIT
// Nothing left: memory (each allocation fails once, and the kernel kills),
// descriptors, room on the disk, and the size that a file may have. Programs
// may end, and answer 5xx; what they may not is crash, lose, pay twice, or
// take it for somebody's mistake.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { clip, still, veo } from "../system/jobs.mjs";
import { patience, terminal, until } from "../system/stack.mjs";
import { MemoryLimit } from "./cgroup.mjs";
import { judge, quiet } from "./judge.mjs";
import { FcgiLane, PollerLane } from "./lane.mjs";
import { Chance, mixture, quick } from "./load.mjs";
import { skip } from "./preload.mjs";

/* ---- what all runs share -------------------------------------------------- */

const asRoot = process.getuid() === 0;
/* However unlucky a job is, it ends soon after the shortage. */
const SHORTAGE_MOST_S = 900;

function logged(stack, program, words) {
	return stack.log(program).split(words).length - 1;
}

/* How a program ended: { "status 1": 3, "signal 9": 1 }. */
function ends(stack, program) {
	const found = {};

	for (const [, pid, how, number] of stack.log("activator").matchAll(
		new RegExp(`${program} \\((\\d+)\\) (?:exited with|was killed ` +
			"by) (status|signal) (\\d+)", "g"))) {
		found[`${how} ${number}`] ??= [];
		found[`${how} ${number}`].push(pid);
	}
	return found;
}

/* Libraries that end the program when they themselves get no memory, or did
 * not before: libfcgi on purpose; OpenSSL 3.0 reads from NULL what it did not
 * get when it began, libcurl 7.88 divides by the size of a table that it has
 * not. Our digests end it on purpose, by abort(). */
const explained =
	/^\d+ (?:abort |crash (?:(?:shim|libc)\.so\S+ )+lib(?:fcgi|crypto|curl))/;

/* What the shim said of an end; or what failed last, where it said nothing. */
function lastWords(fired, pid) {
	const lines = fired.filter((line) => line.startsWith(`${pid} `));

	return lines.filter((line) => !line.startsWith(`${pid} failed `)).at(-1) ??
		lines.at(-1) ?? "";
}

/* Nobody died of a mistake of ours, nor hung. SIGKILL is what we did, and
 * SIGTERM, which ends a program that has just begun. */
function checkEnds(lane, program) {
	const found = ends(lane.stack, program);
	const crashes = Object.entries(found)
		.filter(([how]) => how.startsWith("signal") &&
			!["signal 9", "signal 15"].includes(how))
		.flatMap(([how, pids]) => pids.map(
			(pid) => [how, lastWords(lane.fired, pid)]))
		.filter(([, words]) => !explained.test(words));

	// what failed before is what one wants to know then
	for (const [, words] of crashes)
		console.log(lane.fired.filter((line) =>
			line.startsWith(`${words.split(" ")[0]} `)).join("\n"));
	assert.deepEqual(crashes, [], `${program} crashed`);
	assert.equal(logged(lane.stack, "activator", " is silent for "), 0);
	return Object.fromEntries(Object.entries(found).map(
		([how, pids]) => [how, pids.length]));
}

/* What we had no memory for is no mistake of a provider's. */
async function checkDeliveries(stack) {
	for (const start of await stack.starts()) {
		for (const one of start.deliveries ?? [])
			assert.ok(one.kind !== "genuine" || one.answer < 400 ||
				one.answer >= 500, JSON.stringify(start));
	}
}

async function again(stack, program) {
	if (program === "fcgi")
		await stack.restart("fcgi");
	else if (stack.pid("poller"))
		process.kill(stack.pid("poller"), "SIGTERM");
}

async function conclude(lane, fired) {
	await quiet(lane.stack, 120);
	await judge(lane.stack, fired);
	await checkDeliveries(lane.stack);
	// what the database did, and we had no memory to hear of
	assert.equal(logged(lane.stack, lane.program, "already exists"), 0);
	console.log(`${lane.program} ended: ` +
		JSON.stringify(checkEnds(lane, lane.program)));
}

/* A stack of its own for each run. */
function run(title, Kind, program, settings, body, options = {}) {
	it(title, { timeout: 1800_000 * patience, ...options }, async () => {
		const lane = new Kind(program);
		let failed = true;

		lane.again.push(500);
		lane.most_s = SHORTAGE_MOST_S + 300;
		lane.fired = []; // what the shim said
		try {
			await lane.start(settings instanceof Function ?
				settings() : settings);
			await body(lane);
			failed = false;
		} catch (error) {
			console.log(`failed: ${error.message}`);
			throw error;
		} finally {
			await lane.stop(`exhaustion-${title.replace(/\W+/g, "-")}`,
				failed);
		}
	});
}

/* ---- each allocation fails ------------------------------------------------ */

/* As shim.c has it: hash, and whether it failed; two numbers of 8 bytes. */
function stacks(preload, program) {
	const bytes = fs.readFileSync(preload.path(program, "stacks"));
	let met = 0, failed = 0;

	for (let at = 0; at < bytes.length; at += 16) {
		met += bytes.readBigUInt64LE(at) !== 0n;
		failed += bytes.readBigUInt64LE(at + 8) !== 0n;
	}
	return { met, failed };
}

const AT_ONCE = 4;
/* Allocations that go well between two that fail. */
const GAP = 10;
/* Part by part, or a program that fails at its start for each of them would
 * not get to work for a long time. QUICK=1 takes one part. */
const PARTS = 10;
/* So long nothing new: the rest is what happens once in a blue moon. */
const NOTHING_NEW_S = quick ? 8 : 15;
const PART_MOST_S = quick ? 40 : SHORTAGE_MOST_S / PARTS;

/* Let one part fail while the scenario goes on and on. */
async function failPart(lane, part) {
	const { program, preload, stack } = lane;
	const end = Date.now() + PART_MOST_S * 1000;
	let news = Date.now(), failed = 0;

	preload.plan(program, `alloc ${GAP} ${PARTS} ${part}`);
	await again(stack, program);
	while (Date.now() < end && Date.now() < news + NOTHING_NEW_S * 1000) {
		await sleep(500);
		const now = preload.read(program, "fired").length;

		if (now > failed)
			news = Date.now();
		failed = now;
	}
	lane.fired.push(...preload.read(program, "fired"));
}

async function starve(lane) {
	const { program, preload, stack } = lane;
	const first = new Chance("allocations").below(PARTS);
	let n = 0, over = false;

	const clients = Array.from({ length: AT_ONCE }, async () => {
		while (!over)
			await lane.scenario(n++);
	});

	await Promise.race([Promise.all(clients), (async () => {
		for (let i = 0; i < (quick ? 1 : PARTS); i++)
			await failPart(lane, (first + i) % PARTS);
	})()]);
	over = true;
	preload.forget(program);
	await again(stack, program);
	await Promise.all(clients);
	const figures = stacks(preload, program);

	console.log(`${program}: ${figures.failed} of ${figures.met} call ` +
		`stacks of allocations failed once, in ${n} scenarios`);
	await conclude(lane, { "failed allocations": figures.failed });
	assert.ok(figures.failed > 0.75 * figures.met);
}

/* ---- no descriptors ------------------------------------------------------- */

const DESCRIPTORS = { least: 6, most: quick ? 42 : 48, step: quick ? 4 : 1 };

async function fewDescriptors(lane) {
	const { program, preload, stack } = lane;
	const chance = new Chance(`descriptors of ${program}`);
	const { least, most, step } = DESCRIPTORS;
	const open = [];
	let atLimit = 0;

	for (let limit = least; limit <= most; limit += step) {
		preload.limit(program, `ulimit -n ${limit}`);
		await again(stack, program);
		for (let i = 0; i < 6; i++)
			open.push(lane.submit(mixture(chance, 4,
				{ media: { bytes: 60_000, rate: 200_000 } })));
		for (let i = 0; i < 60; i++) {
			await sleep(20);
			try {
				atLimit += fs.readdirSync(`/proc/${
					stack.pid(program)}/fd`).length >= limit;
			} catch {
				// it could not even start
			}
		}
	}
	preload.unlimit(program);
	await again(stack, program);
	await Promise.all(open);
	await conclude(lane, {
		"seen without a free descriptor": atLimit,
		"said so": logged(stack, program, "Too many open files"),
	});
}

/* ---- no room for files ---------------------------------------------------- */

const SMALL = { media: { bytes: 9_000 } };
const LARGE = { media: { bytes: 400_000 } };
const UNKNOWN = { media: { bytes: 400_000, length: "chunked" } };
const INLINE = { media: { bytes: 400_000, form: "data" } };

/* What is small is stored while there is no room for what is large; that
 * waits until there is, and is not paid for again. */
async function noRoom(lane, shortage, words) {
	const { stack } = lane;
	const small = [], large = [still("inline", INLINE)];

	await shortage.begin(lane);
	for (const make of [still, clip, veo]) {
		small.push(make(`s${small.length}`, SMALL));
		large.push(make(`l${large.length}`, LARGE),
			make(`u${large.length}`, UNKNOWN));
	}
	const { jobs: big } = await lane.submit(large);
	const { jobs: little } = await lane.submit(small);

	for (const { id } of little)
		await stack.ended(id, "completed", 30);
	for (const { id } of big) {
		await until(async () => {
			const job = await stack.job(id);

			assert.ok(!terminal.has(job.status), JSON.stringify(job));
			return job.last_error?.code === "store_failed";
		}, `${id} to find no room`);
	}
	await shortage.end(lane);
	for (const { id } of big)
		await stack.ended(id, "completed", 60);
	assert.equal((await stack.starts()).length, big.length + little.length);
	await conclude(lane, {
		"failed for want of room": logged(stack, "poller", words),
	});
}

/* 256 KiB, in the blocks of 512 bytes that sh counts in. */
const shortFiles = {
	async begin({ preload, stack }) {
		preload.limit("poller", "ulimit -f 512");
		await again(stack, "poller");
	},
	async end({ preload, stack }) {
		preload.unlimit("poller");
		await again(stack, "poller");
	},
};

/* A file system of 4 MiB, of which something else has all but 200 KiB. */
class FullDisk {
	mount() {
		this.dir = fs.mkdtempSync(path.join(process.env.SYSTEM_TMP,
			"disk-"));
		execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=755",
			"tmpfs", this.dir]);
		fs.mkdirSync(path.join(this.dir, "media"));
		return {
			STORE_URL: `file://${this.dir}/media`,
			SPOOL_DIR: this.dir,
		};
	}

	async begin() {
		fs.writeFileSync(path.join(this.dir, "filler"),
			Buffer.alloc((4 << 20) - 200_000));
	}

	async end() {
		fs.rmSync(path.join(this.dir, "filler"));
	}

	unmount() {
		if (this.dir)
			execFileSync("umount", ["-l", this.dir]);
	}
}

/* ---- killed for its memory ------------------------------------------------ */

/* By the kernel where there is a memory cgroup to be had, else by the shim at
 * a large allocation: it says which. */
async function outOfMemory(lane, limit, load) {
	const { program, preload, stack } = lane;
	const memory = MemoryLimit.make(program);
	const open = [];
	let kills = 0;

	console.log(`${program}: killed by ${memory ? "the kernel, in a cgroup " +
		`of ${limit.bytes >> 20} MiB` : "the shim, as no memory cgroup " +
		"can be made"}`);
	try {
		if (memory) {
			memory.set(limit.bytes);
			preload.limit(program, memory.join);
		} else {
			preload.plan(program, `big ${limit.allocation}`);
		}
		await again(stack, program);
		for (let round = 0; round < limit.rounds; round++) {
			open.push(...load(lane));
			if (!memory)
				preload.plan(program, `big ${limit.allocation}`);
			await sleep(1500);
			kills += memory ? 0 : lane.firedAt() !== null;
		}
		kills += memory?.kills() ?? 0;
		preload.forget(program);
		preload.unlimit(program);
		await again(stack, program);
		await Promise.all(open);
		await conclude(lane, { "killed for its memory": kills });
	} finally {
		await memory?.remove();
	}
}

/* Many files at once: each has buffers. */
function manyFiles(lane) {
	return [lane.submit(Array.from({ length: 60 }, (_, i) => still(`m${i}`,
		{ media: { bytes: 600_000, rate: 900_000 } })))];
}

/* Large submissions at once. */
function largeBodies(lane) {
	return Array.from({ length: 10 }, (_, i) => lane.submit([still(`b${i}`,
		SMALL, {}, { text: "x".repeat(900_000) })]));
}

describe("exhaustion", { skip }, () => {
	// what failed is soon tried again, and want of memory is no try
	const soon = { RESTART_TIRED_MS: "10", STORE_RETRIES: "2" };

	for (const name of ["REPLICATE", "FAL", "VERTEX"]) {
		soon[`${name}_POLL_FIRST_MS`] = "1000";
		soon[`${name}_POLL_MOST_MS`] = "5000";
	}
	run("each allocation of the poller fails", PollerLane, "poller", soon,
		starve);
	run("each allocation of the API fails", FcgiLane, "fcgi", soon, starve);
	run("few descriptors for the poller", PollerLane, "poller", {},
		fewDescriptors);
	run("few descriptors for the API", FcgiLane, "fcgi", {},
		fewDescriptors);
	run("no file may be large", PollerLane, "poller", {},
		(lane) => noRoom(lane, shortFiles, "File too large"));

	const disk = new FullDisk();

	run("the disk is full", PollerLane, "poller", () => disk.mount(),
		async (lane) => {
			try {
				await noRoom(lane, disk, "No space left on device");
			} finally {
				disk.unmount();
			}
		}, { skip: !asRoot && "only root can mount a small disk" });
	run("the poller is killed for its memory", PollerLane, "poller", {},
		(lane) => outOfMemory(lane, {
			bytes: 16 << 20, allocation: 256 << 10, rounds: 3,
		}, manyFiles));
	run("the API is killed for its memory", FcgiLane, "fcgi", {},
		(lane) => outOfMemory(lane, {
			bytes: 20 << 20, allocation: 900_000, rounds: 3,
		}, largeBodies));
});
