/*
 * The command, its report, and the directory it works in; see ctl_selftest.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "proc/ctl.h"
#include "proc/ctl_owner.h"
#include "proc/ctl_selftest.h"
#include "store/maildir.h"

#define REMOVE_TRIES 20

void
selftest_say(struct selftest *t, enum finding f, const char *subject, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "NOTE", "NO"};
    va_list ap;

    if (f == FOUND_BAD)
        t->wrong++;
    printf("%-5s %-22s ", words[f], subject);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

unsigned
selftest_run(const char *dir, bool verbose)
{
    struct selftest t = {.dir = dir, .verbose = verbose, .terminal = isatty(STDOUT_FILENO)};
    enum log_level former = log_get_level();

    t.conf = conf_defaults();
    free(t.conf->auto_folders);
    t.conf->auto_folders = mem_strdup("");
    log_set_level(verbose ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    selftest_file_system(&t);
    if (t.wrong == 0) {
        selftest_kills(&t);
        selftest_speed(&t);
    } else {
        printf("The kill matrix isn't run: what it rests on is missing.\n");
    }
    log_set_level(former);
    conf_free(&t.conf);
    printf(t.wrong == 0 ? "This file system can hold mail.\n"
                        : "Don't keep mail on this file system: %u of the above %s wrong.\n",
           t.wrong, t.wrong == 1 ? "is" : "are");
    return t.wrong;
}

/* A directory of our own, the mail user's. */
struct place {
    char *path;
    dev_t device;
    ino_t inode;
};

/* Is what has that name still the directory that was made? Whoever may write to the one above
   could have put another there, and root gives away and removes what it's told to. */
static bool
is_ours(const struct place *p, const struct stat *st)
{
    return S_ISDIR(st->st_mode) && st->st_dev == p->device && st->st_ino == p->inode;
}

static int
give_away(struct place *p, const struct conf *conf)
{
    int fd = open(p->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), result = -1;
    struct stat st;
    uid_t uid;
    gid_t gid;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0) {
        p->device = st.st_dev;
        p->inode = st.st_ino;
        if (st.st_uid != geteuid() || (st.st_mode & 07777) != 0700)
            errno = EPERM;
        else if (conf != NULL && conf_user_ids(conf->mail_user, &uid, &gid) == 0)
            result = fchown(fd, uid, gid);
        else
            result = 0;
    }
    close(fd);
    return result;
}

/* Below the given directory. 0 or an exit status after a message. */
static int
make_place(const char *given, const struct conf *conf, struct place *p)
{
    char *full = realpath(given, NULL);
    size_t size;

    if (full == NULL)
        return ctl_fail(CTL_NO, "%s: %s", given, strerror(errno));
    size = strlen(full) + sizeof "/mansio-selftest.XXXXXX";
    p->path = mem_alloc(size);
    snprintf(p->path, size, "%s/mansio-selftest.XXXXXX", full);
    free(full);
    if (mkdtemp(p->path) == NULL) {
        ctl_fail(CTL_NO, "%s: a directory can't be made there: %s", given, strerror(errno));
    } else if (give_away(p, conf) != 0) {
        ctl_fail(CTL_NO, "%s: can't be given to mail_user: %s", p->path, strerror(errno));
        rmdir(p->path);
    } else {
        return 0;
    }
    free(p->path);
    return CTL_NO;
}

static void
remove_place(struct place *p)
{
    static const struct timespec moment = {.tv_nsec = 50000000};
    struct stat st;
    int err = ERR_IO;

    /* more than once: a process that was killed may have its last system call to end */
    for (int tries = 0; err != 0 && tries < REMOVE_TRIES; tries++) {
        if (tries > 0)
            nanosleep(&moment, NULL);
        if (lstat(p->path, &st) != 0 || !is_ours(p, &st))
            break;
        err = maildir_remove_tree(AT_FDCWD, p->path);
    }
    if (err != 0)
        fprintf(stderr, "mansioctl: %s stays: remove it by hand\n", p->path);
    free(p->path);
}

/* For the signal handler. */
static struct {
    volatile sig_atomic_t worker; /* the process at work, 0 = none yet */
    volatile sig_atomic_t stopped;
} interrupt;

static void
stop(int sig)
{
    (void)sig;
    interrupt.stopped = 1;
    if (interrupt.worker > 0)
        kill(interrupt.worker, SIGKILL);
}

static void
on_interrupt(void (*handler)(int))
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &act, NULL);
}

/* In a process of its own: the directory's entry may be only root's to remove, and somebody
   must be left to do that when the test is broken off. */
static int
run_as_mail_user(struct ctl *ctl, const char *dir, bool verbose)
{
    int status = CTL_TEMPORARY;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        on_interrupt(SIG_DFL);
        status = ctl->conf != NULL ? ctl_become_mail_user(ctl->conf) : 0;
        if (status == 0)
            status = selftest_run(dir, verbose) == 0 ? CTL_OK : CTL_NO;
        fflush(stdout);
        _exit(status);
    }
    interrupt.worker = pid;
    if (pid > 0 && interrupt.stopped)
        kill(pid, SIGKILL);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return ctl_fail(CTL_TEMPORARY, "fork: %s", strerror(errno));
    interrupt.worker = 0;
    if (interrupt.stopped)
        return ctl_fail(CTL_TEMPORARY, "broken off");
    if (!WIFEXITED(status))
        return ctl_fail(CTL_NO, "the test died by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

int
ctl_selftest(struct ctl *ctl, int argc, char **argv)
{
    bool verbose = argc > 0 && strcmp(argv[0], "-v") == 0;
    struct place place = {.path = NULL};
    int status;

    if (argc != (verbose ? 2 : 1) || argv[verbose][0] == '\0' || argv[verbose][0] == '-')
        return ctl_fail(CTL_USAGE, "usage: mansioctl selftest [-v] DIRECTORY");
    /* as root, mail_user says whose rights count */
    if (geteuid() == 0 && conf_load(ctl->conf_file, ctl_print_fault, NULL, &ctl->conf) != 0)
        return CTL_CONFIG;
    on_interrupt(stop);
    status = make_place(argv[verbose], ctl->conf, &place);
    if (status != 0)
        return status;
    status = run_as_mail_user(ctl, place.path, verbose);
    remove_place(&place);
    return status;
}
