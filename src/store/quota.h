/*
 * Maildir++ quota: how much a user may store, and how much there is. The count lies in the file
 * `maildirsize` of the Maildir's root, which other delivery agents keep too:
 *
 *     10485760S,1000C      the limit: octets, messages (either may be missing)
 *     2345 1               a line for each change: octets, messages; may be negative
 *
 * A change is one write at the end of the file. The file is counted anew from the names of the
 * Maildir (`,S=` is believed, else the file is asked) when it's missing, has 5,120 octets or
 * more, names another limit, can't be understood, or says "over" and isn't a count of this
 * moment (the Maildir++ rules).
 *
 * What counts: every message in new/ and cur/ of every folder, Trash and \Deleted included, so
 * that MOVE and STORE change nothing; see mansio-index(5).
 *
 * The limit: the user's own (account_params.quota), else the configuration's `quota`, else what
 * the first line of an existing maildirsize says. A user without any costs one open() in a
 * session, at the first change. No lock of ours: the file is shared with programs that know
 * none.
 */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include <stdint.h>

#include "base/quota_limit.h"
#include "store/account.h"

#define QUOTA_FILE "maildirsize"

/* Is there room for that much more? 0, ERR_QUOTA, or ERR_* if it can't be counted. No lock is
   needed; asked before anything is stored, and once more under the lock right before, where
   sessions of ours can't come in between. */
int quota_check(struct account *a, uint64_t bytes, uint64_t messages);
/* Records what came (or went, negative). After it was done; a failure is logged and mended by
   the next count. */
void quota_add(struct account *a, int64_t bytes, int64_t messages);

/* Has this user a limit? Who must do work to know what to check asks this first. */
bool quota_applies(struct account *a);
/* What a message counts: what its name says, else `size`. */
uint64_t quota_size(const char *name, uint64_t size);

struct quota_usage {
    struct quota_limit limit;
    uint64_t bytes, messages;
};
/* What `mansioctl quota` and delivery agents' messages say. Without a limit it's counted each
   time, and not written. 0 or ERR_*. */
int quota_usage(struct account *a, struct quota_usage *out);
/* The same, counted anew. */
int quota_recount(struct account *a, struct quota_usage *out);

/* quota_count.c. Adds what lies in new/ and cur/ of the folder open as `fd`. *stamp gets a
   number that's another one when either directory changed. `stamp_only`: nothing is counted. 0
   or ERR_*. */
int quota_count_folder(int fd, bool stamp_only, struct quota_usage *sum, uint64_t *stamp);
/* The same of all folders. */
int quota_count(struct account *a, bool stamp_only, struct quota_usage *sum, uint64_t *stamp);

#endif
