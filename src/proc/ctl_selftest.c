/*
 * The command, its report, and the directory it works in; see ctl_selftest.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "proc/ctl.h"
#include "proc/ctl_owner.h"
#include "proc/ctl_selftest.h"
#include "store/maildir.h"

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

/* A directory of our own below the given one, the mail user's. malloc; NULL after a message. */
static char *
make_place(const char *given, const struct conf *conf)
{
    char *full = realpath(given, NULL), *dir;
    size_t size;
    uid_t uid;
    gid_t gid;

    if (full == NULL) {
        ctl_fail(CTL_NO, "%s: %s", given, strerror(errno));
        return NULL;
    }
    size = strlen(full) + sizeof "/mansio-selftest.XXXXXX";
    dir = mem_alloc(size);
    snprintf(dir, size, "%s/mansio-selftest.XXXXXX", full);
    free(full);
    if (mkdtemp(dir) == NULL) {
        ctl_fail(CTL_NO, "%s: a directory can't be made there: %s", given, strerror(errno));
        free(dir);
        return NULL;
    }
    if (conf != NULL && conf_user_ids(conf->mail_user, &uid, &gid) == 0 &&
        chown(dir, uid, gid) != 0) {
        ctl_fail(CTL_NO, "%s: can't be given to mail_user: %s", dir, strerror(errno));
        rmdir(dir);
        free(dir);
        return NULL;
    }
    return dir;
}

/* In a process of its own: the directory's entry may be only root's to remove. */
static int
run_as_mail_user(struct ctl *ctl, const char *dir, bool verbose)
{
    int status = CTL_TEMPORARY;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        status = ctl->conf != NULL ? ctl_become_mail_user(ctl->conf) : 0;
        if (status == 0)
            status = selftest_run(dir, verbose) == 0 ? CTL_OK : CTL_NO;
        fflush(stdout);
        _exit(status);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return ctl_fail(CTL_TEMPORARY, "fork: %s", strerror(errno));
    if (!WIFEXITED(status))
        return ctl_fail(CTL_NO, "the test died by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

int
ctl_selftest(struct ctl *ctl, int argc, char **argv)
{
    bool verbose = argc > 0 && strcmp(argv[0], "-v") == 0;
    int status;
    char *dir;

    if (argc != (verbose ? 2 : 1) || argv[verbose][0] == '\0' || argv[verbose][0] == '-')
        return ctl_fail(CTL_USAGE, "usage: mansioctl selftest [-v] DIRECTORY");
    /* as root, mail_user says whose rights count */
    if (geteuid() == 0 && conf_load(ctl->conf_file, ctl_print_fault, NULL, &ctl->conf) != 0)
        return CTL_CONFIG;
    dir = make_place(argv[verbose], ctl->conf);
    if (dir == NULL)
        return CTL_NO;
    status = run_as_mail_user(ctl, dir, verbose);
    if (maildir_remove_tree(AT_FDCWD, dir) != 0)
        fprintf(stderr, "mansioctl: %s stays: remove it by hand\n", dir);
    free(dir);
    return status;
}
