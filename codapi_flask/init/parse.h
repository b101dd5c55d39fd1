/* Parses what init reads: messages of the worker, and files of the box.
 *
 * Nothing here makes a system call or keeps state, so that the fuzz target (tests/init/fuzz.c) can link it
 * alone. A text is bytes with a length; it needs no NUL at its end and may hold any byte.
 */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_MAX 65536 /* bytes of one message */
#define ARGS_MAX 1024	  /* strings in argv */
#define ENV_MAX 1024	  /* variables of a program, those of the image included */
#define GROUPS_MAX 256	  /* supplementary groups of a user */
#define PLACES_MAX 32	  /* writable tmpfs and mqueue mounts of a box */
#define HOME_MAX 4096	  /* bytes of a home directory's path */
#define ID_MAX 2147483647 /* greatest uid and gid, as in Docker */

/* init's own real id; its effective and saved one is the next number. No program may have either. Where the box's user
 * namespace does not map them, init takes lower ones. */
#define INIT_ID 2147480001

/* Where a run or a reset failed. The Python side has the same list. */
enum stage {
	STAGE_NONE,
	STAGE_USER,	 /* run: no such user */
	STAGE_GROUP,	 /* run: no such group */
	STAGE_EXEC,	 /* run: the program cannot be executed; value is the errno */
	STAGE_SYSTEM,	 /* run, start: a system call failed; value is the errno */
	STAGE_WRITABLE,	 /* reset: the box can keep files in more than its empty tmpfs mounts, or the step was root */
	STAGE_PLACES,	 /* reset: a tmpfs or mqueue mount was altered, or does not get empty; value is the errno */
	STAGE_IPC,	 /* reset: a System V object stays; value is the errno */
	STAGE_SOCKETS,	 /* reset: a socket stays, or a port is in TIME_WAIT */
	STAGE_CRASH,	 /* reset: its child was killed */
};

struct text {
	const char *at;
	size_t length;
};

/* A RUN or PRELOAD message; the strings lie in the message. */
struct run {
	const char *user;
	char *argv[ARGS_MAX + 1];
	char *env[ENV_MAX + 1];
};

struct identity {
	uint32_t uid, gid, groups[GROUPS_MAX];
	size_t ngroups;
	char home[sizeof("HOME=") + HOME_MAX]; /* as a variable: HOME=/home/sandbox */
};

/* Mount points lie in the text that was parsed. */
struct places {
	const char *path[PLACES_MAX];
	size_t count;
	bool mqueue; /* /dev/mqueue is among them */
	bool other;  /* there is another writable file system, or there are too many mounts */
};

/* Splits a RUN or PRELOAD message of `length` bytes. False if it is malformed. */
bool parse_run(char *message, size_t length, struct run *run);

/* Finds the user `spec` (name, uid, name:group, uid:gid ...) by the rules of Docker. STAGE_NONE when found. */
enum stage parse_user(const char *spec, struct text passwd, struct text group, struct identity *out);

/* Puts `home` and the variables of `first` and then of `second` into out[ENV_MAX + 1]; earlier ones win, and a HOME
 * in `second` is ignored. False if they are too many. */
bool parse_env(char **first, char **second, char *home, char **out);

/* The greatest id up to `most` for which /proc/self/uid_map or gid_map maps it and the next one; 0 if there is none but
 * root's. */
uint32_t parse_pair(const char *map, uint32_t most);

/* Finds the number behind the first `key` in the text (at its beginning for ""). */
bool parse_count(struct text text, const char *key, uint64_t *out);

/* Finds the places in /proc/self/mountinfo that a program may fill; decodes their names inside the text. The mount
 * point `excluded`, if not NULL, is left out. */
void parse_mounts(char *mountinfo, size_t length, const char *excluded, struct places *out);

/* Takes the next line, with no '\n', from the text. False at its end. */
bool parse_line(struct text *rest, struct text *line);

/* The n-th field (from 0) of a line, empty if there are fewer. */
struct text parse_field(struct text line, size_t n, char separator);

/* A number from 0 to ID_MAX in decimal digits. */
bool parse_id(struct text text, uint32_t *out);

#endif
