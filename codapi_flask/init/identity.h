/* Who init is, and who a program is. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "parse.h"

/* Leaves uid 0 for an id that no program has, keeping what starting and killing programs needs; takes the capabilities
 * `own` from all that will ever run in the box. False with errno set. */
bool identity_leave_root(uint64_t own);

/* Becomes a user for good, with the capabilities that its programs have in plain Docker. False with errno set. */
bool identity_become(const struct identity *user);

#endif
