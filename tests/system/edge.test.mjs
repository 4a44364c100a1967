// SPDX-License-Identifier: MIT
// nginx with the configuration that we ship: what is too large, too often or
// ambiguous is refused in words that a program can read, and never reaches
// another handler; whatever becomes of the program behind it, a client gets an
// answer, and soon.

import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";

import { Peer, record } from "./fastcgi.mjs";
import { readJson, request } from "./http.mjs";
import { clip } from "./jobs.mjs";
import { patience, until } from "./stack.mjs";
import { suite } from "./suite.mjs";

const id = "01890000-0000-7000-8000-000000000000";
const webhook = `/api/webhooks/job/${id}/1.forged`;

/**
 * Bytes as they are, to nginx.
 *
 * @param {string|string[]} parts  sent a little after each other
 * @param from  our own address: clients are limited by it, 127.0.0.1 is not
 * @returns {Promise<{status, head, text, json, answers}>} of the first answer;
 *	answers: how many came before nginx was silent for long or hung up
 */
function raw(stack, parts, { from = "127.0.0.1", quiet_ms = 500 } = {}) {
	const { port } = new URL(stack.base);

	return new Promise((resolve, reject) => {
		const socket = net.connect({
			host: "127.0.0.1",
			port: Number(port),
			localAddress: from,
		});
		const left = [parts].flat();
		let text = "", timer;
		const next = () => {
			if (left.length > 0) {
				socket.write(left.shift(), "latin1");
				timer = setTimeout(next, 30);
			} else {
				timer = setTimeout(() => socket.destroy(),
					quiet_ms * patience);
			}
		};

		socket.on("connect", next);
		socket.on("data", (part) => {
			text += part.toString("latin1");
			if (left.length === 0) {
				clearTimeout(timer);
				next();
			}
		});
		socket.on("error", (error) =>
			error.code === "ECONNRESET" || reject(error));
		socket.on("close", () => {
			clearTimeout(timer);
			resolve(read(text));
		});
	});
}

function read(all) {
	const [head] = all.split("\r\n\r\n", 1);
	const text = all.slice(head.length + 4);

	return {
		status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0),
		head,
		text,
		json: readJson(text),
		answers: all.split(/HTTP\/1\.1 (?=\d{3})/).length - 1,
	};
}

const begin = (line) => `${line} HTTP/1.1\r\nHost: localhost\r\n`;

/* A refusal of ours, or of nginx in our words. */
function checkProblem(answer, status, code) {
	const what = JSON.stringify(answer);

	assert.equal(answer.status, status, what);
	assert.equal(answer.json?.status, status, what);
	assert.equal(answer.json.code, code, what);
	assert.ok(answer.json.title && answer.json.request_id, what);
	assert.equal(answer.headers?.["x-request-id"] ??
		/^x-request-id: (\S+)/im.exec(answer.head)?.[1],
	answer.json.request_id, what);
}

suite("edge sizes", {}, (test) => {
	const key = (stack) => ({ authorization: `Bearer ${stack.key}` });

	test("what is too large is told so", async (stack) => {
		const many = (count) => "a:\r\n".repeat(count);

		checkProblem(await raw(stack, begin("GET /healthz") +
			`x: ${"a".repeat(9000)}\r\n\r\n`), 431, "headers_too_large");
		checkProblem(await raw(stack, begin("GET /healthz") +
			`x: ${"a".repeat(7000)}\r\n`.repeat(4) + "\r\n"),
		431, "headers_too_large");
		for (const count of [129, 500, 900])
			checkProblem(await raw(stack, begin("GET /healthz") +
				many(count) + "\r\n"), 431, "too_many_headers");
		// newer versions of nginx count as well
		assert.equal((await raw(stack, begin("GET /healthz") +
			many(4000) + "\r\n")).json?.status, 431);
		assert.equal((await raw(stack, begin("GET /healthz") + many(100) +
			"\r\n")).status, 200);
		// before nginx has read whose server it is
		checkProblem(await raw(stack, begin(`GET /${"a".repeat(9000)}`) +
			"\r\n"), 414, "uri_too_long");
		assert.equal((await raw(stack, begin(
			`GET /healthz?${"a".repeat(7000)}`) + "\r\n")).status, 200);
	});

	test("a body has its limit at nginx, and a lower one behind it",
		async (stack) => {
			const submit = (bytes) => request(
				`${stack.base}/api/execute`, {
					headers: {
						...key(stack),
						"content-type": "application/json",
					},
					body: Buffer.alloc(bytes, " "),
				});
			const deliver = (bytes) => request(stack.base + webhook,
				{ body: Buffer.alloc(bytes, " ") });

			checkProblem(await submit(4 << 20), 400, "malformed_json");
			checkProblem(await submit((4 << 20) + 1), 413,
				"body_too_large");
			checkProblem(await deliver(1 << 20), 404, "job_not_found");
			checkProblem(await deliver((1 << 20) + 1), 413,
				"body_too_large");
			for (const [where, most] of [["/api/execute", 5],
				[webhook, 2]]) {
				const head = `${begin(`POST ${where}`)}content-length: ` +
					`${(most << 20) + 1}\r\n\r\n`;

				checkProblem(await raw(stack, head), 413,
					"body_too_large");
			}
			// not announced
			checkProblem(await raw(stack, [
				`${begin("POST /api/execute")}` +
				"transfer-encoding: chunked\r\n\r\n",
				`600000\r\n${" ".repeat(0x600000)}\r\n0\r\n\r\n`]),
			413, "body_too_large");
		});
});

suite("edge rates", {}, (test) => {
	test("clients are limited by address, webhooks never are",
		async (stack) => {
			const from = "127.0.0.2";
			// so many at a time that only their rate is too high
			const many = async (line, count) => {
				const all = [];

				await Promise.all(Array.from({ length: 50 }, async () => {
					while (count-- > 0)
						all.push(await raw(stack, `${begin(line)}` +
							"connection: close\r\n" +
							"content-length: 0\r\n\r\n", { from }));
				}));
				return all;
			};
			const answers = [];
			let refused = [];

			// however slow the machine is
			for (let i = 0; i < 10 && refused.length < 100; i++) {
				answers.push(...await many("GET /api/executions", 600));
				refused = answers.filter((a) => a.status === 429);
			}
			for (const answer of answers.filter((a) => a.status !== 429))
				checkProblem(answer, 401, "missing_key");
			assert.ok(refused.length >= 100, `${refused.length} refused`);
			assert.ok(answers.length - refused.length >= 200);
			for (const answer of refused) {
				checkProblem(answer, 429, "rate_limited");
				assert.match(answer.head, /^retry-after: 1$/im);
			}
			for (const answer of await many(`POST ${webhook}`, 600))
				checkProblem(answer, 404, "job_not_found");
			// and by no other spelling does a client pass for one
			for (const spelling of ["/api/webhooks/../executions",
				"/api/webhooks/%2e%2e/executions",
				"/api/webhooks%2f..%2fexecutions",
				"//api//webhooks/./../executions"]) {
				const all = await many(`GET ${spelling}`, 400);

				assert.ok(all.some((a) => a.status === 429), spelling);
				assert.ok(all.every((a) => a.status === 429 ||
					a.json?.code === "missing_key"), spelling);
			}
			// another address is another client
			checkProblem(await raw(stack, begin("GET /api/executions") +
				"\r\n", { from: "127.0.0.3" }), 401, "missing_key");
		}, 180);

	test("connections are limited by address, webhooks' never are",
		async (stack) => {
			const from = "127.0.0.4", { port } = new URL(stack.base);
			const held = [];
			let refused = 0;

			// the bodies of those that are let in never come
			for (let i = 0; i < 110; i++) {
				const socket = net.connect({ host: "127.0.0.1",
					port: Number(port), localAddress: from });

				socket.on("error", () => {});
				socket.once("data", () => refused++);
				socket.write(`${begin("POST /api/execute")}` +
					"content-length: 5\r\n\r\nab");
				held.push(socket);
			}
			await until(() => refused === 10, "the limit of connections");
			checkProblem(await raw(stack,
				`${begin("GET /api/executions")}\r\n`, { from }),
			429, "rate_limited");
			for (let i = 0; i < 200; i++)
				checkProblem(await raw(stack, `${begin(`POST ${webhook}`)}` +
					"connection: close\r\ncontent-length: 0\r\n\r\n",
				{ from }), 404, "job_not_found");
			held.forEach((socket) => socket.destroy());
		});
});

/* What was submitted on the way has ended. */
function settle(stack) {
	return until(async () => (await stack.query(`SELECT count(*)
		FROM executions WHERE completed_at IS NULL`))[0].count === 0,
	"all executions to end", 40);
}

// ---- one request for another --------------------------------------------

/* Would be taken, were it ever read as a request. */
function submission(stack, name) {
	const body = JSON.stringify({ name, jobs: [clip("a")] });

	return `${begin("POST /api/execute")}authorization: Bearer ${stack.key}` +
		"\r\ncontent-type: application/json\r\n" +
		`content-length: ${body.length}\r\n\r\n${body}`;
}

const post = begin("POST /api/nowhere");

/* What stands before the submission; @ is where its length goes. */
const ambiguous = {
	"both lengths": `${post}content-length: @\r\n` +
		"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
	"both, the other way round": `${post}transfer-encoding: chunked\r\n` +
		"content-length: @\r\n\r\n0\r\n\r\n",
	"two lengths": `${post}content-length: 0\r\ncontent-length: @\r\n\r\n`,
	"two equal lengths": `${post}content-length: @\r\n` +
		"content-length: @\r\n\r\n",
	"a list of lengths": `${post}content-length: 0, @\r\n\r\n`,
	"a length with a sign": `${post}content-length: +@\r\n\r\n`,
	"a negative length": `${post}content-length: -1\r\n\r\n`,
	"a hexadecimal length": `${post}content-length: 0x0\r\n\r\n`,
	"a length of 2^64": `${post}content-length: 18446744073709551616\r\n\r\n`,
	"xchunked": `${post}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n`,
	"chunked, identity": `${post}transfer-encoding: chunked, identity\r\n` +
		"\r\n0\r\n\r\n",
	"identity": `${post}transfer-encoding: identity\r\n\r\n0\r\n\r\n`,
	"chunked twice": `${post}transfer-encoding: chunked\r\n` +
		"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
	"chunked and another": `${post}transfer-encoding: chunked\r\n` +
		"transfer-encoding: cow\r\n\r\n0\r\n\r\n",
	"chunked, tab": `${post}transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n`,
	"a space before the colon": `${post}transfer-encoding : chunked\r\n\r\n` +
		"0\r\n\r\n",
	"a folded header": `${post}x: y\r\n transfer-encoding: chunked\r\n\r\n` +
		"0\r\n\r\n",
	"a header folded at its name": `${post}transfer-encoding:\r\n chunked` +
		"\r\n\r\n0\r\n\r\n",
	"a header without a colon": `${post}content-length @\r\n\r\n`,
	"a header of nothing": `${post}: chunked\r\n\r\n`,
	"NUL in a header": `${post}x: \0\r\n\r\n`,
	"a bare CR in a header": `${post}x: y\rcontent-length: @\r\n\r\n`,
	"a chunk size that lies": `${post}transfer-encoding: chunked\r\n\r\n` +
		"fffffffffffffffff\r\n",
	"a chunk size that is none": `${post}transfer-encoding: chunked\r\n\r\n` +
		"0x0\r\n\r\n",
	"NUL in the path": begin("GET /api/\0") + "\r\n",
	"%00 in the path": begin("GET /api/jobs/%00") + "\r\n",
	"above the root": begin("GET /../../api/executions") + "\r\n",
	"another host": "GET http://elsewhere.example/api/executions HTTP/1.1" +
		"\r\nHost: localhost\r\n\r\n",
	"two hosts": `${begin("GET /api/executions")}Host: elsewhere\r\n\r\n`,
	"no host": "GET /api/executions HTTP/1.1\r\n\r\n",
	"another version": "GET /api/executions HTTP/3.0\r\nHost: localhost\r\n" +
		"\r\n",
	"HTTP/2 unasked": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
};

/* Harmless here, since nginx says it anew: each reaches the one place it
 * names, and what follows is the next request. */
const plain = {
	"bare line feeds": ["GET /api/jobs/x HTTP/1.1\nHost: localhost\n\n", 401],
	"absolute form": ["GET http://localhost/api/jobs/x HTTP/1.1\r\n" +
		"Host: localhost\r\n\r\n", 401],
	"an encoded slash": [begin("GET /api%2Fjobs%2Fx") + "\r\n", 401],
	"dot segments": [begin("GET /api/execute/../x/./../jobs/x") + "\r\n", 401],
	"doubled slashes": [begin("GET //api///jobs//x") + "\r\n", 401],
	"an encoded question mark": [begin("GET /api/jobs/x%3F/cancel") + "\r\n",
		405],
	"a semicolon": [begin("GET /api/jobs;/x") + "\r\n", 404],
	"a backslash": [begin("GET /api\\jobs\\x") + "\r\n", 404],
	"another case": [begin("GET /API/jobs/x") + "\r\n", 404],
	"no slash at the end": [begin("GET /api") + "\r\n", 404],
	"no slash at the end of another": [begin("POST /api/webhooks") +
		"content-length: 0\r\n\r\n", 404],
	"a body where none belongs": [`${begin("GET /api/jobs/x")}` +
		"content-length: 5\r\n\r\nabcde", 401],
	"a chunked body, with extensions": [`${begin("POST /api/execute")}` +
		"transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n" +
		"content-length: 9\r\n\r\n", 401],
	"an underscore": [`${begin("GET /api/jobs/x")}content_length: 99\r\n` +
		"transfer_encoding: chunked\r\n\r\n", 401],
	"a lower-case method": [begin("get /api/jobs/x") + "\r\n", 400],
	"a method nobody knows": [begin("BREW /api/execute") + "\r\n", 405],
	"a method nginx has for nobody": [begin("TRACE /api/execute") + "\r\n",
		501],
};

suite("edge smuggling", {}, (test) => {
	const count = async (stack, name) => (await stack.query(
		`SELECT count(*) FROM executions WHERE name = '${name}'`))[0].count;

	test("what may be read in two ways is refused, with all behind it",
		async (stack) => {
			const behind = submission(stack, "smuggled");

			await Promise.all(Object.entries(ambiguous).map(
				async ([what, bytes]) => {
					const answer = await raw(stack, [
						bytes.replaceAll("@", behind.length), behind]);

					assert.ok(answer.answers <= 1, what);
					// nginx has no answer for hosts that are not ours
					if (!/host/.test(what))
						assert.ok(answer.status >= 400 &&
							answer.status < 600,
						`${what}: ${answer.head}`);
					if (answer.answers > 0)
						checkProblem(answer, answer.status,
							answer.json?.code);
				}));
			assert.equal(await count(stack, "smuggled"), 0);
		});

	test("what is merely odd reaches what it names, and nothing else",
		async (stack) => {
			let genuine = 0;

			for (const [what, [bytes, status]] of Object.entries(plain)) {
				const answer = await raw(stack, [bytes,
					submission(stack, "genuine")]);

				assert.equal(answer.status, status,
					`${what}: ${answer.head}`);
				// these hang up
				const last = [400, 501].includes(status);

				genuine += last ? 0 : 1;
				assert.equal(answer.answers, last ? 1 : 2,
					`${what}: ${JSON.stringify(answer)}`);
			}
			assert.equal(await count(stack, "genuine"), genuine);
			await settle(stack);
		});

	test("headers that look like others are not those", async (stack) => {
		const answer = await stack.api("POST", "/api/execute",
			{ name: "underscore", jobs: [clip("a")] },
			{ "Idempotency_Key": "a", "X_Request_Id": "b", "Proxy": "c" });

		assert.equal(answer.status, 202);
		assert.notEqual(answer.headers["x-request-id"], "b");
		assert.deepEqual(await stack.query(`SELECT idempotency_key
			FROM executions WHERE name = 'underscore'`),
		[{ idempotency_key: null }]);
		const bare = await stack.api("GET", "/api/executions", undefined,
			{ authorization: null, "Authorization_": `Bearer ${stack.key}`,
				"http-authorization": `Bearer ${stack.key}` });

		checkProblem(bare, 401, "missing_key");
		await settle(stack);
	});
});

// ---- the program behind it -----------------------------------------------

/* One of each way through nginx. */
function everyWay(stack) {
	return [
		["GET", `/api/jobs/${id}`],
		["POST", "/api/execute", { jobs: [clip("a")] }],
		["POST", webhook, {}],
	].map(([method, where, body]) => request(stack.base + where, {
		method,
		body,
		headers: { authorization: `Bearer ${stack.key}` },
		timeout_ms: 60_000,
	}));
}

/* Nobody answers at the socket, and no connection to it is left. */
async function takeAway(stack, socket) {
	const pid = stack.pid("fcgi");

	fs.renameSync(socket, `${socket}.away`);
	process.kill(pid, "SIGKILL");
	await until(() => ![null, pid].includes(stack.pid("fcgi")),
		"its successor");
}

function checkAway(answer) {
	checkProblem(answer, 503, "unavailable");
	assert.ok(Number(answer.headers["retry-after"]) > 0);
}

async function checkAllAway(stack, seconds) {
	const began = Date.now();

	for (const answer of await Promise.all(everyWay(stack)))
		checkAway(answer);
	assert.ok(Date.now() - began < seconds * 1000 * patience,
		`${Date.now() - began} ms`);
}

async function checkAllBack(stack) {
	await until(async () => (await stack.api("GET", "/readyz"))
		.status === 200, "the program to be back");
	const statuses = (await Promise.all(everyWay(stack)))
		.map((answer) => answer.status);

	assert.deepEqual(statuses, [404, 202, 404]);
	await settle(stack);
}

suite("edge away", { settings: { LOG_LEVEL: "info" } }, (test) => {
	const socketOf = (stack) => path.join(stack.run, "fcgi.sock");

	test("no socket: refused at once, and again served when it is back",
		async (stack) => {
			const socket = socketOf(stack);

			await takeAway(stack, socket);
			await checkAllAway(stack, 2);
			fs.renameSync(`${socket}.away`, socket);
			await checkAllBack(stack);
		});

	test("it dies with requests in its hands: clients are told, a webhook " +
		"is delivered again", async (stack) => {
		const pid = stack.pid("fcgi");

		process.kill(pid, "SIGSTOP");
		const asked = everyWay(stack);

		// let them get there
		await new Promise((resolve) => setTimeout(resolve, 300));
		process.kill(pid, "SIGKILL");
		const [read, submitted, delivered] = await Promise.all(asked);

		// those that it had not accepted yet are its successor's
		for (const answer of [read, submitted]) {
			if (answer.status === 503)
				checkAway(answer);
			else
				assert.ok([202, 404].includes(answer.status));
		}
		checkProblem(delivered, 404, "job_not_found");
		await checkAllBack(stack);
	});

	test("it stands still: answered within 35 s, by it or by its successor",
		async (stack) => {
			const pid = stack.pid("fcgi"), began = Date.now();
			const half = raw(stack, "GET /healthz HTTP/1.1\r\nHost: ",
				{ quiet_ms: 40_000 });
			const body = raw(stack, `${begin("POST /api/execute")}` +
				"content-length: 9\r\n\r\n{", { quiet_ms: 40_000 });

			process.kill(pid, "SIGSTOP");
			for (const answer of await Promise.all(everyWay(stack)))
				// the watchdog may have ended it by then
				if (![202, 404].includes(answer.status))
					checkAway(answer);
			assert.ok(Date.now() - began < 35_000 * patience);
			if (stack.pid("fcgi") === pid)
				process.kill(pid, "SIGKILL");
			// nor do clients that say nothing stay for ever
			assert.equal((await half).answers, 0);
			assert.ok([0, 408].includes((await body).status));
			assert.ok(Date.now() - began < 35_000 * patience);
			await checkAllBack(stack);
		}, 120);

	test("it stands still and its queue is full: refused at once",
		async (stack) => {
			// a new one, to which nginx keeps no connection
			const pid = await stack.replace("fcgi", "SIGKILL");
			const waiting = [];
			let full = false;

			process.kill(pid, "SIGSTOP");
			try {
				for (let i = 0; !full && i < 6000; i++)
					await Peer.open(socketOf(stack)).then(
						(peer) => waiting.push(peer),
						() => { full = true; });
				assert.ok(full, "the queue has no end");
				await checkAllAway(stack, 5);
			} finally {
				process.kill(pid, "SIGCONT");
			}
			waiting.splice(0, waiting.length / 2)
				.forEach((peer) => peer.close());
			await checkAllBack(stack);
			waiting.forEach((peer) => peer.close());
		}, 120);

	test("it is not there, and starts after all: nobody notices",
		async (stack) => {
			stack.hold("fcgi");
			process.kill(stack.pid("fcgi"), "SIGKILL");
			await until(() => !stack.pid("fcgi"), "its end");
			const asked = everyWay(stack);

			await new Promise((resolve) => setTimeout(resolve, 1000));
			stack.letGo("fcgi");
			const [read, submitted, delivered] = await Promise.all(asked);

			assert.deepEqual([read, submitted, delivered]
				.map((answer) => answer.status), [404, 202, 404]);
			await settle(stack);
		});

	test("something else answers: nonsense becomes 503, half an answer is " +
		"never a whole one", async (stack) => {
		const socket = socketOf(stack), end = record(3, Buffer.alloc(8));
		const body = "Status: 200\r\nContent-Type: application/json\r\n" +
			"Content-Length: 20\r\n\r\n{\"a\":";
		const answers = {
			"nothing": Buffer.alloc(0),
			"plain HTTP": "HTTP/1.1 200 OK\r\n\r\n",
			"half a record": record(6, "Status: 200\r\n").subarray(0, 12),
			"no headers": Buffer.concat([record(6, "\0\0\r\n\r\n"), end]),
			"endless headers": Buffer.concat([
				record(6, `Status: 200\r\nX: ${"x".repeat(20000)}`), end]),
			"half a body": record(6, body),
			"half a body, ended": Buffer.concat([record(6, body),
				record(6), end]),
		};
		let now;
		const impostor = net.createServer((peer) => {
			peer.on("error", () => {});
			peer.once("data", () => peer.end(answers[now]));
		});

		await takeAway(stack, socket);
		await new Promise((resolve) => impostor.listen(socket, resolve));
		fs.chmodSync(socket, 0o666);
		try {
			for (now of Object.keys(answers)) {
				const asked = everyWay(stack).map((one) => one.then(
					(answer) => answer, (error) => error));

				for (const answer of await Promise.all(asked)) {
					// it had begun: the connection tells
					if (now.startsWith("half a body"))
						assert.ok(answer instanceof Error,
							`${now}: ${answer.text}`);
					else
						checkAway(answer);
				}
			}
		} finally {
			impostor.close();
			fs.rmSync(socket, { force: true });
			fs.renameSync(`${socket}.away`, socket);
		}
		await checkAllBack(stack);
	});
});
