/*
 * Finding a folded needle in folded text. Private to mimetext*.c.
 */
#ifndef FORMAT_MIMETEXT_NEEDLE_H
#define FORMAT_MIMETEXT_NEEDLE_H

#include "format/mimetext.h"

size_t needle_length(const struct needle *n); /* octets, folded */
bool needle_find(const struct needle *n, const char *text, size_t len);

/* Folds the fields of a header block as a reader sees them, one after the other with a line end
   behind each. */
void header_fold(const char *block, size_t len, struct buf *out);

#endif
