/*
 * MIME parameters: RFC 2045 5.1 with the continuations and extended values of RFC 2231 3 and 4.
 *
 * Values stay as they are on the wire (percent-encoded, with their charset): BODYSTRUCTURE
 * hands them to the client in that form. Segments that can't be joined (no segment 0) stay
 * under their own names.
 */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "format/rfc2231.h"

/* One parameter as it stands in the field; name taken apart. */
struct segment {
    const char *name, *value;
    size_t base_len;
    int number;    /* -1: no continuation */
    bool extended; /* trailing '*' */
    bool used;
};

/* Takes "base", "base*", "base*N", "base*N*" apart. Anything else is a plain name. */
static void
segment_name(struct segment *s)
{
    size_t len = strlen(s->name);
    const char *star, *p;
    int n = 0;

    s->base_len = len;
    s->number = -1;
    if (len > 1 && s->name[len - 1] == '*') {
        s->extended = true;
        len--;
    }
    star = memchr(s->name, '*', len);
    if (star == NULL) {
        s->base_len = len;
        return;
    }
    for (p = star + 1; p < s->name + len; p++) {
        if (*p < '0' || *p > '9' || p - star > 4)
            break;
        n = n * 10 + (*p - '0');
    }
    if (star == s->name || p == star + 1 || p < s->name + len) {
        s->extended = false;
        return;
    }
    s->base_len = (size_t)(star - s->name);
    s->number = n;
}

static char *
read_value(struct lexer *lx, struct arena *arena, struct buf *scratch)
{
    buf_reset(scratch);
    lex_skip(lx, NULL);
    if (lx->p < lx->end && *lx->p == '"') {
        lex_quoted(lx, scratch);
    } else {
        /* more than a token: unquoted specials are common, e.g. boundary=a=b */
        while (lx->p < lx->end && (unsigned char)*lx->p > ' ' && *lx->p != ';')
            buf_addc(scratch, *lx->p++);
    }
    return arena_memdup(arena, buf_str(scratch), scratch->len);
}

/* Up to the next ';' outside of quotes and comments. */
static void
skip_to_semicolon(struct lexer *lx, struct buf *scratch)
{
    for (;;) {
        lex_skip(lx, NULL);
        if (lx->p == lx->end || *lx->p == ';')
            return;
        if (*lx->p == '"')
            lex_quoted(lx, scratch);
        else
            lx->p++;
    }
}

static size_t
read_segments(struct lexer *lx, struct segment *segs, unsigned max, struct arena *arena)
{
    struct buf scratch = BUF_INIT((size_t)(lx->end - lx->p) + 1);
    const char *name;
    size_t n = 0, len;

    for (skip_to_semicolon(lx, &scratch); lx->p < lx->end && n < max;
         skip_to_semicolon(lx, &scratch)) {
        lx->p++;
        lex_skip(lx, NULL);
        len = lex_token(lx, &name);
        lex_skip(lx, NULL);
        if (len == 0 || lx->p == lx->end || *lx->p != '=')
            continue;
        lx->p++;
        memset(&segs[n], 0, sizeof segs[n]);
        segs[n].name = arena_memdup(arena, name, len);
        segs[n].value = read_value(lx, arena, &scratch);
        segment_name(&segs[n]);
        n++;
    }
    buf_free(&scratch);
    return n;
}

static bool
same_base(const struct segment *a, const struct segment *b)
{
    return a->base_len == b->base_len && strncasecmp(a->name, b->name, a->base_len) == 0;
}

static struct segment *
find_segment(struct segment *segs, size_t n, const struct segment *like, int number)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (segs[i].number == number && !segs[i].used && same_base(&segs[i], like))
            return &segs[i];
    return NULL;
}

/* A plain segment inside of an extended value: all but attribute-chars as %XX (RFC 2231 7). */
static void
add_encoded(const char *s, struct buf *out)
{
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s > ' ' && (unsigned char)*s < 0x7f &&
            strchr("*'%()<>@,;:\\\"/[]?=", *s) == NULL)
            buf_addc(out, *s);
        else
            buf_addf(out, "%%%02X", (unsigned char)*s);
    }
}

static struct mime_param *
join(struct segment *segs, size_t n, struct segment *first, struct arena *arena)
{
    struct mime_param *param = arena_calloc(arena, 1, sizeof *param);
    struct segment *s;
    struct buf value = BUF_INIT(SIZE_MAX / 4);
    bool extended = false;
    int i;

    for (i = 0; (s = find_segment(segs, n, first, i)) != NULL; i++)
        extended = extended || s->extended;
    for (i = 0; (s = find_segment(segs, n, first, i)) != NULL; i++) {
        if (extended && !s->extended) {
            buf_adds(&value, i == 0 ? "''" : "");
            add_encoded(s->value, &value);
        } else {
            buf_adds(&value, s->value);
        }
        s->used = true;
    }
    param->name =
        arena_printf(arena, "%.*s%s", (int)first->base_len, first->name, extended ? "*" : "");
    param->value = arena_memdup(arena, buf_str(&value), value.len);
    buf_free(&value);
    return param;
}

struct mime_param *
rfc2231_read(struct lexer *lx, unsigned max, struct arena *arena)
{
    struct mime_param *head = NULL, **tail = &head;
    struct segment few[8], *segs = few, *first;
    size_t n, i, room = 0;
    const char *p;

    for (p = lx->p; p < lx->end; p++)
        room += *p == ';';
    if (room > max)
        room = max;
    if (room > sizeof few / sizeof few[0])
        segs = arena_calloc(arena, room, sizeof *segs);
    n = read_segments(lx, segs, (unsigned)room, arena);
    for (i = 0; i < n; i++) {
        if (segs[i].used)
            continue;
        first = segs[i].number < 0 ? NULL : find_segment(segs, n, &segs[i], 0);
        if (first != NULL) {
            *tail = join(segs, n, first, arena);
        } else {
            *tail = arena_calloc(arena, 1, sizeof **tail);
            (*tail)->name = segs[i].name;
            (*tail)->value = segs[i].value;
        }
        tail = &(*tail)->next;
    }
    return head;
}
