/*
 * Byte-stuffing and the cut of TOP; see dotstuff.h. RFC 1939 3 and 7.
 *
 * A line ends with LF here: on the wire an LF always has its CR, and a CR that stands alone is
 * an octet like any other.
 */
#include <string.h>

#include "base/err.h"
#include "pop3/dotstuff.h"

/* Text is passed in runs: from dot to dot that needs a second one. */
static int
stuff(struct sink *sink, const void *p, size_t n)
{
    struct dotstuff *d = (struct dotstuff *)sink; /* its first member */
    const char *s = p, *end = s + n, *from = s, *dot = s;
    int err;

    if (n == 0)
        return 0;
    while ((dot = memchr(dot, '.', (size_t)(end - dot))) != NULL) {
        if ((dot == s ? d->last[1] : dot[-1]) == '\n') {
            /* the dot ends this run and begins the next: so it goes out twice */
            err = d->to->write(d->to, from, (size_t)(dot + 1 - from));
            if (err < 0)
                return err;
            from = dot;
        }
        dot++;
    }
    d->last[0] = n > 1 ? end[-2] : d->last[1];
    d->last[1] = end[-1];
    return d->to->write(d->to, from, (size_t)(end - from));
}

void
dotstuff_init(struct dotstuff *d, struct sink *to)
{
    d->sink.write = stuff;
    d->to = to;
    memcpy(d->last, "\r\n", 2);
}

int
dotstuff_finish(struct dotstuff *d)
{
    if (memcmp(d->last, "\r\n", 2) == 0)
        return d->to->write(d->to, ".\r\n", 3);
    return d->to->write(d->to, "\r\n.\r\n", 5);
}

/* More of the current line. */
static void
line_grows(struct topcut *t, const char *s, size_t n)
{
    if (n == 0)
        return;
    t->line = t->line == LINE_EMPTY && n == 1 && *s == '\r' ? LINE_CR : LINE_TEXT;
}

/* A line end has come: of the header, of the blank line, or of the body. */
static void
line_ends(struct topcut *t)
{
    if (t->body) {
        t->lines--;
        t->done = t->lines == 0;
    } else if (t->line != LINE_TEXT) {
        t->body = true;
        t->done = t->lines == 0;
    }
    t->line = LINE_EMPTY;
}

static int
cut(struct sink *sink, const void *p, size_t n)
{
    struct topcut *t = (struct topcut *)sink; /* its first member */
    const char *s = p, *end = s + n, *at = s, *lf;
    int err;

    while (!t->done && at < end && (lf = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        line_grows(t, at, (size_t)(lf - at));
        line_ends(t);
        at = lf + 1;
    }
    if (!t->done) {
        line_grows(t, at, (size_t)(end - at));
        at = end;
    }
    if (at > s) {
        err = t->to->write(t->to, s, (size_t)(at - s));
        if (err < 0)
            return err;
    }
    return t->done ? ERR_EOF : 0;
}

void
topcut_init(struct topcut *t, uint64_t lines, struct sink *to)
{
    memset(t, 0, sizeof *t);
    t->sink.write = cut;
    t->to = to;
    t->lines = lines;
    t->line = LINE_EMPTY;
}
