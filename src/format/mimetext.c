/*
 * Searching the text of a message in one pass (RFC 3501 6.4.4: BODY, TEXT); see mimetext.h.
 *
 * The octets of each text part run through a pipe in slices:
 *
 *     body -> transfer encoding -> charset -> folding -> window -> needles
 *
 * Each stage that can't take the end of its input yet (half a character, a combining sequence)
 * keeps it for the next slice. The window keeps its last octets, one fewer than the longest
 * needle has, so that a match across two slices is seen. Text that isn't encoded and is ASCII
 * or UTF-8 goes from the read buffer through the folding straight into the window.
 *
 * Searched are parts of type text/ and message/ (delivery reports and the like). Markup isn't
 * taken out of HTML.
 */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "format/charset.h"
#include "format/mime_walk.h"
#include "format/mimetext.h"
#include "format/mimetext_decode.h"
#include "format/mimetext_fold.h"
#include "format/mimetext_needle.h"

#define SLICE      16384      /* octets; all stages' data stays in the processor's cache */
#define WINDOW_MAX (1u << 26) /* octets: a slice folded, and the longest needle */
#define ALL_FOUND  1          /* what ends the walk */

struct search {
    const struct mime_limits *limits;
    struct arena *arena;
    const struct needle *const *needles;
    const enum needle_where *where;
    size_t n;
    uint64_t missing; /* needles not found yet */
    size_t keep;      /* octets of the window that stay */

    const struct mime_part *part; /* whose body is coming */
    bool skip;                    /* it isn't text */
    struct decoder decoder;
    struct charset *charset;
    struct buf decoded; /* encoding undone */
    struct buf half;    /* not yet converted: the start of a character */
    struct buf utf8;    /* converted */
    struct buf tail;    /* not yet folded: could go on */
    struct buf window;
};

static bool
wanted(const struct search *s, enum needle_where where)
{
    size_t i;

    for (i = 0; i < s->n; i++)
        if ((s->missing >> i & 1) && (s->where[i] & where))
            return true;
    return false;
}

/* Looks for what is still missing. ALL_FOUND or 0. */
static int
look(struct search *s, enum needle_where where, const struct buf *text)
{
    size_t i;

    for (i = 0; i < s->n; i++)
        if ((s->missing >> i & 1) && (s->where[i] & where) &&
            needle_find(s->needles[i], text->data, text->len))
            s->missing &= ~(UINT64_C(1) << i);
    return s->missing == 0 ? ALL_FOUND : 0;
}

static int
look_in_window(struct search *s)
{
    int result = look(s, IN_BODY, &s->window);

    if (s->window.len > s->keep)
        buf_drop(&s->window, s->window.len - s->keep);
    return result;
}

static int
feed_utf8(struct search *s, const char *p, size_t n, bool final)
{
    size_t used;

    if (s->tail.len == 0) {
        used = fold_add(p, n, final, &s->window);
        buf_add(&s->tail, p + used, n - used);
    } else {
        buf_add(&s->tail, p, n);
        used = fold_add(s->tail.data, s->tail.len, final, &s->window);
        buf_drop(&s->tail, used);
    }
    return look_in_window(s);
}

static int
feed_charset(struct search *s, const char *p, size_t n, bool final)
{
    size_t used;

    if (charset_is_plain(s->charset))
        return feed_utf8(s, p, n, final);
    buf_reset(&s->utf8);
    if (s->half.len == 0) {
        used = charset_convert(s->charset, p, n, final, &s->utf8);
        buf_add(&s->half, p + used, n - used);
    } else {
        buf_add(&s->half, p, n);
        used = charset_convert(s->charset, s->half.data, s->half.len, final, &s->utf8);
        buf_drop(&s->half, used);
    }
    return feed_utf8(s, buf_str(&s->utf8), s->utf8.len, final);
}

static int
feed(struct search *s, const char *p, size_t n)
{
    if (s->decoder.encoding != ENC_BASE64 && s->decoder.encoding != ENC_QP)
        return feed_charset(s, p, n, false);
    buf_reset(&s->decoded);
    decoder_add(&s->decoder, p, n, &s->decoded);
    return feed_charset(s, buf_str(&s->decoded), s->decoded.len, false);
}

static int
end_part(struct search *s)
{
    int result = 0;

    if (s->part != NULL && !s->skip)
        result = feed_charset(s, "", 0, true);
    s->part = NULL;
    buf_reset(&s->half);
    buf_reset(&s->tail);
    buf_reset(&s->window);
    return result;
}

static void
begin_part(struct search *s, const struct mime_part *part)
{
    const char *charset = mime_param_get(part->params, "charset");

    s->part = part;
    s->skip = strcasecmp(part->type, "text") != 0 && strcasecmp(part->type, "message") != 0;
    if (s->skip)
        return;
    if (charset == NULL)
        charset = "us-ascii";
    decoder_init(&s->decoder, part->encoding);
    s->charset = charset_get(charset, strlen(charset));
    charset_reset(s->charset);
}

static int
on_body(void *ctx, struct mime_part *part, const char *p, size_t n)
{
    struct search *s = ctx;
    size_t slice;
    int result = 0;

    if (part != s->part) {
        result = end_part(s);
        begin_part(s, part);
    }
    if (s->skip)
        return result;
    for (; n > 0 && result == 0; p += slice, n -= slice) {
        slice = n < SLICE ? n : SLICE;
        result = feed(s, p, slice);
    }
    return result;
}

static int
on_header(void *ctx, struct mime_part *part, const char *block, size_t len, bool message)
{
    struct search *s = ctx;
    enum needle_where where = part->parent == NULL ? IN_HEADER : IN_BODY;
    struct header_field f;
    size_t pos = 0;
    unsigned fields = 0;
    int result;

    (void)message;
    while (fields++ < s->limits->max_headers && header_next(block, len, &pos, &f))
        mime_read_field(part, &f, s->limits, s->arena, false);
    mime_read_end(part, s->arena);
    result = end_part(s);
    if (result == 0 && wanted(s, where)) {
        header_fold(block, len, &s->window);
        result = look(s, where, &s->window);
        buf_reset(&s->window);
    }
    return result != 0 || wanted(s, IN_BODY) ? result : ALL_FOUND;
}

static void
search_begin(struct search *s)
{
    size_t i, len, longest = 1;

    s->missing = s->n < 64 ? (UINT64_C(1) << s->n) - 1 : UINT64_MAX;
    for (i = 0; i < s->n; i++) {
        len = needle_length(s->needles[i]);
        if (len > longest)
            longest = len;
        if (len == 0)
            s->missing &= ~(UINT64_C(1) << i);
    }
    s->keep = longest - 1;
    s->arena = arena_new();
    buf_init(&s->decoded, SLICE * 2);
    buf_init(&s->half, SLICE * 2);
    buf_init(&s->utf8, SLICE * 16);
    buf_init(&s->tail, SLICE * 16);
    buf_init(&s->window, WINDOW_MAX);
}

static void
search_end(struct search *s)
{
    arena_free(&s->arena);
    buf_free(&s->decoded);
    buf_free(&s->half);
    buf_free(&s->utf8);
    buf_free(&s->tail);
    buf_free(&s->window);
}

int
mimetext_search(struct source *src, const struct mime_limits *limits,
                const struct needle *const *needles, const enum needle_where *where, size_t n,
                uint64_t *found)
{
    static const struct mime_walk_ops ops = {on_header, on_body};
    struct search s = {.limits = limits, .needles = needles, .where = where};
    struct mime_part *root;
    uint64_t all;
    int result = 0;

    s.n = n < 64 ? n : 64;
    search_begin(&s);
    all = s.n < 64 ? (UINT64_C(1) << s.n) - 1 : UINT64_MAX;
    if (s.missing != 0)
        result = mime_walk(src, limits, s.arena, &ops, &s, &root);
    if (result == 0 && s.missing != 0)
        end_part(&s);
    *found = all & ~s.missing;
    search_end(&s);
    return result < 0 ? result : 0;
}
