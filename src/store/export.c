/*
 * The way out: an index -> dovecot-uidlist and dovecot-keywords; see export.h. The formats are
 * at the top of import_dovecot.c and keywords.c.
 *
 * The file's name in a line is the whole one, flags included, as Dovecot writes it. What
 * Dovecot had in its former list and means nothing here (the mailbox's global id, a message's
 * own id, the order of POP3) is written again.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/err.h"
#include "store/export.h"
#include "store/folders_private.h"
#include "store/import_private.h"

#define UIDLIST     "dovecot-uidlist"
#define UIDLIST_MAX (1u << 30)
#define UIDL_FORMAT "%08Xu%08Xv" /* Dovecot's own */

struct exporting {
    struct mailbox *m;
    struct import *former; /* what Dovecot's list said */
    struct buf *out;
    bool uidls; /* ours are others than Dovecot makes */
    uint64_t lost;
};

static void
add_fields(struct exporting *ex, const struct index_message *m)
{
    struct import_message former;
    struct mdname parsed;
    char uidl[CONF_UIDL_SIZE];

    if (m->uidl[0] != '\0') {
        buf_addf(ex->out, " P%s", m->uidl);
    } else if (ex->uidls) {
        conf_uidl_format(ex->m->a->conf->pop3_uidl_format, m->uid, ex->m->row.uidvalidity,
                         uidl);
        buf_addf(ex->out, " P%s", uidl);
    }
    if (m->crlf_size != MDNAME_SIZE_UNKNOWN && mdname_parse(m->name, &parsed) == 0 &&
        parsed.crlf_size == MDNAME_SIZE_UNKNOWN)
        buf_addf(ex->out, " W%llu", (unsigned long long)m->crlf_size);
    if (import_uidvalidity(ex->former) == ex->m->row.uidvalidity &&
        import_find(ex->former, m->name, maildir_base_len(m->name), &former) &&
        former.uid == m->uid && former.other[0] != '\0')
        buf_addf(ex->out, " %s", former.other);
}

static int
add_message(void *ctx, const struct index_message *m)
{
    struct exporting *ex = ctx;

    buf_addu(ex->out, m->uid);
    add_fields(ex, m);
    buf_add(ex->out, " :", 2);
    buf_adds(ex->out, m->name);
    buf_addc(ex->out, '\n');
    ex->lost += (m->keywords & ~KEYWORDS_LETTER_MASK) != 0 || (m->flags & MSG_PASSED) != 0;
    return buf_ok(ex->out) ? 0 : ERR_LIMIT;
}

static void
add_header(struct exporting *ex)
{
    const struct index_mailbox *row = &ex->m->row;
    size_t i;

    buf_addf(ex->out, "3 V%u N%u G", row->uidvalidity, row->uidnext);
    if (import_guid(ex->former)[0] != '\0')
        buf_adds(ex->out, import_guid(ex->former));
    else
        for (i = 0; i < sizeof row->objectid; i++)
            buf_addf(ex->out, "%02x", row->objectid[i]);
    buf_addc(ex->out, '\n');
}

/* The folder's list, as the directory is now. Locked. */
static int
make_list(struct mailbox *m, struct buf *out, uint64_t *lost)
{
    struct exporting ex = {.m = m, .out = out, .former = import_new()};
    int err = scan_sync(m, 0);

    if (err == 0)
        err = import_lines_read(m->fd, m->name, UIDLIST, import_dovecot_line, ex.former);
    ex.uidls =
        strcmp(m->name, "INBOX") == 0 && strcmp(m->a->conf->pop3_uidl_format, UIDL_FORMAT) != 0;
    if (err == 0 || err == ERR_NOENT) {
        add_header(&ex);
        err = index_message_each(m->a->ix, m->row.id, 1, UINT32_MAX, add_message, &ex);
    }
    import_free(&ex.former);
    *lost = ex.lost;
    return err;
}

static int
write_keywords(struct mailbox *m)
{
    struct buf b = BUF_INIT(KEYWORDS_LETTERS * (KEYWORD_NAME_MAX + 8));
    int i, err = 0;

    for (i = 0; i < KEYWORDS_LETTERS && i < m->row.keywords_count; i++) {
        if (m->row.keywords[i][0] != '\0')
            buf_addf(&b, "%d %s\n", i, m->row.keywords[i]);
    }
    if (b.len > 0)
        err = maildir_write_file(m->fd, "dovecot-keywords", b.data, b.len);
    buf_free(&b);
    return err;
}

struct all {
    struct account *a;
    check_report *report;
    void *ctx;
    struct export_summary *sum;
};

static int
export_folder(struct all *all, const char *name)
{
    struct buf list = BUF_INIT(UIDLIST_MAX);
    struct mailbox *m = NULL;
    uint64_t lost = 0;
    char text[200];
    int err = account_lock(all->a);

    if (err < 0)
        return err;
    if (all->report != NULL)
        all->report(all->ctx, name, NULL);
    err = mailbox_open(all->a, name, &m);
    if (err == 0)
        err = make_list(m, &list, &lost);
    if (err == 0)
        err = write_keywords(m); /* before the list: Dovecot reads it for letters it meets */
    if (err == 0)
        err = maildir_write_file(m->fd, UIDLIST, list.data, list.len);
    if (err == 0) {
        all->sum->folders++;
        all->sum->messages += m->row.messages;
        all->sum->keywords_lost += lost;
        snprintf(text, sizeof text,
                 "%llu messages have a keyword that no letter a-z says: Dovecot won't show it",
                 (unsigned long long)lost);
        if (lost > 0 && all->report != NULL)
            all->report(all->ctx, name, text);
    }
    mailbox_close(&m);
    account_unlock(all->a);
    buf_free(&list);
    return err == ERR_GONE ? ERR_NOENT : err;
}

int
export_account(struct account *a, const char *folder, check_report *report, void *ctx,
               struct export_summary *summary)
{
    struct all all = {.a = a, .report = report, .ctx = ctx, .sum = summary};
    struct name_list names = {0};
    size_t i;
    int err = 0;

    memset(summary, 0, sizeof *summary);
    if (folder != NULL)
        return export_folder(&all, folder);
    name_list_add(&names, "INBOX");
    err = folders_read(a, &names);
    for (i = 0; err == 0 && i < names.count; i++) {
        err = export_folder(&all, names.names[i]);
        if (err == ERR_NOENT)
            err = 0; /* deleted meanwhile */
    }
    name_list_free(&names);
    return err;
}

int
export_uidlist(struct account *a, const char *folder, struct buf *out)
{
    struct mailbox *m = NULL;
    uint64_t lost;
    int err = account_lock(a);

    if (err < 0)
        return err;
    err = mailbox_open(a, folder, &m);
    if (err == 0)
        err = make_list(m, out, &lost);
    mailbox_close(&m);
    account_unlock(a);
    return err == ERR_GONE ? ERR_NOENT : err;
}
