#define _GNU_SOURCE
#include "parse.h"

#include <stdlib.h>
#include <string.h>

static bool same(struct text text, const char *string)
{
	return text.length == strlen(string) && memcmp(text.at, string, text.length) == 0;
}

bool parse_line(struct text *rest, struct text *line)
{
	if (rest->length == 0)
		return false;
	const char *end = memchr(rest->at, '\n', rest->length);
	size_t length = end ? (size_t)(end - rest->at) : rest->length;
	*line = (struct text){rest->at, length};
	length += end != NULL;
	*rest = (struct text){rest->at + length, rest->length - length};
	return true;
}

/* Takes the text before the next separator. False if nothing is left. */
static bool next_field(struct text *rest, char separator, struct text *field)
{
	if (!rest->at)
		return false;
	const char *end = rest->length ? memchr(rest->at, separator, rest->length) : NULL;
	*field = (struct text){rest->at, end ? (size_t)(end - rest->at) : rest->length};
	*rest = end ? (struct text){end + 1, rest->length - field->length - 1} : (struct text){NULL, 0};
	return true;
}

struct text parse_field(struct text line, size_t n, char separator)
{
	struct text field = {"", 0};
	for (size_t i = 0; i <= n; i++)
		if (!next_field(&line, separator, &field))
			return (struct text){"", 0};
	return field;
}

bool parse_id(struct text text, uint32_t *out)
{
	uint64_t number = 0;
	for (size_t i = 0; i < text.length; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(text.at[i] - '0');
		if (number > ID_MAX)
			return false;
	}
	*out = (uint32_t)number;
	return text.length > 0;
}

bool parse_count(struct text text, const char *key, uint64_t *out)
{
	size_t length = strlen(key);
	for (size_t i = 0; i + length < text.length; i++) {
		if (memcmp(text.at + i, key, length) != 0)
			continue;
		uint64_t number = 0;
		size_t start = i + length, j = start;
		for (; j < text.length && text.at[j] >= '0' && text.at[j] <= '9'; j++)
			number = number * 10 + (uint64_t)(text.at[j] - '0');
		*out = number;
		return j > start;
	}
	return false;
}

uint32_t parse_pair(const char *map, uint32_t most)
{
	uint64_t found = 0;
	for (char *end = NULL;; map = end) {
		uint64_t first = strtoull(map, &end, 10);
		if (end == map)
			return (uint32_t)found;
		strtoull(end, &end, 10); /* the first id outside */
		uint64_t last = first + strtoull(end, &end, 10) - 1, id = last - 1 < most ? last - 1 : most;
		if (id >= first && id < last && id > found)
			found = id;
	}
}

bool parse_run(char *message, size_t length, struct run *run)
{
	if (length < 7 || length > MESSAGE_MAX || message[length - 1] != '\0')
		return false;
	const unsigned char *head = (const unsigned char *)message;
	size_t nargs = head[2] | (size_t)head[3] << 8, nenv = head[4] | (size_t)head[5] << 8;
	if ((head[0] != 'R' && head[0] != 'P') || head[1] != 0 || nargs < 1 || nargs > ARGS_MAX || nenv > ENV_MAX)
		return false;
	char *at = message + 6, *end = message + length;
	run->user = at;
	for (size_t i = 0; i < nargs + nenv; i++) {
		at += strlen(at) + 1; /* the last byte is a NUL, so no string runs past the end */
		if (at == end)
			return false;
		if (i < nargs)
			run->argv[i] = at;
		else
			run->env[i - nargs] = at;
	}
	run->argv[nargs] = run->env[nenv] = NULL;
	return at + strlen(at) + 1 == end;
}

static bool is_init(uint32_t id)
{
	return id == INIT_ID || id == INIT_ID + 1;
}

/* The first line of passwd or group with the wanted name, or number if `by_id`. */
static bool find(struct text file, struct text name, bool by_id, uint32_t id, struct text *line)
{
	uint32_t number;
	while (parse_line(&file, line)) {
		if (!parse_id(parse_field(*line, 2, ':'), &number))
			continue;
		struct text found = parse_field(*line, 0, ':');
		if (by_id ? number == id
			  : found.length == name.length && memcmp(found.at, name.at, name.length) == 0)
			return true;
	}
	return false;
}

/* The home of the first entry with this uid, as in runc: not of the entry that was named. */
static void find_home(struct text passwd, struct identity *out)
{
	struct text line, home = {"/", 1};
	if (find(passwd, (struct text){"", 0}, true, out->uid, &line))
		home = parse_field(line, 5, ':');
	if (home.length > HOME_MAX)
		home = (struct text){"/", 1};
	memcpy(out->home, "HOME=", 5);
	memcpy(out->home + 5, home.at, home.length);
	out->home[5 + home.length] = '\0';
}

static bool is_member(struct text group, struct text name)
{
	struct text members = parse_field(group, 3, ':'), member;
	while (next_field(&members, ',', &member))
		if (member.length == name.length && memcmp(member.at, name.at, name.length) == 0)
			return true;
	return false;
}

static enum stage add_groups(struct text file, struct text name, struct identity *out)
{
	struct text line;
	uint32_t gid;
	while (parse_line(&file, &line)) {
		if (!parse_id(parse_field(line, 2, ':'), &gid) || !is_member(line, name))
			continue;
		if (out->ngroups == GROUPS_MAX || is_init(gid))
			return STAGE_GROUP;
		out->groups[out->ngroups++] = gid;
	}
	return STAGE_NONE;
}

enum stage parse_user(const char *spec, struct text passwd, struct text group, struct identity *out)
{
	struct text rest = {spec, strlen(spec)}, line;
	struct text user = parse_field(rest, 0, ':'), wanted = parse_field(rest, 1, ':');
	out->uid = out->gid = 0;
	bool by_id = parse_id(user, &out->uid), known = find(passwd, user, by_id, out->uid, &line);
	if (user.length == 0 || !(known || by_id))
		return STAGE_USER;
	if (known) {
		parse_id(parse_field(line, 2, ':'), &out->uid);
		if (!parse_id(parse_field(line, 3, ':'), &out->gid))
			return STAGE_USER;
	}
	out->ngroups = 1; /* the primary group is among them, as in Docker since 20.10.18 (CVE-2022-36109) */
	if (wanted.length > 0) {
		if (!parse_id(wanted, &out->gid)) {
			if (!find(group, wanted, false, 0, &line))
				return STAGE_GROUP;
			parse_id(parse_field(line, 2, ':'), &out->gid);
		}
	} else if (known) {
		enum stage stage = add_groups(group, parse_field(line, 0, ':'), out);
		if (stage != STAGE_NONE)
			return stage;
	}
	out->groups[0] = out->gid;
	find_home(passwd, out);
	return is_init(out->uid) ? STAGE_USER : is_init(out->gid) ? STAGE_GROUP : STAGE_NONE;
}

bool parse_env(char **first, char **second, char *home, char **out)
{
	size_t count = 0;
	char **from[] = {first, second};
	for (size_t list = 0; list < 3; list++) {
		char *last[] = {home, NULL};
		for (char **variable = list < 2 ? from[list] : last; *variable; variable++) {
			size_t name = strcspn(*variable, "="), i = 0;
			if (list == 1 && name == 4 && memcmp(*variable, "HOME", 4) == 0)
				continue;
			while (i < count && (strncmp(out[i], *variable, name) != 0 || out[i][name] != '='))
				i++;
			if (i < count)
				continue;
			if (count == ENV_MAX)
				return false;
			out[count++] = *variable;
		}
	}
	out[count] = NULL;
	return true;
}

/* Ends a mount point with a NUL and decodes it: mountinfo writes blank, tab, newline and backslash as \ooo. */
static const char *decode(struct text text)
{
	char *path = (char *)text.at, *to = path;
	for (size_t i = 0; i < text.length; i++) {
		if (text.at[i] == '\\' && i + 3 < text.length) {
			unsigned byte = 0;
			for (size_t end = i + 3; i < end;)
				byte = byte * 8 + ((unsigned char)text.at[++i] - '0');
			*to++ = (char)byte;
		} else {
			*to++ = text.at[i];
		}
	}
	*to = '\0'; /* there is room: a blank follows */
	return path;
}

static bool is_writable(struct text options)
{
	return same(parse_field(options, 0, ','), "rw");
}

void parse_mounts(char *mountinfo, size_t length, const char *excluded, struct places *out)
{
	/* The kernel provides their files and checks every write; nothing can be kept in them. */
	static const char *const kernel[] = {"proc", "sysfs", "devpts", "cgroup", "cgroup2"};
	struct text rest = {mountinfo, length}, line;
	*out = (struct places){0};
	while (parse_line(&rest, &line)) {
		const char *end = line.at + line.length, *dash = memmem(line.at, line.length, " - ", 3);
		if (!dash)
			continue;
		struct text tail = {dash + 3, (size_t)(end - dash - 3)};
		struct text root = parse_field(line, 3, ' '), path = parse_field(line, 4, ' ');
		struct text type = parse_field(tail, 0, ' ');
		bool harmless = !is_writable(parse_field(line, 5, ' ')) || !is_writable(parse_field(tail, 2, ' '));
		for (size_t i = 0; i < sizeof(kernel) / sizeof(*kernel); i++)
			harmless |= same(type, kernel[i]);
		/* Docker hides some files of /proc behind the /dev/null of its tmpfs; a volume cannot be there. */
		harmless |= path.length > 6 && memcmp(path.at, "/proc/", 6) == 0;
		/* In a user namespace runc mounts devices of the host, which keep nothing; they belong to nobody inside. */
		harmless |= same(type, "devtmpfs") && !same(root, "/");
		if (harmless)
			continue;
		const char *name = decode(path);
		if (excluded && strcmp(name, excluded) == 0)
			continue;
		/* A mount of a part of a file system (root is not /) is a volume: init must not delete its files. */
		bool mqueue = same(type, "mqueue");
		if (!(mqueue || same(type, "tmpfs")) || !same(root, "/") || out->count == PLACES_MAX) {
			out->other = true;
			continue;
		}
		out->mqueue |= mqueue;
		out->path[out->count++] = name;
	}
}
