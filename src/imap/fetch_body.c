/*
 * Sections of a message: BODY[...] and the RFC822 items (RFC 3501 6.4.5, 7.4.2).
 *
 * A section is a range of the file, whose size on the wire (every line end CRLF) goes before it
 * as a literal. Small ranges are converted into memory first, so their literal is exact
 * whatever a file's name says about its size. Large ones go straight from the file to the
 * stream; if the file then turns out shorter or longer than announced, the connection ends: the
 * client would take the next response for the message's rest. What another program wrote into
 * the name isn't believed a second time then: the next FETCH measures the file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "format/header.h"
#include "imap/fetch.h"

#define SMALL       65536       /* octets of the file */
#define KEEP_HEADER 65536       /* a larger buffer isn't kept for the next message */
#define FIELDS_MAX  (64u << 20) /* octets on the wire of selected fields */

/* The memo. */

void
fetch_memo_free(struct fetch_memo **m)
{
    if (*m == NULL)
        return;
    message_close(&(*m)->msg);
    arena_free(&(*m)->arena);
    buf_free(&(*m)->header);
    free(*m);
    *m = NULL;
}

/* The memo, empty if it was another message's. */
static struct fetch_memo *
memo_of(struct imap *im, const struct view_message *vm)
{
    struct fetch_memo *m = im->memo;

    if (m == NULL) {
        m = im->memo = mem_calloc(1, sizeof *m);
        m->arena = arena_new();
    } else if (m->uid == vm->m.uid) {
        return m;
    }
    if (m->msg != NULL)
        message_close(&m->msg);
    arena_reset(m->arena);
    if (m->header.cap > KEEP_HEADER)
        buf_free(&m->header);
    m->header.max = im->mime.max_header_size;
    buf_reset(&m->header);
    m->root = NULL;
    m->parsed = m->header_known = false;
    m->uid = vm->m.uid;
    return m;
}

int
fetch_open(struct imap *im, const struct view_message *vm, struct fetch_memo **memo)
{
    *memo = memo_of(im, vm);
    return (*memo)->msg != NULL ? 0 : view_message_open(im->view, &vm->m, &(*memo)->msg);
}

int
fetch_open_header(struct imap *im, const struct view_message *vm, struct fetch_memo **memo)
{
    struct fetch_memo *m;
    int err = fetch_open(im, vm, memo);

    m = *memo;
    if (err != 0 || m->header_known)
        return err;
    buf_reset(&m->header);
    err =
        mime_read_header(message_source(m->msg, 0, message_size(m->msg)),
                         im->mime.max_header_size, &m->header, &m->header_len, &m->header_crlf);
    m->header_known = err == 0;
    return err;
}

static int
parse(struct imap *im, struct fetch_memo *m)
{
    int err;

    arena_reset(m->arena);
    m->root = NULL;
    m->header_known = false;
    buf_reset(&m->header);
    err = mime_parse(message_source(m->msg, 0, message_size(m->msg)), &im->mime, m->arena,
                     &m->header, &m->root);
    if (err != 0) {
        m->root = NULL;
        return err;
    }
    m->parsed = m->header_known = true;
    m->header_len = m->root->header_len;
    m->header_crlf = m->root->header_crlf;
    return 0;
}

/* Only from the cache. A tree that reaches over the file's end is of another version of the
   file: it doesn't count. */
static bool
unpack(const struct view_message *vm, struct fetch_memo *m)
{
    size_t len;
    const char *p = index_cache_find(&vm->cache, CACHE_PARTS, &len);

    if (p == NULL || mime_unpack(p, len, m->arena, &m->root) != 0)
        return false;
    if (m->root->body_off + m->root->body_len == message_size(m->msg))
        return true;
    m->root = NULL;
    return false;
}

int
fetch_open_parts(struct imap *im, const struct view_message *vm, bool parsed,
                 struct fetch_memo **memo)
{
    struct fetch_memo *m;
    struct buf packed = BUF_INIT(SMALL);
    int err = fetch_open(im, vm, memo);

    m = *memo;
    if (err != 0 || (m->root != NULL && (m->parsed || !parsed)))
        return err;
    if (!parsed && unpack(vm, m))
        return 0;
    err = parse(im, m);
    if (err != 0 || parsed)
        return err;
    mime_pack(m->root, &packed);
    if (buf_ok(&packed))
        view_cache_put(im->view, vm->m.uid, CACHE_PARTS, packed.data, packed.len);
    buf_free(&packed);
    return 0;
}

/* Sections. */

struct range {
    uint64_t off, len;
    uint64_t crlf; /* octets on the wire, or MDNAME_SIZE_UNKNOWN */
};

static struct range
header_range(const struct mime_part *p)
{
    return (struct range){p->header_off, p->header_len, p->header_crlf};
}

static struct range
body_range(const struct mime_part *p)
{
    return (struct range){p->body_off, p->body_len, p->body_crlf};
}

/* Of the whole message, without its parts. */
static int
root_range(struct fetch *f, const struct fetch_item *item, struct fetch_memo **memo,
           struct range *r)
{
    uint64_t size, crlf;
    int err = item->section == SECTION_ALL ? fetch_open(f->im, f->vm, memo)
                                           : fetch_open_header(f->im, f->vm, memo);

    if (err != 0)
        return err;
    size = message_size((*memo)->msg);
    crlf = size == f->vm->m.size ? f->vm->m.crlf_size : MDNAME_SIZE_UNKNOWN;
    if (item->section == SECTION_ALL) {
        *r = (struct range){0, size, crlf};
    } else if (item->section == SECTION_TEXT) {
        r->off = (*memo)->header_len < size ? (*memo)->header_len : size;
        r->len = size - r->off;
        r->crlf = crlf != MDNAME_SIZE_UNKNOWN && crlf >= (*memo)->header_crlf
                      ? crlf - (*memo)->header_crlf
                      : MDNAME_SIZE_UNKNOWN;
    } else {
        *r = (struct range){0, (*memo)->header_len, (*memo)->header_crlf};
    }
    return 0;
}

/* ERR_NOENT: there's no such section; the answer is NIL. */
static int
part_range(struct fetch *f, const struct fetch_item *item, struct fetch_memo **memo,
           struct range *r)
{
    const struct mime_part *part;
    int err = fetch_open_parts(f->im, f->vm, false, memo);

    if (err != 0)
        return err;
    part = mime_find_part((*memo)->root, item->path, item->path_len);
    if (part == NULL)
        return ERR_NOENT;
    if (item->section == SECTION_ALL)
        *r = body_range(part);
    else if (item->section == SECTION_MIME)
        *r = header_range(part);
    else if (!part->is_message)
        return ERR_NOENT;
    else if (item->section == SECTION_TEXT)
        *r = body_range(part->children);
    else
        *r = header_range(part->children);
    return 0;
}

struct buf_sink {
    struct sink sink;
    struct buf *to;
};

static int
buf_sink_write(struct sink *s, const void *p, size_t n)
{
    struct buf *to = ((struct buf_sink *)(void *)s)->to;

    buf_add(to, p, n);
    return buf_ok(to) ? 0 : ERR_LIMIT;
}

/* No literal has a NUL (RFC 3501 9: CHAR8). 0x80 stands for it, as in imap_write_string(), so
   that sizes stay what they are. */
static void
hide_nul(char *p, size_t n)
{
    char *hit;

    while (n > 0 && (hit = memchr(p, '\0', n)) != NULL) {
        *hit++ = (char)0x80;
        n -= (size_t)(hit - p);
        p = hit;
    }
}

struct wire_sink {
    struct sink sink;
    struct sink *to;
};

static int
wire_sink_write(struct sink *s, const void *p, size_t n)
{
    struct sink *to = ((struct wire_sink *)(void *)s)->to;
    const char *from = p;
    char piece[4096];
    size_t take;
    int err = 0;

    if (memchr(p, '\0', n) == NULL)
        return to->write(to, p, n);
    for (; n > 0 && err == 0; from += take, n -= take) {
        take = n < sizeof piece ? n : sizeof piece;
        memcpy(piece, from, take);
        hide_nul(piece, take);
        err = to->write(to, piece, take);
    }
    return err;
}

/* The range's octets on the wire from skip on into f->scratch. */
static int
read_small(struct fetch *f, struct message *msg, const struct range *r, uint64_t skip,
           uint64_t count)
{
    struct buf_sink sink = {{buf_sink_write}, &f->scratch};
    int64_t got;

    buf_reset(&f->scratch);
    got = message_send(msg, r->off, r->len, skip, count, &sink.sink);
    return got < 0 ? (int)got : 0;
}

static void
write_literal_size(struct fetch *f, uint64_t n)
{
    buf_addc(&f->out, '{');
    buf_addu(&f->out, n);
    buf_add(&f->out, "}\r\n", 3);
}

/* The range should have ended before octet `end` of the wire. Does it go on? */
static bool
goes_on(struct fetch *f, struct message *msg, const struct range *r, uint64_t end)
{
    struct buf_sink sink = {{buf_sink_write}, &f->scratch};

    buf_reset(&f->scratch);
    return end == r->crlf && message_send(msg, r->off, r->len, end, 1, &sink.sink) == 1;
}

static int
send_large(struct fetch *f, struct message *msg, const struct range *r, uint64_t skip,
           uint64_t count)
{
    struct wire_sink sink = {{wire_sink_write}, stream_sink(f->im->out)};
    int64_t size = message_wire_size(msg, r->off, r->len, r->crlf, skip, count), sent;

    if (size < 0)
        return (int)size;
    write_literal_size(f, (uint64_t)size);
    fetch_flush(f);
    sent = message_send(msg, r->off, r->len, skip, (uint64_t)size, &sink.sink);
    if (stream_error(f->im->out) != 0 ||
        (sent == size && !goes_on(f, msg, r, skip + (uint64_t)size)))
        return 0;
    log_error("message %s: %lld of %lld octets sent (%s), connection dropped", f->vm->m.name,
              (long long)sent, (long long)size,
              sent < 0 ? err_text((int)sent) : "its size is another");
    view_distrust_size(f->im->view, f->vm->m.uid);
    f->broken = true;
    return ERR_IO;
}

static int
send_range(struct fetch *f, const struct fetch_item *item, struct fetch_memo *memo,
           const struct range *r)
{
    uint64_t skip = item->partial ? item->skip : 0;
    uint64_t count = item->partial ? item->count : UINT64_MAX;
    int err;

    if (r->len > SMALL)
        return send_large(f, memo->msg, r, skip, count);
    err = read_small(f, memo->msg, r, skip, count);
    if (err != 0)
        return err;
    if (!item->partial && item->path_len == 0 && r->crlf != MDNAME_SIZE_UNKNOWN &&
        f->scratch.len != r->crlf)
        view_distrust_size(f->im->view, f->vm->m.uid);
    write_literal_size(f, f->scratch.len);
    hide_nul(f->scratch.data, f->scratch.len);
    buf_add(&f->out, f->scratch.data, f->scratch.len);
    return 0;
}

/* Writes what is in f->scratch, or the part of it that is asked for. */
static void
write_scratch(struct fetch *f, const struct fetch_item *item)
{
    size_t skip = 0, n = f->scratch.len;

    if (item->partial) {
        skip = item->skip < n ? (size_t)item->skip : n;
        n -= skip;
        n = item->count < n ? (size_t)item->count : n;
    }
    write_literal_size(f, n);
    hide_nul(f->scratch.data, f->scratch.len);
    buf_add(&f->out, buf_str(&f->scratch) + skip, n);
}

static void
select_fields(struct fetch *f, const struct fetch_item *item, const char *block, size_t len)
{
    buf_reset(&f->scratch);
    header_select(block, len, item->names, item->names_count,
                  item->section == SECTION_FIELDS_NOT, &f->scratch);
}

int
fetch_frequent(struct imap *im, const struct view_message *vm, struct buf *scratch,
               const char **p, size_t *len)
{
    struct fetch_memo *memo;
    int err;

    *p = index_cache_find(&vm->cache, CACHE_HEADERS, len);
    if (*p != NULL)
        return 0;
    err = fetch_open_header(im, vm, &memo);
    if (err != 0)
        return err;
    buf_reset(scratch);
    fetch_select_frequent(buf_str(&memo->header), memo->header.len, scratch);
    *p = buf_str(scratch);
    *len = scratch->len;
    if (*len <= SMALL)
        view_cache_put(im->view, vm->m.uid, CACHE_HEADERS, *p, *len);
    return 0;
}

/* Fields that are cached, or will be from now on. */
static int
write_frequent(struct fetch *f, const struct fetch_item *item)
{
    struct buf all = BUF_INIT(FIELDS_MAX);
    const char *p;
    size_t len;
    int err = fetch_frequent(f->im, f->vm, &all, &p, &len);

    if (err == 0) {
        select_fields(f, item, p, len);
        write_scratch(f, item);
    }
    buf_free(&all);
    return err;
}

/* Fields of the message's header, or of a nested message's. */
static int
write_fields(struct fetch *f, const struct fetch_item *item)
{
    struct fetch_memo *memo;
    struct buf block = BUF_INIT(FIELDS_MAX);
    struct range r;
    int err;

    if (item->path_len == 0) {
        err = fetch_open_header(f->im, f->vm, &memo);
        if (err != 0)
            return err;
        select_fields(f, item, buf_str(&memo->header), memo->header.len);
    } else {
        err = part_range(f, item, &memo, &r);
        if (err != 0)
            return err;
        if (r.len > f->im->mime.max_header_size)
            r.len = f->im->mime.max_header_size;
        err = read_small(f, memo->msg, &r, 0, UINT64_MAX);
        if (err != 0)
            return err;
        buf_add(&block, f->scratch.data, f->scratch.len);
        select_fields(f, item, buf_str(&block), block.len);
        buf_free(&block);
    }
    write_scratch(f, item);
    return 0;
}

int
fetch_write_section(struct fetch *f, const struct fetch_item *item)
{
    struct fetch_memo *memo;
    struct range r;
    int err;

    if (item->frequent)
        err = write_frequent(f, item);
    else if (item->section == SECTION_FIELDS || item->section == SECTION_FIELDS_NOT)
        err = write_fields(f, item);
    else {
        err = item->path_len == 0 ? root_range(f, item, &memo, &r)
                                  : part_range(f, item, &memo, &r);
        if (err == 0)
            return send_range(f, item, memo, &r);
    }
    if (err != ERR_NOENT)
        return err;
    buf_adds(&f->out, "NIL");
    return 0;
}
