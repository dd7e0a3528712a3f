/*
 * The file `maildirsize` of Maildir++ quotas; see quota.h. The format, and when it must be
 * counted anew, are those of Courier's README.maildirquota, which Dovecot, maildrop and Exim
 * follow too.
 *
 * The file is nobody's truth: whatever is wrong with it (missing, a broken line, a sum below
 * zero, a number too large, a symbolic link) means "count", and the next count replaces it.
 * Between a count and the rename that publishes it, a message may come or go: so the
 * directories' times are looked at again afterwards, and it's counted once more if they moved.
 * What still slips through (another program's delta between the two) is mended when the file
 * has grown to 5,120 octets, or says that the user is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/account_private.h"
#include "store/maildir.h"
#include "store/quota.h"

#define FILE_OCTETS   5120 /* as long as this: counted anew */
#define HEADER_OCTETS 256
#define STALE_S       (15 * 60) /* a file that says "over" is believed for so long */
#define COUNT_TRIES   3
#define SUM_MAX       ((int64_t)QUOTA_LIMIT_MAX)

/* What the file says. */
struct size_file {
    bool there, good; /* good: header and lines are understood */
    bool has_header;
    char header[HEADER_OCTETS];
    struct quota_limit limit; /* of the header */
    int64_t bytes, messages;
    unsigned lines; /* behind the header */
    int64_t mtime;
};

/* A signed number; its end, or NULL. */
static const char *
signed_number(const char *p, const char *end, int64_t *out)
{
    bool negative = false;
    const char *digits;

    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    digits = p;
    for (*out = 0; p < end && *p >= '0' && *p <= '9'; p++) {
        if (*out > SUM_MAX / 10 - 10)
            return NULL;
        *out = *out * 10 + (*p - '0');
    }
    if (negative)
        *out = -*out;
    return p > digits ? p : NULL;
}

/* "2345 1", with blanks around the numbers (Courier fills its lines up with them). */
static bool
read_line(struct size_file *f, const char *p, const char *end)
{
    int64_t bytes, messages;

    p = signed_number(p, end, &bytes);
    if (p == NULL || p == end || (*p != ' ' && *p != '\t'))
        return false;
    p = signed_number(p, end, &messages);
    while (p != NULL && p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    if (p == NULL || p != end)
        return false;
    f->bytes += bytes; /* both below SUM_MAX, a quarter of what fits */
    f->messages += messages;
    f->lines++;
    return f->bytes < SUM_MAX && f->bytes > -SUM_MAX && f->messages < SUM_MAX &&
           f->messages > -SUM_MAX;
}

/* The first line, without the blanks that fill it up. */
static void
read_header(struct size_file *f, const char *p, const char *end)
{
    size_t len;

    while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    len = (size_t)(end - p);
    if (len == 0 || len >= sizeof f->header || memchr(p, '\0', len) != NULL)
        return;
    memcpy(f->header, p, len);
    f->header[len] = '\0';
    f->has_header = quota_parse_header(f->header, &f->limit) == 0;
}

static void
parse(struct size_file *f, const char *text, size_t len)
{
    const char *p = text, *end = text + len, *lf = memchr(text, '\n', len);

    if (lf == NULL)
        return;
    read_header(f, p, lf);
    f->good = f->has_header;
    for (p = lf + 1; f->good && p < end; p = lf + 1) {
        lf = memchr(p, '\n', (size_t)(end - p));
        f->good = lf != NULL && read_line(f, p, lf); /* a line that wasn't written to its end */
        if (lf == NULL)
            break;
    }
    f->good = f->good && f->lines > 0 && f->bytes >= 0 && f->messages >= 0;
}

/* Up to `size` octets; how many, or -1 with errno. */
static ssize_t
slurp(int file, char *to, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while (len < size && (n = read(file, to + len, size - len)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static int
unreadable(const struct account *a)
{
    int err = err_from_errno(errno);

    log_error("%s/" QUOTA_FILE " can't be read: %s", a->mail_dir, strerror(errno));
    return err;
}

/* 0, also when the file makes no sense; or ERR_*. */
static int
read_file(const struct account *a, struct size_file *f)
{
    char text[FILE_OCTETS];
    int file = openat(a->root, QUOTA_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    ssize_t len;

    memset(f, 0, sizeof *f);
    if (file < 0 && errno == ENOENT)
        return 0;
    f->there = true;
    if (file < 0 && errno == ELOOP) {
        log_warn("%s/" QUOTA_FILE " is a symbolic link: it isn't followed", a->mail_dir);
        return 0;
    }
    if (file < 0)
        return unreadable(a);
    if (fstat(file, &st) != 0 || !S_ISREG(st.st_mode)) {
        log_warn("%s/" QUOTA_FILE " is not a regular file: it isn't read", a->mail_dir);
        close(file);
        return 0;
    }
    f->mtime = st.st_mtim.tv_sec;
    len = slurp(file, text, sizeof text);
    if (len < 0) {
        int err = unreadable(a);

        close(file);
        return err;
    }
    close(file);
    parse(f, text, (size_t)len);
    if (len == FILE_OCTETS)
        f->good = false;
    return 0;
}

/* quota = 0 where another program, or an older configuration, set a limit: it shall not come
   back, nor be applied by a delivery agent that reads the file. */
static void
forget_limit(struct account *a)
{
    struct size_file f;

    if (read_file(a, &f) == 0 && f.has_header && !quota_is_none(&f.limit) &&
        unlinkat(a->root, QUOTA_FILE, 0) == 0)
        log_info("removed " QUOTA_FILE ", which says %s: there's no limit any more", f.header);
}

/* Whose limit is it? Found out once for an open account. 0 or ERR_*. */
static int
find_limit(struct account *a)
{
    struct quota_state *q = &a->quota;
    const char *text = q->text[0] != '\0' ? q->text : a->conf->quota;
    struct size_file f;
    int err;

    if (q->known)
        return 0;
    if (text[0] != '\0') {
        if (quota_parse(text, &q->limit) < 0) {
            log_error("\"%s\" is no quota; see mansio-users(5)", text);
            return ERR_CONFIG;
        }
        q->applies = !quota_is_none(&q->limit);
        if (!q->applies)
            forget_limit(a);
    } else {
        err = read_file(a, &f);
        if (err < 0)
            return err;
        if (f.there && !f.has_header)
            log_warn("%s/" QUOTA_FILE " has no limit in its first line: none applies",
                     a->mail_dir);
        q->in_file = q->applies = f.has_header && !quota_is_none(&f.limit);
        q->limit = f.limit;
    }
    q->known = true;
    return 0;
}

static int
write_file(struct account *a, const char *header, const struct quota_usage *u)
{
    struct buf text = BUF_INIT(1024);
    int err;

    if (header != NULL) {
        buf_adds(&text, header);
    } else {
        if (u->limit.bytes != 0)
            buf_addf(&text, "%lluS", (unsigned long long)u->limit.bytes);
        if (u->limit.messages != 0)
            buf_addf(&text, "%s%lluC", text.len > 0 ? "," : "",
                     (unsigned long long)u->limit.messages);
    }
    buf_addf(&text, "\n%llu %llu\n", (unsigned long long)u->bytes,
             (unsigned long long)u->messages);
    err = maildir_write_file(a->root, QUOTA_FILE, text.data, text.len);
    buf_free(&text);
    return err;
}

/* Counts, and writes the file. `header`: the first line as it was, if it's not ours. A file
   that can't be written is logged where that happens: the count is good all the same. */
static int
recount(struct account *a, const char *header, struct quota_usage *u)
{
    uint64_t before, after;
    struct quota_usage ignored;
    int tries, err;

    for (tries = 0; tries < COUNT_TRIES; tries++) {
        err = quota_count(a, false, u, &before);
        if (err < 0)
            return err;
        u->limit = a->quota.limit;
        if (write_file(a, header, u) < 0)
            return 0;
        if (quota_count(a, true, &ignored, &after) < 0 || before == after)
            return 0;
    }
    return 0; /* a Maildir that is never quiet: as good as it can be */
}

static bool
is_same(const struct quota_limit *x, const struct quota_limit *y)
{
    return x->bytes == y->bytes && x->messages == y->messages;
}

/* The usage by the file, or counted. *sure: it's a count of this moment, or nearly. */
static int
load(struct account *a, struct quota_usage *u, struct size_file *f, bool *sure)
{
    struct quota_state *q = &a->quota;
    int err = read_file(a, f);

    memset(u, 0, sizeof *u);
    *sure = true;
    if (q->in_file) {
        if (err < 0)
            return err;
        if (!f->has_header || quota_is_none(&f->limit)) { /* who set the limit took it away */
            q->applies = q->in_file = false;
            return 0;
        }
        q->limit = f->limit;
    } else if (err < 0) {
        f->good = false;
    }
    u->limit = q->limit;
    if (!f->good || !is_same(&f->limit, &q->limit))
        return recount(a, q->in_file ? f->header : NULL, u);
    u->bytes = (uint64_t)f->bytes;
    u->messages = (uint64_t)f->messages;
    /* a time in the future: the clock was set back, or somebody else's is wrong */
    *sure = f->lines == 1 && f->mtime > sys_now() - STALE_S && f->mtime <= sys_now() + STALE_S;
    return 0;
}

static bool
is_over(uint64_t limit, uint64_t used, uint64_t more)
{
    return limit != 0 && (more > limit || used > limit - more);
}

static bool
is_full(const struct quota_usage *u, uint64_t bytes, uint64_t messages)
{
    return is_over(u->limit.bytes, u->bytes, bytes) ||
           is_over(u->limit.messages, u->messages, messages);
}

int
quota_check(struct account *a, uint64_t bytes, uint64_t messages)
{
    struct quota_usage u = {.bytes = 0};
    struct size_file f;
    bool sure;
    int err = find_limit(a);

    if (err < 0 || !a->quota.applies)
        return err;
    if (!a->quota.in_file) {
        u.limit = a->quota.limit;
        if (is_full(&u, bytes, messages)) /* whatever there is */
            return ERR_QUOTA;
    }
    err = load(a, &u, &f, &sure);
    if (err == 0 && !sure && is_full(&u, bytes, messages))
        err = recount(a, a->quota.in_file ? f.header : NULL, &u);
    if (err < 0)
        return err;
    return is_full(&u, bytes, messages) ? ERR_QUOTA : 0;
}

void
quota_add(struct account *a, int64_t bytes, int64_t messages)
{
    char line[64];
    struct stat st;
    int file, len;

    if ((bytes == 0 && messages == 0) || find_limit(a) < 0 || !a->quota.applies)
        return;
    file =
        openat(a->root, QUOTA_FILE, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 && errno == ENOENT)
        return; /* the next check counts */
    len = snprintf(line, sizeof line, "%lld %lld\n", (long long)bytes, (long long)messages);
    if (file < 0 || fstat(file, &st) != 0 ||
        (S_ISREG(st.st_mode) && write(file, line, (size_t)len) != len))
        log_warn("%s/" QUOTA_FILE " can't be written: %s; the quota is off until the next "
                 "count",
                 a->mail_dir, strerror(errno));
    if (file >= 0)
        close(file);
}

bool
quota_applies(struct account *a)
{
    return find_limit(a) < 0 || a->quota.applies;
}

static int
count_without_limit(struct account *a, struct quota_usage *out)
{
    uint64_t stamp;

    memset(out, 0, sizeof *out);
    return quota_count(a, false, out, &stamp);
}

int
quota_usage(struct account *a, struct quota_usage *out)
{
    struct size_file f;
    bool sure;
    int err = find_limit(a);

    if (err == 0 && a->quota.applies)
        err = load(a, out, &f, &sure);
    if (err == 0 && !a->quota.applies)
        err = count_without_limit(a, out);
    return err;
}

int
quota_recount(struct account *a, struct quota_usage *out)
{
    struct size_file f;
    int err = find_limit(a);

    if (err < 0)
        return err;
    if (!a->quota.applies)
        return count_without_limit(a, out);
    err = read_file(a, &f);
    if (a->quota.in_file && (err < 0 || !f.has_header))
        return err < 0 ? err : count_without_limit(a, out);
    return recount(a, a->quota.in_file ? f.header : NULL, out);
}
