// SPDX-License-Identifier: MIT
// A relay in the place of PostgreSQL's socket. It knows as much of the
// protocol as it takes to say which statement a byte belongs to, and cuts a
// connection after any byte, in either direction.

import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";

/* One connection's bytes, cut into messages. */
class Messages {
	constructor(typed) {
		this.rest = Buffer.alloc(0);
		this.typed = typed; // a client's first message has no type
	}

	/** @returns the whole messages of all that came: [type, bytes] */
	take(bytes) {
		const found = [];

		this.rest = Buffer.concat([this.rest, bytes]);
		for (;;) {
			const head = this.typed ? 1 : 0;

			if (this.rest.length < head + 4)
				return found;
			const size = head + this.rest.readUInt32BE(head);

			if (this.rest.length < size)
				return found;
			found.push([head ? String.fromCharCode(this.rest[0]) : "",
				this.rest.subarray(0, size)]);
			this.rest = this.rest.subarray(size);
			this.typed = true;
		}
	}
}

/* What a Bind is for: its statement, and which events the moves in it are,
 * whatever form of the statement they take. */
function nameOf(bytes) {
	const statement = bytes.toString("latin1", 6, bytes.indexOf(0, 6));

	if (!statement.startsWith("job_move"))
		return statement;
	const events = new Set([...bytes.toString("latin1")
		.matchAll(/"event":\s*"(\w+)"/g)].map(([, event]) => event));

	return `job_move ${[...events].sort().join("+")}`;
}

/* From one Sync to the next: a question whole, an answer whole. */
class Link {
	constructor(client, relay) {
		this.client = client;
		this.relay = relay;
		this.server = net.connect(relay.target);
		this.questions = new Messages(false);
		this.answers = new Messages(true);
		this.question = [];
		this.answer = [];
		this.user = "";
		this.open = []; // questions whose answers are to come
		this.cut = false;
		for (const socket of [client, this.server]) {
			socket.on("error", () => {});
			socket.on("close", () => this.close());
		}
		client.on("data", (bytes) => this.ask(bytes));
		this.server.on("data", (bytes) => this.tell(bytes));
	}

	close() {
		this.client.destroy();
		// a question that was asked whole is answered, to whom it may be
		if (this.cut === "question")
			setTimeout(() => this.server.destroy(), 500);
		else
			this.server.destroy();
		this.relay.links.delete(this);
	}

	ask(bytes) {
		if (this.cut)
			return;
		for (const [type, message] of this.questions.take(bytes)) {
			this.question.push(message);
			if (type === "")
				this.user = /user\0(\w+)/.exec(
					message.toString("latin1"))?.[1] ?? "";
			if (type === "B")
				this.name = nameOf(message);
			if (type === "P")
				this.name = "prepare";
			if (["", "S", "Q", "X"].includes(type))
				this.forward(type);
		}
	}

	/* A whole question, unless it is to be cut. */
	forward(type) {
		const whole = Buffer.concat(this.question);
		const name = type === "" ? "connect" : this.name ?? "end";

		this.question = [];
		if (type === "X" || this.cut) {
			this.server.write(whole);
			return;
		}
		const key = `${this.user.replace("rushes_", "")} ${name}`;
		const at = this.relay.cutQuestion(key, whole.length);

		this.open.push(key);
		if (at === null) {
			this.server.write(whole);
			return;
		}
		this.cut = at === whole.length ? "question" : "before";
		this.server.write(whole.subarray(0, at), () => this.close());
	}

	tell(bytes) {
		if (this.cut)
			return;
		const done = this.answers.take(bytes);

		for (const [type, message] of done) {
			this.answer.push(message);
			if (type !== "Z" || this.cut)
				continue;
			const whole = Buffer.concat(this.answer);
			const key = this.open.shift();
			const at = this.relay.cutAnswer(key, whole.length);

			this.answer = [];
			if (at === null) {
				this.client.write(whole);
				continue;
			}
			this.cut = "answer";
			this.client.write(whole.subarray(0, at),
				() => this.close());
		}
		// errors that end a connection have no answer around them
		if (this.open.length === 0 && this.answer.length > 0) {
			this.client.write(Buffer.concat(this.answer));
			this.answer = [];
		}
	}
}

export class Relay {
	/**
	 * Take the place of a stack's database: its own socket gets another
	 * port, and stack.database as well, so that looking is not disturbed.
	 *
	 * @param cuts  { question(key, bytes), answer(key, bytes) }: after which
	 *	byte to cut, or null
	 */
	static async put(stack, cuts) {
		const relay = new Relay();
		const dir = new URL(stack.database.replace("postgresql:///",
			"http://x/")).searchParams.get("host");
		const place = path.join(dir, ".s.PGSQL.5432");

		relay.target = path.join(dir, ".s.PGSQL.5433");
		fs.renameSync(place, relay.target);
		stack.database += "&port=5433";
		relay.cuts = cuts;
		relay.links = new Set();
		relay.server = net.createServer((client) =>
			relay.links.add(new Link(client, relay)));
		relay.server.listen(place);
		await new Promise((resolve, reject) => {
			relay.server.once("listening", resolve);
			relay.server.once("error", reject);
		});
		fs.chmodSync(place, 0o777);
		relay.place = place;
		// whoever is connected already comes again, through us
		const [{ ended }] = await stack.query(`
			SELECT count(pg_terminate_backend(pid)) AS ended
			  FROM pg_stat_activity WHERE usename LIKE 'rushes_%'`);

		assert.ok(ended > 0);
		return relay;
	}

	cutQuestion(key, bytes) {
		return this.cuts?.question(key, bytes) ?? null;
	}

	cutAnswer(key, bytes) {
		return this.cuts?.answer(key, bytes) ?? null;
	}

	/** Only pass on from now on. */
	spare() {
		this.cuts = null;
	}

	async remove(stack) {
		this.spare();
		this.server.close();
		for (const link of this.links)
			link.close();
		fs.rmSync(this.place, { force: true });
		fs.renameSync(this.target, this.place);
		stack.database = stack.database.replace("&port=5433", "");
	}
}
