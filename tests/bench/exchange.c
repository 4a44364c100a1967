/* SPDX-License-Identifier: MIT */
/*
 * exchange GET|POST FILE AT_ONCE [DIR [BODY]] - the least an HTTP client can
 * do: ask for each URL of a file (one a line), so many at once, over kept
 * connections of one libcurl multi handle. With DIR ("-": none) each answer
 * is written to a file of its own there and made durable; BODY is what a POST
 * sends. Prints what happened as one line of JSON.
 */
#include "common/base/macro.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE_MOST = 1024, URL_BYTES = 4096 };

struct slot {
	CURL *easy;
	int fd; /* -1: the answer is dropped */
};

struct exchange {
	CURLM *multi;
	FILE *urls;
	const char *dir;
	size_t sent, answered, errors, bytes;
};

static size_t take(char *data, size_t size, size_t count, void *userdata)
{
	const struct slot *slot = userdata;

	if (slot->fd >= 0 &&
	    write(slot->fd, data, size * count) != (ssize_t)(size * count))
		return 0;
	return size * count;
}

/* @return whether there was one more to ask for */
static bool send_next(struct exchange *exchange, struct slot *slot)
{
	char url[URL_BYTES], path[PATH_MAX];

	if (!fgets(url, sizeof(url), exchange->urls))
		return false;
	url[strcspn(url, "\n")] = '\0';
	if (exchange->dir) {
		(void)snprintf(path, sizeof(path), "%s/%zu", exchange->dir,
			       exchange->sent);
		slot->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				0600);
	}
	(void)curl_easy_setopt(slot->easy, CURLOPT_URL, url);
	exchange->sent++;
	return curl_multi_add_handle(exchange->multi, slot->easy) == CURLM_OK;
}

static void finish(struct exchange *exchange, const CURLMsg *message)
{
	CURL *easy = message->easy_handle;
	struct slot *slot = NULL;
	curl_off_t bytes = 0;
	long status = 0;

	if (message->data.result == CURLE_OK)
		(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
	(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&slot);
	exchange->answered++;
	exchange->errors += status < 200 || status > 299;
	exchange->bytes += (size_t)bytes;
	if (slot->fd >= 0) {
		(void)fsync(slot->fd);
		(void)close(slot->fd);
		slot->fd = -1;
	}
	(void)curl_multi_remove_handle(exchange->multi, easy);
	(void)send_next(exchange, slot);
}

static void run(struct exchange *exchange)
{
	CURLMsg *message;
	int running, left;

	while (exchange->answered < exchange->sent) {
		(void)curl_multi_perform(exchange->multi, &running);
		while ((message = curl_multi_info_read(exchange->multi, &left)))
			finish(exchange, message);
		if (exchange->answered < exchange->sent)
			(void)curl_multi_poll(exchange->multi, NULL, 0, 1000,
					      NULL);
	}
}

static double now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void set_up(struct slot *slot, const struct curl_slist *headers,
		   const char *body)
{
	slot->fd = -1;
	slot->easy = curl_easy_init();
	(void)curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot);
	(void)curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(slot->easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(slot->easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, take);
	(void)curl_easy_setopt(slot->easy, CURLOPT_WRITEDATA, slot);
	if (body)
		(void)curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, body);
}

int main(int argc, char **argv)
{
	static struct slot slot[AT_ONCE_MOST];
	const char *dir =
		argc > 4 && strcmp(argv[4], "-") != 0 ? argv[4] : NULL;
	bool post = argc > 1 && strcmp(argv[1], "POST") == 0;
	struct exchange exchange = { .dir = dir };
	struct curl_slist *headers = NULL;
	long at_once = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
	double begun;

	if (argc < 4 || at_once < 1 || at_once > AT_ONCE_MOST ||
	    !(exchange.urls = fopen(argv[2], "re"))) {
		(void)fprintf(stderr, "usage: exchange GET|POST FILE AT_ONCE "
				      "[DIR [BODY]]\n");
		return 2;
	}
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	headers = curl_slist_append(headers,
				    "Authorization: Bearer r8_simulated");
	headers = curl_slist_append(headers, "Content-Type: application/json");
	exchange.multi = curl_multi_init();
	(void)curl_multi_setopt(exchange.multi, CURLMOPT_MAXCONNECTS, at_once);
	begun = now_s();
	for (long i = 0; i < at_once; i++) {
		set_up(&slot[i], headers,
		       post ? argc > 5 ? argv[5] : "" : NULL);
		(void)send_next(&exchange, &slot[i]);
	}
	run(&exchange);
	(void)printf("{\"count\": %zu, \"errors\": %zu, \"bytes\": %zu, "
		     "\"seconds\": %.6f}\n",
		     exchange.answered, exchange.errors, exchange.bytes,
		     now_s() - begun);
	return exchange.errors > 0;
}
