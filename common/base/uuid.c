/* SPDX-License-Identifier: MIT */
#include "common/base/uuid.h"

#include <string.h>

void uuid_v7(int64_t unix_ms, const uint8_t bits[10], char ret[UUID_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t ms = (uint64_t)unix_ms;
	uint8_t bytes[16];
	char *next = ret;

	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
	memcpy(bytes + 6, bits, 10);
	bytes[6] = (uint8_t)(0x70 | (bytes[6] & 0x0f)); /* version 7 */
	bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f)); /* variant 10 */

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*next++ = '-';
		*next++ = digits[bytes[i] >> 4];
		*next++ = digits[bytes[i] & 0x0f];
	}
	*next = '\0';
}
