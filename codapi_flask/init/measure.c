#define _GNU_SOURCE
#include "measure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 512  /* bytes of a unit of st_blocks */
#define ENTRY 4096 /* bytes that an entry counts for at least, as in quota.py */
#define DEPTH 200  /* levels above which a tree is too deep, as in quota.py */
#define LOOKS 8	   /* attempts at a tree in which names vanish, as in quota.py */
#define EXCEEDED 3
#define UNSTEADY 4
#define TOO_DEEP 5

static DIR *open_directory(int parent, const char *name)
{
	int file = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = file < 0 ? NULL : fdopendir(file);
	if (file >= 0 && !directory)
		close(file);
	return directory;
}

/* Measures once; `whole` is whether no name vanished meanwhile. */
static int look(const char *path, uint64_t limit, bool *whole)
{
	DIR *walk[DEPTH] = {open_directory(AT_FDCWD, path)};
	uint64_t used = 0;
	size_t depth = 1;

	*whole = true;
	if (!walk[0]) {
		fprintf(stderr, "init: cannot measure %s: %s\n", path, strerror(errno));
		return 1;
	}
	while (depth > 0 && used <= limit) {
		struct dirent *entry = readdir(walk[depth - 1]);
		struct stat stat;
		if (!entry) {
			closedir(walk[--depth]);
			continue;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(walk[depth - 1]), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) != 0) {
			*whole = false; /* the name is gone or has changed */
			continue;
		}
		uint64_t size = (uint64_t)stat.st_blocks * BLOCK;
		used += size > ENTRY ? size : ENTRY;
		if (!S_ISDIR(stat.st_mode))
			continue;
		if (depth == DEPTH)
			return TOO_DEEP;
		if ((walk[depth] = open_directory(dirfd(walk[depth - 1]), entry->d_name)))
			depth++;
		else if (errno == ENOENT || errno == ENOTDIR)
			*whole = false;
		else
			return EXCEEDED;
	}
	while (depth > 0)
		closedir(walk[--depth]);
	return used > limit ? EXCEEDED : 0;
}

int measure_path(const char *path, uint64_t limit)
{
	bool whole;

	for (int looks = 0; looks < LOOKS; looks++) {
		int code = look(path, limit, &whole);
		if (code != 0 || whole)
			return code;
	}
	return UNSTEADY;
}
