// SPDX-License-Identifier: MIT
// Holds every answer of the API that a black-box test gets to
// docs/openapi.yaml, whatever else the test looks at; run.sh loads it before
// the tests. Members that are not in the document are faults here, although
// clients are to put up with them: they were forgotten there.

import assert from "node:assert/strict";
import fs from "node:fs";

import { Ajv2020 } from "ajv/dist/2020.js";
import YAML from "yaml";

import { judgeAnswers } from "./http.mjs";

const api = YAML.parse(fs.readFileSync(
	new URL("../../docs/openapi.yaml", import.meta.url), "utf8"));
const ajv = new Ajv2020({
	allErrors: true,
	// nullable things are said by anyOf and by lists of types
	allowUnionTypes: true,
	formats: {
		"uuid": /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
		"date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
	},
});

/* A part of the document, wherever it really stands. */
function resolve({ $ref, ...beside }) {
	if (!$ref)
		return beside;
	const found = $ref.replace(/^#\//, "").split("/")
		.reduce((at, name) => at?.[name], api);

	assert.ok(found, `nothing at ${$ref}`);
	return { ...resolve(found), ...beside };
}

/* A schema in one piece that takes no member it does not name. Of allOf only
 * the whole can say which those are. */
function close(schema, whole = true) {
	const closed = resolve(schema);

	for (const several of ["anyOf", "allOf"])
		if (closed[several])
			closed[several] = closed[several].map(
				(one) => close(one, several === "anyOf"));
	if (closed.items)
		closed.items = close(closed.items);
	if (closed.properties)
		closed.properties = Object.fromEntries(
			Object.entries(closed.properties).map(
				([name, one]) => [name, close(one)]));
	if (whole && (closed.properties || closed.allOf))
		closed.unevaluatedProperties ??= false;
	return closed;
}

const routes = Object.entries(api.paths).map(([path, item]) => ({
	pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
	path,
	item,
}));
const checks = new Map();

/* Of one schema, made when it is first wanted. */
function check(schema, value) {
	if (!checks.has(schema))
		checks.set(schema, ajv.compile(close(schema)));
	const valid = checks.get(schema);

	assert.ok(valid(value), valid.errors?.map((error) =>
		`${error.instancePath || "/"} ${error.message} ` +
		JSON.stringify(error.params)).join("\n"));
}

/* Of an answer's headers those that have to be there. */
function checkHeaders(declared = {}, headers) {
	for (const [name, header] of Object.entries(declared)) {
		const { required, schema } = resolve(header);
		const text = headers[name.toLowerCase()];

		assert.ok(text !== undefined || !required, `no ${name}`);
		if (text !== undefined)
			check(schema, schema.type === "integer" ?
				Number(text) : text);
	}
}

function checkBody(response, method, { headers, text, json }) {
	const type = headers["content-type"]?.split(";")[0];
	const content = response.content?.[type];

	if (type || response.content)
		assert.ok(content, `its content is ${type}`);
	if (method === "head" || !response.content)
		assert.equal(text, "");
	else
		check(content.schema, json);
}

function checkAnswer(operation, method, answer) {
	const { status, headers } = answer;
	const other = resolve(api.components.responses.Refused);
	const response = operation?.responses[status];

	assert.ok(response || other["x-statuses"].includes(status),
		`a status that the document does not have${
			operation ? "" : ", nor the method"}`);
	checkHeaders(resolve(response ?? other).headers, headers);
	// as it says of all answers
	assert.match(headers["x-request-id"] ?? "", /^[A-Za-z0-9._-]{1,64}$/);
	assert.equal(headers["cache-control"], "no-store");
	checkBody(resolve(response ?? other), method, answer);
}

judgeAnswers((method, url, answer) => {
	const { pathname } = new URL(url);
	const route = routes.find(({ pattern }) => pattern.test(pathname));
	const name = method.toLowerCase();

	if (!route)
		return;
	try {
		checkAnswer(route.item[name === "head" ? "get" : name], name, answer);
	} catch (error) {
		error.message = `${method} ${route.path}, ${answer.status}, is ` +
			`not as in docs/openapi.yaml: ${error.message}\n` +
			answer.text.slice(0, 2000);
		throw error;
	}
});
