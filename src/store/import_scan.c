/*
 * Another server's lists -> index, as a part of a scan.
 *
 * A folder that was made from a list has IMPORT_PENDING for its mtime of cur/, until a
 * session's scan has ended: until then each scan reads the lists, so that one that was cut
 * short goes on where it stopped, and `mansioctl import` can be repeated.
 *
 * Files that the list knows come first, in order of its UIDs, since an index only takes growing
 * ones. One whose UID has been passed gets a new one, as a file does that the list doesn't
 * know, above all of the list's, in order of delivery. In `mansioctl import` (SCAN_LISTED)
 * neither gets one: the other server may give it one yet.
 *
 * Messages in cur/ were seen by a client of the other server, so they aren't \Recent here.
 *
 * Before a session's first scan the other server is the one that clients speak with. So until
 * then a message that's in the index already gets the keywords anew that Courier has for it;
 * Dovecot's are letters of the file's name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/import_private.h"

/* The scan's import, if its UIDs are this mailbox's. */
static bool
has_uids(const struct scan *s)
{
    return import_uidvalidity(s->m->import) == s->m->row.uidvalidity;
}

int
scan_import_begin(struct scan *s)
{
    struct mailbox *m = s->m;
    int err = 0;

    s->pending_import = m->row.cur_mtime == IMPORT_PENDING;
    if (!s->pending_import && (s->flags & SCAN_LISTED) == 0)
        return 0;
    if (m->import == NULL)
        err = import_read(m->fd, m->name, &m->import);
    return err == ERR_NOENT ? 0 : err;
}

static int
compare_listed(const struct scan_fresh *x, const struct scan_fresh *y)
{
    if (x->uid != y->uid) /* 0, none, becomes the greatest */
        return x->uid - 1 < y->uid - 1 ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

void
scan_import_order(struct scan *s)
{
    struct import_message known;
    const struct scan_entry *e;
    size_t i, listed = 0;

    if (s->m->import == NULL)
        return;
    for (i = 0; i < s->fresh_count; i++) {
        e = &s->table.items[s->fresh[i].entry];
        s->fresh[i].order = (uint32_t)i;
        s->fresh[i].uid = 0;
        if (!has_uids(s) ||
            !import_find(s->m->import, scan_table_name(&s->table, s->fresh[i].entry),
                         e->base_len, &known) ||
            known.uid < s->m->row.uidnext)
            continue;
        s->fresh[i].uid = known.uid;
        listed++;
    }
    scan_sort(s, compare_listed);
    if ((s->flags & SCAN_LISTED) != 0 && s->fresh_count > listed) {
        s->fresh_count = listed;
        s->again = true;
    }
}

/* Slots of the mailbox for the lists' keywords, as far as there's room. Not by taking those of
   no message back: what is given here isn't in a message yet. In a transaction. */
static int
map_keywords(struct mailbox *m)
{
    struct import *imp = m->import;
    const char *name;
    unsigned i, lost = 0;
    int err = 0;

    for (i = 0; err == 0 && i < imp->keywords_count; i++) {
        name = imp->keywords[i];
        if (strcasecmp(name, "$Forwarded") == 0)
            imp->keyword_flags[i] = MSG_PASSED; /* Maildir has a letter for it */
        else if (keyword_slot(&m->row, name) < 0 && !keywords_room(&m->row))
            lost++;
        else
            err = keywords_bits(m, &name, 1, true, &imp->keyword_bits[i]);
    }
    if (lost > 0)
        log_warn("folder %s: %u keywords of another server are too many", m->name, lost);
    imp->keywords_mapped = err == 0;
    return err;
}

static void
to_bits(const struct import *imp, uint64_t keywords, unsigned *flags, uint64_t *bits)
{
    unsigned i;

    *flags = 0;
    *bits = 0;
    for (i = 0; i < imp->keywords_count; i++) {
        if ((keywords & UINT64_C(1) << i) == 0)
            continue;
        *flags |= imp->keyword_flags[i];
        *bits |= imp->keyword_bits[i];
    }
}

/* Gives the file the name that says its flags and letters; a message in new/ that has some was
   seen, and goes to cur/. ERR_NOENT: it went away. Where it can't be renamed, only the index
   knows them. */
static int
rename_file(struct scan *s, struct index_message *m, const struct mdname *parsed)
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX], name[MDNAME_MAX + 1];

    if (mdname_build(parsed->base, parsed->base_len, m->flags,
                     (uint32_t)(m->keywords & KEYWORDS_LETTER_MASK), parsed->other, name) < 0)
        return 0;
    maildir_path(from, m->in_new, m->name);
    maildir_path(to, false, name);
    if (maildir_move(s->m->fd, from, s->m->fd, to) != 0) {
        if (errno == ENOENT || errno == EEXIST) {
            s->again = true;
            return ERR_NOENT;
        }
        log_warn("folder %s: %s can't be given its keywords: %s", s->m->name, from,
                 strerror(errno));
        return 0;
    }
    s->moved = true;
    sys_step("import:renamed");
    m->in_new = false;
    memcpy(m->name, name, sizeof m->name);
    return 0;
}

/* The list's keywords into the message, besides its own if `all`. */
static int
set_keywords(struct scan *s, uint64_t keywords, bool all, struct index_message *m)
{
    struct import *imp = s->m->import;
    unsigned flags, flags_before = m->flags;
    uint64_t bits, before = m->keywords;
    struct mdname parsed;
    char name[MDNAME_MAX + 1];
    int err = imp->keywords_mapped ? 0 : map_keywords(s->m);

    if (err < 0)
        return err;
    to_bits(imp, keywords, &flags, &bits);
    m->keywords = all ? m->keywords | bits : bits;
    m->flags = (uint8_t)(m->flags | flags);
    if (((before ^ m->keywords) & KEYWORDS_LETTER_MASK) == 0 && m->flags == flags_before)
        return 0;                       /* the name says it, or can't */
    memcpy(name, m->name, sizeof name); /* `parsed` points into it */
    return mdname_parse(name, &parsed) < 0 ? 0 : rename_file(s, m, &parsed);
}

/* The UIDL, unless our format gives the same. */
static void
set_uidl(struct scan *s, const char *uidl, struct index_message *m)
{
    char ours[CONF_UIDL_SIZE];

    conf_uidl_format(s->m->a->conf->pop3_uidl_format, m->uid, s->m->row.uidvalidity, ours);
    if (strcmp(ours, uidl) == 0)
        uidl = "";
    snprintf(m->uidl, sizeof m->uidl, "%s", uidl);
}

int
scan_import_message(struct scan *s, const struct scan_fresh *f, struct index_message *m)
{
    struct index_mailbox *row = &s->m->row;
    struct import_message known;
    int err = 0;

    if (s->m->import == NULL)
        return 0;
    if (f->uid == 0 && has_uids(s) && row->uidnext < import_uidnext(s->m->import))
        row->uidnext = import_uidnext(s->m->import);
    m->uid = f->uid > row->uidnext ? f->uid : row->uidnext;
    if (!import_find(s->m->import, m->name, maildir_base_len(m->name), &known))
        return 0;
    if (known.keywords != 0)
        err = set_keywords(s, known.keywords, true, m);
    if (known.crlf_size != MDNAME_SIZE_UNKNOWN && m->crlf_size == MDNAME_SIZE_UNKNOWN &&
        m->size != MDNAME_SIZE_UNKNOWN && known.crlf_size >= m->size &&
        known.crlf_size - m->size <= m->size)
        m->crlf_size = known.crlf_size;
    set_uidl(s, known.uidl, m);
    /* as long as no \Recent one came before it */
    if (err == 0 && f->uid != 0 && !m->in_new && row->recent == 0)
        row->first_recent = m->uid + 1;
    return err;
}

/* Messages that were imported before, and may have other keywords or a UIDL by now. */
struct again {
    struct scan *s;
    uint32_t *uids;
    size_t count, cap;
};

static int
compare_known(void *ctx, const struct index_message *m)
{
    struct again *g = ctx;
    const struct import *imp = g->s->m->import;
    struct import_message known = {.uidl = ""};
    unsigned flags;
    uint64_t bits;

    (void)import_find(imp, m->name, maildir_base_len(m->name), &known);
    to_bits(imp, known.keywords, &flags, &bits);
    if ((!imp->keywords_known || (m->keywords == bits && (m->flags & flags) == flags)) &&
        (known.uidl[0] == '\0' || strcmp(known.uidl, m->uidl) == 0))
        return 0;
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 64 : g->cap * 2;
        g->uids = mem_reallocarray(g->uids, g->cap, sizeof *g->uids);
    }
    g->uids[g->count++] = m->uid;
    return 0;
}

static int
update_known(struct scan *s, uint32_t uid)
{
    struct mailbox *m = s->m;
    struct import_message known = {.uidl = ""};
    struct index_message old, now;
    int err = index_message_get(m->a->ix, m->row.id, uid, &old);

    if (err < 0)
        return err == ERR_NOENT ? 0 : err;
    now = old;
    (void)import_find(m->import, old.name, maildir_base_len(old.name), &known);
    if (known.uidl[0] != '\0')
        set_uidl(s, known.uidl, &now);
    if (m->import->keywords_known)
        err = set_keywords(s, known.keywords, false, &now);
    if (err < 0)
        return err == ERR_NOENT ? 0 : err;
    if (now.keywords == old.keywords && now.flags == old.flags &&
        strcmp(now.uidl, old.uidl) == 0)
        return 0;
    err = index_message_update(m->a->ix, &m->row, &old, &now,
                               now.keywords == old.keywords && now.flags == old.flags);
    return err == 0 ? scan_changed(s) : err;
}

int
scan_import_known(struct scan *s)
{
    struct again g = {.s = s};
    size_t i;
    int err;

    if (!s->pending_import || s->m->row.scanned_at != 0 || s->m->import == NULL ||
        s->m->row.messages == 0)
        return 0;
    err = scan_begin(s);
    if (err == 0)
        err = map_keywords(s->m);
    if (err == 0)
        err = index_message_each(s->m->a->ix, s->m->row.id, 1, UINT32_MAX, compare_known, &g);
    for (i = 0; err == 0 && i < g.count; i++) {
        err = scan_begin(s);
        if (err == 0)
            err = update_known(s, g.uids[i]);
    }
    free(g.uids);
    return err;
}

void
scan_import_end(struct scan *s)
{
    struct index_mailbox *row = &s->m->row;

    if (s->m->import != NULL && has_uids(s) && row->uidnext < import_uidnext(s->m->import))
        row->uidnext = import_uidnext(s->m->import);
    if ((s->flags & SCAN_LISTED) != 0)
        return; /* the caller looks into it, and the import isn't over */
    if (s->pending_import && s->again)
        return;
    s->pending_import = false;
    import_free(&s->m->import);
}
