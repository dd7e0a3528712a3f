/*
 * FETCH items that come from the index and the cache, or go into it (RFC 3501 7.4.2).
 *
 * The cache holds ENVELOPE, BODY and BODYSTRUCTURE as the bytes of the response, so that a warm
 * FETCH is a copy. What is missing is made from the message, and put there.
 */
#include <string.h>

#include "base/err.h"
#include "format/imapdate.h"
#include "imap/fetch.h"

#define CACHE_MAX 65536 /* octets of an entry; larger ones are made again each time */

/* A list of flags without keywords takes one of 128 forms: made once a command. */
static void
write_flags(struct fetch *f)
{
    const struct index_message *m = &f->vm->m;
    unsigned bits = m->flags & (MSG_FLAGS | MSG_PASSED);
    unsigned i = bits | (f->vm->recent ? 0x40u : 0);
    size_t start = f->out.len;

    if (m->keywords == 0 && f->flag_texts[i].len > 0) {
        buf_add(&f->out, f->flag_texts[i].text, f->flag_texts[i].len);
        return;
    }
    imap_write_flags(f->im, m->flags, m->keywords, f->vm->recent, &f->out);
    if (m->keywords == 0 && f->out.len - start <= sizeof f->flag_texts[i].text) {
        f->flag_texts[i].len = (uint8_t)(f->out.len - start);
        memcpy(f->flag_texts[i].text, f->out.data + start, f->out.len - start);
    }
}

static void
cache_put(struct fetch *f, enum index_cache_tag tag, const char *p, size_t len)
{
    if (len <= CACHE_MAX)
        view_cache_put(f->im->view, f->vm->m.uid, tag, p, len);
}

/* Copies a cached entry. False when there's none. */
static bool
write_cached(struct fetch *f, enum index_cache_tag tag)
{
    size_t len;
    const char *p = index_cache_find(&f->vm->cache, tag, &len);

    if (p == NULL)
        return false;
    buf_add(&f->out, p, len);
    return true;
}

/* True when the plan needs the parsed message anyway, so that reading only its header for the
   envelope would be work done twice. */
static bool
will_parse(const struct fetch *f)
{
    size_t len;

    for (size_t i = 0; i < f->plan->count; i++) {
        if (f->plan->items[i].kind == FETCH_BODYSTRUCTURE &&
            index_cache_find(&f->vm->cache, CACHE_BODYSTRUCTURE, &len) == NULL)
            return true;
        if (f->plan->items[i].kind == FETCH_BODY &&
            index_cache_find(&f->vm->cache, CACHE_BODY, &len) == NULL)
            return true;
    }
    return false;
}

static int
write_envelope(struct fetch *f)
{
    struct fetch_memo *memo;
    size_t start;
    int err;

    if (write_cached(f, CACHE_ENVELOPE))
        return 0;
    err = will_parse(f) ? fetch_open_parts(f->im, f->vm, true, &memo)
                        : fetch_open_header(f->im, f->vm, &memo);
    if (err != 0)
        return err;
    start = f->out.len;
    if (memo->parsed)
        buf_add(&f->out, memo->root->envelope, memo->root->envelope_len);
    else
        envelope_write(buf_str(&memo->header), memo->header.len, &f->im->mime, &f->out);
    cache_put(f, CACHE_ENVELOPE, f->out.data + start, f->out.len - start);
    return 0;
}

static int
write_structure(struct fetch *f, bool extended)
{
    enum index_cache_tag tag = extended ? CACHE_BODYSTRUCTURE : CACHE_BODY;
    struct fetch_memo *memo;
    size_t start;
    int err;

    if (write_cached(f, tag))
        return 0;
    err = fetch_open_parts(f->im, f->vm, true, &memo);
    if (err != 0)
        return err;
    start = f->out.len;
    mime_write_structure(memo->root, extended, &f->out);
    cache_put(f, tag, f->out.data + start, f->out.len - start);
    return 0;
}

int
fetch_write_item(struct fetch *f, const struct fetch_item *item)
{
    switch (item->kind) {
    case FETCH_FLAGS:
        write_flags(f);
        return 0;
    case FETCH_UID:
        buf_addu(&f->out, f->vm->m.uid);
        return 0;
    case FETCH_INTERNALDATE:
        imapdate_write_datetime(f->vm->m.internal_date, &f->out);
        return 0;
    case FETCH_SIZE:
        buf_addu(&f->out, f->vm->m.crlf_size);
        return 0;
    case FETCH_ENVELOPE:
        return write_envelope(f);
    case FETCH_BODY:
        return write_structure(f, false);
    case FETCH_BODYSTRUCTURE:
        return write_structure(f, true);
    default:
        return fetch_write_section(f, item);
    }
}
