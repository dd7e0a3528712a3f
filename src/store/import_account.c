/*
 * `mansioctl import`: the lists of all folders of an account into the index, ahead of the first
 * session. A folder without lists is left alone: the first session will find it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "store/folders_private.h"
#include "store/import_private.h"

struct importing {
    struct account *a;
    const char *folder;
    check_report *report;
    void *ctx;
    struct import_summary *sum;
    const struct import *lists; /* of the folder */
    uint64_t differ;
};

static void say(struct importing *im, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(struct importing *im, const char *fmt, ...)
{
    char text[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (im->report != NULL)
        im->report(im->ctx, im->folder, text);
}

static int
count_message(void *ctx, const struct index_message *m)
{
    struct importing *im = ctx;
    struct import_message known;

    if (!import_find(im->lists, m->name, maildir_base_len(m->name), &known) || known.uid == 0)
        return 0;
    if (known.uid == m->uid)
        im->sum->messages++;
    else
        im->differ++;
    return 0;
}

/* A folder that's open and has lists. Locked. */
static int
import_open(struct importing *im, struct mailbox *m, struct import **lists)
{
    int err;

    if (m->import == NULL) {
        m->import = *lists;
        *lists = NULL;
    }
    if (m->row.uidvalidity != import_uidvalidity(m->import)) {
        im->sum->refused++;
        say(im, "its UIDVALIDITY is %u here, and %u at the other server: left as it is",
            m->row.uidvalidity, import_uidvalidity(m->import));
        return 0;
    }
    err = scan_sync(m, SCAN_FULL | SCAN_LISTED);
    im->lists = m->import;
    im->differ = 0;
    if (err == 0)
        err = index_message_each(im->a->ix, m->row.id, 1, UINT32_MAX, count_message, im);
    im->sum->differ += im->differ;
    if (im->differ > 0)
        say(im, "%llu messages have another UID here than at the other server",
            (unsigned long long)im->differ);
    return err;
}

static int
import_folder(struct importing *im, int fd)
{
    struct import *lists = NULL;
    struct index_mailbox row;
    struct mailbox *m = NULL;
    unsigned *count;
    int err = import_read(fd, im->folder, &lists);

    if (err == ERR_NOENT || (err == 0 && import_uidvalidity(lists) == 0)) {
        import_free(&lists);
        return 0; /* POP3 UIDLs alone are read by the first session */
    }
    if (err == 0)
        err = index_mailbox_get(im->a->ix, im->folder, &row);
    count = err == ERR_NOENT ? &im->sum->imported : &im->sum->done_before;
    if (err == 0 || err == ERR_NOENT)
        err = mailbox_open(im->a, im->folder, &m);
    if (err == 0) {
        unsigned refused = im->sum->refused;

        err = import_open(im, m, &lists);
        *count += refused == im->sum->refused;
    }
    mailbox_close(&m);
    import_free(&lists);
    return err;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
import_named(struct importing *im, const char *name)
{
    int fd, err = account_lock(im->a);

    if (err < 0)
        return err;
    im->folder = name;
    im->sum->folders++;
    if (im->report != NULL)
        im->report(im->ctx, name, NULL);
    err = maildir_open(im->a->root, name, &fd);
    if (err == 0) {
        err = import_folder(im, fd);
        close(fd);
    }
    account_unlock(im->a);
    return err == ERR_NOENT || err == ERR_GONE ? 0 : err; /* deleted meanwhile */
}

int
import_account(struct account *a, check_report *report, void *ctx,
               struct import_summary *summary)
{
    struct importing im = {.a = a, .report = report, .ctx = ctx, .sum = summary};
    struct name_list names = {0};
    size_t i;
    int err = folders_read(a, &names);

    memset(summary, 0, sizeof *summary);
    if (names.count > 1)
        qsort(names.names, names.count, sizeof *names.names, compare_names);
    if (err == 0)
        err = import_named(&im, "INBOX");
    for (i = 0; err == 0 && i < names.count; i++)
        err = import_named(&im, names.names[i]);
    name_list_free(&names);
    return err == 0 ? import_subscriptions(a, &summary->subscriptions) : err;
}
