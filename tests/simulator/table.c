/* SPDX-License-Identifier: MIT */
/* A chained hash table that doubles. */
#include "tests/simulator/table.h"

#include "tests/simulator/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct entry *next;
	uint64_t hash;
	void *value;
	char key[];
};

struct table {
	struct entry **slots;
	size_t slot_count; /* a power of two */
	size_t count;
};

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 1099511628211u;
	return hash ^ (hash >> 32);
}

struct table *table_new(void)
{
	struct table *table = take(sizeof(*table));

	table->slot_count = 256;
	table->slots = take(table->slot_count * sizeof(struct entry *));
	return table;
}

struct table *table_free(struct table *table)
{
	if (!table)
		return NULL;
	table_remove_prefix(table, "");
	free(table->slots);
	free(table);
	return NULL;
}

static struct entry **find(const struct table *table, const char *key)
{
	uint64_t hash = hash_text(key);
	struct entry **at = &table->slots[hash & (table->slot_count - 1)];

	while (*at && ((*at)->hash != hash || strcmp((*at)->key, key) != 0))
		at = &(*at)->next;
	return at;
}

static void grow(struct table *table)
{
	size_t slot_count = table->slot_count * 2;
	struct entry **slots = take(slot_count * sizeof(struct entry *));

	for (size_t i = 0; i < table->slot_count; i++) {
		struct entry *next;

		for (struct entry *entry = table->slots[i]; entry;
		     entry = next) {
			size_t slot = entry->hash & (slot_count - 1);

			next = entry->next;
			entry->next = slots[slot];
			slots[slot] = entry;
		}
	}
	free(table->slots);
	table->slots = slots;
	table->slot_count = slot_count;
}

void *table_get(const struct table *table, const char *key)
{
	struct entry *entry = *find(table, key);

	return entry ? entry->value : NULL;
}

void table_set(struct table *table, const char *key, void *value)
{
	struct entry **at = find(table, key);
	size_t size = strlen(key) + 1;

	if (!*at) {
		*at = take(sizeof(**at) + size);
		(*at)->hash = hash_text(key);
		memcpy((*at)->key, key, size);
		table->count++;
	}
	(*at)->value = value;
	if (table->count > table->slot_count)
		grow(table);
}

static void *cut_out(struct table *table, struct entry **at)
{
	struct entry *entry = *at;
	void *value = entry->value;

	*at = entry->next;
	free(entry);
	table->count--;
	return value;
}

void *table_remove(struct table *table, const char *key)
{
	struct entry **at = find(table, key);

	return *at ? cut_out(table, at) : NULL;
}

size_t table_count(const struct table *table)
{
	return table->count;
}

void table_remove_prefix(struct table *table, const char *prefix)
{
	size_t length = strlen(prefix);

	for (size_t i = 0; i < table->slot_count; i++) {
		struct entry **at = &table->slots[i];

		while (*at) {
			if (strncmp((*at)->key, prefix, length) == 0)
				(void)cut_out(table, at);
			else
				at = &(*at)->next;
		}
	}
}
