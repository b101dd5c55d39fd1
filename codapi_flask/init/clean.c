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
#include <time.h>
#include <unistd.h>

struct entry { /* linux_dirent64, see getdents64(2) */
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* Devices that Docker makes writable for every user, who may thus set their times. */
static const char *const devices[] = {"/dev/null", "/dev/zero",   "/dev/full",
				      "/dev/tty",  "/dev/random", "/dev/urandom"};

#define EMPTY 48 /* bytes that `.` and `..` take */

struct place {
	mode_t mode; /* the first four: what a program may be able to change about the root of a mount */
	uid_t uid;
	gid_t gid;
	ssize_t attributes;
	bool filled;
};

static struct places places;
static struct place at_start[PLACES_MAX];
static uint64_t sockets_at_start;
static int sockstat, flow_labels, ipc[3];

static int clean(int top, int directory, bool own);

static int move_up(int top, int directory, const char *name)
{
	static unsigned number;
	char unique[16];

	do {
		snprintf(unique, sizeof(unique), "%u", number++);
		if (syscall(SYS_renameat2, directory, name, top, unique, 1 /* RENAME_NOREPLACE */) == 0)
			return 0;
	} while (errno == EEXIST);
	return errno;
}

/* Deletes one name. A directory that is not empty is emptied here if it lies in `top`, and moves up into `top`
 * if it lies deeper: any depth needs two open directories and one level of recursion, and no directory moves twice.
 * With `own`, directories are made accessible; no other process may change them then, since a name could become a link
 * in between. */
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

/* Deletes all names in `directory`, which is `top` or a directory in it. Reads it until it is found empty, as changes
 * during a read may hide names. Returns 0 or an errno. */
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
				if (error != 0 && error != ENOENT) /* ENOENT: another sweeper was faster */
					return error;
			}
		}
		if (n < 0)
			return errno;
	}
	return 0;
}

static int open_text(const char *path)
{
	return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Reads an open file from its beginning. */
static struct text read_again(int file, char *buffer, size_t size)
{
	size_t length = 0;
	ssize_t n;
	while (length < size && (n = pread(file, buffer + length, size - length, (off_t)length)) > 0)
		length += (size_t)n;
	return (struct text){buffer, length};
}

struct text read_text(const char *path, char *buffer, size_t size)
{
	int file = open_text(path);
	struct text text = read_again(file, buffer, size);
	if (file >= 0)
		close(file);
	return text;
}

/* `used` counts the sockets of all families in the box's network namespace, closed ones with unsent data too; `waiting`
 * those in TIME_WAIT. (/proc/net/tcp and similar files walk a table of the whole host.) */
static bool count_sockets(uint64_t *used, uint64_t *waiting)
{
	char buffer[1024];
	struct text text = read_again(sockstat, buffer, sizeof(buffer));
	return parse_count(text, "sockets: used ", used) && parse_count(text, " tw ", waiting);
}

static bool look(const char *path, struct place *place)
{
	struct stat stat;
	if (lstat(path, &stat) != 0)
		return false;
	*place = (struct place){stat.st_mode, stat.st_uid, stat.st_gid, llistxattr(path, NULL, 0), false};
	return true;
}

/* Reads the beginning of a directory. Returns the bytes that its names take, less than 0 if init may not read it. */
static long read_names(const char *path)
{
	char buffer[512]; /* the longest name fits behind the first two */
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n = directory < 0 ? -1 : syscall(SYS_getdents64, directory, buffer, sizeof(buffer));
	if (directory >= 0)
		close(directory);
	return n;
}

void clean_start(const char *excluded)
{
	static char mountinfo[65536];
	uint64_t waiting;
	struct text text = read_text("/proc/self/mountinfo", mountinfo, sizeof(mountinfo));

	parse_mounts(mountinfo, text.length, excluded, &places);
	for (size_t i = 0; i < places.count; i++) {
		places.other |= !look(places.path[i], &at_start[i]);
		at_start[i].filled = read_names(places.path[i]) > EMPTY;
	}
	/* Opening them takes longer than reading them. */
	sockstat = open_text("/proc/net/sockstat");
	flow_labels = open_text("/proc/net/ip6_flowlabel");
	ipc[0] = open_text("/proc/sysvipc/shm");
	ipc[1] = open_text("/proc/sysvipc/msg");
	ipc[2] = open_text("/proc/sysvipc/sem");
	/* Without /dev/mqueue there may be queues that are not visible. */
	places.other |= text.length == sizeof(mountinfo) || !places.mqueue;
	places.other |= !count_sockets(&sockets_at_start, &waiting);
}

static bool is_as_at_start(const char *path, const struct place *start)
{
	struct place now;
	return look(path, &now) && now.mode == start->mode && now.uid == start->uid && now.gid == start->gid &&
	       now.attributes == start->attributes;
}

static enum stage clean_place(const char *path, const struct place *start, int *error)
{
	*error = 0;
	if (!is_as_at_start(path, start))
		return STAGE_PLACES;
	if (access(path, W_OK) != 0)
		return STAGE_NONE; /* /dev: the user cannot have made anything in it */
	if (start->filled)
		return STAGE_WRITABLE;
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*error = directory < 0 ? errno : clean(directory, directory, true);
	close(directory);
	if (*error == 0 && utimensat(AT_FDCWD, path, NULL, 0) != 0)
		*error = errno;
	return *error == 0 ? STAGE_NONE : STAGE_PLACES;
}

/* Deletes the System V objects that a file of /proc/sysvipc lists, one a line (key, id, ...) under a headline. */
static int clean_ipc(int file, int (*remove)(int id))
{
	char buffer[4096];

	for (bool found = true; found;) {
		struct text text = read_again(file, buffer, sizeof(buffer) - 1), line;
		buffer[text.length] = '\0';
		found = false;
		if (!parse_line(&text, &line))
			return ENOENT;
		while (parse_line(&text, &line)) {
			int id;
			if (line.at + line.length == buffer + sizeof(buffer) - 1)
				break; /* it may go on; the next reading begins with it */
			if (sscanf(line.at, "%*d %d", &id) != 1)
				return EINVAL;
			if (remove(id) != 0)
				return errno;
			found = true;
		}
	}
	return 0;
}

static int remove_memory(int id)
{
	return shmctl(id, IPC_RMID, NULL);
}

static int remove_queue(int id)
{
	return msgctl(id, IPC_RMID, NULL);
}

static int remove_semaphores(int id)
{
	return semctl(id, 0, IPC_RMID);
}

/* Whether a file of /proc has its header line, and lists nothing below. */
static bool lists_nothing(int file)
{
	char buffer[256];
	struct text text = read_again(file, buffer, sizeof(buffer)), line;
	return parse_line(&text, &line) && !parse_line(&text, &line);
}

/* Flow labels outlive their sockets by minutes, and one may be exclusive. Without IPv6 there are none. */
static bool has_flow_labels(void)
{
	return flow_labels >= 0 && !lists_nothing(flow_labels);
}

/* The kernel frees some sockets (netlink, which name lookups use; those in flight) a few ms after their process. */
static bool sockets_are_gone(void)
{
	uint64_t used, waiting;

	for (int tries = 0; tries < 20; tries++) {
		if (!count_sockets(&used, &waiting) || waiting != 0)
			return false;
		if (used == sockets_at_start)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return false;
}

bool is_clean(uint32_t uid)
{
	uint64_t used, waiting;

	if (places.other || uid == 0 || !count_sockets(&used, &waiting))
		return false;
	if (used < sockets_at_start)
		sockets_at_start = used; /* a socket of the container's own start was still open then */
	if (used != sockets_at_start || waiting != 0)
		return false;
	for (size_t i = 0; i < places.count; i++) {
		const struct place *start = &at_start[i];
		bool closed = start->uid != uid && (start->mode & 022) == 0 && start->attributes <= 0;
		if (start->uid == uid)
			return false; /* its owner may have set any times: a reset sets them back */
		if (!is_as_at_start(places.path[i], start) || (start->filled ? !closed : read_names(places.path[i]) != EMPTY))
			return false;
	}
	return lists_nothing(ipc[0]) && lists_nothing(ipc[1]) && lists_nothing(ipc[2]) && !has_flow_labels();
}

enum stage clean_box(int *error)
{
	*error = 0;
	if (places.other || geteuid() == 0)
		return STAGE_WRITABLE;
	for (size_t i = 0; i < places.count; i++) {
		enum stage stage = clean_place(places.path[i], &at_start[i], error);
		if (stage != STAGE_NONE)
			return stage;
	}
	if ((*error = clean_ipc(ipc[0], remove_memory)) != 0 || (*error = clean_ipc(ipc[1], remove_queue)) != 0 ||
	    (*error = clean_ipc(ipc[2], remove_semaphores)) != 0)
		return STAGE_IPC;
	return sockets_are_gone() && !has_flow_labels() ? STAGE_NONE : STAGE_SOCKETS;
}

void clean_times(void)
{
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		utimensat(AT_FDCWD, devices[i], NULL, AT_SYMLINK_NOFOLLOW);
	for (size_t i = 0; i < places.count; i++)
		utimensat(AT_FDCWD, places.path[i], NULL, AT_SYMLINK_NOFOLLOW);
}

int clean_path(const char *path)
{
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int error = directory < 0 ? errno : clean(directory, directory, false);
	if (error == 0 && rmdir(path) != 0 && errno != EBUSY)
		error = errno;
	if (error != 0)
		fprintf(stderr, "init: cannot remove %s: %s\n", path, strerror(error));
	return error != 0;
}
