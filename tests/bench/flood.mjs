// SPDX-License-Identifier: MIT
// So many requests as fast as they are accepted, each once: what wrk, which
// sends for so many seconds, cannot do.

import net from "node:net";

/**
 * @param {string} base  http://host:port
 * @param {function(number): string} request  the raw request number n
 * @param {{count: number, connections: number, status: number}} options
 * @returns {Promise<{errors: number, ms: Float64Array}>} how long each took
 */
export async function flood(base, request, options) {
	const { hostname, port } = new URL(base);
	const ms = new Float64Array(options.count);
	const wanted = `HTTP/1.1 ${options.status}`;
	let next = 0;
	let errors = 0;

	const connection = () => new Promise((resolve, reject) => {
		const socket = net.connect(Number(port), hostname);
		let text = "";
		let n, begun;
		const send = () => {
			if (next === options.count) {
				socket.end();
				resolve();
				return;
			}
			n = next++;
			text = "";
			begun = performance.now();
			socket.write(request(n));
		};

		socket.setNoDelay(true).setEncoding("latin1");
		socket.on("connect", send);
		socket.on("error", reject);
		socket.on("close", () => reject(new Error("it hung up")));
		socket.on("data", (more) => {
			text += more;
			if (!isWhole(text))
				return;
			ms[n] = performance.now() - begun;
			errors += !text.startsWith(wanted);
			if (next < options.count &&
				/\r\nconnection: *close\r\n/i.test(text)) {
				// nginx ends a connection after so many requests
				resolve(connection());
				return;
			}
			send();
		});
	});

	await Promise.all(Array.from({ length: options.connections },
		connection));
	return { errors, ms };
}

function isWhole(text) {
	const head = text.indexOf("\r\n\r\n");

	if (head < 0)
		return false;
	const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head + 2));

	return length ? text.length >= head + 4 + Number(length[1])
		: text.endsWith("\r\n0\r\n\r\n");
}
