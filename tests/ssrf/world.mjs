// SPDX-License-Identifier: MIT
// What the filter must not let us see: a listener at every address there is,
// the names that lead to them, and the program that is told to go there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:tls";
import { createServer as createPlainServer } from "node:net";
import { createInterface } from "node:readline";

import { hosts, publicHosts, unreachable } from "./forms.mjs";

const folder = process.env.SSRF_FOLDER;
const png = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");

// An IPv6 address as eight numbers.
function words(address) {
	const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);

	if (dotted) {
		const [a, b, c, d] = dotted.slice(2).map(Number);

		address = dotted[1] + (a << 8 | b).toString(16) + ":" +
			(c << 8 | d).toString(16);
	}
	const [head, tail] = address.split("::")
		.map((part) => part ? part.split(":") : []);
	const all = tail
		? [...head, ...Array(8 - head.length - tail.length).fill("0"),
			...tail]
		: head;

	return all.map((word) => parseInt(word, 16));
}

const sameAddress = (one, other) =>
	words(one.includes(":") ? one : `::ffff:${one}`).join() ===
	words(other.includes(":") ? other : `::ffff:${other}`).join();

const isPublic = (address) => Object.values(publicHosts)
	.some((host) => sameAddress(host, address));

// ---- names ----

// Below ssrf.test, now-N is hosts[N]; later-N is public until it is rebound;
// both-N is a public address where nothing answers, and hosts[N].
function lookUp(name, world) {
	const [, kind, n] =
		/^([a-z]+)(?:-(\d+))?\.ssrf\.test$/i.exec(name) ?? [];
	const address = n === undefined ? undefined : hosts[Number(n)][1];

	switch (kind) {
	case "good":
		return [publicHosts[4]];
	case "now":
		return [address];
	case "later":
		return [world.rebound ? address : publicHosts[4]];
	case "both":
		return [unreachable, address];
	default:
		return undefined;
	}
}

function encode(address) {
	if (!address.includes(":"))
		return Buffer.from(address.split(".").map(Number));
	return Buffer.concat(words(address).map((word) =>
		Buffer.from([word >> 8, word & 255])));
}

function answerQuestion(message, world) {
	const labels = [];
	let at = 12;

	while (message[at] > 0) {
		labels.push(message.toString("latin1", at + 1,
			at + 1 + message[at]));
		at += 1 + message[at];
	}
	const type = message.readUInt16BE(at + 1);
	const question = message.subarray(12, at + 5);
	const found = lookUp(labels.join("."), world);
	const answers = (found ?? []).filter((address) =>
		type === (address.includes(":") ? 28 : 1));
	const head = Buffer.alloc(12);

	message.copy(head, 0, 0, 2);
	head.writeUInt16BE(found ? 0x8580 : 0x8583, 2);
	head.writeUInt16BE(1, 4);
	head.writeUInt16BE(answers.length, 6);
	return Buffer.concat([head, question, ...answers.map((address) => {
		const bytes = encode(address);
		const record = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0,
			0, bytes.length]);

		return Buffer.concat([record, bytes]);
	})]);
}

// ---- the listener ----

// Every connection is noted before a byte of it is read.
function listen(world) {
	const server = createServer({
		key: readFileSync(`${folder}/key.pem`),
		cert: readFileSync(`${folder}/cert.pem`),
		ALPNProtocols: ["http/1.1"],
	}, (socket) => {
		const at = socket.localAddress;

		socket.on("error", () => {});
		socket.on("data", (bytes) => {
			const path = bytes.toString("latin1").split(" ")[1] ?? "/";

			world.requests.push(at);
			if (path.startsWith("/to/")) {
				const to = world.redirects[Number(path.slice(4))];

				socket.write("HTTP/1.1 302 Found\r\nLocation: " +
					`${to}\r\nContent-Length: 0\r\n\r\n`);
			} else {
				socket.write("HTTP/1.1 200 OK\r\n" +
					`Content-Length: ${png.length}\r\n\r\n`);
				socket.write(png);
			}
		});
	});

	server.on("connection", (socket) => {
		world.connections.push(socket.localAddress);
		socket.on("error", () => {});
	});
	server.on("tlsClientError", () => {});
	return server;
}

// ---- the program ----

class Program {
	constructor(env) {
		this.child = spawn(`${process.env.BUILD}/tests/ssrf/fetch`,
			[folder], {
				env: { ...process.env, ...env },
				stdio: ["pipe", "pipe", "inherit"],
			});
		this.lines = createInterface({ input: this.child.stdout })[
			Symbol.asyncIterator]();
	}

	async tell(order) {
		this.child.stdin.write(`${JSON.stringify(order)}\n`);
		const { value, done } = await this.lines.next();

		assert.ok(!done, `it ended at ${JSON.stringify(order)}`);
		return JSON.parse(value);
	}

	async end() {
		this.child.stdin.end();
		const [code] = this.child.exitCode === null
			? await once(this.child, "exit") : [this.child.exitCode];

		assert.equal(code, 0);
	}
}

export async function makeWorld() {
	const world = {
		connections: [], // local addresses, as they were dialled
		requests: [],
		proxied: 0,
		redirects: [],
		rebound: false,
	};
	const listener = listen(world);
	const proxy = createPlainServer((socket) => {
		world.proxied++;
		socket.destroy();
	});
	const names = createSocket("udp4");

	names.on("message", (message, from) =>
		names.send(answerQuestion(message, world), from.port,
			from.address));
	names.bind(53, "127.0.0.1");
	await once(names, "listening");
	listener.listen(0, "::");
	await once(listener, "listening");
	proxy.listen(0, "::");
	await once(proxy, "listening");
	world.port = listener.address().port;

	const through = `127.0.0.1:${proxy.address().port}`;
	const proxies = Object.fromEntries(["http_proxy", "https_proxy",
		"HTTPS_PROXY", "all_proxy", "ALL_PROXY"].map((name) =>
		[name, `${name.startsWith("a") ? "socks5h" : "http"}://${through}`]));

	world.program = new Program({});
	world.proxiedProgram = new Program(proxies);
	world.strangers = () => world.connections.filter((at) => !isPublic(at));
	world.redirectTo = (url) => `https://good.ssrf.test:${world.port}/to/` +
		`${world.redirects.push(url) - 1}`;
	world.end = async () => {
		await world.program.end();
		await world.proxiedProgram.end();
		listener.close();
		proxy.close();
		names.close();
	};
	return world;
}
