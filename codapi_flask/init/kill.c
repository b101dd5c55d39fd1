#define _GNU_SOURCE
#include "kill.h"
#include "clean.h"
#include "parse.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIDS 4194304 /* greatest pid_max of a 64-bit kernel */

static unsigned char family[PIDS];

/* Reads state, parent, group and session from /proc/PID/stat; they follow the last `)`. False when it is gone. */
static bool look(uint32_t pid, char *state, uint32_t ids[3])
{
	char path[32], buffer[1024];
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	struct text text = read_text(path, buffer, sizeof(buffer) - 1);
	buffer[text.length] = '\0';
	char *end = strrchr(buffer, ')');
	return end && sscanf(end, ") %c %u %u %u", state, &ids[0], &ids[1], &ids[2]) == 4;
}

/* Sends a signal to all who belong to the family. Returns how many got it: with `news`, only new members do. */
static size_t signal_family(uint32_t root, int number, bool news)
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
		if ((member || (ids[0] < PIDS && family[ids[0]])) && !(news && known)) {
			family[pid] = 1;
			count += kill((pid_t)pid, number) == 0;
		}
	}
	if (proc)
		closedir(proc);
	return count;
}

int kill_family(const char *pid)
{
	uint32_t root;
	if (!parse_id((struct text){pid, strlen(pid)}, &root) || root <= 1 || root >= PIDS) {
		fprintf(stderr, "init: not a process: %s\n", pid);
		return 2;
	}
	/* Who is stopped neither forks nor leaves its children to another parent. */
	while (signal_family(root, SIGSTOP, true) > 0)
		;
	for (int tries = 0; signal_family(root, SIGKILL, false) > 0; tries++) {
		if (tries == 500) {
			fprintf(stderr, "init: %s does not die\n", pid);
			return 1;
		}
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return 0;
}
