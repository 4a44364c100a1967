// SPDX-License-Identifier: MIT
// A session of psql that is kept open: looking at the database now and then
// must not cost a connection each time.

import { execFileSync, spawn } from "node:child_process";
import path from "node:path";

export class Psql {
	constructor(database) {
		const bindir = execFileSync("pg_config", ["--bindir"],
			{ encoding: "utf8" }).trim();

		this.text = "";
		this.complaint = "";
		this.child = spawn(path.join(bindir, "psql"),
			["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database]);
		this.child.stdout.setEncoding("utf8").on("data", (text) => {
			this.text += text;
			if (this.text.endsWith("\x01\n"))
				this.answer?.();
		});
		this.child.stderr.setEncoding("utf8").on("data", (text) => {
			this.complaint += text;
		});
		this.child.on("exit", () => this.answer?.());
	}

	/** Rows of a statement, each a list of texts. */
	async rows(sql) {
		const answered = new Promise((resolve) => {
			this.answer = resolve;
		});

		this.text = "";
		this.child.stdin.write(`${sql};\n\\echo '\\001'\n`);
		await answered;
		if (!this.text.endsWith("\x01\n"))
			throw new Error(`psql has ended: ${this.complaint}`);
		return this.text.slice(0, -2).split("\n").filter(Boolean)
			.map((line) => line.split("|"));
	}

	/** The first column of the first row, as a number. */
	async number(sql) {
		return Number((await this.rows(sql))[0]?.[0]);
	}

	end() {
		this.child.stdin.end();
	}
}
