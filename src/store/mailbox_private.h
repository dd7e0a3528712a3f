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

/*
 * What is put off while many folders are opened and scanned under one lock: instead of syncing
 * the index for each, and their new ids. Whoever begins with an empty one calls
 * mailbox_settle() before he gives up the lock, or tells anybody a UID.
 */
struct later_id {
    char *name; /* of the folder, owned */
    uint32_t id, uidvalidity;
};
struct later {
    bool sync; /* the index has commits that must be durable */
    struct later_id *ids;
    size_t count, cap;
};

struct mailbox {
    struct account *a;
    struct later *later; /* NULL: nothing is put off */
    int fd;              /* the folder's directory */
    char name[MBOXNAME_MAX + 1];
    struct index_mailbox row; /* as of the last mailbox_open(), mailbox_load() */
    struct import *import; /* another server's lists, until the first scan has ended; or NULL */
};

/*
 * Opens a folder and its row; the row is made if it's missing (a folder that another program
 * made), or renamed (a folder that another program renamed). Locked. ERR_NOENT.
 */
int mailbox_open(struct account *a, const char *name, struct mailbox **out);
/* The same, with what can wait put off. */
int mailbox_open_later(struct account *a, const char *name, struct later *later,
                       struct mailbox **out);
/* Does it, and empties `later`. 0, or ERR_*: the index couldn't be synced. */
int mailbox_settle(struct account *a, struct later *later);
/* After a recovery: gives folders the file with their id if a crash came before it. Locked. */
void mailbox_mend_ids(struct account *a);
void mailbox_close(struct mailbox **m);
/* Reads the row again in a later lock. Follows a rename of the folder. ERR_GONE: it was deleted
 * or made anew. Locked. */
int mailbox_load(struct mailbox *m);
/* In a transaction. */
int mailbox_put(struct mailbox *m);

/* Does the root hold a folder of that name? */
bool mailbox_dir_exists(struct account *a, const char *name);
/* mailbox_id.c: the file with the row's id and UIDVALIDITY, written durably. */
#define MAILBOX_ID_FILE "mansio-folder"
int mailbox_write_id(int fd, const struct index_mailbox *row);
/* Of the folder in directory `dir` of `fd`. False: there's none that makes sense. */
bool mailbox_read_id(int fd, const char *dir, uint32_t *id, uint32_t *uidvalidity);
/* The row of m is committed but not synced: its id is saved after that. */
void mailbox_put_off(struct later *later, const struct mailbox *m);

#endif
