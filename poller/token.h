/* SPDX-License-Identifier: MIT */
#ifndef POLLER_TOKEN_H
#define POLLER_TOKEN_H

#include "poller/poller.h"

/*
 * OAuth access tokens, where a provider wants one: bought when first needed,
 * kept for 90 % of their life. Works that need one meanwhile queue up.
 */

/**
 * Do the next step of a work once its provider's credential can be used: at
 * once, or when a token has come. If none can be had the work is put off like
 * one whose provider does not answer: until its deadline.
 */
void token_then(struct work *work, work_step_fn *step);

/* May requests be built right now? */
bool token_ready(const struct provider_state *provider);

/* The provider refused it: buy another for the next question. */
void token_drop(struct provider_state *provider);

/* Forget tokens and what is under way. */
void token_done(struct poller *poller);

#endif
