// SPDX-License-Identifier: MIT
// A stack whose two programs run with shim.c loaded ahead of them, and with
// limits of their own. Nothing else of the stack notices.

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { build } from "../system/stack.mjs";

const shim = path.join(build, "tests/faults/shim.so");

/** Sanitizers bring functions of the shim's names. */
export const skip = /asan|tsan/.test(build) &&
	"a sanitizer has its own malloc() and read()";

export class Preload {
	constructor() {
		// the loader would only say so, and go on
		assert.ok(fs.existsSync(shim), `${shim} is missing: make shim`);
		this.dir = fs.mkdtempSync(path.join(fs.realpathSync(
			process.env.SYSTEM_TMP ?? os.tmpdir()), "shim-"));
		for (const name of ["rushes-activator", "rushes-simulator"])
			fs.symlinkSync(path.join(build, name),
				path.join(this.dir, name));
		for (const name of ["fcgi", "poller"]) {
			fs.mkdirSync(this.path(name));
			// node ignores SIGXFSZ, and so would all that it starts
			fs.writeFileSync(
				path.join(this.dir, `rushes-${name}`),
				`#!/bin/sh
[ ! -e ${this.path(name)}/limits ] || . ${this.path(name)}/limits
exec env --default-signal=XFSZ SHIM_DIR=${this.path(name)} \\
	LD_PRELOAD=${shim} ${build}/rushes-${name} "$@"
`, { mode: 0o755 });
		}
	}

	/** What the stack is to be started with. */
	get settings() {
		return { BUILD: this.dir };
	}

	path(program, file = "") {
		return path.join(this.dir, program, file);
	}

	/** What the program shall do in its next lives: see shim.c. */
	plan(program, text) {
		fs.rmSync(this.path(program, "fired"), { force: true });
		fs.writeFileSync(this.path(program, "plan.new"), text);
		fs.renameSync(this.path(program, "plan.new"),
			this.path(program, "plan"));
	}

	forget(program) {
		fs.rmSync(this.path(program, "plan"), { force: true });
	}

	/** Shell commands before the program starts, as "ulimit -n 20". */
	limit(program, commands) {
		fs.writeFileSync(this.path(program, "limits"), commands);
	}

	unlimit(program) {
		fs.rmSync(this.path(program, "limits"), { force: true });
	}

	/** @returns lines of what it did, oldest first */
	read(program, file) {
		try {
			return fs.readFileSync(this.path(program, file), "utf8")
				.split("\n").filter(Boolean);
		} catch {
			return [];
		}
	}

	remove() {
		fs.rmSync(this.dir, { recursive: true, force: true });
	}
}
