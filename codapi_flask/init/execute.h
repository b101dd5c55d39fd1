/* Executing a program as runc does. */
#ifndef EXECUTE_H
#define EXECUTE_H

/* Replaces the process by the program; searches PATH of `env`, whose relative entries do not count. Returns an
 * errno when that fails. */
int execute(char **argv, char **env);

#endif
