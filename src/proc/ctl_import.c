/*
 * mansioctl import and export: moving in from another server and out again, for one user, some
 * or all. One user's failure doesn't stop the others.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "proc/ctl.h"
#include "proc/ctl_owner.h"
#include "store/export.h"
#include "store/import.h"

#define UIDLIST_MAX (1u << 30)

struct work {
    const struct conf *conf;
    const char *user, *folder; /* folder: as typed, NULL = all */
    bool print, progress;
    size_t nth, of;
    struct import_summary imported; /* of all users */
    struct export_summary exported;
    int status; /* the worst so far */
};

static void
note(struct work *w, int status)
{
    /* a failure that may pass weighs more than "not as it was" */
    if (status > w->status)
        w->status = status;
}

static void
clear_progress(const struct work *w)
{
    if (w->progress)
        fputs("\r\033[K", stderr);
}

/* A check_report: where the work is (text NULL), or a finding. */
static void
print_report(void *ctx, const char *folder, const char *text)
{
    struct work *w = ctx;

    clear_progress(w);
    if (text != NULL)
        printf("%s: %s: %s\n", w->user, folder, text);
    else if (w->progress)
        fprintf(stderr, "[%zu/%zu] %s: %.60s", w->nth, w->of, w->user, folder);
}

static void
print_imported(const char *who, const struct import_summary *s)
{
    printf("%s: %u %s, %u imported, %u before, %llu %s, %u %s", who, s->folders,
           s->folders == 1 ? "folder" : "folders", s->imported, s->done_before,
           (unsigned long long)s->messages, s->messages == 1 ? "message" : "messages",
           s->subscriptions, s->subscriptions == 1 ? "subscription" : "subscriptions");
    if (s->refused > 0 || s->differ > 0)
        printf("; %u refused, %llu with other UIDs", s->refused, (unsigned long long)s->differ);
    printf("\n");
}

static void
import_one(struct work *w, struct account *a)
{
    struct import_summary s, *all = &w->imported;
    int err = import_account(a, print_report, w, &s);

    clear_progress(w);
    if (err != 0) {
        note(w, ctl_fail(ctl_status_of(err), "%s: %s", w->user, err_text(err)));
        return;
    }
    print_imported(w->user, &s);
    if (s.refused > 0 || s.differ > 0)
        note(w, CTL_NO);
    all->folders += s.folders;
    all->imported += s.imported;
    all->done_before += s.done_before;
    all->refused += s.refused;
    all->messages += s.messages;
    all->differ += s.differ;
    all->subscriptions += s.subscriptions;
}

static int
print_list(struct account *a, const char *folder)
{
    struct buf out = BUF_INIT(UIDLIST_MAX);
    int err = export_uidlist(a, folder, &out);

    if (err == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        err = ERR_IO;
    buf_free(&out);
    return err;
}

static void
export_one(struct work *w, struct account *a)
{
    struct buf folder = BUF_INIT(1);
    struct export_summary s = {.folders = 0};
    int err;

    if (w->folder != NULL && ctl_folder_name(a, w->folder, &folder) != 0) {
        note(w, CTL_NO);
        return;
    }
    if (w->print)
        err = print_list(a, w->folder != NULL ? buf_str(&folder) : "INBOX");
    else
        err =
            export_account(a, w->folder != NULL ? buf_str(&folder) : NULL, print_report, w, &s);
    clear_progress(w);
    if (err != 0)
        note(w,
             ctl_fail(ctl_status_of(err), "%s%s%s: %s", w->user, w->folder != NULL ? ", " : "",
                      w->folder != NULL ? w->folder : "", err_text(err)));
    else if (!w->print)
        printf("%s: %u %s, %llu %s\n", w->user, s.folders,
               s.folders == 1 ? "folder" : "folders", (unsigned long long)s.messages,
               s.messages == 1 ? "message" : "messages");
    w->exported.folders += s.folders;
    w->exported.messages += s.messages;
    buf_free(&folder);
}

/* Opens one after the other. Of all users those without mail are passed over. */
static int
for_users(struct work *w, char **names, int count, bool ahead,
          void (*one)(struct work *w, struct account *a))
{
    struct ctl_owners owners;
    struct account *a;
    bool has = true;
    size_t i;
    int status = ctl_owners_find(w->conf, names, (size_t)count, &owners), reached;

    if (status == 0)
        status = ctl_become_mail_user(w->conf);
    w->progress = isatty(STDERR_FILENO) && !w->print;
    w->of = owners.count;
    for (i = 0; status == 0 && i < owners.count; i++) {
        w->user = owners.items[i].name;
        w->nth = i + 1;
        if (count == 0) {
            reached = ctl_owner_has_mail(w->conf, &owners.items[i], &has);
            note(w, reached);
            if (reached != 0 || !has)
                continue;
        }
        owners.items[i].ahead = ahead;
        note(w, ctl_owner_open(w->conf, &owners.items[i], &a));
        if (a != NULL)
            one(w, a);
        account_close(&a);
    }
    ctl_owners_free(&owners);
    return status != 0 ? status : w->status;
}

int
ctl_import(struct ctl *ctl, int argc, char **argv)
{
    bool all = argc == 1 && strcmp(argv[0], "-a") == 0;
    struct work w = {.conf = ctl->conf};
    int status;

    if (argc == 0 || (argv[0][0] == '-' && !all))
        return CTL_USAGE;
    status = for_users(&w, argv, all ? 0 : argc, true, import_one);
    if (all || argc > 1)
        print_imported("all", &w.imported);
    return status;
}

int
ctl_export(struct ctl *ctl, int argc, char **argv)
{
    struct work w = {.conf = ctl->conf};
    bool all = false;
    int status;

    for (; argc > 0 && argv[0][0] == '-'; argc--, argv++) {
        if (strcmp(argv[0], "-a") == 0)
            all = true;
        else if (strcmp(argv[0], "-p") == 0)
            w.print = true;
        else if (strcmp(argv[0], "-f") == 0 && argc > 1)
            w.folder = (argc--, *++argv);
        else
            return CTL_USAGE;
    }
    if (all ? argc != 0 || w.print || w.folder != NULL : argc != 1)
        return CTL_USAGE;
    status = for_users(&w, argv, argc, false, export_one);
    if (all)
        printf("all: %u folders, %llu messages\n", w.exported.folders,
               (unsigned long long)w.exported.messages);
    return status;
}
