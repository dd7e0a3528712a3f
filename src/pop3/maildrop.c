/*
 * The maildrop of one session; see maildrop.h.
 *
 * The numbers are the sequence numbers of a view that is never synced (store/view.h): that is
 * what keeps them. Clients ask for messages in order, so one read of the index fetches a batch
 * and the next requests are answered from it; what it says doesn't age, but for the file's
 * name, which view_message_open() finds again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "format/seqset.h"
#include "pop3/maildrop.h"

#define INBOX "INBOX"

struct maildrop {
    struct account *account;
    struct view *view;
    uint32_t count;
    uint32_t deleted_count;
    bool *deleted;   /* by number - 1; NULL while nothing is marked */
    uint64_t *sizes; /* by number - 1; NULL until all are known */
    bool total_known;
    uint64_t total; /* octets of all messages */
    struct view_batch *batch;
    size_t at; /* where in the batch the last one was found */
};

int
maildrop_open(struct account *a, struct maildrop **out)
{
    struct maildrop *d;
    struct view *view;
    int err;

    *out = NULL;
    err = view_open(a, INBOX, VIEW_POP3, &view);
    if (err < 0)
        return err;
    d = mem_calloc(1, sizeof *d);
    d->account = a;
    d->view = view;
    d->count = view_info(view)->exists;
    *out = d;
    return 0;
}

void
maildrop_rest(struct maildrop *d)
{
    view_batch_free(&d->batch);
}

void
maildrop_close(struct maildrop **d)
{
    if (*d == NULL)
        return;
    maildrop_rest(*d);
    view_close(&(*d)->view);
    free((*d)->deleted);
    free((*d)->sizes);
    free(*d);
    *d = NULL;
}

uint32_t
maildrop_count(const struct maildrop *d)
{
    return d->count;
}

bool
maildrop_is_deleted(const struct maildrop *d, uint32_t n)
{
    return d->deleted != NULL && d->deleted[n - 1];
}

void
maildrop_delete(struct maildrop *d, uint32_t n)
{
    if (d->deleted == NULL)
        d->deleted = mem_calloc(d->count, sizeof *d->deleted);
    if (!d->deleted[n - 1])
        d->deleted_count++;
    d->deleted[n - 1] = true;
}

void
maildrop_reset(struct maildrop *d)
{
    free(d->deleted);
    d->deleted = NULL;
    d->deleted_count = 0;
}

int
maildrop_update(struct maildrop *d)
{
    struct seqset uids;
    uint32_t n;
    int err = 0;

    if (d->deleted_count == 0)
        return 0;
    seqset_init(&uids);
    for (n = 1; err == 0 && n <= d->count; n++) {
        uint32_t uid;

        if (!d->deleted[n - 1])
            continue;
        uid = view_uid(d->view, n);
        if (uid == 0) /* the index can't be read just now: no +OK for what stays */
            err = ERR_TEMP;
        else
            seqset_add(&uids, uid, uid);
    }
    if (err == 0)
        err = view_expunge(d->view, &uids, true, NULL);
    seqset_free(&uids);
    if (err == 0)
        maildrop_reset(d);
    return err;
}

/* The UIDs of the messages first .. last, as many as a batch holds at most. */
static void
add_uids(struct maildrop *d, uint32_t first, uint32_t last, struct seqset *uids)
{
    uint32_t n, uid;

    for (n = first; n <= last && n - first < VIEW_BATCH; n++) {
        uid = view_uid(d->view, n);
        if (uid > 0)
            seqset_add(uids, uid, uid);
    }
}

/* Reads message n and those behind it, up to `last`, into the batch. */
static int
read_batch(struct maildrop *d, uint32_t n, uint32_t last, unsigned want)
{
    struct seqset_iter it = {0};
    struct seqset uids;
    int err;

    if (d->batch == NULL)
        d->batch = view_batch_new();
    d->at = 0;
    seqset_init(&uids);
    add_uids(d, n, last, &uids);
    err = view_read(d->view, &uids, &it, want, d->batch);
    seqset_free(&uids);
    if (err < 0)
        d->batch->count = 0;
    return err < 0 ? err : 0;
}

/* The item of a message in the batch: most likely the next one. */
static struct view_message *
in_batch(struct maildrop *d, uint32_t n)
{
    struct view_batch *b = d->batch;
    size_t i;

    if (b == NULL || b->count == 0 || n < b->items[0].seq)
        return NULL;
    i = d->at < b->count && b->items[d->at].seq <= n ? d->at : 0;
    for (; i < b->count && b->items[i].seq <= n; i++) {
        if (b->items[i].seq == n) {
            d->at = i;
            return &b->items[i];
        }
    }
    return NULL;
}

/* *item is NULL when the view doesn't even have a row for it any more. */
static int
find_item(struct maildrop *d, uint32_t n, struct view_message **item)
{
    int err;

    *item = in_batch(d, n);
    if (*item != NULL)
        return 0;
    err = read_batch(d, n, d->count, 0);
    if (err < 0)
        return err;
    *item = in_batch(d, n);
    return 0;
}

int
maildrop_find(struct maildrop *d, uint32_t n, const struct index_message **m)
{
    struct view_message *item;
    int err = find_item(d, n, &item);

    *m = err == 0 && item != NULL && !item->gone ? &item->m : NULL;
    return err;
}

int
maildrop_size(struct maildrop *d, uint32_t n, uint64_t *octets)
{
    struct view_message *item;
    int err;

    *octets = 0;
    if (d->sizes != NULL) {
        *octets = d->sizes[n - 1];
        return 0;
    }
    err = find_item(d, n, &item);
    if (err == 0 && item != NULL && !item->gone && item->m.crlf_size == MDNAME_SIZE_UNKNOWN) {
        /* only this one: to read 256 files for one answer would be slow */
        err = read_batch(d, n, n, WANT_CRLF_SIZE);
        item = in_batch(d, n);
    }
    if (err == 0 && item != NULL && !item->gone)
        *octets = item->m.crlf_size;
    return err;
}

int
maildrop_load_sizes(struct maildrop *d)
{
    uint64_t *sizes;
    uint32_t n;
    size_t i;
    int err;

    if (d->sizes != NULL || d->count == 0)
        return 0;
    sizes = mem_calloc(d->count, sizeof *sizes);
    for (n = 1; n <= d->count; n += VIEW_BATCH) {
        err = read_batch(d, n, d->count, WANT_CRLF_SIZE);
        if (err < 0) {
            free(sizes);
            return err;
        }
        for (i = 0; i < d->batch->count; i++) {
            const struct view_message *item = &d->batch->items[i];

            if (!item->gone && item->seq > 0 && item->seq <= d->count &&
                item->m.crlf_size != MDNAME_SIZE_UNKNOWN)
                sizes[item->seq - 1] = item->m.crlf_size;
        }
    }
    d->sizes = sizes;
    return 0;
}

void
maildrop_set_size(struct maildrop *d, uint32_t n, uint64_t octets)
{
    if (d->sizes != NULL)
        d->sizes[n - 1] = octets;
}

/* The mailbox's own count of octets is right for us if it still holds the same messages: none
   came (the next UID is the same), so none went (the number is the same). */
static bool
total_from_status(struct maildrop *d)
{
    const struct view_info *info = view_info(d->view);
    struct mailbox_status st;

    if (mailbox_status(d->account, INBOX, true, &st) < 0 ||
        st.uidvalidity != info->uidvalidity || st.uidnext != info->uidnext ||
        st.messages != d->count)
        return false;
    d->total = st.crlf_bytes;
    d->total_known = true;
    return true;
}

int
maildrop_totals(struct maildrop *d, uint32_t *count, uint64_t *octets)
{
    uint32_t n;
    int err;

    *count = d->count - d->deleted_count;
    if (d->deleted_count == 0 && d->sizes == NULL && (d->total_known || total_from_status(d))) {
        *octets = d->total;
        return 0;
    }
    *octets = 0;
    err = maildrop_load_sizes(d);
    for (n = 1; err == 0 && n <= d->count; n++) {
        if (!maildrop_is_deleted(d, n))
            *octets += d->sizes[n - 1];
    }
    return err;
}

/* RFC 1939 7: 1 to 70 octets, 0x21 to 0x7e. */
static bool
uidl_ok(const char *s)
{
    size_t n;

    for (n = 0; s[n] != '\0'; n++) {
        if (s[n] < 0x21 || s[n] > 0x7e || n + 1 >= CONF_UIDL_SIZE)
            return false;
    }
    return n > 0;
}

int
maildrop_uidl(struct maildrop *d, uint32_t n, const char *format, char out[CONF_UIDL_SIZE])
{
    uint32_t uid = view_uid(d->view, n);
    const struct index_message *m;
    int err = uid == 0 ? ERR_TEMP : maildrop_find(d, n, &m);

    if (err < 0)
        return err;
    if (m != NULL && uidl_ok(m->uidl))
        memcpy(out, m->uidl, strlen(m->uidl) + 1);
    else
        conf_uidl_format(format, uid, view_info(d->view)->uidvalidity, out);
    return 0;
}

int
maildrop_open_message(struct maildrop *d, uint32_t n, struct message **out)
{
    const struct index_message *m;
    int err = maildrop_find(d, n, &m);

    *out = NULL;
    if (err < 0)
        return err;
    return m != NULL ? view_message_open(d->view, m, out) : ERR_GONE;
}
