#define _GNU_SOURCE
#include "clean.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

struct entry { /* linux_dirent64, see getdents64(2) */
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

struct place { /* what a program may change about the root of a mount */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	ssize_t attributes;
};

static struct places places;
static struct place at_start[PLACES_MAX];
static uint64_t sockets_at_start, waiting_at_start;

static int clean(int top, int directory, bool own);

static int move_up(int top, int directory, const char *name)
{
	static unsigned number;
	char unique[16];

	do {
		snprintf(unique, sizeof(unique), "%u", number++);
		if (syscall(SYS_renameat2, directory, name, top, unique, RENAME_NOREPLACE) == 0)
			return 0;
	} while (errno == EEXIST);
	return errno;
}

/* Deletes one name. A directory that is not empty is emptied here when it lies in `top`, and moves up into `top`
 * when it lies deeper: any depth needs two open directories and one level of recursion, and no directory moves twice.
 * With `own`, directories are made accessible; nobody else may be at work in them then, since in between a name
 * could become a link. */
static int clean_name(int top, int directory, const char *name, bool own)
{
	if (unlinkat(directory, name, 0) == 0)
		return 0;
	if (errno != EISDIR)
		return errno;
	if (unlinkat(directory, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno != ENOTEMPTY)
		return errno;
	if (own && fchmodat(directory, name, 0700, 0) != 0)
		return errno;
	if (directory != top)
		return move_up(top, directory, name);
	int child = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (child < 0)
		return errno;
	int error = clean(top, child, own);
	close(child);
	return error != 0 || unlinkat(top, name, AT_REMOVEDIR) == 0 ? error : errno;
}

/* Deletes all names in `directory`, which is `top` or a directory in it. Reads it again until it is seen empty, as
 * changes during a reading may hide names. 0, or an errno. */
static int clean(int top, int directory, bool own)
{
	_Alignas(struct entry) char buffer[4096];
	bool found = true;

	while (found) {
		found = false;
		long n;
		lseek(directory, 0, SEEK_SET);
		while ((n = syscall(SYS_getdents64, directory, buffer, sizeof(buffer))) > 0) {
			for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->length) {
				const char *name = ((struct entry *)(buffer + at))->name;
				if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
					continue;
				found = true;
				int error = clean_name(top, directory, name, own);
				if (error != 0)
					return error;
			}
		}
		if (n < 0)
			return errno;
	}
	return 0;
}

struct text read_text(const char *path, char *buffer, size_t size)
{
	int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	size_t length = 0;
	ssize_t n = 0;
	while (file >= 0 && length < size && (n = read(file, buffer + length, size - length)) > 0)
		length += (size_t)n;
	if (file >= 0)
		close(file);
	return (struct text){buffer, length};
}

static bool count_sockets(uint64_t *used, uint64_t *waiting)
{
	char buffer[1024];
	struct text text = read_text("/proc/net/sockstat", buffer, sizeof(buffer));
	return parse_count(text, "sockets: used ", used) && parse_count(text, " tw ", waiting);
}

static bool look(int directory, struct place *place)
{
	struct stat stat;
	if (fstat(directory, &stat) != 0)
		return false;
	*place = (struct place){stat.st_mode, stat.st_uid, stat.st_gid, flistxattr(directory, NULL, 0)};
	return true;
}

/* `.` and `..` have the length of the two smallest entries. */
static bool is_empty(int directory)
{
	char buffer[256];
	return syscall(SYS_getdents64, directory, buffer, sizeof(buffer)) == 2 * 24;
}

void clean_start(void)
{
	static char mountinfo[65536];
	struct text text = read_text("/proc/self/mountinfo", mountinfo, sizeof(mountinfo));
	parse_mounts(mountinfo, text.length, &places);
	places.other |= text.length == sizeof(mountinfo) || !places.mqueue;
	places.other |= !count_sockets(&sockets_at_start, &waiting_at_start);
	for (size_t i = 0; i < places.count; i++) {
		int directory = open(places.path[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		...
	}
}
