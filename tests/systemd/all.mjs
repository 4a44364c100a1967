// SPDX-License-Identifier: MIT
// One host, from its installation to its end. Tests run in the order in which
// they stand here: each finds what those before it have left.

import { after } from "node:test";

import { host } from "./test.mjs";
import "./setup.mjs";
import "./flows.mjs";
import "./secrets.mjs";
import "./restarts.mjs";
import "./hangs.mjs";
import "./boots.mjs";
import "./upgrade.mjs";

after(async () => {
	await host.keep();
	await host.stop();
});
