// SPDX-License-Identifier: MIT
// A simulator of one's own, and a receiver for its webhooks.
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)),
  "../..");
const program = process.env.SIMULATOR ??
  path.join(root, "build", "rushes-simulator");

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Wait until probe() gives something true; fail loudly if it never does. */
export async function until(what, probe, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await sleep(20);
  }
}

/** Start a simulator on a free port; stop() ends it and checks its exit. */
export async function startSimulator(...options) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "rushes-sdk-"));
  const portFile = path.join(folder, "port");
  const accountFile = path.join(folder, "account.json");
  const child = spawn(program, [
    "--port", "0", "--port-file", portFile, "--service-account", accountFile,
    "--ledger", path.join(folder, "ledger.jsonl"), "--delay-ms", "300",
    "--quiet", ...options,
  ], { stdio: ["ignore", "ignore", "inherit"] });
  const ended = once(child, "exit");
  await until("the simulator listens", () => {
    if (child.exitCode !== null) throw new Error("the simulator ended");
    return fs.existsSync(portFile);
  });
  const url = `http://127.0.0.1:${fs.readFileSync(portFile, "utf8").trim()}`;
  const post = async (route, body) => {
    const response = await fetch(url + route, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok)
      throw new Error(`${route}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  return {
    url,
    accountFile,
    account: JSON.parse(fs.readFileSync(accountFile, "utf8")),
    ledgerLines: () => fs.readFileSync(path.join(folder, "ledger.jsonl"),
      "utf8").trim().split("\n").map((line) => JSON.parse(line)),
    control: (body) => post("/_control", body),
    ledger: async (query = "") =>
      (await fetch(`${url}/_ledger${query}`)).json(),
    start: async (id) =>
      (await (await fetch(`${url}/_ledger?id=${id}`)).json()).starts[0],
    stop: async () => {
      child.kill("SIGTERM");
      const [code, signal] = await ended;
      fs.rmSync(folder, { recursive: true });
      if (code !== 0) throw new Error(`simulator: exit ${code} ${signal}`);
    },
  };
}

/** An HTTP server that keeps what it is sent; answer() may be replaced. */
export async function startReceiver() {
  const got = [];
  const receiver = { got, answer: () => 200 };
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const delivery = {
      url: request.url,
      headers: request.headers,
      raw: request.rawHeaders,
      body: Buffer.concat(parts).toString(),
      at: Date.now(),
    };
    got.push(delivery);
    response.statusCode = receiver.answer(delivery);
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  receiver.url = `http://127.0.0.1:${server.address().port}`;
  receiver.of = (id) => got.filter((delivery) => delivery.body.includes(id));
  receiver.stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return receiver;
}
