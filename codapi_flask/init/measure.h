/* Measuring what a directory takes on disk, as the server does: `init measure`. */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>

/* Returns the exit code 0 if the contents of the directory `path` take at most `limit` bytes, 3 if they take more, 4
 * if names vanish at every measurement, 5 if they are nested too deeply, 1 if it cannot be read. Follows no link
 * below `path`. */
int measure_path(const char *path, uint64_t limit);

#endif
