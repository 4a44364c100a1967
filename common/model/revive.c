/* SPDX-License-Identifier: MIT */
#include "common/model/revive.h"

#include <errno.h>

/* What is known of a job when all its parents have been looked at. */
struct look {
	bool runs_again; /* it is the retried job, or comes back */
	bool has_reason; /* a parent runs again */
	bool is_stopped; /* a parent is terminal for good, not completed */
	uint32_t waits_for;
};

/* Not job_is_terminal(): that would tie this file to the rule table for four
 * names. */
static bool has_ended_badly(enum job_state state)
{
	return state == JOB_FAILED || state == JOB_CANCELLED ||
	       state == JOB_SKIPPED;
}

static bool comes_back(const struct revive_job *job, const struct look *look)
{
	if (job->state != JOB_SKIPPED &&
	    !(job->state == JOB_FAILED && job->by_dependency))
		return false;
	return look->has_reason &&
	       (job->policy == POLICY_RUN || !look->is_stopped);
}

/* Tell a child about one of its parents. */
static void pass_on(const struct revive_job *parent,
		    const struct look *parent_look, struct look *child)
{
	if (parent_look->runs_again) {
		child->has_reason = true;
		child->waits_for++;
	} else if (has_ended_badly(parent->state)) {
		child->is_stopped = true;
	} else if (parent->state != JOB_COMPLETED) {
		child->waits_for++;
	}
}

int revive_find(const struct revive_graph *graph, size_t retried,
		struct arena *arena, const struct revived **ret_revived,
		size_t *ret_count, struct fault *reterr_fault)
{
	struct revived *revived;
	struct graph sorted;
	struct look *looks;
	size_t count = 0;
	int r;

	if (retried >= graph->job_count)
		return fault_set(reterr_fault, -EINVAL, "no such job to retry");
	r = graph_sort(graph->job_count, graph->edge, graph->edge_count, arena,
		       &sorted, reterr_fault);
	if (r < 0)
		return r;
	if (sorted.ordered_count < sorted.node_count)
		return fault_set(reterr_fault, -EINVAL, "jobs wait in a ring");
	looks = arena_alloc(arena, graph->job_count * sizeof(*looks));
	revived = arena_alloc(arena, graph->job_count * sizeof(*revived));
	if (arena_failed(arena))
		return fault_set(reterr_fault, -ENOMEM, "the arena is full");

	for (size_t i = 0; i < sorted.node_count; i++) {
		uint32_t place = sorted.order[i];
		const struct revive_job *job = &graph->job[place];
		struct look *look = &looks[place];

		look->runs_again = place == retried || comes_back(job, look);
		if (look->runs_again && place != retried)
			revived[count++] = (struct revived){
				.job = place,
				.waits_for = look->waits_for,
			};
		for (uint32_t child = sorted.first[place];
		     child < sorted.first[place + 1]; child++)
			pass_on(job, look, &looks[sorted.child[child]]);
	}
	*ret_revived = revived;
	*ret_count = count;
	return 0;
}
