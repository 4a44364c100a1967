// SPDX-License-Identifier: MIT
// What a host is for, and what its operator sees of it.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { still, veo } from "../system/jobs.mjs";
import { root as tree, until } from "../system/stack.mjs";
import { test } from "./test.mjs";

const pipeline = JSON.parse(fs.readFileSync(
	path.join(tree, "tests/demo/pipeline.json"), "utf8"));

test("a pipeline completes through nginx and both flows", async (host, say) => {
	const { id, ids } = await host.submit(pipeline.jobs);
	const begun = Date.now();

	await host.executionEnded(id, "completed", 60);
	say(`four jobs in ${(Date.now() - begun) / 1000} s`);
	for (const [name, via] of [["still", "webhook"], ["clip", "webhook"],
		["aerial", "polling"], ["film", "webhook"]]) {
		const job = await host.job(ids[name]);

		assert.equal(job.completed_via, via, name);
		assert.match(job.output.url, /^https:\/\/rushes\.example\.com\/media\//);
		for (const { answer } of (await host.start(ids[name])).deliveries)
			assert.equal(answer, 200, name);
	}
	// every byte, through nginx, is what the provider sent
	await host.check(id);
	const film = await host.start(ids.film);

	assert.equal(film.fetched_inputs.length, 2);
	for (const { url, status } of film.fetched_inputs)
		assert.equal(status, 200, url);
});

test("the timer starts the poller, which exits when idle", async (host, say) => {
	await host.idle();
	// nobody can wake it: until the timer fires, nothing happens
	await host.run("systemctl stop rushes-wake.socket");
	const { ids } = await host.submit([veo("a")]);
	const submitted = Date.now();

	await host.ended(ids.a, "completed", 30);
	const fired = await since(host, "rushes-poller.timer",
		"LastTriggerUSec");
	const started = await since(host, "rushes-poller",
		"ExecMainStartTimestamp");

	assert.ok(fired > submitted - 10, `${fired} ${submitted}`);
	assert.ok(started >= fired, `${started} ${fired}`);
	say(`${((Date.now() - submitted) / 1000).toFixed(1)} s from the ` +
		"submission to the end, with a period of 10 s");
	await exits(host, say);
	assert.equal((await host.machine.show("rushes-wake.socket"))
		.ActiveState, "active", "the poller brings its socket back");
});

test("the wake socket starts the poller, which exits when idle",
	async (host, say) => {
		await host.idle();
		await host.run("systemctl stop rushes-poller.timer");
		const begun = Date.now();
		const { ids } = await host.submit([veo("a", { delay_ms: 1 })]);

		await host.jobIn(ids.a, ["processing", "storing", "completed"], 5);
		say(`started at its provider ${Date.now() - begun} ms after ` +
			"it was submitted");
		await host.ended(ids.a, "completed");
		await exits(host, say);
		await host.run("systemctl start rushes-poller.timer");
	});

/* When it was, by the clock on the wall, in milliseconds. */
async function since(host, unit, property) {
	const text = await host.run("systemctl show --timestamp=us+utc " +
		`--value -p ${property} ${unit}`);

	return Date.parse(text.trim().replace(" UTC", "Z")
		.replace(/^\w+ (\S+) /, "$1T"));
}

async function exits(host, say) {
	const begun = Date.now();

	await host.idle(20);
	const { Result, ExecMainStatus } =
		await host.machine.show("rushes-poller");

	assert.equal(Result, "success");
	assert.equal(ExecMainStatus, "0");
	assert.equal((await host.machine.try("pgrep -x rushes-poller")).out, "");
	say(`and ended ${((Date.now() - begun) / 1000).toFixed(1)} s after its ` +
		"last job");
}

test("systemctl status shows live figures", async (host, say) => {
	const figures = async (unit) => {
		const { out } = await host.machine.try(`systemctl status ${unit}`);

		return /^ *Status: "(.*)"$/m.exec(out)?.[1] ?? out;
	};
	const requests = async () => Number(
		/ (\d+) requests,/.exec(await figures("rushes-fcgi"))[1]);
	const before = await requests();

	for (let i = 0; i < 50; i++)
		await host.get("/api/executions");
	await until(async () => await requests() >= before + 50,
		"the requests in the status");
	say(await figures("rushes-fcgi"));
	assert.match(await figures("rushes-fcgi"), /database up$/);

	const { ids } = await host.submit([1, 2, 3].map((i) =>
		still(`a${i}`, { start: { latency_ms: 2500 } })));

	await until(async () => /\b3 in hand .*\b3 starting/.test(
		await figures("rushes-poller")), "three starts in the status");
	say(await figures("rushes-poller"));
	for (const id of Object.values(ids))
		await host.ended(id, "completed");
	await until(async () => /\b0 in hand .* 3 completed/.test(
		await figures("rushes-poller")), "the poller's count", 5);
});

test("journalctl RUSHES_JOB= tells a job's story across both programs",
	async (host, say) => {
		await host.idle();
		const { ids } = await host.submit([
			still("first", { start: { status: 429, retry_after_s: 1, times: 1 } }),
			still("second", {}, { depends_on: ["first"] }),
		]);

		await host.ended(ids.second, "completed");
		for (const id of Object.values(ids)) {
			const story = await host.machine.journal(`RUSHES_JOB=${id}`);
			const events = await host.events(id);

			assert.deepEqual(
				story.filter((e) => e.RUSHES_STATE)
					.map((e) => e.RUSHES_STATE),
				events.map((e) => e.to).filter((to, i) =>
					to !== events[i - 1]?.to),
				JSON.stringify(story.map((e) => e.MESSAGE), null, 1));
			assert.deepEqual(
				[...new Set(story.map((e) => e._SYSTEMD_UNIT))].sort(),
				["rushes-fcgi.service", "rushes-poller.service"]);
			for (const entry of story)
				say(`${entry.SYSLOG_IDENTIFIER}: ${entry.MESSAGE}`);
		}
	});

test("journalctl -x explains each message", async (host, say) => {
	await sleep(100);
	const entries = await host.machine.journal(
		"_SYSTEMD_UNIT=rushes-fcgi.service + " +
		"_SYSTEMD_UNIT=rushes-poller.service");
	const known = new Set(fs.readFileSync(
		path.join(tree, "common/io/log.h"), "utf8").match(/[0-9a-f]{32}/g));
	const seen = new Map();

	for (const entry of entries) {
		assert.ok(known.has(entry.MESSAGE_ID), entry.MESSAGE);
		seen.set(entry.MESSAGE_ID, entry);
	}
	assert.ok(seen.size >= 3);
	for (const [id, entry] of seen) {
		const text = await host.run("journalctl --no-pager -x -n 1 -o short " +
			`MESSAGE_ID=${id}`);
		const explained = text.split("\n").filter((line) =>
			line.startsWith("\u2591\u2591"));

		assert.ok(explained.length > 4, text);
		assert.match(text, /Subject: /);
		assert.match(text, /Defined-By: Rushes/);
		assert.doesNotMatch(explained.join(""), /@\w+@/, entry.MESSAGE);
		say(/Subject: (.*)/.exec(text)[1]);
	}
	// and those that did not happen here
	const all = await host.run("journalctl --dump-catalog " +
		[...known].join(" "));

	assert.equal(all.match(/^Subject: .+$/mg).length, known.size);
});

test("the cleanup runs", async (host, say) => {
	await host.run("systemctl start rushes-cleanup");
	const { Result, ExecMainStatus } =
		await host.machine.show("rushes-cleanup");

	assert.equal(Result, "success");
	assert.equal(ExecMainStatus, "0");
	const [entry] = (await host.machine.journal("-u rushes-cleanup " +
		"MESSAGE_ID=aba4ec0234ba40cc967458f9269b8ae1")).slice(-1);

	say(entry.MESSAGE);
});
