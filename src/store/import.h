/*
 * What another server left in a folder of a Maildir, read once when Mansio first opens the
 * folder (mailbox.c makes its row from it, scan.c gives its UIDs), or ahead of time by
 * `mansioctl import`:
 *
 *   dovecot-uidlist, versions 1 and 3   UIDVALIDITY, next UID, UID, POP3 UIDL, sizes
 *   courierimapuiddb, version 1         UIDVALIDITY, next UID, UID
 *   courierpop3dsizelist, /2 and /3     POP3 UIDL, sizes
 *   dovecot-keywords                    names of the letters a-z (keywords.c)
 *   courierimapkeywords/                keywords of messages
 *
 * Where both servers left a list, the younger one counts. A list that makes no sense is named
 * in the log, and what can be read of it is used; UIDs that come twice or don't grow are not.
 * Nothing of the other server's is changed or removed, so the way back stays open.
 */
#ifndef STORE_IMPORT_H
#define STORE_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/account.h"
#include "store/check.h"

#define IMPORT_UIDL_MAX 71 /* octets: RFC 1939 7 allows 70 */

struct import; /* one folder's */

/* Reads the lists of the folder open as `fd`. ERR_NOENT: there are none. 0 or ERR_*. */
int import_read(int fd, struct import **out);
void import_free(struct import **imp);

uint32_t import_uidvalidity(const struct import *imp); /* 0 = none is known */
uint32_t import_uidnext(const struct import *imp);     /* above every UID in the list */

struct import_message {
    uint32_t uid;                /* 0: none, only what follows is known */
    const char *uidl;            /* "" = by this server's format */
    const char *const *keywords; /* names */
    size_t keywords_count;
    uint64_t crlf_size; /* MDNAME_SIZE_UNKNOWN */
};
/* By base name (all before ":2,"). False: the lists don't know it. Valid until import_free().
 */
bool import_find(const struct import *imp, const char *base, size_t len,
                 struct import_message *out);

/* Names that were subscribed at the other server (`subscriptions` in Dovecot's versions 1 and
   2, courierimapsubscribed), into this server's file. Done once; a name that's in there stays.
   0 or ERR_*. */
int import_subscriptions(struct account *a);

struct import_summary {
    unsigned folders;     /* looked at */
    unsigned imported;    /* of them, with lists of another server */
    unsigned done_before; /* already in the index with the same UIDVALIDITY */
    unsigned refused;     /* in the index with another UIDVALIDITY: left as they are */
    uint64_t messages;    /* that have the UID of the list */
    uint64_t differ;      /* in the list with another UID than the index's: left */
    unsigned subscriptions;
};
/* All folders of an account, ahead of the first login. May be repeated while the other server
   still runs: files that no list knows get no UID yet, so that a later list can give it.
   `report` gets a line for each folder. 0 or ERR_*. */
int import_account(struct account *a, check_report *report, void *ctx,
                   struct import_summary *summary);

#endif
