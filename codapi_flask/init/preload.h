/* A program that init starts ahead of a run, and that becomes the run's first process. */
#ifndef PRELOAD_H
#define PRELOAD_H

#include "parse.h"

#include <sys/types.h>

struct preload {
	pid_t pid;	/* 0 if there is no such process */
	int status;	/* its wait status, once it is over */
	bool over, waits;
	int go, ready;	/* init's ends of its descriptors 3 and 4 */
	int files[3];	/* the stdin, stdout and stderr of the next run; -1 without PRELOAD */
	uint64_t start, oom_kills;
	struct run request;
	char message[MESSAGE_MAX]; /* holds the strings of `request` */
};

/* Opens the pipes; `ends` become the program's descriptors 3 and 4. Returns false with errno set if that fails. */
bool preload_open(struct preload *preload, int ends[2]);

/* Whether the waiting program is the one that a run asks for: same user, environment and argv[0]. */
bool preload_fits(const struct preload *preload, const struct run *request);

/* Sends the arguments of a run, the strings of its message. Returns false if they do not fit into the pipe. */
bool preload_go(const struct preload *preload, const struct run *request);

/* Closes init's ends of the pipes. */
void preload_close(struct preload *preload);

#endif
