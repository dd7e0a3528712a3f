/*
 * Sequence sets and UID sets (RFC 3501 9: sequence-set), sorted and merged.
 */
#ifndef FORMAT_SEQSET_H
#define FORMAT_SEQSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct seq_range {
    uint32_t first, last; /* both included, first <= last, never 0 */
};

struct seqset {
    struct seq_range *ranges; /* ascending, not touching; owned */
    size_t count, cap;
};

void seqset_init(struct seqset *s);
void seqset_free(struct seqset *s);
void seqset_clear(struct seqset *s);
/* Adds; ascending order is O(1), otherwise a binary search and a move. */
void seqset_add(struct seqset *s, uint32_t first, uint32_t last);
void seqset_remove(struct seqset *s, uint32_t first, uint32_t last);
bool seqset_has(const struct seqset *s, uint32_t n);
/* How many numbers. */
uint64_t seqset_size(const struct seqset *s);

/*
 * Parses text[0..len): "1,3:5,9:*,*:4". `star` is the number that * stands for (largest in use;
 * 0 = mailbox empty: then `*` alone gives nothing). Order within a range doesn't matter. At
 * most max_ranges items. 0, ERR_SYNTAX, ERR_LIMIT. 0 as number is ERR_SYNTAX. "$" is not
 * handled here. What *out (initialised) held before is replaced; after an error it's empty.
 */
int seqset_parse(const char *text, size_t len, uint32_t star, size_t max_ranges,
                 struct seqset *out);
/* Writes "1,3:5". Nothing for an empty set. */
void seqset_write(const struct seqset *s, struct buf *out);

/* Walks the numbers: start with it = {0}; false at the end. */
struct seqset_iter {
    size_t range;
    uint32_t next;
};
bool seqset_next(const struct seqset *s, struct seqset_iter *it, uint32_t *n);

#endif
