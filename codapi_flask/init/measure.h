/* What a directory takes on disk, as the server measures it: `init measure`. */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>

/* Returns the exit code 0 when all that is in the directory `path` takes at most `limit` bytes, 3 when it takes more
 * or is too deep to tell, 4 when names vanish whenever it is measured, 1 when it cannot be read. Follows no link below `path`. */
int measure_path(const char *path, uint64_t limit);

#endif
