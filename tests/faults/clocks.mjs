// SPDX-License-Identifier: MIT
// Clocks that can be set while a program runs: clock.c is loaded ahead of it,
// and told by a file what to add.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { build } from "../system/stack.mjs";

const library = path.join(build, "tests/faults/clock.so");

export const DAY_S = 24 * 60 * 60;

export class Clocks {
	/** One for each of these names. */
	constructor(...names) {
		this.dir = fs.mkdtempSync(path.join(fs.realpathSync(
			process.env.SYSTEM_TMP ?? os.tmpdir()), "rushes-clocks-"));
		// PostgreSQL runs as somebody else when we are root
		fs.chmodSync(this.dir, 0o711);
		for (const name of names)
			this.set(name, 0);
	}

	/** Set one: so many seconds ahead of, or behind, what it should be. */
	set(name, seconds) {
		const file = path.join(this.dir, name);

		fs.writeFileSync(`${file}.new`, `${seconds}\n`);
		fs.renameSync(`${file}.new`, file);
	}

	/** What makes a program go by it. */
	environment(name) {
		return {
			LD_PRELOAD: library,
			CLOCK_FILE: path.join(this.dir, name),
		};
	}

	/** Settings of a stack whose two programs have a clock each. */
	programs() {
		const folder = path.join(this.dir, "build");

		fs.mkdirSync(folder);
		for (const name of ["rushes-activator", "rushes-simulator"])
			fs.symlinkSync(path.join(build, name),
				path.join(folder, name));
		for (const name of ["fcgi", "poller"])
			fs.writeFileSync(path.join(folder, `rushes-${name}`),
				`#!/bin/sh\n${Object.entries(this.environment(name))
					.map(([key, value]) => `${key}=${value} `)
					.join("")}exec ${build}/rushes-${name} "$@"\n`,
				{ mode: 0o755 });
		return { BUILD: folder };
	}

	/** Is it what this process goes by? */
	rules(pid) {
		return fs.readFileSync(`/proc/${pid}/maps`, "utf8")
			.includes(library);
	}

	remove() {
		fs.rmSync(this.dir, { recursive: true, force: true });
	}
}
