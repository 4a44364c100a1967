/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_MACRO_H
#define COMMON_BASE_MACRO_H

/*
 * The few compiler extensions this tree relies on, each behind one name.
 * Nothing else in the tree spells __attribute__.
 */

#include <stddef.h>

#define _cleanup_(fn)	     __attribute__((cleanup(fn)))
#define _must_check_	     __attribute__((warn_unused_result))
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Hand a pointer over and forget it, so that its _cleanup_ does nothing. */
#define TAKE_PTR(ptr)                                                          \
	({                                                                     \
		__typeof__(ptr) *take_slot_ = &(ptr);                          \
		__typeof__(ptr) take_value_ = *take_slot_;                     \
		*take_slot_ = NULL;                                            \
		take_value_;                                                   \
	})

/*
 * DEFINE_CLEANUP(struct arena *, arena_free) makes arena_freep(), the form
 * that _cleanup_ wants. The destructor must accept NULL.
 */
#define DEFINE_CLEANUP(type, fn)                                               \
	static inline void fn##p(type *slot)                                   \
	{                                                                      \
		(void)fn(*slot);                                               \
		*slot = NULL;                                                  \
	}                                                                      \
	struct allow_trailing_semicolon_

#endif
