/*
 * A folder's directory and its row together, as the files of the store use them between
 * account_lock() and account_unlock(). Nobody else includes this.
 */
#ifndef STORE_MAILBOX_PRIVATE_H
#define STORE_MAILBOX_PRIVATE_H

#include "store/account_private.h"
#include "store/mailbox.h"
#include "store/maildir.h"

struct import;

struct mailbox {
    struct account *a;
    int fd; /* the folder's directory */
    char name[MBOXNAME_MAX + 1];
    struct index_mailbox row; /* as of the last mailbox_open(), mailbox_load() */
    struct import *import; /* another server's lists, until the first scan has ended; or NULL */
};

/*
 * Opens a folder and its row; the row is made if it's missing (a folder that another program
 * made), or renamed (a folder that another program renamed). Locked. ERR_NOENT.
 */
int mailbox_open(struct account *a, const char *name, struct mailbox **out);
void mailbox_close(struct mailbox **m);
/* Reads the row again in a later lock. Follows a rename of the folder. ERR_GONE: it was deleted
 * or made anew. Locked. */
int mailbox_load(struct mailbox *m);
/* In a transaction. */
int mailbox_put(struct mailbox *m);

/* Does the root hold a folder of that name? */
bool mailbox_dir_exists(struct account *a, const char *name);
/* Writes `mansio-folder`: the row's id and UIDVALIDITY. */
int mailbox_write_id(int fd, const struct index_mailbox *row);

#endif
