// SPDX-License-Identifier: MIT
// How tests of the host are declared: one after the other, on the one host.

import { test as declare } from "node:test";

import { Host } from "./host.mjs";

export const host = new Host();

let isSetUp = true;

/**
 * @param title  begins with "set-up: " where later ones need it
 * @param body  async; given the host and say(), for figures worth knowing
 * @param seconds  the longest it may take
 */
export function test(title, body, seconds = 60) {
	declare(title, { timeout: seconds * 1000 }, async (context) => {
		const begun = Date.now();

		if (!isSetUp)
			throw new Error("the host could not be set up");
		if (title.startsWith("set-up: "))
			isSetUp = false;
		await body(host, (text) => context.diagnostic(text));
		isSetUp = true;
		context.diagnostic(
			`in ${((Date.now() - begun) / 1000).toFixed(1)} s`);
	});
}
