#define _GNU_SOURCE
#include "identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) ((uint64_t)1 << (capability))

static uint64_t box_permitted, box_inheritable;

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

bool identity_leave_root(uint64_t own)
{
	uint64_t kept = BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID);

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
	return setgroups(0, NULL) == 0 && setresgid(INIT_ID, INIT_ID + 1, INIT_ID + 1) == 0 &&
	       prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && setresuid(INIT_ID, INIT_ID + 1, INIT_ID + 1) == 0 &&
	       prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 &&
	       set_capabilities(box_permitted | kept, kept, box_inheritable) &&
	       /* otherwise root owns /proc/1, and a step as root could open oom_score_adj and others there */
	       prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

bool identity_become(const struct identity *user)
{
	uint64_t caps = user->uid == 0 ? box_permitted : 0;
	return setgroups(user->ngroups, user->groups) == 0 && setresgid(user->gid, user->gid, user->gid) == 0 &&
	       setresuid(user->uid, user->uid, user->uid) == 0 && set_capabilities(caps, caps, box_inheritable);
}
