/*
 * The last two steps of a message's way to a POP3 client, as sinks: cutting it for TOP, and
 * byte-stuffing (RFC 1939 3). Both take wire octets, every line ended by CRLF, in pieces of any
 * size.
 */
#ifndef POP3_DOTSTUFF_H
#define POP3_DOTSTUFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"

/* Doubles each '.' at the beginning of a line. */
struct dotstuff {
    struct sink sink;
    struct sink *to;
    char last[2]; /* the last two octets that came; a line end at the start */
};
void dotstuff_init(struct dotstuff *d, struct sink *to);
/* A line end if the last line lacks one, and the line with the dot. 0 or the sink's error. */
int dotstuff_finish(struct dotstuff *d);

/* Passes the header, the blank line, and then `lines` lines (RFC 1939 7: TOP). When all that
   has passed, `done` is set and write returns ERR_EOF, so that its caller stops. */
struct topcut {
    struct sink sink;
    struct sink *to;
    uint64_t lines;                               /* of the body, still to pass */
    bool body;                                    /* the blank line has passed */
    bool done;                                    /* nothing more is wanted */
    enum { LINE_EMPTY, LINE_CR, LINE_TEXT } line; /* of the current line: nothing, a CR, more */
};
void topcut_init(struct topcut *t, uint64_t lines, struct sink *to);

#endif
