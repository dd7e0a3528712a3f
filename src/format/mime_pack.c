/*
 * The part tree as a cache entry: offsets and sizes only.
 *
 *     octet 1 (version), then for each part, parents before children:
 *       flags (1 multipart, 2 message), number of children,
 *       header_off - start, header_len, body_len, header_crlf - header_len,
 *       body_crlf - body_len, body_lines
 *
 * `start` is where the part before it of the same parent ended, or the parent's body began; the
 * body begins where the header ends. All numbers as base 128 varints, low digits first.
 *
 * The reader trusts nothing: a cache file may be damaged.
 */
#include <string.h>

#include "base/err.h"
#include "format/mime.h"

#define PACK_VERSION   1
#define FLAG_MULTIPART 1u
#define FLAG_MESSAGE   2u
#define DEPTH_MAX      1024 /* more than any limit that can be configured */

static void
add_number(uint64_t n, struct buf *out)
{
    while (n >= 0x80) {
        buf_addc(out, (char)(n | 0x80));
        n >>= 7;
    }
    buf_addc(out, (char)n);
}

static uint64_t
part_end(const struct mime_part *part)
{
    return part->body_off + part->body_len;
}

static void
pack_part(const struct mime_part *part, uint64_t start, struct buf *out)
{
    const struct mime_part *child;
    uint64_t count = 0;

    for (child = part->children; child != NULL; child = child->next)
        count++;
    add_number(
        (part->is_multipart ? FLAG_MULTIPART : 0) | (part->is_message ? FLAG_MESSAGE : 0), out);
    add_number(count, out);
    add_number(part->header_off - start, out);
    add_number(part->header_len, out);
    add_number(part->body_len, out);
    add_number(part->header_crlf - part->header_len, out);
    add_number(part->body_crlf - part->body_len, out);
    add_number(part->body_lines, out);
    start = part->body_off;
    for (child = part->children; child != NULL; child = child->next) {
        pack_part(child, start, out);
        start = part_end(child);
    }
}

void
mime_pack(const struct mime_part *root, struct buf *out)
{
    buf_addc(out, PACK_VERSION);
    pack_part(root, 0, out);
}

struct reader {
    const unsigned char *p, *end;
    struct arena *arena;
    bool bad;
};

static uint64_t
read_number(struct reader *r)
{
    uint64_t n = 0;
    unsigned shift = 0;

    while (r->p < r->end && shift < 63) {
        n |= (uint64_t)(*r->p & 0x7f) << shift;
        if ((*r->p++ & 0x80) == 0)
            return n;
        shift += 7;
    }
    r->bad = true;
    return 0;
}

/* a + b, or bad when it's beyond what a file can be. */
static uint64_t
sum(struct reader *r, uint64_t a, uint64_t b)
{
    if (a > INT64_MAX || b > INT64_MAX - a) {
        r->bad = true;
        return 0;
    }
    return a + b;
}

static struct mime_part *read_part(struct reader *r, struct mime_part *parent, uint64_t start,
                                   unsigned depth);

static void
read_children(struct reader *r, struct mime_part *part, uint64_t count, unsigned depth)
{
    struct mime_part **tail = &part->children;
    uint64_t start = part->body_off;

    /* a part takes eight octets at least, so count can't make this long */
    for (; count > 0 && !r->bad; count--) {
        *tail = read_part(r, part, start, depth + 1);
        if (*tail == NULL)
            return;
        start = part_end(*tail);
        /* a part that ends in its header may reach over the line end before the boundary; an
           empty one may stand behind its parent (see add_empty_child()) */
        if (start > sum(r, part_end(part), 2) && (*tail)->header_len + (*tail)->body_len > 0)
            r->bad = true;
        tail = &(*tail)->next;
    }
}

static struct mime_part *
read_part(struct reader *r, struct mime_part *parent, uint64_t start, unsigned depth)
{
    struct mime_part *part = arena_calloc(r->arena, 1, sizeof *part);
    uint64_t flags = read_number(r), count = read_number(r);

    part->parent = parent;
    part->header_off = sum(r, start, read_number(r));
    part->header_len = read_number(r);
    part->body_len = read_number(r);
    part->body_off = sum(r, part->header_off, part->header_len);
    sum(r, part->body_off, part->body_len);
    part->header_crlf = sum(r, part->header_len, read_number(r));
    part->body_crlf = sum(r, part->body_len, read_number(r));
    part->body_lines = read_number(r);
    part->is_multipart = flags == FLAG_MULTIPART;
    part->is_message = flags == FLAG_MESSAGE;
    part->type = part->subtype = part->encoding_name = "";
    if (flags > FLAG_MESSAGE || depth > DEPTH_MAX || (flags == 0 && count != 0) ||
        (part->is_message && count != 1) || (part->is_multipart && count == 0))
        r->bad = true;
    if (r->bad)
        return NULL;
    read_children(r, part, count, depth);
    return r->bad ? NULL : part;
}

int
mime_unpack(const char *p, size_t len, struct arena *arena, struct mime_part **root)
{
    struct reader r = {(const unsigned char *)p, (const unsigned char *)p + len, arena, false};

    *root = NULL;
    if (len == 0 || *r.p++ != PACK_VERSION)
        return ERR_CORRUPT;
    *root = read_part(&r, NULL, 0, 0);
    if (r.bad || r.p != r.end) {
        *root = NULL;
        return ERR_CORRUPT;
    }
    return 0;
}
