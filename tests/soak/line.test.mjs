// SPDX-License-Identifier: MIT
// That the soak sees a leak, and only that.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { leaks, line } from "./line.mjs";

/* Chance that is the same each time. */
function noise(seed) {
	let state = seed;

	return () => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return state / 2 ** 32 - 0.5;
	};
}

/* 60 samples, a thousand requests apart. */
function samples(of, seed = 1) {
	const chance = noise(seed);
	const xs = Array.from({ length: 60 }, (_, i) => i);

	return line(xs, xs.map((x) => 9000 + of(x) + 200 * chance()));
}

describe("the judge of the soak", () => {
	test("finds a slope, and says how surely", () => {
		let inside = 0;

		for (let seed = 1; seed <= 200; seed++) {
			const { slope, sure } = samples((x) => 3 * x, seed);

			inside += Math.abs(slope - 3) <= sure;
		}
		assert.ok(inside > 180 && inside < 200, `${inside} of 200`);
	});

	test("sees a leak through the noise", () => {
		for (let seed = 1; seed <= 50; seed++)
			assert.ok(leaks(samples((x) => 8 * x, seed), 1));
	});

	test("takes neither noise nor a smaller growth for one", () => {
		for (let seed = 1; seed <= 50; seed++) {
			assert.ok(!leaks(samples(() => 0, seed), 2));
			assert.ok(!leaks(samples((x) => 0.5 * x, seed), 2.5));
		}
	});

	test("takes what goes up and down slowly for no leak", () => {
		assert.ok(!leaks(samples((x) => 900 * Math.sin(x / 5)), 1));
	});

	test("says nothing about too little", () => {
		assert.throws(() => line([1, 2, 3], [1, 2, 3]), /no line/);
		assert.throws(() => line(Array(9).fill(1), Array(9).fill(1)),
			/one moment/);
	});
});
