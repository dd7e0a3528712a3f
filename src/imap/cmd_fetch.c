/*
 * FETCH and UID FETCH (RFC 3501 6.4.5, 6.4.8).
 *
 * The arguments become a plan once (fetch_plan.c). Messages are read from the index in batches,
 * without the lock being held while anything is written; their responses are collected in a
 * buffer and given to the stream in large pieces.
 *
 * A response is begun only to be finished: when an item fails (the message is gone, its file
 * can't be read), what was collected of it is cut off again; if part of it is on its way
 * already, the item is NIL.
 *
 * Messages that were expunged by others: the rest is answered, then the command says so
 * (RFC 5530 EXPUNGEISSUED). With UIDs that is no failure: RFC 3501 6.4.8 has unknown UIDs
 * ignored, and clients which synchronise would give up at a NO.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "imap/fetch.h"

#define OUT_FLUSH 32768        /* collected octets that go to the stream */
#define OUT_MAX   (256u << 20) /* of one message's structures and small sections */
#define SEEN_STEP 16           /* messages marked \Seen ahead of being sent */

void
fetch_flush(struct fetch *f)
{
    if (f->out.len == 0)
        return;
    stream_write(f->im->out, f->out.data, f->out.len);
    buf_reset(&f->out);
    f->started = true;
    f->start = 0;
}

/* Marks those of the next messages \Seen that aren't (RFC 3501 6.4.5: BODY[] without PEEK), a
   few at a time: one transaction for all of them is quicker, but a client that goes away in
   the middle must not find hundreds marked that it never got. */
static void
mark_seen(struct fetch *f, struct view_batch *b, size_t from, bool *seen)
{
    const struct flag_set set = {.flags = MSG_SEEN};
    struct seqset unseen, changed, gone;
    size_t end = from + SEEN_STEP < b->count ? from + SEEN_STEP : b->count, i;

    seqset_init(&unseen);
    seqset_init(&changed);
    seqset_init(&gone);
    for (i = from; i < end; i++) {
        seen[i] = false;
        if (!b->items[i].gone && !(b->items[i].m.flags & MSG_SEEN))
            seqset_add(&unseen, b->items[i].m.uid, b->items[i].m.uid);
    }
    if (unseen.count > 0 && view_store(f->im->view, &unseen, STORE_ADD, &set, UINT64_MAX,
                                       &changed, NULL, &gone) == 0) {
        for (i = from; i < end; i++) {
            if (seqset_has(&gone, b->items[i].m.uid))
                b->items[i].gone = true;
            if (!seqset_has(&changed, b->items[i].m.uid))
                continue;
            b->items[i].m.flags |= MSG_SEEN;
            seen[i] = true;
        }
    }
    seqset_free(&unseen);
    seqset_free(&changed);
    seqset_free(&gone);
}

static int
write_items(struct fetch *f)
{
    const struct fetch_item *item;
    int err;

    for (size_t i = 0; i < f->plan->count; i++) {
        item = &f->plan->items[i];
        if (i > 0)
            buf_addc(&f->out, ' ');
        buf_add(&f->out, item->label, item->label_len);
        err = fetch_write_item(f, item);
        if (err == 0)
            continue;
        if (f->broken || !f->started)
            return err;
        buf_adds(&f->out, "NIL");
    }
    return 0;
}

static int
one_message(struct fetch *f, const struct view_message *vm, bool seen)
{
    const struct fetch_item flags = {.kind = FETCH_FLAGS};
    int err;

    f->vm = vm;
    f->start = f->out.len;
    f->started = false;
    buf_add(&f->out, "* ", 2);
    buf_addu(&f->out, vm->seq);
    buf_add(&f->out, " FETCH (", 8);
    err = write_items(f);
    if (err != 0) {
        buf_cut(&f->out, f->start);
        return err;
    }
    if (seen && !f->plan->has_flags) {
        buf_add(&f->out, " FLAGS ", 7);
        fetch_write_item(f, &flags);
    }
    buf_add(&f->out, ")\r\n", 3);
    if (!buf_ok(&f->out)) {
        f->broken = true; /* part of it may be missing */
        return ERR_LIMIT;
    }
    if (f->out.len >= OUT_FLUSH)
        fetch_flush(f);
    return 0;
}

/* 0, or what went wrong with some message, which the others don't suffer from. */
static int
one_batch(struct fetch *f, struct view_batch *b)
{
    bool seen[VIEW_BATCH] = {false};
    bool marking = f->plan->sets_seen && !view_info(f->im->view)->readonly;
    int err, first = 0;

    for (size_t i = 0; i < b->count; i++) {
        if (marking && i % SEEN_STEP == 0)
            mark_seen(f, b, i, seen);
        err = b->items[i].gone || b->items[i].seq == 0 ? ERR_GONE
                                                       : one_message(f, &b->items[i], seen[i]);
        if (first == 0 || first == ERR_GONE)
            first = err != 0 ? err : first;
        if (f->broken || stream_error(f->im->out) != 0)
            break;
    }
    return first;
}

static int
all_messages(struct fetch *f, const struct seqset *uids)
{
    struct imap *im = f->im;
    struct seqset_iter it = {0};
    int err, first = 0;

    if (im->batch == NULL)
        im->batch = view_batch_new();
    for (;;) {
        err = view_read(im->view, uids, &it, f->plan->want, im->batch);
        if (err != 0)
            return err;
        if (im->batch->count == 0)
            return first;
        err = one_batch(f, im->batch);
        if (first == 0 || first == ERR_GONE)
            first = err != 0 ? err : first;
        if (f->broken || stream_error(im->out) != 0)
            return ERR_IO;
        if (im->s->stopping != NULL && *im->s->stopping)
            return ERR_TEMP;
    }
}

static struct reply
reply_of(struct fetch *f, int err)
{
    struct imap *im = f->im;

    if (f->broken) {
        im->logout = true;
        im->s->end_reason = "a message changed while it was sent";
        return (struct reply){REPLY_NONE, ""};
    }
    if (err == ERR_GONE)
        return im->parse.uid ? reply_ok("[EXPUNGEISSUED] Some messages were expunged")
                             : reply_no("[EXPUNGEISSUED] Some messages were expunged");
    return err == 0 ? reply_ok("Fetched") : reply_err(err);
}

struct reply
cmd_fetch(struct imap *im)
{
    const struct token *args = im->parse.args;
    struct fetch_plan plan;
    struct fetch *f;
    struct seqset uids;
    struct reply r;
    int err;

    if (args == NULL)
        return reply_bad("FETCH needs a set and items");
    err = fetch_plan_read(im, args->next, &plan);
    if (err != 0)
        return err == ERR_LIMIT ? reply_bad("Too many items") : reply_bad("Error in the items");
    seqset_init(&uids);
    err = imap_read_set(im, args, im->parse.uid, &uids);
    if (err != 0) {
        seqset_free(&uids);
        return reply_err(err);
    }
    f = arena_calloc(im->arena, 1, sizeof *f);
    f->im = im;
    f->plan = &plan;
    buf_init(&f->out, OUT_MAX);
    buf_init(&f->scratch, OUT_MAX);
    err = all_messages(f, &uids);
    fetch_flush(f);
    view_cache_flush(im->view);
    r = reply_of(f, err);
    buf_free(&f->out);
    buf_free(&f->scratch);
    seqset_free(&uids);
    return r;
}
