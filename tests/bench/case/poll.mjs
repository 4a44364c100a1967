// SPDX-License-Identifier: MIT
// Asking providers about jobs that render: many at once, and very many over
// the time that their schedule gives them.

import { setTimeout as sleep } from "node:timers/promises";

import { fill, idOf } from "../fill.mjs";
import { exchange } from "../floor.mjs";
import { run } from "../load.mjs";
import { interleaved, round, row, watch } from "../measure.mjs";
import { Psql } from "../psql.mjs";

export const title = "asking about jobs that render; the limit is bare " +
	"libcurl asking as often, as many at once, and one UPDATE of all rows";

const PASS = 10_000;
const SCHEDULE = 100_000;
const AT_ONCE = 512;
const WINDOW_S = 10;
const MOST_MS = 300_000; // the longest pause between two questions
const RUNNING = "provider_job_id IS NOT NULL";

/** A prediction that never ends. All jobs are about this one. */
async function startEndless(stack) {
	const text = await run("curl", ["-sS",
		"-H", "Authorization: Bearer r8_simulated",
		"-H", "Content-Type: application/json",
		"-d", JSON.stringify({
			input: { rushes_sim: { outcome: "never", steps: 0 } },
		}), `${stack.simulator}/replicate/v1/models/owner/model/predictions`]);

	return JSON.parse(text).id;
}

/** The poller sleeps until something is due; a submission wakes it. */
async function wake(stack) {
	await stack.submit([{
		name: "wake", provider: "replicate", model: "owner/model",
		input: { rushes_sim: { outcome: "never", webhook: { drop: true } } },
	}]);
}

const among = `id <= '${idOf(PASS - 1, 1)}'`;

/* The simulator counts, which costs nobody anything; looking which rows are
 * still to come would cost the database as much as what is measured. */
async function pass(stack, psql) {
	const before = (await stack.totals()).replicate.polls;
	const asked = async () =>
		(await stack.totals()).replicate.polls - before;

	await psql.rows("UPDATE execution_jobs SET poll_attempts = 0, " +
		`next_poll_at = now() WHERE ${among}`);
	const seen = await watch(stack, async () => {
		await wake(stack);
		while (await asked() < PASS)
			await sleep(10);
		while ((await psql.rows("SELECT 1 FROM execution_jobs WHERE " +
			`${among} AND poll_attempts = 0 LIMIT 1`)).length > 0)
			await sleep(10);
	});

	return {
		...seen, rate: PASS / seen.seconds,
		errors: Math.max(0, PASS - await asked()),
	};
}

async function bare(stack, psql, url) {
	const got = await exchange(stack, Array(PASS).fill(url),
		{ at_once: AT_ONCE });
	const begun = performance.now();

	await psql.rows("UPDATE execution_jobs SET poll_attempts = 1, version = " +
		`version + 1, next_poll_at = now() + interval '1 hour' WHERE ${among}`);
	const seconds = got.seconds + (performance.now() - begun) / 1000;

	return { rate: PASS / seconds, errors: got.errors };
}

/** Each as often as its schedule says, and none before its time. */
async function schedule(stack, psql) {
	await psql.rows(`UPDATE execution_jobs SET poll_attempts = 100,
		next_poll_at = now() + interval '1 s' + random() * ${MOST_MS} *
		interval '1 ms' WHERE ${RUNNING}`.replaceAll(/\s+/g, " "));
	await psql.rows("CREATE TEMP TABLE planned AS SELECT id, next_poll_at " +
		`FROM execution_jobs WHERE ${RUNNING}`);
	const before = (await stack.totals()).replicate.polls;
	const seen = await watch(stack, async () => {
		await wake(stack);
		await sleep(WINDOW_S * 1000);
	});
	const asked = (await stack.totals()).replicate.polls - before;
	const [[due, first, early]] = await psql.rows(`SELECT
		count(*) FILTER (WHERE planned.next_poll_at <= now()),
		count(*) FILTER (WHERE poll_attempts > 100),
		count(*) FILTER (WHERE poll_attempts > 100
			AND planned.next_poll_at > now())
		FROM planned JOIN execution_jobs AS job USING (id)`
		.replaceAll(/\s+/g, " "));

	return {
		...seen, rate: asked / seen.seconds, errors: Number(early),
		text: `${due} became due in ${round(seen.seconds, 3)} s and ` +
			`${first} of them were asked about, ${asked} times in all`,
	};
}

export default async function measure(bench) {
	const stack = await bench.stack({
		POLLER_LINGER_S: "3600",
		REPLICATE_POLL_FIRST_MS: String(MOST_MS),
		REPLICATE_POLL_MOST_MS: String(MOST_MS),
	});
	const psql = new Psql(stack.database);
	const id = await startEndless(stack);
	const url = `${stack.simulator}/replicate/v1/predictions/${id}`;

	bench.atEnd(() => psql.end());
	await fill(stack, { count: SCHEDULE, status: "processing" });
	await psql.rows(`UPDATE execution_jobs SET provider_job_id = '${id}'`);
	await psql.rows("VACUUM ANALYZE execution_jobs");
	const runs = await interleaved(bench.runs, {
		ours: () => pass(stack, psql),
		limit: () => bare(stack, psql, url),
	});

	const over = await schedule(stack, psql);

	return [
		row(`${PASS.toLocaleString("en-US")} in one pass`, runs.ours,
			runs.limit),
		row(`${SCHEDULE.toLocaleString("en-US")} over their schedule`,
			[over], null, { note: over.text }),
	];
}
