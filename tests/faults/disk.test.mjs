// SPDX-License-Identifier: MIT
// A disk that hangs: every write to the store's file system waits, as with a
// storage network that is away. It holds up the files on their way to it, and
// nothing else: other jobs are started and cancelled, leases go on, nobody
// restarts the poller. The journal says so. When it is over every file is
// stored.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { still } from "../system/jobs.mjs";
import { until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, anyJob, quick, settings, submit } from "./load.mjs";

const FILES = 20, OTHERS = 30;
const LEASE_S = 5;
const HANGS_S = quick ? 20 : 90; // several leases
/* After so long the files are given back: another host may be able to. */
const GIVEN_BACK_S = 60 + 5 + LEASE_S / 3 + LEASE_S;

/** A file system in a file, which can be made to hang. */
class Disk {
	constructor() {
		this.image = path.join(process.env.SYSTEM_TMP, `disk-${process.pid}`);
		this.dir = `${this.image}-mounted`;
		fs.mkdirSync(this.dir);
		fs.writeFileSync(this.image, "");
		fs.truncateSync(this.image, 64 << 20);
		execFileSync("mkfs.ext4", ["-q", this.image]);
		const mounted = spawnSync("mount", ["-o", "loop", this.image, this.dir],
			{ encoding: "utf8" });

		if (mounted.status !== 0)
			return void (this.missing = mounted.stderr || `${mounted.error}`);
		fs.chmodSync(this.dir, 0o755);
		fs.mkdirSync(path.join(this.dir, "media"));
	}

	/** It thaws by itself, whatever becomes of us. */
	hang(seconds) {
		const shell = spawn("sh", ["-c",
			`fsfreeze -f "$1" && sleep ${seconds}; fsfreeze -u "$1"`,
			"hang", this.dir], { detached: true, stdio: "inherit" });

		return new Promise((resolve, reject) => {
			shell.on("error", reject);
			shell.on("exit", (code) => code === 0 ? resolve() :
				reject(new Error(`fsfreeze ended with ${code}`)));
		});
	}

	remove() {
		if (!this.missing)
			execFileSync("umount", ["-l", this.dir]);
		fs.rmSync(this.image, { force: true });
	}
}

const states = async (stack, ids) => (await stack.query(`
	SELECT status, count(*)::int AS jobs FROM execution_jobs
	 WHERE id IN (${Object.values(ids).map((id) => `'${id}'`).join()})
	 GROUP BY 1`)).reduce((all, { status, jobs }) =>
	({ ...all, [status]: jobs }), {});

async function run(stack, disk) {
	const chance = new Chance("disk");

	wholeLedger(stack);
	const thawed = disk.hang(HANGS_S);
	const end = Date.now() + HANGS_S * 1000;
	const files = await submit(stack, Array.from({ length: FILES },
		(_, i) => anyJob(chance, `f${i}`, {
			delay_ms: chance.below(500),
			media: { bytes: 20_000 + chance.below(400_000) },
		})));

	await until(async () =>
		(await states(stack, files)).storing === FILES,
	"all files to be on their way", HANGS_S / 3);
	const others = await submit(stack, Array.from({ length: OTHERS },
		(_, i) => still(`o${i}`, { outcome: "never" })));

	await until(async () =>
		(await states(stack, others)).processing === OTHERS,
	"the others to be started", HANGS_S / 4);
	stack.cancelled = new Set(Object.values(others));
	for (const id of stack.cancelled)
		assert.equal((await stack.api("POST",
			`/api/jobs/${id}/cancel`)).status, 202);
	await until(async () =>
		(await states(stack, others)).cancelled === OTHERS,
	"the others to be cancelled", HANGS_S / 4);
	assert.ok(Date.now() < end, "the disk had thawed by then");
	await sleep(Math.max(0, end - Date.now() - 6000));
	assert.deepEqual(await states(stack, files), { storing: FILES });
	assert.equal((await stack.query(`
		SELECT count(*)::int AS held FROM execution_jobs
		 WHERE status = 'storing' AND lease_until > now()`))[0].held,
	HANGS_S > GIVEN_BACK_S + 1 ? 0 : FILES);
	// and it still works, without them
	const last = await submit(stack, [still("last", { outcome: "never" })]);

	await until(async () => (await states(stack, last)).processing === 1,
		"one more to be started", 5);
	assert.ok(Date.now() < end, "the disk had thawed by then");
	stack.cancelled.add(last.last);
	assert.equal((await stack.api("POST",
		`/api/jobs/${last.last}/cancel`)).status, 202);
	assert.match(stack.log("poller"), /disk of the store .* hangs: \d+ files/);
	await thawed;
	await quiet(stack, 60);
	assert.deepEqual(await states(stack, files), { completed: FILES });
	assert.deepEqual(await stack.query(`
		SELECT DISTINCT j.store_failures FROM execution_jobs j
		 WHERE j.status = 'completed'`), [{ store_failures: 0 }]);
	await until(() => stack.log("poller").includes(
		"disk of the store goes on"), "the poller to say so");
	checkLives(stack);
	await judge(stack, { "seconds of a disk that hangs": HANGS_S });
}

const disk = process.getuid() === 0 ? new Disk() :
	{ missing: "only root can mount a file system" };

after(() => disk.remove?.());
if (disk.missing) {
	it("a disk that hangs", { skip: disk.missing.trim() }, () => {});
} else {
	suite("a disk that hangs", { settings: { ...settings,
		LEASE_S: `${LEASE_S}`,
		STORE_URL: `file://${disk.dir}/media` } }, (test) => {
		test("holds up nothing but its files",
			(stack) => run(stack, disk), 300);
	});
}
