// SPDX-License-Identifier: MIT
// What moves media, for the case "transfer": a web server that has it, stores
// that take it, our own code in a program of its own, and curl.

import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";

import { root, until } from "../system/stack.mjs";
import { freePort, run } from "./load.mjs";
import { cpuOf } from "./measure.mjs";

const build = path.resolve(root, process.env.BUILD ?? "build");
const script = path.join(root, "tests/support/s3-server.sh");
const PNG = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
const WARM_FACTOR = 1.25; // others take some of it meanwhile
const HELD_MOST = 2 ** 30; // before a store is emptied
const EMPTY = crypto.createHash("sha256").digest("hex");

/**
 * Run a program; @returns {Promise<{seconds, cpu, text}>} its time, its and
 * its children's processor seconds, and what it said
 */
async function timed(file, args, environment = {}) {
	const text = await run("bash", ["--norc", "-c",
		'TIMEFORMAT="%3R %3U %3S"; { time "$@" 2>&3; } 3>&2 2>&1',
		"timed", file, ...args],
	{ env: { PATH: process.env.PATH, ...environment } });
	const lines = text.trimEnd().split("\n");
	const [seconds, user, system] = lines.pop().split(" ").map(Number);

	return { seconds, cpu: user + system, text: lines.join("\n") };
}

// ---- the source -------------------------------------------------------------

/** nginx, sending files from the page cache. */
export class Source {
	constructor(dir) {
		this.dir = path.join(dir, "source");
		this.pid_file = `${dir}.pid`; // stacks.sh looks for that
		this.port = freePort(1);
		fs.mkdirSync(this.dir, { recursive: true });
		fs.chmodSync(this.dir, 0o755);
	}

	async start() {
		fs.writeFileSync(path.join(this.dir, "nginx.conf"), `
			pid ${this.pid_file};
			error_log ${this.dir}/error.log;
			worker_processes 2;
			events { worker_connections 1024; }
			http {
				sendfile on;
				tcp_nopush on;
				access_log off;
				open_file_cache max=16;
				keepalive_requests 1000000;
				types { image/png png; }
				client_body_temp_path ${this.dir}/body;
				proxy_temp_path ${this.dir}/proxy;
				fastcgi_temp_path ${this.dir}/fastcgi;
				uwsgi_temp_path ${this.dir}/uwsgi;
				scgi_temp_path ${this.dir}/scgi;
				server {
					listen 127.0.0.1:${this.port};
					root ${this.dir};
				}
			}`);
		await run("/usr/sbin/nginx", ["-p", `${this.dir}/`, "-c",
			`${this.dir}/nginx.conf`, "-e", `${this.dir}/error.log`]);
		await until(() => fs.existsSync(this.pid_file), "nginx");
		this.pid = Number(fs.readFileSync(this.pid_file));
	}

	/** The URL of a file of so many bytes, which begins as media does. */
	url(bytes) {
		const file = path.join(this.dir, `${bytes}.png`);

		if (!fs.existsSync(file)) {
			const block = crypto.randomBytes(Math.min(bytes, 8 << 20));
			const fd = fs.openSync(file, "w", 0o644);

			PNG.copy(block);
			for (let done = 0; done < bytes; done += block.length)
				fs.writeSync(fd, block);
			fs.closeSync(fd);
		}
		return `http://127.0.0.1:${this.port}/${bytes}.png`;
	}

	cpu() {
		return cpuOf(this.pid);
	}

	stop() {
		process.kill(this.pid);
	}
}

// ---- the stores -------------------------------------------------------------

/** Make the page cache's memory warm, right before it is used: what a virtual
 * machine has not touched costs many times as much, and what is free for some
 * seconds it gives back to its host. */
export async function warmMemory(dir, bytes) {
	const file = path.join(dir, "warm");

	await run("dd", ["if=/dev/zero", `of=${file}`, "bs=1M", "status=none",
		`count=${Math.ceil(bytes * WARM_FACTOR / 2 ** 20)}`]);
	fs.rmSync(file);
}

/** Files give their room back but keep their inodes: ext4 without a journal is
 * slow to find new ones for minutes after many were removed. */
export const emptyFiles = (dir) => run("find",
	[dir, "-type", "f", "-exec", "truncate", "-s", "0", "{}", "+"]);

/** A folder. */
export class FileStore {
	constructor(dir) {
		this.name = "file";
		this.parent = path.join(dir, "store");
		this.count = 0;
		fs.mkdirSync(this.parent);
	}

	/** A new folder. */
	async empty() {
		if (this.dir)
			await emptyFiles(this.dir);
		this.dir = path.join(this.parent, String(this.count++));
		fs.mkdirSync(this.dir);
	}

	settings() {
		return { STORE_URL: `file://${this.dir}` };
	}

	file(i) {
		return path.join(this.dir, String(i));
	}

	/** How curl is told to put an object there. */
	upload(i) {
		return [`url = "file://${this.file(i)}"`];
	}

	cpu() {
		return null;
	}
}

/** A Ceph gateway with its storage daemon. */
export class Gateway {
	constructor(dir) {
		this.dir = path.join(dir, "rgw"); // stacks.sh looks for that
		this.port = freePort(3);
		this.secret = crypto.randomBytes(20).toString("hex");
	}

	async start() {
		await run(script, ["start", this.dir, String(this.port), "bench",
			this.secret]);
		await run(script, ["tls", this.dir, String(this.port)]);
		this.pids = fs.readdirSync(path.join(this.dir, "run"))
			.filter((name) => name.endsWith(".pid"))
			.map((name) => Number(fs.readFileSync(
				path.join(this.dir, "run", name), "utf8")));
	}

	cpu() {
		return this.pids.reduce((sum, pid) => sum + cpuOf(pid), 0);
	}

	async stop() {
		await run(script, ["stop", this.dir]);
	}
}

/** A bucket there. */
export class S3Store {
	/**
	 * @param {Gateway} gateway
	 * @param {{version: number, tls?: boolean, signed?: boolean}} how
	 *        signed: by a name, as if it were another machine
	 */
	constructor(gateway, { version, tls, signed }) {
		const port = gateway.port + (tls ? 2 : 0);
		const host = signed ? "s3.localhost" : "127.0.0.1";

		this.name = `S3 v${version}${tls ? " https" : ""}` +
			`${signed ? " signed" : ""}`;
		this.gateway = gateway;
		this.version = version;
		this.ca = tls ? path.join(gateway.dir, "ca.pem") : null;
		this.base = `${tls ? "https" : "http"}://${host}:${port}`;
		this.held = 0;
		this.bucket = `media-v${version}${tls ? "tls" : ""}` +
			`${signed ? "signed" : ""}`;
	}

	/** Room for so many bytes more, and a bucket in any case. */
	async empty(bytes) {
		this.held += bytes;
		if (this.made && this.held <= HELD_MOST)
			return;
		this.held = bytes;
		if (this.made)
			await run(script, ["empty", this.gateway.dir, this.bucket]);
		await run("curl", ["-sSf", "-X", "PUT", "--aws-sigv4",
			"aws:amz:us-east-1:s3", "--user", `bench:${this.gateway.secret}`,
			"-H", `x-amz-content-sha256: ${EMPTY}`,
			...this.ca ? ["--cacert", this.ca] : [],
			`${this.base}/${this.bucket}`]);
		this.made = true;
	}

	settings() {
		return {
			STORE_URL: `s3://${this.bucket}`,
			S3_URL: this.base,
			S3_ACCESS_KEY: "bench",
			S3_SECRET_KEY: this.gateway.secret,
			S3_SIGNATURE: `v${this.version}`,
			...this.ca ? { S3_CA_FILE: this.ca } : {},
		};
	}

	upload(i) {
		const lines = [`url = "${this.base}/${this.bucket}/${i}"`,
			'header = "Content-Type: image/png"'];

		if (this.ca)
			lines.push(`cacert = "${this.ca}"`);
		if (this.version === 2)
			return [...lines, ...this.signed(i)];
		// The whole payload is not known when curl begins to send.
		return [...lines, 'aws-sigv4 = "aws:amz:us-east-1:s3"',
			`user = "bench:${this.gateway.secret}"`,
			'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"'];
	}

	/** curl does not know version 2: signed for it beforehand. */
	signed(i) {
		const date = new Date().toUTCString();
		const signature = crypto.createHmac("sha1", this.gateway.secret)
			.update(`PUT\n\nimage/png\n${date}\n/${this.bucket}/${i}`)
			.digest("base64");

		return [`header = "Date: ${date}"`,
			`header = "Authorization: AWS bench:${signature}"`];
	}

	cpu() {
		return this.gateway.cpu();
	}
}

// ---- those who move it ------------------------------------------------------

function rateOf({ bytes, count }, seen) {
	return bytes * count / 2 ** 20 / seen.seconds;
}

/** Our own code; see transfer.c. */
export async function moveByUs(source, store, what) {
	const seen = await timed(path.join(build, "tests/bench/transfer"),
		[source.url(what.bytes), String(what.count), String(what.atOnce),
			crypto.randomUUID()],
		{
			DATABASE_URL: "postgresql:///none",
			API_BASE_URL: "https://rushes.example",
			WEBHOOK_TOKEN_KEY: crypto.randomBytes(32).toString("base64"),
			ALLOW_LOOPBACK: "1",
			SPOOL_DIR: source.dir,
			TRANSFERS_MAX: String(what.atOnce),
			...store.settings(),
		});
	const said = JSON.parse(seen.text);
	const whole = said.bytes === what.bytes * what.count ? 0 : 1;

	return { ...said, rate: rateOf(what, seen), cpu: seen.cpu,
		errors: said.errors + whole, memory: said.peak_bytes,
		seconds: seen.seconds };
}

/** Processor seconds of hashing a GiB that is in the cache. */
export async function hashingAlone() {
	const text = await run("openssl", ["speed", "-seconds", "1",
		"-bytes", "16384", "-evp", "sha256"]);

	return 2 ** 30 / (Number(/^sha256 +([\d.]+)k/im.exec(text)[1]) * 1000);
}

/** Processor seconds of writing a GiB to a file, durably. */
export async function writingAlone(file) {
	const seen = await timed("dd", ["if=/dev/zero", `of=${file}`, "bs=256K",
		"count=1024", "conv=fsync", "status=none"]);

	return seen.cpu * 4;
}

const REPORT = 'write-out = "%{size_download} %{size_upload}\\n"';
const QUIET = ["silent", "show-error", "fail", REPORT];

/** curl, which downloads files and then uploads them, or pipes each. */
export class Curl {
	constructor(dir, source, store, what) {
		Object.assign(this, { dir: path.join(dir, "curl"), source, store,
			what });
	}

	prepare() {
		fs.rmSync(this.dir, { recursive: true, force: true });
		fs.mkdirSync(this.dir);
	}

	write(name, lines) {
		const file = path.join(this.dir, name);

		fs.writeFileSync(file, `${lines.join("\n")}\n`);
		return file;
	}

	indices() {
		return [...Array(this.what.count).keys()];
	}

	downloads(name, indices, place) {
		return this.write(name, indices.flatMap((i) => ["next", ...QUIET,
			`url = "${this.source.url(this.what.bytes)}"`,
			`output = "${place(i)}"`]).slice(1));
	}

	async measured(commands) {
		const file = this.write("script", ["set -e -o pipefail",
			`cd ${this.dir}`, ...commands]);
		const seen = await timed("bash", ["--norc", file]);
		const moved = seen.text.split("\n").reduce((sum, line) => sum +
			Math.max(...line.split(" ").map(Number)), 0);

		return { rate: rateOf(this.what, seen), cpu: seen.cpu,
			errors: moved === this.expected ? 0 : 1,
			seconds: seen.seconds };
	}

	/** Into files, all in one process, then from there to the store. For a
	 * folder that is all, but for making sure that it is on the disk. */
	async oneAfterTheOther() {
		const { store, what } = this;
		const curl = `curl --no-progress-meter -Z --parallel-max ${what.atOnce} -K`;
		const place = (i) => path.join(this.dir, `file-${i}`);
		const commands = [];

		this.prepare();
		if (store.file) {
			// As many are on their way at once as with ours.
			for (let i = 0; i < what.count; i += what.atOnce) {
				const wave = this.indices().slice(i, i + what.atOnce);
				const files = wave.map((one) => store.file(one));

				commands.push(`${curl} ${this.downloads(`down-${i}`, wave,
					(one) => store.file(one))}`,
				`sync ${files.join(" ")} ${store.dir}`);
			}
			this.expected = what.bytes * what.count;
		} else {
			const up = this.write("up", this.indices().flatMap((i) =>
				["next", ...QUIET, `upload-file = "${place(i)}"`,
					...store.upload(i)]).slice(1));

			commands.push(`${curl} ${this.downloads("down", this.indices(),
				place)}`, `${curl} ${up}`);
			this.expected = 2 * what.bytes * what.count;
		}
		return this.measured(commands);
	}

	/** curl | curl, so many pairs at once. */
	async piped() {
		const { store, what } = this;
		const sync = store.file
			? ` && sync ${store.file("$0")} ${store.dir}` : "";

		this.prepare();
		for (const i of this.indices())
			this.write(`up-${i}`, [...QUIET, ...store.upload(i),
				'upload-file = "-"', ...store.file ? []
					: ['header = "Transfer-Encoding: identity"',
						`header = "Content-Length: ${what.bytes}"`]]);
		this.expected = what.bytes * what.count;
		return this.measured([`seq 0 ${what.count - 1} | xargs -n 1 -P ` +
			`${what.atOnce} sh -c 'curl -sSf ` +
			`${this.source.url(what.bytes)} | curl -K up-$0${sync}'`]);
	}

	/** Downloads alone, to nowhere: what the source can give. */
	async nowhere() {
		this.prepare();
		this.expected = this.what.bytes * this.what.count;
		return this.measured([`curl --no-progress-meter -Z --parallel-max ${this.what.atOnce} ` +
			`-K ${this.downloads("down", this.indices(),
				() => "/dev/null")}`]);
	}

	end() {
		fs.rmSync(this.dir, { recursive: true, force: true });
	}
}
