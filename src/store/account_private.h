/*
 * What the files of the store share of an account. Nobody else includes this.
 */
#ifndef STORE_ACCOUNT_PRIVATE_H
#define STORE_ACCOUNT_PRIVATE_H

#include <sys/types.h>

#include "base/quota_limit.h"
#include "store/account.h"
#include "store/index.h"

#define SCAN_PIECE 32768 /* 3 MB of log */

/* store/quota.c */
struct quota_state {
    char *text; /* the user's own limit as written, "" = by the configuration */
    bool known; /* the rest is filled */
    bool applies;
    bool in_file; /* the limit is the first line of maildirsize: another program's */
    struct quota_limit limit;
};

struct account {
    const struct conf *conf;
    char *user;
    char *mail_dir;  /* absolute path */
    char *index_dir; /* absolute path */
    int root;        /* descriptor of mail_dir */
    struct index *ix;
    struct mboxname_rules names;
    bool locked;
    struct quota_state quota;
    bool dev_known;      /* the next two are filled */
    dev_t stamp_dev;     /* the root's file system */
    bool stamp_here;     /* account_stamps_here() of it */
    unsigned scan_piece; /* changes of one transaction of a scan; tests have it lower */
};

/* The account's lock. Never held across a wait for the client. Unlocking what isn't locked is
   allowed: who gives the lock up between two pieces of work may fail to get it again. */
int account_lock(struct account *a);
void account_unlock(struct account *a);
/* Did what only reads fail, under a lock that was given up now, because the index was damaged?
   Then once more: it's repaired on the way in. *tries begins with 0. */
bool account_again(const struct account *a, int err, int *tries);

/* Are changes in the file system `dev` dated by this kernel's clock (sys_stamp_us()), not by
   another machine's, nor in coarse units? */
bool account_stamps_here(struct account *a, dev_t dev);

/* Makes the folders of auto_folders, subscribed and marked. Takes the lock. */
int folders_make_auto(struct account *a);
/* Once a day: old files in the folders' tmp/, leftovers of deletions, rows without a directory.
 * Takes the lock. */
void folders_tidy(struct account *a);

#endif
