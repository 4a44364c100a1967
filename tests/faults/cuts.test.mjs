// SPDX-License-Identifier: MIT
// Connections to PostgreSQL cut after each byte of what is asked and of what is
// answered, for every statement in the life of a job: submitted, claimed,
// started, taken, reported by webhook, stored and completed. Bytes are counted
// anew in each occurrence of a statement, so every place in it gets its turn.

import assert from "node:assert/strict";

import { clip, still } from "../system/jobs.mjs";
import { terminal, until } from "../system/stack.mjs";
import { suite } from "../system/suite.mjs";
import { checkLives, judge, quiet, wholeLedger } from "./judge.mjs";
import { Chance, Poller, anyJob, quick, settings, submit } from "./load.mjs";
import { Relay } from "./relay.mjs";

/* What a job lives through. */
const LIFE = [
	"fcgi execution_submit",
	"poller job_claim",
	"poller job_move start",
	"poller job_move accepted",
	"fcgi webhook_take",
	"poller job_move stored", // and it is completed
];
/* That of a webhook, which comes again by itself; meanwhile the job may be
 * polled, so that some webhooks find it done. */
const WEBHOOK = /^fcgi webhook_/;
/* Of a stream that is longer than both together each byte at its beginning
 * and end, and one in so many between. */
const HEAD = quick ? 2 : 2048;
const TAIL = quick ? 2 : 512;
const STRIDE = quick ? 101 : 61;
/* In whatever else there is: beginnings of connections, and what is read. */
const SAMPLE = quick ? 3001 : 199;
const SAMPLE_S = quick ? 8 : 100;
/* So often in a row an occurrence was too short for the next place. */
const ENOUGH = quick ? 4 : 20;
const MOST_S = quick ? 60 : 900;
/* Jobs at a time: few, so that a statement is about one or two. */
const FEEDERS = 10;
const WEBHOOK_FEEDERS = 24;
const POLLERS = quick ? 2 : 6; /* beside the stack's own */

/* One statement's stream in one direction. */
class Sweep {
	constructor(lives, again) {
		this.lives = lives;
		this.again = again; /* it has to get through in between */
		this.next = 0;
		this.longest = 0;
		this.cuts = 0;
		this.seen = 0;
		this.short = 0;
	}

	get done() {
		return this.cuts > 0 && this.short >= ENOUGH;
	}

	/* The place after this one. */
	following(at, bytes) {
		if (!this.lives)
			return at + SAMPLE;
		if (at + 1 < HEAD || bytes - at <= TAIL)
			return at + 1;
		return Math.min(at + STRIDE, bytes - TAIL + 1);
	}

	cut(bytes) {
		this.seen++;
		if (this.again && this.seen % 2 === 1)
			return null;
		if (this.next > bytes) {
			this.short++;
			return null;
		}
		const at = this.next;

		this.next = this.following(at, bytes);
		this.longest = Math.max(this.longest, bytes);
		this.short = 0;
		this.cuts++;
		return at;
	}
}

class Sweeps {
	/* Of this statement alone; or of all that are no job's life. */
	constructor(only) {
		this.only = only;
		this.all = new Map();
		if (only)
			this.left = ["asked", "answered"].map(
				(way) => this.of(way, only));
	}

	of(way, key) {
		const name = `${way}: ${key}`;

		if (!this.all.has(name))
			this.all.set(name, new Sweep(Boolean(this.only),
				!WEBHOOK.test(key)));
		return this.all.get(name);
	}

	cut(way, key, bytes) {
		if (this.only ? key !== this.only : LIFE.includes(key))
			return null;
		return this.of(way, key).cut(bytes);
	}

	question(key, bytes) {
		return this.cut("asked", key, bytes);
	}

	// a cut after the last byte of an answer is one between statements,
	// which the next question's first byte is
	answer(key, bytes) {
		return this.cut("answered", key, bytes - 1);
	}

	get done() {
		return this.only !== undefined &&
			this.left.every((sweep) => sweep.done);
	}

	/* What there was, in words; and each stream's cuts. */
	tell() {
		const fired = {};
		let cuts = 0;

		for (const [name, sweep] of this.all) {
			if (this.only)
				console.log(`${name}: cut at ${sweep.cuts} ` +
					`places, the longest had ${sweep.longest} bytes`);
			if (sweep.cuts > 0)
				fired[name] = sweep.cuts;
			cuts += sweep.cuts;
		}
		console.log(`${cuts} cuts in ${this.all.size} streams`);
		return fired;
	}
}

/* One job after the other, by each of some clients. */
async function feed(stack, name, only, over) {
	const chance = new Chance(name);
	const make = (sim) => only && WEBHOOK.test(only) ?
		chance.pick([still, clip])("one", sim) :
		anyJob(chance, "one", sim);

	while (!over()) {
		const ids = await submit(stack,
			[make({ delay_ms: chance.below(200) })]);

		await until(async () => over() ||
			terminal.has((await stack.api("GET",
				`/api/jobs/${ids.one}`)).json?.status),
		"a job to end", 120);
	}
}

async function run(stack, only, seconds) {
	const sweeps = new Sweeps(only);
	const relay = await Relay.put(stack, sweeps);
	const pollers = Array.from({ length: POLLERS },
		(_, n) => new Poller(stack, `poller-${n + 2}`));
	const fcgi = stack.pid("fcgi");
	const end = Date.now() + seconds * 1000;

	wholeLedger(stack);
	try {
		await Promise.all(Array.from({
			length: only && WEBHOOK.test(only) ? WEBHOOK_FEEDERS :
				FEEDERS,
		}, (_, n) => feed(stack, `cuts ${n}`, only,
			() => sweeps.done || Date.now() > end)));
	} finally {
		relay.spare();
	}
	for (const poller of pollers)
		await poller.stop();
	await quiet(stack, 240);
	await relay.remove(stack);
	const fired = sweeps.tell();

	assert.equal(sweeps.done, only !== undefined, "not at every byte");
	assert.ok(Object.keys(fired).length >= 2);
	assert.equal(stack.pid("fcgi"), fcgi, "rushes-fcgi has ended");
	checkLives(stack);
	await judge(stack, fired);
}

/* Webhooks are to come first. */
const slow = {
	REPLICATE_POLL_FIRST_MS: "3000",
	REPLICATE_POLL_MOST_MS: "3000",
	FAL_POLL_FIRST_MS: "3000",
	FAL_POLL_MOST_MS: "3000",
};

suite("connections to PostgreSQL are cut", { settings: { ...settings, ...slow },
}, (test) => {
	for (const statement of LIFE)
		test(`after each byte of ${statement}`,
			(stack) => run(stack, statement, MOST_S), MOST_S + 300);
	test("anywhere else", (stack) => run(stack, undefined, SAMPLE_S),
		SAMPLE_S + 300);
});
