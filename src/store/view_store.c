/*
 * STORE and EXPUNGE through a view (RFC 3501 6.4.6, 6.4.3; RFC 4315 UID EXPUNGE; RFC 7162
 * 3.1.3 UNCHANGEDSINCE).
 *
 * STORE: the file is renamed, which makes the flags durable truth; then the row, in a commit
 * that waits for no disk. After an error the names go back; cut short in between, cur/ has
 * another mtime than recorded and the next scan takes the flags from the names.
 *
 * EXPUNGE: the file is unlinked and the directory synced *before* the row is dropped. The other
 * way round, a crash would leave files without rows: the next scan would take them for new
 * mail, and a message that the user saw go would be back. This way a crash leaves rows without
 * files, which the scan drops.
 *
 * Both work in pieces and give the lock up between them, so that 200,000 messages don't keep
 * other sessions waiting. What an error finds done in earlier pieces stays done.
 */
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
#include "store/keywords.h"
#include "store/quota.h"
#include "store/scan.h"
#include "store/view_private.h"

/* A file that STORE renamed: paths. */
struct renamed {
    char *from, *to;
};

/* One STORE or EXPUNGE command. */
struct job {
    struct view *v;
    const struct seqset *uids;
    struct seqset_iter it;
    struct view_batch *batch;
    enum store_op op;
    unsigned flags;
    uint64_t keywords;
    uint64_t unchanged_since;
    bool any_flag;
    struct seqset *changed, *modified, *gone;
    unsigned finds;
    uint64_t octets, messages; /* unlinked, for the quota */
    bool touched;              /* cur/ was changed in this piece */
    bool from_new;             /* new/ was */
    struct arena *paths;       /* of this piece of a STORE */
    struct renamed *renamed;
    size_t renamed_count, renamed_cap;
};

static void
note(struct seqset *s, uint32_t uid)
{
    if (s != NULL)
        seqset_add(s, uid, uid);
}

static void
remember(struct job *j, const char *from, const char *to)
{
    if (j->renamed_count == j->renamed_cap) {
        j->renamed_cap = j->renamed_cap > 0 ? j->renamed_cap * 2 : 64;
        j->renamed = mem_reallocarray(j->renamed, j->renamed_cap, sizeof *j->renamed);
    }
    j->renamed[j->renamed_count].from = arena_strdup(j->paths, from);
    j->renamed[j->renamed_count++].to = arena_strdup(j->paths, to);
}

/* An error: nothing of this piece is stored. */
static void
take_back(struct job *j)
{
    int fd = j->v->m->fd;

    while (j->renamed_count > 0) {
        const struct renamed *r = &j->renamed[--j->renamed_count];

        if (maildir_move(fd, r->to, fd, r->from) != 0)
            log_warn("cannot rename %s back: %s", r->to, strerror(errno));
    }
}

/* Gives the file its new name; fills now->name. ERR_NOENT: gone. */
static int
rename_file(struct job *j, const struct index_message *old, struct index_message *now)
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX], base[MDNAME_MAX + 1];
    uint32_t letters = (uint32_t)(now->keywords & KEYWORDS_LETTER_MASK);
    struct mdname parsed;
    int err = mdname_parse(old->name, &parsed);

    if (err == 0)
        err = mdname_build(parsed.base, parsed.base_len, now->flags, letters, parsed.other,
                           now->name);
    if (err == ERR_LIMIT) { /* no room for letters behind so long a base */
        err = mdname_new(old->size, old->crlf_size, base);
        if (err == 0)
            err = mdname_build(base, strlen(base), now->flags, letters, "", now->name);
    }
    if (err < 0)
        return err;
    now->in_new = false;
    if (!old->in_new && strcmp(now->name, old->name) == 0)
        return 0;
    maildir_path(from, old->in_new, old->name);
    maildir_path(to, false, now->name);
    err = maildir_move(j->v->m->fd, from, j->v->m->fd, to);
    if (err != 0 && errno == EEXIST) { /* another file has that base name, and these flags */
        err = mdname_new(old->size, old->crlf_size, base);
        if (err == 0)
            err = mdname_build(base, strlen(base), now->flags, letters, "", now->name);
        if (err < 0)
            return err;
        maildir_path(to, false, now->name);
        err = maildir_move(j->v->m->fd, from, j->v->m->fd, to);
    }
    if (err != 0) {
        if (errno == ENOENT)
            return ERR_NOENT;
        log_error("cannot rename %s: %s", from, strerror(errno));
        return err_from_errno(errno);
    }
    j->touched = true;
    remember(j, from, to);
    sys_step("store:renamed");
    return 0;
}

static void
set_flags(const struct job *j, const struct index_message *old, struct index_message *now)
{
    switch (j->op) {
    case STORE_REPLACE:
        now->flags = (uint8_t)j->flags;
        now->keywords = j->keywords;
        break;
    case STORE_ADD:
        now->flags = (uint8_t)(old->flags | j->flags);
        now->keywords = old->keywords | j->keywords;
        break;
    case STORE_REMOVE:
        now->flags = (uint8_t)(old->flags & ~j->flags);
        now->keywords = old->keywords & ~j->keywords;
        break;
    }
}

/* The file is elsewhere: another program renamed it since the directory was looked at. Its
 * flags are what its name says now. */
static int
find_renamed(struct job *j, struct index_message *found)
{
    struct mdname parsed;
    int err = view_find_file(j->v, found, &j->finds);

    if (err == 0)
        err = mdname_parse(found->name, &parsed);
    if (err < 0)
        return err;
    found->flags = (uint8_t)parsed.flags;
    found->keywords = (found->keywords & ~KEYWORDS_LETTER_MASK) | parsed.keywords;
    return 0;
}

static int
store_one(struct job *j, const struct index_message *old)
{
    struct index_message now = *old, found;
    struct view *v = j->v;
    int err;

    if (old->modseq > j->unchanged_since) {
        note(j->modified, old->uid);
        return 0;
    }
    set_flags(j, old, &now);
    if (now.flags == old->flags && now.keywords == old->keywords) {
        note(j->changed, old->uid);
        return 0;
    }
    err = rename_file(j, old, &now);
    if (err == ERR_NOENT) {
        found = *old;
        err = find_renamed(j, &found);
        if (err == 0) {
            set_flags(j, &found, &now);
            err = rename_file(j, &found, &now);
        }
        if (err == ERR_NOENT) {
            note(j->gone, old->uid);
            return 0;
        }
    }
    if (err < 0)
        return err;
    /* somebody else changed it since the client was told: it must learn of both */
    if (old->modseq > v->modseq && !view_is_own(v, old->modseq))
        seqset_add(&v->report, old->uid, old->uid);
    err = index_message_update(v->a->ix, &v->m->row, old, &now, false);
    if (err == 0)
        note(j->changed, old->uid);
    return err;
}

/* Runs `one` over the next piece of messages; in a transaction. */
static int
run_piece(struct job *j, int (*one)(struct job *j, const struct index_message *m))
{
    size_t done = 0, i;
    int err = 0;

    while (err == 0 && done < VIEW_PIECE && j->it.range < j->uids->count) {
        err = view_read_locked(j->v, j->uids, &j->it, 0, j->batch);
        for (i = 0; err == 0 && i < j->batch->count; i++) {
            if (j->batch->items[i].gone)
                note(j->gone, j->batch->items[i].m.uid);
            else
                err = one(j, &j->batch->items[i].m);
        }
        done += j->batch->count;
    }
    return err;
}

static int
store_piece(struct job *j, const struct flag_set *flags)
{
    struct view *v = j->v;
    uint64_t before;
    int err = view_scan(v);

    if (err == 0)
        err = view_load_uids(v);
    if (err == 0 && (j->op != STORE_ADD || (j->flags & MSG_DELETED) == 0))
        err = index_room(v->a->ix);
    if (err == 0)
        err = index_begin(v->a->ix);
    if (err < 0)
        return err;
    before = v->m->row.highestmodseq;
    j->touched = false;
    j->renamed_count = 0;
    arena_reset(j->paths);
    err = keywords_bits(v->m, flags->keywords, flags->keywords_count, j->op != STORE_REMOVE,
                        &j->keywords);
    if (err == 0)
        err = run_piece(j, store_one);
    sys_step("store:before-commit");
    if (err == 0 && j->touched)
        scan_note_own(v->m);
    if (err == 0)
        err = mailbox_put(v->m);
    if (err == 0)
        err = index_commit(v->a->ix, false);
    if (err == 0)
        view_own_change(v, before, v->m->row.highestmodseq);
    else
        take_back(j);
    sys_step("store:committed");
    return err;
}

int
view_store(struct view *v, const struct seqset *uids, enum store_op op,
           const struct flag_set *flags, uint64_t unchanged_since, struct seqset *changed,
           struct seqset *modified, struct seqset *gone)
{
    struct job j = {.v = v,
                    .uids = uids,
                    .op = op,
                    .flags = flags->flags,
                    .unchanged_since = unchanged_since,
                    .changed = changed,
                    .modified = modified,
                    .gone = gone};
    int err = 0;

    if ((v->flags & VIEW_READONLY) != 0)
        return ERR_READONLY;
    j.batch = view_batch_new();
    j.paths = arena_new();
    while (err == 0 && j.it.range < uids->count) {
        err = view_lock(v);
        if (err < 0)
            break;
        err = store_piece(&j, flags);
        view_unlock(v);
    }
    view_batch_free(&j.batch);
    arena_free(&j.paths);
    free(j.renamed);
    return err;
}

/* Removes the file, wherever it is. */
static int
unlink_file(struct job *j, const struct index_message *m)
{
    struct index_message at = *m;
    char path[MAILDIR_PATH_MAX];
    int tries, err;

    for (tries = 0; tries < 3; tries++) {
        maildir_path(path, at.in_new, at.name);
        if (unlinkat(j->v->m->fd, path, 0) == 0) {
            j->touched = true;
            j->from_new = j->from_new || at.in_new;
            j->octets += quota_size(at.name, at.size);
            j->messages++;
            sys_step("expunge:unlinked");
            return 0;
        }
        if (errno != ENOENT) {
            log_error("cannot remove %s: %s", path, strerror(errno));
            return err_from_errno(errno);
        }
        err = view_find_file(j->v, &at, &j->finds);
        if (err < 0)
            return err == ERR_NOENT ? 0 : err;
    }
    return ERR_TEMP;
}

static int
expunge_one(struct job *j, const struct index_message *m)
{
    int err;

    if (!j->any_flag && (m->flags & MSG_DELETED) == 0)
        return 0;
    err = unlink_file(j, m);
    if (err == 0)
        err = index_message_expunge(j->v->a->ix, &j->v->m->row, m);
    if (err == 0)
        note(j->changed, m->uid);
    return err;
}

static int
sync_dirs(const struct job *j)
{
    int fd = j->v->m->fd;

    if ((j->touched && sys_fsync_dir(fd, "cur") != 0) ||
        (j->from_new && sys_fsync_dir(fd, "new") != 0)) {
        log_error("fsync of a directory: %s", strerror(errno));
        return err_from_errno(errno);
    }
    return 0;
}

static int
expunge_piece(struct job *j)
{
    struct view *v = j->v;
    int err = view_scan(v), failed;

    if (err < 0)
        return err;
    if (!j->any_flag && v->m->row.deleted == 0) {
        j->it.range = j->uids->count; /* nothing to do: CLOSE of most mailboxes */
        return 0;
    }
    err = view_load_uids(v);
    if (err == 0)
        err = index_begin(v->a->ix);
    if (err < 0)
        return err;
    j->touched = j->from_new = false;
    failed = run_piece(j, expunge_one);
    /* what was unlinked before an error is gone all the same */
    err = sync_dirs(j);
    sys_step("expunge:dir-synced");
    if (err < 0)
        return err;
    if (j->touched)
        scan_note_own(v->m);
    err = mailbox_put(v->m);
    if (err == 0)
        err = index_commit(v->a->ix, true);
    sys_step("expunge:committed");
    return err < 0 ? err : failed;
}

int
view_expunge(struct view *v, const struct seqset *uids, bool any_flag, struct seqset *expunged)
{
    struct seq_range every = {1, UINT32_MAX};
    struct seqset all = {.ranges = &every, .count = 1, .cap = 1};
    struct job j = {
        .v = v, .uids = uids != NULL ? uids : &all, .any_flag = any_flag, .changed = expunged};
    int err = 0;

    if ((v->flags & VIEW_READONLY) != 0)
        return ERR_READONLY;
    j.batch = view_batch_new();
    while (err == 0 && j.it.range < j.uids->count) {
        err = view_lock(v);
        if (err < 0)
            break;
        err = expunge_piece(&j);
        view_unlock(v);
    }
    quota_add(v->a, -(int64_t)j.octets, -(int64_t)j.messages); /* also of what an error cut */
    view_batch_free(&j.batch);
    return err;
}
