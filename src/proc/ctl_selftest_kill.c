/*
 * The kill matrix: for each operation and each n, a process of its own does the operation in a
 * copy of one account and kills itself at the n-th named step (sys_step()); another one, which
 * is killed too while it recovers, and a third one open the account and say what is in it.
 * This process never opens an account: a database environment doesn't survive fork().
 *
 * How quick the file system is, is measured here too: with deliveries.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/sys.h"
#include "proc/ctl_selftest.h"
#include "store/check.h"
#include "store/maildir.h"
#include "store/mailbox.h"

#define KILLS_MAX    400 /* of one operation; they have up to 60 steps */
#define TREE_DEPTH   6
#define SPEED_MS     1000
#define SYNCS_MAX    500
#define RENAMES_MAX  2000
#define RECOVERY_MIX 11 /* the second kill: at one of so many steps */

/* Between the processes. */
struct shared {
    struct state before, done, now;
    bool acknowledged;
    int err;
    uint32_t next_uid; /* that a further message in INBOX got */
    long steps;
    char step[48]; /* where it was killed */
    unsigned long deliveries;
};

/* The hook has no argument of its own. */
static struct {
    struct shared *shared;
    bool armed;
    long kill_at; /* 0: only counts */
} stepper;

static void
count_step(const char *name)
{
    struct shared *s = stepper.shared;

    if (!stepper.armed)
        return;
    if (++s->steps == stepper.kill_at) {
        snprintf(s->step, sizeof s->step, "%s", name);
        kill(getpid(), SIGKILL);
    }
}

static char *
path_of(const struct selftest *t, const char *name)
{
    size_t size = strlen(t->dir) + strlen(name) + 2;
    char *path = mem_alloc(size);

    snprintf(path, size, "%s/%s", t->dir, name);
    return path;
}

static int
copy_file(int from, int to, const char *name)
{
    char block[16384];
    int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t n = -1;
    struct stat st;

    if (in >= 0 && out >= 0)
        while ((n = read(in, block, sizeof block)) > 0 && write(out, block, (size_t)n) == n)
            ;
    if (n == 0 && fstat(in, &st) == 0)
        (void)maildir_set_date(out, st.st_mtim.tv_sec);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return n == 0 ? 0 : ERR_IO;
}

/* What belongs to a boot, or is made anew when it's missing. */
static bool
left_out(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
           strncmp(name, "__db.", 5) == 0 || strcmp(name, "reserve") == 0 ||
           strcmp(name, "lock") == 0;
}

static int
copy_tree(int parent, const char *from, const char *to, int depth)
{
    int in = openat(parent, from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), out = -1, err = 0;
    DIR *d = in >= 0 ? fdopendir(in) : NULL;
    struct timespec times[2];
    struct dirent *e;
    struct stat st;

    if (d == NULL || depth == 0)
        return ERR_IO;
    if (mkdirat(parent, to, 0700) == 0)
        out = openat(parent, to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out < 0)
        err = ERR_IO;
    while (err == 0 && (e = readdir(d)) != NULL) {
        char a[PATH_MAX], b[PATH_MAX];

        if (left_out(e->d_name) || fstatat(in, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        snprintf(a, sizeof a, "%s/%s", from, e->d_name);
        snprintf(b, sizeof b, "%s/%s", to, e->d_name);
        err = S_ISDIR(st.st_mode) ? copy_tree(parent, a, b, depth - 1)
                                  : copy_file(in, out, e->d_name);
    }
    if (err == 0 && fstat(in, &st) == 0) { /* the index knows the directories by their times */
        times[0] = st.st_atim;
        times[1] = st.st_mtim;
        (void)futimens(out, times);
    }
    if (out >= 0)
        close(out);
    closedir(d);
    return err;
}

static int
reset(const struct selftest *t, bool no_index)
{
    int dir = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

    if (dir < 0)
        return ERR_IO;
    err = maildir_remove_tree(dir, "run");
    if (err == 0)
        err = copy_tree(dir, "template", "run", TREE_DEPTH);
    if (err == 0 && no_index)
        err = maildir_remove_tree(dir, "run/mansio-index");
    close(dir);
    return err;
}

static int
open_account(const struct selftest *t, const char *name, struct account **a)
{
    char *path = path_of(t, name);
    struct account_params p = {
        .conf = t->conf, .user = "selftest", .home = "", .mail_location = path};
    int err = account_open(&p, a);

    free(path);
    return err;
}

/* Runs `work` in a process of its own, which kills itself at that step. True if it ended by
   itself, or was killed by that. */
static bool
in_child(const struct selftest *t, struct shared *s, long kill_at, bool armed,
         void (*work)(const struct selftest *t, struct shared *s, const void *arg),
         const void *arg)
{
    int status;
    pid_t pid;

    s->steps = 0;
    s->step[0] = '\0';
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody goes on when the test is broken off */
        stepper.shared = s;
        stepper.armed = armed;
        stepper.kill_at = kill_at;
        sys_hooks.step = count_step;
        work(t, s, arg);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGKILL && s->step[0] != '\0';
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
fill_template(const struct selftest *t, struct shared *s, const void *arg)
{
    struct account *a;

    (void)arg;
    s->err = open_account(t, "template", &a);
    if (s->err == 0) {
        s->err = selftest_fill(a);
        account_close(&a);
    }
}

static void
do_operation(const struct selftest *t, struct shared *s, const void *arg)
{
    const struct selftest_op *op = arg;
    struct mailbox_status status;
    struct account *a;

    s->acknowledged = false;
    s->err = open_account(t, "run", &a);
    if (s->err == 0 && !op->no_index) /* as a session that has been at work */
        s->err = mailbox_status(a, "INBOX", false, &status);
    if (s->err != 0)
        return;
    stepper.armed = true;
    s->err = op->run(a);
    s->acknowledged = s->err == 0;
    account_close(&a);
}

static void
look(const struct selftest *t, struct shared *s, const void *arg)
{
    struct account *a;

    (void)arg;
    s->now.complete = false;
    s->next_uid = 0;
    s->err = open_account(t, "run", &a);
    if (s->err != 0)
        return;
    s->err = selftest_read_state(a, &s->now);
    stepper.armed = false; /* a second look must not find the message that follows */
    if (s->err == 0)
        s->err = selftest_append(a, "INBOX", "afterwards", &s->next_uid);
    account_close(&a);
}

/* After a kill: recovery, cut short once, and then what there is. True if all is well. */
static bool
is_well(const struct selftest *t, struct shared *s, const struct selftest_op *op, long n,
        unsigned *kills, char *why, size_t size)
{
    bool acknowledged = s->acknowledged, good;

    good = in_child(t, s, n * 5 % RECOVERY_MIX + 1, true, look, NULL);
    if (good && s->step[0] != '\0') {
        ++*kills;
        good = in_child(t, s, 0, false, look, NULL);
    }
    if (!good || s->err != 0) {
        snprintf(why, size, "the account can't be used: %s",
                 good ? err_text(s->err) : "the process died");
        return false;
    }
    if (!op->no_index && s->next_uid < s->before.folders[0].uidnext) {
        snprintf(why, size, "INBOX: UID %u is given again", s->next_uid);
        return false;
    }
    return selftest_judge(&s->before, &s->done, &s->now, acknowledged, !op->no_index, why,
                          size);
}

/* The states before and after, with nobody killed. */
static int
learn(const struct selftest *t, struct shared *s, const struct selftest_op *op, long *steps)
{
    int err = reset(t, false);

    if (err == 0 && (!in_child(t, s, 0, false, look, NULL) || s->err != 0))
        err = s->err != 0 ? s->err : ERR_TEMP;
    s->before = s->now;
    if (err == 0)
        err = reset(t, op->no_index);
    if (err == 0 && (!in_child(t, s, 0, false, do_operation, op) || s->err != 0))
        err = s->err != 0 ? s->err : ERR_TEMP;
    *steps = s->steps;
    if (err == 0 && (!in_child(t, s, 0, false, look, NULL) || s->err != 0))
        err = s->err != 0 ? s->err : ERR_TEMP;
    s->done = s->now;
    return err;
}

struct row {
    const char *name;
    long steps;
    unsigned kills, failures;
};

static void
kill_everywhere(struct selftest *t, struct shared *s, const struct selftest_op *op,
                struct row *row)
{
    char why[300], at[sizeof s->step];
    int err = learn(t, s, op, &row->steps);

    if (err != 0) {
        row->failures++;
        selftest_say(t, FOUND_BAD, op->name, "fails without any kill: %s", err_text(err));
        return;
    }
    for (long n = 1; n <= KILLS_MAX; n++) {
        bool good = reset(t, op->no_index) == 0 && in_child(t, s, n, false, do_operation, op);

        snprintf(at, sizeof at, "%s", s->step);
        if (good && at[0] == '\0')
            break; /* it has no more steps */
        row->kills++;
        snprintf(why, sizeof why, "it can't be run");
        if (good)
            good = is_well(t, s, op, n, &row->kills, why, sizeof why);
        if (!good && ++row->failures <= 5)
            selftest_say(t, FOUND_BAD, op->name, "killed at step %ld (%s): %s", n, at, why);
        if (t->terminal) {
            printf("\r      %-14s %ld of %ld steps ", op->name, n, row->steps);
            fflush(stdout);
        }
    }
    if (t->terminal)
        printf("\r%40s\r", "");
}

static struct shared *
share(struct selftest *t)
{
    struct shared *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (s != MAP_FAILED)
        return s;
    selftest_say(t, FOUND_BAD, "memory", "%s", strerror(errno));
    return NULL;
}

void
selftest_kills(struct selftest *t)
{
    struct row rows[32] = {{NULL, 0, 0, 0}};
    struct shared *s = share(t);
    unsigned kills = 0, failures = 0;
    size_t n = 0;

    if (s == NULL)
        return;
    if (!in_child(t, s, 0, false, fill_template, NULL) || s->err != 0) {
        selftest_say(t, FOUND_BAD, "account", "one can't be made: %s", err_text(s->err));
        munmap(s, sizeof *s);
        return;
    }
    for (; selftest_ops[n].name != NULL; n++) {
        rows[n].name = selftest_ops[n].name;
        kill_everywhere(t, s, &selftest_ops[n], &rows[n]);
        kills += rows[n].kills;
        failures += rows[n].failures;
    }
    printf("\noperation       steps  kills  failures\n");
    for (size_t i = 0; i < n; i++)
        printf("%-14s %6ld %6u %9u\n", rows[i].name, rows[i].steps, rows[i].kills,
               rows[i].failures);
    putchar('\n');
    selftest_say(t, failures == 0 ? FOUND_GOOD : FOUND_BAD, "kill matrix",
                 "%u kills, %u left something wrong", kills, failures);
    munmap(s, sizeof *s);
}

static void
deliver_for_a_while(const struct selftest *t, struct shared *s, const void *arg)
{
    int64_t end = sys_monotonic_ms() + SPEED_MS;
    struct account *a;
    uint32_t uid;

    (void)arg;
    s->deliveries = 0;
    s->err = open_account(t, "speed", &a);
    if (s->err != 0)
        return;
    while (s->err == 0 && sys_monotonic_ms() < end) {
        s->err = selftest_append(a, "INBOX", "speed", &uid);
        s->deliveries++;
    }
    account_close(&a);
}

/* Milliseconds for one of 4 KB, in microseconds. */
static long
time_of_sync(int fd)
{
    int64_t start = sys_monotonic_ms(), now = start;
    char block[4096] = "speed";
    long n = 0;

    while (n < SYNCS_MAX && now - start < SPEED_MS) {
        if (pwrite(fd, block, sizeof block, (off_t)n * 4096) != sizeof block ||
            sys_fdatasync(fd) != 0)
            return -1;
        n++;
        now = sys_monotonic_ms();
    }
    return (long)((now - start) * 1000 / n);
}

static long
renames_a_second(const char *a, const char *b)
{
    int64_t start = sys_monotonic_ms(), took;
    long n = 0;

    for (; n < RENAMES_MAX; n++)
        if (rename(n % 2 == 0 ? a : b, n % 2 == 0 ? b : a) != 0)
            return -1;
    took = sys_monotonic_ms() - start;
    return n * 1000 / (long)(took > 0 ? took : 1);
}

void
selftest_speed(struct selftest *t)
{
    char *a = path_of(t, "speed.a"), *b = path_of(t, "speed.b");
    int fd = open(a, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct shared *s = share(t);
    long sync = fd >= 0 ? time_of_sync(fd) : -1;

    if (sync >= 0)
        selftest_say(t, sync < 20 ? FOUND_NOTE : FOUND_GOOD, "speed of fdatasync",
                     "%ld.%03ld ms%s", sync / 1000, sync % 1000,
                     sync < 20 ? ": no disk is that quick; is this memory, or does a layer "
                                 "below not wait for the disk?"
                               : "");
    selftest_say(t, FOUND_GOOD, "speed of rename", "%ld a second", renames_a_second(a, b));
    if (s != NULL && in_child(t, s, 0, false, deliver_for_a_while, NULL) && s->err == 0)
        selftest_say(t, FOUND_GOOD, "speed of APPEND", "%lu messages a second, one session",
                     s->deliveries * 1000 / SPEED_MS);
    else
        selftest_say(t, FOUND_BAD, "speed of APPEND", "messages can't be appended");
    if (s != NULL)
        munmap(s, sizeof *s);
    if (fd >= 0)
        close(fd);
    free(a);
    free(b);
}
