/* Process 1 of a container that runs one program and ends with it. */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdbool.h>

/* Runs a program. Its exit status is returned: 128 + the signal that killed it, 126 or 127 when it cannot be
 * executed, which a line on stderr explains. With `waits`, it does not start before the memory that sockets may take
 * is limited; 125 when it never is. */
int plain(bool waits, char **argv);

#endif
