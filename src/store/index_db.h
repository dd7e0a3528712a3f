/*
 * The index's key/value layer: four Berkeley DB B-trees in one transactional environment.
 * Private to the index_*.c files. No Berkeley DB type is seen here: index_db.c is the only
 * includer of db.h.
 *
 * Everything here but kv_forget() happens under the account's lock (index_lock.c): nothing in
 * here waits for another process, and nothing in here is safe without that lock.
 */
#ifndef STORE_INDEX_DB_H
#define STORE_INDEX_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kv_file { KV_MAILBOXES, KV_MESSAGES, KV_CHANGES, KV_CACHE, KV_FILES };

extern const char *const kv_file_names[KV_FILES];
extern const unsigned kv_page_sizes[KV_FILES]; /* octets */

struct kv;

enum kv_mode {
    KV_JOIN,    /* the shared environment as it is; ERR_NOENT: there is none */
    KV_RECOVER, /* makes it anew from files and log. Nobody else may be inside */
    KV_BUILD    /* a private one in an empty directory, to be filled and renamed into place */
};

/*
 * Opens the environment in directory `dir`. The files are opened when first used; they must
 * exist, but for `create`: then missing ones are made. `oom_safe` codes: 0; ERR_NOENT
 * (KV_JOIN); ERR_CORRUPT: what is there makes no sense; others: the system's resources
 * (kv_is_resource()).
 */
int kv_open(const char *dir, enum kv_mode mode, bool create, struct kv **out);
/* In good order. NULL is allowed. False: it failed, and whoever comes next must recover. */
bool kv_close(struct kv **kv);
/* Gives memory, mappings and descriptors back without a single call into Berkeley DB: for an
   environment that is stale or broken, whose shared memory may be torn, or whose lock isn't to
   be had. Writes nothing anywhere. */
void kv_forget(struct kv **kv);
/* Opens all four files (they're opened lazily otherwise). */
int kv_open_files(struct kv *kv);

/* True for codes that say that the system is short of something, and nothing is damaged. */
bool kv_is_resource(int err);
/* After an unexpected error nothing works any more but kv_forget(). */
bool kv_failed(const struct kv *kv);
/* The failure speaks of damaged data rather than of a full disk. */
bool kv_suspect(const struct kv *kv);
/* What Berkeley DB last complained of, "" if nothing. */
const char *kv_text(const struct kv *kv);

/* `bulk`: a file's new pages aren't logged but flushed by the commit, synced or not. For many
   new records: half the writing and a tenth of the log. */
int kv_begin(struct kv *kv, bool bulk);
int kv_commit(struct kv *kv, bool sync);
/* Makes durable what was committed without it. */
int kv_sync(struct kv *kv);
void kv_abort(struct kv *kv);
bool kv_in_transaction(const struct kv *kv);
/* Writes a checkpoint when enough log came since the last (or `now`), which also removes logs
   that aren't needed any more. Cheap when little was written. */
int kv_checkpoint(struct kv *kv, bool now);
/* Before the lock is given up: no page is held back (index_guard.h). */
int kv_settle(struct kv *kv);
/* Are some held back all the same, after a failure? */
bool kv_holds_pages(const struct kv *kv);

/* A run of octets. */
struct kv_slice {
    const void *p;
    size_t len;
};

/* ERR_NOENT. The value is valid until the next call for this file. */
int kv_get(struct kv *kv, enum kv_file file, struct kv_slice key, struct kv_slice *value);
/* Adds or replaces. In a transaction, as everything that writes. */
int kv_put(struct kv *kv, enum kv_file file, struct kv_slice key, struct kv_slice value);
int kv_delete(struct kv *kv, enum kv_file file, struct kv_slice key); /* ERR_NOENT */
/* Deletes all keys from `first` to `last` (inclusive; a key that begins with `last` counts). */
int kv_delete_range(struct kv *kv, enum kv_file file, struct kv_slice first,
                    struct kv_slice last);

/* All records from `first` to `last` (as above) in order, read in bulk. Non-zero from fn stops
   and is returned. The slices are valid during the call, and fn may call anything here. */
typedef int kv_fn(void *ctx, struct kv_slice key, struct kv_slice value);
int kv_scan(struct kv *kv, enum kv_file file, struct kv_slice first, struct kv_slice last,
            kv_fn *fn, void *ctx);

/* Octets of memory that Berkeley DB has from this process's heap for `kv` (tests). */
size_t kv_heap(const struct kv *kv);

/*
 * Reads what can be read of a file without its environment, page by page, in no order
 * (index_loose.c). *whole: nothing was unreadable. 0, the non-zero result of fn, ERR_NOENT, or
 * another code for what open() says. A record may come twice.
 */
int kv_read_loose(const char *dir, const char *name, unsigned page_size, kv_fn *fn, void *ctx,
                  bool *whole);

#endif
