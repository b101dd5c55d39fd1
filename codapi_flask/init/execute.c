#include "execute.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int execute(char **argv, char **env)
{
	static char path[8192];
	const char *name = argv[0], *entry = NULL;
	int error = ENOENT;

	if (strchr(name, '/')) {
		execve(name, argv, env);
		return errno;
	}
	for (char **variable = env; *variable; variable++)
		if (strncmp(*variable, "PATH=", 5) == 0)
			entry = *variable + 5;
	while (entry && *name) {
		size_t length = strcspn(entry, ":");
		if (*entry == '/' && length + strlen(name) + 2 <= sizeof(path)) {
			sprintf(path, "%.*s/%s", (int)length, entry, name);
			execve(path, argv, env);
			if (errno == EACCES)
				error = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return errno;
		}
		entry = entry[length] ? entry + length + 1 : NULL;
	}
	return error;
}

