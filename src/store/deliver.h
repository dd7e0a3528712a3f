/*
 * A message that arrives: standard input of mansio-deliver -> new/ of a folder, indexed at
 * once. Bytes go to tmp/ without the lock; then, under it: rename into new/, fsync, index
 * (invariant 4). Line ends become LF, as in APPEND; the name says S= and W=.
 *
 * From the fsync of new/ on it's delivered, and says so: if the index fails after that, the
 * next session finds the message there and gives it a UID. An error would make the sender
 * deliver it twice.
 */
#ifndef STORE_DELIVER_H
#define STORE_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "store/account.h"

struct delivery {
    const char *folder;  /* internal name */
    bool create;         /* make the folder (and subscribe it) if it's missing */
    const char *headers; /* lines with LF that go in front of the message; "" = none */
    /* Asked in the last moment in which it can be given up, under the lock: true gives it up
       (ERR_TEMP). NULL = nobody asks. */
    bool (*give_up)(void *ctx);
    void *ctx;
};

struct delivered {
    uint64_t size;             /* octets of the file */
    uint32_t uidvalidity, uid; /* uid 0: the next session will give it one */
    bool created;              /* the folder */
};

/* 0: the message is durable, as a rule under its UID. ERR_NOENT: no such folder, and nothing
   was read of the source unless the folder went away meanwhile; ERR_CANNOT: it can't be made;
   ERR_QUOTA, ERR_NOSPACE, ERR_BUSY (the account stayed locked for lock_timeout), ERR_LIMIT
   (longer than append_limit), source errors: then nothing is left (but the folder). */
int deliver_message(struct account *a, const struct delivery *d, struct source *src,
                    struct delivered *out);

#endif
