/*
 * `mansioctl mailbox check` and `rebuild`: is the index what the Maildir says?
 *
 * The check changes nothing and repairs nothing; what another program changed since the last
 * scan isn't an inconsistency, so a folder whose directories have other times than recorded is
 * reported as not yet scanned, and its differences aren't.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/check.h"
#include "store/folders_private.h"
#include "store/message_private.h"
#include "store/scan.h"
#include "store/scan_table.h"

struct checking {
    struct account *a;
    const char *folder;
    check_report *report;
    void *ctx;
    int faults;
    struct mailbox *m;
    struct scan_table table;
};

static void fault(struct checking *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
fault(struct checking *c, const char *fmt, ...)
{
    struct buf b = BUF_INIT(4096);
    va_list ap;

    va_start(ap, fmt);
    buf_vaddf(&b, fmt, ap);
    va_end(ap);
    c->faults++;
    if (c->report != NULL)
        c->report(c->ctx, c->folder, buf_str(&b));
    buf_free(&b);
}

static void
index_fault(void *ctx, const char *text)
{
    fault(ctx, "index: %s", text);
}

static int
compare_message(void *ctx, const struct index_message *m)
{
    struct checking *c = ctx;
    uint32_t i = scan_table_find(&c->table, m->name, maildir_base_len(m->name));
    struct scan_entry *e;
    struct mdname parsed;

    if (i == SCAN_NONE) {
        fault(c, "UID %u: its file %s isn't there", m->uid, m->name);
        return 0;
    }
    e = &c->table.items[i];
    if (e->matched)
        fault(c, "UID %u: another UID has the same file %s", m->uid, m->name);
    e->matched = true;
    if (strcmp(scan_table_name(&c->table, i), m->name) != 0)
        fault(c, "UID %u: its file is %s, and %s in the index", m->uid,
              scan_table_name(&c->table, i), m->name);
    else if (mdname_parse(m->name, &parsed) == 0 && parsed.flags != m->flags)
        fault(c, "UID %u: its flags aren't those of its file's name %s", m->uid, m->name);
    if (e->in_new != m->in_new)
        fault(c, "UID %u: its file %s lies in %s/", m->uid, m->name, e->in_new ? "new" : "cur");
    return 0;
}

static int
compare_files(struct checking *c)
{
    struct index_mailbox *row = &c->m->row;
    uint32_t i;
    int err = scan_table_read(&c->table, c->m->fd, true);

    if (err == 0)
        err = scan_table_read(&c->table, c->m->fd, false);
    if (err == 0)
        err = index_message_each(c->a->ix, row->id, 1, UINT32_MAX, compare_message, c);
    for (i = 0; err == 0 && i < c->table.count; i++) {
        if (c->table.items[i].twin)
            fault(c, "two files have the name of %s", scan_table_name(&c->table, i));
        else if (!c->table.items[i].matched && !c->table.items[i].in_new) /* new mail is none */
            fault(c, "the file %s has no UID", scan_table_name(&c->table, i));
    }
    return err;
}

static bool
is_scanned(const struct mailbox *m)
{
    struct maildir_times times;

    return maildir_look(m->fd, ".", &times) == 0 && m->row.cur_mtime == times.cur_mtime;
}

/* One folder. Locked. A folder that no session opened yet has no row and so no fault. */
static int
check_one(struct checking *c)
{
    struct index_mailbox row;
    int err = index_mailbox_get(c->a->ix, c->folder, &row);

    if (err == ERR_NOENT)
        return mailbox_dir_exists(c->a, c->folder) ? 0 : ERR_NOENT;
    if (err < 0)
        return err;
    if (!mailbox_dir_exists(c->a, c->folder)) {
        fault(c, "the index knows this folder, but it has no directory");
        return 0;
    }
    err = mailbox_open(c->a, c->folder, &c->m);
    if (err == 0)
        err = index_check(c->a->ix, c->folder, index_fault, c);
    if (err > 0)
        err = 0;
    scan_table_init(&c->table);
    if (err == 0 && is_scanned(c->m))
        err = compare_files(c);
    scan_table_free(&c->table);
    mailbox_close(&c->m);
    return err;
}

static int
collect_name(void *ctx, const char *name, const struct index_mailbox *row)
{
    (void)row;
    name_list_add(ctx, name);
    return 0;
}

static int
compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of directories and rows, each once. */
static int
all_names(struct account *a, struct name_list *names)
{
    size_t i, n = 0;
    int err = folders_read(a, names);

    name_list_add(names, "INBOX");
    if (err == 0)
        err = account_lock(a);
    if (err < 0)
        return err;
    err = index_mailbox_each(a->ix, collect_name, names);
    account_unlock(a);
    qsort(names->names, names->count, sizeof *names->names, compare_strings);
    for (i = 0; i < names->count; i++) {
        if (n > 0 && strcmp(names->names[n - 1], names->names[i]) == 0)
            free(names->names[i]);
        else
            names->names[n++] = names->names[i];
    }
    names->count = n;
    return err;
}

/* Runs `one` for the folder, or for all; the lock is given up between two. */
static int
for_folders(struct checking *c, const char *folder, int (*one)(struct checking *c))
{
    struct name_list names = {0};
    size_t i;
    int err = 0;

    if (folder != NULL)
        name_list_add(&names, folder);
    else
        err = all_names(c->a, &names);
    for (i = 0; err == 0 && i < names.count; i++) {
        c->folder = names.names[i];
        err = account_lock(c->a);
        if (err < 0)
            break;
        err = one(c);
        account_unlock(c->a);
        if (err == ERR_NOENT && folder == NULL)
            err = 0; /* deleted meanwhile */
    }
    name_list_free(&names);
    return err < 0 ? err : c->faults;
}

int
mailbox_check(struct account *a, const char *folder, check_report *report, void *ctx)
{
    struct checking c = {.a = a, .report = report, .ctx = ctx};

    return for_folders(&c, folder, check_one);
}

#define PIECE 512 /* messages read again in one transaction */

struct piece {
    uint32_t uids[PIECE];
    size_t count;
};

static int
collect_uid(void *ctx, const struct index_message *m)
{
    struct piece *p = ctx;

    p->uids[p->count++] = m->uid;
    return p->count == PIECE;
}

/* Sizes as the file says, and no cache. */
static int
rebuild_message(struct checking *c, uint32_t uid)
{
    struct index *ix = c->a->ix;
    struct index_message old, now;
    int err = index_message_get(ix, c->m->row.id, uid, &old);

    if (err < 0)
        return err;
    now = old;
    now.crlf_size = MDNAME_SIZE_UNKNOWN;
    err = message_measure(c->m->fd, &now);
    if (err < 0) {
        fault(c, "UID %u: cannot read %s: %s", uid, now.name, err_text(err));
        return 0;
    }
    if (old.size != now.size)
        fault(c, "UID %u: its size is %llu, and was %llu in the index", uid,
              (unsigned long long)now.size, (unsigned long long)old.size);
    if (old.crlf_size != MDNAME_SIZE_UNKNOWN && old.crlf_size != now.crlf_size)
        fault(c, "UID %u: its size on the wire is %llu, and was %llu in the index", uid,
              (unsigned long long)now.crlf_size, (unsigned long long)old.crlf_size);
    err = index_message_update(ix, &c->m->row, &old, &now, true);
    return err == 0 ? index_cache_drop(ix, c->m->row.id, uid) : err;
}

static int
rebuild_piece(struct checking *c, uint32_t from, uint32_t *next)
{
    struct piece p = {.count = 0};
    size_t i;
    int err = index_message_each(c->a->ix, c->m->row.id, from, UINT32_MAX, collect_uid, &p);

    *next = err == 1 ? p.uids[p.count - 1] + 1 : 0;
    err = err < 0 ? err : index_begin(c->a->ix);
    for (i = 0; err == 0 && i < p.count; i++)
        err = rebuild_message(c, p.uids[i]);
    if (err == 0)
        err = mailbox_put(c->m);
    if (err == 0)
        err = index_commit(c->a->ix, false);
    else
        index_abort(c->a->ix);
    return err;
}

static int
count_message(void *ctx, const struct index_message *m)
{
    struct index_mailbox *row = ctx;

    row->messages++;
    row->unseen += (m->flags & MSG_SEEN) == 0;
    row->deleted += (m->flags & MSG_DELETED) != 0;
    row->recent += m->uid >= row->first_recent;
    if (m->size != MDNAME_SIZE_UNKNOWN)
        row->bytes += m->size;
    if (m->crlf_size != MDNAME_SIZE_UNKNOWN)
        row->crlf_bytes += m->crlf_size;
    else
        row->crlf_unknown++;
    if (m->uid >= row->uidnext)
        row->uidnext = m->uid + 1;
    if ((m->flags & MSG_SEEN) == 0 && row->first_unseen == 0)
        row->first_unseen = m->uid;
    return 0;
}

/* The row's counts, from the messages. */
static int
recount(struct checking *c)
{
    struct index_mailbox row = c->m->row;
    const struct index_mailbox *was = &c->m->row;
    int err;

    row.messages = row.unseen = row.deleted = row.recent = row.crlf_unknown = 0;
    row.bytes = row.crlf_bytes = 0;
    row.first_unseen = 0;
    row.first_unseen_known = true;
    err = index_message_each(c->a->ix, row.id, 1, UINT32_MAX, count_message, &row);
    if (err < 0)
        return err;
    if (row.messages != was->messages || row.unseen != was->unseen ||
        row.deleted != was->deleted || row.recent != was->recent || row.bytes != was->bytes)
        fault(c, "the counts were wrong: %u messages, %u unseen now", row.messages, row.unseen);
    c->m->row = row;
    err = index_begin(c->a->ix);
    if (err == 0)
        err = mailbox_put(c->m);
    return err == 0 ? index_commit(c->a->ix, true) : err;
}

static int
rebuild_one(struct checking *c)
{
    uint32_t next = 1;
    int err;

    if (!mailbox_dir_exists(c->a, c->folder))
        return folders_heal(c->a) < 0 ? ERR_IO : ERR_NOENT;
    err = mailbox_open(c->a, c->folder, &c->m);
    if (err == 0)
        err = scan_sync(c->m, SCAN_FULL);
    while (err == 0 && next != 0) {
        err = rebuild_piece(c, next, &next);
        if (err != 0 || next == 0)
            break;
        account_unlock(c->a);
        err = account_lock(c->a);
        if (err == 0)
            err = mailbox_load(c->m);
    }
    if (err == 0)
        err = recount(c);
    mailbox_close(&c->m);
    return err == ERR_GONE ? ERR_NOENT : err;
}

int
mailbox_rebuild(struct account *a, const char *folder, check_report *report, void *ctx)
{
    struct checking c = {.a = a, .report = report, .ctx = ctx};

    return for_folders(&c, folder, rebuild_one);
}
