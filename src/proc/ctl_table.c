/*
 * Aligned columns for mansioctl, from the control socket's lines of blank-separated fields. For
 * people and for scripts: the fields stay separated by blanks, their order doesn't change.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "proc/ctl.h"

#define COLUMNS_MAX 24

struct table {
    size_t columns;
    size_t width[COLUMNS_MAX];
};

/* Ends a line with NUL and returns the next one, or NULL. */
static char *
cut_line(char *line)
{
    char *end = strchr(line, '\n');

    if (end == NULL)
        return NULL;
    *end = '\0';
    return end[1] != '\0' ? end + 1 : NULL;
}

/* The next field of at most max (0 = the rest of the line). */
static const char *
field(const char **pos, bool rest, size_t *len)
{
    const char *start = *pos + strspn(*pos, " ");

    if (*start == '\0')
        return NULL;
    *len = rest ? strlen(start) : strcspn(start, " ");
    *pos = start + *len;
    return start;
}

static void
measure(struct table *t, const char *line)
{
    const char *pos = line, *start;
    size_t len;

    for (size_t i = 0; i + 1 < t->columns && (start = field(&pos, false, &len)) != NULL; i++)
        if (len > t->width[i])
            t->width[i] = len;
}

static void
print_line(const struct table *t, const char *line)
{
    const char *pos = line, *start;
    size_t len;

    for (size_t i = 0; i < t->columns; i++) {
        bool last = i + 1 == t->columns;

        start = field(&pos, last, &len);
        if (start == NULL)
            break;
        if (last)
            fwrite(start, 1, len, stdout);
        else
            printf("%-*.*s  ", (int)t->width[i], (int)len, start);
    }
    putchar('\n');
}

void
ctl_print_table(char *text)
{
    struct table t = {.columns = 0};
    char **lines = NULL;
    size_t n = 0, room = 0, len;
    const char *pos;

    for (char *line = text, *next; line != NULL && *line != '\0'; line = next) {
        next = cut_line(line);
        if (n == room) {
            room = room == 0 ? 64 : room * 2;
            lines = mem_reallocarray(lines, room, sizeof *lines);
        }
        lines[n++] = line;
    }
    if (n == 0)
        return;
    pos = lines[0];
    while (t.columns < COLUMNS_MAX && field(&pos, false, &len) != NULL)
        t.columns++;
    for (size_t i = 0; i < n; i++)
        measure(&t, lines[i]);
    for (size_t i = 0; i < n; i++)
        print_line(&t, lines[i]);
    free(lines);
}
