/* Killing processes of the host with all that they started: `init kill`, `init kill-group`. */
#ifndef KILL_H
#define KILL_H

/* Kills the process, its session, its group and all their descendants, but none outside the container with the full
 * id `container`: the pid may have been reused. For `-` that is the container whose PID namespace init is in. Returns an
 * exit code. */
int kill_family(const char *pid, const char *container);

/* Kills the processes of that container that have `group` as their real, effective, saved or file system's group, with
 * all their descendants. Returns an exit code. */
int kill_group(const char *group, const char *container);

#endif
