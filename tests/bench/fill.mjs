// SPDX-License-Identifier: MIT
// Fills a database with jobs at once, far faster than they could be submitted,
// and gives them ids that a case can name without asking.

/** The id of the n-th execution (0) or job (1) of a fill. */
export function idOf(n, kind) {
	return `01900000-${kind}000-7000-8000-` +
		n.toString(16).padStart(12, "0");
}

const idSql = (kind) => `('01900000-${kind}000-7000-8000-' ||
	lpad(to_hex(n), 12, '0'))::uuid`;

const members = (due) => ({
	processing: {
		next_poll_at: `now() + interval '${due}'`,
		provider_job_id: "'p' || n",
		started_at: "now()",
		attempt: "1",
	},
	completed: {
		provider_job_id: "'p' || n",
		started_at: "now() - interval '1 minute'",
		completed_at: "now()",
		completed_via: "'webhook'",
		progress: "1",
		attempt: "1",
		output: `to_jsonb('https://replicate.delivery/x/' || n || '.mp4')`,
	},
	queued: { next_poll_at: "now()" },
});

/**
 * Executions of one job each, of the owner "demo".
 *
 * @param stack
 * @param {{first?: number, count: number, status: string, due?: string}} what
 *	the jobs are numbered from "first"; status: processing, completed or
 *	queued; due: when one that renders is to be asked about
 */
export async function fill(stack, what) {
	const first = what.first ?? 0;
	const { status } = what;
	const done = status === "completed";
	const values = members(what.due ?? "1 hour")[status];
	const names = Object.keys(values);
	const series = `generate_series(${first}, ${first + what.count - 1}) AS n`;

	// Keys between tables hold by how the ids are made.
	await stack.sql(`
SET session_replication_role = replica;
INSERT INTO executions (id, owner, body_sha256, jobs_total, jobs_completed,
                        completed_at)
SELECT ${idSql(0)}, 'demo', sha256('x'), 1, ${done ? 1 : 0},
       ${done ? "now()" : "NULL"} FROM ${series};
INSERT INTO execution_jobs (id, execution_id, position, name, provider, model,
                            input, deadline_s, max_attempts, deadline_at,
                            status${names.map((name) => `, ${name}`).join("")})
SELECT ${idSql(1)}, ${idSql(0)}, 0, 'clip', 'replicate', 'owner/model',
       '{"prompt": "a lighthouse at dawn, slow push in"}', 21600, 3,
       now() + interval '6 hours', '${status}'
       ${names.map((name) => `, ${values[name]}`).join("")}
  FROM ${series};
INSERT INTO job_events (job_id, attempt, event, to_status, why)
SELECT ${idSql(1)}, 0, 'submitted', 'queued', 'submitted; it waits for nothing'
  FROM ${series};
${status === "queued" ? "" : `
INSERT INTO job_starts (job_id, attempt, provider, provider_job_id, outcome,
                        answered_at)
SELECT ${idSql(1)}, 1, 'replicate', 'p' || n, 'accepted', now()
  FROM ${series};`}
${done ? `
INSERT INTO media (job_id, attempt, index, key, url, content_type, bytes,
                   sha256)
SELECT ${idSql(1)}, 1, 0, n || '.mp4', 'https://cdn.example.com/' || n || '.mp4',
       'video/mp4', 1048576, encode(sha256('x'), 'hex')
  FROM ${series};` : ""}
`);
	await stack.sql("VACUUM ANALYZE executions, execution_jobs, job_events, " +
		"job_starts, media");
}
