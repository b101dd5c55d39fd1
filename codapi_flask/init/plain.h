/* Process 1 of a container that runs one program and ends with it. */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdbool.h>

/* Runs a program and returns its exit status: 128 + the signal that killed it, 126 or 127 if it cannot be executed,
 * which a line on stderr explains. With `waits`, the program starts only once the memory of sockets is limited; the
 * status is 125 if it never is. */
int plain(bool waits, char **argv);

/* As `plain`, but ends with the status 137 as soon as the directory `owner`, which another process has locked, is free.
 * A stopped program continues: programs that are executed beside it may have its user. */
int service(bool waits, char **argv, const char *owner);

#endif
