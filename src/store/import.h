/*
 * What another server left in a folder of a Maildir, read once when Mansio first opens the
 * folder (mailbox.c makes its row from it, scan.c gives its UIDs), or ahead of time by
 * `mansioctl import`:
 *
 *   dovecot-uidlist, versions 1 and 3   UIDVALIDITY, next UID, UID, POP3 UIDL, wire size
 *   courierimapuiddb, version 1         UIDVALIDITY, next UID, UID
 *   courierpop3dsizelist, /2 and /3     POP3 UIDL
 *   dovecot-keywords                    names of the letters a-z (keywords.c)
 *   courierimapkeywords/                keywords of messages
 *
 * Where both servers left a list, the younger one counts. A list that makes no sense is named
 * in the log, and what can be read of it is used; UIDs that don't grow are not.
 * Of the other server's files nothing is changed or removed, so the way back stays open; only
 * messages that have keywords of Courier's get their letters into the file name.
 */
#ifndef STORE_IMPORT_H
#define STORE_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/account.h"
#include "store/check.h"

#define IMPORT_UIDL_MAX 70 /* octets: RFC 1939 7 */
/* Greater ones are damage: with them a folder would soon have no more UIDs. */
#define IMPORT_UID_MAX (UINT32_MAX - (1u << 24))

struct import; /* one folder's */

/* Reads the lists of the folder open as `fd`; `folder` is for the log. ERR_NOENT: there are
   none. 0 or ERR_*. */
int import_read(int fd, const char *folder, struct import **out);
void import_free(struct import **imp);

uint32_t import_uidvalidity(const struct import *imp); /* 0 = none is known */
uint32_t import_uidnext(const struct import *imp);     /* above every UID in the list */

struct import_message {
    uint32_t uid;       /* 0: none, only what follows is known */
    const char *uidl;   /* "" = by this server's format */
    const char *other;  /* fields of Dovecot's that mean nothing here, "" = none */
    uint64_t keywords;  /* bits over import_keyword() */
    uint64_t crlf_size; /* MDNAME_SIZE_UNKNOWN */
};
/* By base name (all before ":2,"). False: the lists don't know it. Valid until import_free().
 */
bool import_find(const struct import *imp, const char *base, size_t len,
                 struct import_message *out);
/* The i-th keyword's name, NULL behind the last. */
const char *import_keyword(const struct import *imp, unsigned i);
/* Do the lists say which keywords each message has (Courier)? */
bool import_has_keywords(const struct import *imp);
/* The mailbox's global id in dovecot-uidlist: 32 hexadecimal digits, or "". */
const char *import_guid(const struct import *imp);

/* Names that were subscribed at Courier (courierimapsubscribed) into this server's file, if
   Courier's is the younger one; a name that's in there stays. Dovecot's file is the same as
   ours (subscriptions.c). Takes the lock. 0 or ERR_*; *added: how many (may be NULL). */
int import_subscriptions(struct account *a, unsigned *added);

/* Gives directories with UTF-8 in their names the ones in modified UTF-7. Takes the lock. */
int import_folder_names(struct account *a);

struct import_summary {
    unsigned folders;     /* looked at */
    unsigned imported;    /* of them, with lists of another server, now imported */
    unsigned done_before; /* already in the index with the same UIDVALIDITY */
    unsigned refused;     /* in the index with another UIDVALIDITY: left as they are */
    uint64_t messages;    /* that have the UID of the list */
    uint64_t differ;      /* in the list with another UID than the index's: left */
    unsigned subscriptions;
};
/* All folders of an account, ahead of the first login. May be repeated while the other server
   still runs: files that no list knows get no UID yet, so that a later list can give it.
   `report` is called for each folder: with text NULL when its turn comes, and with what isn't
   as it was at the other server. 0 or ERR_*. */
int import_account(struct account *a, check_report *report, void *ctx,
                   struct import_summary *summary);

#endif
