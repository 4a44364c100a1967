/* SPDX-License-Identifier: MIT */
/*
 * Fetches what it is told to, by the poller's own ways: a JSON object a line
 * on standard input, one a line comes back.
 *
 *	{"do":"media","url":…}	a transfer into the folder given as argument
 *	{"do":"api","url":…}	a call of a provider's API
 *	{"do":"reuse","url":…}	by a handle that may go anywhere, and then by
 *				one that may not, while the first connection
 *				is still open; "wide": one that may, too
 *	{"do":"forget"}		new handles: no kept connection, no known name
 *
 * ALLOW_LOOPBACK is off.
 */
#include "common/io/http_client.h"
#include "common/io/http_client_loop.h"
#include "common/io/transfer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 256 * 1024, CONNECT_MS = 2000, ANSWER_MS = 5000 };

struct world {
	sd_event *event;
	struct conf conf;
	struct store *store;
	struct transfers *transfers;
	struct http_client *client;
	struct http_loop *loop;
	json_t *answer;
	bool done;
};

static void die(const char *what)
{
	(void)fprintf(stderr, "%s\n", what);
	exit(2);
}

static void close_all(struct world *world)
{
	world->transfers = transfers_free(world->transfers);
	world->store = store_close(world->store);
	world->client = http_client_free(world->client);
	world->loop = http_loop_free(world->loop);
}

static void open_all(struct world *world)
{
	struct fault fault = { "" };

	close_all(world);
	if (store_open(world->event, &world->conf, &world->store, &fault) < 0 ||
	    transfers_new(world->event, &world->conf, world->store,
			  &world->transfers, &fault) < 0 ||
	    http_client_new(world->event, &world->conf, &world->client,
			    &fault) < 0 ||
	    http_loop_new(world->event, &world->loop, &fault) < 0)
		die(fault.text);
}

static void run(struct world *world)
{
	while (!world->done)
		if (sd_event_run(world->event, UINT64_MAX) < 0)
			die("the loop failed");
	world->done = false;
}

static void on_media(const struct transfer_result *result, void *userdata)
{
	struct world *world = userdata;

	world->answer = json_pack("{s:i,s:i,s:s}", "error", result->error,
				  "status", (int)result->http_status, "fault",
				  result->fault.text);
	world->done = true;
}

static void media(struct world *world, const char *url)
{
	struct http_request request = {
		.method = HTTP_GET,
		.url = url,
		.header = { { "Authorization", "Bearer the-credential" } },
		.header_count = 1,
	};
	struct transfer_job job = { .request = &request,
				    .key_prefix = "execution/job/1/0" };
	struct fault fault = { "" };
	int r = transfer_start(world->transfers, &job, on_media, world, NULL,
			       &fault);

	if (r < 0)
		world->answer = json_pack("{s:i,s:i,s:s}", "error", r, "status",
					  0, "fault", fault.text);
	else
		run(world);
}

static void on_answer(const struct http_result *result, void *userdata)
{
	struct world *world = userdata;
	bool answered = result->outcome == HTTP_ANSWERED;

	world->answer = json_pack("{s:i,s:i,s:s}", "error", answered ? 0 : -1,
				  "status", (int)result->response.status,
				  "fault", result->fault.text);
	world->done = true;
}

static void api(struct world *world, const char *url)
{
	struct http_request request = { .method = HTTP_GET, .url = url };
	int r = http_client_send(world->client, &request, NULL, on_answer,
				 world, NULL);

	if (r < 0)
		world->answer = json_pack("{s:i,s:i,s:s}", "error", r, "status",
					  0, "fault", "not sent");
	else
		run(world);
}

struct visit {
	struct world *world;
	CURLcode code;
};

static void on_visited(CURLcode code, void *userdata)
{
	struct visit *visit = userdata;

	visit->code = code;
	visit->world->done = true;
}

static size_t drop(char *bytes, size_t size, size_t count, void *userdata)
{
	(void)bytes;
	(void)userdata;
	return size * count;
}

static CURLcode visit(struct world *world, struct http_wire *wire,
		      enum http_reach reach, const char *url)
{
	struct visit visit = { .world = world };

	if (http_wire_prepare(wire, reach) < 0)
		die("no memory");
	(void)curl_easy_setopt(wire->easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(wire->easy, CURLOPT_CONNECTTIMEOUT_MS,
			       (long)CONNECT_MS);
	(void)curl_easy_setopt(wire->easy, CURLOPT_TIMEOUT_MS, (long)ANSWER_MS);
	(void)curl_easy_setopt(wire->easy, CURLOPT_WRITEFUNCTION, drop);
	if (http_wire_start(wire, world->loop, on_visited, &visit) < 0)
		return CURLE_URL_MALFORMAT;
	run(world);
	return visit.code;
}

static void reuse(struct world *world, const char *url, bool wide)
{
	struct http_wire open = { 0 }, next = { 0 };
	CURLcode first = visit(world, &open, HTTP_REACH_ANY, url);
	CURLcode second = visit(world, &next,
				wide ? HTTP_REACH_ANY : HTTP_REACH_PUBLIC, url);

	world->answer = json_pack("{s:i,s:i,s:s}", "opened", (int)first,
				  "error", (int)second, "fault",
				  next.refused ? next.refused : "");
	http_wire_done(&open);
	http_wire_done(&next);
}

static void obey(struct world *world, const char *line)
{
	json_t *order = json_loads(line, 0, NULL);
	const char *what = json_string_value(json_object_get(order, "do"));
	const char *url = json_string_value(json_object_get(order, "url"));

	world->answer = NULL;
	if (what && url && strcmp(what, "media") == 0)
		media(world, url);
	else if (what && url && strcmp(what, "api") == 0)
		api(world, url);
	else if (what && url && strcmp(what, "reuse") == 0)
		reuse(world, url, json_is_true(json_object_get(order, "wide")));
	else if (what && strcmp(what, "forget") == 0)
		open_all(world);
	else
		die("no such order");
	json_decref(order);
	if (!world->answer)
		world->answer = json_object();
	(void)json_dumpf(world->answer, stdout, JSON_COMPACT);
	(void)printf("\n");
	(void)fflush(stdout);
	json_decref(world->answer);
}

int main(int argc, char **argv)
{
	static char line[LINE_BYTES_MAX];
	struct world world = {
		.conf = {
			.connect_timeout_ms = CONNECT_MS,
			.answer_timeout_ms = ANSWER_MS,
			.stall_timeout_s = 5,
			.transfers_max = 4,
			.media_bytes_max = 1 << 20,
			.store_kind = CONF_STORE_FILE,
			.cdn_base_url = "https://cdn.example/m",
		},
	};

	if (argc != 2)
		die("usage: fetch FOLDER");
	world.conf.spool_dir = world.conf.store_dir = argv[1];
	if (sd_event_new(&world.event) < 0)
		die("no loop");
	open_all(&world);
	while (fgets(line, sizeof(line), stdin))
		obey(&world, line);
	close_all(&world);
	(void)sd_event_unref(world.event);
	return 0;
}
