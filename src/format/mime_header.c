/*
 * Only the header of a message: for who needs no structure (ENVELOPE, HEADER, TEXT), so that
 * the body isn't read. Ends where mime_walk.c ends a message's header: behind the first empty
 * line.
 */
#include <string.h>

#include "base/arena.h"
#include "format/mime.h"

#define PIECE 8192 /* octets read at a time: most headers fit */

/* Counts the header's octets in p[0..n); *line_start says whether p is at one, and is kept up.
   True when the empty line was there. An octet that can't be judged yet (CR at the end of the
   piece and the start of a line) is left: *used is less than n then. */
static bool
count_lines(const char *p, size_t n, bool eof, bool *line_start, char *last, size_t *used,
            uint64_t *extra)
{
    const char *start = p, *end = p + n, *nl;
    bool empty;

    while (p < end) {
        if (*line_start && *p == '\r' && end - p == 1 && !eof)
            break;
        empty = *line_start && (*p == '\n' || (*p == '\r' && end - p > 1 && p[1] == '\n'));
        nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL) {
            *line_start = false;
            *last = end[-1];
            p = end;
            break;
        }
        *extra += (nl == p ? *last : nl[-1]) != '\r';
        *line_start = true;
        *last = '\n';
        p = nl + 1;
        if (empty) {
            *used = (size_t)(p - start);
            return true;
        }
    }
    *used = (size_t)(p - start);
    return false;
}

int
mime_read_header(struct source *src, size_t max, struct buf *header, uint64_t *len,
                 uint64_t *crlf_len)
{
    char piece[PIECE], last = '\n';
    size_t have = 0, used, room;
    uint64_t extra = 0;
    bool line_start = true, eof = false, done = false;
    ssize_t got;

    *len = 0;
    while (!done && !(eof && have == 0)) {
        got = src->read(src, piece + have, sizeof piece - have);
        if (got < 0)
            return (int)got;
        eof = got == 0;
        have += (size_t)got;
        done = count_lines(piece, have, eof, &line_start, &last, &used, &extra);
        room = header->len < max ? max - header->len : 0;
        buf_add(header, piece, used < room ? used : room);
        *len += used;
        have -= used;
        memmove(piece, piece + used, have);
    }
    *crlf_len = *len + extra;
    return 0;
}
