/*
 * Sequence sets; see seqset.h. RFC 3501 9 (sequence-set), RFC 9051 4.1.1.
 *
 * The ranges are kept ascending and apart from each other, so that a search is binary and a
 * walk is a walk. The parser doesn't insert one by one, which would move the array for each
 * range of a hostile set: it collects, sorts once if needed, and merges in place.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "format/seqset.h"

void
seqset_init(struct seqset *s)
{
    memset(s, 0, sizeof *s);
}

void
seqset_free(struct seqset *s)
{
    free(s->ranges);
    seqset_init(s);
}

void
seqset_clear(struct seqset *s)
{
    s->count = 0;
}

/* Room for one range more. */
static void
grow(struct seqset *s)
{
    if (s->count < s->cap)
        return;
    s->cap = s->cap > 0 ? s->cap * 2 : 8;
    s->ranges = mem_reallocarray(s->ranges, s->cap, sizeof *s->ranges);
}

/* Index of the first range whose end is at or behind n; count if there's none. */
static size_t
find(const struct seqset *s, uint32_t n)
{
    size_t low = 0, high = s->count, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (s->ranges[middle].last < n)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Puts a new range at index i. */
static void
insert_at(struct seqset *s, size_t i, uint32_t first, uint32_t last)
{
    grow(s);
    memmove(s->ranges + i + 1, s->ranges + i, (s->count - i) * sizeof *s->ranges);
    s->ranges[i].first = first;
    s->ranges[i].last = last;
    s->count++;
}

/* Takes the ranges [from, to) out. */
static void
delete_ranges(struct seqset *s, size_t from, size_t to)
{
    memmove(s->ranges + from, s->ranges + to, (s->count - to) * sizeof *s->ranges);
    s->count -= to - from;
}

/* Adds at the end, or to the last range; true if the number fits there. */
static bool
append_range(struct seqset *s, uint32_t first, uint32_t last)
{
    struct seq_range *tail = s->count > 0 ? &s->ranges[s->count - 1] : NULL;

    if (tail == NULL || first - 1 > tail->last) {
        grow(s);
        s->ranges[s->count].first = first;
        s->ranges[s->count].last = last;
        s->count++;
        return true;
    }
    if (first < tail->first)
        return false;
    if (last > tail->last)
        tail->last = last;
    return true;
}

void
seqset_add(struct seqset *s, uint32_t first, uint32_t last)
{
    size_t from, to;

    if (first == 0 || first > last || append_range(s, first, last))
        return;
    from = find(s, first - 1); /* a range that ends just before is joined */
    for (to = from; to < s->count && s->ranges[to].first - 1 <= last; to++)
        continue;
    if (from == to) {
        insert_at(s, from, first, last);
        return;
    }
    if (s->ranges[from].first < first)
        first = s->ranges[from].first;
    if (s->ranges[to - 1].last > last)
        last = s->ranges[to - 1].last;
    s->ranges[from].first = first;
    s->ranges[from].last = last;
    delete_ranges(s, from + 1, to);
}

void
seqset_remove(struct seqset *s, uint32_t first, uint32_t last)
{
    size_t from, to;
    uint32_t end;

    if (first == 0 || first > last)
        return;
    from = find(s, first);
    if (from == s->count || s->ranges[from].first > last)
        return;
    if (s->ranges[from].first < first) {
        end = s->ranges[from].last;
        s->ranges[from].last = first - 1;
        if (end > last) {
            insert_at(s, from + 1, last + 1, end);
            return;
        }
        from++;
    }
    for (to = from; to < s->count && s->ranges[to].last <= last; to++)
        continue;
    if (to < s->count && s->ranges[to].first <= last)
        s->ranges[to].first = last + 1;
    delete_ranges(s, from, to);
}

bool
seqset_has(const struct seqset *s, uint32_t n)
{
    size_t i = find(s, n);

    return n > 0 && i < s->count && s->ranges[i].first <= n;
}

uint64_t
seqset_size(const struct seqset *s)
{
    uint64_t size = 0;
    size_t i;

    for (i = 0; i < s->count; i++)
        size += (uint64_t)s->ranges[i].last - s->ranges[i].first + 1;
    return size;
}

/* Reads a seq-number at *pos: an nz-number of 32 bits, or '*' (0 in *n then). */
static int
read_number(const char *text, size_t len, size_t *pos, uint32_t *n)
{
    uint64_t value = 0;
    size_t i = *pos;

    if (i < len && text[i] == '*') {
        *n = 0;
        *pos = i + 1;
        return 0;
    }
    for (; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
        value = value * 10 + (uint64_t)(text[i] - '0');
        if (value > UINT32_MAX)
            return ERR_SYNTAX;
    }
    if (value == 0) /* no digit, or a zero */
        return ERR_SYNTAX;
    *n = (uint32_t)value;
    *pos = i;
    return 0;
}

static int
compare_ranges(const void *a, const void *b)
{
    const struct seq_range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

/* Joins ranges that overlap or touch; they're sorted by their start. */
static void
merge(struct seqset *s)
{
    size_t i, n = s->count;

    s->count = 0;
    for (i = 0; i < n; i++) {
        struct seq_range r = s->ranges[i];

        append_range(s, r.first, r.last); /* never further than index i */
    }
}

/* One item, "n", "n:m", with star for '*'; *empty when it stands for nothing. */
static int
read_item(const char *text, size_t len, size_t *pos, uint32_t star, struct seq_range *r)
{
    uint32_t a, b;
    int err = read_number(text, len, pos, &a);

    if (err < 0)
        return err;
    b = a;
    if (*pos < len && text[*pos] == ':') {
        ++*pos;
        err = read_number(text, len, pos, &b);
        if (err < 0)
            return err;
    }
    if ((a == 0 || b == 0) && star == 0) {
        r->first = 0; /* '*' of an empty mailbox */
        return 0;
    }
    a = a == 0 ? star : a;
    b = b == 0 ? star : b;
    r->first = a < b ? a : b;
    r->last = a < b ? b : a;
    return 0;
}

static int
parse_items(const char *text, size_t len, uint32_t star, size_t max_ranges, struct seqset *out)
{
    bool sorted = true;
    struct seq_range r = {0, 0};
    uint32_t previous = 0;
    size_t pos = 0, items;
    int err;

    for (items = 1;; items++) {
        if (items > max_ranges)
            return ERR_LIMIT;
        err = read_item(text, len, &pos, star, &r);
        if (err < 0)
            return err;
        if (r.first != 0) {
            grow(out);
            out->ranges[out->count++] = r;
            sorted = sorted && r.first >= previous;
            previous = r.first;
        }
        if (pos == len)
            break;
        if (text[pos++] != ',')
            return ERR_SYNTAX;
    }
    if (!sorted)
        qsort(out->ranges, out->count, sizeof *out->ranges, compare_ranges);
    merge(out);
    return 0;
}

int
seqset_parse(const char *text, size_t len, uint32_t star, size_t max_ranges, struct seqset *out)
{
    int err;

    seqset_clear(out);
    err = parse_items(text, len, star, max_ranges, out);
    if (err < 0)
        seqset_clear(out);
    return err;
}

void
seqset_write(const struct seqset *s, struct buf *out)
{
    size_t i;

    for (i = 0; i < s->count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        buf_addu(out, s->ranges[i].first);
        if (s->ranges[i].last > s->ranges[i].first) {
            buf_addc(out, ':');
            buf_addu(out, s->ranges[i].last);
        }
    }
}

bool
seqset_next(const struct seqset *s, struct seqset_iter *it, uint32_t *n)
{
    const struct seq_range *r;

    if (it->range >= s->count)
        return false;
    r = &s->ranges[it->range];
    *n = it->next > r->first ? it->next : r->first;
    if (*n >= r->last) {
        it->range++;
        it->next = 0;
    } else {
        it->next = *n + 1;
    }
    return true;
}
