// SPDX-License-Identifier: MIT
// The least that a request costs in processor time: nginx, a FastCGI program
// that says hello and wrk, and PostgreSQL for the same rows by the barest
// statement, as many at a time as there are connections. Nobody can be faster
// on the same processors.

import os from "node:os";

import { helloCpu } from "./floor.mjs";
import { cpuOf, cpuOfStack, postgresPid } from "./measure.mjs";
import { Psql } from "./psql.mjs";

const ROWS = 20_000;

/** us a request of nginx, hello and wrk. @param load  async, of hello */
async function helloFloor(stack, load) {
	const cpu = () => helloCpu(stack) + cpuOfStack(stack).load;
	const before = cpu();
	const { count } = await load();

	return (cpu() - before) * 1e6 / count;
}

/** us a row of PostgreSQL. Planned once, and as our own sessions plan. */
async function statementFloor(stack, psql, { statement, args, first },
	together) {
	const end = first + ROWS;

	await psql.rows("SET plan_cache_mode = force_generic_plan; " +
		"SET enable_seqscan = off; SET jit = off; DEALLOCATE ALL; " +
		`PREPARE floor AS ${statement.replaceAll(/\s+/g, " ")}`);
	const before = cpuOf(postgresPid(stack));

	for (let n = first; n < end; n += together)
		await psql.rows(`EXECUTE floor(${args(n, together)})`);
	return (cpuOf(postgresPid(stack)) - before) * 1e6 / ROWS;
}

/**
 * @param {() => Promise<{count}>} load  of the hello program
 * @param {{statement, args: function(number, number): string}} sql  the
 *	statement, and what it is given for so many rows from the n-th on
 * @param {Object<string, number>} together  names, and rows at a time
 * @returns {Promise<Object<string, {hello, postgres, rate}>>} us each, and
 *	requests a second
 */
export async function requestFloor(stack, load, sql, together) {
	const psql = new Psql(stack.database);
	const hello = await helloFloor(stack, load);
	const floors = {};
	let first = sql.first ?? 0;

	for (const [name, rows] of Object.entries(together)) {
		const postgres = await statementFloor(stack, psql,
			{ ...sql, first }, rows);

		first += ROWS + rows;
		floors[name] = {
			hello, postgres,
			rate: os.cpus().length * 1e6 / (hello + postgres),
		};
	}
	psql.end();
	return floors;
}

/** How many rows from the first on the floors of so many sizes take. */
export function floorRows(together) {
	return Object.values(together)
		.reduce((sum, rows) => sum + ROWS + rows, 0);
}
