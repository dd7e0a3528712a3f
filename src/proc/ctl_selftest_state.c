/*
 * What an account holds, and the rules of what a kill may leave of it; see ctl_selftest.h.
 *
 * The rules, for an operation that leads from state A to state B:
 *  - answered OK: B
 *  - what is in A and B is there, in its folder, with its UID and all its octets
 *  - what is only in A, or only in B, is there or not; whole, if it is
 *  - a UID below A's next UID means what it meant in A, or nothing
 *  - UIDVALIDITY stays, the next UID doesn't fall, and the index agrees with the Maildir
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proc/ctl_selftest.h"
#include "store/check.h"
#include "store/folders.h"
#include "store/view.h"

#define SUM_START UINT64_C(0xcbf29ce484222325)
#define SUM_PRIME UINT64_C(0x100000001b3)

struct sum {
    struct sink sink;
    uint64_t value;
};

static int
add_octets(struct sink *s, const void *p, size_t n)
{
    struct sum *sum = (struct sum *)s;
    const unsigned char *at = p;

    for (size_t i = 0; i < n; i++)
        sum->value = (sum->value ^ at[i]) * SUM_PRIME;
    return 0;
}

static int
read_message(struct view *v, const struct index_message *m, struct state_folder *f)
{
    struct sum sum = {.sink = {add_octets}, .value = SUM_START};
    struct state_message *to;
    struct message *file;
    int64_t n;
    int err;

    if (f->count == STATE_MESSAGES)
        return ERR_LIMIT;
    err = view_message_open(v, m, &file);
    if (err < 0)
        return err;
    n = message_send(file, 0, message_size(file), 0, UINT64_MAX, &sum.sink);
    message_close(&file);
    to = &f->messages[f->count++];
    *to = (struct state_message){.uid = m->uid, .flags = m->flags, .sum = sum.value};
    return n < 0 ? (int)n : 0;
}

static int
read_folder(struct account *a, const char *name, struct state_folder *f)
{
    struct seq_range every = {1, UINT32_MAX};
    struct seqset all = {.ranges = &every, .count = 1, .cap = 1};
    struct view_batch *batch = view_batch_new();
    struct seqset_iter it = {0, 0};
    struct view *v = NULL;
    int err = view_open(a, name, VIEW_POP3, &v);

    snprintf(f->name, sizeof f->name, "%s", name);
    f->count = 0;
    if (err == 0) {
        f->uidvalidity = view_info(v)->uidvalidity;
        f->uidnext = view_info(v)->uidnext;
    }
    do {
        if (err == 0)
            err = view_read(v, &all, &it, 0, batch);
        for (size_t i = 0; err == 0 && i < batch->count; i++)
            if (!batch->items[i].gone)
                err = read_message(v, &batch->items[i].m, f);
    } while (err == 0 && batch->count > 0);
    view_close(&v);
    view_batch_free(&batch);
    return err;
}

static void
note_fault(void *ctx, const char *folder, const char *text)
{
    struct state *s = ctx;

    if (s->faults++ == 0)
        snprintf(s->fault, sizeof s->fault, "%s: %s", folder, text);
}

int
selftest_read_state(struct account *a, struct state *out)
{
    struct folder_list folders;
    size_t used = 0;
    int err;

    memset(out, 0, sizeof *out);
    err = folder_list(a, &folders);
    if (err < 0)
        return err;
    for (size_t i = 0; err == 0 && i < folders.count; i++) {
        const struct folder *f = &folders.items[i];

        if (f->subscribed && used + strlen(f->name) + 2 < sizeof out->subscribed)
            used += (size_t)snprintf(out->subscribed + used, sizeof out->subscribed - used,
                                     "%s ", f->name);
        if (f->exists && out->folders_count == STATE_FOLDERS)
            err = ERR_LIMIT;
        else if (f->exists)
            err = read_folder(a, f->name, &out->folders[out->folders_count++]);
    }
    folder_list_free(&folders);
    if (err == 0)
        err = mailbox_check(a, NULL, note_fault, out);
    out->complete = err >= 0;
    return err < 0 ? err : 0;
}

static const struct state_folder *
by_name(const struct state *s, const char *name)
{
    for (unsigned i = 0; i < s->folders_count; i++)
        if (strcmp(s->folders[i].name, name) == 0)
            return &s->folders[i];
    return NULL;
}

/* A renamed folder keeps its UIDVALIDITY. */
static const struct state_folder *
by_validity(const struct state *s, const struct state_folder *like)
{
    for (unsigned i = 0; i < s->folders_count; i++)
        if (s->folders[i].uidvalidity == like->uidvalidity)
            return &s->folders[i];
    return NULL;
}

static const struct state_message *
by_uid(const struct state_folder *f, uint32_t uid)
{
    for (unsigned i = 0; f != NULL && i < f->count; i++)
        if (f->messages[i].uid == uid)
            return &f->messages[i];
    return NULL;
}

static unsigned
copies(const struct state *s, uint64_t sum)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->folders_count; i++)
        for (unsigned j = 0; j < s->folders[i].count; j++)
            n += s->folders[i].messages[j].sum == sum;
    return n;
}

static bool
fail(char *why, size_t size, const char *folder, uint32_t uid, const char *text)
{
    snprintf(why, size, "%s: message %u: %s", folder, uid, text);
    return false;
}

/* Nothing that was there before and is there when all is done may be missing, or moved. */
static bool
judge_kept(const struct state *before, const struct state *done, const struct state *now,
           bool uids, char *why, size_t size)
{
    for (unsigned i = 0; i < before->folders_count; i++) {
        const struct state_folder *f = &before->folders[i];
        const struct state_folder *later = uids ? by_validity(done, f) : by_name(done, f->name);
        const struct state_folder *g = uids ? by_validity(now, f) : by_name(now, f->name);

        for (unsigned j = 0; j < f->count; j++) {
            const struct state_message *m = &f->messages[j], *x = by_uid(g, m->uid);

            if (copies(done, m->sum) > 0 && copies(now, m->sum) == 0)
                return fail(why, size, f->name, m->uid, "is lost");
            if (uids && x != NULL && x->sum != m->sum)
                return fail(why, size, f->name, m->uid, "is another message now");
            if (uids && later != NULL && by_uid(later, m->uid) != NULL && x == NULL)
                return fail(why, size, f->name, m->uid, "has lost its UID");
        }
        if (later != NULL && g == NULL) {
            snprintf(why, size, "%s: the folder is lost, or its UIDVALIDITY", f->name);
            return false;
        }
        if (uids && g != NULL && g->uidnext < f->uidnext) {
            snprintf(why, size, "%s: UIDs will be given again", f->name);
            return false;
        }
    }
    return true;
}

/* All that is there is whole, and known. */
static bool
judge_whole(const struct state *before, const struct state *done, const struct state *now,
            bool uids, char *why, size_t size)
{
    for (unsigned i = 0; i < now->folders_count; i++) {
        const struct state_folder *f = &now->folders[i];
        const struct state_folder *old = uids ? by_validity(before, f) : NULL;

        if (by_name(before, f->name) == NULL && by_name(done, f->name) == NULL) {
            snprintf(why, size, "%s: a folder that nobody made", f->name);
            return false;
        }
        for (unsigned j = 0; j < f->count; j++) {
            const struct state_message *m = &f->messages[j];

            if (copies(before, m->sum) == 0 && copies(done, m->sum) == 0)
                return fail(why, size, f->name, m->uid, "is not whole");
            if (old != NULL && m->uid < old->uidnext && by_uid(old, m->uid) == NULL)
                return fail(why, size, f->name, m->uid, "has the UID of another message");
        }
    }
    return true;
}

/* Answered OK: as it is when all is done. */
static bool
judge_done(const struct state *done, const struct state *now, char *why, size_t size)
{
    if (now->folders_count != done->folders_count) {
        snprintf(why, size, "answered OK, but there are other folders");
        return false;
    }
    for (unsigned i = 0; i < done->folders_count; i++) {
        const struct state_folder *f = &done->folders[i], *g = by_name(now, f->name);

        if (g == NULL || g->count != f->count) {
            snprintf(why, size, "%s: answered OK, but not done", f->name);
            return false;
        }
        for (unsigned j = 0; j < f->count; j++) {
            const struct state_message *m = &f->messages[j], *x = by_uid(g, m->uid);

            if (x == NULL || x->sum != m->sum || x->flags != m->flags)
                return fail(why, size, f->name, m->uid, "answered OK, but not as it should be");
        }
    }
    return true;
}

bool
selftest_judge(const struct state *before, const struct state *done, const struct state *now,
               bool acknowledged, bool uids, char *why, size_t size)
{
    if (!now->complete) {
        snprintf(why, size, "the account can't be read");
        return false;
    }
    if (now->faults > 0) {
        snprintf(why, size, "index: %s", now->fault);
        return false;
    }
    if (strcmp(now->subscribed, done->subscribed) != 0 &&
        (acknowledged || strcmp(now->subscribed, before->subscribed) != 0)) {
        snprintf(why, size, "subscriptions are \"%s\"", now->subscribed);
        return false;
    }
    return judge_kept(before, done, now, uids, why, size) &&
           judge_whole(before, done, now, uids, why, size) &&
           (!acknowledged || judge_done(done, now, why, size));
}
