/*
 * The index of one account: what the file names of a Maildir can't say (UIDs, mod-sequences,
 * further keywords, counts, changes), and caches. Four Berkeley DB files in one transactional
 * environment (index_db.c, the only includer of db.h), used only between index_lock() and
 * index_unlock().
 *
 * index_lock() is also the one place of recovery (design, section 4): a holder that died, a
 * reboot, a new epoch, any unexpected BDB error lead there: recover -> salvage -> start anew.
 * Callers see only IX_REBUILT: "the index lost what it knew; fill it from the Maildir with a
 * higher UIDVALIDITY".
 *
 * Mail-free: knows nothing of directories and files of mail. mailbox.c and scan.c put the two
 * together.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "format/mdname.h"

#define KEYWORDS_MAX     64 /* keywords of a mailbox; 0..25 are the file name's letters a-z */
#define KEYWORD_NAME_MAX 64 /* octets */
#define KEYWORDS_LETTERS 26

struct index;

/* Opens the account's index in directory `path` (made 0700 if missing). Nothing of Berkeley DB
   is opened before the first index_lock(). 0 or ERR_*. */
int index_open(const char *path, unsigned lock_timeout_s, struct index **out);
void index_close(struct index **ix);
/* Closes the environment but keeps the lock file: an idle session costs little memory. The next
 * lock opens it again. Not while locked. */
void index_idle(struct index *ix);
/* Absolute path of the file whose contents change (pwrite) with every commit that changed a
 * mailbox: what IDLE watches. */
const char *index_notify_path(const struct index *ix);

/* 0, or ERR_BUSY, ERR_IO, ERR_NOSPACE ... A second call while locked is a panic. */
int index_lock(struct index *ix);
void index_unlock(struct index *ix); /* aborts an open transaction */
/* Did this lock have to recover, because the last holder died or failed, or after a reboot?
   Then work with several files may have been cut short. */
bool index_recovered(const struct index *ix);
/* A random number, another one after each recovery. Locked. */
uint64_t index_epoch(const struct index *ix);
/* Did what was done under the last lock fail on damaged data? The next lock repairs it, so
   doing it again is worth while. */
bool index_failed(const struct index *ix);
/* What it says doesn't fit together: the next lock reads all of it, and repairs. Locked. */
void index_distrust(struct index *ix);
/* A number that grows whenever the index had to be started anew (rows lost). Compare after
   index_lock(): another number than at SELECT means that every view of this account is void. */
uint64_t index_incarnation(const struct index *ix);

/* ERR_NOSPACE: the disk was full, and the reserve for that case is used up. What is left must
   do for reading and for removing mail; nothing else may begin. Locked. */
int index_room(struct index *ix);

/* Writes go into one transaction: begin, changes, commit. `sync`: durable when it returns
   (needed when UIDs were assigned or mail was deleted or a folder changed); else the log is
   written without waiting. On any error the transaction is gone (aborted) and the code is
   returned. */
int index_begin(struct index *ix);
/* The same for a transaction that adds messages by the thousand. */
int index_begin_bulk(struct index *ix);
int index_commit(struct index *ix, bool sync);
void index_abort(struct index *ix);
/* Makes all durable that was committed under this lock without `sync`. In no transaction. */
int index_sync(struct index *ix);

struct index_mailbox {
    uint32_t id; /* never reused in this account */
    uint32_t uidvalidity;
    uint32_t uidnext;
    uint64_t highestmodseq; /* at least 1 */
    uint32_t first_recent; /* UIDs from here on are \Recent for the next session that selects */
    uint32_t messages, unseen, deleted, recent;
    uint64_t bytes;        /* of the files (S) */
    uint64_t crlf_bytes;   /* on the wire (W), of those whose size is known */
    uint32_t crlf_unknown; /* messages whose wire size isn't known yet */
    uint32_t first_unseen; /* lowest UID without \Seen, 0 = none. If not first_unseen_known: no
                              lower one is unseen; see index_first_unseen() */
    bool first_unseen_known;
    uint64_t
        changes_floor; /* changes up to this mod-sequence were dropped from the change log */
    uint64_t changes_octets;      /* of the change log since then; the index's own */
    int64_t new_mtime, cur_mtime; /* ns, as of the last scan; 0 = must scan */
    int64_t scanned_at;           /* us, wall clock: end of the last full scan of cur/ */
    uint64_t scan_epoch;          /* index_epoch() at that scan */
    uint32_t scan_cost_us;        /* how long it took */
    bool own_changes;     /* cur_mtime was moved on by our own renames since that scan */
    uint32_t special_use; /* SPECIAL_* of folders.h */
    uint8_t objectid[16]; /* random, for ever */
    uint8_t keywords_count;
    char keywords[KEYWORDS_MAX][KEYWORD_NAME_MAX + 1]; /* "" = free slot */
};

#define DATE_UNKNOWN INT64_MIN

struct index_message {
    uint32_t uid;
    uint8_t flags;     /* MSG_* */
    bool in_new;       /* the file is still in new/ */
    uint64_t keywords; /* bit per slot of the mailbox's keywords */
    uint64_t modseq;
    int64_t internal_date; /* seconds, or DATE_UNKNOWN: the file's mtime, not read yet */
    int64_t save_date;
    uint64_t size, crlf_size;  /* MDNAME_SIZE_UNKNOWN */
    char name[MDNAME_MAX + 1]; /* file name as last seen, info included */
    char uidl[72];             /* imported POP3 UIDL, "" = by format */
};

/* Mailbox rows by internal name. ERR_NOENT, ERR_EXISTS. */
int index_mailbox_get(struct index *ix, const char *name, struct index_mailbox *row);
int index_mailbox_get_by_id(struct index *ix, uint32_t id, char *name, size_t name_size,
                            struct index_mailbox *row);
/* Assigns id, uidvalidity (greater than every one this account ever used, and than
 * `uidvalidity_above`), objectid; zeroes the rest. In a transaction. */
int index_mailbox_create(struct index *ix, const char *name, uint32_t uidvalidity_above,
                         struct index_mailbox *row);
/* The same, for a folder that another server kept, with the UIDVALIDITY it had there.
   ERR_INUSE: a mailbox of that name had it here once; ERR_RANGE: above
   INDEX_UIDVALIDITY_IMPORT_MAX, so that enough greater ones are left. Then
   index_mailbox_create() is the way. */
#define INDEX_UIDVALIDITY_IMPORT_MAX (UINT32_MAX - (1u << 24))
int index_mailbox_import(struct index *ix, const char *name, uint32_t uidvalidity,
                         struct index_mailbox *row);
/* Writes the row (after changes of messages, mtimes, keywords ...). In a transaction. */
int index_mailbox_put(struct index *ix, const char *name, const struct index_mailbox *row);
/* The UIDVALIDITY stays, unless a former mailbox called `to` had the same. */
int index_mailbox_rename(struct index *ix, const char *from, const char *to);
/* Drops the row and all messages, changes and cache of it. */
int index_mailbox_delete(struct index *ix, const char *name);
typedef int index_mailbox_fn(void *ctx, const char *name, const struct index_mailbox *row);
/* Every row in order of names; stops at the first non-zero result of fn and returns it. */
int index_mailbox_each(struct index *ix, index_mailbox_fn *fn, void *ctx);

/* Messages. These three keep the row's counts, uidnext, highestmodseq, first_unseen in *row;
   the caller ends with index_mailbox_put(). All changes of one transaction and mailbox share
   one mod-sequence: index_modseq(row) starts it. */
uint64_t
index_modseq_next(struct index *ix,
                  struct index_mailbox *row); /* highestmodseq + 1, once a transaction */
int index_message_add(struct index *ix, struct index_mailbox *row,
                      struct index_message *m); /* sets uid (unless given: then it must be >=
                                                   uidnext) and modseq */
/* Writes *now over *old (same uid). `quiet`: no new mod-sequence and no change record (a file
 * moved from new/ to cur/, a size became known). */
int index_message_update(struct index *ix, struct index_mailbox *row,
                         const struct index_message *old, struct index_message *now,
                         bool quiet);
int index_message_expunge(struct index *ix, struct index_mailbox *row,
                          const struct index_message *m);

int index_message_get(struct index *ix, uint32_t mailbox, uint32_t uid,
                      struct index_message *m);
/* In order of UIDs from `first` to `last`; bulk reads. *m is valid during the call. Non-zero
 * from fn stops and is returned. */
typedef int index_message_fn(void *ctx, const struct index_message *m);
int index_message_each(struct index *ix, uint32_t mailbox, uint32_t first, uint32_t last,
                       index_message_fn *fn, void *ctx);
/* Only flags and keywords: most of a record needn't be decoded. */
typedef int index_flags_fn(void *ctx, uint32_t uid, unsigned flags, uint64_t keywords);
int index_message_flags(struct index *ix, uint32_t mailbox, uint32_t first, uint32_t last,
                        index_flags_fn *fn, void *ctx);
/* Only the UIDs, quickest: appends to *uids (malloc, grown by mem_reallocarray), *count, *cap.
 */
int index_message_uids(struct index *ix, uint32_t mailbox, uint32_t **uids, size_t *count,
                       size_t *cap);

/* Makes row->first_unseen known, by reading from its lower bound on. */
int index_first_unseen(struct index *ix, struct index_mailbox *row);

/* What changed after mod-sequence `since` (exclusive): one call per UID and kind, in order of
   mod-sequence. ERR_RANGE if since < the row's changes_floor: then the caller compares all
   messages instead. */
enum index_change { CHANGE_FLAGS, CHANGE_ADDED, CHANGE_EXPUNGED };
typedef int index_change_fn(void *ctx, enum index_change what, uint32_t first_uid,
                            uint32_t last_uid, uint64_t modseq);
int index_changes_each(struct index *ix, const struct index_mailbox *row, uint64_t since,
                       index_change_fn *fn, void *ctx);

/* Cache: bytes per message and tag. Getting a tag that isn't there: ERR_NOENT. Entries of a
 * message vanish with it. */
enum index_cache_tag {
    CACHE_ENVELOPE = 'E',
    CACHE_BODY = 'B',
    CACHE_BODYSTRUCTURE = 'S',
    CACHE_HEADERS = 'H', /* the frequently asked fields, as they are in the file */
    CACHE_PARTS = 'P'    /* mime_pack() */
};
/* All tags of one message: appends "tag(1) length(4, big-endian) bytes" entries. */
int index_cache_get(struct index *ix, uint32_t mailbox, uint32_t uid, struct buf *out);
/* The same of all messages from `first` to `last` that have entries, in order, in one pass. The
 * octets are valid during the call. */
typedef int index_cache_fn(void *ctx, uint32_t uid, const void *entries, size_t len);
int index_cache_each(struct index *ix, uint32_t mailbox, uint32_t first, uint32_t last,
                     index_cache_fn *fn, void *ctx);
/* Finds a tag in what index_cache_get gave. NULL if absent. */
const char *index_cache_find(const struct buf *entries, enum index_cache_tag tag, size_t *len);
/* Appends such an entry, for the next. */
void index_cache_add(struct buf *entries, enum index_cache_tag tag, const void *p, size_t len);
/* Adds entries to those of a message, or replaces them. In a transaction (no sync needed). Of a
   message that is gone meanwhile nothing is kept. */
int index_cache_put(struct index *ix, uint32_t mailbox, uint32_t uid, const char *entries,
                    size_t len);
/* Drops all entries of one message. In a transaction. */
int index_cache_drop(struct index *ix, uint32_t mailbox, uint32_t uid);

/* Names every inconsistency inside the index (counts against records, uidnext, change log).
 * Under the lock. */
typedef void index_fault_fn(void *ctx, const char *text);
int index_check(struct index *ix, const char *name, index_fault_fn *fn, void *ctx);

#endif
