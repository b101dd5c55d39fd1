#define _GNU_SOURCE
#include "plain.h"
#include "clean.h"
#include "execute.h"
#include "parse.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS "/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes"
#define NO_LIMIT ((uint64_t)1 << 60) /* or more */
#define LOOKS 10000		     /* a millisecond apart */

extern char **environ;

/* Sockets that are made before the limit is set do not count toward it. */
static bool wait_for_limit(void)
{
	char buffer[32];
	uint64_t limit;

	for (int looks = 0; looks < LOOKS; looks++) {
		if (parse_count(read_text(SOCKETS, buffer, sizeof(buffer)), "", &limit) && limit < NO_LIMIT)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return false;
}

static void run_program(char **argv, const sigset_t *mask)
{
	/* a process group of its own, the usual target of a terminal's and other signals */
	setpgid(0, 0);
	sigprocmask(SIG_SETMASK, mask, NULL);
	int error = execute(argv, environ);
	fprintf(stderr, "init: exec %s: %s\n", argv[0], strerror(error));
	_exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

/* Waits for a signal; if a lock is to be watched, for a second at most. Returns its number, or -1 and an errno. */
static int next_signal(const sigset_t *all, int lock)
{
	return lock < 0 ? sigwaitinfo(all, NULL) : sigtimedwait(all, NULL, &(struct timespec){.tv_sec = 1});
}

/* Whether the other end, which locked the directory exclusively, is gone. */
static bool is_free(int lock)
{
	return lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) == 0;
}

/* Runs a program; `lock` is the directory to watch, or -1. */
static int run(bool waits, char **argv, int lock)
{
	sigset_t all, before;
	int status, number;
	pid_t child, pid;

	if (waits && !wait_for_limit()) {
		fprintf(stderr, "init: the memory of sockets is not limited\n");
		return 125;
	}
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	child = fork();
	if (child == 0)
		run_program(argv, &before);
	while (child > 0) {
		if ((number = next_signal(&all, lock)) > 0 && number != SIGCHLD)
			kill(child, number);
		if (is_free(lock))
			return 128 + SIGKILL;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	fprintf(stderr, "init: fork: %s\n", strerror(errno));
	return 125;
}

int plain(bool waits, char **argv)
{
	return run(waits, argv, -1);
}

int service(bool waits, char **argv, const char *owner)
{
	int lock = open(owner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0) {
		fprintf(stderr, "init: open %s: %s\n", owner, strerror(errno));
		return 125;
	}
	return run(waits, argv, lock);
}
