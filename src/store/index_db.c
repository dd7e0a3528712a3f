/*
 * Berkeley DB 5.3 as a small key/value store; see index_db.h. The only includer of db.h.
 *
 * How it's set up, and why:
 *  - A transactional environment without the lock subsystem: our own account lock lets one
 *    process in at a time. For the same reason mutexes are switched off (DB_NOLOCKING): nobody
 *    competes for them, and one that a killed process held would block for ever.
 *  - Small regions, since every session maps them: see the sizes below.
 *  - Its memory, descriptors, mappings, reads and writes go through index_resources.c, which
 *    also refuses damaged pages.
 *
 * It's longer than 500 lines because nothing else may include db.h.
 */
#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/index_db.h"
#include "store/index_logs.h"
#include "store/index_resources.h"

#define CACHE_SIZE   (256u << 10) /* octets of the shared page cache */
#define BUILD_CACHE  (1u << 20)   /* of a private one */
#define LOG_MAX      (256u << 10) /* octets of one log file */
#define LOG_BUFFER   (32u << 10)
#define ENV_REGION   (128u << 10) /* all but the page cache and the mutexes */
#define TRANSACTIONS 8
#define BULK_FIRST   (16u << 10) /* the first read of a scan: many scans are short */
#define BULK_NEXT    (128u << 10)
#define BULK_MAX     (64u << 20) /* no record is larger */
#define TEXT_SIZE    200
/* Of log since the last checkpoint. While a session works much log may gather: a recovery
   brings in 2 MB in some 20 ms, and a checkpoint costs seven syncs. Who leaves keeps the
   account small.
 */
#define CHECKPOINT_KB   2048
#define CLOSE_KB        256
#define PUT_OVERHEAD    100         /* octets that a change takes in the log, besides its own */
#define CHECKPOINT_LOOK (64u << 10) /* octets written until the log's length is looked at */

const char *const kv_file_names[KV_FILES] = {"mailboxes.db", "messages.db", "changes.db",
                                             "cache.db"};
const unsigned kv_page_sizes[KV_FILES] = {4096, 8192, 4096, 8192};

struct kv {
    struct resources res;
    DB_ENV *env;
    DB *files[KV_FILES];
    DB_TXN *txn;
    char *bulk; /* reading buffer, lent to one scan at a time */
    bool create;
    bool bulk_changes;     /* in the transaction */
    size_t written_before; /* the transaction; as `written` */
    size_t written;        /* octets since kv_checkpoint() last looked at the log */
    bool failed, suspect;
    char text[TEXT_SIZE];
};

static int
map_hook(DB_ENV *env, char *path, size_t size, int *create, void **at)
{
    (void)env;
    return res_map(path, size, create, at);
}

static int
unmap_hook(DB_ENV *env, void *at)
{
    (void)env;
    return res_unmap(at);
}

/* Directs Berkeley DB to our functions, once a process: they're process-wide there. */
static void
install_hooks(void)
{
    static bool installed;

    if (installed)
        return;
    installed = true;
    db_env_set_func_malloc(res_malloc);
    db_env_set_func_realloc(res_realloc);
    db_env_set_func_free(res_free);
    db_env_set_func_open(res_open);
    db_env_set_func_close(res_close);
    db_env_set_func_pread(res_pread);
    db_env_set_func_seek(res_seek);
    db_env_set_func_write(res_write);
    db_env_set_func_fsync(res_fsync);
    db_env_set_func_rename(res_rename);
    db_env_set_func_region_map(map_hook, unmap_hook);
}

/* Every function that calls Berkeley DB begins with it. */
static void
use(struct kv *kv)
{
    resources_use(&kv->res);
}

static void
error_hook(const DB_ENV *env, const char *prefix, const char *text)
{
    struct kv *kv = env->app_private;

    (void)prefix;
    if (kv == NULL)
        return;
    if (kv->text[0] == '\0') /* the first complaint is the cause */
        snprintf(kv->text, sizeof kv->text, "%s", text);
    log_debug("index: Berkeley DB: %s", text);
}

bool
kv_is_resource(int err)
{
    return err == ERR_NOSPACE || err == ERR_QUOTA || err == ERR_SHORT || err == ERR_PERM ||
           err == ERR_IO;
}

/* A system call's errno that says nothing about the data. */
static int
resource_code(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EFBIG:
        return ERR_NOSPACE;
    case EDQUOT:
        return ERR_QUOTA;
    case EMFILE:
    case ENFILE:
        return ERR_SHORT;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERM;
    case EIO:
        return ERR_IO;
    default:
        return 0;
    }
}

/* The code for an unexpected result of Berkeley DB; does not mark the environment. */
static int
code_of(const struct kv *kv, int ret)
{
    int code = resource_code(kv->res.write_error);

    if (code == 0 && kv->res.no_memory)
        code = ERR_SHORT;
    if (code == 0)
        code = resource_code(ret);
    return code != 0 ? code : ERR_CORRUPT;
}

/* An unexpected result: from here on this environment is only good to be forgotten. */
static int
fail(struct kv *kv, int ret, const char *what)
{
    int code = code_of(kv, ret);

    if (!kv->failed)
        log_error("index: %s: %s%s%s", what, db_strerror(ret), kv->text[0] != '\0' ? ": " : "",
                  kv->text);
    kv->failed = true;
    if (code == ERR_CORRUPT)
        kv->suspect = true;
    return code == ERR_CORRUPT ? ERR_TEMP : code;
}

bool
kv_failed(const struct kv *kv)
{
    return kv->failed;
}

bool
kv_suspect(const struct kv *kv)
{
    return kv->suspect;
}

const char *
kv_text(const struct kv *kv)
{
    return kv->text;
}

size_t
kv_heap(const struct kv *kv)
{
    return kv->res.heap;
}

static int
configure(struct kv *kv, enum kv_mode mode)
{
    DB_ENV *env = kv->env;
    unsigned cache = mode == KV_BUILD ? BUILD_CACHE : CACHE_SIZE;
    int ret;

    env->app_private = kv;
    env->set_errcall(env, error_hook);
    ret = env->set_cachesize(env, 0, cache, 1);
    if (ret == 0)
        ret = env->set_lg_max(env, LOG_MAX);
    if (ret == 0)
        ret = env->set_lg_bsize(env, LOG_BUFFER);
    if (ret == 0)
        ret = env->set_memory_max(env, 0, ENV_REGION);
    if (ret == 0)
        ret = env->set_tx_max(env, TRANSACTIONS);
    if (ret == 0)
        ret = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1);
    if (ret == 0)
        ret = env->set_flags(env, DB_TXN_WRITE_NOSYNC, 1);
    return ret;
}

static int
open_env(struct kv *kv, const char *dir, enum kv_mode mode)
{
    u_int32_t flags = DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL;
    int ret = db_env_create(&kv->env, 0);

    if (ret != 0) {
        kv->env = NULL;
        return ret;
    }
    ret = configure(kv, mode);
    if (ret != 0)
        return ret;
    if (mode == KV_RECOVER)
        flags |= DB_CREATE | DB_RECOVER;
    else if (mode == KV_BUILD)
        flags |= DB_CREATE | DB_PRIVATE;
    kv->res.create_regions = kv->res.recovering = mode == KV_RECOVER;
    ret = kv->env->open(kv->env, dir, flags, 0600);
    kv->res.recovering = false;
    /* Not earlier: a new environment tries its mutexes out. */
    return ret != 0 ? ret : kv->env->set_flags(kv->env, DB_NOLOCKING, 1);
}

int
kv_open(const char *dir, enum kv_mode mode, bool create, struct kv **out)
{
    struct kv *kv = mem_calloc(1, sizeof *kv);
    int ret, code;

    *out = NULL;
    install_hooks();
    resources_init(&kv->res);
    kv->create = create;
    kv->res.guard.dir = dir;
    kv->res.guard.off = mode == KV_BUILD;
    use(kv);
    ret = mode == KV_RECOVER && logs_sync(dir) != 0 ? errno : open_env(kv, dir, mode);
    if (ret == 0) {
        *out = kv;
        return 0;
    }
    code = mode == KV_JOIN && ret == ENOENT ? ERR_NOENT : code_of(kv, ret);
    if (code != ERR_NOENT)
        log_debug("index: %s: open: %s: %s", dir, db_strerror(ret), kv->text);
    kv_forget(&kv);
    return code;
}

void
kv_forget(struct kv **kv)
{
    if (*kv == NULL)
        return;
    resources_release(&(*kv)->res);
    free((*kv)->bulk);
    free(*kv);
    *kv = NULL;
}

/* If that much was logged since the last one; at any rate with 0. */
static int
checkpoint(struct kv *kv, unsigned kb)
{
    int ret;

    if (kv->failed)
        return ERR_TEMP;
    kv->written = 0;
    use(kv);
    ret = kv->env->txn_checkpoint(kv->env, kb, 0, kb == 0 ? DB_FORCE : 0);
    return ret == 0 ? 0 : fail(kv, ret, "checkpoint");
}

bool
kv_close(struct kv **kv)
{
    struct kv *k = *kv;
    bool good;

    if (k == NULL)
        return true;
    if (!k->failed) {
        kv_abort(k);
        (void)checkpoint(k, CLOSE_KB);
        (void)kv_settle(k);
    }
    good = !k->failed;
    if (good) {
        use(k);
        for (int i = 0; i < KV_FILES; i++)
            if (k->files[i] != NULL)
                k->files[i]->close(k->files[i], DB_NOSYNC);
        k->env->close(k->env, 0);
        good = guard_flush(&k->res.guard) == 0;
    }
    kv_forget(kv);
    return good;
}

/* Opens a file if it isn't open yet. */
static int
file_handle(struct kv *kv, enum kv_file file, DB **out)
{
    u_int32_t flags = DB_AUTO_COMMIT | (kv->create ? (u_int32_t)DB_CREATE : 0);
    DB *db = kv->files[file];
    int ret;

    if (kv->failed)
        return ERR_TEMP;
    *out = db;
    if (db != NULL)
        return 0;
    ret = db_create(&db, kv->env, 0);
    if (ret != 0)
        return fail(kv, ret, kv_file_names[file]);
    ret = db->set_pagesize(db, kv_page_sizes[file]);
    if (ret == 0)
        ret = db->open(db, NULL, kv_file_names[file], NULL, DB_BTREE, flags, 0600);
    if (ret != 0)
        return fail(kv, ret, kv_file_names[file]); /* the handle goes with the environment */
    *out = kv->files[file] = db;
    return 0;
}

int
kv_open_files(struct kv *kv)
{
    int err = 0;
    DB *db;

    use(kv);
    for (int i = 0; i < KV_FILES && err == 0; i++)
        err = file_handle(kv, (enum kv_file)i, &db);
    return err;
}

int
kv_begin(struct kv *kv, bool bulk)
{
    int ret;

    if (kv->failed)
        return ERR_TEMP;
    use(kv);
    ret = kv->env->txn_begin(kv->env, NULL, &kv->txn, bulk ? DB_TXN_BULK : 0);
    kv->res.in_transaction = ret == 0 && !kv->res.guard.off;
    kv->written_before = kv->written;
    kv->bulk_changes = bulk;
    if (ret == 0)
        return 0;
    kv->txn = NULL;
    return fail(kv, ret, "begin");
}

/*
 * After a large transaction most pages of the cache are dirty. Each reading that follows would
 * push some of them out, and pay for a sync of the guard's file; so they all go there at once.
 * (Berkeley DB itself writes those of bulk changes.) A failure is of the next transaction: this
 * one is in the log.
 */
static void
write_dirty_pages(struct kv *kv)
{
    int ret, written;

    kv->res.in_transaction = !kv->res.guard.off;
    ret = kv->env->memp_trickle(kv->env, 100, &written);
    kv->res.in_transaction = false;
    if (ret != 0)
        (void)fail(kv, ret, "pages");
}

int
kv_commit(struct kv *kv, bool sync)
{
    DB_TXN *txn = kv->txn;
    int ret;

    kv->txn = NULL;
    kv->res.in_transaction = false;
    if (kv->failed)
        return ERR_TEMP;
    use(kv);
    ret = txn->commit(txn, sync ? DB_TXN_SYNC : DB_TXN_WRITE_NOSYNC);
    if (ret != 0)
        return fail(kv, ret, "commit");
    if (!kv->bulk_changes && kv->written - kv->written_before >= CACHE_SIZE / 2)
        write_dirty_pages(kv);
    return 0;
}

int
kv_sync(struct kv *kv)
{
    int ret;

    if (kv->failed)
        return ERR_TEMP;
    use(kv);
    ret = kv->env->log_flush(kv->env, NULL);
    /* Berkeley DB takes for synced what was put off */
    if (ret == 0 && guard_sync_log(&kv->res.guard) != 0)
        ret = kv->res.write_error = errno;
    return ret == 0 ? 0 : fail(kv, ret, "sync");
}

void
kv_abort(struct kv *kv)
{
    DB_TXN *txn = kv->txn;
    int ret;

    kv->txn = NULL;
    kv->res.in_transaction = false;
    if (txn == NULL || kv->failed)
        return;
    use(kv);
    ret = txn->abort(txn);
    if (ret != 0)
        fail(kv, ret, "abort");
}

bool
kv_in_transaction(const struct kv *kv)
{
    return kv->txn != NULL;
}

int
kv_settle(struct kv *kv)
{
    if (kv->failed || guard_flush(&kv->res.guard) == 0)
        return 0;
    kv->res.write_error = errno;
    return fail(kv, errno, "pages");
}

bool
kv_holds_pages(const struct kv *kv)
{
    return kv->res.guard.count > 0 || kv->res.guard.log_fd != -1;
}

int
kv_checkpoint(struct kv *kv, bool now)
{
    if (!now && kv->written < CHECKPOINT_LOOK && !kv->failed)
        return 0;
    return checkpoint(kv, now ? 0 : CHECKPOINT_KB);
}

static void
set_dbt(DBT *dbt, struct kv_slice s)
{
    memset(dbt, 0, sizeof *dbt);
    dbt->data = (void *)(uintptr_t)s.p;
    dbt->size = (u_int32_t)s.len;
}

int
kv_get(struct kv *kv, enum kv_file file, struct kv_slice key, struct kv_slice *value)
{
    DBT k, v;
    DB *db;
    int ret;

    use(kv);
    ret = file_handle(kv, file, &db);
    if (ret != 0)
        return ret;
    set_dbt(&k, key);
    memset(&v, 0, sizeof v);
    ret = db->get(db, NULL, &k, &v, 0);
    if (ret == DB_NOTFOUND)
        return ERR_NOENT;
    if (ret != 0)
        return fail(kv, ret, "get");
    *value = (struct kv_slice){v.data, v.size};
    return 0;
}

int
kv_put(struct kv *kv, enum kv_file file, struct kv_slice key, struct kv_slice value)
{
    DBT k, v;
    DB *db;
    int ret;

    use(kv);
    ret = file_handle(kv, file, &db);
    if (ret != 0)
        return ret;
    if (kv->txn == NULL)
        log_panic("kv_put: not in a transaction");
    set_dbt(&k, key);
    set_dbt(&v, value);
    kv->written += key.len + value.len + PUT_OVERHEAD;
    ret = db->put(db, kv->txn, &k, &v, 0);
    return ret == 0 ? 0 : fail(kv, ret, "put");
}

int
kv_delete(struct kv *kv, enum kv_file file, struct kv_slice key)
{
    DBT k;
    DB *db;
    int ret;

    use(kv);
    ret = file_handle(kv, file, &db);
    if (ret != 0)
        return ret;
    if (kv->txn == NULL)
        log_panic("kv_delete: not in a transaction");
    set_dbt(&k, key);
    ret = db->del(db, kv->txn, &k, 0);
    if (ret == DB_NOTFOUND)
        return ERR_NOENT;
    return ret == 0 ? 0 : fail(kv, ret, "delete");
}

/* Is the key past the range's end? A key that begins with `last` belongs to it. */
static bool
past(const void *key, size_t len, struct kv_slice last)
{
    return memcmp(key, last.p, len < last.len ? len : last.len) > 0;
}

int
kv_delete_range(struct kv *kv, enum kv_file file, struct kv_slice first, struct kv_slice last)
{
    DBC *cursor;
    DBT k, v;
    DB *db;
    int ret, closed;

    use(kv);
    ret = file_handle(kv, file, &db);
    if (ret != 0)
        return ret;
    if (kv->txn == NULL)
        log_panic("kv_delete_range: not in a transaction");
    ret = db->cursor(db, kv->txn, &cursor, 0);
    if (ret != 0)
        return fail(kv, ret, "cursor");
    set_dbt(&k, first);
    memset(&v, 0, sizeof v);
    v.flags = DB_DBT_PARTIAL; /* the value isn't wanted */
    ret = cursor->get(cursor, &k, &v, DB_SET_RANGE);
    while (ret == 0 && !past(k.data, k.size, last)) {
        ret = cursor->del(cursor, 0);
        if (ret == 0)
            ret = cursor->get(cursor, &k, &v, DB_NEXT);
    }
    closed = cursor->close(cursor);
    if (ret == DB_NOTFOUND)
        ret = 0;
    if (ret == 0)
        ret = closed;
    return ret == 0 ? 0 : fail(kv, ret, "delete range");
}

/* One buffer full of records to fn. Sets *end when `last` was passed. */
static int
deliver(DBT *bulk, struct kv_slice last, kv_fn *fn, void *ctx, bool *end)
{
    void *at, *key, *value;
    size_t key_len, value_len;
    int result;

    DB_MULTIPLE_INIT(at, bulk);
    for (;;) {
        DB_MULTIPLE_KEY_NEXT(at, bulk, key, key_len, value, value_len);
        if (at == NULL)
            return 0;
        if (past(key, key_len, last)) {
            *end = true;
            return 0;
        }
        result = fn(ctx, (struct kv_slice){key, key_len}, (struct kv_slice){value, value_len});
        if (result != 0)
            return result;
    }
}

/* Reads with a cursor and a bulk buffer that grows when a record needs it. *result is fn's;
   returned is Berkeley DB's. */
static int
scan_cursor(DBC *cursor, char **buffer, struct kv_slice first, struct kv_slice last, kv_fn *fn,
            void *ctx, int *result)
{
    struct resources *ours = resources_used();
    size_t size = BULK_NEXT, ask = BULK_FIRST;
    u_int32_t step = DB_SET_RANGE;
    bool end = false;
    DBT k, v;
    int ret = 0;

    set_dbt(&k, first);
    memset(&v, 0, sizeof v);
    v.flags = DB_DBT_USERMEM;
    while (!end && *result == 0) {
        v.data = *buffer;
        v.ulen = (u_int32_t)ask;
        ret = cursor->get(cursor, &k, &v, step | DB_MULTIPLE_KEY);
        if (ret == DB_BUFFER_SMALL && ask < BULK_MAX) {
            ask *= 2;
            if (ask > size) {
                *buffer = mem_realloc(*buffer, ask);
                size = ask;
            }
            continue;
        }
        if (ret != 0)
            return ret == DB_NOTFOUND ? 0 : ret;
        *result = deliver(&v, last, fn, ctx, &end);
        resources_use(ours); /* fn may have worked for another environment */
        step = DB_NEXT;
        if (ask < size)
            ask *= 2;
    }
    return 0;
}

int
kv_scan(struct kv *kv, enum kv_file file, struct kv_slice first, struct kv_slice last,
        kv_fn *fn, void *ctx)
{
    char *buffer;
    DBC *cursor;
    DB *db;
    int ret, closed, result = 0;

    use(kv);
    ret = file_handle(kv, file, &db);
    if (ret != 0)
        return ret;
    ret = db->cursor(db, NULL, &cursor, 0);
    if (ret != 0)
        return fail(kv, ret, "cursor");
    buffer = kv->bulk != NULL ? kv->bulk : mem_alloc(BULK_NEXT);
    kv->bulk = NULL; /* a scan inside fn takes another */
    ret = scan_cursor(cursor, &buffer, first, last, fn, ctx, &result);
    use(kv);
    closed = kv->failed ? 0 : cursor->close(cursor);
    free(kv->bulk);
    kv->bulk = buffer;
    if (ret == 0)
        ret = closed;
    return ret == 0 ? result : fail(kv, ret, "scan");
}
