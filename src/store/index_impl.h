/*
 * An open index, shared by the index_*.c files only; see index.h for what it's for.
 *
 * Which file does what:
 *   index_lock.c      open, close, lock, transactions, notification
 *   index_recover.c   the one way back to a working environment
 *   index_verify.c    are the files fit to be used?
 *   index_salvage.c   copies what can be read into a new environment
 *   index_mailbox.c   rows        index_message.c  messages and the row's counts
 *   index_block.c     how messages lie in messages.db
 *   index_changes.c   change log  index_cache.c    cache
 *   index_check.c     consistency
 *   index_record.c    formats     index_db.c       Berkeley DB
 *   index_resources.c memory, descriptors, mappings of an environment
 */
#ifndef STORE_INDEX_IMPL_H
#define STORE_INDEX_IMPL_H

#include "base/lockfile.h"
#include "store/index.h"
#include "store/index_block.h"
#include "store/index_db.h"
#include "store/index_record.h"

#define INDEX_DB_DIR         "db"     /* the environment, below the index directory */
#define INDEX_BUILD_DIR      "db.new" /* complete if there is no "db" */
#define INDEX_LOCK_FILE      "lock"
#define INDEX_NOTIFY_FILE    "notify"
#define INDEX_RESERVE_FILE   "reserve"  /* space for a recovery on a full disk */
#define INDEX_ENTRIES_MAX    100000     /* entries of a directory that are looked at */
#define INDEX_DAMAGED_PREFIX "damaged." /* a file that salvage put out of recovery's way */

/* The lock file's note. */
#define NOTE_STRIKES 0x00ffu /* recoveries since the last good unlock */
#define NOTE_SUSPECT 0x0100u /* somebody met damaged data: read everything */

/* Changes of the running transaction, in order of arrival. */
struct pending_change {
    uint32_t mailbox;
    uint8_t kind;
    uint32_t first, last;
};

/* The mod-sequence of a mailbox in the running transaction. */
struct pending_modseq {
    uint32_t mailbox;
    uint64_t modseq;
    bool written;    /* its changes are in the log */
    uint64_t octets; /* that they take there */
};

/* UIDs of expunged messages whose cache entries are to go, in one walk. `last` 0: none. */
struct pending_drop {
    uint32_t mailbox, first, last;
};

struct index {
    char *path; /* the index directory, absolute as given */
    char *notify_path;
    char *db_path, *build_path;
    unsigned timeout_s;
    int dirfd;
    int notify_fd; /* -1 until first used */
    struct lockfile *lock;
    struct kv *kv;       /* NULL: not open */
    bool suspect;        /* a record made no sense: recover with a full check next time */
    bool changed;        /* the transaction changed a mailbox */
    bool recovered;      /* at the last index_lock() */
    bool failed;         /* under the last lock damaged data was met */
    bool damaged;        /* ix_looks_well() said no: recovery by the log wouldn't do */
    int64_t recovery_ms; /* what the last one took; -1 = nothing was there */
    struct index_control control;
    struct pending_change *changes;
    size_t changes_count, changes_cap;
    struct pending_modseq *modseqs;
    size_t modseqs_count, modseqs_cap;
    struct buf record;  /* for encoding one record */
    struct block block; /* of messages, the one last used */
    struct pending_drop drop;
};

/* index_lock.c */
/* Panics unless locked; ERR_TEMP if the environment failed meanwhile. */
int ix_ready(struct index *ix);
/* A record that can't be decoded: logs it and has the next lock read everything. ERR_CORRUPT.
 */
int ix_corrupt(struct index *ix, const char *what);
int ix_read_control(struct index *ix);
int ix_write_control(struct index *ix);

/* index_recover.c: makes a working environment in ix->kv, whatever it takes, and starts a new
   epoch. Only with the lock, and nothing open. 0, or a code of kv_is_resource(). */
int ix_recover(struct index *ix);

/* index_verify.c. Do files and log begin as they should? A quick look before the environment is
   joined: what was removed, cut off or overwritten while nobody was inside is repaired before a
   command fails on it. */
bool ix_looks_well(struct index *ix);
/* The same of one file of the environment in `dirfd`. */
bool ix_file_begins_well(int dirfd, const char *name);
/* Is every record readable, and does every one make sense? 0 or ERR_CORRUPT ... */
int ix_read_everything(struct index *ix);

/* index_salvage.c: fills ix->build_path from the files in ix->db_path. `complete`: they have
   all that was committed. */
struct salvage_result {
    uint32_t mailboxes, messages;
    bool names_lost;    /* mailboxes.db wasn't read whole */
    bool messages_lost; /* messages.db wasn't */
};
int ix_salvage(struct index *ix, bool complete, struct salvage_result *result);

/* index_message.c: counts one message into (+1) or out of (-1) the row. */
void ix_count(struct index_mailbox *row, const struct index_message *m, int sign);

/* index_changes.c */
void ix_change_add(struct index *ix, uint32_t mailbox, enum index_change kind, uint32_t uid);
/* Writes the mailbox's pending changes, and trims its log. */
int ix_changes_flush(struct index *ix, struct index_mailbox *row);
void ix_changes_forget(struct index *ix);

/* index_cache.c: the entries of an expunged message go, at the latest with the flush, which is
   due before the cache is used and before a commit. */
int ix_cache_expunge(struct index *ix, uint32_t mailbox, uint32_t uid);
int ix_cache_flush(struct index *ix);

/* index_mailbox.c: the record for id -> name. */
int ix_put_name(struct kv *kv, uint32_t id, const char *name);
/* Key of a row: 'n' and the name. Returns its length. `key` holds INDEX_NAME_MAX + 2. */
size_t ix_row_key(char *key, const char *name);
int ix_put_row(struct index *ix, struct kv *kv, const char *name,
               const struct index_mailbox *row);
int ix_put_anchor(struct index *ix, struct kv *kv, const char *name,
                  const struct index_mailbox *row);

static inline struct kv_slice
slice(const void *p, size_t len)
{
    return (struct kv_slice){p, len};
}

#endif
