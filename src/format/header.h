/*
 * Header blocks (RFC 5322 2.2) as they really are: LF or CRLF, 8-bit, folded, malformed lines.
 */
#ifndef FORMAT_HEADER_H
#define FORMAT_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"

struct header_field {
    const char *name; /* without blanks before the colon */
    size_t name_len;
    const char *
        value; /* behind the colon, folds and line ends inside as they are, last line end cut */
    size_t value_len;
    const char *raw; /* the whole field, from its name to its last line end */
    size_t raw_len;
};

/* Walks a block: *pos starts at 0. False at the blank line or the end. Lines without a colon
   are skipped (mbox "From " lines, garbage). */
bool header_next(const char *block, size_t len, size_t *pos, struct header_field *f);
/* The n-th (0 = first) field of that name, in any case. */
bool header_find(const char *block, size_t len, const char *name, unsigned n,
                 struct header_field *f);
bool header_name_is(const struct header_field *f, const char *name);
/* Unfolds: line ends go, the blank that follows stays; leading and trailing blanks are cut.
 * Owned by the arena. */
char *header_unfold(struct arena *a, const char *value, size_t len, size_t *out_len);

/* Writes the fields whose name is (`not` = false) or is not (true) in names[0..n), in the order
   of the block, with CRLF line ends, and the final CRLF: BODY[HEADER.FIELDS (...)] and .NOT
   (RFC 3501 6.4.5). */
void header_select(const char *block, size_t len, const char *const *names, size_t n, bool not,
                   struct buf *out);

/* Decodes encoded words (RFC 2047; also across words that split a character) and raw 8-bit into
   UTF-8. Unknown charsets and bad sequences give U+FFFD; never fails. */
void header_decode(const char *value, size_t len, struct buf *utf8);

#endif
