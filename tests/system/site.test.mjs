// SPDX-License-Identifier: MIT
// The site as it is shipped, with TLS and HTTP/2.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import path from "node:path";
import tls from "node:tls";

import { request } from "./http.mjs";
import { clip } from "./jobs.mjs";
import { root, until } from "./stack.mjs";
import { suite } from "./suite.mjs";

/* Two that nobody had a moment ago. */
async function freePorts() {
	const servers = await Promise.all([0, 0].map((port) =>
		new Promise((resolve, reject) => {
			const server = net.createServer();

			server.once("error", reject);
			server.listen(port, "127.0.0.1", () => resolve(server));
		})));
	const [tls, plain] = servers.map((server) => server.address().port);

	for (const server of servers)
		await new Promise((resolve) => server.close(resolve));
	return { tls, plain };
}

/* A second nginx before the same program. @returns how to end it */
function startSite(stack, ports) {
	const dir = path.join(stack.dir, "site");
	const site = fs.readFileSync(path.join(root, "nginx/rushes.conf"), "utf8")
		.replaceAll(/^#? ?\tlisten +\[::\].*$/gm, "")
		.replaceAll(/listen( +)443/g, `listen$1127.0.0.1:${ports.tls}`)
		.replaceAll(/listen( +)80;/g, `listen$1127.0.0.1:${ports.plain};`)
		.replaceAll(/# (ssl_certificate(_key)?) .*;/g, (_, what) =>
			`${what} ${dir}/${what}.pem;`)
		.replaceAll("/var/log/nginx", dir);

	fs.cpSync(path.join(stack.dir, "stack/nginx/snippets"),
		path.join(dir, "snippets"), { recursive: true });
	execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt",
		"ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
		"/CN=rushes.example.com", "-keyout", `${dir}/ssl_certificate_key.pem`,
		"-out", `${dir}/ssl_certificate.pem`], { stdio: "ignore" });
	fs.writeFileSync(path.join(dir, "nginx.conf"), `
${process.getuid() === 0 ? "user root;" : ""}
pid ${dir}/nginx.pid;
events {}
http {
	client_body_temp_path ${dir}/body;
	fastcgi_temp_path ${dir}/fastcgi;
	proxy_temp_path ${dir}/proxy;
	scgi_temp_path ${dir}/scgi;
	uwsgi_temp_path ${dir}/uwsgi;
${site}
}
`);
	execFileSync("nginx", ["-p", `${dir}/`, "-c", `${dir}/nginx.conf`,
		"-e", `${dir}/error.log`], { stdio: "ignore",
		env: { PATH: `${process.env.PATH}:/usr/sbin` } });
	return () => process.kill(Number(fs.readFileSync(`${dir}/nginx.pid`)));
}

/* @returns the status of one request of HTTP/2; 0: reset */
function overHttp2(session, headers, body = "") {
	return new Promise((resolve) => {
		const stream = session.request(headers, { endStream: false });
		let status = 0;

		stream.on("response", (answer) => { status = answer[":status"]; });
		stream.on("error", () => {});
		stream.on("close", () => resolve(status));
		stream.resume();
		stream.end(body);
	});
}

/* @returns all that is answered to these bytes over TLS, until nginx ends */
function overTls(port, bytes) {
	return new Promise((resolve, reject) => {
		const socket = tls.connect({ host: "127.0.0.1", port,
			servername: "rushes.example.com", rejectUnauthorized: false });
		let text = "";

		socket.on("data", (part) => { text += part; });
		socket.on("error", (error) =>
			error.code === "ECONNRESET" || reject(error));
		socket.on("close", () => resolve(text));
		socket.write(bytes);
	});
}

/* A refusal in our words. */
function checkProblem(text, status, code) {
	assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), text);
	assert.match(text, /^content-type: application\/problem\+json\r$/im);
	assert.match(text, /^x-request-id: \w+\r$/im);
	assert.ok(text.includes(`"code":"${code}"`), text);
}

suite("the shipped site", {}, (test) => {
	test("HTTP/2: sound requests are served, others reach nobody",
		async (stack) => {
			const ports = await freePorts();
			const end = startSite(stack, ports);
			const session = http2.connect(
				`https://rushes.example.com:${ports.tls}`, {
					host: "127.0.0.1",
					lookup: (_, options, back) => options.all
						? back(null, [{ address: "127.0.0.1", family: 4 }])
						: back(null, "127.0.0.1", 4),
					rejectUnauthorized: false,
				});
			session.on("error", () => {});
			const body = JSON.stringify({ name: "http2",
				jobs: [clip("a")] });
			const submit = (more) => overHttp2(session, {
				":method": "POST",
				":path": "/api/execute",
				"authorization": `Bearer ${stack.key}`,
				"content-type": "application/json",
				...more,
			}, body);

			try {
				assert.equal(await submit(), 202);
				assert.equal(await submit(
					{ "content-length": body.length }), 202);
				for (const length of [0, 1, body.length - 1,
					body.length + 1, "1, 2", "-1", "x"])
					assert.ok([0, 400].includes(await submit(
						{ "content-length": length })), String(length));
				const get = (where, more) => overHttp2(session, {
					":path": where, ...more });

				assert.equal(await get("/healthz"), 200);
				assert.equal(await get("/api/x%00"), 400);
				// nginx has no such limit here
				assert.equal(await get(`/api/${"x".repeat(9000)}`), 404);
				assert.equal(await get("/healthz",
					{ x: "x".repeat(9000) }), 200);
				assert.equal(await get("/healthz", Object.fromEntries(
					Array.from({ length: 200 }, (_, i) => [`x${i}`, ""]))),
				431);
				// this ends the connection
				assert.ok([0, 400, 431].includes(await get("/healthz",
					{ x: "x".repeat(30000) })));
				// without HTTP/2, and before the Host is read
				checkProblem(await overTls(ports.tls,
					`GET /${"x".repeat(9000)} HTTP/1.1\r\n\r\n`),
				414, "uri_too_long");
				checkProblem(await overTls(ports.tls, "GET\r\n\r\n"),
					400, "malformed_request");
				assert.deepEqual(await stack.query(`SELECT count(*)
					FROM executions WHERE name = 'http2'`),
				[{ count: 2 }]);
				// plain HTTP is no way in
				const plain = `http://127.0.0.1:${ports.plain}`;
				const host = { host: "rushes.example.com" };

				assert.equal((await request(`${plain}/api/executions`,
					{ headers: host })).status, 403);
				assert.equal((await request(`${plain}/other`,
					{ headers: host })).headers.location,
				"https://rushes.example.com/other");
				// nor is it one to the port of the other
				assert.equal((await request(
					`http://127.0.0.1:${ports.tls}/api/executions`,
					{ headers: host })).status, 400);
				await until(async () => (await stack.query(`SELECT count(*)
					FROM executions WHERE completed_at IS NULL`))[0]
					.count === 0, "all executions to end", 40);
			} finally {
				session.destroy();
				end();
			}
		});
});
