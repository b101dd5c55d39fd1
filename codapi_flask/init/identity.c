#define _GNU_SOURCE
#include "identity.h"
#include "clean.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) ((uint64_t)1 << (capability))
#define MAP_MAX 16384 /* more bytes than the 340 lines that a map may have */

static uint64_t box_permitted, box_inheritable;
static uint32_t own_id; /* the real one; the effective and the saved one are the next number */
static char uid_map[MAP_MAX], gid_map[MAP_MAX];

static bool get_capabilities(uint64_t *permitted, uint64_t *inheritable)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	if (syscall(SYS_capget, &head, sets) != 0)
		return false;
	*permitted = sets[0].permitted | (uint64_t)sets[1].permitted << 32;
	*inheritable = sets[0].inheritable | (uint64_t)sets[1].inheritable << 32;
	return true;
}

static bool set_capabilities(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	for (int i = 0; i < 2; i++) {
		sets[i].permitted = (uint32_t)(permitted >> 32 * i);
		sets[i].effective = (uint32_t)(effective >> 32 * i);
		sets[i].inheritable = (uint32_t)(inheritable >> 32 * i);
	}
	return syscall(SYS_capset, &head, sets) == 0;
}

static bool has_id(const struct identity *user, uint32_t id)
{
	for (size_t i = 0; i < user->ngroups; i++)
		if (user->groups[i] == id)
			return true;
	return user->uid == id || user->gid == id;
}

/* Takes the greatest ids up to INIT_ID that are mapped and not the user's. */
static bool take_ids(const struct identity *user)
{
	own_id = INIT_ID;
	while (own_id > 0) {
		uint32_t mapped = parse_pair(uid_map, parse_pair(gid_map, own_id));
		if (mapped == own_id && !has_id(user, own_id) && !has_id(user, own_id + 1))
			break;
		own_id = mapped < own_id ? mapped : own_id - 1;
	}
	if (own_id == 0) {
		errno = EINVAL;
		return false;
	}
	return setresgid(own_id, own_id + 1, own_id + 1) == 0 && setresuid(own_id, own_id + 1, own_id + 1) == 0 &&
	       /* otherwise root owns /proc/1, and a step as root could open oom_score_adj and others there */
	       prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

bool identity_avoid(const struct identity *user)
{
	return !(has_id(user, own_id) || has_id(user, own_id + 1)) || take_ids(user);
}

bool identity_leave_root(uint64_t own)
{
	uint64_t kept = BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID);
	static const struct identity root;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
		errno = EPERM; /* without it a program could regain the capabilities that are dropped here */
		return false;
	}
	if (!get_capabilities(&box_permitted, &box_inheritable))
		return false;
	box_permitted &= ~own;
	box_inheritable &= ~own;
	for (int capability = 0; capability < 64; capability++)
		if (own & BIT(capability) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
			return false;
	read_text("/proc/self/uid_map", uid_map, MAP_MAX - 1);
	read_text("/proc/self/gid_map", gid_map, MAP_MAX - 1);
	return setgroups(0, NULL) == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && take_ids(&root) &&
	       prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 &&
	       set_capabilities(box_permitted | kept, kept, box_inheritable);
}

bool identity_become(const struct identity *user)
{
	uint64_t caps = user->uid == 0 ? box_permitted : 0;
	return setgroups(user->ngroups, user->groups) == 0 && setresgid(user->gid, user->gid, user->gid) == 0 &&
	       setresuid(user->uid, user->uid, user->uid) == 0 && set_capabilities(caps, caps, box_inheritable);
}
