#define _GNU_SOURCE
#include "kill.h"
#include "clean.h"
#include "parse.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PIDS 4194304 /* greatest pid_max of a 64-bit kernel */
#define ID_LENGTH 64 /* characters of a container's id */
#define OWN "-"	     /* in its place: the container whose PID namespace init is in */

static unsigned char family[PIDS];

/* Reads state, parent, group and session from /proc/PID/stat, behind the last `)`. False if the process is gone. */
static bool look(uint32_t pid, char *state, uint32_t ids[3])
{
	char path[32], buffer[1024];
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	struct text text = read_text(path, buffer, sizeof(buffer) - 1);
	buffer[text.length] = '\0';
	char *end = strrchr(buffer, ')');
	return end && sscanf(end, ") %c %u %u %u", state, &ids[0], &ids[1], &ids[2]) == 4;
}

static bool is_in_container(uint32_t pid, const char *container)
{
	char path[32], buffer[8192];
	if (strcmp(container, OWN) == 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%u/cgroup", pid);
	struct text text = read_text(path, buffer, sizeof(buffer));
	return memmem(text.at, text.length, container, strlen(container)) != NULL;
}

/* Sends a signal to all members of the family, with `news` to new ones only. Returns how many got it. */
static size_t signal_family(uint32_t root, const char *container, int number, bool news)
{
	size_t count = 0;
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		uint32_t pid, ids[3];
		char state;
		struct text name = {entry->d_name, strlen(entry->d_name)};
		if (!parse_id(name, &pid) || pid <= 1 || pid >= PIDS || !look(pid, &state, ids) || state == 'Z')
			continue;
		bool known = family[pid], member = known || pid == root || ids[1] == root || ids[2] == root;
		if ((!member && !(ids[0] < PIDS && family[ids[0]])) || (news && known))
			continue;
		/* The pidfd makes sure that the process that is checked is the one that gets the signal. */
		int process = (int)syscall(SYS_pidfd_open, pid, 0);
		if (process < 0 && errno != ESRCH) {
			fprintf(stderr, "init: pidfd_open: %s\n", strerror(errno));
			exit(1);
		}
		if (process < 0)
			continue;
		if (is_in_container(pid, container)) {
			family[pid] = 1;
			count += syscall(SYS_pidfd_send_signal, process, number, NULL, 0) == 0;
		}
		close(process);
	}
	if (proc)
		closedir(proc);
	return count;
}

int kill_family(const char *pid, const char *container)
{
	uint32_t root;
	bool is_pid = parse_id((struct text){pid, strlen(pid)}, &root) && root > 1 && root < PIDS;
	if (!is_pid || (strlen(container) != ID_LENGTH && strcmp(container, OWN) != 0)) {
		fprintf(stderr, "init: not a process of a container: %s, %s\n", pid, container);
		return 2;
	}
	/* A stopped process neither forks nor leaves its children to another parent. */
	while (signal_family(root, container, SIGSTOP, true) > 0)
		;
	for (int tries = 0; signal_family(root, container, SIGKILL, false) > 0; tries++) {
		if (tries == 500) {
			fprintf(stderr, "init: %s does not die\n", pid);
			return 1;
		}
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return 0;
}
