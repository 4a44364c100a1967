/* SPDX-License-Identifier: MIT */
/*
 * ask CONNINFO COUNT - how long it takes to start a program that connects to
 * PostgreSQL, asks one question and ends: the least that being started for
 * one job costs. Prints milliseconds, one start a line; the program that is
 * started is this one, without COUNT.
 */
#include <libpq-fe.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ask(const char *conninfo)
{
	static const char *const keys[] = { "gssencmode", "dbname", NULL };
	const char *const values[] = { "disable", conninfo, NULL };
	PGconn *conn = PQconnectdbParams(keys, values, 1);
	PGresult *result = PQexec(conn, "SELECT count(*) FROM providers");
	int status = PQresultStatus(result) == PGRES_TUPLES_OK ? 0 : 1;

	PQclear(result);
	PQfinish(conn);
	return status;
}

static double now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
	int status = 0;

	if (argc == 2)
		return ask(argv[1]);
	if (count < 1) {
		(void)fprintf(stderr, "usage: ask CONNINFO [COUNT]\n");
		return 2;
	}
	argv[2] = NULL;
	for (long i = 0; i < count && status == 0; i++) {
		double begun = now_ms();
		pid_t pid;

		if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) !=
			    0 ||
		    waitpid(pid, &status, 0) != pid)
			return 1;
		(void)printf("%.3f\n", now_ms() - begun);
	}
	return status != 0;
}
