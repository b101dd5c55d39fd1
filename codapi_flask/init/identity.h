/* The user ids and capabilities of init and of programs. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "parse.h"

/* Leaves uid 0 for ids that the box's user namespace maps, keeping what starting and killing programs needs; takes the
 * capabilities `own` from everything that will run in the box. Returns false with errno set if that fails: EINVAL if
 * the namespace maps too few ids. */
bool identity_leave_root(uint64_t own);

/* Takes other ids if this user, whose program is about to start, has one of init's. Returns false with errno set if
 * that fails. */
bool identity_avoid(const struct identity *user);

/* Becomes a user for good, with the capabilities that its programs have in plain Docker. Returns false with errno set
 * if that fails. */
bool identity_become(const struct identity *user);

#endif
