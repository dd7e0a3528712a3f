/*
 * The operations of the kill matrix: each is what one command of a client, or one delivery,
 * does in the store. The account that they start from has INBOX with four messages (the last
 * two \Deleted), Work with one, and Work.Sub.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "proc/ctl_selftest.h"
#include "store/check.h"
#include "store/deliver.h"
#include "store/folders.h"
#include "store/view.h"

struct text {
    struct source source;
    char octets[400];
    size_t left;
};

static ssize_t
give(struct source *s, void *p, size_t n)
{
    struct text *t = (struct text *)s;

    if (n > t->left)
        n = t->left;
    memcpy(p, t->octets + strlen(t->octets) - t->left, n);
    t->left -= n;
    return (ssize_t)n;
}

static void
text_init(struct text *t, const char *token)
{
    t->source.read = give;
    snprintf(t->octets, sizeof t->octets,
             "From: selftest@example.org\r\nSubject: %s\r\n\r\n"
             "This message is one of a test; %s is its name.\r\nIts end is here: %s\r\n",
             token, token, token);
    t->left = strlen(t->octets);
}

/* `count` messages in one command. */
static int
append_some(struct account *a, const char *folder, const char *const *tokens, size_t count,
            unsigned flags, uint32_t *uid)
{
    struct flag_set set = {.flags = flags};
    uint32_t uidvalidity;
    struct append *ap;
    struct text t;
    int err = append_begin(a, folder, &ap);

    for (size_t i = 0; err == 0 && i < count; i++) {
        text_init(&t, tokens[i]);
        err = append_add(ap, &t.source, &set, INT64_MIN);
        if (err < 0)
            append_abort(&ap);
    }
    return err < 0 ? err : append_commit(&ap, &uidvalidity, uid);
}

int
selftest_append(struct account *a, const char *folder, const char *token, uint32_t *uid)
{
    return append_some(a, folder, &token, 1, MSG_SEEN, uid);
}

int
selftest_fill(struct account *a)
{
    static const char *const some[] = {"base1", "base2"}, *const others[] = {"base3", "base4"};
    uint32_t uid;
    int err = append_some(a, "INBOX", some, 2, 0, &uid);

    if (err == 0)
        err = append_some(a, "INBOX", others, 2, MSG_DELETED, &uid);
    if (err == 0)
        err = folder_create(a, "Work", 0);
    if (err == 0)
        err = folder_create(a, "Work.Sub", 0);
    if (err == 0)
        err = folder_subscribe(a, "Work", true);
    if (err == 0)
        err = selftest_append(a, "Work", "work1", &uid);
    return err == 0 ? selftest_append(a, "Work.Sub", "sub1", &uid) : err;
}

static int
run_deliver(struct account *a)
{
    struct delivery d = {.folder = "INBOX", .headers = ""};
    struct delivered out;
    struct text t;

    text_init(&t, "delivered");
    return deliver_message(a, &d, &t.source, &out);
}

static int
run_append(struct account *a)
{
    uint32_t uid;

    return selftest_append(a, "Work", "added", &uid);
}

static int
run_multiappend(struct account *a)
{
    static const char *const tokens[] = {"added1", "added2", "added3"};
    uint32_t uid;

    return append_some(a, "Work", tokens, 3, MSG_FLAGGED, &uid);
}

/* UIDs 1 and 2 of INBOX. */
static int
with_two(struct account *a, int (*work)(struct view *v, const struct seqset *uids))
{
    struct seqset uids;
    struct view *v;
    int err = view_open(a, "INBOX", 0, &v);

    if (err < 0)
        return err;
    seqset_init(&uids);
    seqset_add(&uids, 1, 2);
    err = work(v, &uids);
    seqset_free(&uids);
    view_close(&v);
    return err;
}

static int
transfer(struct view *v, const struct seqset *uids, bool move)
{
    struct seqset src, dst;
    uint32_t uidvalidity;
    bool some_gone;
    int err;

    seqset_init(&src);
    seqset_init(&dst);
    err = view_copy(v, uids, "Work", move, &uidvalidity, &src, &dst, &some_gone);
    seqset_free(&src);
    seqset_free(&dst);
    return err;
}

static int
copy_two(struct view *v, const struct seqset *uids)
{
    return transfer(v, uids, false);
}

static int
move_two(struct view *v, const struct seqset *uids)
{
    return transfer(v, uids, true);
}

static int
flag_two(struct view *v, const struct seqset *uids)
{
    static const char *const keywords[] = {"selftest"};
    struct flag_set set = {.flags = MSG_FLAGGED, .keywords = keywords, .keywords_count = 1};

    return view_store(v, uids, STORE_ADD, &set, UINT64_MAX, NULL, NULL, NULL);
}

static int
expunge_deleted(struct view *v, const struct seqset *uids)
{
    (void)uids;
    return view_expunge(v, NULL, false, NULL);
}

static int
run_copy(struct account *a)
{
    return with_two(a, copy_two);
}

static int
run_move(struct account *a)
{
    return with_two(a, move_two);
}

static int
run_store(struct account *a)
{
    return with_two(a, flag_two);
}

static int
run_expunge(struct account *a)
{
    return with_two(a, expunge_deleted);
}

static int
run_create(struct account *a)
{
    return folder_create(a, "Fresh", 0);
}

static int
run_delete(struct account *a)
{
    return folder_delete(a, "Work");
}

static int
run_rename(struct account *a)
{
    return folder_rename(a, "Work", "Job");
}

static int
run_rename_inbox(struct account *a)
{
    return folder_rename(a, "INBOX", "Old");
}

static int
run_subscribe(struct account *a)
{
    return folder_subscribe(a, "Work.Sub", true);
}

static int
run_first_index(struct account *a)
{
    struct mailbox_status status;
    int err = mailbox_status(a, "INBOX", true, &status);

    if (err == 0)
        err = mailbox_status(a, "Work", true, &status);
    return err == 0 ? mailbox_status(a, "Work.Sub", true, &status) : err;
}

static void
ignore(void *ctx, const char *folder, const char *text)
{
    (void)ctx;
    (void)folder;
    (void)text;
}

static int
run_rebuild(struct account *a)
{
    int err = mailbox_rebuild(a, NULL, ignore, NULL);

    return err < 0 ? err : 0;
}

const struct selftest_op selftest_ops[] = {
    {"delivery", run_deliver, false},
    {"APPEND", run_append, false},
    {"MULTIAPPEND", run_multiappend, false},
    {"COPY", run_copy, false},
    {"MOVE", run_move, false},
    {"STORE", run_store, false},
    {"EXPUNGE", run_expunge, false},
    {"CREATE", run_create, false},
    {"DELETE", run_delete, false},
    {"RENAME", run_rename, false},
    {"RENAME INBOX", run_rename_inbox, false},
    {"SUBSCRIBE", run_subscribe, false},
    {"first index", run_first_index, true},
    {"rebuild", run_rebuild, false},
    {NULL, NULL, false},
};
