/* Deleting what programs left: the reset of a box, and `init remove`. */
#ifndef CLEAN_H
#define CLEAN_H

#include "parse.h"

/* Records the state of the box's writable mounts and sockets before any program has run in it. The mount point
 * `excluded` (or NULL) is left to the worker. */
void clean_start(const char *excluded);

/* Whether one check proves that programs of this user, all dead, left nothing to delete. False means that it proves
 * nothing: they may still have left nothing. */
bool is_clean(uint32_t uid);

/* Deletes all that the calling process's user left in the box, then checks that nothing is there. Returns what
 * failed, with its errno, or STAGE_NONE. No other process may run in the box. */
enum stage clean_box(int *error);

/* Sets the times of the devices, and of all places that the calling process's user may write to, to now: otherwise a
 * program could read from them what another one has set. */
void clean_times(void);

/* Deletes the directory `path` with its contents; a mount point itself stays. Follows no link below it. Returns an exit
 * code. */
int clean_path(const char *path);

/* Reads a file, or as much of it as fits. */
struct text read_text(const char *path, char *buffer, size_t size);

#endif
