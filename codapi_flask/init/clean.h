/* Deleting what programs left: the reset of a box, and `init remove`. */
#ifndef CLEAN_H
#define CLEAN_H

#include "parse.h"

/* Remembers what the writable mounts and the sockets of the box are like before any program has run in it. The mount
 * point `theirs` (or NULL) is left to the worker. */
void clean_start(const char *theirs);

/* Whether one look shows that programs of this user, all dead, left nothing: then there is nothing to delete. False
 * when it does not show that; they may still have left nothing. */
bool is_clean(uint32_t uid);

/* Deletes all that the calling process's user left in the box, then checks that nothing is there. Returns what
 * failed, with its errno, or STAGE_NONE. Nobody else may be at work in the box. */
enum stage clean_box(int *error);

/* Gives the devices and all places that the calling process's user may write to the time of now: else a program could
 * read from them what another one has set. */
void clean_times(void);

/* Deletes all that is in the directory `path`; follows no link below it. Returns an exit code. */
int clean_path(const char *path);

/* Reads a file, or as much of it as fits. */
struct text read_text(const char *path, char *buffer, size_t size);

#endif
