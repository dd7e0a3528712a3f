/*
 * COPY and MOVE (RFC 3501 6.4.7, RFC 6851, RFC 4315 COPYUID).
 *
 * COPY makes a hard link, MOVE renames; where the file system has no links the bytes are
 * copied through tmp/. Each gets a name of its own, so that two copies of one message can lie
 * in one folder. Files first, then one fsync a directory, then one synced transaction for both
 * mailboxes: all or none. If that fails the files are put back.
 *
 * A crash in between: copies of several messages are taken back by the next opener
 * (pending_undo()), so that a client that copies again has them once; one alone may stay as a
 * new message. A moved message is in the target only: whole, and never in neither place (RFC
 * 6851 3.3: each message for itself). RENAME INBOX is a MOVE of everything, which the next
 * opener finishes.
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
#include "store/folders_private.h"
#include "store/keywords.h"
#include "store/pending.h"
#include "store/quota.h"
#include "store/scan.h"
#include "store/view_private.h"

/* A file that was made, to be taken back. */
struct made {
    char *from, *to; /* paths; from: of a move */
};

struct copy {
    struct view *v;
    struct mailbox *to; /* v->m itself when both are one folder */
    bool move;
    struct view_batch *batch;
    struct seqset *src, *dst;
    struct arena *names;
    struct made *made;
    size_t made_count, made_cap;
    uint64_t mapped, bits[KEYWORDS_MAX]; /* keyword slots of the source, translated so far */
    unsigned finds;
    uint64_t octets, messages; /* copied, for the quota */
    bool some_gone, from_new;
    bool rename; /* RENAME INBOX: the target is made first */
    bool made_target;
};

static uint64_t
map_keywords(struct copy *c, uint64_t bits)
{
    uint64_t out = 0;
    int i;

    if (c->to == c->v->m)
        return bits;
    for (i = 0; i < KEYWORDS_MAX && bits >> i != 0; i++) {
        uint64_t bit = UINT64_C(1) << i;

        if ((bits & bit) == 0)
            continue;
        if ((c->mapped & bit) == 0) {
            c->bits[i] = keywords_map(&c->v->m->row, c->to, bit);
            c->mapped |= bit;
        }
        out |= c->bits[i];
    }
    return out;
}

static void
remember(struct copy *c, const char *from, const char *to)
{
    if (c->made_count == c->made_cap) {
        c->made_cap = c->made_cap > 0 ? c->made_cap * 2 : 64;
        c->made = mem_reallocarray(c->made, c->made_cap, sizeof *c->made);
    }
    c->made[c->made_count].from = c->move ? arena_strdup(c->names, from) : NULL;
    c->made[c->made_count++].to = arena_strdup(c->names, to);
}

/* Without hard links: EXDEV, EPERM, EMLINK (a file may have only so many). */
static int
copy_file(struct copy *c, const struct index_message *m, const char *to)
{
    char tmp[MDNAME_MAX + 1], path[MAILDIR_PATH_MAX];
    struct stat st;
    int file, err = maildir_open_message(c->v->m->fd, m->in_new, m->name, &file, &st);

    if (err < 0)
        return err;
    err = maildir_tmp_copy(file, c->to->fd, tmp);
    close(file);
    if (err < 0)
        return err;
    snprintf(path, sizeof path, "tmp/%s", tmp);
    if (renameat(c->to->fd, path, c->to->fd, to) == 0)
        return 0;
    err = err_from_errno(errno);
    maildir_tmp_remove(c->to->fd, tmp);
    return err;
}

/* Puts the file into the target's cur/ as `name`. ERR_NOENT: it isn't where it was. */
static int
transfer(struct copy *c, const struct index_message *m, const char *name)
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX];
    int fd = c->v->m->fd, err = 0;

    maildir_path(from, m->in_new, m->name);
    maildir_path(to, false, name);
    if ((c->move ? renameat(fd, from, c->to->fd, to) : linkat(fd, from, c->to->fd, to, 0)) !=
        0) {
        if (errno == ENOENT)
            return ERR_NOENT;
        if (c->move || (errno != EXDEV && errno != EPERM && errno != EMLINK &&
                        errno != EOPNOTSUPP && errno != ENOSYS)) {
            log_error("cannot copy %s: %s", from, strerror(errno));
            return err_from_errno(errno);
        }
        err = copy_file(c, m, to);
    }
    if (err == 0) {
        remember(c, from, to);
        c->from_new = c->from_new || m->in_new;
        sys_step(c->move ? "move:renamed" : "copy:linked");
    }
    return err;
}

/* The file of *m, under its new name, with its flags. *keywords: in the target's slots. */
static int
place(struct copy *c, struct index_message *m, char name[MDNAME_MAX + 1], uint64_t *keywords)
{
    struct mdname parsed;
    int tries, err = 0;

    for (tries = 0; tries < 3; tries++) {
        err = mdname_parse(m->name, &parsed);
        if (err < 0)
            return err;
        *keywords = map_keywords(c, m->keywords);
        err = mdname_new(m->size, m->crlf_size, name);
        if (err == 0)
            err =
                mdname_build(name, strlen(name), m->flags,
                             (uint32_t)(*keywords & KEYWORDS_LETTER_MASK), parsed.other, name);
        if (err == ERR_LIMIT)
            err = mdname_new(m->size, m->crlf_size, name);
        if (err == 0)
            err = transfer(c, m, name);
        if (err != ERR_NOENT)
            return err;
        err = view_find_file(c->v, m, &c->finds);
        if (err < 0)
            return err;
        if (mdname_parse(m->name, &parsed) == 0) {
            m->flags = (uint8_t)parsed.flags;
            m->keywords = (m->keywords & ~KEYWORDS_LETTER_MASK) | parsed.keywords;
        }
    }
    return ERR_TEMP;
}

static int
copy_one(struct copy *c, const struct index_message *m)
{
    struct index_message from = *m, row;
    uint64_t keywords;
    int err;

    memset(&row, 0, sizeof row);
    err = place(c, &from, row.name, &keywords);
    if (err == ERR_NOENT) {
        c->some_gone = true;
        return 0;
    }
    if (err < 0)
        return err;
    row.flags = from.flags;
    row.keywords = keywords;
    row.internal_date = m->internal_date;
    row.save_date = sys_now();
    row.size = m->size;
    row.crlf_size = m->crlf_size;
    err = index_message_add(c->v->a->ix, &c->to->row, &row);
    if (err == 0 && c->move)
        err = index_message_expunge(c->v->a->ix, &c->v->m->row, m);
    if (err < 0)
        return err;
    c->octets += row.size;
    c->messages++;
    seqset_add(c->src, m->uid, m->uid);
    seqset_add(c->dst, row.uid, row.uid);
    return 0;
}

static int
copy_all(struct copy *c, const struct seqset *uids)
{
    struct seqset_iter it = {0, 0};
    size_t i;
    int err = 0;

    while (err == 0 && it.range < uids->count) {
        err = view_read_locked(c->v, uids, &it, 0, c->batch);
        for (i = 0; err == 0 && i < c->batch->count; i++) {
            if (c->batch->items[i].gone)
                c->some_gone = true;
            else
                err = copy_one(c, &c->batch->items[i].m);
        }
    }
    return err;
}

static int
finish(struct copy *c)
{
    struct view *v = c->v;
    int err = 0;

    /* the target first: a moved message may be seen twice after a power loss, never not at all
     */
    if (c->made_count > 0 && sys_fsync_dir(c->to->fd, "cur") != 0)
        err = err_from_errno(errno);
    if (err == 0 && c->move && c->made_count > 0 && c->to != v->m &&
        sys_fsync_dir(v->m->fd, "cur") != 0)
        err = err_from_errno(errno);
    if (err == 0 && c->move && c->from_new && sys_fsync_dir(v->m->fd, "new") != 0)
        err = err_from_errno(errno);
    sys_step("copy:dir-synced");
    if (err < 0)
        return err;
    scan_note_own(c->to);
    err = mailbox_put(c->to);
    if (err == 0 && c->to != v->m) {
        if (c->move)
            scan_note_own(v->m);
        err = mailbox_put(v->m);
    }
    if (err == 0)
        err = index_commit(v->a->ix, true);
    sys_step("copy:committed");
    return err;
}

static void
take_back(struct copy *c)
{
    size_t i;

    for (i = c->made_count; i > 0; i--) {
        const struct made *f = &c->made[i - 1];

        if (c->move)
            (void)renameat(c->to->fd, f->to, c->v->m->fd, f->from);
        else
            (void)unlinkat(c->to->fd, f->to, 0);
    }
}

static int
open_target(struct copy *c, const char *to, struct mailbox **opened)
{
    int err = mailbox_open(c->v->a, to, opened);

    if (err < 0)
        return err;
    if ((*opened)->row.id == c->v->m->row.id) {
        mailbox_close(opened);
        c->to = c->v->m;
        return 0;
    }
    c->to = *opened;
    err = scan_sync(*opened, 0);
    return err == ERR_GONE ? ERR_NOENT : err;
}

/* RENAME INBOX: notes what's to be finished, and makes the folder. */
static int
make_target(struct copy *c, const char *to)
{
    struct account *a = c->v->a;
    int err;

    if (folder_exists(a, to))
        return ERR_EXISTS;
    err = pending_inbox(a, to, c->v->m->row.uidnext);
    if (err < 0)
        return err;
    err = folders_create_locked(a, to, 0);
    c->made_target = err == 0;
    if (err < 0)
        pending_end(a, PENDING_FILE);
    return err;
}

/* The renaming is done, or undone. What couldn't be put back, or was delivered there meanwhile,
   must not go with the folder. */
static void
end_target(struct copy *c, const char *to, int err)
{
    if (err < 0 && folders_delete_empty(c->v->a, to) == ERR_EXISTS)
        log_warn("INBOX could not be renamed: the folder %s stays, messages are in it", to);
    pending_end(c->v->a, PENDING_FILE);
}

/* COPY needs room for all of it, before the first file is made. MOVE changes nothing, and is
   how a user who is over puts mail into Trash. */
static int
check_room(struct copy *c, const struct seqset *uids)
{
    struct seqset_iter it = {0, 0};
    uint64_t octets = 0, messages = 0;
    size_t i;
    int err = 0;

    if (c->move || !quota_applies(c->v->a))
        return 0;
    while (err == 0 && it.range < uids->count) {
        err = view_read_locked(c->v, uids, &it, 0, c->batch);
        for (i = 0; err == 0 && i < c->batch->count; i++) {
            if (c->batch->items[i].gone)
                continue;
            octets += c->batch->items[i].m.size;
            messages++;
        }
    }
    if (err == 0 && messages > 0)
        err = quota_check(c->v->a, octets, messages);
    return err;
}

static bool
several(const struct seqset *uids)
{
    return uids->count > 1 ||
           (uids->count == 1 && uids->ranges[0].first != uids->ranges[0].last);
}

static int
copy_noted(struct copy *c, const struct seqset *uids)
{
    bool note = !c->move && several(uids);
    int err = note ? pending_undo(c->to) : 0;

    if (err == 0 && !c->move)
        err = index_room(c->v->a->ix);
    if (err == 0)
        err = index_begin(c->v->a->ix);
    if (err == 0)
        err = copy_all(c, uids);
    if (err == 0)
        err = finish(c);
    if (err < 0) {
        index_abort(c->v->a->ix);
        take_back(c);
    }
    if (note)
        pending_end(c->v->a, PENDING_UNDO);
    return err;
}

static int
run(struct copy *c, const struct seqset *uids, const char *to, struct mailbox **opened)
{
    int err = view_scan(c->v);

    if (err == 0)
        err = view_load_uids(c->v);
    if (err == 0 && c->rename)
        err = make_target(c, to);
    if (err == 0)
        err = open_target(c, to, opened);
    if (err == 0)
        err = check_room(c, uids);
    if (err == 0)
        err = copy_noted(c, uids);
    if (err == 0 && !c->move)
        quota_add(c->v->a, (int64_t)c->octets, (int64_t)c->messages);
    if (c->made_target)
        end_target(c, to, err);
    return err;
}

/* The whole of it, with the lock taken and given up. */
static int
copy_locked(struct copy *c, const struct seqset *uids, const char *to, uint32_t *uidvalidity)
{
    struct mailbox *opened = NULL;
    int err = view_lock(c->v);

    if (err < 0)
        return err;
    c->batch = view_batch_new();
    c->names = arena_new();
    err = run(c, uids, to, &opened);
    view_unlock(c->v);
    if (err == 0) {
        *uidvalidity = c->to->row.uidvalidity;
    } else {
        seqset_clear(c->src);
        seqset_clear(c->dst);
    }
    free(c->made);
    arena_free(&c->names);
    view_batch_free(&c->batch);
    mailbox_close(&opened);
    return err;
}

int
view_copy(struct view *v, const struct seqset *uids, const char *to, bool move,
          uint32_t *uidvalidity, struct seqset *src, struct seqset *dst, bool *some_gone)
{
    struct copy c = {.v = v, .move = move, .src = src, .dst = dst};
    int err;

    *uidvalidity = 0;
    *some_gone = false;
    seqset_clear(src);
    seqset_clear(dst);
    if (move && (v->flags & VIEW_READONLY) != 0)
        return ERR_READONLY;
    if (!move) /* if a count is due, it's made here, without the lock */
        (void)quota_check(v->a, 0, 0);
    err = copy_locked(&c, uids, to, uidvalidity);
    *some_gone = err == 0 && c.some_gone;
    return err;
}

int
view_rename(struct view *v, const char *to)
{
    struct seq_range every = {1, UINT32_MAX};
    struct seqset all = {.ranges = &every, .count = 1, .cap = 1}, src, dst;
    struct copy c = {.v = v, .move = true, .rename = true, .src = &src, .dst = &dst};
    uint32_t uidvalidity;
    int err;

    seqset_init(&src);
    seqset_init(&dst);
    err = copy_locked(&c, &all, to, &uidvalidity);
    seqset_free(&src);
    seqset_free(&dst);
    return err;
}
