/* Killing a process of the host with all that it started: `init kill`. */
#ifndef KILL_H
#define KILL_H

/* Kills the process, its session, its group and all their descendants, but none outside the container with the full
 * id `container`: the pid may have been reused. For `-` that is the container whose PID namespace init is in. Returns an
 * exit code. */
int kill_family(const char *pid, const char *container);

#endif
