/*
 * One pass over a message (RFC 2046 5.1): finds header blocks and boundaries, counts octets and
 * lines, and hands the octets on. Doesn't know what the fields mean, except for the three that
 * steer it: multipart with its boundary, message/rfc822, and an encoding that hides a message.
 *
 * How it reads. The file is read into one buffer. scan() goes over it line by line with
 * memchr(), and hands over runs of whole buffers rather than lines. At the start of a line,
 * enough of it must be in the buffer to compare it with every boundary (LOOKAHEAD); the rest of
 * a line may come in any number of pieces, so a line of megabytes costs nothing special.
 *
 * What is open is a stack of frames: multiparts, encapsulated messages, and the leaf whose
 * octets are coming on top. A boundary of frame k closes all frames above k. The line end
 * before a boundary belongs to the boundary (RFC 2046 5.1.1), so parts end there.
 *
 * A boundary matches when a line begins with it; of several, the longest one does, and of equal
 * ones, the innermost: so boundaries may be prefixes of each other.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format/mime_lex.h"
#include "format/mime_walk.h"

#define BUFFER_SIZE  32768 /* on the stack: most messages use two pages of it */
#define BOUNDARY_MAX 500   /* octets; RFC 2046 5.1.1 allows 70 */
#define LOOKAHEAD    512   /* "--" boundary "--" and a line end fit */
#define FRAMES_FIRST 8

/* A place in the file, and what the wire has more up to it. */
struct mark {
    uint64_t off;
    uint64_t extra; /* line ends without CR */
    uint64_t lines; /* line ends */
};

struct frame {
    struct mime_part *part, *last_child;
    struct mark body;
    const char *boundary;
    size_t boundary_len; /* 0: none, or the last one has come */
};

enum event { EVENT_NONE, EVENT_END, EVENT_BLANK, EVENT_BOUNDARY, EVENT_STOP };

struct walk {
    struct source *src;
    const struct mime_limits *limits;
    struct arena *arena;
    const struct mime_walk_ops *ops;
    void *ctx;

    char *data; /* BUFFER_SIZE octets, of which [pos, len) aren't consumed */
    size_t pos, len;
    bool eof;
    bool line_start; /* pos is at the start of a line */
    bool prev_crlf;  /* the last line end was CRLF */
    char last;       /* the last octet consumed */
    struct mark at;  /* pos */

    struct frame *frames;
    size_t depth, frames_cap;
    unsigned boundaries; /* frames with one */
    unsigned parts;
    bool in_header;
    struct mark header_start;
    struct buf header;
    size_t match; /* of EVENT_BOUNDARY: the frame */
    bool closing; /* "--" behind it */
    int err;      /* of EVENT_STOP */
};

/* Moves what isn't consumed to the front and reads until a line can be compared. */
static int
fill(struct walk *w)
{
    ssize_t got;

    memmove(w->data, w->data + w->pos, w->len - w->pos);
    w->len -= w->pos;
    w->pos = 0;
    while (!w->eof && w->len < LOOKAHEAD) {
        got = w->src->read(w->src, w->data + w->len, BUFFER_SIZE - w->len);
        if (got < 0)
            return (int)got;
        if (got == 0)
            w->eof = true;
        w->len += (size_t)got;
    }
    return 0;
}

/* Is the line at p, which begins with "--", a boundary? Sets match and closing. */
static bool
is_boundary(struct walk *w, const char *p, size_t avail)
{
    const struct frame *best = NULL, *f;
    size_t i;

    p += 2;
    avail -= 2;
    for (i = w->depth; i-- > 0;) {
        f = &w->frames[i];
        if (f->boundary_len == 0 || f->boundary_len > avail ||
            (best != NULL && f->boundary_len <= best->boundary_len) ||
            memcmp(p, f->boundary, f->boundary_len) != 0)
            continue;
        best = f;
        w->match = i;
    }
    if (best == NULL)
        return false;
    p += best->boundary_len;
    w->closing = avail - best->boundary_len >= 2 && p[0] == '-' && p[1] == '-';
    return true;
}

/* Consumes lines as far as they are known. EVENT_NONE: more must be read. */
static enum event
scan_lines(struct walk *w)
{
    const char *start = w->data + w->pos, *p = start, *end = w->data + w->len, *nl;
    enum event event = EVENT_NONE;
    char before = w->last;

    while (p < end) {
        if (w->line_start) {
            if (end - p < LOOKAHEAD && !w->eof)
                break;
            if (w->boundaries > 0 && *p == '-' && end - p > 2 && p[1] == '-' &&
                is_boundary(w, p, (size_t)(end - p))) {
                event = EVENT_BOUNDARY;
                break;
            }
            if (w->in_header && (*p == '\n' || (*p == '\r' && end - p > 1 && p[1] == '\n')))
                event = EVENT_BLANK;
        }
        nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL) {
            before = end[-1];
            w->line_start = false;
            p = end;
            break;
        }
        w->prev_crlf = (nl == p ? before : nl[-1]) == '\r';
        w->at.extra += !w->prev_crlf;
        w->at.lines++;
        w->line_start = true;
        before = '\n';
        p = nl + 1;
        if (event == EVENT_BLANK)
            break;
    }
    w->last = before;
    w->at.off += (uint64_t)(p - start);
    w->pos += (size_t)(p - start);
    return event;
}

/* Hands consumed octets to whom they belong. */
static int
emit(struct walk *w, const char *p, size_t n)
{
    struct mime_part *part = w->frames[w->depth - 1].part;
    size_t room;

    if (n == 0)
        return 0;
    if (w->in_header) {
        room = w->header.max - w->header.len;
        buf_add(&w->header, p, n < room ? n : room);
        return 0;
    }
    if (w->ops->body != NULL && !part->is_multipart && !part->is_message)
        return w->ops->body(w->ctx, part, p, n);
    return 0;
}

static enum event
scan(struct walk *w)
{
    enum event event;
    size_t start;

    for (;;) {
        if (!w->eof && (w->pos == w->len || (w->line_start && w->len - w->pos < LOOKAHEAD))) {
            w->err = fill(w);
            if (w->err != 0)
                return EVENT_STOP;
        }
        if (w->pos == w->len)
            return EVENT_END;
        start = w->pos;
        event = scan_lines(w);
        w->err = emit(w, w->data + start, w->pos - start);
        if (w->err != 0)
            return EVENT_STOP;
        if (event != EVENT_NONE)
            return event;
    }
}

/* Consumes the boundary's line. */
static int
skip_line(struct walk *w)
{
    const char *nl;
    size_t n;
    int err;

    for (;;) {
        nl = memchr(w->data + w->pos, '\n', w->len - w->pos);
        n = nl != NULL ? (size_t)(nl - w->data) - w->pos + 1 : w->len - w->pos;
        if (nl != NULL) {
            w->prev_crlf = (n > 1 ? nl[-1] : w->last) == '\r';
            w->at.extra += !w->prev_crlf;
            w->at.lines++;
        }
        if (n > 0)
            w->last = w->data[w->pos + n - 1];
        w->pos += n;
        w->at.off += n;
        w->line_start = nl != NULL;
        if (nl != NULL || w->eof)
            return 0;
        err = fill(w);
        if (err != 0)
            return err;
    }
}

static struct frame *
push(struct walk *w)
{
    if (w->depth == w->frames_cap) {
        w->frames_cap = w->frames_cap > 0 ? w->frames_cap * 2 : FRAMES_FIRST;
        w->frames = mem_reallocarray(w->frames, w->frames_cap, sizeof *w->frames);
    }
    memset(&w->frames[w->depth], 0, sizeof *w->frames);
    return &w->frames[w->depth++];
}

/* A new part at the current place, as child of the top frame. */
static struct mime_part *
part_new(struct walk *w)
{
    struct mime_part *part = arena_calloc(w->arena, 1, sizeof *part);
    struct frame *top;

    part->header_off = part->body_off = w->at.off;
    w->parts++;
    if (w->depth == 0)
        return part;
    top = &w->frames[w->depth - 1];
    part->parent = top->part;
    if (top->last_child == NULL)
        top->part->children = part;
    else
        top->last_child->next = part;
    top->last_child = part;
    return part;
}

static void
open_part(struct walk *w)
{
    struct mime_part *part = part_new(w);

    push(w)->part = part;
    w->header_start = w->at;
    buf_reset(&w->header);
    w->in_header = true;
}

static void
make_opaque(struct mime_part *part)
{
    part->type = "APPLICATION";
    part->subtype = "OCTET-STREAM";
    part->params = NULL;
}

/* The boundary parameter without trailing blanks (RFC 2046 5.1.1), NULL if it can't be one. */
static const char *
boundary_of(const struct mime_part *part, size_t *len)
{
    const char *b = mime_param_get(part->params, "boundary");

    if (b == NULL)
        return NULL;
    *len = strlen(b);
    while (*len > 0 && (b[*len - 1] == ' ' || b[*len - 1] == '\t'))
        --*len;
    return *len == 0 || *len > BOUNDARY_MAX ? NULL : b;
}

/* Turns the top part into what its type says it is, within the limits. */
static void
treat_multipart(struct walk *w, struct frame *f)
{
    f->boundary = boundary_of(f->part, &f->boundary_len);
    if (f->boundary == NULL) {
        /* not valid without one, so RFC 2045 5.2 makes plain text of it */
        f->boundary_len = 0;
        f->part->type = "TEXT";
        f->part->subtype = "PLAIN";
        f->part->params = NULL;
    } else if (w->depth >= w->limits->max_depth) {
        f->boundary_len = 0;
        make_opaque(f->part);
    } else {
        f->part->is_multipart = true;
        w->boundaries++;
    }
}

static void
treat_message(struct walk *w, struct frame *f)
{
    enum mime_encoding e = f->part->encoding;

    if ((e != ENC_7BIT && e != ENC_8BIT && e != ENC_BINARY) ||
        w->depth >= w->limits->max_depth || w->parts >= w->limits->max_parts) {
        make_opaque(f->part);
        return;
    }
    f->part->is_message = true;
    open_part(w); /* f is void from here on */
}

/* The header of the top part is complete, with or without a blank line. */
static int
finish_header(struct walk *w)
{
    struct frame *f = &w->frames[w->depth - 1];
    struct mime_part *part = f->part;
    int err;

    w->in_header = false;
    part->header_len = w->at.off - w->header_start.off;
    part->header_crlf = part->header_len + w->at.extra - w->header_start.extra;
    part->body_off = w->at.off;
    f->body = w->at;
    err = w->ops->header(w->ctx, part, buf_str(&w->header), w->header.len,
                         part->parent == NULL || part->parent->is_message);
    if (err != 0)
        return err;
    if (strcasecmp(part->type, "multipart") == 0)
        treat_multipart(w, f);
    else if (strcasecmp(part->type, "message") == 0 && strcasecmp(part->subtype, "rfc822") == 0)
        treat_message(w, f);
    return 0;
}

/* The grammar of BODYSTRUCTURE wants at least one part in a multipart (RFC 3501 9:
   body-type-mpart), so an empty one gets an empty text. */
static int
add_empty_child(struct walk *w)
{
    static const char none[] = "";
    struct mime_part *part = part_new(w);

    return w->ops->header(w->ctx, part, none, 0, false);
}

/* Closes the frames from `keep` on; their bodies end at `end`. */
static int
close_frames(struct walk *w, size_t keep, const struct mark *end)
{
    struct frame *f;
    int err = 0;

    while (err == 0 && w->depth > keep) {
        f = &w->frames[w->depth - 1];
        if (f->part->is_multipart && f->part->children == NULL)
            err = add_empty_child(w);
        if (end->off > f->body.off) {
            f->part->body_len = end->off - f->body.off;
            f->part->body_crlf = f->part->body_len + end->extra - f->body.extra;
            f->part->body_lines = end->lines - f->body.lines;
        }
        if (f->boundary_len > 0)
            w->boundaries--;
        w->depth--;
    }
    return err;
}

/* A header that isn't at its end yet ends here. A message/rfc822 opens its own header. */
static int
finish_headers(struct walk *w)
{
    int err = 0;

    while (err == 0 && w->in_header)
        err = finish_header(w);
    return err;
}

static int
at_boundary(struct walk *w)
{
    size_t k = w->match;
    struct mark end;
    int err = finish_headers(w);

    if (err != 0)
        return err;
    end = w->at;
    if (end.lines > 0) {
        end.off -= w->prev_crlf ? 2 : 1;
        end.extra -= !w->prev_crlf;
        end.lines--;
    }
    err = close_frames(w, k + 1, &end);
    if (err != 0)
        return err;
    err = skip_line(w);
    if (err != 0)
        return err;
    if (w->closing) {
        w->frames[k].boundary_len = 0;
        w->boundaries--;
    } else if (w->parts >= w->limits->max_parts) {
        w->boundaries = 0; /* all further parts are an epilogue */
        for (size_t i = 0; i < w->depth; i++)
            w->frames[i].boundary_len = 0;
    } else {
        open_part(w);
    }
    return 0;
}

static int
run(struct walk *w)
{
    int err = 0;

    while (err == 0) {
        switch (scan(w)) {
        case EVENT_BLANK:
            err = finish_header(w);
            break;
        case EVENT_BOUNDARY:
            err = at_boundary(w);
            break;
        case EVENT_STOP:
            return w->err;
        default:
            err = finish_headers(w);
            return err != 0 ? err : close_frames(w, 0, &w->at);
        }
    }
    return err;
}

int
mime_walk(struct source *src, const struct mime_limits *limits, struct arena *arena,
          const struct mime_walk_ops *ops, void *ctx, struct mime_part **root)
{
    struct walk w = {.src = src,
                     .limits = limits,
                     .arena = arena,
                     .ops = ops,
                     .ctx = ctx,
                     .line_start = true,
                     .last = '\n'};
    char data[BUFFER_SIZE];
    int err;

    w.data = data;
    buf_init(&w.header, limits->max_header_size);
    open_part(&w);
    *root = w.frames[0].part;
    err = run(&w);
    free(w.frames);
    buf_free(&w.header);
    return err;
}
