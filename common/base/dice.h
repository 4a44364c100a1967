/* SPDX-License-Identifier: MIT */
#ifndef COMMON_BASE_DICE_H
#define COMMON_BASE_DICE_H

#include <stddef.h>
#include <stdint.h>

/*
 * The only calls of getrandom() in the tree. The kernel's generator cannot
 * fail once the machine has booted; if it does, the process ends.
 */

void dice_fill(void *ret, size_t size);
uint32_t dice_uint32(void);

#endif
