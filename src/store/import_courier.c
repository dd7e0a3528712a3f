/*
 * Courier's lists.
 *
 *   courierimapuiddb        1 <uidvalidity> <next uid>, then <uid> <base name>
 *   courierpop3dsizelist    /3 <next n> <v> (or /2), then <file name> <size> <n>:<v>:<utf8>;
 *                           the UIDL is UID<n>-<v>; n = 0: the base name
 *   courierimapkeywords/    `:list`: the keywords' names a line, an empty line, then
 *                           <base name>:<index> <index> ...; newer than that are `.<N>.<base
 *                           name>`, the greatest N last, and `<base name>`, the newest of all:
 *                           a message's keywords, one a line
 *
 * The sizes of the POP3 list aren't used: a line end is added there to a message that lacks
 * one, and CRLF counts three octets.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "store/import_private.h"

#define KEYWORDS_DIR  "courierimapkeywords"
#define UPDATES_MAX   200000 /* files in there */
#define UPDATES_TRIES 3      /* Courier renames them while we read */

bool
import_courier_line(struct import *imp, char *line, size_t len, unsigned long number,
                    bool *stop)
{
    const char *s = line;
    uint64_t uid;

    (void)len;
    if (number == 1) {
        *stop = strncmp(s, "1 ", 2) != 0 || !import_header_numbers(imp, s + 2);
        return !*stop;
    }
    if (!import_number(&s, &uid) || *s != ' ')
        return false;
    s++;
    return import_listed(imp, uid, s, strlen(s)) != NULL;
}

/* "<n>:<v>" or "<n>:<v>:<utf8>". */
static bool
pop3_uid(const char *s, uint64_t *n, uint64_t *v)
{
    if (!import_number(&s, n) || *s++ != ':' || !import_number(&s, v))
        return false;
    return *s == '\0' || *s == ':';
}

bool
import_courier_pop3_line(struct import *imp, char *line, size_t len, unsigned long number,
                         bool *stop)
{
    char uidl[64], *space, *second;
    struct import_entry *e;
    uint64_t n, v;

    (void)len;
    if (number == 1) {
        *stop = strncmp(line, "/3 ", 3) != 0 && strncmp(line, "/2 ", 3) != 0;
        return !*stop;
    }
    /* names may hold blanks: the fields are the last two */
    space = strrchr(line, ' ');
    if (space == NULL || !pop3_uid(space + 1, &n, &v))
        return false;
    *space = '\0';
    second = strrchr(line, ' ');
    if (second == NULL)
        return false;
    e = import_entry(imp, line, (size_t)(second - line));
    if (e == NULL)
        return false;
    if (n == 0) {
        if (import_uidl_ok(line, e->base_len))
            e->uidl = import_text(imp, line, e->base_len);
        return true;
    }
    snprintf(uidl, sizeof uidl, "UID%llu-%llu", (unsigned long long)n, (unsigned long long)v);
    e->uidl = import_text(imp, uidl, strlen(uidl));
    return true;
}

/* "1 0": indexes into the names above. */
static bool
indexes(struct import *imp, const char *s, uint64_t *bits)
{
    uint64_t i;

    *bits = 0;
    while (*s != '\0') {
        if (*s == ' ') {
            s++;
            continue;
        }
        if (!import_number(&s, &i))
            return false;
        if (i < imp->list_count)
            *bits |= imp->list_bits[i];
    }
    return true;
}

bool
import_courier_keywords_line(struct import *imp, char *line, size_t len, unsigned long number,
                             bool *stop)
{
    struct import_entry *e;
    uint64_t bits;
    char *colon;

    (void)stop;
    if (number == 1) {
        imp->list_names = true;
        imp->list_count = 0;
    }
    if (imp->list_names && len == 0) {
        imp->list_names = false;
        return true;
    }
    if (imp->list_names) {
        /* what can't be a keyword here, or is too much, still counts */
        bits = import_keyword_bit(imp, line);
        if (imp->list_count < IMPORT_LIST_KEYWORDS)
            imp->list_bits[imp->list_count++] = bits;
        return bits != 0;
    }
    colon = strrchr(line, ':');
    if (colon == NULL || !indexes(imp, colon + 1, &bits))
        return false;
    e = import_entry(imp, line, (size_t)(colon - line));
    if (e != NULL)
        e->keywords = bits;
    return e != NULL;
}

bool
import_courier_update_line(struct import *imp, char *line, size_t len, unsigned long number,
                           bool *stop)
{
    uint64_t bit;

    (void)number;
    (void)stop;
    if (len == 0)
        return true;
    bit = import_keyword_bit(imp, line);
    imp->update |= bit;
    return bit != 0;
}

/* A file of one message's keywords: `rank` is N; of those of one message the greatest counts.
 */
struct update {
    char *file;
    const char *base; /* in `file` */
    uint64_t rank;
};

struct updates {
    struct update *items;
    size_t count;
};

static int
compare_updates(const void *a, const void *b)
{
    const struct update *x = a, *y = b;
    int order = strcmp(x->base, y->base);

    if (order != 0)
        return order;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static void
add_update(struct updates *all, const char *file)
{
    struct update *u;
    const char *p = file + 1;
    uint64_t rank = UINT64_MAX;
    size_t at = 0;

    if (file[0] == '.') {
        if (!import_number(&p, &rank) || *p != '.' || p[1] == '\0')
            return;
        at = (size_t)(p + 1 - file);
    }
    if (all->count % 256 == 0)
        all->items = mem_reallocarray(all->items, all->count + 256, sizeof *all->items);
    u = &all->items[all->count++];
    u->file = mem_strdup(file);
    u->base = u->file + at;
    u->rank = rank;
}

static void
free_updates(struct updates *all)
{
    size_t i;

    for (i = 0; i < all->count; i++)
        free(all->items[i].file);
    free(all->items);
    *all = (struct updates){.items = NULL};
}

static int
list_updates(int dir, struct updates *all)
{
    const struct dirent *e;
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;

    if (d == NULL) {
        if (copy >= 0)
            close(copy);
        return err_from_errno(errno);
    }
    while ((e = readdir(d)) != NULL && all->count < UPDATES_MAX) {
        if (strcmp(e->d_name, ":list") != 0)
            add_update(all, e->d_name);
    }
    closedir(d);
    if (all->count > 0)
        qsort(all->items, all->count, sizeof *all->items, compare_updates);
    return 0;
}

/* ERR_NOENT: Courier renamed one meanwhile. */
static int
apply_updates(int dir, const char *folder, const struct updates *all, struct import *imp)
{
    struct import_entry *e;
    size_t i;
    int err = 0;

    for (i = 0; err == 0 && i < all->count; i++) {
        if (i + 1 < all->count && strcmp(all->items[i].base, all->items[i + 1].base) == 0)
            continue;
        imp->update = 0;
        err =
            import_lines_read(dir, folder, all->items[i].file, import_courier_update_line, imp);
        if (err == 0 &&
            (e = import_entry(imp, all->items[i].base, strlen(all->items[i].base))) != NULL)
            e->keywords = imp->update;
    }
    return err;
}

int
import_courier_keywords(int fd, const char *folder, struct import *imp)
{
    struct updates all = {.items = NULL};
    int dir = openat(fd, KEYWORDS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err, tries;

    if (dir < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return 0;
        log_error("folder %s: " KEYWORDS_DIR ": %s", folder, strerror(errno));
        return err_from_errno(errno);
    }
    for (tries = 0; tries < UPDATES_TRIES; tries++) {
        err = import_lines_read(dir, folder, ":list", import_courier_keywords_line, imp);
        if (err == 0 || err == ERR_NOENT)
            err = list_updates(dir, &all);
        if (err == 0)
            err = apply_updates(dir, folder, &all, imp);
        free_updates(&all);
        if (err != ERR_NOENT)
            break;
    }
    close(dir);
    imp->keywords_known = true;
    return err == ERR_NOENT ? 0 : err;
}
