/*
 * Reading the configuration: mansio.conf(5).
 *
 *     # comment
 *     name = value          # comment (after a blank)
 *     name = "value"        with \" and \\ inside; blanks at the ends and # are kept
 *     include = FILE        relative to the folder of the file that includes it
 *
 * Every fault is reported, not only the first, each with file, line and remedy. A key that is
 * set twice is a fault: with two answers, one of them is an oversight.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf_keys.h"
#include "base/err.h"
#include "base/log.h"

#define INCLUDE_DEPTH 8
#define INCLUDE_FILES 64              /* of one configuration */
#define FILE_MAX      (1024UL * 1024) /* octets of one file */
#define READ_SIZE     16384
#define ERRORS_MAX    1000 /* then reading stops: it's no configuration */

struct loader {
    struct conf *conf;
    conf_report *report;
    void *ctx;
    struct arena *arena; /* file names and texts while loading */
    struct conf_place places[CONF_ROWS_MAX];
    const char *file; /* being read */
    int line;
    struct stat open[INCLUDE_DEPTH + 1]; /* the files that are being read, for cycles */
    unsigned depth, files;
    int errors;
};

static int read_file(struct loader *l, const char *path);

static void __attribute__((format(printf, 2, 3))) fault(struct loader *l, const char *fmt, ...)
{
    struct buf text = BUF_INIT(8192);
    va_list ap;

    va_start(ap, fmt);
    buf_vaddf(&text, fmt, ap);
    va_end(ap);
    l->errors++;
    l->report(l->ctx, l->file, l->line, buf_str(&text));
    buf_free(&text);
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static char *
skip_blanks(char *s)
{
    while (is_blank(*s))
        s++;
    return s;
}

static void
trim_end(char *s)
{
    size_t n = strlen(s);

    while (n > 0 && is_blank(s[n - 1]))
        n--;
    s[n] = '\0';
}

/* Takes a value in quotes out of its quotes, in place. False: reported. */
static bool
unquote(struct loader *l, char *s)
{
    char *to = s, *from = s + 1;

    for (; *from != '"'; from++) {
        if (*from == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        if (*from == '\0') {
            fault(l, "the quote isn't closed: put a \" at the end of the value");
            return false;
        }
        *to++ = *from;
    }
    *to = '\0';
    from = skip_blanks(from + 1);
    if (*from != '\0' && *from != '#') {
        fault(l,
              "\"%.40s\" stands behind the closing quote: remove it, or write \\\" for a "
              "quote inside the value",
              from);
        return false;
    }
    return true;
}

/* Cuts a comment off: # at the begin, or after a blank. */
static void
cut_comment(char *s)
{
    for (char *p = s; (p = strchr(p, '#')) != NULL; p++) {
        if (p == s || is_blank(p[-1])) {
            *p = '\0';
            return;
        }
    }
}

static bool
has_control(const char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

/* What read_file() failed from. */
static const char *
read_error(int errnum)
{
    switch (errnum) {
    case EFBIG:
        return "it's larger than 1 MiB";
    case EISDIR:
        return "it's a directory";
    case ELOOP:
        return "it includes itself";
    default:
        return strerror(errnum);
    }
}

static void
include_file(struct loader *l, const char *value)
{
    const char *slash = strrchr(l->file, '/'), *path = value, *file = l->file;
    int line = l->line;

    if (*value == '\0') {
        fault(l, "include needs a file's name");
        return;
    }
    if (l->depth >= INCLUDE_DEPTH || l->files >= INCLUDE_FILES) {
        fault(l, "include: more than %d files inside each other, or %d in all: include fewer",
              INCLUDE_DEPTH, INCLUDE_FILES);
        return;
    }
    if (*value != '/' && slash != NULL)
        path = arena_printf(l->arena, "%.*s/%s", (int)(slash - l->file), l->file, value);
    else
        path = arena_strdup(l->arena, value);
    l->depth++;
    if (read_file(l, path) != 0) {
        l->file = file;
        l->line = line;
        fault(l, "include: %s can't be read: %s", path, read_error(errno));
    }
    l->depth--;
    l->file = file;
    l->line = line;
}

static void
unknown_key(struct loader *l, const char *name)
{
    const char *nearest = conf_row_nearest(name, strlen(name));

    if (nearest != NULL)
        fault(l, "unknown setting \"%.80s\": did you mean %s?", name, nearest);
    else
        fault(l, "unknown setting \"%.80s\": mansio.conf(5) lists all of them", name);
}

static void
set_key(struct loader *l, const char *name, const char *value)
{
    struct buf why = BUF_INIT(4096);
    int i = conf_row_find(name, strlen(name));

    if (i < 0) {
        unknown_key(l, name);
        return;
    }
    if (l->places[i].line > 0) {
        fault(l, "%s is set already in %s line %d: remove one of the two", name,
              l->places[i].file, l->places[i].line);
        return;
    }
    l->places[i].file = l->file;
    l->places[i].line = l->line;
    if (!conf_set(l->conf, &conf_rows[i], value, &why))
        fault(l, "%s: %s", name, buf_str(&why));
    buf_free(&why);
}

static void
read_line(struct loader *l, char *s)
{
    char *name = skip_blanks(s), *value;

    if (*name == '\0' || *name == '#')
        return;
    value = strchr(name, '=');
    if (value == NULL) {
        trim_end(name);
        fault(l, "\"%.80s\" is not a setting: write name = value, or # before a comment", name);
        return;
    }
    *value++ = '\0';
    trim_end(name);
    value = skip_blanks(value);
    if (*value == '"') {
        if (!unquote(l, value))
            return;
    } else {
        cut_comment(value);
        trim_end(value);
    }
    if (has_control(value))
        fault(l, "%.80s: the value contains a control character: remove it", name);
    else if (strcmp(name, "include") == 0)
        include_file(l, value);
    else
        set_key(l, name, value);
}

/* The text is changed. */
static void
read_text(struct loader *l, const char *name, char *text, size_t len)
{
    char *end;

    l->file = name;
    l->line = 0;
    if (memchr(text, '\0', len) != NULL) {
        fault(l, "the file contains NUL octets: it isn't a text file");
        return;
    }
    for (char *line = text; *line != '\0' && l->errors < ERRORS_MAX; line = end) {
        l->line++;
        end = line + strcspn(line, "\n");
        if (*end == '\n')
            *end++ = '\0';
        read_line(l, line);
    }
}

static bool
is_open(const struct loader *l, const struct stat *st)
{
    for (unsigned i = 0; i < l->depth; i++)
        if (l->open[i].st_dev == st->st_dev && l->open[i].st_ino == st->st_ino)
            return true;
    return false;
}

/* Reads the whole file into text. 0 or an errno value. */
static int
slurp(struct loader *l, int fd, struct buf *text)
{
    struct stat *st = &l->open[l->depth];
    char *to;
    ssize_t n = 0;

    if (fstat(fd, st) != 0)
        return errno;
    if (S_ISDIR(st->st_mode))
        return EISDIR;
    if (S_ISREG(st->st_mode) && is_open(l, st))
        return ELOOP;
    fcntl(fd, F_SETFL, 0); /* O_NONBLOCK was for the opening only: it may be a pipe */
    while ((to = buf_room(text, READ_SIZE)) != NULL && (n = read(fd, to, READ_SIZE)) > 0)
        buf_added(text, (size_t)n);
    return to == NULL ? EFBIG : n < 0 ? errno : 0;
}

/* 0, or -1 with errno (nothing reported). */
static int
read_file(struct loader *l, const char *path)
{
    struct buf text = BUF_INIT(FILE_MAX + READ_SIZE);
    int failed, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -1;
    failed = slurp(l, fd, &text);
    close(fd);
    if (failed == 0) {
        buf_str(&text);
        l->files++;
        if (text.len > 0)
            read_text(l, path, text.data, text.len);
    }
    buf_free(&text);
    errno = failed;
    return failed == 0 ? 0 : -1;
}

struct conf *
conf_defaults(void)
{
    struct conf *conf = mem_calloc(1, sizeof *conf);
    struct buf why = BUF_INIT(4096);

    for (size_t i = 0; i < conf_row_count; i++)
        if (!conf_set(conf, &conf_rows[i], conf_rows[i].default_value, &why))
            log_panic("default of %s: %s", conf_rows[i].name, buf_str(&why));
    buf_free(&why);
    return conf;
}

void
conf_free(struct conf **conf)
{
    if (*conf == NULL)
        return;
    for (size_t i = 0; i < conf_row_count; i++)
        if (conf_rows[i].type == CONF_TEXT || conf_rows[i].type == CONF_LIST)
            free(*(char **)((char *)*conf + conf_rows[i].offset));
    free(*conf);
    *conf = NULL;
}

static void
loader_init(struct loader *l, conf_report *report, void *ctx)
{
    memset(l, 0, sizeof *l);
    l->conf = conf_defaults();
    l->report = report;
    l->ctx = ctx;
    l->arena = arena_new();
}

static int
finish(struct loader *l, const char *name, struct conf **out)
{
    l->errors += conf_cross_check(l->conf, l->places, name, l->report, l->ctx);
    if (l->errors > 0)
        conf_free(&l->conf);
    *out = l->conf;
    arena_free(&l->arena);
    return l->errors > 0 ? ERR_CONFIG : 0;
}

int
conf_load(const char *file, conf_report *report, void *ctx, struct conf **out)
{
    struct loader l;

    loader_init(&l, report, ctx);
    l.file = file;
    if (read_file(&l, file) != 0) {
        l.line = 0;
        fault(&l, "can't be read: %s", read_error(errno));
        conf_free(&l.conf);
        *out = NULL;
        arena_free(&l.arena);
        return ERR_CONFIG;
    }
    return finish(&l, file, out);
}

int
conf_parse(const char *name, const char *text, conf_report *report, void *ctx,
           struct conf **out)
{
    struct loader l;
    char *copy = mem_strdup(text);

    loader_init(&l, report, ctx);
    read_text(&l, name, copy, strlen(text));
    free(copy);
    return finish(&l, name, out);
}
