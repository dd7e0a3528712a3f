/*
 * What one client believes about its selected mailbox: sequence number <-> UID.
 *
 * The view changes in one function only (view_sync), and only so far as the caller allows;
 * between two calls every sequence number means the same message, also when another session or
 * program expunged it meanwhile: reading such a message says ERR_GONE, never another message's
 * data.
 *
 * It's loaded lazily: view_open() reads one row (counts); the UIDs come when first needed.
 */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/seqset.h"
#include "store/mailbox.h"
#include "store/message.h"

struct view;

enum view_open_flags {
    VIEW_READONLY = 1, /* EXAMINE: nothing is changed, \Recent isn't claimed */
    VIEW_POP3 = 2      /* doesn't claim \Recent */
};
/* ERR_NOENT. */
int view_open(struct account *a, const char *name, unsigned flags, struct view **out);
void view_close(struct view **v);

/* The state that SELECT reports, as of the last sync. */
struct view_info {
    uint32_t exists, recent, uidvalidity, uidnext;
    uint32_t first_unseen; /* sequence number, 0 = none (at view_open only) */
    uint64_t highestmodseq;
    bool readonly;
    bool keywords_full; /* no new keyword can be made: no \* in PERMANENTFLAGS */
    size_t keywords_count;
    const char *keywords[KEYWORDS_MAX]; /* names of the slots; NULL = free */
};
const struct view_info *view_info(const struct view *v);
const char *view_name(const struct view *v); /* internal */

/* Numbers. view_uid: 0 if seq is out of range. view_seq: 0 if the client doesn't know that UID.
 */
uint32_t view_uid(struct view *v, uint32_t seq);
uint32_t view_seq(struct view *v, uint32_t uid);
/* A set of sequence numbers -> set of UIDs; ERR_RANGE if a number is beyond the view (client
 * error: BAD). */
int view_seqs_to_uids(struct view *v, const struct seqset *seqs, struct seqset *uids);
/* Cuts a set of UIDs to those in the view. */
int view_known_uids(struct view *v, const struct seqset *uids, struct seqset *known);
bool view_is_recent(const struct view *v, uint32_t uid);

/*
 * Looks at disk and index and brings the view up to date. With `expunge` false, messages that
 * are gone keep their numbers until a later call. The result tells what the client must be
 * told, in this order: expunged numbers (each as of the moment after the ones before), then
 * EXISTS, RECENT, then flags. ERR_GONE: the mailbox was deleted or its UIDVALIDITY changed: the
 * session must be told BYE or be deselected.
 */
struct view_changes {
    uint32_t *expunged;      /* sequence numbers in the order to send */
    uint32_t *expunged_uids; /* the same messages */
    size_t expunged_count;
    bool exists_changed, recent_changed, keywords_changed;
    struct seqset flags; /* UIDs in the view whose flags another party changed */
};
int view_sync(struct view *v, bool expunge, struct view_changes *out);
void view_changes_free(struct view_changes *c);

/*
 * Reading in batches. Returns up to VIEW_BATCH messages of the set, from the iterator on (start
 * with {0}); count 0 at the end. The lock is held only inside. A UID that is gone is delivered
 * with gone = true.
 */
#define VIEW_BATCH 256
enum view_want {
    WANT_CRLF_SIZE = 1, /* crlf_size is known afterwards (the file is read if it must be) */
    WANT_CACHE = 2,     /* `cache` is filled */
    WANT_DATE = 4       /* internal_date is known afterwards (from the file, if it must be) */
};
struct view_message {
    uint32_t seq;
    bool gone, recent;
    struct index_message m;
    struct buf cache; /* index_cache_get() entries; owned by the batch */
};
struct view_batch {
    size_t count;
    struct view_message items[VIEW_BATCH];
};
struct view_batch *view_batch_new(void);
void view_batch_free(struct view_batch **b);
int view_read(struct view *v, const struct seqset *uids, struct seqset_iter *it, unsigned want,
              struct view_batch *batch);

/*
 * The flags of every message, without reading one record of the index twice: kept in the view,
 * brought up to date here from what changed since. By sequence number - 1. `keywords` is NULL
 * unless asked for. Valid until the next call for this view.
 */
#define VIEW_FLAG_GONE 0x80u /* besides MSG_*: expunged, not told yet */
struct view_flags {
    size_t count;
    const uint32_t *uids;
    const uint8_t *flags;
    const uint64_t *keywords;
};
int view_flags(struct view *v, bool keywords, struct view_flags *out);

/* Gives back what can be had again: a session that is quiet for long keeps little. */
void view_idle(struct view *v);

/* Opens the file of a message; finds it again by base name if another program renamed it.
 * ERR_GONE. */
int view_message_open(struct view *v, const struct index_message *m, struct message **out);

/* The message isn't as long on the wire as its name says: the next WANT_CRLF_SIZE reads the
 * file. */
void view_distrust_size(struct view *v, uint32_t uid);

/* Entries for the cache: collected in memory (up to 1 MB), written in one transaction by
 * view_cache_flush(), or when full. Failure is harmless and silent. */
void view_cache_put(struct view *v, uint32_t uid, enum index_cache_tag tag, const void *p,
                    size_t len);
void view_cache_flush(struct view *v);

/* STORE (RFC 3501 6.4.6, RFC 7162 3.1.3). */
enum store_op { STORE_REPLACE, STORE_ADD, STORE_REMOVE };
/*
 * changed: UIDs whose flags are what the client asked for now (also if they were before): what
 * an untagged FETCH reports. modified: UIDs refused because of unchanged_since (UINT64_MAX = no
 * condition). gone: UIDs that no longer exist. Any of the three may be NULL. ERR_READONLY,
 * ERR_LIMIT (keyword slots), ERR_NOSPACE, ERR_CANNOT (keyword name). The session's own changes
 * don't come back through view_sync().
 */
int view_store(struct view *v, const struct seqset *uids, enum store_op op,
               const struct flag_set *flags, uint64_t unchanged_since, struct seqset *changed,
               struct seqset *modified, struct seqset *gone);
/*
 * The same for who wants the flags that the messages have then (those of `changed`): nothing is
 * read again. `tell` gets them piece by piece, in the order of UIDs, each piece after it was
 * stored, and without the lock: it may write to the client and sync the view. After an error it
 * was told of what stays stored. NULL: not wanted.
 */
struct view_stored {
    uint32_t uid;
    uint8_t flags;
    uint64_t keywords;
};
typedef void view_stored_fn(void *ctx, const struct view_stored *stored, size_t count);
int view_store_tell(struct view *v, const struct seqset *uids, enum store_op op,
                    const struct flag_set *flags, view_stored_fn *tell, void *ctx,
                    struct seqset *gone);

/* Deletes the messages of the set (NULL: all) that have \Deleted, or regardless of the flag if
   `any_flag` (POP3 QUIT). They leave the view at the next view_sync(). expunged may be NULL. */
int view_expunge(struct view *v, const struct seqset *uids, bool any_flag,
                 struct seqset *expunged);

/*
 * COPY and MOVE (RFC 3501 6.4.7, RFC 6851), all or none. Flags, keywords and internal dates are
 * kept. src and dst: UIDs copied and their new UIDs, in the same order (RFC 4315 COPYUID);
 * messages that are gone are left out (*some_gone). ERR_NOENT: no such folder. Into the same
 * folder is allowed.
 */
int view_copy(struct view *v, const struct seqset *uids, const char *to, bool move,
              uint32_t *uidvalidity, struct seqset *src, struct seqset *dst, bool *some_gone);
/* Makes a folder and moves everything there: RENAME INBOX (RFC 3501 6.3.5). All or nothing,
 * also over a crash: the next account_open() finishes it. ERR_EXISTS. */
int view_rename(struct view *v, const char *to);

/* A descriptor that becomes readable when something in this mailbox may have changed (a file
   came or went, another session committed); -1 if the system has no inotify to give: poll every
   few seconds then. Stays valid until view_watch_end(). */
int view_watch_begin(struct view *v);
void view_watch_drain(struct view *v); /* reads what it says away */
void view_watch_end(struct view *v);

#endif
