/*
 * What a scan found -> the index; see scan.c for the rules.
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
#include "store/scan_private.h"

#define AHEAD            8    /* new messages whose names are fetched from memory early */
#define MANY             256  /* new messages that aren't each looked at */
#define BULK             1024 /* new messages that are worth flushing the index for */
#define TWIN_COMPARISONS (UINT64_C(1) << 24)
#define LINK_SECONDS     60 /* that another program may take between link() and unlink() */

int
scan_begin(struct scan *s)
{
    int err = 0;

    if (!s->open)
        err = s->fresh_count >= BULK ? index_begin_bulk(s->m->a->ix) : index_begin(s->m->a->ix);
    s->open = err == 0;
    return err;
}

/* Ends the transaction. */
static int
commit(struct scan *s, bool sync)
{
    int err = scan_begin(s);

    if (err == 0)
        err = mailbox_put(s->m);
    sys_step("scan:put");
    if (err == 0)
        err = index_commit(s->m->a->ix, sync);
    s->open = false;
    s->pending = 0;
    sys_step("scan:committed");
    return err;
}

int
scan_finish(struct scan *s)
{
    bool sync = s->need_sync;

    s->need_sync = false;
    if (sync && s->m->later != NULL && s->fresh_count < BULK) {
        s->m->later->sync = true;
        sync = false;
    }
    return commit(s, sync);
}

int
scan_changed(struct scan *s)
{
    s->changed = true;
    return ++s->pending < s->m->a->scan_piece
               ? 0
               : commit(s, false); /* synced together with the last one */
}

static const char *
name_of(struct scan *s, const struct scan_entry *e)
{
    return scan_table_name(&s->table, (uint32_t)(e - s->table.items));
}

bool
scan_look(struct scan *s, const struct scan_entry *e, struct stat *st)
{
    char path[MAILDIR_PATH_MAX];

    maildir_path(path, e->in_new, name_of(s, e));
    return fstatat(s->m->fd, path, st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
swap_names(struct scan_entry *a, struct scan_entry *b)
{
    struct scan_entry old = *a;

    a->name = b->name;
    a->len = b->len;
    a->info = b->info;
    a->in_new = b->in_new;
    b->name = old.name;
    b->len = old.len;
    b->info = old.info;
    b->in_new = old.in_new;
}

/*
 * Two files with one base name (a backup put back, a copy made by hand). The one that the index
 * has under just that name stays what it is: a UID must not come to mean the other. Where the
 * index knows both, that's the lower UID. The other gets a new name, and with it a new UID, so
 * that both can be read. Two names of one file are a message that another program is moving by
 * link() and unlink(): the name in new/ goes. Of two in cur/ one goes when the program had a
 * minute for it; else each look would read the directory, and an expunged message would be back
 * under the other name.
 */
static void
rename_twin(struct scan *s, struct scan_entry *e)
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX], name[MDNAME_MAX + 1];
    struct mdname parsed;

    maildir_path(from, e->in_new, name_of(s, e));
    if (mdname_parse(from + 4, &parsed) < 0 ||
        mdname_new(parsed.size, parsed.crlf_size, name) < 0)
        return;
    if (parsed.has_info &&
        mdname_build(name, strlen(name), parsed.flags, parsed.keywords, parsed.other, name) < 0)
        return;
    maildir_path(to, e->in_new, name);
    if (maildir_move(s->m->fd, from, s->m->fd, to) == 0)
        log_warn("%s: two files have the name %s: renamed one to %s", s->m->name, from + 4,
                 to + 4);
}

static void
remove_link(struct scan *s, const struct scan_entry *e)
{
    char path[MAILDIR_PATH_MAX];

    maildir_path(path, e->in_new, name_of(s, e));
    (void)unlinkat(s->m->fd, path, 0);
}

struct owners {
    struct scan *s;
    uint32_t *twins; /* entries */
    uint32_t count;
    uint64_t left; /* comparisons */
};

/* A message of the index one of whose twins has exactly its name: that one comes first. */
static int
find_owner(void *ctx, const struct index_message *m)
{
    struct owners *o = ctx;
    struct scan_table *t = &o->s->table;
    uint32_t at = scan_table_find(t, m->name, maildir_base_len(m->name)), i;
    struct scan_entry *e;

    if (at == SCAN_NONE || t->items[at].owned ||
        (t->items[at].in_new == m->in_new && scan_table_is(t, at, m->name))) {
        if (at != SCAN_NONE)
            t->items[at].owned = true;
        return 0;
    }
    for (i = 0; i < o->count && o->left > 0; i++, o->left--) {
        e = &t->items[o->twins[i]];
        if (e->in_new != m->in_new || strcmp(scan_table_name(t, o->twins[i]), m->name) != 0)
            continue;
        swap_names(&t->items[at], e);
        t->items[at].owned = true;
        break;
    }
    return 0;
}

static int
find_owners(struct scan *s)
{
    struct owners o = {.s = s, .left = TWIN_COMPARISONS};
    uint32_t i;
    int err;

    o.twins = mem_reallocarray(NULL, s->table.twins, sizeof *o.twins);
    for (i = 0; i < s->table.count; i++) {
        if (s->table.items[i].twin && o.count < s->table.twins)
            o.twins[o.count++] = i;
    }
    err = index_message_each(s->m->a->ix, s->m->row.id, 1, UINT32_MAX, find_owner, &o);
    free(o.twins);
    return err;
}

int
scan_resolve_twins(struct scan *s)
{
    struct scan_entry *e, *first;
    struct stat st, first_st;
    uint32_t i, at;
    int err = find_owners(s);

    for (i = 0; err == 0 && i < s->table.count; i++) {
        e = &s->table.items[i];
        if (!e->twin)
            continue;
        s->again = true; /* the directory isn't as we read it */
        at = scan_table_find(&s->table, name_of(s, e), e->base_len);
        if (at == SCAN_NONE || !scan_look(s, e, &st))
            continue;
        first = &s->table.items[at];
        if (!scan_look(s, first, &first_st)) {
            swap_names(first, e);
        } else if (st.st_ino != first_st.st_ino || st.st_dev != first_st.st_dev) {
            rename_twin(s, e);
        } else if (e->in_new || first->in_new) {
            if (first->in_new)
                swap_names(first, e);
            remove_link(s, e);
        } else if (st.st_ctim.tv_sec < sys_now() - LINK_SECONDS) {
            remove_link(s, e);
        }
    }
    return err;
}

/* Moves a file from new/ to cur/: `name` becomes what it's called there. ERR_NOENT: it went
   away, or can't go there yet. Any other error: it stays (a Maildir that can't be written to).
 */
static int
move_to_cur(struct scan *s, char name[MDNAME_MAX + 1])
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX], target[MDNAME_MAX + 1];
    size_t base_len = maildir_base_len(name);

    /* a name without room for ":2," moves as it is */
    if (name[base_len] != '\0' || mdname_build(name, base_len, 0, 0, "", target) < 0)
        snprintf(target, sizeof target, "%s", name);
    maildir_path(from, true, name);
    maildir_path(to, false, target);
    if (maildir_move(s->m->fd, from, s->m->fd, to) != 0) {
        if (errno == ENOENT || errno == EEXIST) { /* EEXIST: a twin, for the full scan */
            s->again = true;
            return ERR_NOENT;
        }
        log_warn("%s: cannot move %s to cur/: %s", s->m->name, from, strerror(errno));
        return ERR_IO;
    }
    s->moved = true;
    memcpy(name, target, sizeof target);
    sys_step("scan:moved");
    return 0;
}

/* A known message: its file was renamed. */
static int
apply_known(struct scan *s, const struct scan_known *k)
{
    const struct scan_entry *e = &s->table.items[k->entry];
    struct index *ix = s->m->a->ix;
    struct index_message old, now;
    struct mdname parsed;
    bool quiet;
    int err = scan_begin(s);

    if (err == 0)
        err = index_message_get(ix, s->m->row.id, k->uid, &old);
    if (err < 0)
        return err;
    now = old;
    snprintf(now.name, sizeof now.name, "%s", name_of(s, e));
    now.in_new = e->in_new;
    if (now.in_new && (s->flags & SCAN_MOVE) != 0) {
        err = move_to_cur(s, now.name);
        if (err == ERR_NOENT)
            return 0;
        now.in_new = err < 0;
    }
    s->left_in_new = s->left_in_new || now.in_new;
    if (mdname_parse(now.name, &parsed) < 0)
        return 0;
    if (parsed.keywords != 0)
        keywords_name_letters(s->m, parsed.keywords);
    now.flags = (uint8_t)parsed.flags;
    now.keywords = (old.keywords & ~KEYWORDS_LETTER_MASK) | parsed.keywords;
    quiet = now.flags == old.flags && now.keywords == old.keywords;
    if (quiet && now.in_new == old.in_new && strcmp(now.name, old.name) == 0)
        return 0;
    err = index_message_update(ix, &s->m->row, &old, &now, quiet);
    return err < 0 ? err : scan_changed(s);
}

static int
apply_gone(struct scan *s, uint32_t uid)
{
    struct index_message m;
    int err = scan_begin(s);

    if (err == 0)
        err = index_message_get(s->m->a->ix, s->m->row.id, uid, &m);
    if (err == 0)
        err = index_message_expunge(s->m->a->ix, &s->m->row, &m);
    s->need_sync = true;
    return err < 0 ? err : scan_changed(s);
}

/*
 * Sizes and date of a new message. A few files are looked at each: their dates are of now, and
 * known before another program has a chance to change them. In a mailbox of thousands that was
 * never seen this would take half the time of its first SELECT; so there the name is believed,
 * if it has both sizes, and the date is read when somebody asks for it.
 */
static bool
find_sizes(struct scan *s, const struct scan_entry *e, const struct mdname *parsed,
           struct index_message *m)
{
    struct stat st;

    m->size = parsed->size;
    m->crlf_size = parsed->crlf_size;
    m->internal_date = DATE_UNKNOWN;
    if (s->fresh_count >= MANY && m->size != MDNAME_SIZE_UNKNOWN &&
        m->crlf_size != MDNAME_SIZE_UNKNOWN)
        return true;
    if (!scan_look(s, e, &st)) {
        s->again = true; /* it went away, or was renamed */
        return false;
    }
    m->size = (uint64_t)st.st_size;
    if (parsed->size != m->size)
        m->crlf_size = MDNAME_SIZE_UNKNOWN;
    m->internal_date = (int64_t)st.st_mtim.tv_sec;
    return S_ISREG(st.st_mode);
}

static int
apply_fresh(struct scan *s, const struct scan_fresh *f, struct index_message *m)
{
    const struct scan_entry *e = &s->table.items[f->entry];
    const char *name;
    struct mdname parsed;
    int err;

    m->uid = 0;
    m->uidl[0] = '\0';
    name = name_of(s, e);
    memcpy(m->name, name, strlen(name) + 1);
    if (mdname_parse(m->name, &parsed) < 0 || !find_sizes(s, e, &parsed, m))
        return 0;
    m->in_new = e->in_new;
    m->flags = (uint8_t)parsed.flags;
    m->keywords = parsed.keywords;
    if (m->in_new && (s->flags & SCAN_MOVE) != 0) {
        err = move_to_cur(s, m->name);
        if (err == ERR_NOENT)
            return 0;
        m->in_new = err < 0;
    }
    s->left_in_new = s->left_in_new || m->in_new;
    err = scan_begin(s);
    if (err < 0)
        return err;
    if (m->keywords != 0)
        keywords_name_letters(s->m, parsed.keywords);
    err = scan_import_message(s, f, m);
    if (err < 0)
        return err == ERR_NOENT ? 0 : err;
    err = index_message_add(s->m->a->ix, &s->m->row, m);
    s->need_sync = true;
    return err < 0 ? err : scan_changed(s);
}

int
scan_apply(struct scan *s)
{
    struct index_message m;
    size_t i;
    int err = 0;

    scan_table_seal(&s->table);
    memset(&m, 0, sizeof m);
    m.save_date = sys_now();
    scan_collect_fresh(s);
    for (i = 0; err == 0 && i < s->known_count; i++)
        err = apply_known(s, &s->known[i]);
    for (i = 0; err == 0 && i < s->gone_count; i++)
        err = apply_gone(s, s->gone[i]);
    for (i = 0; err == 0 && i < s->fresh_count; i++) {
        if (i + 2 * AHEAD < s->fresh_count)
            scan_table_soon(&s->table, s->fresh[i + 2 * AHEAD].entry,
                            s->fresh[i + AHEAD].entry);
        err = apply_fresh(s, &s->fresh[i], &m);
    }
    return err == 0 && s->table.failed ? ERR_IO : err;
}
