// SPDX-License-Identifier: MIT
// A network and mounts of a test file's own: what it drops, resolves or routes
// concerns nobody else. No root is needed where the kernel lets users have
// namespaces, which Debian 12's does.

import { spawnSync } from "node:child_process";
import process from "node:process";

const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

/** Run a program in here. @returns what it printed */
export function must(program, ...args) {
	const done = spawnSync(program, args, {
		encoding: "utf8",
		env: { ...process.env, PATH },
	});

	if (done.status !== 0)
		throw new Error(`${[program, ...args].join(" ")}: ` +
			`${done.error ?? done.stderr}`);
	return done.stdout;
}

/** First of all in a test file: go there, and be here again. */
export function alone() {
	if (process.env.RUSHES_ALONE) {
		must("ip", "link", "set", "lo", "up");
		return;
	}
	const user = process.getuid() === 0 ? [] :
		["--user", "--map-current-user", "--keep-caps"];
	const done = spawnSync("unshare", [...user, "--net", "--mount",
		"setpriv", "--pdeathsig", "TERM", process.execPath,
		...process.execArgv, process.argv[1]], {
		stdio: "inherit",
		env: { ...process.env, RUSHES_ALONE: "1" },
	});

	if (done.error)
		throw done.error;
	process.exit(done.status ?? 1);
}
