/*
 * Maildir -> index: finds what other programs did in cur/ and new/. The rules and their reasons
 * are at the top of scan.c.
 */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include "store/mailbox_private.h"

enum scan_flags {
    SCAN_MOVE = 1,  /* move files from new/ to cur/ (a session that selected the mailbox) */
    SCAN_FULL = 2,  /* read the directories, whatever their times say */
    SCAN_LISTED = 4 /* with SCAN_FULL: a file gets a UID only if another server's list has one;
                       m->import is left to the caller */
};
/* Brings row and messages up to date with the directories; m->row is fresh and stored when it
   returns 0. In no transaction (it makes its own). ERR_GONE: the directory is no longer there.
   ERR_*. */
int scan_sync(struct mailbox *m, unsigned flags);

/* Would scan_sync() find nothing to do, with these times? */
bool scan_is_current(struct account *a, const struct index_mailbox *row,
                     const struct maildir_times *times, unsigned flags);

/* After changes of our own in cur/, made right after a scan_sync() under the same lock: records
 * the directory's new mtime in the row, which the caller puts. */
void scan_note_own(struct mailbox *m);
/* Something didn't fit: the next scan_sync() reads everything. The caller puts the row. */
void scan_distrust(struct mailbox *m);

#endif
