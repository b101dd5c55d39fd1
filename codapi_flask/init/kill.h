/* Ending a process of the host with all that it started: `init kill`. */
#ifndef KILL_H
#define KILL_H

/* Kills the process, its session, its group and all their descendants, but nobody outside the container with the full
 * id `container`: the number may be another process's by now. Returns an exit code. */
int kill_family(const char *pid, const char *container);

#endif
