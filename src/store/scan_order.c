/*
 * The order in which new messages of a scan get their UIDs: that of their delivery, as the
 * names say it (https://cr.yp.to/proto/maildir.html), or else the files.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "store/scan_private.h"

#define MICROS_BITS 20
#define MICROS_MAX  ((UINT64_C(1) << MICROS_BITS) - 1)

/* Seconds and microseconds of delivery as one number, for comparing. What's out of range is as
   far as it goes. */
static uint64_t
moment(uint64_t seconds, uint64_t micros)
{
    if (seconds > UINT64_MAX >> MICROS_BITS)
        seconds = UINT64_MAX >> MICROS_BITS;
    return seconds << MICROS_BITS | (micros < MICROS_MAX ? micros : MICROS_MAX);
}

/* The moment in "1700000000.M123456P..."; 0: the name has none. */
static uint64_t
delivery_time(const char *name)
{
    uint64_t seconds, micros = 0;
    char *end;

    if (name[0] < '0' || name[0] > '9')
        return 0;
    errno = 0;
    seconds = strtoull(name, &end, 10);
    if (*end != '.' || errno != 0)
        return 0;
    if (end[1] == 'M' && end[2] >= '0' && end[2] <= '9')
        micros = strtoull(end + 2, NULL, 10);
    return moment(seconds, micros);
}

static int
compare_fresh(const struct scan_fresh *x, const struct scan_fresh *y)
{
    if (x->when != y->when)
        return x->when < y->when ? -1 : 1;
    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* Lets item `at` of a heap with n items sink to its place. */
static void
sink(struct scan_fresh *a, size_t at, size_t n, scan_compare *compare)
{
    struct scan_fresh item = a[at];
    size_t child;

    while ((child = 2 * at + 1) < n) {
        if (child + 1 < n && compare(&a[child], &a[child + 1]) < 0)
            child++;
        if (compare(&item, &a[child]) >= 0)
            break;
        a[at] = a[child];
        at = child;
    }
    a[at] = item;
}

void
scan_sort(struct scan *s, scan_compare *compare)
{
    struct scan_fresh *a = s->fresh, first;
    size_t n = s->fresh_count, i;

    for (i = n / 2; i > 0; i--)
        sink(a, i - 1, n, compare);
    for (i = n; i > 1; i--) {
        first = a[0];
        a[0] = a[i - 1];
        a[i - 1] = first;
        sink(a, 0, i - 1, compare);
    }
}

/* When an unknown file was delivered. A look at it is needed only if its name doesn't say that
   to the microsecond. False: it's no message. */
static bool
find_time(struct scan *s, uint32_t entry, struct scan_fresh *f)
{
    const struct scan_entry *e = &s->table.items[entry];
    struct stat st;

    f->when = delivery_time(scan_table_name(&s->table, entry));
    f->inode = 0;
    f->entry = entry;
    if ((f->when & MICROS_MAX) != 0)
        return true;
    if (!scan_look(s, e, &st)) {
        s->again = true; /* it went away, or was renamed */
        return false;
    }
    f->inode = (uint64_t)st.st_ino;
    if (f->when == 0)
        f->when = moment(st.st_mtim.tv_sec > 0 ? (uint64_t)st.st_mtim.tv_sec : 0, 0);
    return S_ISREG(st.st_mode);
}

void
scan_collect_fresh(struct scan *s)
{
    size_t count = 0;
    uint32_t i;

    for (i = 0; i < s->table.count; i++)
        count += !s->table.items[i].matched && !s->table.items[i].twin;
    if (count == 0)
        return;
    s->fresh = mem_reallocarray(NULL, count, sizeof *s->fresh);
    for (i = 0; i < s->table.count; i++) {
        if (!s->table.items[i].matched && !s->table.items[i].twin &&
            find_time(s, i, &s->fresh[s->fresh_count]))
            s->fresh_count++;
    }
    scan_sort(s, compare_fresh);
    scan_import_order(s);
}
