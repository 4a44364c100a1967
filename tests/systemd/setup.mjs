// SPDX-License-Identifier: MIT
// The guide, word for word.

import assert from "node:assert/strict";
import fs from "node:fs";

import { secrets } from "./host.mjs";
import { test } from "./test.mjs";

test("set-up: a host with a systemd of its own boots", async (host, say) => {
	await host.machine.boot();
	await host.startProviders();
	say((await host.run("systemctl --version")).split("\n")[0]);
	assert.equal((await host.run("cat /proc/1/comm")).trim(), "systemd");
	// "make deps" starts nothing either
	await host.run("systemctl stop nginx postgresql");
}, 120);

test("set-up: 1. Install", async (host) => {
	await host.follow("1. Install");
	const told = await host.run("systemd-analyze verify --man=no " +
		"/usr/local/lib/systemd/system/rushes-[a-z]*.* 2>&1");

	assert.doesNotMatch(told, /rushes/);
}, 120);

test("set-up: 2. Database", async (host) => {
	await host.follow("2. Database");
}, 60);

test("set-up: 3. Configuration", async (host) => {
	await host.follow("3. Configuration", {
		input: `${secrets.REPLICATE_API_TOKEN}\n`,
	});
	secrets.WEBHOOK_TOKEN_KEY = fs.readFileSync(host.machine.path(
		"etc/rushes/credentials/WEBHOOK_TOKEN_KEY"), "utf8").trim();
	host.configure(host.settings);
	host.addCredentials();
});

test("set-up: 4. nginx", async (host) => {
	fs.writeFileSync(host.machine.path("opt/guide/edit.sed"),
		"s/# ssl_certificate/ssl_certificate/\n");
	await host.follow("4. nginx");
});

test("set-up: 5. Start", async (host) => {
	const said = await host.follow("5. Start");

	[host.key] = /^rsh_\S+/m.exec(said) ?? [];
	assert.ok(host.key, said);
	await host.ready();
	for (const unit of ["rushes-fcgi.socket", "rushes-fcgi.service",
		"rushes-wake.socket", "rushes-poller.timer",
		"rushes-cleanup.timer"]) {
		const { ActiveState, UnitFileState } = await host.machine.show(unit);

		assert.equal(ActiveState, "active", unit);
		assert.equal(UnitFileState, "enabled", unit);
	}
});
