// SPDX-License-Identifier: MIT
// The simulator misbehaves exactly as docs/SIMULATOR.md says.
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import http from "node:http";
import { after, before, beforeEach, test } from "node:test";

import { startReceiver, startSimulator, sleep, until } from "./sim.mjs";

let sim, receiver;

before(async () => {
  sim = await startSimulator();
  receiver = await startReceiver();
});

beforeEach(() => sim.control({ reset: true }));

after(async () => {
  await receiver.stop();
  await sim.stop();
});

/** One exchange on a connection of its own, or on the agent's. */
function exchange(method, url, { headers = {}, body, agent = false } = {}) {
  return new Promise((done, fail) => {
    const options = { method, agent, headers };
    const request = http.request(url, options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      const finish = (complete) => {
        const bytes = Buffer.concat(parts);
        let json;
        try { json = JSON.parse(bytes); } catch { /* not JSON */ }
        done({ status: response.statusCode, headers: response.headers, bytes,
          json, complete });
      };
      response.on("end", () => finish(response.complete));
      response.on("error", () => finish(false));
    });
    request.on("error", fail);
    request.end(body);
  });
}

const bearer = { authorization: "Bearer tok" };
const key = { authorization: "Key a:b" };

const start = (words, more = {}, agent = false) => exchange("POST",
  `${sim.url}/replicate/v1/models/luma/ray/predictions`, {
    headers: bearer, agent,
    body: JSON.stringify({ input: { prompt: "x", rushes_sim: words },
      ...more }),
  });

const get = (id) => exchange("GET",
  `${sim.url}/replicate/v1/predictions/${id}`, { headers: bearer });

const finished = async (words, more) => {
  const { json } = await start({ delay_ms: 20, ...words }, more);
  return until("it ends", async () => {
    const now = (await get(json.id)).json;
    return now.completed_at ? now : null;
  });
};

const paid = async () =>
  (await sim.ledger("?totals=1")).totals.replicate.starts;

test("an answer lost after acceptance is one paid start", async () => {
  await assert.rejects(start({ start: { drop: "after" } }));
  const { starts } = await sim.ledger();
  assert.equal(starts.length, 1);
  assert.equal(starts[0].answered, false);
});

test("a connection closed before acceptance costs nothing", async () => {
  await assert.rejects(start({ start: { drop: "before" } }));
  await sim.control({ replicate: { start: { drop: "before", times: 1 } } });
  await assert.rejects(start({}));
  assert.equal(await paid(), 0);
  assert.equal((await start({})).status, 201);
  assert.equal(await paid(), 1);
});

test("half an answer is an accepted start", async () => {
  const answer = await start({ start: { drop: "partial" } });
  assert.equal(answer.complete, false);
  assert.equal(answer.json, undefined);
  assert.equal(await paid(), 1);
});

test("a reused connection dies under a start; a new one does not",
  async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    await sim.control({ replicate: { start: { drop: "reused", times: 1 } } });
    assert.equal((await start({}, {}, agent)).status, 201);
    await assert.rejects(start({}, {}, agent));
    assert.equal(await paid(), 2);
    assert.equal((await start({}, {}, agent)).status, 201);
    assert.equal((await start({}, {}, agent)).status, 201);
    assert.equal(await paid(), 4);
    agent.destroy();
  });

test("a hang accepts, and gives the answer to nobody", async () => {
  const outcome = await Promise.race([
    start({ start: { hang: true } }).catch(() => "closed"),
    sleep(300).then(() => "hangs"),
  ]);
  assert.equal(outcome, "hangs");
  assert.equal(await paid(), 1);
});

test("a 5xx may have been accepted, or not", async () => {
  assert.equal((await start({ start: { status: 503 } })).status, 503);
  assert.equal(await paid(), 0);
  assert.equal((await start({ start: { status: 500, accepted: true } }))
    .status, 500);
  assert.equal(await paid(), 1);
});

test("answers that are none", async () => {
  const garbage = await start({ start: { answer: "garbage" } });
  assert.equal(garbage.status, 201);
  assert.equal(garbage.json, undefined);
  const empty = await start({ start: { answer: "empty" } });
  assert.equal(empty.bytes.length, 0);
  const anonymous = await start({ start: { answer: "no_id" } });
  assert.equal(anonymous.json.id, undefined);
  const huge = await start({ start: { answer: "huge" } });
  assert.ok(huge.bytes.length > 2 << 20);
  assert.equal(await paid(), 4);
});

test("every way to say when to come back", async () => {
  const refuse = (form) => start({ start: { status: 429, retry_after_s: 7,
    retry_after_form: form } });
  assert.equal((await refuse("seconds")).headers["retry-after"], "7");
  const date = (await refuse("date")).headers["retry-after"];
  assert.match(date, /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
  assert.ok(Math.abs(Date.parse(date) - Date.now() - 7000) < 2000);
  assert.equal((await refuse("fraction")).headers["retry-after"], "7.5");
  assert.match((await refuse("rfc850")).headers["retry-after"],
    /^\w{6,9}, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT$/);
  assert.match((await refuse("asctime")).headers["retry-after"],
    /^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}$/);
  assert.equal((await refuse("body")).json.retry_after, 7);
  assert.match((await refuse("text")).json.detail, /resets in ~7s\.$/);
  assert.equal((await refuse("reset")).headers["ratelimit-reset"], "7");
  const none = await refuse("none");
  assert.equal(none.headers["retry-after"], undefined);
  assert.equal(await paid(), 0);
});

test("times count per job of ours, and go on over its attempts",
  async () => {
    const words = { start: { status: 503, times: 2 } };
    const hook = (job, attempt) => ({ webhook:
      `http://127.0.0.1:9/api/webhooks/job/${job}/${attempt}.tok` });
    const one = randomUUID(), other = randomUUID();
    assert.equal((await start(words, hook(one, 1))).status, 503);
    assert.equal((await start(words, hook(other, 1))).status, 503);
    assert.equal((await start(words, hook(one, 2))).status, 503);
    assert.equal((await start(words, hook(one, 3))).status, 201);
    const { starts } = await sim.ledger(`?job=${one}`);
    assert.equal(starts.length, 1);
    assert.equal(starts[0].attempt, 3);
  });

test("after lets some pass first", async () => {
  await sim.control({ all: { start: { status: 500, after: 2, times: 1 } } });
  const got = [];
  for (let i = 0; i < 4; i++) got.push((await start({ key: "k" })).status);
  assert.deepEqual(got, [201, 201, 500, 201]);
});

test("polls fail as told, then tell the truth", async () => {
  const { json } = await start({ delay_ms: 10,
    poll: { status: 502, times: 2 } });
  assert.equal((await get(json.id)).status, 502);
  assert.equal((await get(json.id)).status, 502);
  assert.equal((await get(json.id)).status, 200);
});

test("scripted, unknown and regressing statuses", async () => {
  const { json } = await start({ delay_ms: 10, statuses:
    ["starting", "processing", "starting", "pondering"], regress: 2 });
  await sleep(50);
  const seen = [];
  for (let i = 0; i < 8; i++) seen.push((await get(json.id)).json.status);
  assert.deepEqual(seen, ["starting", "processing", "starting", "pondering",
    "succeeded", "processing", "processing", "succeeded"]);
  const odd = await start({ delay_ms: 60000, queue_ms: 0,
    unknown_status: "dreaming" });
  assert.equal((await get(odd.json.id)).json.status, "dreaming");
});

test("vanished, removed, empty-handed", async () => {
  const gone = await start({ outcome: "vanish" });
  assert.equal(gone.status, 201);
  assert.equal((await get(gone.json.id)).status, 404);
  const nothing = await finished({ outcome: "nothing" });
  assert.equal(nothing.status, "succeeded");
  assert.equal(nothing.output, null);
  const removed = await finished({ retention_ms: 0 });
  assert.equal(removed.data_removed, true);
  assert.equal(removed.output, null);
});

test("a job that never ends is steered from outside", async () => {
  const { json } = await start({ outcome: "never", delay_ms: 10 },
    { webhook: `${receiver.url}/steer` });
  await sleep(60);
  assert.equal((await get(json.id)).json.status, "processing");
  await sim.control({ job: json.id, end: "succeed" });
  assert.equal((await get(json.id)).json.status, "succeeded");
  await until("its webhook", () => receiver.of(json.id).length === 2);
  await sim.control({ job: json.id, deliver: {} });
  await until("another", () => receiver.of(json.id).length === 3);
  await assert.rejects(sim.control({ job: "nobody", end: "fail" }), /404/);
});

test("a cancel can be ignored", async () => {
  const { json } = await start({ delay_ms: 300, ignore_cancel: true });
  await exchange("POST",
    `${sim.url}/replicate/v1/predictions/${json.id}/cancel`,
    { headers: bearer });
  await until("it succeeds", async () =>
    (await get(json.id)).json.status === "succeeded");
});

test("lists lag, hide and omit", async () => {
  const list = async () => (await exchange("GET",
    `${sim.url}/replicate/v1/predictions`, { headers: bearer }))
    .json.results;
  await start({}, { webhook: "http://127.0.0.1:9/x",
    webhook_events_filter: ["completed"] });
  await sim.control({ replicate: { list: { hide: true } } });
  assert.equal((await list()).length, 0);
  await sim.control({ replicate: { list: { lag_ms: 60000 } } });
  assert.equal((await list()).length, 0);
  await sim.control({ replicate: { list: { omit_webhook: true } } });
  assert.equal((await list())[0].webhook, undefined);
  await sim.control({ replicate: null });
  assert.equal((await list())[0].webhook, "http://127.0.0.1:9/x");
});

test("media: its size, and the same bytes each time", async () => {
  for (const bytes of [0, 50, 5000, 300000, 3000001]) {
    const { output } = await finished({ media: { bytes } });
    const [one, two] = [await exchange("GET", output),
      await exchange("GET", output)];
    assert.equal(one.bytes.length, bytes);
    assert.equal(one.headers["content-length"], String(bytes));
    assert.ok(one.bytes.equals(two.bytes));
    if (bytes > 100) assert.equal(one.bytes.toString("latin1", 4, 8), "ftyp");
    const { starts } = await sim.ledger(`?limit=1`);
    assert.equal(starts[0].media[0].sha256,
      createHash("sha256").update(one.bytes).digest("hex"));
  }
});

test("media of two jobs differ, even when small", async () => {
  const [one, two] = [await finished({ media: { bytes: 1000 } }),
    await finished({ media: { bytes: 1000 } })];
  assert.ok(!(await exchange("GET", one.output)).bytes.equals(
    (await exchange("GET", two.output)).bytes));
});

test("media cut in each way", async () => {
  for (const [length, complete] of [["known", false], ["chunked", false],
    ["close", true]]) {
    const { output, id } = await finished(
      { media: { bytes: 400000, cut: 150000, length } });
    const got = await exchange("GET", output);
    assert.equal(got.status, 200);
    assert.equal(got.bytes.length, 150000, length);
    assert.equal(got.complete, complete, length);
    await until("it is counted as served, not as complete", async () => {
      const { media: [file] } = await sim.start(id);
      return file.served === 1 && file.complete === 0;
    });
  }
});

test("media without a length, whole", async () => {
  for (const length of ["chunked", "close"]) {
    const { output, id } = await finished({ media: { length } });
    const got = await exchange("GET", output);
    assert.equal(got.headers["content-length"], undefined);
    assert.equal(got.headers["transfer-encoding"],
      length === "chunked" ? "chunked" : undefined);
    assert.equal(got.complete, true);
    const { media: [file] } = await sim.start(id);
    assert.equal(createHash("sha256").update(got.bytes).digest("hex"),
      file.sha256);
  }
});

test("media slow, stalled, of a wrong type, refused, redirected",
  async () => {
    const slow = await finished({ media: { bytes: 50000, rate: 100000 } });
    const begun = Date.now();
    assert.equal((await exchange("GET", slow.output)).bytes.length, 50000);
    assert.ok(Date.now() - begun >= 400);

    const stalled = await finished({ media: { bytes: 50000, stall: 100 } });
    assert.equal(await Promise.race([
      exchange("GET", stalled.output).catch(() => "closed"),
      sleep(300).then(() => "stalls")]), "stalls");

    const html = await finished({ media: { kind: "html" } });
    const page = await exchange("GET", html.output);
    assert.equal(page.headers["content-type"], "video/mp4");
    assert.match(page.bytes.toString(), /^<!DOCTYPE html>/);
    const typed = await finished({ media: { type: "text/plain" } });
    assert.equal((await exchange("GET", typed.output))
      .headers["content-type"], "text/plain");

    const refused = await finished({ media: { status: 503, times: 1 } });
    assert.equal((await exchange("GET", refused.output)).status, 503);
    assert.equal((await exchange("GET", refused.output)).status, 200);

    const moved = await finished({ media: { redirect: 2 } });
    const followed = await fetch(moved.output);
    assert.equal(followed.status, 200);
    assert.match(followed.url, /hop=2/);
    const away = await finished({ media:
      { redirect_to: "http://127.0.0.1:9/private" } });
    assert.equal((await exchange("GET", away.output)).headers.location,
      "http://127.0.0.1:9/private");
  });

test("shapes of Replicate's output", async () => {
  const of = async (media) => (await finished({ media })).output;
  assert.equal(typeof await of({ form: "string" }), "string");
  assert.equal((await of({ form: "array" })).length, 1);
  assert.equal((await of({ count: 3 })).length, 3);
  assert.ok((await of({ form: "object" })).video);
  assert.match(await of({ form: "data" }), /^data:video\/mp4;base64,AAAA/);
});

test("webhooks with words of the provider's level and the job's",
  async () => {
    await sim.control({ all: { webhook: { copies: 2 } } });
    const { id } = await finished({ webhook: { forge: "unsigned" } },
      { webhook: receiver.url, webhook_events_filter: ["completed"] });
    await until("all three", () => receiver.of(id).length === 3);
    const deliveries = await until("their record", async () => {
      const list = (await sim.start(id)).deliveries;
      return list.length === 3 ? list : null;
    });
    assert.deepEqual(deliveries.map((one) => one.kind),
      ["forged", "genuine", "copy"]);
  });

test("concurrency holds jobs back; a rate refuses them", async () => {
  await sim.control({ concurrency: { replicate: 2 } });
  const ids = [];
  for (let i = 0; i < 4; i++)
    ids.push((await start({ delay_ms: 200, queue_ms: 0 })).json.id);
  await sleep(50);
  const states = await Promise.all(ids.map(async (id) =>
    (await get(id)).json.status));
  assert.deepEqual(states, ["processing", "processing", "starting",
    "starting"]);
  await until("all end", async () => (await Promise.all(ids.map(
    async (id) => (await get(id)).json.status))).every((status) =>
    status === "succeeded"));
  await sim.control({ concurrency: { replicate: null },
    rate: { replicate: { per_s: 1, burst: 2 } } });
  const codes = [];
  for (let i = 0; i < 3; i++) codes.push((await start({})).status);
  assert.deepEqual(codes, [201, 201, 429]);
});

test("a provider that is down closes, others go on", async () => {
  await sim.control({ down: { replicate: true } });
  await assert.rejects(start({}));
  const fal = await exchange("POST", `${sim.url}/fal/queue/a/b`,
    { headers: key, body: "{}" });
  assert.equal(fal.status, 200);
});

test("credentials can be strict", async () => {
  assert.equal((await exchange("GET", `${sim.url}/replicate/v1/predictions`))
    .status, 401);
  await sim.control({ credentials: { replicate: ["other"] } });
  assert.equal((await start({})).status, 401);
  await sim.control({ credentials: { replicate: ["tok"] } });
  assert.equal((await start({})).status, 201);
});

test("a wrong setting is refused, and says which", async () => {
  for (const [body, name] of [[{ rate: { fal: 3 } }, "fal"],
    [{ concurrency: { replicat: 2 } }, "replicat"],
    [{ down: { vertex: 1 } }, "vertex"], [{ credentials: 3 },
      "credentials"], [{ alll: {} }, "alll"], [{ all: 3 }, "all"]])
    await assert.rejects(sim.control(body), new RegExp(`400.*${name}`));
});

test("an early webhook with a lost answer", async () => {
  const job = randomUUID();
  const webhook = `${receiver.url}/api/webhooks/job/${job}/1.tok`;
  await assert.rejects(start({ webhook: { early: true },
    start: { drop: "after" } }, { webhook }));
  assert.equal(receiver.got.filter((one) => one.url.includes(job)).length > 0,
    true);
  assert.equal((await sim.ledger(`?job=${job}`)).starts.length, 1);
});

test("every accepted start is in the file, before its answer", async () => {
  for (let i = 0; i < 5; i++) {
    const { json } = await start({});
    assert.ok(sim.ledgerLines().some((line) => line.event === "start" &&
      line.id === json.id));
  }
});

test("old jobs are forgotten, their starts are not", async () => {
  const small = await startSimulator("--jobs-max", "5");
  try {
    for (let i = 0; i < 20; i++) {
      await fetch(`${small.url}/fal/queue/a/b`, { method: "POST",
        headers: key, body: '{"rushes_sim":{"delay_ms":0}}' });
      await sleep(5);
    }
    const { starts } = await small.ledger();
    assert.equal(starts.length, 20);
    assert.ok(starts.filter((one) => one.status).length <= 7);
  } finally {
    await small.stop();
  }
});

test("SIGTERM in the middle of everything is a clean end", async () => {
  const busy = await startSimulator();
  const post = (words, webhook) => fetch(
    `${busy.url}/replicate/v1/models/a/b/predictions`, { method: "POST",
      headers: bearer, body: JSON.stringify({ webhook,
        input: { rushes_sim: words } }) }).catch(() => null);
  receiver.answer = () => 500;
  void post({ start: { hang: true } });
  void post({ delay_ms: 1 }, receiver.url);
  void post({ delay_ms: 1, webhook: { late_ms: 60000 } }, receiver.url);
  void post({ delay_ms: 1, webhook: { early: true } }, receiver.url);
  const slow = await (await post({ delay_ms: 1,
    media: { bytes: 1000000, stall: 10 } })).json();
  await until("it ended", async () =>
    (await busy.start(slow.id)).media.length > 0);
  const { starts } = await busy.ledger(`?id=${slow.id}`);
  void fetch(starts[0].media[0].url).then((response) =>
    response.arrayBuffer()).catch(() => null);
  await sleep(200);
  await busy.stop();
  receiver.answer = () => 200;
});
