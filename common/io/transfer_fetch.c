/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"
#include "common/io/transfer_spool.h"
#include "common/io/transfer_state.h"
#include "common/model/limits.h"
#include "common/model/url.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

/*
 * The source's side of a transfer. libcurl calls take_header() and
 * take_body(); what goes wrong there is noted, and on_fetched() acts on it
 * when the handle has left the loop.
 */

enum {
	STALL_BYTES_S = 1024, /* slower than this for STALL_TIMEOUT_S: dead */
	/* libcurl's own 16 KiB are four times the system calls. */
	RECEIVE_BYTES = 64 * LIMIT_KIB,
	/* How much of an error page or a redirect is read to keep the
	 * connection. */
	IGNORED_BYTES_MAX = 64 * LIMIT_KIB,
};

/* ---- headers ------------------------------------------------------------ */

static void note_header(struct transfer *t, const char *name, size_t length,
			const char *value)
{
	int64_t bytes;

	if (length == 14 && strncasecmp(name, "Content-Length", length) == 0) {
		if (!text_to_int64(value, 0, INT64_MAX, &bytes) ||
		    (t->length >= 0 && t->length != bytes))
			t->ambiguous = true;
		else
			t->length = bytes;
	} else if (length == 17 &&
		   strncasecmp(name, "Transfer-Encoding", length) == 0) {
		if (strcasecmp(value, "chunked") == 0)
			t->chunked = true;
		else
			t->ambiguous = true;
	} else if (length == 16 &&
		   strncasecmp(name, "Content-Encoding", length) == 0) {
		/* We asked for none; what would be stored is not the file. */
		if (strcasecmp(value, "identity") != 0)
			t->ambiguous = true;
	}
}

static size_t take_header(char *line, size_t size, size_t count, void *userdata)
{
	struct transfer *t = userdata;
	size_t bytes = size * count, end = bytes;
	const char *colon = memchr(line, ':', bytes);
	char value[64];
	size_t start, length;

	if (bytes >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		t->length = -1;
		t->chunked = t->ambiguous = false;
		return bytes;
	}
	if (!colon || t->head_size > 0)
		return bytes; /* the empty line, or a trailer */
	start = (size_t)(colon - line) + 1;
	while (start < end && (line[start] == ' ' || line[start] == '\t'))
		start++;
	while (end > start && (unsigned char)line[end - 1] <= ' ')
		end--;
	length = end - start;
	if (length >= sizeof(value))
		return bytes; /* none of the headers we look at is so long */
	memcpy(value, line + start, length);
	value[length] = '\0';
	note_header(t, line, (size_t)(colon - line), value);
	return bytes;
}

/* ---- the body ----------------------------------------------------------- */

/* May this answer be taken as a whole file when it ends? */
static int check_framing(struct transfer *t)
{
	if (t->ambiguous || (t->chunked && t->length >= 0))
		return transfer_note(t, TRANSFER_SOURCE, -EBADMSG,
				     "the answer is encoded, or its length "
				     "cannot be trusted");
	if (t->length < 0 && !t->chunked)
		return transfer_note(t, TRANSFER_SOURCE, -EBADMSG,
				     "the answer has neither a length nor a "
				     "marked end");
	if (t->length > t->bytes_max)
		return transfer_note(t, TRANSFER_SOURCE, -EFBIG,
				     "the media has %" PRId64 " bytes, %" PRId64
				     " are allowed",
				     t->length, t->bytes_max);
	return 0;
}

static int open_spool(struct transfer *t)
{
	struct fault fault;

	t->spool_fd =
		transfer_spool_open(t->transfers->conf->spool_dir, &fault);
	if (t->spool_fd < 0)
		return transfer_note(t, TRANSFER_NOWHERE, -EAGAIN, "%s",
				     fault.text);
	if (store_writer_begin(&t->spool, t->spool_fd, t->length) < 0)
		return transfer_note(t, TRANSFER_NOWHERE, -ENOMEM, "no memory");
	return 0;
}

static int note_spool(struct transfer *t, int error)
{
	return transfer_note(t, TRANSFER_NOWHERE, -EAGAIN, "SPOOL_DIR: %s",
			     strerror(-error));
}

static int open_sink(struct transfer *t)
{
	enum store_needs needs = store_needs(t->transfers->store);
	struct store_object object = {
		.key = t->result.key,
		.content_type = t->type->content_type,
		.bytes = t->length,
		.spool_fd = -1,
	};
	struct fault fault;
	int r;

	if (needs == STORE_NEEDS_SPOOL ||
	    (needs == STORE_NEEDS_BYTES && t->length < 0))
		return open_spool(t);
	r = store_put_start(t->transfers->store, &object, &transfer_put_events,
			    t, &t->put, &fault);
	if (r < 0)
		return transfer_note(t, TRANSFER_STORE, r, "%s", fault.text);
	return 0;
}

/* Hand bytes on. @return 0; -EAGAIN: no room yet; -EIO: noted */
static int deliver(struct transfer *t, const char *bytes, size_t size)
{
	struct fault fault;
	int r;

	if (t->put) {
		r = store_put_write(t->put, bytes, size, &fault);
		if (r == -EAGAIN)
			return r;
		if (r < 0) {
			(void)transfer_note(t, TRANSFER_STORE,
					    r == -ENOSPC ? -EAGAIN : r, "%s",
					    fault.text);
			return -EIO;
		}
	} else {
		r = store_writer_add(&t->spool, bytes, size);
		if (r < 0) {
			(void)note_spool(t, r);
			return -EIO;
		}
	}
	sha256_add(t->sha256, bytes, size);
	t->bytes += (int64_t)size;
	return 0;
}

/* The first bytes are together: say what it is, open where it goes. */
static int begin_content(struct transfer *t)
{
	int r = transfer_sniff(t);

	if (r >= 0)
		r = open_sink(t);
	if (r >= 0)
		r = deliver(t, t->head, t->head_size);
	return r;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *userdata)
{
	struct transfer *t = userdata;
	size_t more = size * count, head = 0;
	long status = 0;
	int r = 0;

	(void)curl_easy_getinfo(t->wire.easy, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) {
		t->ignored += (int64_t)more;
		return t->ignored > IGNORED_BYTES_MAX ? 0 : more;
	}
	if (check_framing(t) < 0)
		return 0;
	if ((int64_t)more >
	    t->bytes_max - t->bytes - (t->type ? 0 : (int64_t)t->head_size)) {
		(void)transfer_note(t, TRANSFER_SOURCE, -EFBIG,
				    "more than %" PRId64 " bytes",
				    t->bytes_max);
		return 0;
	}
	if (!t->type) {
		head = sizeof(t->head) - t->head_size;
		if (head > more)
			head = more;
		memcpy(t->head + t->head_size, bytes, head);
		t->head_size += head;
		if (t->head_size == sizeof(t->head))
			r = begin_content(t);
	}
	/* An empty sink has room for all of this, so that "no room" can only
	 * be the answer to a chunk of which nothing was taken. */
	if (r == 0 && more > head)
		r = deliver(t, bytes + head, more - head);
	if (r == -EAGAIN && head == 0) {
		t->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	return r < 0 ? 0 : more;
}

/* ---- its end ------------------------------------------------------------ */

/* A name may lead elsewhere the next time; an address, in whatever spelling,
 * leads where it leads. */
static bool has_name(const struct http_wire *wire)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(16 * LIMIT_KIB);
	const char *text = NULL, *last;
	struct url url;

	(void)curl_easy_getinfo(wire->easy, CURLINFO_EFFECTIVE_URL, &text);
	if (!arena || !text || url_split(text, arena, &url, NULL) < 0)
		return false;
	last = strrchr(url.host, '.');
	last = last ? last + 1 : url.host;
	return *last != '[' && !isdigit((unsigned char)*last);
}

static int error_of_curl(const struct http_wire *wire, CURLcode code)
{
	if (wire->refused)
		return has_name(wire) ? -EAGAIN : -EACCES;
	switch (code) {
	case CURLE_UNSUPPORTED_PROTOCOL:
		/* Also what answers that are not HTTP are called. */
		return wire->reached ? -EBADMSG : -EACCES;
	case CURLE_URL_MALFORMAT:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING: /* also of the transfer */
		return -EBADMSG;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EAGAIN;
	}
}

static void note_curl(struct transfer *t, CURLcode code)
{
	struct fault fault;

	http_wire_explain(&t->wire, code, &fault);
	t->result.unreached = !t->wire.reached && t->redirects == 0;
	(void)transfer_note(t, TRANSFER_SOURCE, error_of_curl(&t->wire, code),
			    "download: %s", fault.text);
}

static void note_status(struct transfer *t)
{
	int error = -EBADMSG;

	switch (t->status) {
	case 403:
		/* A link that is signed has run out; who shows who he is lacks
		 * a right, which may be given. */
		error = t->headers ? -EAGAIN : -ENOENT;
		break;
	case 404:
	case 410:
		error = -ENOENT;
		break;
	case 401:
	case 408:
	case 425:
	case 429:
		error = -EAGAIN;
		break;
	default:
		if (t->status >= 500)
			error = -EAGAIN;
	}
	(void)transfer_note(t, TRANSFER_SOURCE, error, "download: HTTP %u",
			    t->status);
}

static bool is_redirect(unsigned status)
{
	return status == 301 || status == 302 || status == 303 ||
	       status == 307 || status == 308;
}

/* @return 0: fetch t->url next; or noted */
static int follow(struct transfer *t)
{
	char *target = NULL;
	struct url url;
	int r;

	(void)curl_easy_getinfo(t->wire.easy, CURLINFO_REDIRECT_URL, &target);
	if (!target)
		return transfer_note(t, TRANSFER_SOURCE, -EBADMSG,
				     "download: HTTP %u without a target",
				     t->status);
	if (t->redirects++ == LIMIT_REDIRECTS)
		return transfer_note(t, TRANSFER_SOURCE, -EBADMSG,
				     "download: more than %d redirects",
				     LIMIT_REDIRECTS);
	r = url_split(target, t->arena, &url, NULL);
	if (r < 0)
		return transfer_note(t, TRANSFER_SOURCE, -EBADMSG,
				     "download: redirected to no URL");
	t->url = arena_strdup(t->arena, target);
	if (!t->url)
		return transfer_note(t, TRANSFER_NOWHERE, -ENOMEM, "no memory");
	/* Once away from where they belong, headers do not come back. */
	if (!url_same_origin(&url, &t->origin)) {
		curl_slist_free_all(t->headers);
		t->headers = NULL;
	}
	return 0;
}

/* The whole file is here, as far as HTTP can tell. */
static int complete(struct transfer *t)
{
	int r = check_framing(t);

	if (r < 0)
		return r;
	if (!t->type && t->head_size == 0)
		return transfer_note(t, TRANSFER_SOURCE, -EBADMSG,
				     "the media is empty");
	if (!t->type) {
		r = begin_content(t);
		if (r < 0)
			return r;
	}
	if (t->length >= 0 && t->bytes != t->length)
		return transfer_note(t, TRANSFER_SOURCE, -EAGAIN,
				     "download: cut short");
	r = store_writer_end(&t->spool);
	return r < 0 ? note_spool(t, r) : 0;
}

static void on_fetched(CURLcode code, void *userdata)
{
	struct transfer *t = userdata;
	long status = 0;

	(void)curl_easy_getinfo(t->wire.easy, CURLINFO_RESPONSE_CODE, &status);
	t->status = t->result.http_status = (unsigned)status;
	if (t->result.error == 0) {
		/* An error page that is too long to read is still its status.
		 * A redirect's target stands in its headers. */
		bool over = code == CURLE_WRITE_ERROR && status != 200;

		if (code != CURLE_OK && !over) {
			note_curl(t, code);
		} else if (is_redirect(t->status)) {
			if (follow(t) == 0) {
				transfer_fetch(t);
				return;
			}
		} else if (t->status != 200) {
			note_status(t);
		} else if (complete(t) == 0) {
			transfer_store(t);
			return;
		}
	}
	transfer_end(t);
}

/* ---- its start ---------------------------------------------------------- */

static int prepare(struct transfer *t)
{
	const struct conf *conf = t->transfers->conf;
	CURL *easy;
	int r;

	r = http_wire_prepare(&t->wire, conf->allow_loopback
						? HTTP_REACH_LOOPBACK
						: HTTP_REACH_PUBLIC);
	if (r < 0)
		return r;
	easy = t->wire.easy;
	if (http_wire_aim(&t->wire, t->url) < 0)
		return -ENOMEM;
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
	/* Each file on a connection of its own: one that is paused because
	 * the store is slow must not hold up another. */
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
			       (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			       (long)conf->connect_timeout_ms);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT,
			       (long)STALL_BYTES_S);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
			       (long)conf->stall_timeout_s);
	(void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	return 0;
}

void transfer_fetch(struct transfer *t)
{
	int r;

	t->length = -1;
	t->chunked = t->ambiguous = false;
	t->ignored = 0;
	r = prepare(t);
	if (r >= 0)
		r = http_wire_start(&t->wire, t->transfers->loop, on_fetched,
				    t);
	if (r >= 0)
		return;
	(void)transfer_note(t, TRANSFER_NOWHERE, r, "download: no memory");
	transfer_end(t);
}
