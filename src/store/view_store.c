/*
 * STORE through a view (RFC 3501 6.4.6; RFC 7162 3.1.3 UNCHANGEDSINCE).
 *
 * It works in pieces, and gives the lock up between them, so that 200,000 messages don't keep
 * other sessions waiting. What an error finds done in earlier pieces stays done. In each piece:
 *
 * 1. The files are renamed, which makes the flags durable truth.
 * 2. The rows are written, in one transaction, whose commit waits for no disk.
 *
 * After an error the names go back; cut short in between, cur/ has another mtime than recorded
 * and the next scan takes the flags from the names.
 *
 * All renames come first because libdb syncs its files now and then while it works on many
 * rows, and where the file system has a journal, each sync waits for all the renames before it.
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
#include "store/scan.h"
#include "store/view_private.h"

/* What the row of a message will say. */
struct change {
    uint32_t uid;
    uint8_t flags;
    uint64_t keywords;
    char *from, *to; /* paths; NULL: the file's name stays */
};

/* One STORE command. */
struct job {
    struct view *v;
    const struct seqset *uids;
    struct seqset_iter it;
    struct view_batch *batch;
    enum store_op op;
    unsigned flags;
    uint64_t keywords;
    uint64_t unchanged_since;
    struct seqset *changed, *modified, *gone;
    unsigned finds;
    struct arena *paths;    /* of this piece, as all that follows */
    struct change *changes; /* by ascending UID */
    size_t changes_count, changes_cap;
    bool touched; /* cur/ */
    view_stored_fn *tell;
    void *ctx;
    struct view_stored *stored;
    size_t stored_count, stored_cap;
};

static void
note(struct seqset *s, uint32_t uid)
{
    if (s != NULL)
        seqset_add(s, uid, uid);
}

/* The message has the flags that were asked for. */
static void
note_stored(struct job *j, uint32_t uid, uint8_t flags, uint64_t keywords)
{
    note(j->changed, uid);
    if (j->tell == NULL)
        return;
    if (j->stored_count == j->stored_cap) {
        j->stored_cap = j->stored_cap > 0 ? j->stored_cap * 2 : 64;
        j->stored = mem_reallocarray(j->stored, j->stored_cap, sizeof *j->stored);
    }
    j->stored[j->stored_count++] =
        (struct view_stored){.uid = uid, .flags = flags, .keywords = keywords};
}

static struct change *
add_change(struct job *j, uint32_t uid)
{
    if (j->changes_count == j->changes_cap) {
        j->changes_cap = j->changes_cap > 0 ? j->changes_cap * 2 : 64;
        j->changes = mem_reallocarray(j->changes, j->changes_cap, sizeof *j->changes);
    }
    j->changes[j->changes_count] = (struct change){.uid = uid};
    return &j->changes[j->changes_count++];
}

/* An error: nothing of this piece is stored. */
static void
take_back(struct job *j)
{
    int fd = j->v->m->fd;

    while (j->changes_count > 0) {
        const struct change *c = &j->changes[--j->changes_count];

        if (c->to != NULL && maildir_move(fd, c->to, fd, c->from) != 0)
            log_warn("cannot rename %s back: %s", c->to, strerror(errno));
    }
}

/* A name for the new flags behind a base name of our own. */
static int
name_anew(const struct index_message *old, struct index_message *now, uint32_t letters)
{
    char base[MDNAME_MAX + 1];
    int err = mdname_new(old->size, old->crlf_size, base);

    return err == 0 ? mdname_build(base, strlen(base), now->flags, letters, "", now->name)
                    : err;
}

/* Gives the file its new name; fills now->name and the paths. ERR_NOENT: gone. */
static int
rename_file(struct job *j, const struct index_message *old, struct index_message *now,
            struct change *c)
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX];
    uint32_t letters = (uint32_t)(now->keywords & KEYWORDS_LETTER_MASK);
    struct mdname parsed;
    int err = mdname_parse(old->name, &parsed);

    if (err == 0)
        err = mdname_build(parsed.base, parsed.base_len, now->flags, letters, parsed.other,
                           now->name);
    if (err == ERR_LIMIT) /* no room for letters behind so long a base */
        err = name_anew(old, now, letters);
    if (err < 0)
        return err;
    if (!old->in_new && strcmp(now->name, old->name) == 0)
        return 0;
    maildir_path(from, old->in_new, old->name);
    maildir_path(to, false, now->name);
    err = maildir_move(j->v->m->fd, from, j->v->m->fd, to);
    if (err != 0 && errno == EEXIST) { /* another file has that base name, and these flags */
        err = name_anew(old, now, letters);
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
    c->from = arena_strdup(j->paths, from);
    c->to = arena_strdup(j->paths, to);
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

/* Makes the file's name say the new flags. */
static int
rename_one(struct job *j, const struct index_message *old)
{
    struct index_message now = *old, found;
    struct change *c;
    int err;

    if (old->modseq > j->unchanged_since) {
        note(j->modified, old->uid);
        return 0;
    }
    set_flags(j, old, &now);
    if (now.flags == old->flags && now.keywords == old->keywords) {
        note_stored(j, old->uid, old->flags, old->keywords);
        return 0;
    }
    c = add_change(j, old->uid);
    err = rename_file(j, old, &now, c);
    if (err == ERR_NOENT) {
        found = *old;
        err = find_renamed(j, &found);
        if (err == 0) {
            set_flags(j, &found, &now);
            err = rename_file(j, &found, &now, c);
            /* by its mod-sequence the row's change will be taken for ours alone */
            if (found.flags != old->flags || found.keywords != old->keywords)
                seqset_add(&j->v->report, old->uid, old->uid);
        }
        if (err == ERR_NOENT) {
            j->changes_count--;
            note(j->gone, old->uid);
            return 0;
        }
    }
    c->flags = now.flags;
    c->keywords = now.keywords;
    if (err == 0)
        note_stored(j, old->uid, now.flags, now.keywords);
    return err;
}

static int
rename_files(struct job *j)
{
    size_t done = 0, i;
    int err = 0;

    while (err == 0 && done < VIEW_PIECE && j->it.range < j->uids->count) {
        err = view_read_locked(j->v, j->uids, &j->it, 0, j->batch);
        for (i = 0; err == 0 && i < j->batch->count; i++) {
            if (j->batch->items[i].gone)
                note(j->gone, j->batch->items[i].m.uid);
            else
                err = rename_one(j, &j->batch->items[i].m);
        }
        done += j->batch->count;
    }
    return err;
}

static int
write_rows(struct job *j)
{
    struct view *v = j->v;
    struct index_message old, now;
    int err = 0;

    for (size_t i = 0; err == 0 && i < j->changes_count; i++) {
        const struct change *c = &j->changes[i];

        err = index_message_get(v->a->ix, v->m->row.id, c->uid, &old);
        if (err < 0)
            break;
        now = old;
        now.flags = c->flags;
        now.keywords = c->keywords;
        if (c->to != NULL) {
            now.in_new = false;
            snprintf(now.name, sizeof now.name, "%s", c->to + strlen("cur/"));
        }
        /* somebody else changed it since the client was told: it must learn of both */
        if (old.modseq > v->modseq && !view_is_own(v, old.modseq))
            seqset_add(&v->report, c->uid, c->uid);
        err = index_message_update(v->a->ix, &v->m->row, &old, &now, false);
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
    j->changes_count = j->stored_count = 0;
    arena_reset(j->paths);
    err = keywords_bits(v->m, flags->keywords, flags->keywords_count, j->op != STORE_REMOVE,
                        &j->keywords);
    if (err == 0)
        err = rename_files(j);
    sys_step("store:all-renamed");
    if (err == 0)
        err = write_rows(j);
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

static int
store(struct job *j, const struct flag_set *flags)
{
    struct view *v = j->v;
    int err = 0;

    if ((v->flags & VIEW_READONLY) != 0)
        return ERR_READONLY;
    j->flags = flags->flags;
    j->batch = view_batch_new();
    j->paths = arena_new();
    while (err == 0 && j->it.range < j->uids->count) {
        err = view_lock(v);
        if (err < 0)
            break;
        err = store_piece(j, flags);
        view_unlock(v);
        if (err == 0 && j->stored_count > 0)
            j->tell(j->ctx, j->stored, j->stored_count);
    }
    view_batch_free(&j->batch);
    arena_free(&j->paths);
    free(j->changes);
    free(j->stored);
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
                    .unchanged_since = unchanged_since,
                    .changed = changed,
                    .modified = modified,
                    .gone = gone};

    return store(&j, flags);
}

int
view_store_tell(struct view *v, const struct seqset *uids, enum store_op op,
                const struct flag_set *flags, view_stored_fn *tell, void *ctx,
                struct seqset *gone)
{
    struct job j = {.v = v,
                    .uids = uids,
                    .op = op,
                    .unchanged_since = UINT64_MAX,
                    .gone = gone,
                    .tell = tell,
                    .ctx = ctx};

    return store(&j, flags);
}
