/*
 * The way out: writes dovecot-uidlist (version 3) and dovecot-keywords into an account's
 * folders, so that Dovecot shows the same UIDs, UIDVALIDITY, POP3 UIDLs and keywords. The file
 * `subscriptions` is Dovecot's already (its first version, which it reads). Each file is
 * replaced through tmp/ and rename. Dovecot must not be running meanwhile; its own
 * `dovecot.index*` files may stay.
 */
#ifndef STORE_EXPORT_H
#define STORE_EXPORT_H

#include "base/buf.h"
#include "store/account.h"
#include "store/check.h"

struct export_summary {
    unsigned folders;
    uint64_t messages;
    uint64_t keywords_lost; /* messages with a keyword beyond a-z, which only the index knows,
                               or with $Forwarded, Maildir's P */
};

/* Writes into every folder (NULL) or one. `report` as in import_account(). 0 or ERR_*. */
int export_account(struct account *a, const char *folder, check_report *report, void *ctx,
                   struct export_summary *summary);
/* The same text of one folder's dovecot-uidlist into `out` (bounded by it: ERR_LIMIT), leaving
   the files as they are. */
int export_uidlist(struct account *a, const char *folder, struct buf *out);

#endif
