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

struct root {
	uint32_t pid, group; /* 0: none */
	const char *container;
};

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

/* Whether one of a process's groups, but for the supplementary ones, is `group`. */
static bool has_group(uint32_t pid, uint32_t group)
{
	char path[32], buffer[4096];
	uint32_t ids[4] = {0};
	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	struct text text = read_text(path, buffer, sizeof(buffer) - 1);
	buffer[text.length] = '\0';
	const char *line = strstr(buffer, "\nGid:");
	if (!line || sscanf(line, "\nGid: %u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return false;
	return ids[0] == group || ids[1] == group || ids[2] == group || ids[3] == group;
}

static bool is_member(uint32_t pid, const uint32_t ids[3], const struct root *root)
{
	if (root->group)
		return has_group(pid, root->group);
	return pid == root->pid || ids[1] == root->pid || ids[2] == root->pid;
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
static size_t signal_family(const struct root *root, int number, bool news)
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
		bool known = family[pid];
		if (news && known)
			continue;
		bool member = known || is_member(pid, ids, root);
		if (!member && !(ids[0] < PIDS && family[ids[0]]))
			continue;
		/* The pidfd makes sure that the process that is checked is the one that gets the signal. */
		int process = (int)syscall(SYS_pidfd_open, pid, 0);
		if (process < 0 && errno != ESRCH) {
			fprintf(stderr, "init: pidfd_open: %s\n", strerror(errno));
			exit(1);
		}
		if (process < 0)
			continue;
		if (is_in_container(pid, root->container)) {
			family[pid] = 1;
			count += syscall(SYS_pidfd_send_signal, process, number, NULL, 0) == 0;
		}
		close(process);
	}
	if (proc)
		closedir(proc);
	return count;
}

static int kill_all_of(const struct root *root)
{
	/* A stopped process neither forks nor leaves its children to another parent. */
	while (signal_family(root, SIGSTOP, true) > 0)
		;
	for (int tries = 0; signal_family(root, SIGKILL, false) > 0; tries++) {
		if (tries == 500) {
			fprintf(stderr, "init: the processes do not die\n");
			return 1;
		}
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return 0;
}

static bool is_container(const char *id)
{
	return strlen(id) == ID_LENGTH || strcmp(id, OWN) == 0;
}

int kill_family(const char *pid, const char *container)
{
	struct root root = {.container = container};
	bool is_pid = parse_id((struct text){pid, strlen(pid)}, &root.pid) && root.pid > 1 && root.pid < PIDS;
	if (!is_pid || !is_container(container)) {
		fprintf(stderr, "init: not a process of a container: %s, %s\n", pid, container);
		return 2;
	}
	return kill_all_of(&root);
}

int kill_group(const char *group, const char *container)
{
	struct root root = {.container = container};
	bool is_group = parse_id((struct text){group, strlen(group)}, &root.group) && root.group > 0;
	if (!is_group || !is_container(container)) {
		fprintf(stderr, "init: not a group of a container: %s, %s\n", group, container);
		return 2;
	}
	return kill_all_of(&root);
}
