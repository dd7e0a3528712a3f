/*
 * A message that arrives: standard input of mansio-deliver -> new/ of a folder, indexed at
 * once. Bytes go to tmp/ without the lock; then, under it: rename into new/, fsync, index
 * (invariant 4). Line ends become LF, as in APPEND; the name says S= and W=.
 */
#ifndef STORE_DELIVER_H
#define STORE_DELIVER_H

#include <stdbool.h>

#include "base/io.h"
#include "store/account.h"

struct delivery {
    const char *folder;  /* internal name */
    bool create;         /* make the folder (and subscribe it) if it's missing */
    const char *headers; /* lines with LF that go in front of the message; "" = none */
};

/* 0: the message is durable, under its UID. ERR_NOENT: no such folder; ERR_QUOTA, ERR_NOSPACE,
   ERR_BUSY (the account stayed locked for lock_timeout), ERR_LIMIT (longer than append_limit),
   source errors: then nothing is left. */
int deliver_message(struct account *a, const struct delivery *d, struct source *src);

#endif
