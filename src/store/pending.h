/*
 * What was begun with several files and must be finished, or taken back, when the process that
 * did it has died: one line in a file of the Maildir's root, written before the first step and
 * removed behind the last. Nobody outside the store includes this.
 *
 *   mansio-pending, finished by the next opener:
 *     setup              make the folders of auto_folders
 *     rename FROM TO     a folder and its children
 *     inbox TO UIDNEXT   RENAME INBOX: the messages below UIDNEXT
 *   mansio-undo, taken back by whoever recovers the index:
 *     undo ID UIDVALIDITY UIDNEXT MARK
 *                        several messages into one folder (MULTIAPPEND, COPY): files that the
 *                        index doesn't know
 *
 * Words are separated by tabs. All but "setup" are written and removed under the account's
 * lock, so whoever finds one there while holding it knows that its writer died.
 */
#ifndef STORE_PENDING_H
#define STORE_PENDING_H

#include "store/mailbox_private.h"

#define PENDING_FILE "mansio-pending"
#define PENDING_UNDO "mansio-undo"

/* Each durable when it returns; on error nothing is pending. Locked. */
int pending_rename(struct account *a, const char *from, const char *to);
int pending_inbox(struct account *a, const char *to, uint32_t uidnext);
/* Messages are about to get files in m's cur/, under new names of this process, and rows.
 * m->row is fresh. */
int pending_undo(struct mailbox *m);
/* It's done, or taken back. `file`: PENDING_FILE or PENDING_UNDO. */
void pending_end(struct account *a, const char *file);

/* After a recovery of the index, before anything else is done: takes back what pending_undo()
   noted, finishes a renaming, and drops rows of folders that were being deleted. Locked. */
void pending_mend(struct account *a);
/* Finishes what is there. What fails is logged and stays for the next opener: the user can read
   his mail meanwhile. Takes the lock. */
void pending_finish(struct account *a);

#endif
