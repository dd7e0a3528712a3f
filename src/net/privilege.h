/*
 * Becoming an unprivileged user for good.
 */
#ifndef NET_PRIVILEGE_H
#define NET_PRIVILEGE_H

#include <sys/types.h>

/* As root: clears supplementary groups, sets real, effective and saved gid and uid, sets
   no_new_privs, and verifies that none of them can be taken back; any failure is log_fatal().
   Not as root: does nothing when the ids are the caller's own, else fatal. */
void privilege_drop(uid_t uid, gid_t gid);

#endif
