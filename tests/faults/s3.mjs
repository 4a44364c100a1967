// SPDX-License-Identifier: MIT
// A real S3 server with a liar in front of it: a proxy that passes requests on,
// or answers, cuts and delays as it is told to.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { root } from "../system/stack.mjs";

const run = promisify(execFile);
const script = path.join(root, "tests/support/s3-server.sh");
const BUCKET = "rushes-faults";
const SLOW_BYTES_S = 20_000;
const EMPTY_SHA256 =
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

async function portIsFree(port) {
	const server = net.createServer();

	return new Promise((resolve) => {
		server.once("error", () => resolve(false));
		server.listen(port, "127.0.0.1", () =>
			server.close(() => resolve(true)));
	});
}

/* Three in a row. */
async function freePort() {
	for (;;) {
		const port = 20_000 + Math.floor(Math.random() * 10_000);

		if (await portIsFree(port) && await portIsFree(port + 1) &&
		    await portIsFree(port + 2))
			return port;
	}
}

function read(stream) {
	return new Promise((resolve, reject) => {
		const parts = [];

		stream.on("data", (part) => parts.push(part));
		stream.on("end", () => resolve(Buffer.concat(parts)));
		stream.on("error", reject);
		stream.on("aborted", () => reject(new Error("cut")));
	});
}

const refusal = (status, code) => async (proxy, request, response) => {
	await read(request);
	response.writeHead(status, { "content-type": "application/xml" });
	response.end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);
};

/** What the proxy can do with an upload instead of passing it on. */
export const mischief = {
	"500": refusal(500, "InternalError"),
	"503 SlowDown": refusal(503, "SlowDown"),
	"403": refusal(403, "AccessDenied"),
	"404 of somebody else": refusal(404, "NotFound"),
	"no answer": async (proxy, request) => {
		request.resume(); // its client gives up
	},
	"reset in the middle": async (proxy, request) => {
		request.once("data", () => request.socket.destroy());
	},
	"reset after success": async (proxy, request, response) => {
		const body = await read(request);
		const answer = await proxy.ask(request, body);

		assert.equal(answer.status, 200, String(answer.body));
		response.socket.destroy();
	},
	"slow": async (proxy, request, response) => {
		const body = await read(request);

		await sleep(body.length / SLOW_BYTES_S * 1000 + 2000);
		await proxy.pass(request, response, body);
	},
};

/** The real one. */
export class S3 {
	static async start() {
		const s3 = new S3();

		s3.dir = fs.mkdtempSync(path.join(
			process.env.SYSTEM_TMP ?? os.tmpdir(), "rushes-s3-"));
		s3.secret = randomBytes(20).toString("hex");
		s3.type = new Map(); // of each object, as its upload said
		for (let tries = 3; ; tries--) {
			s3.port = await freePort();
			try {
				await run(script, ["start", `${s3.dir}/rgw`,
					`${s3.port}`, "tester", s3.secret]);
				break;
			} catch (error) {
				await run(script, ["stop", `${s3.dir}/rgw`]);
				if (tries === 1)
					throw error;
			}
		}
		await s3.curl("PUT", "");
		return s3;
	}

	/* Signed by somebody who is not us. @returns the body */
	async curl(method, key) {
		const config = path.join(this.dir, "curl");

		fs.writeFileSync(config, `user = "tester:${this.secret}"\n`,
			{ mode: 0o600 });
		const { stdout } = await run("curl", ["-K", config, "-sS", "-f",
			"--aws-sigv4", "aws:amz:us-east-1:s3", "-X", method,
			"-H", `x-amz-content-sha256: ${EMPTY_SHA256}`,
			`http://127.0.0.1:${this.port}/${BUCKET}${key && "/"}${key}`],
		{ encoding: "buffer", maxBuffer: 64 << 20 });

		return stdout;
	}

	/** What is stored there. */
	stored(key) {
		return this.curl("GET", key);
	}

	async stop() {
		await run(script, ["stop", `${this.dir}/rgw`]);
		fs.rmSync(this.dir, { recursive: true, force: true });
	}
}

/** What stands in front of it, and what serves media to the public. */
export class Front {
	/** @param tls  whether it speaks https */
	static async start(s3, tls) {
		const front = new Front();

		front.s3 = s3;
		front.tls = tls;
		front.fired = {};
		front.fault = null; // of mischief
		await front.listen();
		return front;
	}

	async listen() {
		const serve = (request, response) => {
			request.on("error", () => {});
			response.on("error", () => {});
			this.serve(request, response).catch(() =>
				response.socket?.destroy());
		};

		if (this.tls) {
			await run("openssl", ["req", "-x509", "-newkey", "rsa:2048",
				"-nodes", "-days", "2", "-subj", "/CN=localhost",
				"-addext", "subjectAltName=IP:127.0.0.1",
				"-keyout", `${this.s3.dir}/key.pem`,
				"-out", `${this.s3.dir}/ca.pem`]);
			this.server = https.createServer({
				key: fs.readFileSync(`${this.s3.dir}/key.pem`),
				cert: fs.readFileSync(`${this.s3.dir}/ca.pem`),
			}, serve);
		} else {
			this.server = http.createServer(serve);
		}
		// what is public is fetched from here
		this.cdn = http.createServer((request, response) => {
			this.publish(request, response).catch((error) => {
				response.statusCode = 502;
				response.end(error.message);
			});
		});
		for (const server of [this.server, this.cdn]) {
			server.listen(0, "127.0.0.1");
			await new Promise((resolve) =>
				server.once("listening", resolve));
		}
	}

	async publish(request, response) {
		const key = decodeURIComponent(request.url.slice(1));

		response.setHeader("content-type", this.s3.type.get(key));
		response.setHeader("x-content-type-options", "nosniff");
		response.end(await this.s3.stored(key));
	}

	async serve(request, response) {
		const fault = this.fault;

		if (request.method === "PUT" && fault) {
			this.fired[fault] = (this.fired[fault] ?? 0) + 1;
			await mischief[fault](this, request, response);
		} else {
			await this.pass(request, response, await read(request));
		}
	}

	async pass(request, response, body) {
		const answer = await this.ask(request, body);

		response.writeHead(answer.status, answer.headers);
		response.end(answer.body);
	}

	/* The same request to the real server. */
	ask(request, body) {
		if (request.method === "PUT")
			this.s3.type.set(decodeURIComponent(request.url)
				.slice(`/${BUCKET}/`.length),
			request.headers["content-type"]);
		return new Promise((resolve, reject) => {
			const { expect, ...headers } = request.headers;
			const inner = http.request({
				host: "127.0.0.1",
				port: this.s3.port,
				method: request.method,
				path: request.url,
				headers,
			}, (answer) => read(answer).then((bytes) => resolve({
				status: answer.statusCode,
				headers: answer.headers,
				body: bytes,
			}), reject));

			inner.on("error", reject);
			inner.end(body);
		});
	}

	/** What a stack has to be told. */
	settings(signature) {
		// by a name it might be another machine, so files are signed
		const origin = this.tls ? "https://127.0.0.1" :
			signature === "v4" ? "http://s3.localhost" : "http://127.0.0.1";

		return {
			STORE_URL: `s3://${BUCKET}`,
			S3_URL: `${origin}:${this.server.address().port}`,
			S3_ACCESS_KEY: "tester",
			S3_SECRET_KEY: this.s3.secret,
			S3_SIGNATURE: signature,
			...(this.tls && { S3_CA_FILE: `${this.s3.dir}/ca.pem` }),
			CDN_BASE_URL: `http://127.0.0.1:${this.cdn.address().port}`,
		};
	}

	stop() {
		this.server.closeAllConnections();
		this.server.close();
		this.cdn.closeAllConnections();
		this.cdn.close();
	}
}
