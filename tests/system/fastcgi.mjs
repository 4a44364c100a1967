// SPDX-License-Identifier: MIT
// FastCGI as nginx would say it, or as somebody would who means no good.

import net from "node:net";

import { patience } from "./stack.mjs";

export const BEGIN = 1, ABORT = 2, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6,
	GET_VALUES = 9;

export function record(type, content = "", id = 1) {
	const bytes = Buffer.from(content);
	const header = Buffer.from([1, type, id >> 8, id & 0xff,
		bytes.length >> 8, bytes.length & 0xff, 0, 0]);

	return Buffer.concat([header, bytes]);
}

function length(bytes) {
	if (bytes.length < 128)
		return Buffer.from([bytes.length]);
	const four = Buffer.alloc(4);

	four.writeUInt32BE((0x80000000 | bytes.length) >>> 0);
	return four;
}

/** What stands before a body. */
export function head(method, uri, params = {}) {
	const all = { REQUEST_METHOD: method, DOCUMENT_URI: uri, ...params };
	const pairs = Object.entries(all).flatMap(([name, value]) => {
		const both = [Buffer.from(name), Buffer.from(String(value))];

		return [...both.map(length), ...both];
	});

	return Buffer.concat([record(BEGIN, [0, 1, 1, 0, 0, 0, 0, 0]),
		record(PARAMS, Buffer.concat(pairs)), record(PARAMS)]);
}

/** A whole request; CONTENT_LENGTH is the body's unless params say another. */
export function ask(method, uri, params = {}, body = "") {
	const bytes = Buffer.from(body), parts = [];

	for (let at = 0; at < bytes.length; at += 32768)
		parts.push(record(STDIN, bytes.subarray(at, at + 32768)));
	return Buffer.concat([
		head(method, uri, { CONTENT_LENGTH: bytes.length, ...params }),
		...parts, record(STDIN)]);
}

/** One connection to the program's own socket. */
export class Peer {
	static open(path) {
		return new Promise((resolve, reject) => {
			const peer = new Peer();

			peer.bytes = Buffer.alloc(0);
			peer.closed = false;
			peer.wake = () => {};
			peer.socket = net.connect({ path }, () => resolve(peer));
			peer.socket.on("error", reject);
			peer.socket.on("data", (part) => {
				peer.bytes = Buffer.concat([peer.bytes, part]);
				peer.wake();
			});
			peer.socket.on("close", () => {
				peer.closed = true;
				peer.wake();
			});
		});
	}

	send(bytes) {
		this.socket.write(bytes);
	}

	/** Wait for something to have come. */
	async #until(ready, seconds) {
		const end = Date.now() + seconds * 1000 * patience;

		while (!ready()) {
			if (Date.now() > end)
				throw new Error("the other side is silent");
			await new Promise((resolve) => {
				const timer = setTimeout(resolve, 100);

				this.wake = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		}
	}

	#take(size) {
		const bytes = this.bytes.subarray(0, size);

		this.bytes = this.bytes.subarray(size);
		return bytes;
	}

	/** @returns the status of the next answer; 0: closed instead */
	async answer(seconds = 20) {
		let text = "";

		for (;;) {
			await this.#until(() => this.closed ||
				this.bytes.length >= 8, seconds);
			if (this.bytes.length < 8)
				return 0;
			const header = this.#take(8);
			const size = header.readUInt16BE(4) + header[6];

			await this.#until(() => this.closed ||
				this.bytes.length >= size, seconds);
			const content = this.#take(size);

			if (header[1] === STDOUT)
				text += content;
			else if (header[1] === END)
				return Number(/^Status: (\d+)/.exec(text)?.[1] ?? 0);
			else
				throw new Error(`a record of type ${header[1]}`);
		}
	}

	/** Wait for the other side to close. */
	gone(seconds = 40) {
		return this.#until(() => this.closed, seconds);
	}

	close() {
		this.socket.on("error", () => {});
		this.socket.destroy();
	}
}
