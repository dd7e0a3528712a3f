/*
 * Text of a message as a person sees it, for SEARCH: transfer encoding and charset undone,
 * case folded (libunistring: full case folding, NFKD where not ASCII), compared as substrings
 * (RFC 3501 6.4.4).
 */
#ifndef FORMAT_MIMETEXT_H
#define FORMAT_MIMETEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/io.h"
#include "format/mime.h"

struct needle; /* a folded search string, prepared */

/* text in UTF-8 (ERR_SYNTAX if it isn't). An empty needle is found in everything. */
int needle_new(const char *text, size_t len, struct needle **out);
void needle_free(struct needle **n);

/* Is it in this header value (encoded words decoded)? */
bool needle_in_header(const struct needle *n, const char *value, size_t len);

/* charset -> UTF-8, any name that iconv knows; ERR_UNSUPPORTED. For search strings. */
int charset_to_utf8(const char *charset, const char *in, size_t len, struct buf *out);

/*
 * Searches a message in one pass: bit i of *found (at most 64 needles) is set when needles[i]
 * occurs in where[i]. Text parts, and the headers of nested messages and MIME parts, count as
 * body (RFC 3501: BODY = "body of the message"); stops early when all are found.
 */
enum needle_where { IN_BODY = 1, IN_HEADER = 2, IN_TEXT = 3 };
int mimetext_search(struct source *src, const struct mime_limits *limits,
                    const struct needle *const *needles, const enum needle_where *where,
                    size_t n, uint64_t *found);

#endif
