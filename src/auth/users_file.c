/*
 * Reading the users file: mansio-users(5). One line a user,
 *
 *     user:hash:uid:gid:gecos:home:shell:extra
 *
 * as in Dovecot's passwd-file; fields after the hash may be missing. Editing is in
 * users_edit.c.
 *
 * The table is sorted by name (octets) and read as a whole; a change of the file is noticed by
 * its inode, size and time. What can't be understood is left out and told with its line: a
 * fault in one line locks out one user, never all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/password.h"
#include "auth/users_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/quota_limit.h"

#define FILE_SIZE_MAX (512UL * 1024 * 1024)
#define READ_SIZE     65536
#define FAULTS_LOGGED 50 /* of one reading; the rest is counted */
#define NAME_OCTETS   255
#define FIELDS        8

struct users_file {
    char *path;
    struct buf text; /* the file; the users' fields point into it */
    struct user *users;
    size_t count;
    struct stat seen; /* of the file as it was read, or last tried */
    int failed;       /* errno of the last try, 0 = good */
};

/* What one reading collects. */
struct reading {
    const char *path;
    struct user *users;
    size_t *lines; /* of each user */
    size_t count, room, line, faults;
};

static void __attribute__((format(printf, 3, 4)))
fault(struct reading *r, size_t line, const char *fmt, ...)
{
    struct buf text = BUF_INIT(1024);
    va_list ap;

    if (++r->faults > FAULTS_LOGGED)
        return;
    va_start(ap, fmt);
    buf_vaddf(&text, fmt, ap);
    va_end(ap);
    log_warn("%s:%zu: %s", r->path, line, buf_str(&text));
    buf_free(&text);
}

static bool
is_no(const char *value)
{
    return strcasecmp(value, "no") == 0 || strcasecmp(value, "n") == 0 ||
           strcasecmp(value, "off") == 0 || strcasecmp(value, "false") == 0 ||
           strcmp(value, "0") == 0;
}

/* imap= and pop3=: anything but a clear yes or no closes the service, so that a typo never
   opens it. */
static void
set_service(struct reading *r, bool *service, const char *word, const char *value)
{
    *service = strcasecmp(value, "yes") == 0 || strcasecmp(value, "y") == 0 ||
               strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 ||
               strcmp(value, "1") == 0;
    if (!*service && !is_no(value))
        fault(r, r->line, "%s: write %s=yes or %s=no; taken as no", word, word, word);
}

static void
set_mail(struct reading *r, struct user *user, const char *value)
{
    if (strncasecmp(value, "maildir:", 8) == 0)
        value += 8;
    if (value[0] != '/' && strncmp(value, "%h/", 3) != 0)
        fault(r, r->line,
              "mail=%.80s is ignored: only an absolute path to a Maildir is understood", value);
    else
        user->mail = value;
}

/* quota=, and Dovecot's quota_rule=. What isn't understood leaves the user with the
   configuration's limit, and is told. */
static void
set_quota(struct reading *r, struct user *user, const char *word, const char *value)
{
    struct quota_limit limit;

    if (quota_parse(value, &limit) == 0 && strlen(value) < QUOTA_LIMIT_SIZE)
        user->quota = value;
    else
        fault(r, r->line,
              "%s=%.80s of user %s is ignored, the quota of mansio.conf applies: write a size, "
              "such as quota=10G, or a size and a number of messages, such as quota=10G:20000",
              word, value, user->name);
}

/* One word of the extra field. Unknown ones are left alone: they may mean something to another
   server that uses the same file. */
static void
read_word(struct reading *r, struct user *user, char *word)
{
    char *value = strchr(word, '=');

    if (value != NULL)
        *value++ = '\0';
    if (strncasecmp(word, "userdb_", 7) == 0)
        word += 7;
    if (strcasecmp(word, "nologin") == 0 || strcasecmp(word, "proxy") == 0)
        user->nologin = value == NULL || !is_no(value);
    else if (value == NULL)
        return;
    else if (strcasecmp(word, "imap") == 0)
        set_service(r, &user->imap, "imap", value);
    else if (strcasecmp(word, "pop3") == 0)
        set_service(r, &user->pop3, "pop3", value);
    else if (strcasecmp(word, "quota") == 0)
        set_quota(r, user, "quota", value);
    else if (strcasecmp(word, "quota_rule") == 0)
        set_quota(r, user, "quota_rule", value);
    else if (strcasecmp(word, "mail") == 0)
        set_mail(r, user, value);
    else if (strcasecmp(word, "allow_nets") == 0)
        user->allow_nets = value;
}

/* Cuts the words apart at blanks, in a copy: `extra` keeps them as they are. */
static void
read_words(struct reading *r, struct user *user, char *copy)
{
    char *save = NULL;

    for (char *word = strtok_r(copy, " \t", &save); word != NULL;
         word = strtok_r(NULL, " \t", &save))
        read_word(r, user, word);
}

/* Cuts the line at its first seven colons; what's missing is "". */
static void
split_fields(char *line, char *fields[FIELDS])
{
    for (size_t i = 0; i < FIELDS; i++) {
        fields[i] = line;
        if (i + 1 == FIELDS)
            break;
        line += strcspn(line, ":");
        if (*line == ':')
            *line++ = '\0';
    }
}

static bool
is_good_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > NAME_OCTETS || name[0] == '.' || strchr(name, '/') != NULL)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] <= 0x20 || name[i] == 0x7f)
            return false;
    return true;
}

static void
add_user(struct reading *r, const struct user *user)
{
    if (r->count == r->room) {
        r->room = r->room > 0 ? 2 * r->room : 64;
        r->users = mem_reallocarray(r->users, r->room, sizeof *r->users);
        r->lines = mem_reallocarray(r->lines, r->room, sizeof *r->lines);
    }
    r->lines[r->count] = r->line;
    r->users[r->count++] = *user;
}

/* `words` has room for a copy of the line. */
static void
read_line(struct reading *r, char *line, char *words)
{
    struct user user = {.imap = true, .pop3 = true, .quota = "", .mail = "", .allow_nets = ""};
    char *fields[FIELDS];
    size_t len = strlen(line);

    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
        line[--len] = '\0';
    if (len == 0 || line[0] == '#')
        return;
    if (strchr(line, ':') == NULL) {
        fault(r, r->line, "left out: write user:hash, with a colon between them");
        return;
    }
    split_fields(line, fields);
    if (!is_good_name(fields[0])) {
        fault(r, r->line,
              "left out: the user's name must have 1 to 255 octets, no blanks, no / and no dot "
              "in front");
        return;
    }
    user.name = fields[0];
    user.hash = fields[1];
    user.uid = fields[2];
    user.gid = fields[3];
    user.home = fields[5];
    user.extra = fields[7];
    if (strlen(user.home) >= 1024) {
        fault(r, r->line, "left out: the home directory is longer than 1023 octets");
        return;
    }
    if (strpbrk(user.hash, "$.}/=") != NULL && user.hash[0] != '!' && user.hash[0] != '*' &&
        !password_is_usable(user.hash))
        fault(r, r->line, "user %s can't log in: the password's hash is of no known scheme",
              user.name);
    memcpy(words, fields[7], strlen(fields[7]) + 1);
    read_words(r, &user, words);
    if (strlen(user.mail) >= 1024) {
        fault(r, r->line, "left out: mail= is longer than 1023 octets");
        return;
    }
    add_user(r, &user);
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct user *)a)->name, ((const struct user *)b)->name);
}

/* An index, sorted by name and, among equals, by line. */
struct position {
    const struct user *user;
    size_t line;
};
static int
by_name_and_line(const void *a, const void *b)
{
    const struct position *x = a, *y = b;
    int order = strcmp(x->user->name, y->user->name);

    return order != 0 ? order : x->line < y->line ? -1 : x->line > y->line;
}

/* Sorts, and leaves all but the first of each name out. */
static void
sort_users(struct reading *r)
{
    struct position *order = mem_reallocarray(NULL, r->count, sizeof *order);
    struct user *users = mem_reallocarray(NULL, r->count, sizeof *users);
    size_t kept = 0, first = 0;

    for (size_t i = 0; i < r->count; i++)
        order[i] = (struct position){.user = &r->users[i], .line = r->lines[i]};
    qsort(order, r->count, sizeof *order, by_name_and_line);
    for (size_t i = 0; i < r->count; i++) {
        if (kept > 0 && strcmp(order[i].user->name, users[kept - 1].name) == 0) {
            fault(r, order[i].line, "left out: user %s is in line %zu already: remove one",
                  order[i].user->name, order[first].line);
            continue;
        }
        first = i;
        users[kept++] = *order[i].user;
    }
    free(order);
    free(r->users);
    r->users = users;
    r->count = kept;
}

/* The text of `text` is cut up. It's followed by as much room again, for the words of extra. */
static void
read_users(struct reading *r, char *text, size_t len, char *words)
{
    char *end;

    for (char *line = text; line < text + len; line = end + 1) {
        r->line++;
        end = memchr(line, '\n', len - (size_t)(line - text));
        if (end == NULL)
            end = text + len;
        *end = '\0';
        if (strlen(line) != (size_t)(end - line))
            fault(r, r->line, "left out: the line contains a NUL octet");
        else
            read_line(r, line, words + (line - text));
    }
    if (r->count > 0)
        sort_users(r);
    if (r->faults > FAULTS_LOGGED)
        log_warn("%s: %zu further faults", r->path, r->faults - FAULTS_LOGGED);
}

/* 0 or errno. */
static int
slurp(int fd, struct buf *text)
{
    char *to;
    ssize_t n = 0;

    while ((to = buf_room(text, READ_SIZE)) != NULL && (n = read(fd, to, READ_SIZE)) > 0)
        buf_added(text, (size_t)n);
    return to == NULL ? EFBIG : n < 0 ? errno : 0;
}

static void
warn_mode(const char *path, const struct stat *st)
{
    if (st->st_mode & S_IROTH)
        log_warn("%s can be read by everybody: its hashes can be tried out; chmod o= %s", path,
                 path);
}

/* Reads the file into f, which is empty. 0 or errno. */
static int
read_file(struct users_file *f)
{
    struct reading r = {.path = f->path};
    int result, fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    size_t len;

    buf_init(&f->text, FILE_SIZE_MAX);
    if (fd < 0)
        return errno;
    if (fstat(fd, &f->seen) != 0)
        result = errno;
    else if (!S_ISREG(f->seen.st_mode))
        result = EISDIR;
    else
        result = slurp(fd, &f->text);
    close(fd);
    if (result != 0)
        return result;
    warn_mode(f->path, &f->seen);
    len = f->text.len;
    if (buf_room(&f->text, len + 1) == NULL)
        return EFBIG;
    if (len > 0)
        read_users(&r, f->text.data, len, f->text.data + len + 1);
    f->users = r.users;
    f->count = r.count;
    free(r.lines);
    return 0;
}

static void
empty(struct users_file *f)
{
    if (f->text.data != NULL)
        explicit_bzero(f->text.data, f->text.cap);
    buf_free(&f->text);
    free(f->users);
    f->users = NULL;
    f->count = 0;
}

int
users_file_load(const char *path, struct users_file **out)
{
    struct users_file *f = mem_calloc(1, sizeof *f);
    int failed;

    *out = NULL;
    f->path = mem_strdup(path);
    failed = read_file(f);
    if (failed == 0) {
        *out = f;
        return 0;
    }
    log_error("%s can't be read: %s", path, strerror(failed));
    users_file_free(&f);
    return err_from_errno(failed);
}

void
users_file_free(struct users_file **f)
{
    if (*f == NULL)
        return;
    empty(*f);
    free((*f)->path);
    free(*f);
    *f = NULL;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool
users_file_refresh(struct users_file *f)
{
    struct users_file fresh = {.path = f->path};
    struct stat st;
    int failed = 0;

    if (stat(f->path, &st) != 0)
        failed = errno;
    else if (same_file(&st, &f->seen))
        return false;
    else
        failed = read_file(&fresh);
    if (failed == 0) {
        empty(f);
        *f = fresh;
        log_info("%s: %zu users", f->path, f->count);
        return true;
    }
    empty(&fresh);
    if (failed != f->failed)
        log_error("%s can't be read: %s; the users as they were stay in use", f->path,
                  strerror(failed));
    f->failed = failed;
    return false;
}

const struct user *
users_file_find(const struct users_file *f, const char *name)
{
    const struct user key = {.name = name};

    if (f->count == 0)
        return NULL;
    return bsearch(&key, f->users, f->count, sizeof *f->users, by_name);
}

size_t
users_file_count(const struct users_file *f)
{
    return f->count;
}

const struct user *
users_file_nth(const struct users_file *f, size_t i)
{
    return i < f->count ? &f->users[i] : NULL;
}
