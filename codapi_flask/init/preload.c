#define _GNU_SOURCE
#include "preload.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool preload_open(struct preload *preload, int ends[2])
{
	int go[2], ready[2];

	/* init must not wait for a program that does not read */
	if (pipe2(go, O_CLOEXEC) != 0)
		return false;
	ends[0] = go[0];
	preload->go = go[1];
	if (fcntl(go[1], F_SETFL, O_NONBLOCK) != 0 || pipe2(ready, O_CLOEXEC) != 0)
		return false;
	ends[1] = ready[1];
	preload->ready = ready[0];
	return true;
}

static bool are_same(char *const *first, char *const *second)
{
	while (*first && *second && strcmp(*first, *second) == 0)
		first++, second++;
	return !*first && !*second;
}

bool preload_fits(const struct preload *preload, const struct run *request)
{
	return strcmp(preload->request.user, request->user) == 0 &&
	       strcmp(preload->request.argv[0], request->argv[0]) == 0 &&
	       are_same(preload->request.env, request->env);
}

bool preload_go(const struct preload *preload, const struct run *request)
{
	size_t last = 0;
	while (request->argv[last + 1])
		last++;
	const char *end = request->argv[last] + strlen(request->argv[last]) + 1;
	ssize_t length = end - request->argv[0];
	return write(preload->go, request->argv[0], (size_t)length) == length;
}

void preload_close(struct preload *preload)
{
	for (int i = 0; i < 2; i++) {
		int *end = i == 0 ? &preload->go : &preload->ready;
		if (*end >= 0)
			close(*end);
		*end = -1;
	}
}
