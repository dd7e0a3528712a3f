/*
 * Character sets: anything that iconv(3) knows to UTF-8, in one piece or in chunks.
 */
#ifndef FORMAT_CHARSET_H
#define FORMAT_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct charset; /* one opened converter, in a process-wide cache */

/* The converter for a name as a message gives it (any case, not NUL-terminated). Never NULL: an
 * unknown name gives the one that takes bytes as UTF-8. */
struct charset *charset_get(const char *name, size_t len);
/* True when iconv or we know the name. */
bool charset_known(const char *name, size_t len);

/* Back to the initial shift state: call it before the first chunk of a text. */
void charset_reset(struct charset *cs);
/*
 * Converts a chunk and returns how many octets were taken: fewer than len when the chunk ends
 * inside a character (at most a few octets: give them again with the next chunk); with `final`
 * all are taken. Bad sequences give U+FFFD; charsets taken as they are (UTF-8, ASCII, unknown
 * ones) are copied unchecked.
 */
size_t charset_convert(struct charset *cs, const char *in, size_t len, bool final,
                       struct buf *out);
/* True when bytes go through unchanged: UTF-8, US-ASCII, unknown. */
bool charset_is_plain(const struct charset *cs);

/* Appends text with every octet that isn't part of valid UTF-8 replaced by U+FFFD. */
void utf8_add_valid(const char *s, size_t len, struct buf *out);
/* Octets of the valid character at s (1..4), or 0. With *incomplete: it may become one. */
size_t utf8_length(const char *s, size_t len, bool *incomplete);

#endif
