/*
 * Adding to and asking about mailboxes: STATUS, APPEND, COPY, MOVE. For a mailbox that a client
 * has selected, see view.h.
 *
 * Whatever these answer with 0 is durable (invariants 4 and 5 in HACKING).
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "format/seqset.h"
#include "store/account.h"
#include "store/index.h"

struct mailbox_status {
    uint32_t messages, recent, unseen, deleted, uidnext, uidvalidity;
    uint64_t highestmodseq, bytes, crlf_bytes; /* bytes: STATUS=SIZE, on the wire */
    uint8_t objectid[16];
};
/* Looks at the Maildir too (mtimes), so that new mail counts. need_size: crlf_bytes must be
 * exact, even if files must be read for it. */
int mailbox_status(struct account *a, const char *name, bool need_size,
                   struct mailbox_status *out);

/* The same of many folders, under few locks and with few syncs. */
struct mailbox_answer {
    const char *name; /* of the folder; all else is filled */
    int err;          /* 0, or as of mailbox_status() */
    bool unmeasured;  /* private */
    struct mailbox_status status;
};
void mailbox_statuses(struct account *a, bool need_size, struct mailbox_answer *items,
                      size_t count);

/* What the files of its messages with \Deleted have in octets: what EXPUNGE would free. */
int mailbox_deleted_bytes(struct account *a, const char *name, uint64_t *bytes);

/* Flags and keywords as a client gives them. */
struct flag_set {
    unsigned flags;              /* MSG_* */
    const char *const *keywords; /* names; case is kept for new ones, ignored when compared */
    size_t keywords_count;
};

/* One or several messages into a folder, all or none (RFC 3502). begin -> (add)* -> commit or
 * abort. Data goes to tmp/ without any lock. */
struct append;
int append_begin(struct account *a, const char *name,
                 struct append **out); /* ERR_NOENT -> [TRYCREATE] */
/* Is there room for one more message of that size, in octets as they come? 0, or ERR_QUOTA. */
int append_room(struct append *ap, uint64_t size);
/* Reads the source to its end. Line ends are stored as LF (CRLF -> LF). internal_date: seconds,
   or INT64_MIN for now. ERR_LIMIT over the append limit, ERR_NOSPACE, ERR_QUOTA, source errors.
   After an error only append_abort() is allowed. NUL octets are kept. */
int append_add(struct append *ap, struct source *src, const struct flag_set *flags,
               int64_t internal_date);
/* The UIDs are consecutive: *first_uid .. (RFC 4315 APPENDUID). ERR_QUOTA: the messages don't
   fit. Frees *ap in any case. */
int append_commit(struct append **ap, uint32_t *uidvalidity, uint32_t *first_uid);
void append_abort(struct append **ap);

#endif
