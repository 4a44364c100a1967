// SPDX-License-Identifier: MIT
// A set of tests with a stack of its own: it is started before them, its
// invariants are checked after them, and it is stopped whatever happened.

import { after, before, describe, it } from "node:test";

import { Stack, patience } from "./stack.mjs";

/** Settings with which polling cannot hide what a webhook did or did not. */
export const hardlyPolled = {
	REPLICATE_POLL_FIRST_MS: "3600000",
	REPLICATE_POLL_MOST_MS: "3600000",
	FAL_POLL_FIRST_MS: "3600000",
	FAL_POLL_MOST_MS: "3600000",
};

/** Settings with which what fails closes no door to the jobs beside it. */
export const noBreaker = { BREAKER_FAILURES: "1000" };

/**
 * @param name  of the set, and of the folder its logs stay in on failure
 * @param {{settings?: object, concurrency?: number}} options  settings: the
 *	environment of the programs, or what makes it first; concurrency: how
 *	many of the tests may run at once against this stack
 * @param define  called with (test, stackOf): test(title, body, seconds)
 *	declares one, body is given the stack
 */
export function suite(name, options, define) {
	describe(name, { concurrency: 1 }, () => {
		let stack, failed = false;

		const guarded = (title, body, seconds = 90) =>
			it(title, { timeout: seconds * 1000 * patience },
				async () => {
					try {
						await body(stack);
					} catch (error) {
						failed = true;
						throw error;
					}
				});

		before(async () => {
			stack = await Stack.start(
				typeof options.settings === "function" ?
					await options.settings() : options.settings);
		});
		describe("tests", { concurrency: options.concurrency ?? 1 },
			() => define(guarded));
		guarded("and nothing was leaked, lost or paid twice",
			(it) => it.checkAll());
		after(async () => {
			if (stack)
				await stack.stop(name, failed);
		});
	});
}
