// SPDX-License-Identifier: MIT
// The official replicate client against the simulator.
import assert from "node:assert/strict";
import { createHash, webcrypto } from "node:crypto";
import { after, before, test } from "node:test";

import Replicate, { parseProgressFromLogs, validateWebhook } from "replicate";
import { Webhook } from "standardwebhooks";

import { startReceiver, startSimulator, sleep, until } from "./sim.mjs";

// Node 18 has no global crypto by default; the SDK asks for one.
globalThis.crypto ??= webcrypto;

let sim, receiver, replicate;

before(async () => {
  sim = await startSimulator();
  receiver = await startReceiver();
  replicate = new Replicate({
    auth: "r8_conformance",
    baseUrl: `${sim.url}/replicate/v1`,
    useFileOutput: false,
  });
});

after(async () => {
  await receiver.stop();
  await sim.stop();
});

const valid = (delivery, secret) => validateWebhook({
  id: delivery.headers["webhook-id"],
  timestamp: delivery.headers["webhook-timestamp"],
  signature: delivery.headers["webhook-signature"],
  body: delivery.body,
  secret,
});

const secretKey = async () =>
  (await replicate.webhooks.default.secret.get()).key;

const create = (input = {}, more = {}) => replicate.predictions.create({
  model: "luma/ray",
  input: { prompt: "a cat", ...input },
  ...more,
});

const completed = (id) => until(`webhook of ${id}`, () =>
  receiver.of(id).find((delivery) => JSON.parse(delivery.body).completed_at));

test("an official model's prediction runs to its end", async () => {
  const begun = await create();
  assert.equal(begun.status, "starting");
  assert.equal(begun.version, "hidden");
  assert.equal(begun.model, "luma/ray");
  assert.equal(begun.output, null);

  const done = await replicate.wait(begun, { interval: 50 });
  assert.equal(done.status, "succeeded");
  assert.match(done.output, /\.mp4$/);
  assert.ok(done.metrics.predict_time > 0);
  assert.deepEqual(done.input, { prompt: "a cat" });
  assert.ok(Date.parse(done.completed_at) >= Date.parse(done.created_at));
});

test("media is what the ledger says it is", async () => {
  const done = await replicate.wait(await create(), { interval: 50 });
  const response = await fetch(done.output);
  const bytes = Buffer.from(await response.arrayBuffer());
  assert.equal(response.headers.get("content-type"), "video/mp4");
  assert.equal(bytes.subarray(4, 8).toString(), "ftyp");
  const { media } = await sim.start(done.id);
  assert.equal(media[0].bytes, bytes.length);
  assert.equal(media[0].sha256,
    createHash("sha256").update(bytes).digest("hex"));
  await until("the download is counted", async () =>
    (await sim.start(done.id)).media[0].complete === 1);
});

test("versions and deployments start as well", async () => {
  const version = "5".repeat(64);
  const byVersion = await replicate.predictions.create({
    version, input: { prompt: "x" },
  });
  assert.equal(byVersion.version, version);
  const deployed = await replicate.deployments.predictions.create(
    "acme", "films", { input: { prompt: "x" } });
  assert.equal(deployed.deployment, "acme/films");
  await assert.rejects(
    replicate.predictions.create({ version: "nonsense", input: {} }),
    (error) => error.response.status === 422);
});

test("run() waits in one request and gives the output", async () => {
  const output = await replicate.run("black-forest-labs/flux-schnell", {
    input: { prompt: "x" },
  });
  assert.ok(Array.isArray(output));
  assert.match(output[0], /\.png$/);
});

test("wait holds the answer until the end", async () => {
  const done = await create({}, { wait: 10 });
  assert.equal(done.status, "succeeded");
  const unfinished = await create({ rushes_sim: { delay_ms: 5000 } },
    { wait: 1 });
  assert.notEqual(unfinished.status, "succeeded");
  await replicate.predictions.cancel(unfinished.id);
});

test("cancel: canceled while running, aborted before it began", async () => {
  const running = await create(
    { rushes_sim: { delay_ms: 60000, queue_ms: 0 } });
  await until("it runs", async () =>
    (await replicate.predictions.get(running.id)).status === "processing");
  assert.equal((await replicate.predictions.cancel(running.id)).status,
    "canceled");
  const queued = await create({ rushes_sim: { queue_ms: 60000,
    delay_ms: 60000 } });
  assert.equal((await replicate.predictions.cancel(queued.id)).status,
    "aborted");
  assert.equal((await sim.start(queued.id)).cancels, 1);
});

test("a failure says why", async () => {
  const begun = await create(
    { rushes_sim: { outcome: "fail", error: "E6716: timeout starting" } });
  await assert.rejects(replicate.wait(begun, { interval: 50 }),
    /E6716: timeout starting/);
  const done = await replicate.predictions.get(begun.id);
  assert.equal(done.status, "failed");
  assert.equal(done.error, "E6716: timeout starting");
  assert.equal(done.output, null);
});

test("logs carry progress", async () => {
  const begun = await create({ rushes_sim: { delay_ms: 1000, queue_ms: 0,
    steps: 4 } });
  const progress = await until("half of it", async () => {
    const now = parseProgressFromLogs(
      await replicate.predictions.get(begun.id));
    return now && now.current >= 2 ? now : null;
  });
  assert.equal(progress.total, 4);
  assert.equal(progress.percentage, progress.current / 4);
});

test("paginate walks the list, newest first, each once", async () => {
  const made = new Set();
  const other = new Replicate({ auth: "r8_lister",
    baseUrl: `${sim.url}/replicate/v1` });
  for (let i = 0; i < 105; i++)
    made.add((await other.predictions.create({
      model: "a/b", input: { i, rushes_sim: { delay_ms: 1 } },
      webhook: "http://127.0.0.1:9/never",
      webhook_events_filter: ["start"],
    })).id);
  const seen = [];
  let pages = 0;
  for await (const page of other.paginate(other.predictions.list)) {
    pages++;
    for (const item of page) {
      assert.equal(item.webhook, "http://127.0.0.1:9/never");
      seen.push(item);
    }
  }
  assert.equal(pages, 2);
  assert.deepEqual(new Set(seen.map((item) => item.id)), made);
  assert.equal(seen.length, 105);
  const times = seen.map((item) => Date.parse(item.created_at));
  assert.deepEqual(times, [...times].sort((a, b) => b - a));
});

test("created_after bounds the list", async () => {
  const first = await create();
  await sleep(5);
  const second = await create();
  const list = await (await fetch(`${sim.url}/replicate/v1/predictions?` +
    `created_after=${encodeURIComponent(first.created_at)}`,
  { headers: { authorization: "Bearer r8_conformance" } })).json();
  assert.deepEqual(list.results.map((item) => item.id), [second.id]);
});

test("webhooks validate with both official validators", async () => {
  const secret = await secretKey();
  const begun = await create({}, {
    webhook: `${receiver.url}/hook?x=1`,
    webhook_events_filter: ["start", "output", "logs", "completed"],
  });
  const last = await completed(begun.id);
  const all = receiver.of(begun.id);
  assert.deepEqual(all.map((one) => JSON.parse(one.body).status),
    ["processing", "processing", "succeeded"]);
  assert.equal(JSON.parse(all[1].body).output.length > 0, true);
  for (const delivery of all) {
    assert.equal(delivery.url, "/hook?x=1");
    assert.equal(await valid(delivery, secret), true);
    new Webhook(secret).verify(delivery.body, delivery.headers);
  }
  assert.equal(JSON.parse(last.body).webhook, `${receiver.url}/hook?x=1`);
  assert.deepEqual(JSON.parse(last.body),
    await replicate.predictions.get(begun.id));
});

test("the default filter is output and completed", async () => {
  const begun = await create({}, { webhook: receiver.url });
  await completed(begun.id);
  assert.equal(receiver.of(begun.id).length, 2);
});

for (const how of ["unsigned", "signature", "key", "body", "stale", "future",
  "malformed", "doubled"]) {
  test(`a delivery forged by "${how}" does not validate`, async () => {
    const secret = await secretKey();
    const begun = await create(
      { rushes_sim: { webhook: { forge: how }, delay_ms: 50 } },
      { webhook: receiver.url, webhook_events_filter: ["completed"] });
    const [forged, genuine] = await until("both deliveries", () => {
      const both = receiver.of(begun.id);
      return both.length === 2 ? both : null;
    });
    assert.equal(JSON.parse(forged.body).error, "forged");
    if (how === "doubled") {
      const names = forged.raw.filter((name, i) => i % 2 === 0 &&
        name.toLowerCase() === "webhook-signature");
      assert.equal(names.length, 2);
    } else {
      assert.throws(() =>
        new Webhook(secret).verify(forged.body, forged.headers));
    }
    assert.equal(JSON.parse(genuine.body).status, "succeeded");
    new Webhook(secret).verify(genuine.body, genuine.headers);
  });
}

test("several signatures in one header validate", async () => {
  const secret = await secretKey();
  const begun = await create(
    { rushes_sim: { webhook: { signatures: 4 } } },
    { webhook: receiver.url, webhook_events_filter: ["completed"] });
  const delivery = await completed(begun.id);
  assert.equal(delivery.headers["webhook-signature"].split(" ").length, 4);
  assert.equal(await valid(delivery, secret), true);
  new Webhook(secret).verify(delivery.body, delivery.headers);
});

test("after a rotation old and new secret verify; then only the new",
  async () => {
    const old = await secretKey();
    await sim.control({ rotate: true });
    const fresh = await secretKey();
    assert.notEqual(fresh, old);
    const hook = { webhook: receiver.url,
      webhook_events_filter: ["completed"] };
    const both = await completed((await create({}, hook)).id);
    new Webhook(old).verify(both.body, both.headers);
    new Webhook(fresh).verify(both.body, both.headers);
    await sim.control({ rotate: "drop" });
    const last = await secretKey();
    const one = await completed((await create({}, hook)).id);
    new Webhook(last).verify(one.body, one.headers);
    assert.throws(() => new Webhook(old).verify(one.body, one.headers));
  });

test("a refused terminal webhook comes again with the same id", async () => {
  let refusals = 2;
  receiver.answer = () => (refusals-- > 0 ? 503 : 200);
  const begun = await create(
    { rushes_sim: { webhook: { retry_first_ms: 20 } } },
    { webhook: receiver.url, webhook_events_filter: ["completed"] });
  const all = await until("three tries", () => {
    const tries = receiver.of(begun.id);
    return tries.length === 3 ? tries : null;
  });
  receiver.answer = () => 200;
  assert.equal(new Set(all.map((one) => one.headers["webhook-id"])).size, 1);
  const start = await until("it is recorded", async () => {
    const now = await sim.start(begun.id);
    return now.deliveries.length === 3 ? now : null;
  });
  assert.deepEqual(start.deliveries.map((one) => one.answer),
    [503, 503, 200]);
});

test("dropped, copied, reordered and late webhooks", async () => {
  const hook = { webhook: receiver.url };
  const dropped = await create({ rushes_sim: { webhook: { drop: true } } },
    hook);
  const copied = await create({ rushes_sim: { webhook: { copies: 3 } } },
    { ...hook, webhook_events_filter: ["completed"] });
  const mixed = await create({ rushes_sim: { webhook: { reorder: true } } },
    { ...hook, webhook_events_filter: ["start", "completed"] });
  const late = await create({ rushes_sim: { webhook: { late_ms: 600 } } },
    { ...hook, webhook_events_filter: ["completed"] });
  const ended = await replicate.wait(late, { interval: 20 });
  const delivery = await completed(late.id);
  assert.ok(delivery.at - Date.parse(ended.completed_at) >= 590);
  const copies = receiver.of(copied.id);
  assert.equal(copies.length, 3);
  assert.equal(new Set(copies.map((one) =>
    one.headers["webhook-id"])).size, 1);
  assert.deepEqual(receiver.of(mixed.id).map((one) =>
    JSON.parse(one.body).status), ["succeeded", "processing"]);
  assert.equal(receiver.of(dropped.id).length, 0);
});

test("an early webhook is answered before the start is", async () => {
  const begun = await create(
    { rushes_sim: { webhook: { early: true }, delay_ms: 60000 } },
    { webhook: receiver.url, webhook_events_filter: ["completed"] });
  const answeredAt = Date.now();
  assert.equal(begun.status, "starting");
  const [delivery] = receiver.of(begun.id);
  assert.ok(delivery.at <= answeredAt);
  assert.equal(JSON.parse(delivery.body).status, "succeeded");
});

test("the SDK repeats 429, each refusal unpaid", async () => {
  const before = (await sim.ledger("?totals=1")).totals.replicate;
  const begun = await create({ rushes_sim: {
    start: { status: 429, times: 2, retry_after_s: 0 } } });
  assert.equal(begun.status, "starting");
  const totals = (await sim.ledger("?totals=1")).totals.replicate;
  assert.equal(totals.starts, before.starts + 1);
  assert.equal(totals.refused, before.refused + 2);
});

for (const [status, title] of [[401, "Unauthenticated"],
  [402, "Insufficient credit"], [422, "Input validation failed"],
  [500, "Internal Server Error"]]) {
  test(`a start refused with ${status} reads like the real one`, async () => {
    await assert.rejects(create({ rushes_sim: { start: { status } } }),
      (error) => {
        assert.equal(error.response.status, status);
        assert.ok(error.message.includes(title), error.message);
        return true;
      });
  });
}

test("a lost answer is one paid start that the list still shows",
  async () => {
    // Not by the SDK: it repeats a start whose answer is lost, and pays for
    // each.
    const other = new Replicate({ auth: "r8_lost",
      baseUrl: `${sim.url}/replicate/v1` });
    await assert.rejects(fetch(
      `${sim.url}/replicate/v1/models/a/b/predictions`, {
        method: "POST",
        headers: { authorization: "Bearer r8_lost" },
        body: JSON.stringify({
          webhook: "http://127.0.0.1:9/lost",
          input: { rushes_sim: { start: { drop: "after" } } },
        }),
      }));
    const { results } = await other.predictions.list();
    assert.equal(results.length, 1);
    assert.equal(results[0].webhook, "http://127.0.0.1:9/lost");
    assert.equal((await sim.start(results[0].id)).answered, false);
    assert.equal(sim.ledgerLines().filter((line) =>
      line.event === "start" && line.id === results[0].id).length, 1);
  });

test("accounts do not see each other's predictions", async () => {
  const mine = await create();
  const other = new Replicate({ auth: "r8_other",
    baseUrl: `${sim.url}/replicate/v1` });
  await assert.rejects(other.predictions.get(mine.id),
    (error) => error.response.status === 404);
});

test("a mistyped word is refused by name", async () => {
  await assert.rejects(create({ rushes_sim: { dealy_ms: 1 } }),
    /dealy_ms/);
  await assert.rejects(sim.control({ all: { start: { stauts: 500 } } }),
    /stauts/);
});
