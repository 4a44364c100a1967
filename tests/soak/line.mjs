// SPDX-License-Identifier: MIT
// Does something grow? A straight line through samples, and how sure it is.

/* Student's t for 95 % and so many degrees of freedom, 1 % off at worst from
 * four on. */
function student(freedom) {
	return 1.96 + 2.4 / freedom + 3.1 / freedom ** 2;
}

/**
 * Least squares. Samples that follow each other are alike, which would make
 * the line look surer than it is: the error is widened by how much they are.
 *
 * @param {number[]} xs
 * @param {number[]} ys
 * @returns {{slope: number, sure: number, first: number, last: number}}
 *	sure: the slope is slope +- sure in 95 of 100 cases; first, last: of the
 *	line
 */
export function line(xs, ys) {
	const n = xs.length;

	if (n < 6)
		throw new Error(`${n} samples make no line`);
	const mean = (list) => list.reduce((sum, one) => sum + one, 0) / n;
	const x0 = mean(xs), y0 = mean(ys);
	const sum = (of) => xs.reduce((all, _, i) => all + of(i), 0);
	const sxx = sum((i) => (xs[i] - x0) ** 2);

	if (sxx === 0)
		throw new Error("all samples are of one moment");
	const slope = sum((i) => (xs[i] - x0) * (ys[i] - y0)) / sxx;
	const at = (x) => y0 + slope * (x - x0);
	const off = xs.map((x, i) => ys[i] - at(x));
	const square = sum((i) => off[i] ** 2);
	const alike = square === 0 ? 0 : Math.min(0.9, Math.max(0,
		sum((i) => i > 0 ? off[i] * off[i - 1] : 0) / square));
	const error = Math.sqrt(square / (n - 2) / sxx *
		(1 + alike) / (1 - alike));

	return {
		slope,
		sure: student(n - 2) * error,
		first: at(xs[0]),
		last: at(xs[n - 1]),
	};
}

/** Is it growing, beyond doubt, and by more than the bound? */
export function leaks({ slope, sure }, bound) {
	return slope - sure > bound;
}
