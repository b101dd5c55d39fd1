#define _GNU_SOURCE
#include "plain.h"
#include "clean.h"
#include "execute.h"
#include "parse.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
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

/* With the option WUNTRACED, a program that somebody stops goes on at once, with those that were stopped beside it. */
static int run(bool waits, char **argv, int options)
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
		if ((number = sigwaitinfo(&all, NULL)) > 0 && number != SIGCHLD)
			kill(child, number);
		while ((pid = waitpid(-1, &status, WNOHANG | options)) > 0)
			if (pid == child && WIFSTOPPED(status))
				kill(-1, SIGCONT);
			else if (pid == child)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	fprintf(stderr, "init: fork: %s\n", strerror(errno));
	return 125;
}

int plain(bool waits, char **argv)
{
	return run(waits, argv, 0);
}

/* Waits in the kernel's queue from before the program's start: a program that asks for the lock comes later, and does not
 * get it in the moment in which the owner dies. */
static void *end_without_owner(void *lock)
{
	while (flock(*(int *)lock, LOCK_SH) != 0)
		if (errno != EINTR)
			nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	_exit(128 + SIGKILL);
}

int service(bool waits, char **argv, const char *owner)
{
	static int lock;
	pthread_t watcher;
	sigset_t all, before;

	lock = open(owner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0) {
		fprintf(stderr, "init: open %s: %s\n", owner, strerror(errno));
		return 125;
	}
	/* a program of the same user could stop it (ptrace) */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* a thread, unlike a process, cannot be killed alone */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	if ((errno = pthread_create(&watcher, NULL, end_without_owner, &lock)) != 0) {
		fprintf(stderr, "init: thread: %s\n", strerror(errno));
		return 125;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return run(waits, argv, WUNTRACED);
}
