// SPDX-License-Identifier: MIT
// What is measured and how: processor time and memory of processes, medians
// of runs that take turns, and what ours and the limit have in common.

import fs from "node:fs";
import os from "node:os";

const TICKS_A_SECOND = 100; // what Linux shows to programs, on any machine

/** The middle one of some numbers; of an even count the lower one. */
export function median(numbers) {
	const sorted = numbers.filter((n) => n !== undefined && n !== null)
		.sort((a, b) => a - b);

	return sorted[(sorted.length - 1) >> 1];
}

/** The p-th percentile of many numbers, 0 < p <= 100 */
export function percentile(numbers, p) {
	const sorted = Float64Array.from(numbers).sort();

	return sorted[Math.max(0, Math.ceil(sorted.length * p / 100) - 1)];
}

/** How far runs lie apart: (most - least) / median. */
export function spread(numbers) {
	return numbers.length > 1
		? (Math.max(...numbers) - Math.min(...numbers)) / median(numbers)
		: 0;
}

/**
 * Run several things in turn, so that a machine that gets slower or faster
 * meanwhile does so for all of them.
 *
 * @param {number} runs
 * @param {Object<string, () => Promise>} things
 * @returns {Promise<Object<string, Array>>} the results of each, in order
 */
export async function interleaved(runs, things) {
	const results = {};

	for (const name of Object.keys(things))
		results[name] = [];
	for (let i = 0; i < runs; i++) {
		for (const [name, thing] of Object.entries(things))
			results[name].push(await thing(i));
	}
	return results;
}

function statOf(pid) {
	try {
		const text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
		const rest = text.slice(text.lastIndexOf(")") + 2).split(" ");

		return {
			pid: Number(pid),
			parent: Number(rest[1]),
			own: Number(rest[11]) + Number(rest[12]),
			waited: Number(rest[13]) + Number(rest[14]),
		};
	} catch {
		return null; // it has ended
	}
}

function allProcesses() {
	return fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))
		.map(statOf).filter(Boolean);
}

/**
 * Processor seconds of a process and its children, those that have ended (and
 * were waited for) included.
 */
export function cpuOf(pid, processes = allProcesses()) {
	let ticks = 0;
	const below = (parent) => {
		const stat = processes.find((one) => one.pid === parent);

		if (!stat)
			return;
		ticks += stat.own + stat.waited;
		for (const child of processes) {
			if (child.parent === parent)
				below(child.pid);
		}
	};

	below(pid);
	return ticks / TICKS_A_SECOND;
}

/** Of the children of this process that have ended: the load generators. */
function cpuOfLoad() {
	return statOf(process.pid).waited / TICKS_A_SECOND;
}

/** Bytes of memory of a process, its share of shared pages (PSS). */
export function memoryOf(pid) {
	try {
		const text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");

		return Number(/^Pss: +(\d+) kB/m.exec(text)[1]) * 1024;
	} catch {
		return 0;
	}
}

/** Peak resident bytes of a process so far. */
export function peakOf(pid) {
	try {
		const text = fs.readFileSync(`/proc/${pid}/status`, "utf8");

		return Number(/^VmHWM:\s+(\d+) kB/m.exec(text)[1]) * 1024;
	} catch {
		return 0;
	}
}

export function postgresPid(stack) {
	const text = fs.readFileSync(`${stack.run}/../pg/data/postmaster.pid`,
		"utf8");

	return Number(text.split("\n")[0]);
}

/** Processor seconds of the parts of a stack, so far. */
export function cpuOfStack(stack) {
	const processes = allProcesses();

	return {
		// both programs are the activator's children
		ours: cpuOf(stack.pid("activator"), processes),
		nginx: cpuOf(stack.pid("nginx"), processes),
		postgres: cpuOf(postgresPid(stack), processes),
		simulator: cpuOf(stack.pid("simulator"), processes),
		load: cpuOfLoad(),
	};
}

export function memoryOfStack(stack) {
	return ["fcgi", "poller"].reduce((sum, name) => {
		const pid = stack.pid(name);

		return sum + (pid ? memoryOf(pid) : 0);
	}, 0);
}

/**
 * Do something and say what it cost.
 *
 * @returns {Promise<{value, seconds, cpu: {ours, nginx, postgres, simulator,
 *	load}, memory}>} memory: of our programs, the most that was seen
 */
export async function watch(stack, thing) {
	const before = cpuOfStack(stack);
	const begun = process.hrtime.bigint();
	let memory = memoryOfStack(stack);
	const timer = setInterval(() => {
		memory = Math.max(memory, memoryOfStack(stack));
	}, 500);

	timer.unref();
	try {
		const value = await thing();
		const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
		const after = cpuOfStack(stack);

		memory = Math.max(memory, memoryOfStack(stack));
		for (const part of Object.keys(after))
			after[part] = round(after[part] - before[part]);
		return { value, seconds, cpu: after, memory };
	} finally {
		clearInterval(timer);
	}
}

/** To so many digits that matter. */
export function round(number, digits = 4) {
	return typeof number === "number" && Number.isFinite(number)
		? Number(number.toPrecision(digits)) : number;
}

/**
 * What a request cost each part, in the middle run of some, and what the
 * processors could do at most by that.
 *
 * @param {Array<{rate, count, cpu}>} runs  of load through nginx
 * @returns {string} for a row's note
 */
export function costs(runs) {
	const rate = median(runs.map((run) => run.rate));
	const { cpu, count } = runs.find((run) => run.rate === rate);
	const us = (...parts) => parts.reduce((sum, part) => sum + cpu[part], 0) *
		1e6 / count;
	const most = (...parts) => Math.round(os.cpus().length * 1e6 /
		us(...parts)).toLocaleString("en-US");
	const cost = (part) => us(part).toFixed(1);

	return `a request takes ${cost("ours")} us of ours, ` +
		`${cost("postgres")} of PostgreSQL, ${cost("nginx")} of nginx, ` +
		`${cost("load")} of wrk; processors that never wait would do ` +
		`${most("ours", "postgres", "nginx", "load")}/s, and ` +
		`${most("nginx", "load")}/s if ours and PostgreSQL cost nothing`;
}

/**
 * How near to the floor some runs are, and what the floor leaves to reach.
 *
 * @param {{hello, postgres, rate}} floor  see request_floor.mjs
 * @param {Array<{rate}>} limit  pgbench
 * @returns members of a row: its note, too
 */
export function nearFloor(runs, limit, floor) {
	const rate = median(runs.map((run) => run.rate));
	const most = floor.rate / median(limit.map((run) => run.rate));

	return {
		floor_rate: round(floor.rate),
		of_floor: round(rate / floor.rate, 3),
		note: `${costs(runs)}\n    floor: ${floor.hello.toFixed(1)} us of ` +
			"nginx, hello and wrk, " +
			`${floor.postgres.toFixed(1)} of PostgreSQL for the barest ` +
			"statement: with nothing else to do, these processors " +
			`would do ${Math.round(floor.rate).toLocaleString("en-US")}/s, ` +
			`${most.toFixed(2)} times the limit; ours is ` +
			`${(rate / floor.rate).toFixed(2)} of that`,
	};
}

/**
 * A row of a table from runs of ours and of the limit.
 *
 * @param {string} name
 * @param {Array<{rate, p50_ms?, p99_ms?, max_ms?, errors?, cpu?, memory?}>} ours
 * @param {Array<{rate}>} limit
 * @param {object} more  unit ("/s"), reach (text), any other member
 */
export function row(name, ours, limit, more = {}) {
	const rate = median(ours.map((run) => run.rate));
	const most = limit ? median(limit.map((run) => run.rate)) : null;
	const middle = ours.find((run) => run.rate === rate);
	const worst = (member) => {
		const all = ours.map((run) => run[member])
			.filter((n) => n !== undefined);

		return all.length > 0 ? round(Math.max(...all)) : undefined;
	};

	return {
		name,
		ours: round(rate),
		unit: "/s",
		limit: round(most),
		ratio: most ? round(rate / most, 3) : null,
		p50_ms: round(median(ours.map((run) => run.p50_ms))),
		p99_ms: round(median(ours.map((run) => run.p99_ms))),
		max_ms: worst("max_ms"),
		errors: ours.reduce((sum, run) => sum + (run.errors ?? 0), 0),
		cpu_s: middle.cpu,
		seconds: round(middle.seconds),
		rss_bytes: worst("memory"),
		spread: round(spread(ours.map((run) => run.rate)), 2),
		limit_spread: limit
			? round(spread(limit.map((run) => run.rate)), 2) : null,
		...more,
	};
}
