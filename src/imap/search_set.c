/*
 * Two sorted sets into one, in one pass over both.
 */
#include "imap/search.h"

void
seqset_intersect(const struct seqset *a, const struct seqset *b, struct seqset *out)
{
    size_t i = 0, j = 0;
    uint32_t first, last;

    while (i < a->count && j < b->count) {
        first =
            a->ranges[i].first > b->ranges[j].first ? a->ranges[i].first : b->ranges[j].first;
        last = a->ranges[i].last < b->ranges[j].last ? a->ranges[i].last : b->ranges[j].last;
        if (first <= last)
            seqset_add(out, first, last);
        if (a->ranges[i].last < b->ranges[j].last)
            i++;
        else
            j++;
    }
}

/* In ascending order, so that each addition is one to the end. */
void
seqset_unite(const struct seqset *a, const struct seqset *b, struct seqset *out)
{
    size_t i = 0, j = 0;
    const struct seq_range *r;

    while (i < a->count || j < b->count) {
        if (j == b->count || (i < a->count && a->ranges[i].first < b->ranges[j].first))
            r = &a->ranges[i++];
        else
            r = &b->ranges[j++];
        seqset_add(out, r->first, r->last);
    }
}
