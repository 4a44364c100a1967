// SPDX-License-Identifier: MIT
// The official Google Gen AI client (Vertex AI, Veo) against the simulator.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { after, before, test } from "node:test";

import { GoogleGenAI } from "@google/genai";

import { startSimulator, until } from "./sim.mjs";

const MODEL = "veo-3.1-generate-001";
let sim, genai, picture;

before(async () => {
  sim = await startSimulator();
  genai = client(sim.account);
  // A picture of the simulator's own, as input for the films.
  const started = await fetch(
    `${sim.url}/replicate/v1/models/x/image/predictions`, {
      method: "POST",
      headers: { authorization: "Bearer x", prefer: "wait" },
      body: JSON.stringify({ input: {} }),
    });
  const { output } = await started.json();
  picture = Buffer.from(await (await fetch(output[0])).arrayBuffer());
});

after(() => sim.stop());

/** The client as it is; only the hard-wired token host is turned to us. */
function client(account) {
  const exchange = (url, options) => fetch(
    String(url).replace("https://oauth2.googleapis.com",
      `${sim.url}/google`), options);
  return new GoogleGenAI({
    vertexai: true,
    project: "rushes-simulator",
    location: "us-central1",
    httpOptions: { baseUrl: `${sim.url}/vertex` },
    googleAuthOptions: {
      credentials: {
        type: "service_account",
        client_email: account.client_email,
        private_key: account.private_key,
      },
      clientOptions: { transporterOptions:
        { fetchImplementation: exchange } },
    },
  });
}

/** words reach parameters.rushes_sim by the SDK's own extraBody. */
const begin = (config = {}, words = undefined, source = { prompt: "x" }) =>
  genai.models.generateVideos({
    model: MODEL,
    source,
    config: {
      ...config,
      ...(words && { httpOptions: { baseUrl: `${sim.url}/vertex`,
        extraBody: { parameters: { rushes_sim: words } } } }),
    },
  });

const finish = (operation) => until("the operation ends", async () => {
  operation = await genai.operations.getVideosOperation({ operation });
  return operation.done ? operation : null;
});

const idOf = (operation) => operation.name.split("/").pop();

test("without storage the film comes inline", async () => {
  const begun = await begin();
  assert.match(begun.name, new RegExp("^projects/rushes-simulator/" +
    "locations/us-central1/publishers/google/models/" +
    `${MODEL}/operations/[0-9a-f-]{36}$`));
  assert.ok(!begun.done);
  const done = await finish(begun);
  const [{ video }] = done.response.generatedVideos;
  assert.equal(video.mimeType, "video/mp4");
  const bytes = Buffer.from(video.videoBytes, "base64");
  assert.equal(bytes.subarray(4, 8).toString(), "ftyp");
  const start = await sim.start(idOf(begun));
  assert.equal(createHash("sha256").update(bytes).digest("hex"),
    start.media[0].sha256);
  assert.ok(start.polls > 1);
});

test("with a storage URI it lies in Cloud Storage", async () => {
  const done = await finish(await begin(
    { outputGcsUri: "gs://films/job-1/", numberOfVideos: 2 }));
  const uris = done.response.generatedVideos.map((one) => one.video.uri);
  assert.equal(uris.length, 2);
  const headers = { authorization: "Bearer any" };
  const list = await (await fetch(
    `${sim.url}/gcs/storage/v1/b/films/o?prefix=job-1/`,
    { headers })).json();
  assert.deepEqual(list.items.map((one) => `gs://films/${one.name}`), uris);
  const { media } = await sim.start(idOf(done));
  for (const [i, uri] of uris.entries()) {
    assert.ok(uri.startsWith("gs://films/job-1/"));
    const name = encodeURIComponent(uri.slice("gs://films/".length));
    const response = await fetch(
      `${sim.url}/gcs/storage/v1/b/films/o/${name}?alt=media`, { headers });
    assert.equal(response.status, 200);
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.equal(createHash("sha256").update(bytes).digest("hex"),
      media[i].sha256);
    assert.equal(Number(list.items[i].size), bytes.length);
    assert.equal((await fetch(
      `${sim.url}/gcs/storage/v1/b/films/o/${name}?alt=media`)).status, 401);
  }
});

test("the token exchange is real: one token serves many calls", async () => {
  const before = (await sim.ledger("?totals=1")).tokens;
  const other = client(sim.account);
  for (let i = 0; i < 3; i++)
    await other.models.generateVideos({ model: MODEL,
      source: { prompt: "x" } });
  assert.equal((await sim.ledger("?totals=1")).tokens, before + 1);
});

test("a key that is not the account's gets no token", async () => {
  const stranger = await startSimulator();
  try {
    await assert.rejects(
      client({ ...sim.account, private_key: stranger.account.private_key })
        .models.generateVideos({ model: MODEL, source: { prompt: "x" } }),
      /invalid_grant|Invalid JWT Signature/);
  } finally {
    await stranger.stop();
  }
});

test("an expired token is refused; a fresh one is taken", async () => {
  await begin();
  await sim.control({ expire_tokens: true,
    credentials: { vertex: "issued" } });
  // This SDK keeps its token until its time is over and does not ask again.
  await assert.rejects(begin(), (error) => error.status === 401 &&
    /UNAUTHENTICATED/.test(error.message));
  genai = client(sim.account);
  const done = await finish(await begin());
  assert.equal(done.response.generatedVideos.length, 1);
  const response = await fetch(`${sim.url}/vertex/v1/projects/p/locations/` +
    `us-central1/publishers/google/models/${MODEL}:predictLongRunning`,
  { method: "POST", headers: { authorization: "Bearer made-up" },
    body: JSON.stringify({ instances: [{ prompt: "x" }] }) });
  assert.equal(response.status, 401);
  await sim.control({ credentials: null });
});

test("a picture goes in; what is none is refused", async () => {
  const done = await finish(await begin({}, undefined, { prompt: "x",
    image: { imageBytes: picture.toString("base64"),
      mimeType: "image/png" } }));
  assert.equal(done.response.generatedVideos.length, 1);
  await assert.rejects(begin({}, undefined, { prompt: "x",
    image: { imageBytes: Buffer.from("not a picture").toString("base64"),
      mimeType: "image/png" } }),
  (error) => error.status === 400 && /INVALID_ARGUMENT/.test(error.message));
});

test("a safety refusal is done, empty and says why", async () => {
  const done = await finish(await begin({ numberOfVideos: 2 },
    { outcome: "refuse", error: 58061214 }));
  assert.equal(done.error, undefined);
  assert.deepEqual(done.response.generatedVideos ?? [], []);
  assert.equal(done.response.raiMediaFilteredCount, 2);
  assert.match(done.response.raiMediaFilteredReasons[0],
    /Support codes: 58061214$/);
});

test("a partial result counts what was filtered", async () => {
  const done = await finish(await begin({ numberOfVideos: 3 },
    { outcome: "partial" }));
  assert.equal(done.response.generatedVideos.length, 2);
  assert.equal(done.response.raiMediaFilteredCount, 1);
});

for (const code of [3, 8, 13, 14]) {
  test(`an operation that fails with code ${code}`, async () => {
    const done = await finish(await begin({},
      { outcome: "fail", error: code }));
    assert.equal(done.error.code, code);
    assert.ok(done.error.message);
    assert.equal(done.response, undefined);
  });
}

for (const [status, word] of [[400, "INVALID_ARGUMENT"],
  [403, "PERMISSION_DENIED"], [404, "NOT_FOUND"],
  [429, "RESOURCE_EXHAUSTED"], [500, "INTERNAL"], [503, "UNAVAILABLE"]]) {
  test(`a start refused with ${status} ${word}`, async () => {
    const before = (await sim.ledger("?totals=1")).totals.vertex.starts;
    await assert.rejects(begin({}, { start: { status } }),
      (error) => error.status === status && error.message.includes(word));
    assert.equal((await sim.ledger("?totals=1")).totals.vertex.starts,
      before);
  });
}

test("the trap: an operation cannot be read by GET", async () => {
  const begun = await begin();
  for (const version of ["v1", "v1beta1"]) {
    const response = await fetch(
      `${sim.url}/vertex/${version}/${begun.name}`,
      { headers: { authorization: "Bearer x" } });
    assert.equal(response.status, 400);
    assert.match((await response.json()).error.message, /must be a Long/);
  }
});

test("the service-account file is for its owner's eyes", () => {
  assert.match(sim.account.private_key, /^-----BEGIN PRIVATE KEY-----/);
  assert.equal(sim.account.token_uri, `${sim.url}/google/token`);
  assert.equal(fs.statSync(sim.accountFile).mode & 0o777, 0o600);
});
