/* Executing a program as runc does. */
#ifndef EXECUTE_H
#define EXECUTE_H

/* Replaces the process by the program; searches PATH of `env`, whose relative entries are ignored. Returns an
 * errno if that fails. */
int execute(char **argv, char **env);

#endif
