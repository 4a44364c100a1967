// SPDX-License-Identifier: MIT
// A newer version over a running one, and the end.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { still, veo } from "../system/jobs.mjs";
import { Load } from "./load.mjs";
import { test } from "./test.mjs";

/* What belongs to the host and not to the program, a sum a file. */
async function belongings(host) {
	const text = await host.run("find /etc/rushes /var/lib/rushes " +
		"/etc/nginx/sites-available -type f | sort | xargs sha256sum; " +
		"stat -c '%n %U %G %a' /etc/rushes /etc/rushes/* " +
		"/etc/rushes/credentials/* /var/lib/rushes/media");

	return text.trim().split("\n");
}

/* All rows of all tables. */
async function rows(host) {
	const text = await host.run("runuser -u postgres -- pg_dump --data-only " +
		"rushes | grep -v '^\\\\'");

	return text.split("\n").sort();
}

/* As assert.deepEqual(), but for lists too long to be shown. */
function assertSame(found, wanted) {
	const had = new Set(wanted), has = new Set(found);

	assert.deepEqual(found.filter((line) => !had.has(line)), []);
	assert.deepEqual(wanted.filter((line) => !has.has(line)), []);
}

test("upgrade over a running system", async (host, say) => {
	await host.idle();
	const kept = await belongings(host);
	const { ids } = await host.submit([
		still("a", { delay_ms: 3000 }), veo("b", { delay_ms: 3000 }),
		still("c", {}, { depends_on: ["a", "b"] })]);
	const load = new Load(host);
	const before = await host.pidOf("fcgi");

	// a program that differs from the one that runs
	await host.run("make -s; printf newer >>build/rushes-fcgi; " +
		"printf newer >>build/rushes-poller", { cwd: "/usr/src/rushes" });
	await sleep(1000);
	await host.follow("Upgrade");
	await sleep(1000);
	await load.stop();
	say(`${load}`);
	assert.deepEqual(load.failed.slice(0, 5), []);

	const pid = await host.pidOf("fcgi");

	assert.notEqual(pid, before);
	assert.equal(await host.run(`tail -c 5 /proc/${pid}/exe`), "newer");
	for (const id of Object.values(ids))
		await host.ended(id, "completed", 40);
	await host.start(ids.a);
	const has = new Set(await belongings(host));

	assert.deepEqual(kept.filter((line) => !has.has(line)), []);
	host.submitted.push(...load.ids.values());
}, 120);

test("nothing was lost, leaked or paid for twice", async (host, say) => {
	await host.idle();
	await host.checkAll();
	// and each job has its story
	assert.deepEqual(await host.machine.journal("_COMM=systemd-journal " +
		"-g 'Suppressed .* rushes-'"), []);
	const { replicate, fal, vertex } = await host.totals();

	say(`${new Set(host.submitted).size} executions; paid starts: ` +
		`${replicate.starts} Replicate, ${fal.starts} fal, ` +
		`${vertex.starts} Vertex AI`);
}, 120);

test("uninstall leaves data alone", async (host) => {
	const { ids } = await host.submit([still("a")]);
	const job = await host.ended(ids.a, "completed");

	await host.idle();
	await host.run("systemctl stop rushes-poller.timer rushes-wake.socket");
	const had = await belongings(host), stored = await rows(host);

	await host.follow("Uninstall");
	assertSame(await belongings(host), had);
	assertSame(await rows(host), stored);
	assert.equal((await host.run(
		"systemctl list-unit-files --no-legend 'rushes*' || :")).trim(), "");
	assert.equal((await host.machine.try("pgrep rushes-")).out, "");
	assert.equal(await host.run("find /usr/local -name '*rushes*'"), "");
	await host.run("nginx -t");

	// and so it is all there when the program is
	await host.follow("1. Install");
	await host.follow("4. nginx");
	await host.run("systemctl enable --now rushes-fcgi.socket " +
		"rushes-fcgi rushes-wake.socket rushes-poller.timer");
	await host.ready();
	assert.deepEqual(await host.job(ids.a), job);
	await host.check(job.execution_id);
}, 90);
