// SPDX-License-Identifier: MIT
// What nobody may see, who may come in, and what the programs may not do.

import assert from "node:assert/strict";

import { clip, still, veo } from "../system/jobs.mjs";
import { secrets } from "./host.mjs";
import { test } from "./test.mjs";

/* What to look for: of a file its lines, but for those that any may have. */
function needles(host) {
	const found = { "API key": host.key };

	for (const [name, value] of Object.entries(secrets)) {
		if (name !== "GOOGLE_APPLICATION_CREDENTIALS") {
			found[name] = value.replace(/^whsec_/, "");
			continue;
		}
		const lines = JSON.parse(value).private_key.split("\n");

		found[name] = lines[Math.floor(lines.length / 2)];
		assert.ok(found[name].length >= 48);
	}
	return found;
}

function assertNone(host, text, where) {
	for (const [name, needle] of Object.entries(needles(host)))
		assert.ok(!text.includes(needle), `${name} is in ${where}`);
	assert.doesNotMatch(text, /api\/webhooks\/job\/[0-9a-f-]{36}\/\d/,
		`a webhook's token is in ${where}`);
}

test("secrets come through LoadCredential= and are seen nowhere else",
	async (host, say) => {
		// both programs at work, and all that is in the container watched
		const watch = host.run("for i in $(seq 60); do " +
			"cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline " +
			"2>/dev/null; sleep 0.1; done | tr '\\0' '\\n'");
		const { id, ids } = await host.submit([
			still("a", { start: { latency_ms: 1500 } }),
			clip("b"), veo("c")]);

		await host.jobIn(ids.a, "starting");
		for (const program of ["fcgi", "poller"]) {
			const folder = (await host.run("tr '\\0' '\\n' " +
				`</proc/${await host.pidOf(program)}/environ | ` +
				"sed -n s/^CREDENTIALS_DIRECTORY=//p")).trim();
			const files = (await host.run(`cd ${folder} && stat -c ` +
				"'%n %U %a' *")).trim().split("\n");

			assert.deepEqual(files, Object.keys(secrets).sort().map(
				(name) => `${name} rushes_${program} 400`));
			for (const name of Object.keys(secrets)) {
				assert.equal((await host.run(
					`cat ${folder}/${name}`)).trim(),
				secrets[name].trim());
			}
		}
		for (const job of Object.values(ids))
			await host.ended(job, "completed");
		await host.check(id);
		const seen = await watch;

		assert.match(seen, /^DATABASE_URL=/m);
		assert.match(seen, /rushes-poller$/m);
		assertNone(host, seen, "an environment or arguments");
		const told = await host.run("for unit in fcgi poller cleanup; do " +
			"systemctl show rushes-$unit; systemctl cat rushes-$unit; " +
			"systemctl status rushes-$unit; done || :");

		assertNone(host, told, "what systemctl tells");
		const logs = await host.everyLog();

		assert.match(logs, /^RUSHES_JOB=/m);
		assertNone(host, logs, "a log");
		assertNone(host, await host.run(
			"runuser -u postgres -- pg_dump rushes"), "the database");
		say(`${Object.keys(needles(host)).length} secrets looked for in ` +
			`${seen.split("\n").length} variables and arguments and ` +
			`${logs.split("\n").length} lines of logs`);
	});

/* @returns the exposure of a unit; insists on what it may be at most */
async function exposure(host, unit, most) {
	const text = await host.run(
		`systemd-analyze security --no-pager --threshold=${most * 10} ` +
		unit);

	return Number(/exposure level for \S+: ([\d.]+)/.exec(text)[1]);
}

test("systemd-analyze security is content", async (host, say) => {
	const api = await exposure(host, "rushes-fcgi", 0.2);
	const poller = await exposure(host, "rushes-poller", 1.1);
	const cleanup = await exposure(host, "rushes-cleanup", 1.1);
	const place = "/etc/systemd/system/rushes-fcgi.service.d/remote.conf";

	await host.run("cp /usr/local/share/rushes/examples/" +
		`remote-database.conf ${place} && systemctl daemon-reload`);
	const remote = await exposure(host, "rushes-fcgi", 1.0);

	await host.run(`rm ${place} && systemctl daemon-reload`);
	say(`rushes-fcgi ${api}, with a remote database ${remote}; ` +
		`rushes-poller ${poller}, rushes-cleanup ${cleanup}`);
});

test("nobody but nginx reaches the API's socket", async (host) => {
	const ask = async (user) => (await host.machine.try(
		`runuser -u ${user} -- timeout 2 perl -e '` +
		"use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); " +
		"connect(S, pack_sockaddr_un(\"/run/rushes/fcgi.sock\")) " +
		"or exit print(\"$!\") - 1; " +
		"print sysread(S, $x, 1) ? \"answer\" : \"closed\"'")).out;

	for (const user of ["nobody", "rushes_poller", "postgres"])
		assert.equal(await ask(user), "Permission denied", user);
	// even if somebody opens it to all, the program knows its peer
	const { out } = await host.machine.try("stat -c %a /run/rushes/fcgi.sock");

	assert.equal(out.trim(), "660");
	await host.run("chmod 666 /run/rushes/fcgi.sock");
	for (const user of ["root", "nobody", "rushes_poller", "postgres"])
		assert.equal(await ask(user), "closed", user);
	// nginx's user is let in, and left waiting for its first word
	assert.equal(await ask("www-data"), "");
	await host.run("chmod 660 /run/rushes/fcgi.sock");
	assert.equal((await host.api("GET", "/healthz")).status, 200);
	const [entry] = (await host.machine.journal(
		"-u rushes-fcgi -p warning -n 1")).slice(-1);

	assert.match(entry.MESSAGE, /connections of users that are not in/);
});

test("nobody but the API wakes the poller", async (host) => {
	const send = (user) => host.machine.try(`runuser -u ${user} -- perl -e '` +
		"use Socket; socket(S, PF_UNIX, SOCK_DGRAM, 0); " +
		"send(S, \"x\", 0, pack_sockaddr_un(\"/run/rushes/wake.sock\")) " +
		"or die $!'");

	for (const user of ["www-data", "nobody", "rushes_poller", "postgres"])
		assert.match((await send(user)).err, /Permission denied/, user);
	assert.equal((await send("rushes_fcgi")).code, 0);
});
