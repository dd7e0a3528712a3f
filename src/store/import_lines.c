/*
 * A list of another server, line by line. Lists may be long (100 octets a message), so no file
 * is ever in memory as a whole; a line that is longer than any of theirs is passed over. The
 * other server may be writing at this moment: what has no line end yet isn't a line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "store/import_private.h"

#define CHUNK 65536

static void
bad_line(struct import_lines *l)
{
    if (l->bad++ == 0)
        l->first_bad = l->number;
}

static void
end_line(struct import_lines *l)
{
    size_t len = l->len;

    l->number++;
    l->len = 0;
    if (len > 0 && l->line[len - 1] == '\r')
        len--;
    l->line[len] = '\0';
    if (l->skip || memchr(l->line, '\0', len) != NULL ||
        !l->fn(l->imp, l->line, len, l->number, &l->stop))
        bad_line(l);
    l->skip = false;
}

void
import_lines_feed(struct import_lines *l, const char *p, size_t n)
{
    const char *end;
    size_t part;

    while (n > 0 && !l->stop) {
        end = memchr(p, '\n', n);
        part = end != NULL ? (size_t)(end - p) : n;
        if (l->len + part > IMPORT_LINE_MAX)
            l->skip = true;
        if (!l->skip) {
            memcpy(l->line + l->len, p, part);
            l->len += part;
        }
        if (end == NULL)
            return;
        end_line(l);
        p += part + 1;
        n -= part + 1;
    }
}

void
import_lines_end(struct import_lines *l)
{
    if (l->stop || (l->len == 0 && !l->skip))
        return;
    l->number++;
    bad_line(l);
}

static int
read_all(int file, struct import_lines *l)
{
    char *chunk = mem_alloc(CHUNK);
    ssize_t n;
    int err = 0;

    while (!l->stop && (n = read(file, chunk, CHUNK)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err = err_from_errno(errno);
            break;
        }
        import_lines_feed(l, chunk, (size_t)n);
    }
    if (err == 0)
        import_lines_end(l);
    free(chunk);
    return err;
}

int
import_lines_read(int fd, const char *folder, const char *name, import_line_fn *fn,
                  struct import *imp)
{
    struct import_lines *l;
    struct stat st;
    int file = openat(fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err;

    if (file < 0 && errno == ENOENT)
        return ERR_NOENT;
    if (file < 0 || fstat(file, &st) != 0) {
        err = err_from_errno(errno);
        log_error("folder %s: %s: %s", folder, name, strerror(errno));
        if (file >= 0)
            close(file);
        return err;
    }
    l = mem_calloc(1, sizeof *l);
    l->fn = fn;
    l->imp = imp;
    err = S_ISREG(st.st_mode) ? read_all(file, l) : 0;
    close(file);
    if (!S_ISREG(st.st_mode)) /* nobody's list: it mustn't keep the mail from its user */
        log_warn("folder %s: %s is no regular file: left out", folder, name);
    else if (err < 0)
        log_error("folder %s: %s can't be read: %s", folder, name, err_text(err));
    else if (l->bad > 0)
        log_warn("folder %s: %s: %lu %s no sense, the first in line %lu", folder, name, l->bad,
                 l->bad == 1 ? "line makes" : "lines make", l->first_bad);
    free(l);
    return err;
}
