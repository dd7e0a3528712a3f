/*
 * Opens Maildirs as a session does after a reboot, and prints what is in them: for
 * tests/powercut.py. A directory a line on the standard input; for each, on the standard
 * output:
 *
 *      F <uidvalidity> <uidnext> <highestmodseq> <folder>
 *      M <uid> <flags> <octets on the wire> <sum of them, FNV-1a> <keywords, comma-separated>
 *      S <subscribed folder>
 *      X <fault that mailbox check names, or an error>
 *      U <UID that a further message in INBOX got>
 *      .
 *
 * Each directory is worked on by a process of its own, so that one that dies is a line
 * "X died". The clock is an hour ahead: between a power cut and the next start lies a while.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/check.h"
#include "store/folders.h"
#include "store/mailbox.h"
#include "store/view.h"

#define LATER 3600

struct sum {
    struct sink sink;
    uint64_t value, octets;
};

static int64_t
later(void)
{
    return (int64_t)time(NULL) + LATER;
}

static int
add_octets(struct sink *s, const void *p, size_t n)
{
    struct sum *sum = (struct sum *)s;
    const unsigned char *at = p;

    for (size_t i = 0; i < n; i++)
        sum->value = (sum->value ^ at[i]) * UINT64_C(0x100000001b3);
    sum->octets += n;
    return 0;
}

static void
print_message(struct view *v, const struct index_message *m)
{
    struct sum sum = {.sink = {add_octets}, .value = UINT64_C(0xcbf29ce484222325)};
    const struct view_info *info = view_info(v);
    const char *comma = "";
    struct message *file;
    int err = view_message_open(v, m, &file);
    int64_t n;

    if (err < 0) {
        printf("X UID %u can't be opened: %s\n", m->uid, err_text(err));
        return;
    }
    n = message_send(file, 0, message_size(file), 0, UINT64_MAX, &sum.sink);
    message_close(&file);
    if (n < 0 || (uint64_t)n != sum.octets)
        printf("X UID %u can't be read\n", m->uid);
    printf("M %u %u %llu %016llx ", m->uid, m->flags, (unsigned long long)sum.octets,
           (unsigned long long)sum.value);
    for (size_t i = 0; i < KEYWORDS_MAX; i++) {
        if ((m->keywords & UINT64_C(1) << i) == 0)
            continue;
        printf("%s%s", comma,
               i < info->keywords_count && info->keywords[i] != NULL ? info->keywords[i] : "?");
        comma = ",";
    }
    putchar('\n');
}

static int
print_messages(struct view *v)
{
    struct view_batch *batch = view_batch_new();
    struct seq_range every = {1, UINT32_MAX};
    struct seqset all = {.ranges = &every, .count = 1, .cap = 1};
    struct seqset_iter it = {0, 0};
    int err;

    do {
        err = view_read(v, &all, &it, 0, batch);
        for (size_t i = 0; err == 0 && i < batch->count; i++)
            if (!batch->items[i].gone)
                print_message(v, &batch->items[i].m);
    } while (err == 0 && batch->count > 0);
    view_batch_free(&batch);
    return err;
}

static void
print_folder(struct account *a, const char *name)
{
    struct view_changes changes;
    struct view *v;
    int err = view_open(a, name, 0, &v);

    if (err == 0) { /* SELECT and NOOP: what one look couldn't settle, the next one does */
        err = view_sync(v, true, &changes);
        if (err == 0)
            view_changes_free(&changes);
        else
            view_close(&v);
    }
    if (err == 0) {
        const struct view_info *info = view_info(v);

        printf("F %u %u %llu %s\n", info->uidvalidity, info->uidnext,
               (unsigned long long)info->highestmodseq, name);
        err = print_messages(v);
        view_close(&v);
    }
    if (err < 0)
        printf("X folder %s: %s\n", name, err_text(err));
}

static void
print_fault(void *ctx, const char *folder, const char *text)
{
    (void)ctx;
    printf("X check: %s: %s\n", folder, text);
}

struct text {
    struct source source;
    bool done;
};

static ssize_t
give_text(struct source *s, void *p, size_t n)
{
    static const char text[] = "Subject: afterwards\r\n\r\n";
    struct text *t = (struct text *)s;

    if (t->done || n < sizeof text - 1)
        return 0;
    memcpy(p, text, sizeof text - 1);
    t->done = true;
    return sizeof text - 1;
}

/* The account can be used: a message more, and its UID. */
static int
append_one(struct account *a)
{
    struct text text = {.source = {give_text}};
    struct flag_set flags = {.flags = 0};
    uint32_t uidvalidity, uid;
    struct append *ap;
    int err = append_begin(a, "INBOX", &ap);

    if (err < 0)
        return err;
    err = append_add(ap, &text.source, &flags, INT64_MIN);
    if (err < 0)
        append_abort(&ap);
    else
        err = append_commit(&ap, &uidvalidity, &uid);
    if (err == 0)
        printf("U %u\n", uid);
    return err;
}

static int
print_account(struct account *a)
{
    struct folder_list folders;
    int err = folder_list(a, &folders);

    if (err < 0)
        return err;
    for (size_t i = 0; i < folders.count; i++) {
        if (folders.items[i].exists)
            print_folder(a, folders.items[i].name);
        if (folders.items[i].subscribed)
            printf("S %s\n", folders.items[i].name);
    }
    folder_list_free(&folders);
    err = mailbox_check(a, NULL, print_fault, NULL);
    return err < 0 ? err : append_one(a);
}

static void
look_at(const struct conf *conf, const char *path)
{
    struct account_params p = {.conf = conf, .user = "ann", .home = "", .mail_location = path};
    struct account *a;
    int err = account_open(&p, &a);

    if (err == 0) {
        err = print_account(a);
        account_close(&a);
    }
    if (err < 0)
        printf("X %s\n", err_text(err));
    fflush(stdout);
}

int
main(void)
{
    struct conf *conf = conf_defaults();
    char path[4096];
    int status;
    pid_t pid;

    sys_init();
    log_set_level(getenv("POWER_STATE_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    sys_hooks.now = later;
    free(conf->auto_folders);
    conf->auto_folders = mem_strdup("Drafts:\\Drafts, Sent:\\Sent");
    while (fgets(path, sizeof path, stdin) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
            look_at(conf, path);
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            printf("X died\n");
        printf(".\n");
        fflush(stdout);
    }
    conf_free(&conf);
    return 0;
}
