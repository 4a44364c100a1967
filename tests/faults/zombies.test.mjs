// SPDX-License-Identifier: MIT
// Pollers that are stopped past their lease, while others finish what they
// held, and then go on as if nothing had been. The database itself notes who
// claims a job, and who writes one that somebody else holds.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { still } from "../system/jobs.mjs";
import { until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, Poller, mixture, quick, settings, submit }
	from "./load.mjs";

const ZOMBIES = quick ? 40 : 1000;
const POLLERS = quick ? 16 : 48;
const AT_ONCE = quick ? 11 : 40;
const BACKLOG = quick ? 300 : 1200;
const MOST_S = quick ? 90 : 1200;
/* The lease is 5 s; then there is time for others to finish. */
const LEAST_MS = 5500;
const LONGEST_MS = 12_000;
const AFTER_MS = 1500;

const sim = {
	start: { latency_ms: 300 },
	delay_ms: 500,
	media: { bytes: 20_000, rate: 20_000 },
};

/* A write of a worker to a job that another one's lease covers is stale, and
 * so is a claim that comes before the lease has ended. */
const watch = `
	CREATE TABLE claims (job uuid, claim bigint, poller text,
		PRIMARY KEY (job, claim));
	CREATE TABLE stale_writes (job uuid, claim bigint, was text, became text,
		holder text, writer text);
	CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql
		SECURITY DEFINER AS $$
	DECLARE
		writer text := current_setting('application_name');
		holder text := (SELECT poller FROM claims
			WHERE job = old.id AND claim = old.claim);
	BEGIN
		IF old.lease_until > now() AND holder <> writer THEN
			INSERT INTO stale_writes VALUES (old.id, old.claim,
				old.status, new.status, holder, writer);
		END IF;
		IF new.claim > old.claim AND new.lease_until > now() THEN
			INSERT INTO claims VALUES (new.id, new.claim, writer);
		END IF;
		RETURN NULL;
	END $$;
	CREATE TRIGGER watch AFTER UPDATE ON execution_jobs FOR EACH ROW
		WHEN (session_user = 'rushes_poller')
		EXECUTE FUNCTION watch()`;

const list = (values) => values.map((value) => `'${value}'`).join(",");

/* Running pollers that hold something now, and what. */
async function holders(stack, pollers) {
	const rows = await stack.query(`
		SELECT claims.poller, json_agg(job.id) AS jobs
		  FROM execution_jobs AS job
		  JOIN claims ON claims.job = job.id AND claims.claim = job.claim
		 WHERE job.lease_until > now()
		   AND claims.poller = ANY ('{${pollers.map((one) => one.name)}}')
		 GROUP BY claims.poller`);

	return rows.map((row) => ({
		poller: pollers.find((one) => one.name === row.poller),
		jobs: row.jobs,
	}));
}

/* Of these jobs, those that have ended since, in others' hands. */
const endedByOthers = (stack, { poller, jobs }) => stack.query(`
	SELECT job.* FROM execution_jobs AS job
	 WHERE job.id IN (${list(jobs)}) AND job_is_terminal(job.status)
	   AND job.next_poll_at IS NULL
	   AND (SELECT poller FROM claims WHERE job = job.id
	         ORDER BY claim DESC LIMIT 1) <> '${poller.name}'
	 ORDER BY job.id`);

/* Stop some of those who hold something; what was sent already is committed
 * a moment later, and what they hold then they hold for good. */
async function stopSome(stack, chance, pollers, room) {
	const running = pollers.filter((one) => !one.zombie);
	const chosen = (await holders(stack, running))
		.filter(() => chance.next() < 0.7).slice(0, room)
		.filter(({ poller }) => poller.kill("SIGSTOP"))
		.map(({ poller }) => poller);

	for (const poller of chosen)
		poller.zombie = true;
	if (chosen.length === 0)
		return [];
	await sleep(100);
	const held = await holders(stack, chosen);

	for (const poller of chosen) {
		if (held.some((one) => one.poller === poller))
			continue;
		poller.kill("SIGCONT");
		poller.zombie = false;
	}
	return held.map((one) => ({ ...one, stopped: Date.now() }));
}

/* Let those go on whose jobs others have ended, or that waited in vain. */
async function letGo(stack, stopped) {
	for (const one of stopped) {
		const age = Date.now() - one.stopped;

		if (one.goes || age < LEAST_MS)
			continue;
		one.ended = await endedByOthers(stack, one);
		if (one.ended.length === 0 && age < LONGEST_MS)
			continue;
		one.poller.kill("SIGCONT");
		one.goes = Date.now();
	}
}

/* Not a single column of what had ended has changed since.
 * @returns how many of these pollers were zombies */
async function look(stack, gone) {
	// one may have been in the hands of several of them
	const before = [...new Map(gone.flatMap((one) => one.ended)
		.map((job) => [job.id, job])).values()]
		.sort((a, b) => a.id < b.id ? -1 : 1);

	if (before.length > 0)
		assert.deepEqual(await stack.query(`SELECT * FROM execution_jobs
			WHERE id IN (${list(before.map(({ id }) => id))})
			ORDER BY id`), before);
	for (const one of gone)
		one.poller.zombie = false;
	return gone.filter((one) => one.ended.length > 0).length;
}

/* @returns how many pollers held what another one ended */
async function haunt(stack, chance, pollers) {
	const end = Date.now() + MOST_S * 1000;
	let stopped = [], zombies = 0;

	while (zombies < ZOMBIES && Date.now() < end) {
		stopped.push(...await stopSome(stack, chance, pollers,
			AT_ONCE - stopped.length));
		await letGo(stack, stopped);
		const over = (one) => one.goes && Date.now() - one.goes > AFTER_MS;
		const gone = stopped.filter(over);

		stopped = stopped.filter((one) => !gone.includes(one));
		zombies += await look(stack, gone);
		if (gone.length > 0)
			console.log(`${zombies} zombies, ${stopped.length} stopped`);
		await sleep(200);
	}
	return zombies;
}

/* Always enough to do. */
function feeding(stack) {
	const chance = new Chance("zombies' jobs");
	let on = true;
	const done = (async () => {
		while (on) {
			const [{ jobs }] = await stack.query(`SELECT count(*) AS jobs
				FROM execution_jobs WHERE next_poll_at IS NOT NULL`);

			if (jobs < BACKLOG)
				await submit(stack, mixture(chance, 20, sim));
			await sleep(quick ? 800 : 300);
		}
	})();

	return async () => {
		on = false;
		await done;
	};
}

/* What pollers said about work that was not theirs any more. */
function refused(stack) {
	return fs.readdirSync(stack.logs)
		.filter((name) => name.startsWith("poller"))
		.flatMap((name) => fs.readFileSync(
			path.join(stack.logs, name), "utf8").match(
			/not needed any more: the job had moved|what was being done for it stops/g) ??
			[]).length;
}

suite("zombies", {
	settings: {
		...settings,
		LOG_LEVEL: "debug",
		PROVIDER_CONCURRENCY: "replicate=400 fal=400 vertex=400",
	},
}, (test) => {
	test(`${ZOMBIES} pollers stopped past their lease`, async (stack) => {
		const chance = new Chance("zombies");
		let zombies;

		wholeLedger(stack);
		await stack.sql(watch);
		const pollers = Array.from({ length: POLLERS }, (_, n) =>
			new Poller(stack, `poller-${n}`, {
				PGAPPNAME: `poller-${n}`,
				POLLER_LINGER_S: "3600",
			}));
		const stop = feeding(stack);

		try {
			zombies = await haunt(stack, chance, pollers);
			for (const one of pollers)
				one.kill("SIGCONT");
			await stop();
			await quiet(stack, 200);
		} finally {
			await Promise.all(pollers.map((one) => one.stop()));
		}
		console.log(`${zombies} zombies`);
		assert.ok(zombies >= ZOMBIES, `only ${zombies} zombies`);
		assert.deepEqual(await stack.query(
			"SELECT * FROM stale_writes LIMIT 10"), []);
		await judge(stack, {
			"stopped past its lease": zombies,
			"stale work refused": refused(stack),
		});
	}, MOST_S + 300);

	test("the watch sees a stale write", async (stack) => {
		// one that is held, written by somebody else
		await stack.sql(`
			WITH one AS (UPDATE execution_jobs SET lease_until = 'infinity'
				WHERE id = (SELECT job FROM claims LIMIT 1)
				RETURNING id, claim)
			INSERT INTO claims SELECT id, claim, 'its holder' FROM one
			    ON CONFLICT (job, claim)
			    DO UPDATE SET poller = excluded.poller`);
		await stack.sql(`
			SET SESSION AUTHORIZATION rushes_poller;
			UPDATE execution_jobs SET lease_until = NULL
			 WHERE lease_until = 'infinity'`);
		assert.equal((await stack.query(
			"SELECT * FROM stale_writes")).length, 1);
	});
});

suite("a zombie's start", {
	settings: {
		...settings,
		CANCEL_CONFIRM_S: "3",
		ANSWER_TIMEOUT_MS: "600000",
	},
}, (test) => {
	test("answered after the end of its job, it is cancelled there",
		async (stack) => {
			await stack.control({ all: { list: { hide: true } } });
			const { id, ids } = await stack.submit([
				still("a", {
					start: { latency_ms: 8000 },
					webhook: { drop: true },
					outcome: "never",
				}),
			]);

			await stack.jobIn(ids.a, "starting");
			const zombie = stack.pid("poller");

			process.kill(zombie, "SIGSTOP");
			const heir = new Poller(stack, "heir");

			try {
				await stack.jobIn(ids.a, "start_unknown", 30);
				await stack.api("POST", `/api/jobs/${ids.a}/cancel`);
				await stack.ended(ids.a, "cancelled", 60);
				assert.equal((await stack.start(ids.a)).cancels, 0);
				process.kill(zombie, "SIGCONT");
				await until(async () =>
					(await stack.start(ids.a)).cancels > 0,
				"the cancel", 60);
			} finally {
				if (stack.pid("poller") === zombie)
					process.kill(zombie, "SIGCONT");
				await heir.stop();
			}
			await stack.check(id);
		}, 240);
});
