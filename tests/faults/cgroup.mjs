// SPDX-License-Identifier: MIT
// A limit on the memory of some processes, which the kernel enforces by
// killing them: cgroups of version 2, or of version 1.

import fs from "node:fs";
import path from "node:path";

const first = "/sys/fs/cgroup/memory";
const second = "/sys/fs/cgroup";

export class MemoryLimit {
	/** @returns one; null where we may make none */
	static make(name) {
		for (const [root, version] of [[second, 2], [first, 1]]) {
			const dir = path.join(root, `rushes-${name}-${process.pid}`);

			if (!fs.existsSync(path.join(root, version === 2 ?
				"cgroup.controllers" : "memory.usage_in_bytes")))
				continue;
			try {
				if (version === 2)
					fs.writeFileSync(path.join(root,
						"cgroup.subtree_control"), "+memory");
				fs.mkdirSync(dir);
				return new MemoryLimit(dir, version);
			} catch {
				continue;
			}
		}
		return null;
	}

	constructor(dir, version) {
		this.dir = dir;
		this.version = version;
	}

	/** What a shell does to belong to it. */
	get join() {
		return `echo $$ >${this.dir}/cgroup.procs`;
	}

	write(file, value) {
		fs.writeFileSync(path.join(this.dir, file), `${value}`);
	}

	set(bytes) {
		if (this.version === 1) {
			this.write("memory.limit_in_bytes", bytes);
			return;
		}
		this.write("memory.max", bytes);
		if (fs.existsSync(path.join(this.dir, "memory.swap.max")))
			this.write("memory.swap.max", 0);
	}

	/** How often the kernel killed in it. */
	kills() {
		const text = fs.readFileSync(path.join(this.dir,
			this.version === 1 ? "memory.oom_control" :
				"memory.events"), "utf8");

		return Number(/^oom_kill (\d+)/m.exec(text)?.[1] ?? 0);
	}

	/** Whoever is in it goes on without a limit. */
	remove() {
		for (const pid of fs.readFileSync(path.join(this.dir,
			"cgroup.procs"), "utf8").split("\n").filter(Boolean)) {
			try {
				fs.writeFileSync(path.join(this.dir,
					"../cgroup.procs"), pid);
			} catch {
				// it has just ended
			}
		}
		fs.rmdirSync(this.dir);
	}
}
