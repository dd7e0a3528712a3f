/*
 * Opening, locking and committing; see index.h.
 *
 * The lock is the one door to Berkeley DB, and index_lock() the one place where a handle finds
 * out what happened while it was outside:
 *
 *   same epoch             go on with the open environment
 *   another epoch          somebody recovered: what's mapped here is of a removed environment.
 *                          It's forgotten without a call into Berkeley DB (a close would write
 *                          log records into files that are the new environment's now), then
 *                          the new one is joined.
 *   odd generation, reboot the holder died inside, or left it dirty on purpose because an
 *                          operation failed in an unexpected way: recover (index_recover.c)
 *
 * On the way out an environment that failed is forgotten too, and the lock is given up dirty:
 * so an error, a crash and a reboot take the same way back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/index_impl.h"

#define GONE_RETRIES 3 /* an index directory removed under us */
#define CONTROL_KEY  "c"

static char *
join_path(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = mem_alloc(size);

    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

/* The directory and the lock file in it. */
static int
open_place(struct index *ix)
{
    bool made = mkdir(ix->path, 0700) == 0;
    int err;

    if (!made && errno != EEXIST) {
        err = err_from_errno(errno);
        log_error("index: %s: %s", ix->path, strerror(errno));
        return err;
    }
    ix->dirfd = open(ix->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ix->dirfd < 0) {
        err = err_from_errno(errno);
        log_error("index: %s: %s", ix->path, strerror(errno));
        return err;
    }
    if (made && sys_fsync_dir(ix->dirfd, "..") != 0 && errno != EACCES)
        log_warn("index: %s: its directory can't be synced: %s", ix->path, strerror(errno));
    err = lockfile_open(ix->dirfd, INDEX_LOCK_FILE, &ix->lock);
    if (err != 0) {
        close(ix->dirfd);
        ix->dirfd = -1;
    }
    return err;
}

static void
close_place(struct index *ix)
{
    lockfile_close(&ix->lock);
    if (ix->notify_fd >= 0)
        close(ix->notify_fd);
    if (ix->dirfd >= 0)
        close(ix->dirfd);
    ix->notify_fd = ix->dirfd = -1;
}

static void
free_index(struct index *ix)
{
    free(ix->path);
    free(ix->notify_path);
    free(ix->db_path);
    free(ix->build_path);
    free(ix->changes);
    free(ix->modseqs);
    buf_free(&ix->record);
    block_free(&ix->block);
    free(ix);
}

int
index_open(const char *path, unsigned lock_timeout_s, struct index **out)
{
    struct index *ix = mem_calloc(1, sizeof *ix);
    int err;

    *out = NULL;
    ix->path = mem_strdup(path);
    ix->notify_path = join_path(path, INDEX_NOTIFY_FILE);
    ix->db_path = join_path(path, INDEX_DB_DIR);
    ix->build_path = join_path(path, INDEX_BUILD_DIR);
    ix->timeout_s = lock_timeout_s;
    ix->dirfd = ix->notify_fd = -1;
    buf_init(&ix->record, RECORD_MAX);
    block_init(&ix->block);
    err = open_place(ix);
    if (err != 0) {
        free_index(ix);
        return err;
    }
    *out = ix;
    return 0;
}

/* Leaves the environment. In good order if it is still the current one, which only the lock
   tells; else it's forgotten. */
static void
leave(struct index *ix)
{
    int state;

    if (ix->kv == NULL)
        return;
    state = lockfile_lock(ix->lock, ix->timeout_s);
    if (state == LOCK_CLEAN) {
        if (kv_close(&ix->kv))
            lockfile_unlock(ix->lock);
        else
            lockfile_unlock_dirty(ix->lock);
        return;
    }
    kv_forget(&ix->kv);
    if (state == LOCK_REOPEN)
        lockfile_unlock(ix->lock);
    else if (state == LOCK_RECOVER)
        lockfile_unlock_dirty(ix->lock);
}

void
index_idle(struct index *ix)
{
    if (lockfile_held(ix->lock))
        log_panic("index_idle: locked");
    leave(ix);
    if (ix->notify_fd >= 0)
        close(ix->notify_fd);
    ix->notify_fd = -1;
    buf_free(&ix->record);
    block_free(&ix->block);
}

void
index_close(struct index **ix)
{
    if (*ix == NULL)
        return;
    if (lockfile_held((*ix)->lock))
        index_unlock(*ix);
    leave(*ix);
    close_place(*ix);
    free_index(*ix);
    *ix = NULL;
}

const char *
index_notify_path(const struct index *ix)
{
    return ix->notify_path;
}

int
ix_ready(struct index *ix)
{
    if (!lockfile_held(ix->lock))
        log_panic("index: used without its lock");
    return kv_failed(ix->kv) ? ERR_TEMP : 0;
}

int
ix_corrupt(struct index *ix, const char *what)
{
    if (!ix->suspect)
        log_error("index: %s: %s makes no sense; the index is going to be repaired", ix->path,
                  what);
    ix->suspect = true;
    return ERR_CORRUPT;
}

int
ix_read_control(struct index *ix)
{
    struct kv_slice value;
    int err = kv_get(ix->kv, KV_MAILBOXES, slice(CONTROL_KEY, 1), &value);

    if (err == 0)
        err = control_decode(value, &ix->control);
    if (err == ERR_UNSUPPORTED)
        log_error("index: %s is of a newer version of this program", ix->path);
    return err == ERR_NOENT ? ERR_CORRUPT : err;
}

int
ix_write_control(struct index *ix)
{
    buf_reset(&ix->record);
    control_encode(&ix->record, &ix->control);
    return kv_put(ix->kv, KV_MAILBOXES, slice(CONTROL_KEY, 1),
                  slice(ix->record.data, ix->record.len));
}

/* Joins the environment that others use. */
static int
join_env(struct index *ix)
{
    int err = kv_open(ix->db_path, KV_JOIN, false, &ix->kv);

    if (err == 0)
        err = ix_read_control(ix);
    if (err == 0)
        return 0;
    if (ix->kv != NULL && kv_suspect(ix->kv))
        lockfile_set_note(ix->lock, lockfile_note(ix->lock) | NOTE_SUSPECT);
    if (ix->kv != NULL && (kv_settle(ix->kv) != 0 || kv_holds_pages(ix->kv)))
        err = ERR_TEMP; /* Berkeley DB takes these pages for written: only recovery has them */
    kv_forget(&ix->kv);
    return err;
}

/* Makes ix->kv the account's environment of now. */
static int
enter(struct index *ix, enum lock_state state)
{
    int err;

    ix->recovered = ix->damaged = false;
    if (state != LOCK_CLEAN)
        kv_forget(&ix->kv);
    if (state != LOCK_RECOVER) {
        if (ix->kv != NULL)
            return 0;
        ix->damaged = !ix_looks_well(ix);
        err = ix->damaged ? ERR_CORRUPT : join_env(ix);
        if (err == 0 || err == ERR_UNSUPPORTED || kv_is_resource(err))
            return err;
    }
    ix->recovered = true;
    return ix_recover(ix);
}

/* The lock, also when the whole directory was removed and has to be made anew. */
static int
take_lock(struct index *ix)
{
    int state = lockfile_lock(ix->lock, ix->timeout_s);

    for (int i = 0; i < GONE_RETRIES && state == ERR_GONE; i++) {
        int err;

        log_warn("index: %s was removed while in use", ix->path);
        kv_forget(&ix->kv);
        close_place(ix);
        err = open_place(ix);
        if (err != 0)
            return err;
        state = lockfile_lock(ix->lock, ix->timeout_s);
    }
    return state;
}

int
index_lock(struct index *ix)
{
    int state, err;

    if (ix->lock == NULL) { /* an earlier attempt to make the directory anew failed */
        err = open_place(ix);
        if (err != 0)
            return err;
    }
    state = take_lock(ix);
    if (state < 0)
        return state;
    sys_step("index:locked");
    ix->failed = false;
    err = enter(ix, (enum lock_state)state);
    if (err == 0)
        return 0;
    kv_forget(&ix->kv);
    /* once recovery has begun, nobody may go on with what he has mapped */
    if (ix->recovered || (!kv_is_resource(err) && err != ERR_UNSUPPORTED))
        lockfile_unlock_dirty(ix->lock);
    else
        lockfile_unlock(ix->lock);
    return err == ERR_CORRUPT ? ERR_TEMP : err;
}

void
index_unlock(struct index *ix)
{
    uint32_t note;

    if (!lockfile_held(ix->lock))
        log_panic("index_unlock: not locked");
    index_abort(ix);
    block_forget(&ix->block); /* others may change it now */
    (void)kv_settle(ix->kv);
    sys_step("index:unlock");
    note = lockfile_note(ix->lock);
    if (kv_failed(ix->kv) || ix->suspect) {
        ix->failed = ix->suspect || kv_suspect(ix->kv);
        if (ix->failed)
            lockfile_set_note(ix->lock, note | NOTE_SUSPECT);
        ix->suspect = false;
        kv_forget(&ix->kv);
        lockfile_unlock_dirty(ix->lock);
        return;
    }
    if (note != 0)
        lockfile_set_note(ix->lock, 0);
    lockfile_unlock(ix->lock);
}

bool
index_recovered(const struct index *ix)
{
    return ix->recovered;
}

uint64_t
index_epoch(const struct index *ix)
{
    return lockfile_epoch(ix->lock);
}

void
index_distrust(struct index *ix)
{
    ix->suspect = true;
}

bool
index_failed(const struct index *ix)
{
    return ix->failed;
}

uint64_t
index_incarnation(const struct index *ix)
{
    return ix->control.incarnation;
}

static int
begin(struct index *ix, bool bulk)
{
    int err = ix_ready(ix);

    if (err != 0)
        return err;
    if (kv_in_transaction(ix->kv))
        log_panic("index_begin: in a transaction already");
    ix_changes_forget(ix);
    ix->drop.last = 0;
    ix->changed = false;
    sys_step("index:begin");
    return kv_begin(ix->kv, bulk);
}

int
index_begin(struct index *ix)
{
    return begin(ix, false);
}

int
index_begin_bulk(struct index *ix)
{
    return begin(ix, true);
}

/* Tells those who watch. Failing is harmless: they look again by and by. */
static void
notify(struct index *ix)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%020llu\n",
                     (unsigned long long)lockfile_generation(ix->lock));

    if (ix->notify_fd < 0)
        ix->notify_fd =
            openat(ix->dirfd, INDEX_NOTIFY_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (ix->notify_fd >= 0 && pwrite(ix->notify_fd, text, (size_t)n, 0) != n)
        log_debug("index: %s: %s", ix->notify_path, strerror(errno));
}

int
index_commit(struct index *ix, bool sync)
{
    int err;

    if (ix->kv == NULL || !kv_in_transaction(ix->kv))
        log_panic("index_commit: not in a transaction");
    for (size_t i = 0; i < ix->modseqs_count; i++)
        if (!ix->modseqs[i].written)
            log_panic("index_commit: a mailbox was changed but its row not put");
    sys_step("index:commit");
    err = block_flush(&ix->block, ix->kv);
    if (err == 0)
        err = ix_cache_flush(ix);
    if (err == 0)
        err = kv_commit(ix->kv, sync);
    else
        kv_abort(ix->kv);
    ix_changes_forget(ix);
    if (err != 0)
        return err;
    sys_step("index:committed");
    if (ix->changed)
        notify(ix);
    /* a failure here is of the next transaction: this one is in the log */
    (void)kv_checkpoint(ix->kv, false);
    sys_step("index:checkpointed");
    return 0;
}

int
index_sync(struct index *ix)
{
    int err = ix_ready(ix);

    if (err == 0)
        err = kv_sync(ix->kv);
    sys_step("index:synced");
    return err;
}

void
index_abort(struct index *ix)
{
    if (ix->kv != NULL)
        kv_abort(ix->kv);
    block_forget(&ix->block);
    ix->drop.last = 0;
    ix_changes_forget(ix);
}
