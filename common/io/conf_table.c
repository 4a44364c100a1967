/* SPDX-License-Identifier: MIT */
#include "common/io/conf_table.h"

#include "common/base/macro.h"

/* docs/man/rushes.conf.5 has a paragraph for each row; lint compares. */

enum {
	FCGI = CONF_FCGI,
	POLL = CONF_POLLER,
	ADMIN = CONF_ADMIN,
	BOTH = CONF_FCGI | CONF_POLLER,
	ALL = CONF_FCGI | CONF_POLLER | CONF_ADMIN,
	REPLICATE = 0,
	FAL = 1,
	VERTEX = 2,
};

#define AT(member) offsetof(struct conf, member)
#define DAY_S	   (24 * 60 * 60)
#define GIB	   (INT64_C(1) << 30)

/* clang-format off */
#define NAME(name, parse, member, preset, used, help) \
	{ name, parse, AT(member), preset, 0, 0, NULL, used, 0, false, help }
#define SECRET(name, member, used, needed, help) \
	{ name, conf_parse_text, AT(member), NULL, 0, 0, NULL, used, needed, true, help }
#define PATH(name, member, preset, used, help) \
	{ name, conf_parse_path, AT(member), preset, 0, 0, NULL, used, 0, false, help }
#define HTTPS(name, member, preset, used, needed, help) \
	{ name, conf_parse_https_url, AT(member), preset, 0, 0, NULL, used, needed, false, help }
#define NUMBER(name, member, preset, least, most, unit, used, help) \
	{ name, conf_parse_number, AT(member), preset, least, most, unit, used, 0, false, help }
#define BYTES(name, member, preset, least, most, used, help) \
	{ name, conf_parse_bytes, AT(member), preset, least, most, "bytes; K, M, G may follow", used, 0, false, help }
#define WORD(name, parse, preset, choices, used, help) \
	{ name, parse, 0, preset, 0, 0, choices, used, 0, false, help }
#define OTHER(name, parse, preset, used, needed, secret, help) \
	{ name, parse, 0, preset, 0, 0, NULL, used, needed, secret, help }

static const struct conf_row rows[] = {
	/* First, because URLs are judged by it. */
	{ "ALLOW_LOOPBACK", conf_parse_bool, AT(allow_loopback), "0", 0, 1, "0 or 1", ALL, 0, false,
	  "1: http and loopback addresses are allowed (tests and development only)" },

	SECRET("DATABASE_URL", database_url, ALL, BOTH, "PostgreSQL connection, as a URL or in keywords"),
	SECRET("DATABASE_ADMIN_URL", database_admin_url, ADMIN, 0, "the same for --migrate, --add-key and the like; default: DATABASE_URL"),
	HTTPS("API_BASE_URL", api_base_url, NULL, BOTH, BOTH, "public origin of the API; providers send webhooks there"),
	OTHER("WEBHOOK_TOKEN_KEY", conf_parse_token_key, NULL, BOTH, BOTH, true, "32 bytes in base64, the same on all hosts; a second one, after a blank, while rotating"),

	OTHER("STORE_URL", conf_parse_store, NULL, ALL, BOTH, false, "where media goes: file:///folder or s3://bucket/prefix"),
	{ "CDN_BASE_URL", conf_parse_url, AT(cdn_base_url), NULL, 0, 0, NULL, BOTH, 0, false,
	  "prefix of public media URLs; default: API_BASE_URL/media, or the bucket's own URL" },
	{ "S3_URL", conf_parse_url, AT(s3_url), NULL, 0, 0, NULL, BOTH, 0, false,
	  "endpoint of the S3 service, without bucket" },
	SECRET("S3_ACCESS_KEY", s3_access_key, POLL, 0, "access key of the bucket"),
	SECRET("S3_SECRET_KEY", s3_secret_key, POLL, 0, "secret key of the bucket"),
	NAME("S3_REGION", conf_parse_region, s3_region, "us-east-1", POLL, "region that version 4 signatures name"),
	WORD("S3_SIGNATURE", conf_parse_signature, "v4", "v4 or v2", POLL, "signature version"),
	WORD("S3_STYLE", conf_parse_style, "path", "path or virtual", BOTH, "bucket in the path or in the host name"),
	PATH("S3_CA_FILE", s3_ca_file, NULL, POLL, "certificate authorities of a private S3 service; default: the system's"),
	PATH("SPOOL_DIR", spool_dir, "/var/tmp", POLL, "folder for unlinked files, for media of unknown length"),

	SECRET("REPLICATE_API_TOKEN", provider[REPLICATE].credential, BOTH, 0, "API token; without it Replicate is not used"),
	OTHER("REPLICATE_WEBHOOK_SECRET", conf_parse_webhook_secret, NULL, BOTH, 0, true, "whsec_ secrets, separated by blanks; default: asked for at Replicate"),
	HTTPS("REPLICATE_BASE_URL", provider[REPLICATE].base_url, "https://api.replicate.com/v1", BOTH, 0, "API of Replicate"),
	SECRET("FAL_KEY", provider[FAL].credential, BOTH, 0, "API key; without it fal is not used"),
	HTTPS("FAL_QUEUE_URL", provider[FAL].base_url, "https://queue.fal.run", BOTH, 0, "queue API of fal"),
	HTTPS("FAL_API_URL", provider[FAL].list_url, "https://api.fal.ai/v1", BOTH, 0, "platform API of fal, which lists requests"),
	HTTPS("FAL_JWKS_URL", provider[FAL].keys_url, "https://rest.fal.ai/.well-known/jwks.json", BOTH, 0, "keys of fal's webhook signatures"),
	OTHER("GOOGLE_APPLICATION_CREDENTIALS", conf_parse_account, NULL, BOTH, 0, true, "path of the service-account JSON; without it Vertex AI is not used"),
	NAME("VERTEX_PROJECT", conf_parse_project, vertex_project, NULL, BOTH, "Google Cloud project; default: the service account's"),
	NAME("VERTEX_LOCATION", conf_parse_location, vertex_location, "us-central1", BOTH, "region"),
	OTHER("VERTEX_STORAGE_URI", conf_parse_storage_uri, NULL, BOTH, 0, false, "gs://bucket/prefix that Veo writes to; default: results come inline"),
	HTTPS("VERTEX_BASE_URL", provider[VERTEX].base_url, "https://{location}-aiplatform.googleapis.com/v1", BOTH, 0, "API of Vertex AI; {location} is replaced"),
	HTTPS("GCS_BASE_URL", gcs_base_url, "https://storage.googleapis.com", BOTH, 0, "API of Google Cloud Storage"),
	OTHER("PROVIDER_CONCURRENCY", conf_parse_concurrency, NULL, ALL, 0, false, "jobs rendering at once: replicate=20 fal=2; default: no limit"),
	OTHER("PROVIDER_RATE", conf_parse_rate, NULL, ALL, 0, false, "starts in so many seconds: vertex=50/60; default: no limit"),
	NUMBER("REPLICATE_POLL_FIRST_MS", provider[REPLICATE].poll_first_ms, "0", 0, 3600000, "ms", BOTH, "first look at a job; 0: 30 s"),
	NUMBER("REPLICATE_POLL_MOST_MS", provider[REPLICATE].poll_most_ms, "0", 0, 3600000, "ms", BOTH, "longest pause between looks; 0: 5 min"),
	NUMBER("FAL_POLL_FIRST_MS", provider[FAL].poll_first_ms, "0", 0, 3600000, "ms", BOTH, "first look at a job; 0: 30 s"),
	NUMBER("FAL_POLL_MOST_MS", provider[FAL].poll_most_ms, "0", 0, 3600000, "ms", BOTH, "longest pause between looks; 0: 5 min"),
	NUMBER("VERTEX_POLL_FIRST_MS", provider[VERTEX].poll_first_ms, "0", 0, 3600000, "ms", BOTH, "first look at a job; 0: 5 s"),
	NUMBER("VERTEX_POLL_MOST_MS", provider[VERTEX].poll_most_ms, "0", 0, 3600000, "ms", BOTH, "longest pause between looks; 0: 60 s"),

	PATH("WAKE_SOCKET", wake_socket, NULL, FCGI, "path of the poller's wake socket; default: its timer alone wakes it"),
	OTHER("FCGI_PEER_USERS", conf_parse_peers, NULL, FCGI, 0, false, "users, by name or number, that may connect; default: our own and www-data"),
	OTHER("FCGI_PEER_GROUP", conf_parse_peer_group, NULL, FCGI, 0, false, "group, by name or number, whose members may connect; then FCGI_PEER_USERS has no default"),
	NUMBER("FCGI_THREADS", fcgi_threads, "0", 0, 256, "threads", FCGI, "threads that serve requests; 0: two a processor"),
	BYTES("BODY_BYTES_MAX", body_bytes_max, "4M", 1024, 64 << 20, FCGI, "largest request body"),
	NUMBER("JOBS_PER_EXECUTION_MAX", jobs_per_execution_max, "10000", 1, 100000, "jobs", FCGI, "most jobs in one execution"),

	NUMBER("POLLER_PERIOD_S", poller_period_s, "10", 1, 3600, "s", POLL, "how often the timer starts the poller"),
	NUMBER("POLLER_LINGER_S", poller_linger_s, "2", 0, 3600, "s", POLL, "how long it stays after its last work"),
	NUMBER("LEASE_S", lease_s, "60", 5, 3600, "s", POLL, "how long a claim lasts unless it is renewed"),
	NUMBER("START_GROUP", start_group, "64", 1, 1000, "jobs", POLL, "paid starts of one provider written ahead together"),
	NUMBER("START_RETRIES", start_retries, "3", 0, 100, "times", BOTH, "retries of a start that was turned away in passing"),
	NUMBER("STORE_RETRIES", store_retries, "8", 0, 100, "times", BOTH, "retries of fetching a result"),
	NUMBER("DEADLINE_S", deadline_s, "21600", 1, 7 * DAY_S, "s", BOTH, "total time of a job that does not say"),
	NUMBER("RECONCILE_S", reconcile_s, "1800", 10, DAY_S, "s", BOTH, "how long to find out about a start nobody knows about"),
	NUMBER("CANCEL_CONFIRM_S", cancel_confirm_s, "60", 1, 3600, "s", BOTH, "how long a provider may take to confirm a cancellation"),
	NUMBER("BREAKER_FAILURES", breaker_failures, "5", 1, 1000, "failures", POLL, "failures in BREAKER_WINDOW_S after which a provider is left alone"),
	NUMBER("BREAKER_WINDOW_S", breaker_window_s, "30", 1, 3600, "s", POLL, "window in which failures are counted"),
	NUMBER("BREAKER_OPEN_S", breaker_open_s, "30", 1, 3600, "s", POLL, "how long it is left alone before one probe"),
	NUMBER("CONNECT_TIMEOUT_MS", connect_timeout_ms, "5000", 100, 60000, "ms", POLL, "longest wait for a connection"),
	NUMBER("ANSWER_TIMEOUT_MS", answer_timeout_ms, "30000", 100, 600000, "ms", POLL, "longest wait for a whole API answer"),
	NUMBER("STALL_TIMEOUT_S", stall_timeout_s, "30", 1, 600, "s", POLL, "a transfer slower than 1 KiB/s for so long is given up"),
	NUMBER("TRANSFERS_MAX", transfers_max, "64", 1, 1024, "transfers", POLL, "media transfers at once"),
	BYTES("MEDIA_BYTES_MAX", media_bytes_max, "2G", 1024, 1024 * GIB, POLL, "largest media file"),

	NUMBER("RETAIN_COMPLETED_DAYS", retain_completed_days, "30", 1, 36500, "days", POLL | ADMIN, "completed executions are kept so long"),
	NUMBER("RETAIN_OTHER_DAYS", retain_other_days, "90", 1, 36500, "days", POLL | ADMIN, "failed and cancelled executions are kept so long"),
	NUMBER("RETAIN_INBOX_DAYS", retain_inbox_days, "7", 1, 36500, "days", POLL | ADMIN, "webhook deliveries are kept so long"),
	NUMBER("RETAIN_IDEMPOTENCY_HOURS", retain_idempotency_hours, "24", 1, 8760, "hours", POLL | ADMIN, "idempotency keys are kept so long"),

	WORD("LOG_LEVEL", conf_parse_level, "info", "err, warning, notice, info or debug", ALL, "least important messages that are written"),
	WORD("LOG_TARGET", conf_parse_target, "auto", "auto, journal or stderr", ALL, "where messages go; auto: the journal if stderr is connected to it"),
};
/* clang-format on */

const struct conf_row *conf_row_at(size_t index)
{
	return index < COUNT_OF(rows) ? &rows[index] : NULL;
}
