/*
 * The way out: writes dovecot-uidlist (version 3), dovecot-keywords and `subscriptions` in
 * Dovecot's form into an account's folders, so that Dovecot shows the same UIDs, UIDVALIDITY,
 * POP3 UIDLs and keywords. Each file is replaced through tmp/ and rename.
 */
#ifndef STORE_EXPORT_H
#define STORE_EXPORT_H

#include "base/buf.h"
#include "store/account.h"
#include "store/check.h"

struct export_summary {
    unsigned folders;
    uint64_t messages;
    uint64_t keywords_lost; /* messages with a keyword beyond a-z, which only the index knows */
};

/* Writes into every folder (NULL) or one. 0 or ERR_*. */
int export_account(struct account *a, const char *folder, check_report *report, void *ctx,
                   struct export_summary *summary);
/* The same text of one folder's dovecot-uidlist into `out`, changing nothing. */
int export_uidlist(struct account *a, const char *folder, struct buf *out);

#endif
