/* SPDX-License-Identifier: MIT */
#include "common/io/store_s3.h"

#include "common/base/text.h"
#include "common/io/http_client_loop.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/*
 * Media in an S3 bucket, signed with version 4 by libcurl.
 *
 * To a service on this machine, or over https, the payload is not signed (the
 * kernel guards it, or TLS), so bytes go through as they come, by way of a
 * small ring; else its hash has to be known before, so it is spooled. (Chunks
 * that are signed one by one would not, but gateways take twice as long to
 * verify them.) An upload that breaks off leaves nothing: S3
 * shows an object only when all of it has come. The last byte of a piped
 * upload is held back until store_put_finish(), when the source is known to
 * be whole.
 *
 * The endpoint is the operator's own, so it may have a private address.
 */

enum {
	RING_BYTES = 128 * 1024,
	ANSWER_BYTES_MAX = 16 * 1024,
	STALL_BYTES_S = 1024,
	/* A source that stalls must be noticed before its upload is. */
	STALL_ROOM_S = 15,
};

static const char empty_sha256[] =
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct s3 {
	struct http_loop *loop;
	char *base; /* URL of the bucket and prefix, with its last slash */
	char *signer;
	bool guarded; /* nobody on the way can change what we send */
};

struct s3_put {
	struct store_put base;
	struct http_wire wire;
	struct curl_slist *headers;
	sd_event_source *resume; /* wakes a paused upload, from the loop */
	int64_t bytes, sent;
	int spool_fd; /* borrowed; -1: bytes come by way of the ring */
	char *ring;
	size_t first, count; /* of what is in the ring */
	bool finished;	     /* the last byte may go */
	bool paused;	     /* libcurl waits for bytes */
	bool refused;	     /* the source waits for room */
	char answer[ANSWER_BYTES_MAX];
	size_t answer_size;
};

static enum store_needs s3_needs(const struct store *store)
{
	const struct s3 *s3 = store->state;

	return s3->guarded ? STORE_NEEDS_BYTES : STORE_NEEDS_SPOOL;
}

static void s3_close(struct store *store)
{
	struct s3 *s3 = store->state;

	if (!s3)
		return;
	(void)http_loop_free(s3->loop);
	free(s3->base);
	free(s3->signer);
	free(s3);
	store->state = NULL;
}

/* By the literal alone: a name may lead elsewhere the next time, but for
 * "localhost", which libcurl looks up nowhere. */
static bool is_this_machine(const char *host)
{
	size_t length = strcspn(host, *host == '[' ? "]" : ":/");
	struct in_addr address;
	char text[64];

	if (length >= sizeof(text))
		return false;
	memcpy(text, host, length);
	text[length] = '\0';
	if (inet_pton(AF_INET, text, &address) == 1)
		return ntohl(address.s_addr) >> 24 == 127;
	return strcasecmp(text, "localhost") == 0 || strcmp(text, "[::1") == 0;
}

static int s3_open(struct store *store, struct fault *reterr_fault)
{
	const struct conf *conf = store->conf;
	const char *host = strstr(conf->s3_url, "://") + 3;
	struct s3 *s3 = calloc(1, sizeof(*s3));
	int r;

	if (!s3)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	store->state = s3;
	s3->guarded = text_starts_with(conf->s3_url, "https:") ||
		      (!conf->s3_virtual_style && is_this_machine(host));
	if (conf->s3_virtual_style)
		r = asprintf(&s3->base, "%.*s%s.%s/%s",
			     (int)(host - conf->s3_url), conf->s3_url,
			     conf->store_bucket, host, conf->store_prefix);
	else
		r = asprintf(&s3->base, "%s/%s/%s", conf->s3_url,
			     conf->store_bucket, conf->store_prefix);
	if (r < 0)
		s3->base = NULL;
	if (asprintf(&s3->signer, "aws:amz:%s:s3", conf->s3_region) < 0)
		s3->signer = NULL;
	if (!s3->base || !s3->signer)
		r = fault_set(reterr_fault, -ENOMEM, "no memory");
	else
		r = http_loop_new(store->event, &s3->loop, reterr_fault);
	if (r < 0)
		s3_close(store);
	return r < 0 ? r : 0;
}

/* ---- what puts and reads have in common --------------------------------- */

/* A handle for one object, signed. Anything but unreserved characters is
 * percent-encoded: that is how the other side writes the path it signs. */
static int prepare(struct http_wire *wire, struct store *store, const char *key,
		   struct curl_slist *headers, int64_t stall_s)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(16 * 1024);
	const struct conf *conf = store->conf;
	const struct s3 *s3 = store->state;
	char *path, *url;
	CURL *easy;
	int r;

	if (!arena)
		return -ENOMEM;
	path = text_to_percent(key, true, arena);
	url = path ? arena_printf(arena, "%s%s", s3->base, path) : NULL;
	if (!url)
		return -ENOMEM;
	r = http_wire_prepare(wire, HTTP_REACH_ANY);
	if (r < 0)
		return r;
	easy = wire->easy;
	if (curl_easy_setopt(easy, CURLOPT_URL, url) != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, s3->signer) != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_USERNAME, conf->s3_access_key) !=
		    CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_PASSWORD, conf->s3_secret_key) !=
		    CURLE_OK ||
	    (conf->s3_ca_file &&
	     curl_easy_setopt(easy, CURLOPT_CAINFO, conf->s3_ca_file) !=
		     CURLE_OK))
		return -ENOMEM;
	(void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
			       (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			       (long)conf->connect_timeout_ms);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT,
			       (long)STALL_BYTES_S);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)stall_s);
	return 0;
}

/* S3's own word for what went wrong: <Code>Word</Code>. */
static void find_code(const char *answer, size_t size, char *ret,
		      size_t ret_size)
{
	static const char mark[] = "<Code>";
	const char *code = memmem(answer, size, mark, sizeof(mark) - 1);
	size_t length = 0;

	ret[0] = '\0';
	if (!code)
		return;
	code += sizeof(mark) - 1;
	size -= (size_t)(code - answer);
	while (length < size && length + 1 < ret_size &&
	       ((code[length] | 0x20) >= 'a' && (code[length] | 0x20) <= 'z')) {
		ret[length] = code[length];
		length++;
	}
	ret[length] = '\0';
}

static int judge(struct http_wire *wire, CURLcode code, const char *answer,
		 size_t answer_size, struct fault *reterr_fault)
{
	struct fault fault;
	char word[64];
	long status = 0;

	(void)curl_easy_getinfo(wire->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK && status == 200)
		return 0;
	/* A refusal may come, and the connection break, while we send. */
	if (status >= 300) {
		find_code(answer, answer_size, word, sizeof(word));
		return store_s3_error(status, word, reterr_fault);
	}
	http_wire_explain(wire, code, &fault);
	return fault_set(reterr_fault,
			 code == CURLE_PEER_FAILED_VERIFICATION ||
					 code == CURLE_SSL_CACERT_BADFILE
				 ? -EACCES
				 : -EAGAIN,
			 "S3 store: %s", fault.text);
}

/* ---- writing ------------------------------------------------------------ */

static struct s3_put *s3_put_free(struct s3_put *put)
{
	if (!put)
		return NULL;
	http_wire_done(&put->wire);
	curl_slist_free_all(put->headers);
	(void)sd_event_source_disable_unref(put->resume);
	free(put->ring);
	free(put);
	return NULL;
}
DEFINE_CLEANUP(struct s3_put *, s3_put_free);

static size_t give_spooled(struct s3_put *put, char *buffer, size_t size)
{
	int64_t left = put->bytes - put->sent;
	ssize_t n;

	if ((int64_t)size > left)
		size = (size_t)left;
	n = pread(put->spool_fd, buffer, size, put->sent);
	if (n < 0 || (n == 0 && size > 0))
		return CURL_READFUNC_ABORT;
	put->sent += n;
	return (size_t)n;
}

static size_t give_piped(struct s3_put *put, char *buffer, size_t size)
{
	int64_t left = put->bytes - put->sent;
	size_t ready = put->count, until_end;

	if (left == 0)
		return 0;
	if (!put->finished && ready > 0 && (int64_t)ready == left)
		ready--;
	if (ready == 0) {
		put->paused = true;
		return CURL_READFUNC_PAUSE;
	}
	until_end = RING_BYTES - put->first;
	if (size > ready)
		size = ready;
	if (size > until_end)
		size = until_end;
	memcpy(buffer, put->ring + put->first, size);
	put->first = (put->first + size) % RING_BYTES;
	put->count -= size;
	put->sent += (int64_t)size;
	/* Not for every few bytes: both sides then work by large pieces. */
	if (put->refused && put->count <= RING_BYTES / 2) {
		put->refused = false;
		put->base.events->ready(put->base.userdata);
	}
	return size;
}

static size_t give(char *buffer, size_t size, size_t count, void *userdata)
{
	struct s3_put *put = userdata;

	return put->spool_fd >= 0 ? give_spooled(put, buffer, size * count)
				  : give_piped(put, buffer, size * count);
}

/* What went through the ring cannot be given again. */
static int seek(void *userdata, curl_off_t offset, int origin)
{
	struct s3_put *put = userdata;

	if (origin != SEEK_SET || offset < 0 || offset > put->bytes ||
	    (put->spool_fd < 0 && offset != put->sent))
		return CURL_SEEKFUNC_FAIL;
	put->sent = offset;
	return CURL_SEEKFUNC_OK;
}

static size_t take_answer(char *bytes, size_t size, size_t count,
			  void *userdata)
{
	struct s3_put *put = userdata;
	size_t more = size * count, room = ANSWER_BYTES_MAX - put->answer_size;

	memcpy(put->answer + put->answer_size, bytes,
	       more < room ? more : room);
	put->answer_size += more < room ? more : room;
	return more;
}

static void on_put(CURLcode code, void *userdata)
{
	struct s3_put *put = userdata;
	struct store_put base = put->base;
	struct fault fault = { "" };
	int error =
		judge(&put->wire, code, put->answer, put->answer_size, &fault);

	(void)s3_put_free(put);
	/* Where we write there is nothing to be found: a bucket is missing, or
	 * somebody answers who is no store. */
	base.events->done(error == -ENOENT ? -EACCES : error, &fault,
			  base.userdata);
}

static int on_resume(sd_event_source *source, void *userdata)
{
	struct s3_put *put = userdata;

	(void)source;
	if (put->paused) {
		put->paused = false;
		(void)curl_easy_pause(put->wire.easy, CURLPAUSE_CONT);
	}
	return 0;
}

static int set_headers(struct s3_put *put, const struct store_object *object)
{
	const struct s3 *s3 = put->base.store->state;
	const char *sha256 = s3->guarded ? "UNSIGNED-PAYLOAD" : object->sha256;

	assert(sha256);
	if (http_list_add(&put->headers, "x-amz-content-sha256", sha256) < 0 ||
	    http_list_add(&put->headers, "Content-Type", object->content_type) <
		    0)
		return -ENOMEM;
	return 0;
}

static int start_put(struct s3_put *put, const struct store_object *object)
{
	struct store *store = put->base.store;
	const struct s3 *s3 = store->state;
	int64_t stall_s = store->conf->stall_timeout_s + STALL_ROOM_S;
	CURL *easy;
	int r;

	r = set_headers(put, object);
	if (r >= 0)
		r = prepare(&put->wire, store, object->key, put->headers,
			    stall_s);
	if (r < 0)
		return r;
	easy = put->wire.easy;
	(void)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
			       (curl_off_t)put->bytes);
	(void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
	(void)curl_easy_setopt(easy, CURLOPT_READDATA, put);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, seek);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, put);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, put);
	return http_wire_start(&put->wire, s3->loop, on_put, put);
}

static int s3_put_start(struct store *store, const struct store_object *object,
			const struct store_put_events *events, void *userdata,
			struct store_put **ret, struct fault *reterr_fault)
{
	_cleanup_(s3_put_freep) struct s3_put *put = NULL;
	int r;

	assert(object->bytes >= 0);
	if (object->bytes > STORE_S3_BYTES_MAX)
		return fault_set(reterr_fault, -EFBIG,
				 "S3 store: %" PRId64
				 " bytes are more than one upload may have",
				 object->bytes);
	put = calloc(1, sizeof(*put));
	if (!put)
		return fault_set(reterr_fault, -ENOMEM, "no memory");
	put->base = (struct store_put){ store, events, userdata };
	put->bytes = object->bytes;
	put->spool_fd = object->spool_fd;
	put->finished = object->spool_fd >= 0;
	if (!put->finished) {
		put->ring = malloc(RING_BYTES);
		if (!put->ring)
			return fault_set(reterr_fault, -ENOMEM, "no memory");
	}
	r = sd_event_add_defer(store->event, &put->resume, on_resume, put);
	if (r >= 0)
		r = sd_event_source_set_enabled(put->resume, SD_EVENT_OFF);
	if (r >= 0)
		r = start_put(put, object);
	if (r < 0)
		return fault_set(reterr_fault, r, "S3 store: %s", strerror(-r));
	*ret = &put->base;
	put = NULL;
	return 0;
}

static void wake_upload(struct s3_put *put)
{
	if (put->paused)
		(void)sd_event_source_set_enabled(put->resume,
						  SD_EVENT_ONESHOT);
}

static int s3_put_write(struct store_put *base, const void *bytes, size_t size,
			struct fault *reterr_fault)
{
	struct s3_put *put = (struct s3_put *)base;
	size_t last = (put->first + put->count) % RING_BYTES, until_end;

	if ((int64_t)(put->count + size) > put->bytes - put->sent)
		return fault_set(reterr_fault, -EBADMSG,
				 "S3 store: more bytes than announced");
	if (size > RING_BYTES - put->count) {
		put->refused = true;
		return -EAGAIN;
	}
	until_end = RING_BYTES - last < size ? RING_BYTES - last : size;
	memcpy(put->ring + last, bytes, until_end);
	memcpy(put->ring, (const char *)bytes + until_end, size - until_end);
	put->count += size;
	wake_upload(put);
	return 0;
}

static void s3_put_finish(struct store_put *base)
{
	struct s3_put *put = (struct s3_put *)base;

	put->finished = true;
	wake_upload(put);
}

static void s3_put_cancel(struct store_put *base)
{
	(void)s3_put_free((struct s3_put *)base);
}

/* ---- reading ------------------------------------------------------------ */

struct s3_read {
	struct store_read base;
	struct http_wire wire;
	struct curl_slist *headers;
	char *bytes;
	size_t size, room, bytes_max;
	bool too_big;
};

static struct s3_read *s3_read_free(struct s3_read *read)
{
	if (!read)
		return NULL;
	http_wire_done(&read->wire);
	curl_slist_free_all(read->headers);
	free(read->bytes);
	free(read);
	return NULL;
}
DEFINE_CLEANUP(struct s3_read *, s3_read_free);

static size_t take_object(char *bytes, size_t size, size_t count,
			  void *userdata)
{
	struct s3_read *read = userdata;
	size_t more = size * count;
	char *longer;

	if (more > read->bytes_max - read->size) {
		read->too_big = true;
		return 0;
	}
	if (read->size + more > read->room) {
		size_t room = read->room * 2 + more;

		longer = realloc(read->bytes, room);
		if (!longer)
			return 0;
		read->bytes = longer;
		read->room = room;
	}
	memcpy(read->bytes + read->size, bytes, more);
	read->size += more;
	return more;
}

static void on_read(CURLcode code, void *userdata)
{
	_cleanup_(s3_read_freep) struct s3_read *read = userdata;
	struct store_content content = { .bytes = read->bytes,
					 .size = read->size };

	if (read->too_big)
		content.error = fault_set(
			&content.fault, -EFBIG,
			"S3 store: the object has more than %zu bytes",
			read->bytes_max);
	else
		content.error = judge(&read->wire, code, read->bytes,
				      read->size, &content.fault);
	if (content.error < 0)
		content.size = 0;
	read->base.done(&content, read->base.userdata);
}

static int s3_read(struct store *store, const char *key, size_t bytes_max,
		   store_read_fn *done, void *userdata, struct store_read **ret)
{
	_cleanup_(s3_read_freep) struct s3_read *read =
		calloc(1, sizeof(*read));
	const struct s3 *s3 = store->state;
	int r;

	if (!read)
		return -ENOMEM;
	read->base = (struct store_read){ store, done, userdata, false };
	read->bytes_max = bytes_max;
	if (http_list_add(&read->headers, "x-amz-content-sha256",
			  s3->guarded ? "UNSIGNED-PAYLOAD" : empty_sha256) < 0)
		return -ENOMEM;
	r = prepare(&read->wire, store, key, read->headers,
		    store->conf->stall_timeout_s);
	if (r < 0)
		return r;
	(void)curl_easy_setopt(read->wire.easy, CURLOPT_WRITEFUNCTION,
			       take_object);
	(void)curl_easy_setopt(read->wire.easy, CURLOPT_WRITEDATA, read);
	r = http_wire_start(&read->wire, s3->loop, on_read, read);
	if (r < 0)
		return r;
	*ret = &read->base;
	read = NULL;
	return 0;
}

static void s3_read_cancel(struct store_read *read)
{
	(void)s3_read_free((struct s3_read *)read);
}

const struct store_ops store_s3_ops = {
	.needs = s3_needs,
	.open = s3_open,
	.close = s3_close,
	.put_start = s3_put_start,
	.put_write = s3_put_write,
	.put_finish = s3_put_finish,
	.put_cancel = s3_put_cancel,
	.read = s3_read,
	.read_cancel = s3_read_cancel,
};
