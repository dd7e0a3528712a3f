/*
 * Recovery: the one way from "something is wrong" to a working environment.
 *
 * It runs with the account's lock. Everybody else is outside and finds the new epoch when he
 * comes in, so Berkeley DB's recovery has the exclusive use that it needs. The steps, each
 * taken only when the one before it didn't do:
 *
 *   1. recover    drop the shared regions unread, replay the log (a killed process, a reboot)
 *   2. salvage    copy what can be read of the files into a new environment (damaged or lost
 *                 files, missing logs, records that make no sense): index_salvage.c
 *   3. start anew an empty environment; the incarnation grows, so that callers fill it from the
 *                 Maildir with a higher UIDVALIDITY
 *
 * After 2 and 3 the former environment is kept as broken.<seconds>; the two newest stay.
 *
 * It can itself be killed anywhere: nothing of the old environment is removed before the new
 * one is complete. "db" is renamed away only when "db.new" is complete and closed, so a
 * "db.new" without a "db" is taken as it is, and one beside a "db" is a leftover.
 *
 * It can't go on for ever: the lock file's note counts recoveries since the last good unlock.
 * From STRIKES_CHECK on every record is read before the result is trusted; at STRIKES_ASIDE the
 * environment is set aside without being read at all (one whose very reading kills the reader).
 * A full disk is no strike: nothing is wrong with the data. But replaying appends to the log,
 * and with no block left for that a user could neither read nor remove his mail. So a file of
 * some blocks lies there to be given up then: enough to recover, and to EXPUNGE.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/index_guard.h"
#include "store/index_impl.h"

#define STRIKES_CHECK 4
#define STRIKES_ASIDE 8
#define BROKEN_KEPT   2
#define BROKEN_PREFIX "broken."
/* recovery fills the last log with zeros to its full size, 256 KB; the rest is for EXPUNGE */
#define RESERVE_OCTETS (384 * 1024)

/* Removes the entries of a directory whose names begin with `prefix` ("" = all); not below. */
static int
empty_dir(int parent, const char *name, const char *prefix)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct dirent *entry;
    DIR *dir;
    int err = 0;

    if (fd < 0)
        return errno == ENOENT ? 0 : err_from_errno(errno);
    dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return ERR_SHORT;
    }
    for (long i = 0; i < INDEX_ENTRIES_MAX && (entry = readdir(dir)) != NULL; i++) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) != 0 && errno != ENOENT)
            err = err_from_errno(errno);
    }
    closedir(dir);
    return err;
}

static int
remove_dir(int parent, const char *name)
{
    int err = empty_dir(parent, name, "");

    if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT && err == 0)
        err = err_from_errno(errno);
    return err;
}

static bool
exists(int parent, const char *name)
{
    struct stat st;

    return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Is there nothing of an environment in "db": neither files nor logs? */
static bool
is_fresh(struct index *ix)
{
    int fd = openat(ix->dirfd, INDEX_DB_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;
    bool fresh = true;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (long i = 0; fresh && i < INDEX_ENTRIES_MAX && (entry = readdir(dir)) != NULL; i++)
        fresh = entry->d_name[0] == '.' || strncmp(entry->d_name, "__db.", 5) == 0 ||
                strcmp(entry->d_name, GUARD_FILE) == 0;
    closedir(dir);
    return fresh;
}

/* Ends a salvage that was cut short, and sees that "db" is a directory. */
static int
settle_dirs(struct index *ix)
{
    if (!exists(ix->dirfd, INDEX_DB_DIR)) {
        if (renameat(ix->dirfd, INDEX_BUILD_DIR, ix->dirfd, INDEX_DB_DIR) == 0)
            return 0;
        if (mkdirat(ix->dirfd, INDEX_DB_DIR, 0700) != 0 || sys_fsync(ix->dirfd) != 0)
            return err_from_errno(errno);
    }
    if (exists(ix->dirfd, INDEX_BUILD_DIR))
        return remove_dir(ix->dirfd, INDEX_BUILD_DIR);
    return 0;
}

/* The control record of a new index. */
static int
write_first_control(struct index *ix)
{
    uint64_t now = (uint64_t)sys_now_us();
    int err;

    /* it may follow one that was lost: larger than any that a session remembers */
    ix->control = (struct index_control){
        .format = INDEX_FORMAT,
        .next_id = 1,
        .incarnation = now > ix->control.incarnation ? now : ix->control.incarnation + 1};
    err = kv_begin(ix->kv, false);
    if (err == 0)
        err = ix_write_control(ix);
    if (err == 0)
        err = kv_commit(ix->kv, true);
    return err;
}

/* Step 1. A new environment when there was nothing. */
static int
open_recovered(struct index *ix)
{
    bool fresh = is_fresh(ix);
    int64_t start = sys_monotonic_ms();
    int err = empty_dir(ix->dirfd, INDEX_DB_DIR, "__db."), restored;

    ix->recovery_ms = -1;
    if (err != 0)
        return err;
    restored = guard_restore(ix->db_path);
    if (restored < 0)
        return restored;
    if (restored > 0)
        log_info("index: %s: %d pages were put back", ix->path, restored);
    sys_step("index:recover");
    err = kv_open(ix->db_path, KV_RECOVER, fresh, &ix->kv);
    sys_step("index:replayed");
    if (err == 0)
        err = kv_open_files(ix->kv);
    if (err == 0)
        err = fresh ? write_first_control(ix) : ix_read_control(ix);
    if (err == 0 && !fresh)
        ix->recovery_ms = sys_monotonic_ms() - start;
    return err;
}

/* Removes all but the newest of the environments set aside. */
static void
prune_broken(struct index *ix)
{
    char newest[BROKEN_KEPT + 1][64] = {{0}};
    int fd = dup(ix->dirfd);
    struct dirent *entry;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    rewinddir(dir);
    for (long i = 0; i < INDEX_ENTRIES_MAX && (entry = readdir(dir)) != NULL; i++) {
        int at = BROKEN_KEPT;

        if (strncmp(entry->d_name, BROKEN_PREFIX, strlen(BROKEN_PREFIX)) != 0 ||
            strlen(entry->d_name) >= sizeof newest[0])
            continue;
        memcpy(newest[at], entry->d_name, strlen(entry->d_name) + 1);
        for (; at > 0 && strcmp(newest[at], newest[at - 1]) > 0; at--) {
            char other[sizeof newest[0]];

            memcpy(other, newest[at], sizeof other);
            memcpy(newest[at], newest[at - 1], sizeof other);
            memcpy(newest[at - 1], other, sizeof other);
        }
        if (newest[BROKEN_KEPT][0] != '\0')
            remove_dir(ix->dirfd, newest[BROKEN_KEPT]);
        newest[BROKEN_KEPT][0] = '\0';
    }
    closedir(dir);
}

/* Renames "db" to broken.<time>, whose name goes to `name`. */
static int
set_aside(struct index *ix, char *name, size_t size)
{
    int64_t now = sys_now();

    for (int i = 0; i < 100; i++) {
        snprintf(name, size, BROKEN_PREFIX "%012lld.%02d", (long long)now, i);
        if (exists(ix->dirfd, name))
            continue;
        if (renameat(ix->dirfd, INDEX_DB_DIR, ix->dirfd, name) == 0)
            return 0;
        return err_from_errno(errno);
    }
    return ERR_TEMP;
}

/* Step 3. */
static int
start_anew(struct index *ix)
{
    char aside[64];
    int err;

    kv_forget(&ix->kv);
    err = remove_dir(ix->dirfd, INDEX_BUILD_DIR); /* first: without a "db" it would count */
    if (err == 0)
        err = set_aside(ix, aside, sizeof aside);
    sys_step("index:aside");
    if (err == 0 && (mkdirat(ix->dirfd, INDEX_DB_DIR, 0700) != 0 || sys_fsync(ix->dirfd) != 0))
        err = err_from_errno(errno);
    if (err == 0)
        err = open_recovered(ix);
    if (err != 0)
        return err;
    prune_broken(ix);
    log_error(
        "index: %s could not be read: started anew, all UIDs change; the former files are "
        "in %s",
        ix->path, aside);
    return 0;
}

/* Puts "db.new" into the place of "db". */
static int
swap_dirs(struct index *ix, char *aside, size_t size)
{
    int err;

    if (sys_fsync_dir(ix->dirfd, INDEX_BUILD_DIR) != 0)
        return err_from_errno(errno);
    err = set_aside(ix, aside, size);
    sys_step("index:aside");
    if (err == 0 && renameat(ix->dirfd, INDEX_BUILD_DIR, ix->dirfd, INDEX_DB_DIR) != 0)
        err = err_from_errno(errno);
    if (err == 0 && sys_fsync(ix->dirfd) != 0)
        err = err_from_errno(errno);
    sys_step("index:swapped");
    return err;
}

/* Brings the log into the files in spite of a damaged one, which is put out of the way. True if
   the other files have all that was committed now. */
static bool
replay_rest(struct index *ix)
{
    int fd = openat(ix->dirfd, INDEX_DB_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool replayed;

    if (fd < 0)
        return false;
    for (int i = 0; i < KV_FILES; i++) {
        char aside[64];

        snprintf(aside, sizeof aside, INDEX_DAMAGED_PREFIX "%s", kv_file_names[i]);
        if (!ix_file_begins_well(fd, kv_file_names[i]))
            (void)renameat(fd, kv_file_names[i], fd, aside);
    }
    close(fd);
    sys_step("index:damaged-aside");
    if (empty_dir(ix->dirfd, INDEX_DB_DIR, "__db.") != 0)
        return false;
    replayed = kv_open(ix->db_path, KV_RECOVER, false, &ix->kv) == 0 &&
               kv_checkpoint(ix->kv, true) == 0 && kv_close(&ix->kv);
    kv_forget(&ix->kv);
    return replayed;
}

/* Step 2. */
static int
repair(struct index *ix)
{
    struct salvage_result found = {0};
    char aside[64];
    bool complete;
    int err;

    kv_forget(&ix->kv);
    complete = replay_rest(ix);
    err = remove_dir(ix->dirfd, INDEX_BUILD_DIR);
    if (err == 0 && mkdirat(ix->dirfd, INDEX_BUILD_DIR, 0700) != 0)
        err = err_from_errno(errno);
    sys_step("index:salvage");
    if (err == 0)
        err = ix_salvage(ix, complete, &found);
    sys_step("index:salvaged");
    if (err == 0)
        err = swap_dirs(ix, aside, sizeof aside);
    if (err == 0)
        err = open_recovered(ix);
    if (err != 0)
        return err;
    prune_broken(ix);
    log_error(
        "index: %s was damaged: kept %u mailboxes and %u messages%s%s%s; caches and change "
        "log start anew; the former files are in %s",
        ix->path, found.mailboxes, found.messages,
        found.names_lost ? ", mailboxes.db was unreadable in part" : "",
        found.messages_lost ? ", messages.db was unreadable in part" : "",
        complete ? "" : ", the last changes may be lost", aside);
    return 0;
}

/* The three steps. */
static int
climb(struct index *ix, uint32_t strikes, bool suspect)
{
    int err = settle_dirs(ix);

    if (err != 0)
        return err;
    if (strikes >= STRIKES_ASIDE)
        return start_anew(ix);
    err = ix->damaged ? ERR_CORRUPT : open_recovered(ix);
    if (err == ERR_UNSUPPORTED || kv_is_resource(err))
        return err;
    if (err == 0 && (suspect || strikes >= STRIKES_CHECK))
        err = ix_read_everything(ix);
    if (err == 0 && ix->recovery_ms >= 0)
        log_info("index: %s recovered in %lld ms", ix->path, (long long)ix->recovery_ms);
    if (err == 0) /* a file that was put aside isn't needed then */
        return empty_dir(ix->dirfd, INDEX_DB_DIR, INDEX_DAMAGED_PREFIX);
    err = repair(ix);
    if (err == 0 || kv_is_resource(err))
        return err;
    return start_anew(ix);
}

/* Lays the reserve by. 0 if it's there, or ERR_*. */
static int
keep_reserve(struct index *ix)
{
    int fd = openat(ix->dirfd, INDEX_RESERVE_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                    0600),
        err = 0;

    if (fd < 0)
        return errno == EEXIST ? 0 : err_from_errno(errno);
    if (fallocate(fd, 0, 0, RESERVE_OCTETS) != 0) {
        err = err_from_errno(errno);
        (void)unlinkat(ix->dirfd, INDEX_RESERVE_FILE, 0);
    }
    close(fd);
    return err;
}

int
index_room(struct index *ix)
{
    int err = exists(ix->dirfd, INDEX_RESERVE_FILE) ? 0 : keep_reserve(ix);

    /* a file system that can't reserve has to do without */
    return err == ERR_NOSPACE || err == ERR_QUOTA ? err : 0;
}

/* Gives it up. True if there was one. */
static bool
release_reserve(struct index *ix)
{
    if (unlinkat(ix->dirfd, INDEX_RESERVE_FILE, 0) != 0)
        return false;
    log_warn("index: %s: the disk is full; the reserve is used up for its recovery", ix->path);
    return true;
}

int
ix_recover(struct index *ix)
{
    uint32_t note = lockfile_note(ix->lock), strikes = note & NOTE_STRIKES;
    int err;

    if (strikes < NOTE_STRIKES)
        lockfile_set_note(ix->lock, note + 1);
    err = climb(ix, strikes, (note & NOTE_SUSPECT) != 0);
    if ((err == ERR_NOSPACE || err == ERR_QUOTA) && release_reserve(ix)) {
        kv_forget(&ix->kv);
        err = climb(ix, strikes, (note & NOTE_SUSPECT) != 0);
    }
    if (err != 0) {
        if (kv_is_resource(err) || err == ERR_UNSUPPORTED)
            lockfile_set_note(ix->lock, note);
        else
            log_error("index: %s can't be used: %s", ix->path, err_text(err));
        return err;
    }
    sys_step("index:recovered");
    (void)keep_reserve(ix);
    lockfile_new_epoch(ix->lock);
    sys_step("index:epoch");
    return 0;
}
