// SPDX-License-Identifier: MIT
// The official fal client against the simulator.
import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { ApiError, createFalClient, ValidationError } from "@fal-ai/client";

import { startReceiver, startSimulator, sleep, until } from "./sim.mjs";

const MODEL = "fal-ai/veo3/fast/image-to-video";
let sim, receiver, fal;

before(async () => {
  sim = await startSimulator();
  receiver = await startReceiver();
  fal = client("conformance-id:conformance-secret");
});

after(async () => {
  await receiver.stop();
  await sim.stop();
});

/** The client as it is, but its requests go to the simulator. */
function client(credentials) {
  return createFalClient({
    credentials,
    fetch: (url, options) => fetch(
      String(url).replace("https://queue.fal.run", `${sim.url}/fal/queue`),
      options),
  });
}

const submit = (input = {}, more = {}) =>
  fal.queue.submit(MODEL, { input: { prompt: "a cat", ...input }, ...more });

const ended = (requestId) => until(`the end of ${requestId}`, async () => {
  const status = await fal.queue.status(MODEL, { requestId });
  return status.status === "COMPLETED" ? status : null;
});

const jwks = async () => (await (await fetch(
  `${sim.url}/fal/rest/.well-known/jwks.json`)).json()).keys;

/** fal's documented verification, with every published key. */
async function verifies(delivery) {
  const message = [
    delivery.headers["x-fal-webhook-request-id"],
    delivery.headers["x-fal-webhook-user-id"],
    delivery.headers["x-fal-webhook-timestamp"],
    createHash("sha256").update(delivery.body).digest("hex"),
  ].join("\n");
  const age = Date.now() / 1000 -
    Number(delivery.headers["x-fal-webhook-timestamp"]);
  const signature = delivery.headers["x-fal-webhook-signature"] ?? "";
  if (!(Math.abs(age) <= 300) || !/^[0-9a-f]{128}$/.test(signature))
    return false;
  return (await jwks()).some((key) => verify(null, Buffer.from(message),
    createPublicKey({ key, format: "jwk" }), Buffer.from(signature, "hex")));
}

test("submit, status and result", async () => {
  const begun = await submit();
  assert.equal(begun.status, "IN_QUEUE");
  assert.equal(begun.queue_position, 0);
  assert.ok(begun.status_url.endsWith(
    `/fal-ai/veo3/requests/${begun.request_id}/status`), begun.status_url);
  const status = await ended(begun.request_id);
  assert.ok(status.metrics.inference_time > 0);
  assert.ok("logs" in status);
  const result = await fal.queue.result(MODEL,
    { requestId: begun.request_id });
  assert.equal(result.requestId, begun.request_id);
  assert.equal(result.data.video.content_type, "video/mp4");
  const bytes = Buffer.from(await (
    await fetch(result.data.video.url)).arrayBuffer());
  assert.equal(bytes.length, result.data.video.file_size);
  const { media } = await sim.start(begun.request_id);
  assert.equal(createHash("sha256").update(bytes).digest("hex"),
    media[0].sha256);
});

test("the returned URLs work, and status is 202 until the end", async () => {
  const begun = await submit();
  const headers = { authorization: "Key conformance-id:conformance-secret" };
  const first = await fetch(begun.status_url, { headers });
  assert.equal(first.status, 202);
  assert.equal((await fetch(begun.response_url, { headers })).status, 400);
  await ended(begun.request_id);
  const last = await fetch(begun.status_url, { headers });
  assert.equal(last.status, 200);
  assert.equal((await last.json()).status, "COMPLETED");
  const result = await fetch(begun.response_url, { headers });
  assert.equal(result.headers.get("x-fal-request-id"), begun.request_id);
  assert.deepEqual(await result.json(),
    await (await fetch(`${begun.response_url}/response`,
      { headers })).json());
});

test("subscribe follows the queue and its logs", async () => {
  const seen = new Set();
  const messages = [];
  const result = await fal.subscribe("fal-ai/flux/schnell", {
    input: { prompt: "x",
      rushes_sim: { delay_ms: 1200, queue_ms: 400, steps: 4 } },
    logs: true,
    pollInterval: 50,
    onQueueUpdate: (update) => {
      seen.add(update.status);
      messages.push(...(update.logs ?? []).map((log) => log.message));
    },
  });
  assert.deepEqual([...seen], ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]);
  assert.ok(messages.some((message) => message.includes("50%|")));
  assert.equal(result.data.images[0].content_type, "image/png");
});

test("a wrong input raises ValidationError with its fields", async () => {
  const { request_id: requestId } = await submit(
    { rushes_sim: { outcome: "refuse" } });
  const status = await ended(requestId);
  assert.equal(status.error_type, "content_policy_violation");
  assert.equal(status.error, "Invalid status code: 422");
  await assert.rejects(fal.queue.result(MODEL, { requestId }), (error) => {
    assert.ok(error instanceof ValidationError);
    assert.equal(error.status, 422);
    assert.equal(error.fieldErrors[0].type, "content_policy_violation");
    assert.deepEqual(error.getFieldErrors("prompt"), error.fieldErrors);
    return true;
  });
});

// At once, since the SDK repeats most of these with seconds between.
describe("failures", { concurrency: true }, () => {
  for (const [type, code, header] of [
    ["internal_server_error", 500, "model"],
    ["downstream_service_error", 500, "model"],
    ["downstream_service_unavailable", 503, "model"],
    ["generation_timeout", 504, "model"],
    ["request_timeout", 504, "request"],
    ["startup_timeout", 504, "request"],
    ["runner_scheduling_failure", 503, "request"],
    ["runner_disconnected", 503, "request"],
    ["runner_incomplete_response", 502, "request"],
    ["runner_server_error", 500, "request"],
    ["client_disconnected", 499, "request"],
    ["bad_request", 400, "request"],
  ]) {
    test(`the failure ${type} is an ApiError ${code}`, async () => {
      const begun = await submit(
        { rushes_sim: { outcome: "fail", error: type, delay_ms: 20 } });
      await ended(begun.request_id);
      await assert.rejects(
        fal.queue.result(MODEL, { requestId: begun.request_id }),
        (error) => {
          assert.ok(error instanceof ApiError);
          assert.equal(error.status, code);
          assert.equal(error.requestId, begun.request_id);
          return true;
        });
      const raw = await fetch(begun.response_url, { headers:
        { authorization: "Key conformance-id:conformance-secret" } });
      const body = await raw.json();
      if (header === "request") {
        assert.equal(raw.headers.get("x-fal-error-type"), type);
        assert.equal(body.error_type, type);
      } else {
        assert.equal(raw.headers.get("x-fal-retryable"), "true");
        assert.equal(body.detail[0].type, type);
      }
    });
  }
});

test("cancel: requested, then completed with client_cancelled", async () => {
  const { request_id: requestId } = await submit(
    { rushes_sim: { delay_ms: 60000 } });
  await fal.queue.cancel(MODEL, { requestId });
  assert.equal((await ended(requestId)).error_type, "client_cancelled");
  await assert.rejects(fal.queue.cancel(MODEL, { requestId }), (error) =>
    error.status === 400 && error.body.status === "ALREADY_COMPLETED");
  await assert.rejects(
    fal.queue.cancel(MODEL, { requestId: "00000000" }),
    (error) => error.status === 404 && error.body.status === "NOT_FOUND");
});

test("another key sees nothing", async () => {
  const { request_id: requestId } = await submit();
  await assert.rejects(
    client("another:key").queue.status(MODEL, { requestId }),
    (error) => error.status === 404);
});

describe("refused starts", { concurrency: true }, () => {
  for (const [name, words, code, check] of [
    ["exhausted balance", { status: 403, error: "exhausted_balance" }, 403,
      (error) => /Exhausted balance/.test(error.body.detail)],
    ["concurrency limit", { status: 429 }, 429,
      (error) => error.body.error_type === "concurrent_requests_limit"],
    ["validation", { status: 422, error: "image_too_small" }, 422,
      (error) => error instanceof ValidationError],
    ["no key", { status: 401 }, 401, () => true],
  ]) {
    test(`a start refused for ${name}`, async () => {
      const model = `fal-ai/refused/${code}`;
      await assert.rejects(
        fal.queue.submit(model, { input: { rushes_sim: { start: words } } }),
        (error) => error instanceof ApiError && error.status === code &&
          check(error));
      const { starts } = await sim.ledger("?provider=fal");
      assert.ok(!starts.some((start) => start.model === model));
    });
  }
});

test("webhooks verify by fal's recipe, and tell the result", async () => {
  const good = await submit({}, { webhookUrl: `${receiver.url}/a?b=c` });
  const bad = await submit({ rushes_sim: { outcome: "refuse" } },
    { webhookUrl: receiver.url });
  const huge = await submit({ rushes_sim: { webhook: { payload: false } } },
    { webhookUrl: receiver.url });
  const wait = (one) => until("its webhook", () =>
    receiver.of(one.request_id)[0]);
  for (const one of [good, bad, huge])
    assert.equal(await verifies(await wait(one)), true);
  const body = JSON.parse((await wait(good)).body);
  assert.equal((await wait(good)).url, "/a?b=c");
  assert.equal(body.status, "OK");
  assert.deepEqual(body.payload, (await fal.queue.result(MODEL,
    { requestId: good.request_id })).data);
  const failure = JSON.parse((await wait(bad)).body);
  assert.equal(failure.status, "ERROR");
  assert.equal(failure.error, "Invalid status code: 422");
  assert.equal(failure.payload.detail[0].type, "content_policy_violation");
  const thin = JSON.parse((await wait(huge)).body);
  assert.equal(thin.payload, null);
  assert.ok(thin.payload_error);
});

for (const how of ["unsigned", "signature", "key", "body", "stale",
  "malformed"]) {
  test(`a delivery forged by "${how}" does not verify`, async () => {
    const { request_id: id } = await submit(
      { rushes_sim: { webhook: { forge: how }, delay_ms: 20 } },
      { webhookUrl: receiver.url });
    const [forged, genuine] = await until("both", () => {
      const both = receiver.of(id);
      return both.length === 2 ? both : null;
    });
    assert.equal(await verifies(forged), false);
    assert.equal(await verifies(genuine), true);
  });
}

test("a rotated key is in the JWKS and signs", async () => {
  assert.equal((await jwks()).length, 1);
  await sim.control({ rotate: true });
  assert.equal((await jwks()).length, 2);
  const begun = await submit({}, { webhookUrl: receiver.url });
  assert.equal(await verifies(await until("its webhook", () =>
    receiver.of(begun.request_id)[0])), true);
});

test("a refused webhook comes again; a redirected one does not",
  async () => {
    receiver.answer = (delivery) =>
      (receiver.of(JSON.parse(delivery.body).request_id).length < 2 ?
        500 : 200);
    const first = await submit(
      { rushes_sim: { webhook: { retry_first_ms: 20 } } },
      { webhookUrl: receiver.url });
    await until("two tries", () =>
      receiver.of(first.request_id).length === 2);
    receiver.answer = () => 302;
    const second = await submit(
      { rushes_sim: { webhook: { retry_first_ms: 20 } } },
      { webhookUrl: receiver.url });
    await until("one try", () => receiver.of(second.request_id).length);
    await sleep(200);
    assert.equal(receiver.of(second.request_id).length, 1);
    receiver.answer = () => 200;
  });

test("the list by endpoint finds a request by its input", async () => {
  const begun = await submit({ seed: 4711 });
  await ended(begun.request_id);
  const list = async (query) => (await fetch(
    `${sim.url}/fal/api/v1/models/requests/by-endpoint?` +
    `endpoint_id=${encodeURIComponent(MODEL)}&${query}`, { headers:
    { authorization: "Key conformance-id:conformance-secret" } })).json();
  const found = await list("expand=payloads&limit=100");
  const item = found.items.find((one) => one.json_input.seed === 4711);
  assert.equal(item.request_id, begun.request_id);
  assert.equal(item.status_code, 200);
  assert.ok(item.json_output.video.url);
  const ids = [];
  let cursor = "";
  do {
    const page = await list(`limit=5${cursor}`);
    ids.push(...page.items.map((one) => one.request_id));
    assert.equal(page.has_more, page.next_cursor !== null);
    cursor = page.has_more ? `&cursor=${page.next_cursor}` : null;
  } while (cursor);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(new Set(ids),
    new Set(found.items.map((one) => one.request_id)));
});

test("compose fetches its tracks and gives a video", async () => {
  const clip = await fal.subscribe(MODEL,
    { input: { prompt: "x" }, pollInterval: 50 });
  const tracks = (url) => [{ id: "1", type: "video",
    keyframes: [{ timestamp: 0, duration: 2000, url }] }];
  const done = await fal.subscribe("fal-ai/ffmpeg-api/compose",
    { input: { tracks: tracks(clip.data.video.url) }, pollInterval: 50 });
  assert.match(done.data.video_url, /\.mp4$/);
  assert.match(done.data.thumbnail_url, /\.png$/);
  const start = await sim.start(done.requestId);
  assert.equal(start.fetched_inputs[0].status, 200);
  await assert.rejects(fal.subscribe("fal-ai/ffmpeg-api/compose",
    { input: { tracks: tracks(`${sim.url}/media/none/0.mp4`) },
      pollInterval: 50 }),
  (error) => error.body.detail[0].type === "file_download_error");
});
