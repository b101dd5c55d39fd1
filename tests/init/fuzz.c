/* Fuzz target of init's parser: it links parse.c and nothing else of init, so nothing here can kill or delete.
 *
 *	clang -fsanitize=fuzzer,address,undefined -I codapi_flask/init tests/init/fuzz.c codapi_flask/init/parse.c
 *
 * With -DSTANDALONE it has a main() of its own, for gcc: fuzz ROUNDS FILE... mutates the files that many times.
 */
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads every byte of a string, so that the sanitizer sees one that has no end. */
static void read_string(const char *string)
{
	volatile size_t length = strlen(string);
	(void)length;
}

static void fuzz_run(char *text, size_t size)
{
	static struct run run;
	static char *out[ENV_MAX + 1];
	char *base[] = {"PATH=/bin", "HOME=/", "odd", NULL}, home[] = "HOME=/x";

	if (!parse_run(text, size, &run))
		return;
	read_string(run.user);
	for (char **arg = run.argv; *arg; arg++)
		read_string(*arg);
	if (parse_env(run.env, base, home, out))
		for (char **variable = out; *variable; variable++)
			read_string(*variable);
}

/* The text: the user, a NUL, passwd, a NUL, group. */
static void fuzz_user(char *text, size_t size)
{
	static struct identity user;
	char *passwd = memchr(text, '\0', size);
	char *group = passwd ? memchr(passwd + 1, '\0', (size_t)(text + size - passwd - 1)) : NULL;

	if (!group)
		return;
	struct text users = {passwd + 1, (size_t)(group - passwd - 1)};
	struct text groups = {group + 1, (size_t)(text + size - group - 1)};
	if (parse_user(text, users, groups, &user) != STAGE_NONE)
		return;
	read_string(user.home);
	if (user.ngroups < 1 || user.ngroups > GROUPS_MAX || user.groups[0] != user.gid)
		abort();
	if (user.uid - INIT_ID < 2 || user.gid - INIT_ID < 2)
		abort();
}

static void fuzz_mounts(char *text, size_t size)
{
	static struct places places;

	parse_mounts(text, size, "/sandbox", &places);
	if (places.count > PLACES_MAX)
		abort();
	for (size_t i = 0; i < places.count; i++)
		read_string(places.path[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t number;

	if (size < 2)
		return 0;
	/* A block of exactly this size, so that the sanitizer sees a read behind it. */
	char *text = malloc(size - 1);
	memcpy(text, data + 1, size - 1);
	switch (data[0]) {
	case 'R':
		fuzz_run(text, size - 1);
		break;
	case 'U':
		fuzz_user(text, size - 1);
		break;
	case 'M':
		fuzz_mounts(text, size - 1);
		break;
	default:
		parse_count((struct text){text, size - 1}, "\noom_kill ", &number);
		parse_count((struct text){text, size - 1}, "", &number);
	}
	free(text);
	return 0;
}

#ifdef STANDALONE
static uint64_t state = 88172645463325252u;

static uint64_t next(void) /* xorshift64: the same numbers in every run */
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static size_t mutate(uint8_t *data, size_t size, size_t max)
{
	for (uint64_t n = next() % 8; n > 0 && size > 0; n--) {
		size_t at = next() % size;
		switch (next() % 4) {
		case 0:
			data[at] ^= (uint8_t)(1u << next() % 8);
			break;
		case 1:
			data[at] = (uint8_t)"\0\xff:,/ \n\\9-"[next() % 10];
			break;
		case 2:
			size = at;
			break;
		default: {
			size_t length = next() % (size - at) + 1;
			if (size + length <= max) {
				memmove(data + at + length, data + at, size - at);
				size += length;
			}
		}
		}
	}
	return size;
}

int main(int argc, char **argv)
{
	static uint8_t seed[8192], data[32768];

	for (int i = 2; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		if (!file)
			return 2;
		size_t size = fread(seed, 1, sizeof(seed), file);
		fclose(file);
		for (long round = 0; round < atol(argv[1]); round++) {
			memcpy(data, seed, size);
			LLVMFuzzerTestOneInput(data, round == 0 ? size : mutate(data, size, sizeof(data)));
		}
	}
	return 0;
}
#endif
