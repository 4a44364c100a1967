// SPDX-License-Identifier: MIT
// Nothing outside can make us connect to where it cannot go itself. Every form
// of address, by every way: the listener counts connections, and sees none.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { hosts, publicHosts, urls } from "./forms.mjs";
import { makeWorld } from "./world.mjs";

let world;
const reached = new Set(); // by a handle that may go anywhere

before(async () => {
	world = await makeWorld();
});
after(() => world.end());

// @returns how it failed; it must, without a connection
async function refused(program, order) {
	const before = world.strangers().length;
	const answer = await program.tell(order);

	assert.notEqual(answer.error, 0, "it was fetched");
	assert.deepEqual(world.strangers().slice(before), []);
	assert.equal(world.proxied, 0);
	return answer;
}

// Refused for its address, and not for some other reason.
const byAddress = /address not allowed/;

describe("what is allowed is reached", () => {
	for (const host of [publicHosts[4], `[${publicHosts[6]}]`,
		"good.ssrf.test"]) {
		test(host, async () => {
			const url = `https://${host}:${world.port}/`;

			for (const program of [world.program,
				world.proxiedProgram])
				for (const way of ["media", "api"]) {
					const before = world.requests.length;
					const answer = await program.tell({
						do: way, url });

					assert.equal(answer.error, 0, answer.fault);
					assert.equal(world.requests.length,
						before + 1);
				}
			assert.equal(world.proxied, 0);
		});
	}

	test("a redirect from there to there", async () => {
		const to = `https://${publicHosts[4]}:${world.port}/`;
		const answer = await world.program.tell({ do: "media",
			url: world.redirectTo(to) });

		assert.equal(answer.error, 0, answer.fault);
		assert.equal(answer.status, 200);
	});

	test("the listener is at all other addresses as well", async () => {
		const before = world.strangers().length;

		await world.program.tell({ do: "reuse",
			url: `https://10.0.0.1:${world.port}/` });
		assert.equal(world.strangers().length, before + 1);
	});
});

hosts.forEach(([host, address], n) => describe(`${host} (${address})`, () => {
	const url = () => `https://${host}:${world.port}/`;

	test("by direct URL", async () => {
		await refused(world.program, { do: "media", url: url() });
		await refused(world.program, { do: "api", url: url() });
	});

	test("by redirect", async () => {
		const before = world.requests.length;

		await refused(world.program, { do: "media",
			url: world.redirectTo(url()) });
		// An API's redirect is an answer like any other.
		assert.equal((await world.program.tell({ do: "api",
			url: world.redirectTo(url()) })).status, 302);
		assert.equal(world.requests.length, before + 2);
	});

	test("by a name that leads there", async () => {
		const order = { do: "media",
			url: `https://now-${n}.ssrf.test:${world.port}/` };

		assert.match((await refused(world.program, order)).fault,
			byAddress);
		assert.match((await refused(world.program,
			{ ...order, do: "api" })).fault, byAddress);
	});

	test("by a name that changes", async () => {
		const later = `https://later-${n}.ssrf.test:${world.port}/`;

		world.rebound = false;
		await world.program.tell({ do: "forget" });
		for (const way of ["media", "api"])
			assert.equal((await world.program.tell({ do: way,
				url: later })).error, 0);
		world.rebound = true;
		// Connections and names that are known are from before.
		await world.program.tell({ do: "forget" });
		for (const way of ["media", "api"])
			assert.match((await refused(world.program,
				{ do: way, url: later })).fault, byAddress);
	});

	test("by a redirect to a name that has changed", async () => {
		const order = { do: "media", url: world.redirectTo(
			`https://later-${n}.ssrf.test:${world.port}/`) };

		world.rebound = false;
		await world.program.tell({ do: "forget" });
		assert.equal((await world.program.tell(order)).error, 0);
		world.rebound = true;
		await world.program.tell({ do: "forget" });
		assert.match((await refused(world.program, order)).fault,
			byAddress);
	});

	test("by a name with two addresses", async () => {
		const both = `https://both-${n}.ssrf.test:${world.port}/`;

		await refused(world.program, { do: "media", url: both });
		await refused(world.program, { do: "api", url: both });
	});

	test("by a connection that is open", async () => {
		const before = world.requests.length;
		const { opened, error, fault } = await world.program.tell({
			do: "reuse", url: url() });

		// Where nobody can connect there is no connection.
		assert.notEqual(error, 0);
		assert.equal(world.requests.length - before,
			opened === 0 ? 1 : 0);
		if (opened === 0) {
			assert.notEqual(fault, "");
			reached.add(host);
		}
	});

	test("by a proxy in the environment", async () => {
		await refused(world.proxiedProgram, { do: "media", url: url() });
		await refused(world.proxiedProgram, { do: "api", url: url() });
		await refused(world.proxiedProgram, { do: "media",
			url: world.redirectTo(url()) });
		await refused(world.proxiedProgram, { do: "media",
			url: `https://now-${n}.ssrf.test:${world.port}/` });
	});
}));

urls.forEach((form) => describe(JSON.stringify(form), () => {
	const url = () => form.replaceAll("PORT", world.port)
		.replaceAll("GOOD", "good.ssrf.test");
	let strangers;

	before(() => {
		strangers = world.strangers().length;
	});

	test("by direct URL", async () => {
		await refused(world.program, { do: "media", url: url() });
		// Where an API is is for the operator to say, in any words that
		// lead to a public host.
		await world.program.tell({ do: "api", url: url() });
		assert.equal(world.strangers().length, strangers);
	});

	test("by redirect", async () => {
		const before = world.requests.length;

		await refused(world.program, { do: "media",
			url: world.redirectTo(url()) });
		assert.equal(world.requests.length, before + 1);
	});

	test("by a proxy in the environment", async () => {
		await refused(world.proxiedProgram, { do: "media", url: url() });
	});
}));

test("an open connection is used again, by who may", async () => {
	const [connections, requests] =
		[world.connections.length, world.requests.length];

	await world.program.tell({ do: "reuse", wide: true,
		url: `https://10.0.0.1:${world.port}/` });
	assert.equal(world.connections.length, connections + 1);
	assert.equal(world.requests.length, requests + 2);
});

// Else the listener's silence would prove little.
test("most of these hosts can be reached from here", () => {
	assert.ok(hosts.length + urls.length >= 60);
	assert.ok(reached.size >= 60, `only ${[...reached].join(" ")}`);
});
