// SPDX-License-Identifier: MIT
// A crash at every point: before and after each single call with which the
// poller or the API touches the world, from its start to its end, while a
// small scenario goes through everything they do. The calls are counted by
// shim.c in runs without a crash; then each has two runs of its own, spread
// over several stacks.

import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, it } from "node:test";

import { patience } from "../system/stack.mjs";
import { judge, quiet } from "./judge.mjs";
import { FcgiLane, PollerLane } from "./lane.mjs";
import { quick } from "./load.mjs";
import { skip } from "./preload.mjs";

const LANES = quick ? 4 : 8;
const RECORDINGS = 3;
const TRIES = 4;
const TRIES_ALONE = 20; // how an answer's bytes arrive is up to chance
/* QUICK=1 crashes at each so-manieth point. */
const STEP = quick ? 12 : 1;

/* ---- which points there are ---------------------------------------------- */

/* Calls of one kind in one life of the program: the life that made most. */
function count(lines) {
	const lives = new Map();
	const most = new Map();

	for (const line of lines) {
		const [, pid, point] = /^(\d+) (.*)$/.exec(line);

		if (!lives.has(pid))
			lives.set(pid, new Map());
		const life = lives.get(pid);

		life.set(point, (life.get(point) ?? 0) + 1);
		most.set(point, Math.max(most.get(point) ?? 0, life.get(point)));
	}
	return most;
}

/* What each of some runs does is asked for; what only one of them did (one
 * more look, one more read of the same answer) is tried. */
async function record(lane) {
	const runs = [];

	for (let n = 0; n < RECORDINGS; n++) {
		fs.rmSync(lane.preload.path(lane.program, "record"),
			{ force: true });
		await lane.run(`r${n}`, "record");
		runs.push(count(lane.preload.read(lane.program, "record")));
	}
	const points = [];

	for (const what of new Set(runs.flatMap((run) => [...run.keys()]))) {
		const times = runs.map((run) => run.get(what) ?? 0);

		for (let n = 1; n <= Math.max(...times); n++) {
			for (const side of ["before", "after"])
				points.push({
					what, n, side,
					sure: n <= Math.min(...times),
					text: `kill ${side} ${n} ${what}`,
				});
		}
	}
	return points;
}

/* By what they are about, which is the path that the program was on. */
function show(program, points) {
	const paths = new Map();

	for (const { what, side, met } of points) {
		const [, kind, label] = /^(\w+) (.*)$/.exec(what);
		const one = paths.get(label) ??
			{ calls: 0, crashes: 0, kinds: new Set() };

		one.calls += side === "before";
		one.crashes += met ? 1 : 0;
		one.kinds.add(kind);
		paths.set(label, one);
	}
	for (const label of [...paths.keys()].sort()) {
		const { calls, crashes, kinds } = paths.get(label);

		console.log(`${program}: ${label}: ${calls} calls ` +
			`(${[...kinds].sort().join(", ")}), ${crashes} crashes`);
	}
}

/* ---- all of them ---------------------------------------------------------- */

async function crashAt(lanes, asked, tries) {
	const left = asked.map((one) => ({ ...one, tries: 0 }));

	await Promise.all(lanes.map(async (lane) => {
		for (let next; (next = left.shift());) {
			const { point } = next;

			try {
				point.met = await lane.run(next.n, point.text);
				lane.crashes += point.met;
			} catch (error) {
				left.length = 0;
				error.message += `\nat: ${point.text}`;
				throw error;
			}
			if (!point.met && ++next.tries <
				(point.sure ? tries : 1))
				left.push(next);
		}
	}));
}

/* Where lanes side by side are slow, calls go together that were several when
 * they were recorded: what was not met is tried again by one alone, as it was
 * recorded. */
async function crashEverywhere(lanes, points) {
	const asked = points.map((point, n) => ({ point, n }))
		.filter(({ n }) => n % STEP === 0);

	await crashAt(lanes, asked, TRIES);
	await crashAt(lanes.slice(0, 1),
		asked.filter(({ point }) => point.sure && !point.met),
		TRIES_ALONE);
	return asked.length;
}

async function everyPoint(Kind, program) {
	const lanes = Array.from({ length: LANES }, () => new Kind(program));
	let failed = true;

	try {
		for (const lane of lanes)
			await lane.start();
		const points = await record(lanes[0]);
		const began = Date.now();
		const asked = await crashEverywhere(lanes, points);
		const tried = points.filter((point) => point.met !== undefined);
		const met = tried.filter((point) => point.met).length;

		show(program, points);
		console.log(`${program}: ${points.length} points, ${asked} ` +
			`asked for, ${met} crashes in ` +
			`${Math.round((Date.now() - began) / 1000)} s`);
		for (const { stack, crashes } of lanes) {
			await quiet(stack, 60);
			try {
				await judge(stack, { crashes });
			} catch (error) {
				const [, n] = /"p(\d+)-/.exec(error.message) ?? [];

				error.message += `\nat: ${points[n]?.text}`;
				throw error;
			}
		}
		assert.deepEqual(tried.filter(({ met, sure }) => sure && !met)
			.map(({ text }) => text), [], "points that were not met");
		failed = false;
	} finally {
		for (const lane of lanes)
			await lane.stop("points", failed);
	}
}

describe("crash points", { skip }, () => {
	const timeout = 3600_000 * patience;

	it("of the poller, each of them", { timeout },
		() => everyPoint(PollerLane, "poller"));
	it("of the API, each of them", { timeout },
		() => everyPoint(FcgiLane, "fcgi"));
});
