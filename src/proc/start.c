/*
 * The start of the master, one thing after the other, each with an error that names the remedy:
 * configuration, background, directories, pid file, sockets, signals, log. What it opens for
 * others (log file, auth socket) is given to them here, at a reload too.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "proc/daemon.h"
#include "proc/master.h"
#include "proc/pidfile.h"
#include "proc/worker.h"

#define AUTH_BACKLOG     1024
#define FILES_OF_A_CHILD 64 /* a worker's own descriptors, and the master's */

static int
make_directory(const char *path)
{
    char parent[PATH_MAX];

    if (strlen(path) >= sizeof parent)
        return ERR_CANNOT;
    for (size_t i = 1; path[i - 1] != '\0'; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(parent, path, i);
        parent[i] = '\0';
        if (mkdir(parent, 0755) == 0)
            chmod(parent, 0755); /* whatever the umask */
        else if (errno != EEXIST)
            return err_from_errno(errno);
    }
    return 0;
}

/* A listening Unix socket in run_dir, 0600. */
int
master_socket(const struct master *m, const char *name, int backlog, int *out)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n =
        snprintf(addr.sun_path, sizeof addr.sun_path, "%s/%s", m->setup->conf->run_dir, name);
    int fd;

    if (n < 0 || (size_t)n >= sizeof addr.sun_path)
        return ERR_CANNOT;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_from_errno(errno);
    unlink(addr.sun_path);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || chmod(addr.sun_path, 0600) < 0 ||
        listen(fd, backlog) < 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return err_from_errno(errno);
    }
    *out = fd;
    return 0;
}

void
master_unlink(const struct master *m, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", m->setup->conf->run_dir, name);
    unlink(path);
}

/* Workers run as mail_user: the socket of the auth process and the log file are theirs too. The
   auth process, if it isn't root's, gets at the log as its group. */
void
master_give_files(const struct master *m)
{
    const struct setup *s = m->setup;
    char path[PATH_MAX];

    if (geteuid() != 0)
        return;
    snprintf(path, sizeof path, "%s/auth", s->conf->run_dir);
    if (lchown(path, s->mail_uid, s->mail_gid) < 0)
        log_error("chown %s: %s", path, strerror(errno));
    master_own_log(m);
}

void
master_own_log(const struct master *m)
{
    const struct setup *s = m->setup;
    int fd = log_fd();
    bool group = s->auth_uid != 0 && s->auth_uid != s->mail_uid;
    struct stat st;

    if (geteuid() != 0 || fd < 0)
        return;
    /* a device isn't ours to give, and a second name may be put there by whom the folder is */
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1)
        return;
    if (fchown(fd, s->mail_uid, group ? s->auth_gid : (gid_t)-1) < 0 ||
        (group && fchmod(fd, 0660) < 0))
        log_warn("%s: can't be given to mail_user: %s", s->conf->log, strerror(errno));
}

static enum log_level
level_of(const char *word)
{
    if (strcmp(word, "error") == 0)
        return LOG_LEVEL_ERROR;
    if (strcmp(word, "warning") == 0)
        return LOG_LEVEL_WARN;
    return strcmp(word, "debug") == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

int
master_open_log(const struct master *m, const struct conf *conf)
{
    bool to_terminal = m->foreground && strcmp(conf->log, "syslog") == 0;
    int err = log_open(to_terminal ? "stderr" : conf->log, "mansiod");

    if (err != 0)
        log_error("log %s: %s", conf->log, strerror(errno));
    else
        log_set_level(level_of(conf->log_level));
    return err;
}

/* Raises the number of open files to what the auth process may need: one a login. */
static void
raise_limits(const struct conf *conf)
{
    rlim_t want = conf->imap.max_workers + conf->pop3.max_workers + FILES_OF_A_CHILD;
    struct rlimit limit;

    if (want < 1024)
        want = 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = want;
    if (limit.rlim_max < want) {
        if (geteuid() == 0)
            limit.rlim_max = want;
        else
            limit.rlim_cur = limit.rlim_max;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < want)
        log_warn("the limit of open files is %lu; %lu are wanted for all workers: raise it "
                 "(ulimit -n, LimitNOFILE), or lower the max_workers",
                 (unsigned long)limit.rlim_cur, (unsigned long)want);
}

static int
open_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    /* for the children, which start with our mask: nothing may reach one without handlers */
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, WORKER_KICK_SIGNAL);
    if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
open_pid_file(struct master *m)
{
    const char *path = m->setup->conf->pid_file;
    const char *slash = strrchr(path, '/');
    pid_t other = 0;
    int err;

    if (slash != NULL && slash != path) {
        char parent[PATH_MAX];

        snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
        make_directory(parent);
    }
    err = pidfile_open(path, &m->pidfile, &other);
    if (err == ERR_INUSE)
        log_error(
            "mansiod runs already, as process %ld (it holds %s); \"mansioctl stop\" stops "
            "it",
            (long)other, path);
    else if (err != 0)
        log_error("pid_file %s: %s", path, strerror(errno));
    return err;
}

static int
open_sockets(struct master *m)
{
    int err = control_open(m);

    if (err != 0)
        return err;
    err = master_socket(m, "auth", AUTH_BACKLOG, &m->auth_fd);
    if (err != 0) {
        log_error("%s/auth: %s", m->setup->conf->run_dir, strerror(errno));
        return err;
    }
    return setup_bind(m->setup, NULL, report_to_log, NULL);
}

int
master_prepare(struct master *m)
{
    const char *run_dir;

    if (setup_load(m->conf_file, report_to_log, NULL, &m->setup) != 0) {
        log_error("not started; \"mansiod -t\" checks the configuration");
        return EXIT_CONFIGURATION;
    }
    if (!m->foreground)
        m->start_fd = daemon_fork();
    raise_limits(m->setup->conf);
    run_dir = m->setup->conf->run_dir;
    if (make_directory(run_dir) != 0) {
        log_error("run_dir %s: %s", run_dir, strerror(errno));
        return EXIT_OS;
    }
    if (open_pid_file(m) != 0 || open_sockets(m) != 0)
        return EXIT_UNAVAILABLE;
    m->signal_fd = open_signals();
    if (m->signal_fd < 0 || pipe2(m->report_fd, O_CLOEXEC | O_NONBLOCK) < 0 ||
        pipe2(m->life_fd, O_CLOEXEC | O_NONBLOCK) < 0) {
        log_error("pipes: %s", strerror(errno));
        return EXIT_OS;
    }
    if (master_open_log(m, m->setup->conf) != 0)
        return EXIT_CONFIGURATION;
    master_give_files(m);
    return 0;
}
