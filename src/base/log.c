/*
 * Logging; see log.h. A line is put together in a fixed buffer and written by one call, so that
 * lines of several processes don't mix.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

#define LOG_LINE   2048 /* octets in a line */
#define LOG_PREFIX 128
#define EXIT_PANIC 70 /* EX_SOFTWARE */

static struct {
    enum { TO_STDERR, TO_SYSLOG, TO_FILE } to;
    int fd;
    char path[1024];
    char program[64];
    char prefix[LOG_PREFIX];
    enum log_level level;
} logger = {.to = TO_STDERR, .fd = -1, .program = "mansio", .level = LOG_LEVEL_INFO};

void (*log_hook)(enum log_level level, const char *line);
void (*log_last_word)(void);

/* Is fd the file at the path itself, or did a symbolic link of root's lead there? The folder
   may belong to an unprivileged user, who could have root write elsewhere by a link of his own.
 */
static bool
is_trusted(const char *path, int fd)
{
    struct stat there, here;

    if (lstat(path, &there) != 0 || fstat(fd, &here) != 0)
        return false;
    if (S_ISLNK(there.st_mode))
        return there.st_uid == 0;
    return there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

/* Root makes no file at the end of another user's link: an empty one can do harm too, such as
   /etc/nologin. */
static int
open_or_create(const char *path)
{
    const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY;
    struct stat st;
    int fd, exclusive = 0;

    if (geteuid() == 0 && (lstat(path, &st) != 0 || (S_ISLNK(st.st_mode) && st.st_uid != 0)))
        exclusive = O_EXCL;
    fd = open(path, flags);
    if (fd < 0 && errno == ENOENT)
        fd = open(path, flags | O_CREAT | exclusive, 0640);
    if (fd < 0 && errno == EEXIST)
        fd = open(path, flags); /* made meanwhile */
    return fd;
}

/* Called in handlers of signals too. */
static int
open_file(const char *path)
{
    int fd = open_or_create(path);

    if (fd < 0 || geteuid() != 0 || is_trusted(path, fd))
        return fd;
    close(fd);
    errno = ELOOP;
    return -1;
}

int
log_open(const char *destination, const char *program)
{
    int fd = -1;

    snprintf(logger.program, sizeof logger.program, "%s", program);
    if (strcmp(destination, "stderr") != 0 && strcmp(destination, "syslog") != 0) {
        if (strlen(destination) >= sizeof logger.path) {
            errno = ENAMETOOLONG;
            return ERR_CANNOT;
        }
        fd = open_file(destination);
        if (fd < 0)
            return err_from_errno(errno);
    }
    if (logger.fd >= 0)
        close(logger.fd);
    if (logger.to == TO_SYSLOG)
        closelog();
    logger.fd = fd;
    if (fd >= 0) {
        logger.to = TO_FILE;
        snprintf(logger.path, sizeof logger.path, "%s", destination);
    } else if (strcmp(destination, "syslog") == 0) {
        logger.to = TO_SYSLOG;
        openlog(logger.program, LOG_PID | LOG_NDELAY, LOG_MAIL);
    } else {
        logger.to = TO_STDERR;
    }
    return 0;
}

int
log_reopen(void)
{
    int fd;

    if (logger.to != TO_FILE)
        return 0;
    fd = open_file(logger.path);
    if (fd < 0)
        return err_from_errno(errno);
    /* in a handler's case perhaps in the middle of a line: the number must stay valid */
    dup3(fd, logger.fd, O_CLOEXEC);
    close(fd);
    return 0;
}

void
log_set_level(enum log_level level)
{
    logger.level = level;
}

enum log_level
log_get_level(void)
{
    return logger.level;
}

void
log_set_prefix(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(logger.prefix, sizeof logger.prefix, fmt, ap);
    va_end(ap);
}

int
log_fd(void)
{
    return logger.fd;
}

static const char *
level_word(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error: ";
    case LOG_LEVEL_WARN:
        return "warning: ";
    default:
        return "";
    }
}

static void
clean(char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

static void
write_line(const char *text)
{
    char line[LOG_LINE + 160], stamp[40] = "";
    time_t now = time(NULL);
    struct tm tm;
    ssize_t written;
    int n, fd = logger.to == TO_FILE ? logger.fd : STDERR_FILENO;

    if (localtime_r(&now, &tm) != NULL)
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S%z", &tm);
    n = snprintf(line, sizeof line, "%s %s[%ld]: %s\n", stamp, logger.program, (long)getpid(),
                 text);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof line)
        n = sizeof line - 1;
    written = write(fd, line, (size_t)n);
    (void)written; /* there is nobody left to tell */
}

static void __attribute__((format(printf, 3, 0)))
log_write(enum log_level level, int priority, const char *fmt, va_list ap)
{
    char text[LOG_LINE];
    int saved = errno, n;

    if (level > logger.level)
        return;
    n = snprintf(text, sizeof text, "%s%s", logger.prefix, level_word(level));
    if (n < 0 || (size_t)n >= sizeof text)
        n = 0;
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    clean(text);
    if (log_hook != NULL)
        log_hook(level, text);
    else if (logger.to == TO_SYSLOG)
        syslog(priority, "%s", text);
    else
        write_line(text);
    errno = saved;
}

#define LOG_BODY(level, priority)                                                              \
    va_list ap;                                                                                \
                                                                                               \
    va_start(ap, fmt);                                                                         \
    log_write(level, priority, fmt, ap);                                                       \
    va_end(ap)

void
log_debug(const char *fmt, ...)
{
    LOG_BODY(LOG_LEVEL_DEBUG, LOG_DEBUG);
}

void
log_info(const char *fmt, ...)
{
    LOG_BODY(LOG_LEVEL_INFO, LOG_INFO);
}

void
log_warn(const char *fmt, ...)
{
    LOG_BODY(LOG_LEVEL_WARN, LOG_WARNING);
}

void
log_error(const char *fmt, ...)
{
    LOG_BODY(LOG_LEVEL_ERROR, LOG_ERR);
}

_Noreturn void
log_fatal(int status, const char *fmt, ...)
{
    LOG_BODY(LOG_LEVEL_ERROR, LOG_CRIT);
    exit(status);
}

_Noreturn void
log_panic(const char *fmt, ...)
{
    LOG_BODY(LOG_LEVEL_ERROR, LOG_CRIT);
    if (log_last_word != NULL)
        log_last_word();
    _exit(EXIT_PANIC);
}
