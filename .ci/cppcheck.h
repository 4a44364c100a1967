/* SPDX-License-Identifier: MIT */
/*
 * What cppcheck reads in the place of macros that it cannot: those of jansson,
 * whose headers it does not see, and ours that need the compiler's extensions.
 */
#define COMMON_BASE_MACRO_H
#define _cleanup_(fn)
#define _must_check_
#define _printf_(fmt, first)
#define COUNT_OF(array)		 (sizeof(array) / sizeof((array)[0]))
#define TAKE_PTR(ptr)		 (ptr)
#define DEFINE_CLEANUP(type, fn) struct allow_trailing_semicolon_

#define json_array_foreach(array, index, value)                                \
	for ((index) = 0; ((value) = json_array_get(array, index)); (index)++)
#define json_object_foreach(object, key, value)                                \
	for ((key) = json_object_first(object);                                \
	     (key) && ((value) = json_object_get(object, key));                \
	     (key) = json_object_next(object, key))
