// SPDX-License-Identifier: MIT
// One HTTP exchange, as plain as it gets: a new connection each time, nothing
// repeated behind the test's back, and bytes as bytes.

import http from "node:http";
import https from "node:https";

let judge = () => {};

/**
 * Have each answer looked at before whoever asked gets it.
 *
 * @param {(method: string, url: string, answer: object) => void} check  what
 *	it throws, the request fails with
 */
export function judgeAnswers(check) {
	judge = check;
}

/**
 * @param {string} url
 * @param {{method?: string, headers?: object, body?: string|Buffer|object,
 *	timeout_ms?: number, agent?: http.Agent}} options  an object as body is
 *	sent as JSON
 * @returns {Promise<{status, headers, bytes, text, json}>} json is undefined
 *	where the body is none
 */
export function request(url, options = {}) {
	const headers = { ...options.headers };
	let body = options.body;

	if (body !== undefined && typeof body !== "string" &&
	    !Buffer.isBuffer(body)) {
		body = JSON.stringify(body);
		headers["content-type"] ??= "application/json";
	}
	if (body !== undefined)
		headers["content-length"] ??= Buffer.byteLength(body);
	const method = options.method ?? (body === undefined ? "GET" : "POST");

	return new Promise((resolve, reject) => {
		const { request: begin } = url.startsWith("https:") ? https : http;
		const sent = begin(url, {
			method,
			headers,
			agent: options.agent ?? false,
			timeout: options.timeout_ms ?? 30_000,
		});

		sent.on("response", (answer) => {
			const parts = [];

			answer.on("data", (part) => parts.push(part));
			answer.on("error", reject);
			answer.on("end", () => {
				const got = read(answer, Buffer.concat(parts));

				try {
					judge(method, url, got);
					resolve(got);
				} catch (error) {
					reject(error);
				}
			});
		});
		sent.on("timeout", () => sent.destroy(
			new Error(`no answer in time: ${url}`)));
		sent.on("error", reject);
		sent.end(body);
	});
}

/** @returns what a text is as JSON; undefined: it is none */
export function readJson(text) {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

function read(answer, bytes) {
	const text = bytes.toString("utf8");

	return {
		status: answer.statusCode,
		headers: answer.headers,
		bytes,
		text,
		json: readJson(text),
	};
}
