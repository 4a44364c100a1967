/* SPDX-License-Identifier: MIT */
/*
 * Replays a corpus without a fuzzer: TARGET FILE... runs the target on each
 * file, and on nothing at all. Any compiler will do.
 */
#include "tests/fuzz/fuzz.h"

enum { INPUT_BYTES_MAX = 1024 * 1024 };

/* A copy of exactly its size: reading beyond it is an error to ASan. */
static void run(const uint8_t *bytes, size_t size)
{
	uint8_t *input = malloc(size > 0 ? size : 1);

	HOLDS(input);
	if (size > 0)
		memcpy(input, bytes, size);
	(void)LLVMFuzzerTestOneInput(input, size);
	free(input);
}

int main(int argc, char **argv)
{
	static uint8_t bytes[INPUT_BYTES_MAX];

	run(bytes, 0);
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "re");
		size_t size;

		if (!file) {
			perror(argv[i]);
			return 1;
		}
		size = fread(bytes, 1, sizeof(bytes), file);
		(void)fclose(file);
		/* Should it end here, this is the input that did it. */
		(void)fprintf(stderr, "%s\n", argv[i]);
		run(bytes, size);
	}
	printf("%d inputs\n", argc);
	return 0;
}
