/*
 * APPEND and MULTIAPPEND (RFC 3501 6.3.11, RFC 3502, RFC 4315): bytes -> tmp/ -> cur/.
 *
 * append_add() reads from the client, so it works without the lock: file in tmp/, converted
 * line ends, internal date, fsync. append_commit() takes the lock and does the rest in the
 * order of the fourth invariant: rename into cur/, fsync of the directory, one synced commit.
 * If that fails the files are removed again. If the process dies in between, one message is in
 * cur/ whole, and the next scan gives it a UID; several are removed by the next opener
 * (pending_undo()).
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
#include "store/incoming.h"
#include "store/keywords.h"
#include "store/pending.h"
#include "store/quota.h"
#include "store/scan.h"

/* One message on its way. */
struct appended {
    struct incoming in;
    char name[MDNAME_MAX + 1]; /* in cur/, from the rename on; "" = still in tmp/ */
    int64_t internal_date;
    unsigned flags;
    char **keywords;
    size_t keywords_count;
};

struct append {
    struct account *a;
    int fd; /* of the folder: tmp/ is its own */
    char name[MBOXNAME_MAX + 1];
    struct appended *items;
    size_t count, cap;
    bool failed;
    bool noted; /* pending_undo() was called */
};

int
append_begin(struct account *a, const char *name, struct append **out)
{
    struct append *ap;
    int fd, err;

    *out = NULL;
    err = maildir_open(a->root, name, &fd);
    if (err < 0)
        return err;
    if (faccessat(fd, "cur", F_OK, 0) != 0) {
        close(fd);
        return ERR_NOENT;
    }
    ap = mem_calloc(1, sizeof *ap);
    ap->a = a;
    ap->fd = fd;
    snprintf(ap->name, sizeof ap->name, "%s", name);
    *out = ap;
    return 0;
}

static struct appended *
new_item(struct append *ap, const struct flag_set *flags, int64_t internal_date)
{
    struct appended *it;
    size_t i;

    if (ap->count == ap->cap) {
        ap->cap = ap->cap > 0 ? ap->cap * 2 : 1;
        ap->items = mem_reallocarray(ap->items, ap->cap, sizeof *ap->items);
    }
    it = &ap->items[ap->count++];
    memset(it, 0, sizeof *it);
    it->in.file = -1;
    it->flags = flags->flags;
    it->internal_date = internal_date == INT64_MIN ? sys_now() : internal_date;
    if (flags->keywords_count > 0)
        it->keywords = mem_calloc(flags->keywords_count, sizeof *it->keywords);
    for (i = 0; i < flags->keywords_count; i++)
        it->keywords[it->keywords_count++] = mem_strdup(flags->keywords[i]);
    return it;
}

int
append_add(struct append *ap, struct source *src, const struct flag_set *flags,
           int64_t internal_date)
{
    struct appended *it;
    int err;

    if (ap->failed)
        log_panic("append_add() after an error");
    it = new_item(ap, flags, internal_date);
    err = incoming_write(&it->in, ap->fd, "", src, ap->a->conf->append_limit);
    if (err == 0)
        err = incoming_sync(&it->in, it->internal_date);
    ap->failed = err < 0;
    return err;
}

/* tmp/ -> cur/, under its final name. */
static int
deliver(struct append *ap, struct mailbox *m, struct appended *it, uint64_t keywords)
{
    char from[MAILDIR_PATH_MAX], to[MAILDIR_PATH_MAX], name[MDNAME_MAX + 1];
    int err = mdname_new(it->in.size, it->in.crlf_size, name);

    if (err == 0)
        err = mdname_build(name, strlen(name), it->flags,
                           (uint32_t)(keywords & KEYWORDS_LETTER_MASK), "", name);
    if (err < 0)
        return err;
    snprintf(from, sizeof from, "tmp/%s", it->in.tmp);
    maildir_path(to, false, name);
    if (renameat(ap->fd, from, m->fd, to) != 0) {
        log_error("cannot move a message from %s to cur/: %s", from, strerror(errno));
        return err_from_errno(errno);
    }
    memcpy(it->name, name, sizeof name);
    incoming_moved(&it->in);
    sys_step("append:renamed");
    return 0;
}

static int
add_to_index(struct mailbox *m, struct appended *it, uint64_t keywords, uint32_t *uid)
{
    struct index_message row;
    int err;

    memset(&row, 0, sizeof row);
    row.flags = (uint8_t)it->flags;
    row.keywords = keywords;
    row.internal_date = it->internal_date;
    row.save_date = sys_now();
    row.size = it->in.size;
    row.crlf_size = it->in.crlf_size;
    memcpy(row.name, it->name, sizeof row.name);
    err = index_message_add(m->a->ix, &m->row, &row);
    *uid = row.uid;
    return err;
}

/* What the messages so far, and `more` octets to come, count for the quota. */
static uint64_t
octets(const struct append *ap, uint64_t more)
{
    size_t i;

    for (i = 0; i < ap->count; i++)
        more += ap->items[i].in.size;
    return more;
}

int
append_room(struct append *ap, uint64_t size)
{
    return quota_check(ap->a, octets(ap, size), ap->count + 1);
}

/* All files and rows, in one transaction. */
static int
commit_items(struct append *ap, struct mailbox *m, uint32_t *first_uid)
{
    uint64_t keywords;
    uint32_t uid;
    size_t i;
    int err = index_begin(ap->a->ix);

    for (i = 0; err == 0 && i < ap->count; i++) {
        struct appended *it = &ap->items[i];

        err = keywords_bits(m, (const char *const *)it->keywords, it->keywords_count, true,
                            &keywords);
        if (err == ERR_LIMIT)
            err = 0; /* no slot left: the message matters more than its keyword */
        if (err == 0)
            err = deliver(ap, m, it, keywords);
        if (err == 0)
            err = add_to_index(m, it, keywords, &uid);
        if (i == 0)
            *first_uid = uid;
    }
    if (err == 0 && sys_fsync_dir(m->fd, "cur") != 0)
        err = err_from_errno(errno);
    sys_step("append:dir-synced");
    if (err < 0)
        return err;
    scan_note_own(m);
    err = mailbox_put(m);
    if (err == 0)
        err = index_commit(ap->a->ix, true);
    sys_step("append:committed");
    return err;
}

static int
commit_locked(struct append *ap, struct mailbox **m, uint32_t *first_uid)
{
    int err = mailbox_open(ap->a, ap->name, m);

    if (err == 0)
        err = scan_sync(*m, 0);
    if (err == 0) /* once more: other sessions weren't kept out until here */
        err = quota_check(ap->a, octets(ap, 0), ap->count);
    if (err == 0)
        err = index_room(ap->a->ix);
    if (err == 0 && ap->count > 1) { /* RFC 3502: all or none, also over a crash */
        err = pending_undo(*m);
        ap->noted = err == 0;
    }
    if (err == 0)
        err = commit_items(ap, *m, first_uid);
    return err == ERR_GONE ? ERR_NOENT : err;
}

/* Takes back what is in cur/ and wasn't committed. */
static void
take_back(struct append *ap, struct mailbox *m)
{
    char path[MAILDIR_PATH_MAX];
    size_t i;

    for (i = 0; i < ap->count; i++) {
        if (ap->items[i].name[0] == '\0')
            continue;
        maildir_path(path, false, ap->items[i].name);
        (void)unlinkat(m->fd, path, 0);
    }
}

int
append_commit(struct append **app, uint32_t *uidvalidity, uint32_t *first_uid)
{
    struct append *ap = *app;
    struct mailbox *m = NULL;
    int err;

    if (ap->failed)
        log_panic("append_commit() after an error");
    *uidvalidity = *first_uid = 0;
    err = account_lock(ap->a);
    if (err == 0) {
        err = commit_locked(ap, &m, first_uid);
        if (err < 0) {
            index_abort(ap->a->ix);
            if (m != NULL)
                take_back(ap, m);
        } else {
            quota_add(ap->a, (int64_t)octets(ap, 0), (int64_t)ap->count);
        }
        if (ap->noted)
            pending_end(ap->a, PENDING_UNDO);
        account_unlock(ap->a);
    }
    if (err == 0)
        *uidvalidity = m->row.uidvalidity;
    mailbox_close(&m);
    append_abort(app);
    return err;
}

void
append_abort(struct append **app)
{
    struct append *ap = *app;
    size_t i, j;

    if (ap == NULL)
        return;
    for (i = 0; i < ap->count; i++) {
        incoming_drop(&ap->items[i].in);
        for (j = 0; j < ap->items[i].keywords_count; j++)
            free(ap->items[i].keywords[j]);
        free(ap->items[i].keywords);
    }
    free(ap->items);
    close(ap->fd);
    free(ap);
    *app = NULL;
}
