// SPDX-License-Identifier: MIT
// Everybody wants the provider at once: 10,000 jobs that became due while it
// was away, and jobs that were told when to come back, in each form there is.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { makers, still } from "../system/jobs.mjs";
import { until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, quick, settings, submit } from "./load.mjs";

const JOBS = quick ? 1000 : 10_000;
const JOBS_AT_ONCE = 500;
/* As poller/gate.c spreads them. */
const GAP_MS = 5;
/* How much more than evenly spread a second may have by chance, and by what
 * else there is to ask. */
const UNEVEN = 2;
const POLL_FIRST_MS = quick ? 8000 : 20_000;
const POLL_MOST_MS = quick ? 12_000 : 60_000;
/* None ends before all are started, and all end in the outage. */
const DELAY_MS = POLL_MOST_MS - 5000;

const count = async (stack, where) => (await stack.query(`
	SELECT count(*) AS jobs FROM execution_jobs WHERE ${where}`))[0].jobs;

/* Requests of any kind to one provider, and when they were counted. */
async function requests(stack) {
	const { starts, refused, polls, results, lists } =
		(await stack.totals()).replicate;

	return { at: Date.now(),
		made: starts + refused + polls + results + lists };
}

/*
 * Watch until all is done. Requests of a second are those between two looks
 * about a second apart, at any moment.
 *
 * @returns the most in a second, and the mean while nine tenths were made
 */
async function watch(stack, done) {
	const looks = [await requests(stack)];
	let peak = 0;

	for (let n = 0; n % 20 !== 0 || !await done(); n++) {
		await sleep(100);
		const now = await requests(stack);
		const before = looks.findLast((one) => now.at - one.at >= 1000);

		looks.push(now);
		if (before)
			peak = Math.max(peak, (now.made - before.made) /
				(now.at - before.at) * 1000);
	}
	const all = looks.at(-1).made - looks[0].made;
	const from = looks.find((one) => one.made > looks[0].made);
	const to = looks.find((one) =>
		one.made - looks[0].made >= all * 0.9);

	return { requests: all, peak: Math.round(peak),
		mean: Math.round((to.made - from.made) /
			(to.at - from.at) * 1000) };
}

suite("a herd", {
	settings: {
		...settings,
		BREAKER_FAILURES: "5",
		BREAKER_OPEN_S: "3",
		REPLICATE_POLL_FIRST_MS: `${POLL_FIRST_MS}`,
		REPLICATE_POLL_MOST_MS: `${POLL_MOST_MS}`,
	},
}, (test) => {
	test(`${JOBS} jobs due after an outage`, async (stack) => {
		const chance = new Chance("herd");

		wholeLedger(stack);
		for (let given = 0; given < JOBS; given += JOBS_AT_ONCE)
			await submit(stack, Array.from({ length: JOBS_AT_ONCE },
				(_, i) => still(`j${i}`, {
					delay_ms: DELAY_MS + chance.below(1000),
					webhook: { drop: true },
					media: { bytes: 200 },
				})));
		await until(async () => await count(stack,
			"status NOT IN ('queued', 'starting')") === JOBS,
		"all to be started", 120);

		await stack.control({ down: { replicate: true } });
		// every look that was planned falls into the outage, and so
		// does the end of every job: each is asked about once after it
		await sleep(DELAY_MS + 1000);
		await until(async () => await count(stack,
			"status = 'processing' AND next_poll_at > now()") <
			JOBS / 50, "all to be due", 120);
		const due = await count(stack,
			"status = 'processing' AND next_poll_at <= now()");
		const [{ open }] = await stack.query(`SELECT open_until IS NOT NULL
			AS open FROM provider_gates WHERE name = 'replicate'`);

		await stack.control({ down: { replicate: false } });
		const seen = await watch(stack, async () =>
			await count(stack, "NOT job_is_terminal(status)") === 0);

		console.log(`herd: ${JSON.stringify({ due, ...seen,
			ratio: Math.round(seen.peak / seen.mean * 100) / 100 })}`);
		assert.ok(due >= JOBS * 0.95 && seen.requests >= due, `${due} due`);
		assert.ok(seen.peak <= 1000 / GAP_MS * UNEVEN,
			`${seen.peak} requests in a second`);
		await quiet(stack, 200);
		await judge(stack, { "jobs due": due, "breaker open": Number(open) });
	}, 600);
});

const WAIT_S = 4;
const EACH = quick ? 2 : 10;
const ofAll = ["seconds", "fraction", "date", "rfc850", "asctime"];
const forms = {
	replicate: [...ofAll, "body", "text", "reset"],
	fal: ofAll,
	vertex: ofAll,
};

/* What is asked: a start, or a look at a job. */
const kinds = {
	start: (form) => ({ start: { status: 429, retry_after_s: WAIT_S,
		retry_after_form: form, times: 2,
		// Replicate's own words name a time
		...(form === "reset" && { body: { detail: "Slow down." } }) } }),
	poll: (form) => ({ poll: { status: 429, retry_after_s: WAIT_S,
		retry_after_form: form, times: 2,
		...(form === "reset" && { body: { detail: "Slow down." } }) },
	webhook: { drop: true }, delay_ms: 8000 }),
};

/* When a job was told to wait, and for how long it then does. */
const note = `
	CREATE TABLE waits (job uuid, status text, seconds double precision);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
		SECURITY DEFINER AS $$
	BEGIN
		INSERT INTO waits VALUES (new.id, new.status,
			extract(epoch FROM new.next_poll_at - now()));
		RETURN NULL;
	END $$;
	CREATE TRIGGER note AFTER UPDATE ON execution_jobs FOR EACH ROW
		WHEN (new.error_code = 'provider_throttled' AND new.version > old.version
		      AND new.status IN ('queued', 'processing'))
		EXECUTE FUNCTION note()`;

suite("Retry-After", { settings }, (test) => {
	test("is honoured in each form, of starts and of looks", async (stack) => {
		const of = new Map(), fired = {};

		await stack.sql(note);
		for (const [name, all] of Object.entries(forms)) {
			for (const form of all) {
				for (const [kind, sim] of Object.entries(kinds)) {
					const ids = await submit(stack, Array.from(
						{ length: EACH },
						(_, i) => makers[name](`j${i}`, sim(form))));

					fired[`${name} ${kind}: ${form}`] = 0;
					for (const id of Object.values(ids))
						of.set(id, { what: `${name} ${kind}: ${form}`,
							form });
				}
			}
		}
		await quiet(stack, 200);
		for (const wait of await stack.query("SELECT * FROM waits")) {
			const { what, form } = of.get(wait.job);
			// of a date's whole seconds one may be gone
			const least = WAIT_S + (form === "fraction" ? 0.5 :
				["date", "rfc850", "asctime"].includes(form) ? -1 : 0);

			fired[what]++;
			assert.ok(wait.seconds >= least, `${what}: ${wait.seconds} s`);
		}
		for (const [what, times] of Object.entries(fired))
			assert.ok(times >= EACH, `${what}: told ${times} times`);
		await judge(stack, fired);
	}, 300);
});
