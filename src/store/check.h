/*
 * `mansioctl mailbox check` and `rebuild`.
 */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "store/account.h"

typedef void check_report(void *ctx, const char *folder, const char *text);

/* Compares index and Maildir of one folder (NULL: all) and names every inconsistency. Returns
 * how many, or ERR_*. Changes nothing. */
int mailbox_check(struct account *a, const char *folder, check_report *report, void *ctx);
/* Reads the folder (NULL: all) from disk again: UIDs are kept where the index still knows them;
 * caches, counts, sizes are made anew; sessions that are open go on. */
int mailbox_rebuild(struct account *a, const char *folder, check_report *report, void *ctx);

#endif
