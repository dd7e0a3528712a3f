/*
 * Folding of text for comparison: full case folding and compatibility decomposition (NFKD).
 * Private to mimetext*.c.
 */
#ifndef FORMAT_MIMETEXT_FOLD_H
#define FORMAT_MIMETEXT_FOLD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Folds the ASCII octets that s begins with into `to` (room for n) and returns how many they
   are. */
size_t fold_ascii(const char *s, size_t n, char *to);
/*
 * Appends folded UTF-8; bad octets give U+FFFD. Returns how many octets were taken: unless
 * `final`, a few hundred may be left at the end, because what follows could belong to them:
 * they must be given again, with more behind.
 */
size_t fold_add(const char *s, size_t n, bool final, struct buf *out);

#endif
