/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIMULATOR_TABLE_H
#define TESTS_SIMULATOR_TABLE_H

#include <stddef.h>

/* Text to pointer, hashed. Keys are copied; values are the caller's. */
struct table;

struct table *table_new(void); /* ends the process without memory */
struct table *table_free(struct table *table);

void *table_get(const struct table *table, const char *key); /* or NULL */
void table_set(struct table *table, const char *key, void *value);
void *table_remove(struct table *table, const char *key); /* the old value */
size_t table_count(const struct table *table);

/* Remove every key that begins with prefix; values are not freed. */
void table_remove_prefix(struct table *table, const char *prefix);

#endif
