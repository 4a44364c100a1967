/* SPDX-License-Identifier: MIT */
#include "common/model/template.h"

#include "common/base/text.h"
#include "common/model/json_text.h"
#include "common/model/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { INDEX_DIGITS = 9 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static bool is_key_char(char c)
{
	return (unsigned char)c > ' ' && c != '\x7f' &&
	       !strchr(".[]{}$\"\\", c);
}

bool template_is_job_name(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!is_name_char(name[i]))
			return false;
	return length >= 1 && length <= LIMIT_JOB_NAME_BYTES;
}

/* What a string is made of. */
struct piece {
	enum { PIECE_END = 0, PIECE_TEXT, PIECE_REFERENCE } kind;
	const char *text; /* all of it as written, or the text it stands for */
	size_t length;
	const char *name; /* of the job, with PIECE_REFERENCE */
	size_t name_length;
	const char *path; /* behind "output": ".url", "[0]" or nothing */
	size_t path_length;
};

/* One step of a path. */
struct step {
	const char *key;
	size_t key_length;
	bool is_index; /* may be an index */
	bool is_key;   /* may be a key */
	size_t index;
};

/* A plain number without leading zeros. */
static bool read_index(const char *digits, size_t length, size_t *ret)
{
	size_t index = 0;

	if (length < 1 || length > INDEX_DIGITS ||
	    (length > 1 && digits[0] == '0'))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_digit(digits[i]))
			return false;
		index = index * 10 + (size_t)(digits[i] - '0');
	}
	*ret = index;
	return true;
}

/* Take ".key", ".0" or "[0]" off the front of a path. */
static bool take_step(const char **path, const char *end, struct step *ret)
{
	bool bracket = **path == '[';
	struct step step = { .key = *path + 1, .is_key = !bracket };
	const char *next = step.key;

	if (!bracket && **path != '.')
		return false;
	while (next < end && is_key_char(*next))
		next++;
	step.key_length = (size_t)(next - step.key);
	step.is_index = read_index(step.key, step.key_length, &step.index);

	if (step.key_length == 0 || (bracket && !step.is_index))
		return false;
	if (bracket && (next == end || *next++ != ']'))
		return false;
	*path = next;
	*ret = step;
	return true;
}

/* "${name.output.path}" */
static int take_reference(const char *text, struct piece *ret,
			  struct fault *reterr_fault)
{
	size_t length = strnlen(text, LIMIT_REFERENCE_BYTES);
	const char *end = memchr(text, '}', length);
	struct piece piece = { .kind = PIECE_REFERENCE, .text = text };
	const char *next;
	struct step step;

	if (!end)
		return fault_set(reterr_fault, TEMPLATE_E_SYNTAX,
				 "\"${\" has no \"}\" within %d bytes; write "
				 "\"$${\" for the characters themselves",
				 LIMIT_REFERENCE_BYTES);
	piece.length = (size_t)(end + 1 - text);
	piece.name = text + strlen("${");
	while (is_name_char(piece.name[piece.name_length]))
		piece.name_length++;
	if (!template_is_job_name(piece.name, piece.name_length))
		return fault_set(reterr_fault, TEMPLATE_E_SYNTAX,
				 "\"${\" must be followed by the name of a "
				 "job, as in ${name.output.url}");

	next = piece.name + piece.name_length;
	if (!text_starts_with(next, ".output"))
		return fault_set(reterr_fault, TEMPLATE_E_SYNTAX,
				 "the name of the job must be followed by "
				 "\".output\", as in ${name.output.url}");
	piece.path = next + strlen(".output");
	piece.path_length = (size_t)(end - piece.path);
	for (next = piece.path; next < end;)
		if (!take_step(&next, end, &step))
			return fault_set(reterr_fault, TEMPLATE_E_SYNTAX,
					 "the path of a reference is made of "
					 "\".key\", \".0\" and \"[0]\", as in "
					 "${name.output.urls[0]}");
	*ret = piece;
	return 0;
}

/* Take the next piece off the front of a string. */
static int take_piece(const char **text, struct piece *ret,
		      struct fault *reterr_fault)
{
	struct piece piece = { .kind = PIECE_TEXT, .text = *text };
	size_t taken;
	int r;

	if (**text == '\0') {
		piece.kind = PIECE_END;
		taken = 0;
	} else if (text_starts_with(*text, "$${")) {
		piece.text++;
		piece.length = strlen("${");
		taken = strlen("$${");
	} else if (text_starts_with(*text, "${")) {
		r = take_reference(*text, &piece, reterr_fault);
		if (r != 0)
			return r;
		taken = piece.length;
	} else {
		do
			piece.length++;
		while (piece.text[piece.length] != '\0' &&
		       !text_starts_with(piece.text + piece.length, "${") &&
		       !text_starts_with(piece.text + piece.length, "$${"));
		taken = piece.length;
	}
	*text += taken;
	*ret = piece;
	return 0;
}

/* {"$media": name, "index"?: number} */
static int read_media(json_t *object, const char **ret_name, size_t *ret_index,
		      struct fault *reterr_fault)
{
	const json_t *name = json_object_get(object, "$media");
	const json_t *index = json_object_get(object, "index");

	if (!json_is_string(name) ||
	    !template_is_job_name(json_string_value(name),
				  json_string_length(name)))
		return fault_set(reterr_fault, TEMPLATE_E_SYNTAX,
				 "\"$media\" must be the name of a job");
	if (index &&
	    (!json_is_integer(index) || json_integer_value(index) < 0 ||
	     json_integer_value(index) >= LIMIT_MEDIA_PER_JOB))
		return fault_set(reterr_fault, TEMPLATE_E_SYNTAX,
				 "\"index\" beside \"$media\" must be a number "
				 "from 0 to %d",
				 LIMIT_MEDIA_PER_JOB - 1);
	if (json_object_size(object) != (index ? 2 : 1))
		return fault_set(reterr_fault, TEMPLATE_E_SYNTAX,
				 "beside \"$media\" only \"index\" may stand");

	*ret_name = json_string_value(name);
	*ret_index = index ? (size_t)json_integer_value(index) : 0;
	return 0;
}

/* Where in the input we are; a chain up to its root, on the stack. */
struct place {
	const struct place *up;
	const char *key; /* or NULL: */
	size_t index;
};

struct finder {
	struct arena *arena;
	struct template_reference *reference;
	size_t count;
	size_t room;
	const char *where; /* of a syntax error */
	struct fault *fault;
};

/* @return arena text, or NULL when the arena is full */
static const char *pointer_to(const struct place *place, struct arena *arena)
{
	const struct place *chain[LIMIT_JSON_DEPTH + 1];
	char pointer[JSON_TEXT_POINTER_BYTES];
	char digits[24];
	size_t count = 0, size = 0;

	for (; place->up; place = place->up)
		chain[count++] = place;
	while (count-- > 0) {
		/* cppcheck-suppress uninitvar ; all below count are set */
		const char *key = chain[count]->key;

		if (!key) {
			(void)snprintf(digits, sizeof(digits), "%zu",
				       chain[count]->index);
			key = digits;
		}
		/* Too long: what holds the place must do. */
		if (!json_text_add_key(pointer, &size, key))
			break;
	}
	return arena_strndup(arena, pointer, size);
}

static int finder_add(struct finder *finder, const struct place *place,
		      struct template_reference *reference)
{
	if (finder->count == LIMIT_REFERENCES)
		return fault_set(finder->fault, -EFBIG,
				 "more than %d references", LIMIT_REFERENCES);
	if (finder->count == finder->room) {
		size_t room = finder->room ? 2 * finder->room : 8;
		struct template_reference *larger =
			arena_alloc(finder->arena, room * sizeof(*larger));

		if (!larger)
			return fault_set(finder->fault, -ENOMEM,
					 "the arena is full");
		if (finder->count > 0)
			memcpy(larger, finder->reference,
			       finder->count * sizeof(*larger));
		finder->reference = larger;
		finder->room = room;
	}
	if (!reference->where)
		reference->where = pointer_to(place, finder->arena);
	if (arena_failed(finder->arena))
		return fault_set(finder->fault, -ENOMEM, "the arena is full");
	finder->reference[finder->count++] = *reference;
	return 0;
}

static int find_in_string(struct finder *finder, const struct place *place,
			  const char *text)
{
	struct template_reference reference = { 0 };
	struct piece piece = { 0 };
	int r;

	for (;;) {
		r = take_piece(&text, &piece, finder->fault);
		if (r > 0)
			finder->where = pointer_to(place, finder->arena);
		if (r != 0 || piece.kind == PIECE_END)
			return r;
		if (piece.kind == PIECE_TEXT)
			continue;
		reference.job = arena_strndup(finder->arena, piece.name,
					      piece.name_length);
		/* Its pointer, once made, serves all of the string. */
		r = finder_add(finder, place, &reference);
		if (r != 0)
			return r;
	}
}

static int find_media(struct finder *finder, const struct place *place,
		      json_t *object)
{
	struct template_reference reference = { .is_media = true };
	const char *name = NULL;
	int r;

	r = read_media(object, &name, &reference.index, finder->fault);
	if (r > 0)
		finder->where = pointer_to(place, finder->arena);
	if (r != 0)
		return r;
	reference.job = arena_strdup(finder->arena, name);
	return finder_add(finder, place, &reference);
}

static int find(struct finder *finder, const struct place *place, json_t *value,
		size_t depth)
{
	struct place below = { .up = place };
	json_t *element;
	int r = 0;

	if (json_is_string(value))
		return find_in_string(finder, place, json_string_value(value));
	if (!json_is_array(value) && !json_is_object(value))
		return 0;
	if (depth == LIMIT_JSON_DEPTH)
		return fault_set(
			finder->fault, -EFBIG,
			"more than %d arrays and objects in each other",
			LIMIT_JSON_DEPTH);
	if (json_object_get(value, "$media"))
		return find_media(finder, place, value);

	json_array_foreach(value, below.index, element)
	{
		r = find(finder, &below, element, depth + 1);
		if (r != 0)
			return r;
	}
	json_object_foreach(value, below.key, element)
	{
		r = find(finder, &below, element, depth + 1);
		if (r != 0)
			return r;
	}
	return 0;
}

int template_find(json_t *input, struct arena *arena,
		  struct template_references *ret, const char **reterr_where,
		  struct fault *reterr_fault)
{
	struct finder finder = { .arena = arena, .fault = reterr_fault };
	struct place root = { 0 };
	int r;

	r = find(&finder, &root, input, 0);
	if (r > 0 && !finder.where)
		return fault_set(reterr_fault, -ENOMEM, "the arena is full");
	if (r > 0)
		*reterr_where = finder.where;
	if (r != 0)
		return r;
	*ret = (struct template_references){
		.reference = finder.reference,
		.count = finder.count,
	};
	return 0;
}

struct resolver {
	const struct template_values *values;
	struct arena *arena;
	size_t bytes; /* so far */
	size_t references;
	struct fault *fault;
};

/* Count what is put in before it is, so that a small input cannot become a
 * huge one by naming one result many times. */
static int resolver_count(struct resolver *resolver, size_t bytes)
{
	if (++resolver->references > LIMIT_REFERENCES)
		return fault_set(resolver->fault, -EFBIG,
				 "more than %d references", LIMIT_REFERENCES);
	if (bytes > resolver->values->bytes_most - resolver->bytes)
		return fault_set(resolver->fault, -EFBIG,
				 "the input with its references replaced has "
				 "more than %zu bytes",
				 resolver->values->bytes_most);
	resolver->bytes += bytes;
	return 0;
}

/* Walk down a result. @return a borrowed value, or NULL */
static json_t *walk(json_t *value, const char *path, size_t length)
{
	const char *end = path + length;
	struct step step;

	while (value && path < end) {
		if (!take_step(&path, end, &step))
			return NULL;
		if (json_is_array(value) && step.is_index)
			value = json_array_get(value, step.index);
		else if (json_is_object(value) && step.is_key)
			value = json_object_getn(value, step.key,
						 step.key_length);
		else
			value = NULL;
	}
	return value;
}

/* What a reference stands for. @return borrowed, or NULL if not there */
static json_t *look_up(const struct resolver *resolver,
		       const struct piece *piece)
{
	return walk(json_object_getn(resolver->values->outputs, piece->name,
				     piece->name_length),
		    piece->path, piece->path_length);
}

static int missing(struct resolver *resolver, const struct piece *piece)
{
	return fault_set(resolver->fault, TEMPLATE_E_REFERENCE_MISSING,
			 "%.*s: the job's output has no such thing",
			 (int)piece->length, piece->text);
}

static bool is_whole(const char *text, const struct piece *piece)
{
	return piece->kind == PIECE_REFERENCE && piece->text == text &&
	       text[piece->length] == '\0';
}

static int resolve_whole(struct resolver *resolver, const struct piece *piece,
			 json_t **ret)
{
	json_t *value = look_up(resolver, piece);
	int r;

	if (!value)
		return missing(resolver, piece);
	if (json_text_depth(value, LIMIT_JSON_DEPTH) > LIMIT_JSON_DEPTH)
		return fault_set(resolver->fault, -EFBIG,
				 "%.*s: nested too deep", (int)piece->length,
				 piece->text);
	r = resolver_count(
		resolver,
		json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY));
	if (r < 0)
		return r;
	*ret = json_incref(value);
	return 0;
}

/* A text that grows in an arena. */
struct growing {
	char *text;
	size_t size;
	size_t room;
};

static bool grow(struct growing *growing, struct arena *arena, const char *text,
		 size_t length)
{
	if (!growing->text || length > growing->room - growing->size) {
		size_t room = 2 * (growing->size + length);
		char *larger = arena_alloc(arena, room);

		if (!larger)
			return false;
		if (growing->size > 0)
			memcpy(larger, growing->text, growing->size);
		growing->text = larger;
		growing->room = room;
	}
	memcpy(growing->text + growing->size, text, length);
	growing->size += length;
	return true;
}

/* The text of a value within other text. */
static int resolve_within(struct resolver *resolver, struct piece *piece)
{
	json_t *value = look_up(resolver, piece);

	if (!value || json_is_null(value))
		return missing(resolver, piece);
	piece->text = json_is_string(value)
			      ? json_string_value(value)
			      : json_text_write(value, resolver->arena);
	if (!piece->text)
		return fault_set(resolver->fault, -ENOMEM, "the arena is full");
	piece->length = strlen(piece->text);
	return resolver_count(resolver, piece->length);
}

static int resolve_string(struct resolver *resolver, json_t *string,
			  json_t **ret)
{
	const char *text = json_string_value(string), *next = text;
	struct growing growing = { 0 };
	struct piece piece = { 0 };
	int r;

	if (!strchr(text, '$')) {
		*ret = json_incref(string);
		return 0;
	}
	for (;;) {
		r = take_piece(&next, &piece, resolver->fault);
		if (r > 0)
			return -EINVAL;
		if (is_whole(text, &piece))
			return resolve_whole(resolver, &piece, ret);
		if (piece.kind == PIECE_END)
			break;
		if (piece.kind == PIECE_REFERENCE) {
			r = resolve_within(resolver, &piece);
			if (r != 0)
				return r;
		}
		if (!grow(&growing, resolver->arena, piece.text, piece.length))
			return fault_set(resolver->fault, -ENOMEM,
					 "the arena is full");
	}
	*ret = json_stringn(growing.text, growing.size);
	return *ret ? 0
		    : fault_set(resolver->fault, -ENOMEM, "no memory for JSON");
}

/* The URL of a file. @return borrowed, or NULL */
static json_t *media_url(json_t *output, size_t index)
{
	json_t *url = json_object_get(
		json_array_get(json_object_get(output, "media"), index), "url");

	if (!url)
		url = json_array_get(json_object_get(output, "urls"), index);
	if (!url && index == 0)
		url = json_object_get(output, "url");
	return json_string_length(url) > 0 ? url : NULL;
}

static int resolve_media(struct resolver *resolver, json_t *object,
			 json_t **ret)
{
	json_t *value, *form;
	const char *name = NULL;
	size_t index = 0;
	int r;

	r = read_media(object, &name, &index, resolver->fault);
	if (r > 0)
		return -EINVAL;
	form = json_object_get(resolver->values->media, name);
	value = form ? json_array_get(form, index)
		     : media_url(
			       json_object_get(resolver->values->outputs, name),
			       index);
	if (!value || json_is_null(value))
		return fault_set(resolver->fault, TEMPLATE_E_REFERENCE_MISSING,
				 "{\"$media\": \"%s\"}: the job has no file "
				 "with index %zu",
				 name, index);
	r = resolver_count(
		resolver,
		json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY));
	if (r < 0)
		return r;
	*ret = json_incref(value);
	return 0;
}

static int resolve(struct resolver *resolver, json_t *value, size_t depth,
		   json_t **ret);

static int resolve_array(struct resolver *resolver, json_t *array, size_t depth,
			 json_t **ret)
{
	_cleanup_(json_decrefp) json_t *resolved = json_array();
	json_t *element, *made = NULL;
	size_t i;
	int r;

	json_array_foreach(array, i, element)
	{
		r = resolve(resolver, element, depth + 1, &made);
		if (r != 0)
			return r;
		if (json_array_append_new(resolved, made) < 0)
			return fault_set(resolver->fault, -ENOMEM,
					 "no memory for JSON");
	}
	if (!resolved)
		return fault_set(resolver->fault, -ENOMEM,
				 "no memory for JSON");
	*ret = TAKE_PTR(resolved);
	return 0;
}

static int resolve_object(struct resolver *resolver, json_t *object,
			  size_t depth, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *resolved = json_object();
	json_t *element, *made = NULL;
	const char *key;
	int r;

	json_object_foreach(object, key, element)
	{
		r = resolve(resolver, element, depth + 1, &made);
		if (r != 0)
			return r;
		if (json_object_set_new(resolved, key, made) < 0)
			return fault_set(resolver->fault, -ENOMEM,
					 "no memory for JSON");
	}
	if (!resolved)
		return fault_set(resolver->fault, -ENOMEM,
				 "no memory for JSON");
	*ret = TAKE_PTR(resolved);
	return 0;
}

static int resolve(struct resolver *resolver, json_t *value, size_t depth,
		   json_t **ret)
{
	if (json_is_string(value))
		return resolve_string(resolver, value, ret);
	if (!json_is_array(value) && !json_is_object(value)) {
		*ret = json_incref(value);
		return 0;
	}
	if (depth == LIMIT_JSON_DEPTH)
		return fault_set(
			resolver->fault, -EFBIG,
			"more than %d arrays and objects in each other",
			LIMIT_JSON_DEPTH);
	if (json_object_get(value, "$media"))
		return resolve_media(resolver, value, ret);
	if (json_is_array(value))
		return resolve_array(resolver, value, depth, ret);
	return resolve_object(resolver, value, depth, ret);
}

int template_resolve(json_t *input, const struct template_values *values,
		     struct arena *arena, json_t **ret,
		     struct fault *reterr_fault)
{
	struct resolver resolver = {
		.values = values,
		.arena = arena,
		.bytes = json_dumpb(input, NULL, 0,
				    JSON_COMPACT | JSON_ENCODE_ANY),
		.fault = reterr_fault,
	};

	if (resolver.bytes > values->bytes_most)
		return fault_set(reterr_fault, -EFBIG,
				 "the input has more than %zu bytes",
				 values->bytes_most);
	return resolve(&resolver, input, 0, ret);
}
