/*
 * Maildir++ quota: how much a user may store, and how much there is. The count lies in the file
 * `maildirsize` of the Maildir's root, which other delivery agents keep too:
 *
 *     10485760S,1000C      the limit: octets, messages (either may be missing)
 *     2345 1               a line for each change: octets, messages; may be negative
 *
 * A change is one write at the end of the file. The file is counted anew from the names of the
 * Maildir (`,S=` is believed, else the file is asked) when it's missing, longer than 5,120
 * octets, names another limit, or says "over" and is old enough not to be a count of this
 * moment (the Maildir++ rules).
 *
 * A user without a limit costs nothing here. No lock of ours: the file is shared with programs
 * that know none.
 */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include <stdint.h>

#include "store/account.h"

#define QUOTA_FILE "maildirsize"

struct quota_limit {
    uint64_t bytes;    /* 0 = any */
    uint64_t messages; /* 0 = any */
};

/*
 * "10G", "10G:20000", "500M:0", "0" (none), Maildir++'s "1000000S,1000C", and what Dovecot's
 * passwd-file has: "*:storage=1G", "*:storage=1G:messages=1000", "maildir:...:storage=...".
 * Units: B K M G T, powers of 1024, no unit = octets (in Dovecot's storage=: kilobytes). 0 or
 * ERR_SYNTAX.
 */
int quota_parse(const char *text, struct quota_limit *out);

/* Is there room for that much more? 0, ERR_QUOTA, or ERR_* if it can't be counted. No lock is
   needed; asked before anything is stored. */
int quota_check(struct account *a, uint64_t bytes, uint64_t messages);
/* Records what came (or went, negative). After it was done; a failure is logged and mended by
   the next count. */
void quota_add(struct account *a, int64_t bytes, int64_t messages);

struct quota_usage {
    struct quota_limit limit;
    uint64_t bytes, messages;
};
/* What `mansioctl user test` and delivery agents' messages say. 0 or ERR_*. */
int quota_usage(struct account *a, struct quota_usage *out);

#endif
