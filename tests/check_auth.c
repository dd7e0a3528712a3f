/*
 * The auth process, asked over its socket as a worker asks it, and the login of a session in
 * front of it.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/auth_client.h"
#include "auth/auth_count.h"
#include "auth/auth_server.h"
#include "auth/auth_timer.h"
#include "auth/password.h"
#include "auth/session.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "valgrind_test.h"

static struct {
    char dir[64], users[80], path[80];
    struct conf *conf;
    int listen_fd, parent[2];
    pid_t pid;
} t;

static void
report(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    if (strncmp(text, "warning: ", 9) != 0)
        ck_abort_msg("%s:%d: %s", file, line, text);
}

static void
nothing(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static void
write_users(const char *extra)
{
    char *slow = password_hash("SHA512-CRYPT", "secret");
    FILE *f = fopen(t.users, "w");

    ck_assert_ptr_nonnull(f);
    fchmod(fileno(f), 0600);
    fprintf(f,
            "ann:{PLAIN}secret:1000:100::/home/ann::quota=1G\n"
            "slow:%s\n"
            "noimap:{PLAIN}secret::::::imap=no\n"
            "out:{PLAIN}secret::::::nologin\n"
            "net:{PLAIN}secret::::::allow_nets=192.0.2.0/24\n"
            "root:{PLAIN}secret\n"
            "locked:!{PLAIN}secret\n"
            "bob@example.org:{SHA256.HEX}"
            "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b::::::mail=/m\n"
            "%s",
            slow, extra);
    fclose(f);
    free(slow);
}

static int
listen_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(listen(fd, 128), 0);
    return fd;
}

static void
start(const char *settings)
{
    char text[1024];

    snprintf(
        text, sizeof text,
        "user_db = file:%s\nrun_dir = %s\nmail_location = %s/mail/%%u\nmail_user = nobody\n"
        "login_security = any\n%s",
        t.users, t.dir, t.dir, settings);
    ck_assert_int_eq(conf_parse("test", text, report, NULL, &t.conf), 0);
    t.listen_fd = listen_at(t.path);
    ck_assert_int_eq(pipe(t.parent), 0);
    t.pid = fork();
    ck_assert_int_ge(t.pid, 0);
    if (t.pid == 0) {
        close(t.parent[1]);
        exit(auth_server_run(t.conf, t.listen_fd, t.parent[0]));
    }
    close(t.parent[0]);
}

static int
wait_for_end(void)
{
    int status;

    ck_assert_int_eq(waitpid(t.pid, &status, 0), t.pid);
    t.pid = 0;
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
set_up(void)
{
    snprintf(t.dir, sizeof t.dir, "/tmp/check_auth.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.dir));
    ck_assert_int_eq(chmod(t.dir, 0755), 0);
    snprintf(t.users, sizeof t.users, "%s/users", t.dir);
    snprintf(t.path, sizeof t.path, "%s/auth", t.dir);
    log_hook = nothing;
    t.pid = 0;
    write_users("");
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void
tear_down(void)
{
    if (t.pid > 0) {
        kill(t.pid, SIGTERM);
        kill(t.pid, SIGCONT);
        ck_assert_int_eq(wait_for_end(), 0); /* ends in order, whatever the test did */
    }
    if (t.conf != NULL) {
        conf_free(&t.conf);
        close(t.parent[1]);
        close(t.listen_fd);
    }
    log_hook = NULL;
    ck_assert_int_eq(nftw(t.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static struct auth_request
request(const char *user, const char *password)
{
    struct auth_request rq;

    memset(&rq, 0, sizeof rq);
    rq.magic = AUTH_MAGIC;
    snprintf(rq.service, sizeof rq.service, "imap");
    snprintf(rq.mechanism, sizeof rq.mechanism, "PLAIN");
    snprintf(rq.user, sizeof rq.user, "%s", user);
    snprintf(rq.password, sizeof rq.password, "%s", password);
    snprintf(rq.address, sizeof rq.address, "198.51.100.7");
    return rq;
}

static struct auth_answer last; /* the last answer */

static int
ask(const struct auth_request *rq, enum auth_status expected)
{
    int fd;

    ck_assert_int_eq(auth_ask(t.path, rq, &last, 30, &fd), 0);
    ck_assert_msg(last.status == expected, "%s: status %u, %s", rq->user, last.status,
                  last.reason);
    ck_assert_int_eq(fd >= 0, expected == AUTH_OK);
    return fd;
}

static void
login(const char *user, const char *password)
{
    struct auth_request rq = request(user, password);

    close(ask(&rq, AUTH_OK));
}

static void
refused(const char *user, const char *password, const char *reason)
{
    struct auth_request rq = request(user, password);

    ask(&rq, AUTH_FAILED);
    ck_assert_str_eq(last.reason, reason);
    /* nothing about the user goes out to a worker that couldn't tell the password */
    ck_assert_str_eq(last.home, "");
    ck_assert_str_eq(last.user, "");
}

START_TEST(test_answers)
{
    start("login_failure_delay = 0");
    login("ann", "secret");
    ck_assert_str_eq(last.user, "ann");
    ck_assert_str_eq(last.home, "/home/ann");
    ck_assert_str_eq(last.quota, "1G");
    ck_assert_str_eq(last.mail, "");
    ck_assert_uint_eq(last.uid, 1000);
    ck_assert_uint_eq(last.gid, 100);
    login("bob@example.org", "secret");
    ck_assert_str_eq(last.mail, "/m");
    ck_assert_uint_eq(last.uid, UINT32_MAX);
    login("slow", "secret");
    refused("ann", "Secret", "wrong password");
    refused("ann", "", "wrong password");
    refused("slow", "wrong", "wrong password");
    refused("nobody-here", "secret", "unknown user");
    refused("", "secret", "bad user name");
    refused("locked", "secret", "wrong password");
    refused("locked", "!{PLAIN}secret", "wrong password");
}
END_TEST

/* Denied names, services and networks look like a wrong password to the client; the log knows
   better, but only after a right password. */
START_TEST(test_refusals)
{
    struct auth_request rq = request("noimap", "secret");

    start("login_failure_delay = 0\nusername_default_domain = example.net");
    refused("root", "secret", "denied user");
    refused("ROOT", "secret", "denied user");
    refused("anonymous", "secret", "denied user");
    refused("guest@example.net", "secret", "denied user");
    refused("guest@example.org", "secret", "unknown user");
    refused("noimap", "secret", "imap=no");
    refused("noimap", "wrong", "wrong password");
    refused("out", "secret", "nologin");
    refused("net", "secret", "address not in allow_nets");
    snprintf(rq.service, sizeof rq.service, "pop3");
    close(ask(&rq, AUTH_OK));
    snprintf(rq.service, sizeof rq.service, "smtp");
    ask(&rq, AUTH_FAILED);
    rq = request("net", "secret");
    snprintf(rq.address, sizeof rq.address, "192.0.2.99");
    close(ask(&rq, AUTH_OK));
}
END_TEST

/* RFC 1939 7: only where the text of the password is known. */
START_TEST(test_apop)
{
    struct auth_request rq = request("ann", "");

    start("login_failure_delay = 0");
    snprintf(rq.mechanism, sizeof rq.mechanism, "APOP");
    snprintf(rq.challenge, sizeof rq.challenge, "<1.2@host>");
    /* md5("<1.2@host>secret") */
    snprintf(rq.password, sizeof rq.password, "d92a5d2a5ee5ea6d9c7e0b0f6d6d3d33");
    ask(&rq, AUTH_FAILED);
    snprintf(rq.password, sizeof rq.password, "df68dac4efbd2209cc50ce36148b9eb1");
    close(ask(&rq, AUTH_OK));
    snprintf(rq.password, sizeof rq.password, "secret");
    ask(&rq, AUTH_FAILED);
    snprintf(rq.user, sizeof rq.user, "slow");
    snprintf(rq.password, sizeof rq.password, "df68dac4efbd2209cc50ce36148b9eb1");
    ask(&rq, AUTH_FAILED);
    ck_assert_str_eq(last.reason, "APOP needs a {PLAIN} password");
    snprintf(rq.user, sizeof rq.user, "unknown");
    ask(&rq, AUTH_FAILED);
}
END_TEST

START_TEST(test_too_many_connections)
{
    struct auth_request rq = request("ann", "secret");
    struct auth_request other = request("ann", "secret");
    int fds[3];

    start("login_failure_delay = 0\nmax_connections_per_user = 3");
    for (size_t i = 0; i < 3; i++)
        fds[i] = ask(&rq, AUTH_OK);
    ask(&rq, AUTH_TOO_MANY);
    /* a wrong password doesn't learn of it */
    refused("ann", "wrong", "wrong password");
    snprintf(other.address, sizeof other.address, "198.51.100.8");
    close(ask(&other, AUTH_OK));
    close(fds[1]);
    usleep(100000);
    fds[1] = ask(&rq, AUTH_OK);
    ask(&rq, AUTH_TOO_MANY);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
}
END_TEST

START_TEST(test_users_file_is_read_again)
{
    start("login_failure_delay = 0");
    refused("new", "secret", "unknown user");
    write_users("new:{PLAIN}secret\n");
    login("new", "secret");
}
END_TEST

/* One that answers late doesn't stop the others: hashes are tried elsewhere. */
START_TEST(test_slow_hashes_run_beside)
{
    char *hash, line[256];
    struct auth_request rq = request("heavy", "secret");
    int64_t begin;
    pid_t pids[4];
    int status;

    hash = password_hash("SHA512-CRYPT", "x"); /* only its salt is used: never right */
    snprintf(line, sizeof line, "heavy:$6$rounds=%d$%.8s$%s\n",
             under_valgrind() ? 5000 : 300000, hash + 3, hash + 20);
    free(hash);
    write_users(line);
    start("login_failure_delay = 0\nauth_workers = 2");
    for (size_t i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct auth_answer an;
            int fd, result = auth_ask(t.path, &rq, &an, 60, &fd);

            _exit(result == 0 && an.status == AUTH_FAILED ? 0 : 1);
        }
    }
    usleep(50000);
    begin = sys_monotonic_ms();
    for (int i = 0; i < 20; i++)
        login("ann", "secret");
    ck_assert_int_lt(sys_monotonic_ms() - begin, 5000);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

/* The children of a process; at most max of them. */
static size_t
children_of(pid_t parent, pid_t *out, size_t max)
{
    char path[300], text[512], *end;
    struct dirent *e;
    DIR *d = opendir("/proc");
    size_t n = 0;
    long ppid;
    FILE *f;

    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)) != NULL && n < max) {
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        f = strspn(e->d_name, "0123456789") > 0 ? fopen(path, "r") : NULL;
        if (f == NULL)
            continue;
        if (fgets(text, sizeof text, f) != NULL && (end = strrchr(text, ')')) != NULL &&
            sscanf(end + 1, " %*c %ld", &ppid) == 1 && ppid == (long)parent)
            out[n++] = (pid_t)strtol(e->d_name, NULL, 10);
        fclose(f);
    }
    closedir(d);
    return n;
}

START_TEST(test_dead_hashers_are_replaced)
{
    pid_t pids[8];
    size_t n;

    start("login_failure_delay = 0\nauth_workers = 2");
    login("slow", "secret");
    n = children_of(t.pid, pids, 8);
    ck_assert_uint_eq(n, 2);
    for (size_t i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    usleep(20000);
    login("slow", "secret"); /* waits for the new one */
    login("ann", "secret");
    usleep(1200000);
    ck_assert_uint_eq(children_of(t.pid, pids, 8), 2);
}
END_TEST

/* A hasher that dies over a password: this login fails for now, no other one does. */
START_TEST(test_hasher_dies_at_work)
{
    char *hash = password_hash("SHA512-CRYPT", "x"), line[256];
    struct auth_request rq = request("heavy", "secret");
    pid_t pids[4];

    snprintf(line, sizeof line, "heavy:$6$rounds=9000000$%.8s$%s\n", hash + 3, hash + 20);
    free(hash);
    write_users(line);
    start("login_failure_delay = 0\nauth_workers = 1");
    login("ann", "secret");
    if (fork() == 0) {
        usleep(300000);
        for (size_t i = children_of(t.pid, pids, 4); i-- > 0;)
            kill(pids[i], SIGKILL);
        _exit(0);
    }
    ask(&rq, AUTH_UNAVAILABLE);
    wait(NULL);
    login("slow", "secret");
}
END_TEST

START_TEST(test_failures_delay)
{
    struct auth_request rq = request("ann", "wrong");
    int64_t begin;

    start("login_failure_delay = 1");
    begin = sys_monotonic_ms();
    ask(&rq, AUTH_FAILED);
    ck_assert_int_lt(sys_monotonic_ms() - begin, 500);
    begin = sys_monotonic_ms();
    ask(&rq, AUTH_FAILED);
    ck_assert_int_ge(sys_monotonic_ms() - begin, 900);
    /* another user from elsewhere isn't touched */
    begin = sys_monotonic_ms();
    rq = request("slow", "secret");
    snprintf(rq.address, sizeof rq.address, "192.0.2.1");
    close(ask(&rq, AUTH_OK));
    ck_assert_int_lt(sys_monotonic_ms() - begin, 500);
}
END_TEST

/* Hanging up while the attempt waits or is tried leaves a working server. */
START_TEST(test_hanging_up)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct auth_request slow = request("slow", "wrong"), late = request("ann", "wrong");
    int fd;

    start("login_failure_delay = 1\nauth_workers = 1");
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", t.path);
    ask(&late, AUTH_FAILED);
    for (int i = 0; i < 40; i++) {
        const struct auth_request *rq = i % 2 ? &slow : &late;

        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
        ck_assert_int_gt(write(fd, rq, i % 5 == 0 ? 100 : sizeof *rq), 0);
        close(fd);
    }
    slow = request("bob@example.org", "secret");
    snprintf(slow.address, sizeof slow.address, "192.0.2.1");
    close(ask(&slow, AUTH_OK));
}
END_TEST

START_TEST(test_bad_requests)
{
    struct auth_request rq = request("ann", "secret");
    int fd;

    start("login_failure_delay = 0");
    rq.magic++;
    ck_assert_int_eq(auth_ask(t.path, &rq, &last, 5, &fd), ERR_TEMP);
    rq = request("ann", "secret");
    memset(rq.user, 'a', sizeof rq.user); /* without a NUL */
    ck_assert_int_eq(auth_ask(t.path, &rq, &last, 5, &fd), ERR_TEMP);
    ck_assert_int_eq(fd, -1);
    login("ann", "secret");
}
END_TEST

/* Only root, the process's own user and the owner of the mail may ask. */
START_TEST(test_peers)
{
    struct auth_request rq = request("ann", "secret");
    static const uid_t uids[] = {65534, 12345};
    uid_t nobody;
    gid_t gid;
    int status;

    if (geteuid() != 0 || conf_user_ids("nobody", &nobody, &gid) != 0)
        return; /* another user can't be played */
    start("login_failure_delay = 0");
    for (size_t i = 0; i < 2; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            struct auth_answer an;
            int fd = -1, result;

            if (setuid(uids[i] == 65534 ? nobody : uids[i]) != 0)
                _exit(9);
            result = auth_ask(t.path, &rq, &an, 5, &fd);
            _exit(result == 0 && fd >= 0 ? 0 : 1);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(WEXITSTATUS(status), i == 0 ? 0 : 1);
    }
}
END_TEST

/* Where mail goes, for a delivery: whether or not the user may log in, without a password, a
   delay or a count, and without an octet of a hash. Only the owner of the mail may ask. */
START_TEST(test_lookups)
{
    static const char *const secrets[] = {"secret", "PLAIN", "{", "$6$"};
    struct auth_answer an;
    uid_t nobody;
    gid_t gid;
    int status;
    pid_t pid;

    start("login_failure_delay = 60\nmax_connections_per_user = 1");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(auth_lookup(t.path, "ann", &an, 5), 0);
        ck_assert_str_eq(an.user, "ann");
        ck_assert_str_eq(an.home, "/home/ann");
        ck_assert_str_eq(an.quota, "1G");
        for (size_t j = 0; j < sizeof secrets / sizeof secrets[0]; j++)
            ck_assert_ptr_null(memmem(&an, sizeof an, secrets[j], strlen(secrets[j])));
        ck_assert_int_eq(auth_lookup(t.path, "nobody", &an, 5), ERR_NOENT);
        ck_assert_int_eq(auth_lookup(t.path, "", &an, 5), ERR_NOENT);
    }
    ck_assert_int_eq(auth_lookup(t.path, "root", &an, 5), 0);
    ck_assert_int_eq(auth_lookup(t.path, "out", &an, 5), 0);
    ck_assert_int_eq(auth_lookup(t.path, "bob@example.org", &an, 5), 0);
    ck_assert_str_eq(an.mail, "/m");
    write_users("new:{PLAIN}x\n");
    ck_assert_int_eq(auth_lookup(t.path, "new", &an, 5), 0);
    ck_assert_int_eq(truncate(t.users, 0), 0); /* somebody begins to write it */
    ck_assert_int_eq(auth_lookup(t.path, "nobody", &an, 5), ERR_TEMP);
    write_users("");
    ck_assert_int_eq(auth_lookup(t.path, "nobody", &an, 5), ERR_NOENT);
    ck_assert_int_eq(auth_lookup("/nonexistent", "ann", &an, 5), ERR_TEMP);
    login("ann", "secret"); /* nothing was counted */
    if (geteuid() != 0 || conf_user_ids("nobody", &nobody, &gid) != 0)
        return;
    for (int i = 0; i < 2; i++) {
        pid = fork();
        if (pid == 0)
            _exit(setuid(i == 0 ? nobody : 12345) == 0 ? -auth_lookup(t.path, "ann", &an, 5)
                                                       : 99);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(WEXITSTATUS(status), i == 0 ? 0 : -ERR_TEMP);
    }
}
END_TEST

/* Thousands of sessions keep their connection open. */
START_TEST(test_thousands_stay_open)
{
    struct auth_request rq = request("ann", "secret");
    struct rlimit limit;
    int fds[3000];
    size_t n = 3000;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < 3100)
        n = (size_t)limit.rlim_max / 2;
    start("login_failure_delay = 0\nmax_connections_per_user = 0");
    for (size_t i = 0; i < n; i++)
        fds[i] = ask(&rq, AUTH_OK);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    login("ann", "secret");
}
END_TEST

START_TEST(test_ends_with_the_master)
{
    start("");
    login("ann", "secret");
    close(t.parent[1]);
    ck_assert_int_eq(wait_for_end(), 0);
    t.parent[1] = dup(0);
}
END_TEST

START_TEST(test_no_users_file)
{
    unlink(t.users);
    start("");
    ck_assert_int_eq(wait_for_end(), 78);
}
END_TEST

START_TEST(test_nobody_answers)
{
    struct auth_request rq = request("ann", "secret");
    int fd, listener = listen_at(t.path);
    int64_t begin = sys_monotonic_ms();

    ck_assert_int_eq(auth_ask(t.path, &rq, &last, 1, &fd), ERR_TEMP);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_ge(sys_monotonic_ms() - begin, 900);
    close(listener);
    ck_assert_int_eq(auth_ask(t.path, &rq, &last, 1, &fd), ERR_TEMP);
}
END_TEST

/* The time of a refused login in microseconds. */
static int64_t
time_of(const char *user)
{
    struct auth_request rq = request(user, "wrong");
    int64_t begin = sys_now_us();

    ask(&rq, AUTH_FAILED);
    return sys_now_us() - begin;
}

/* In a file of one scheme, an unknown name takes as long as a wrong password. The least of many
   is what it takes when nothing else runs. */
START_TEST(test_unknown_users_take_as_long)
{
    static const char *const users[] = {"ann", "nobody-here", "root", ""};
    char *hash = password_hash("SHA512-CRYPT", "secret");
    FILE *f = fopen(t.users, "w");
    int64_t least[4] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, now;

    fprintf(f, "ann:%s\n", hash);
    free(hash);
    fclose(f);
    start("login_failure_delay = 0\nauth_workers = 1");
    for (int i = 0; i < 30; i++) {
        for (size_t k = 0; k < 4; k++) {
            now = time_of(users[k]);
            least[k] = now < least[k] ? now : least[k];
        }
    }
    for (size_t k = 1; k < 4; k++)
        ck_assert_msg(least[k] > least[0] / 2 && least[k] < least[0] * 2,
                      "\"%s\" took %ld us, a wrong password %ld us", users[k], (long)least[k],
                      (long)least[0]);
}
END_TEST

/* A session on one end of a socketpair, and what it logs. */
static struct {
    struct session s;
    int client, reports;
    char log[8192];
} u;

static void
collect(enum log_level level, const char *line)
{
    size_t n = strlen(u.log);

    (void)level;
    snprintf(u.log + n, sizeof u.log - n, "%s\n", line);
}

static void
count_report(struct session *s, enum session_state state, const char *user, const char *command)
{
    (void)s;
    (void)command;
    ck_assert_int_eq(state, SESSION_ACTIVE);
    ck_assert_str_eq(user, "ann");
    u.reports++;
}

static void
begin_session(const char *address)
{
    int pair[2];

    memset(&u, 0, sizeof u);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    u.client = pair[1];
    u.s.conf = t.conf;
    u.s.stream = stream_new(pair[0], 5);
    u.s.service = "imap";
    u.s.local = "127.0.0.1:143";
    u.s.auth_fd = -1;
    u.s.started_ms = sys_monotonic_ms();
    u.s.report = count_report;
    snprintf(u.s.id, sizeof u.s.id, "abc");
    snprintf(u.s.peer.address, sizeof u.s.peer.address, "%s", address);
    log_hook = collect;
}

static void
end_session(void)
{
    session_end(&u.s);
    ck_assert_ptr_null(u.s.account);
    ck_assert_int_eq(u.s.auth_fd, -1);
    ck_assert_str_eq(u.s.user, "");
    stream_free(&u.s.stream);
    if (u.client >= 0)
        close(u.client);
    log_hook = nothing;
}

/* Tries to log in; the password must be wiped whatever comes of it. */
static enum login_result
try_login_as(const char *mechanism, const char *authzid, const char *user, size_t user_len,
             const char *password, size_t len)
{
    static const char zeros[4096];
    char copy[4096];
    struct credentials c = {.mechanism = mechanism,
                            .authzid = authzid,
                            .user = user,
                            .user_len = user_len,
                            .password = copy,
                            .password_len = len,
                            .challenge = ""};
    enum login_result result;

    memcpy(copy, password, len);
    u.log[0] = '\0';
    result = session_login(&u.s, &c);
    ck_assert_mem_eq(copy, zeros, len);
    ck_assert_ptr_null(strstr(u.log, "secret"));
    return result;
}

static enum login_result
try_login(const char *user, const char *password)
{
    return try_login_as("PLAIN", "", user, strlen(user), password, strlen(password));
}

static void
logged(const char *expected)
{
    ck_assert_msg(strstr(u.log, expected) != NULL, "\"%s\" is not in: %s", expected, u.log);
}

START_TEST(test_session_login)
{
    char maildir[160];

    start("login_failure_delay = 0");
    begin_session("192.0.2.1");
    ck_assert_int_eq(try_login("ANN", "secret"), LOGIN_OK);
    ck_assert_str_eq(u.s.user, "ann");
    ck_assert_ptr_nonnull(u.s.account);
    ck_assert_int_ge(u.s.auth_fd, 0);
    ck_assert_int_eq(u.reports, 1);
    logged("imap(ann)[abc]: login: user=<ann> method=PLAIN rip=192.0.2.1 lip=127.0.0.1:143 "
           "TLS=no\n");
    snprintf(maildir, sizeof maildir, "%s/mail/ann/cur", t.dir);
    ck_assert_int_eq(access(maildir, F_OK), 0);
    ck_assert_int_eq(try_login("slow", "secret"), LOGIN_FAILED); /* not twice */
    ck_assert_str_eq(u.s.user, "ann");
    u.s.commands = 7;
    end_session();
    logged("logged out: in=0 out=0 commands=7 seconds=");
}
END_TEST

/* One line at once, in the form of etc/fail2ban/mansio.conf. */
START_TEST(test_session_failure_line)
{
    char name[300];

    start("login_failure_delay = 0\nusername_default_domain = example.org");
    begin_session("192.0.2.1");
    ck_assert_int_eq(try_login("x@example.com", "wrong"), LOGIN_FAILED);
    ck_assert_str_eq(u.log, "imap[abc]: login failed: user=<x@example.com> rip=192.0.2.1 "
                            "reason=\"unknown user\" service=imap method=PLAIN "
                            "lip=127.0.0.1:143 TLS=no\n");
    /* nobody can have another address banned */
    ck_assert_int_eq(try_login("a> rip=203.0.113.9 reason=\"\n", "x"), LOGIN_FAILED);
    logged("user=<a??rip=203.0.113.9?reason=?"
           "?> rip=192.0.2.1 ");
    memset(name, 'a', sizeof name);
    name[299] = '\0';
    ck_assert_int_eq(try_login(name, "x"), LOGIN_FAILED);
    ck_assert_uint_lt(strlen(u.log), 256);
    logged("bad user name or password");
    ck_assert_int_eq(try_login("guest", "x"), LOGIN_FAILED);
    logged("denied user");
    end_session();
    logged("no login: rip=192.0.2.1 reason=\"closed\" service=imap");
}
END_TEST

/* What can't be a name or a password is refused like a wrong one, and never cut to fit. */
START_TEST(test_session_impossible_credentials)
{
    char longest[2048];

    start("login_failure_delay = 0");
    begin_session("192.0.2.1");
    memset(longest, 'a', sizeof longest);
    ck_assert_int_eq(try_login_as("PLAIN", "", "ann", 3, longest, 2000), LOGIN_FAILED);
    ck_assert_int_eq(try_login_as("PLAIN", "", "ann", 3, "secret\0x", 8), LOGIN_FAILED);
    ck_assert_int_eq(try_login_as("PLAIN", "", "ann", 3, "", 0), LOGIN_FAILED);
    ck_assert_int_eq(try_login_as("PLAIN", "", "ann\0x", 5, "secret", 6), LOGIN_FAILED);
    ck_assert_int_eq(try_login("../ann", "secret"), LOGIN_FAILED);
    ck_assert_int_eq(try_login("", "secret"), LOGIN_FAILED);
    ck_assert_str_eq(u.s.user, "");
    end_session();
}
END_TEST

/* RFC 4616 2: another authorization identity isn't offered. */
START_TEST(test_session_authzid)
{
    start("login_failure_delay = 0");
    begin_session("192.0.2.1");
    ck_assert_int_eq(try_login_as("PLAIN", "bob", "ann", 3, "secret", 6), LOGIN_FAILED);
    logged("login as somebody else");
    ck_assert_int_eq(try_login_as("PLAIN", "ann", "ann", 3, "secret", 6), LOGIN_OK);
    end_session();
}
END_TEST

/* RFC 8314 3: no password in the clear, unless the configuration or a local socket allows. */
START_TEST(test_session_security)
{
    static const struct {
        enum conf_login_security security;
        const char *address, *mechanism;
        bool plain_ok, login_ok;
    } cases[] = {
        {LOGIN_SECURITY_ANY, "192.0.2.1", "PLAIN", true, true},
        {LOGIN_SECURITY_HASHED, "192.0.2.1", "PLAIN", false, false},
        {LOGIN_SECURITY_HASHED, "192.0.2.1", "LOGIN", false, false},
        {LOGIN_SECURITY_HASHED, "192.0.2.1", "APOP", false, true},
        {LOGIN_SECURITY_TLS, "192.0.2.1", "PLAIN", false, false},
        {LOGIN_SECURITY_TLS, "192.0.2.1", "APOP", false, false},
        {LOGIN_SECURITY_TLS, "local", "PLAIN", true, true},
        {LOGIN_SECURITY_TLS, "local", "APOP", true, true},
    };
    char digest[40];

    start("login_failure_delay = 0");
    snprintf(digest, sizeof digest, "%s", "5ebe2294ecd0e0f08eab7690d2a6ee69"); /* md5(secret) */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool apop = strcmp(cases[i].mechanism, "APOP") == 0;
        const char *password = apop ? digest : "secret";

        begin_session(cases[i].address);
        t.conf->login_security = cases[i].security;
        ck_assert_int_eq(session_plaintext_ok(&u.s), cases[i].plain_ok);
        ck_assert_int_eq(
            try_login_as(cases[i].mechanism, "", "ann", 3, password, strlen(password)),
            cases[i].login_ok ? LOGIN_OK : LOGIN_FAILED);
        if (!cases[i].login_ok)
            logged("reason=\"no TLS\"");
        end_session();
    }
}
END_TEST

START_TEST(test_session_unavailable)
{
    char file[160];
    int fd;

    start("login_failure_delay = 0\nmax_connections_per_user = 1");
    begin_session("192.0.2.1");
    ck_assert_int_eq(try_login("ann", "secret"), LOGIN_OK);
    fd = u.s.auth_fd;
    u.s.auth_fd = -1;
    end_session(); /* the login stays counted by fd */
    begin_session("192.0.2.1");
    ck_assert_int_eq(try_login("ann", "secret"), LOGIN_TOO_MANY);
    logged("too many connections");
    close(fd);
    /* the mail can't be opened */
    snprintf(file, sizeof file, "%s/mail/slow", t.dir);
    fd = open(file, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(try_login("slow", "secret"), LOGIN_BROKEN);
    logged("the mail of user slow can't be opened");
    ck_assert_int_eq(u.s.auth_fd, -1);
    ck_assert_ptr_null(u.s.account);
    /* no auth process */
    unlink(t.path);
    ck_assert_int_eq(try_login("ann", "secret"), LOGIN_UNAVAILABLE);
    end_session();
}
END_TEST

/* A session whose auth process holds the answer back, as it does after failures. */
static void
begin_waiting(void)
{
    struct auth_request rq = request("ann", "secret");
    int fd;

    start("login_timeout = 60");
    ck_assert_int_eq(auth_ask(t.path, &rq, &last, 30, &fd), 0); /* it runs */
    close(fd);
    kill(t.pid, SIGSTOP);
    begin_session("192.0.2.1");
}

START_TEST(test_session_client_hangs_up)
{
    int64_t begin = sys_monotonic_ms();

    begin_waiting();
    close(u.client);
    u.client = -1;
    ck_assert_int_eq(try_login("ann", "secret"), LOGIN_UNAVAILABLE);
    logged("reason=\"the client has hung up\"");
    ck_assert_int_lt(sys_monotonic_ms() - begin, 1000);
    end_session();
}
END_TEST

/* Some clients end their sending behind the last command and still want the answers. */
START_TEST(test_session_client_says_no_more)
{
    int64_t begin = sys_monotonic_ms();

    begin_waiting();
    shutdown(u.client, SHUT_WR);
    ck_assert_int_eq(try_login("ann", "secret"), LOGIN_UNAVAILABLE);
    logged("reason=\"the client has hung up\"");
    ck_assert_int_ge(sys_monotonic_ms() - begin, 1900);
    ck_assert_int_lt(sys_monotonic_ms() - begin, 4000);
    end_session();
}
END_TEST

START_TEST(test_session_login_timeout)
{
    int64_t begin = sys_monotonic_ms();

    begin_waiting();
    u.s.started_ms = begin - 58000;
    ck_assert_int_eq(send(u.client, "x", 1, 0), 1); /* what is pipelined ends no wait */
    ck_assert_int_eq(try_login("ann", "secret"), LOGIN_UNAVAILABLE);
    logged("didn't answer within login_timeout");
    ck_assert_int_ge(sys_monotonic_ms() - begin, 4900);
    ck_assert_int_lt(sys_monotonic_ms() - begin, 7000);
    end_session();
}
END_TEST

static volatile sig_atomic_t session_stops;

static void
stop_session(int sig)
{
    (void)sig;
    session_stops = 1;
    stream_interrupt();
}

START_TEST(test_session_stops_while_it_waits)
{
    int64_t begin = sys_monotonic_ms();

    begin_waiting();
    u.s.stopping = &session_stops;
    signal(SIGALRM, stop_session);
    alarm(1);
    ck_assert_int_eq(try_login("ann", "secret"), LOGIN_UNAVAILABLE);
    logged("the session is to end");
    ck_assert_int_lt(sys_monotonic_ms() - begin, 4000);
    end_session();
}
END_TEST

START_TEST(test_timer_heap)
{
    static struct timer timers[1000];
    struct timers heap = {0};
    struct timer *first;
    int64_t before = -1;
    size_t n = 0;

    for (size_t i = 0; i < 1000; i++)
        timer_set(&heap, &timers[i], (int64_t)((i * 7919) % 1000));
    for (size_t i = 0; i < 1000; i += 3)
        timer_clear(&heap, &timers[i]);
    for (size_t i = 0; i < 1000; i += 5)
        timer_set(&heap, &timers[i], (int64_t)((i * 31) % 1000));
    while ((first = timer_first(&heap)) != NULL) {
        ck_assert_int_ge(first->at_ms, before);
        before = first->at_ms;
        timer_clear(&heap, first);
        timer_clear(&heap, first); /* twice is harmless */
        n++;
    }
    ck_assert_uint_eq(n, 1000 - 334 + 67);
    timers_free(&heap);
}
END_TEST

START_TEST(test_counts)
{
    struct counts *c = counts_new();
    struct count *held[2000], *none = NULL;
    char user[16];

    for (size_t i = 0; i < 2000; i++) {
        snprintf(user, sizeof user, "u%zu", i / 2);
        held[i] = count_take(c, user, "local", 2);
        ck_assert_ptr_nonnull(held[i]);
    }
    ck_assert_ptr_eq(held[0], held[1]);
    ck_assert_ptr_null(count_take(c, "u7", "local", 2));
    count_drop(c, &held[14]);
    ck_assert_ptr_null(held[14]);
    held[14] = count_take(c, "u7", "local", 2);
    ck_assert_ptr_nonnull(held[14]);
    for (size_t i = 0; i < 2000; i++)
        count_drop(c, &held[i]);
    count_drop(c, &none);
    counts_free(&c);
    ck_assert_ptr_null(c);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("auth");
    TCase *c = tcase_create("server"), *parts = tcase_create("parts");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_answers);
    tcase_add_test(c, test_refusals);
    tcase_add_test(c, test_apop);
    tcase_add_test(c, test_too_many_connections);
    tcase_add_test(c, test_users_file_is_read_again);
    tcase_add_test(c, test_slow_hashes_run_beside);
    tcase_add_test(c, test_dead_hashers_are_replaced);
    tcase_add_test(c, test_hasher_dies_at_work);
    tcase_add_test(c, test_failures_delay);
    tcase_add_test(c, test_hanging_up);
    tcase_add_test(c, test_bad_requests);
    tcase_add_test(c, test_peers);
    tcase_add_test(c, test_lookups);
    tcase_add_test(c, test_thousands_stay_open);
    tcase_add_test(c, test_ends_with_the_master);
    tcase_add_test(c, test_no_users_file);
    tcase_add_test(c, test_nobody_answers);
    tcase_add_test(c, test_unknown_users_take_as_long);
    tcase_add_test(c, test_session_login);
    tcase_add_test(c, test_session_failure_line);
    tcase_add_test(c, test_session_impossible_credentials);
    tcase_add_test(c, test_session_authzid);
    tcase_add_test(c, test_session_security);
    tcase_add_test(c, test_session_unavailable);
    tcase_add_test(c, test_session_client_hangs_up);
    tcase_add_test(c, test_session_client_says_no_more);
    tcase_add_test(c, test_session_login_timeout);
    tcase_add_test(c, test_session_stops_while_it_waits);
    suite_add_tcase(suite, c);
    tcase_add_test(parts, test_timer_heap);
    tcase_add_test(parts, test_counts);
    suite_add_tcase(suite, parts);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
