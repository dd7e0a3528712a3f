/*
 * The index under kill -9 (design, section 4; invariants 2, 3 and 5).
 *
 *  - At every named step of a transaction, of recovery and of salvage a process is killed; the
 *    next one must find the state before or after, whole.
 *  - Three writers and one survivor work at random while the writers are killed again and
 *    again: what was committed stays, no UID is given twice, nobody hangs, nobody but the
 * killed notices, counts agree.
 *
 * MANSIO_CRASH_SECONDS sets how long the second part takes (default 3).
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/index.h"
#include "valgrind_test.h"

#define WRITERS   3
#define MAILBOXES 2
#define UIDS      (1u << 20) /* more than a run gets to, gaps of salvage included */
#define STEPS_MAX 200
#define LOCK_WAIT 20 /* seconds; nobody holds the lock for a fraction of it */

static char dir[64], path[80];

static void
setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/check_index_crash.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/index", dir);
}

static void
teardown(void)
{
    char command[128];
    pid_t pid = fork();

    snprintf(command, sizeof command, "%s", dir);
    if (pid == 0) {
        execlp("rm", "rm", "-rf", command, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

static void
fill(struct index_message *m, unsigned n)
{
    memset(m, 0, sizeof *m);
    m->internal_date = m->save_date = 1700000000 + (int64_t)n;
    m->size = 1000 + n % 1000;
    m->crlf_size = n % 5 == 0 ? MDNAME_SIZE_UNKNOWN : m->size + 20;
    m->flags = n % 3 == 0 ? MSG_SEEN : 0;
    snprintf(m->name, sizeof m->name, "%u.M%uP%d.host.example,S=%u", n, n, (int)getpid(), n);
}

/* The fault found by a check, or by a child. */
static void
print_fault(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "fault: %s\n", text);
}

/* ---- killed at each step ---- */

static struct {
    int seen, kill_at;
} steps;

static void
count_step(const char *name)
{
    (void)name;
    if (++steps.seen == steps.kill_at)
        kill(getpid(), SIGKILL);
}

/* INBOX with 20 messages, UIDs 1 to 20. */
static void
make_index(void)
{
    struct index_mailbox row;
    struct index_message m;
    struct index *ix;

    ck_assert_int_eq(index_open(path, LOCK_WAIT, &ix), 0);
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_int_eq(index_begin(ix), 0);
    ck_assert_int_eq(index_mailbox_create(ix, "INBOX", 0, &row), 0);
    for (unsigned i = 0; i < 20; i++) {
        fill(&m, i);
        ck_assert_int_eq(index_message_add(ix, &row, &m), 0);
    }
    ck_assert_int_eq(index_mailbox_put(ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_commit(ix, true), 0);
    index_unlock(ix);
    index_close(&ix);
}

/* One transaction: adds three messages, flags one, expunges one. 0 or the failing code. */
static int
change(struct index *ix)
{
    struct index_mailbox row;
    struct index_message m, old;
    int err = index_begin(ix);

    if (err == 0)
        err = index_mailbox_get(ix, "INBOX", &row);
    for (unsigned i = 0; i < 3 && err == 0; i++) {
        fill(&m, 100 + i);
        err = index_message_add(ix, &row, &m);
    }
    if (err == 0)
        err = index_message_get(ix, row.id, row.uidnext - 2, &old);
    if (err == 0) {
        m = old;
        m.flags ^= MSG_FLAGGED | MSG_SEEN;
        err = index_message_update(ix, &row, &old, &m, false);
    }
    if (err == 0)
        err = index_message_get(ix, row.id, row.uidnext - 3, &old);
    if (err == 0)
        err = index_message_expunge(ix, &row, &old);
    if (err == 0)
        err = index_mailbox_put(ix, "INBOX", &row);
    return err == 0 ? index_commit(ix, true) : err;
}

static int
child_change(void)
{
    struct index *ix;
    int err = index_open(path, LOCK_WAIT, &ix);

    if (err == 0)
        err = index_lock(ix);
    if (err == 0)
        err = change(ix);
    if (err == 0)
        index_unlock(ix);
    if (err == 0)
        index_close(&ix);
    return err;
}

static int
child_lock(void)
{
    struct index *ix;
    int err = index_open(path, LOCK_WAIT, &ix);

    if (err == 0)
        err = index_lock(ix);
    if (err == 0)
        index_unlock(ix);
    if (err == 0)
        index_close(&ix);
    return err;
}

/* Runs fn in a child that is killed at step k. True if it got to its end before. */
static bool
killed_at(int (*fn)(void), int k)
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        log_set_level(LOG_LEVEL_ERROR);
        steps.seen = 0;
        steps.kill_at = k;
        sys_hooks.step = count_step;
        _exit(fn() == 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        ck_assert_int_eq(WTERMSIG(status), SIGKILL);
        return false;
    }
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    return true;
}

/* What a fresh session finds. */
static void
look(struct index_mailbox *row)
{
    struct index *ix;

    ck_assert_int_eq(index_open(path, LOCK_WAIT, &ix), 0);
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_int_eq(index_mailbox_get(ix, "INBOX", row), 0);
    ck_assert_int_eq(index_check(ix, "INBOX", print_fault, NULL), 0);
    index_unlock(ix);
    index_close(&ix);
}

START_TEST(killed_at_each_step_of_a_transaction)
{
    struct index_mailbox before, after;
    bool done = false;
    struct index *third; /* was open all the time, and has it mapped */

    make_index();
    ck_assert_int_eq(index_open(path, LOCK_WAIT, &third), 0);
    ck_assert_int_eq(index_lock(third), 0);
    index_unlock(third);
    for (int k = 1; !done; k++) {
        ck_assert_int_lt(k, STEPS_MAX);
        look(&before);
        done = killed_at(child_change, k);
        ck_assert_int_eq(index_lock(third), 0);
        ck_assert_int_eq(index_mailbox_get(third, "INBOX", &after), 0);
        ck_assert_int_eq(index_check(third, "INBOX", print_fault, NULL), 0);
        index_unlock(third);
        /* all or nothing */
        if (after.uidnext != before.uidnext)
            ck_assert_uint_eq(after.uidnext, before.uidnext + 3);
        ck_assert_uint_eq(after.messages - before.messages,
                          after.uidnext == before.uidnext ? 0 : 2);
        ck_assert_uint_eq(after.uidvalidity, before.uidvalidity);
        ck_assert_uint_ge(after.highestmodseq, before.highestmodseq);
        if (done)
            ck_assert_uint_eq(after.uidnext, before.uidnext + 3);
    }
    index_close(&third);
}
END_TEST

#define BULK 4000 /* messages */

/* Adds many messages in one transaction, and says so on `fd`. */
static _Noreturn void
add_bulk(int fd)
{
    struct index_mailbox row;
    struct index_message m;
    struct index *ix;
    int err = index_open(path, LOCK_WAIT, &ix);

    log_set_level(LOG_LEVEL_ERROR);
    if (err == 0)
        err = index_lock(ix);
    if (err == 0)
        err = index_begin_bulk(ix);
    if (err == 0)
        err = index_mailbox_get(ix, "INBOX", &row);
    for (unsigned i = 0; i < BULK && err == 0; i++) {
        fill(&m, i);
        err = index_message_add(ix, &row, &m);
    }
    if (err == 0)
        err = index_mailbox_put(ix, "INBOX", &row);
    if (err == 0)
        err = index_commit(ix, true);
    if (err != 0 || write(fd, "", 1) != 1)
        _exit(1);
    index_unlock(ix);
    index_close(&ix);
    _exit(0);
}

/* Pages that aren't logged: all of the transaction is there, or nothing, and what was there
   before in any case. */
START_TEST(bulk_transactions_killed_at_random)
{
    unsigned seed = (unsigned)sys_now_us(), whole = 1, killed = 0;
    struct index_mailbox before, after;
    int64_t started;
    char octet;
    int fds[2];

    make_index();
    for (unsigned i = 0; i < 40; i++) {
        bool committed;
        int status;
        pid_t pid;

        look(&before);
        ck_assert_int_eq(pipe(fds), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            add_bulk(fds[1]);
        close(fds[1]);
        started = sys_now_us();
        if (i > 0) {
            seed = seed * 1103515245u + 12345u;
            usleep((seed >> 8) % whole);
            kill(pid, SIGKILL);
        }
        committed = read(fds[0], &octet, 1) == 1;
        close(fds[0]);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (i == 0)
            whole = (unsigned)(sys_now_us() - started);
        killed += WIFSIGNALED(status) && !committed;
        look(&after);
        ck_assert_uint_ge(after.uidnext, before.uidnext);
        if (committed || after.uidnext != before.uidnext)
            ck_assert_uint_eq(after.uidnext, before.uidnext + BULK);
        ck_assert_uint_eq(after.messages - before.messages, after.uidnext - before.uidnext);
    }
    ck_assert_uint_gt(killed, 0);
}
END_TEST

START_TEST(killed_at_each_step_of_recovery)
{
    struct index_mailbox before, after;
    bool done = false;

    make_index();
    look(&before);
    for (int k = 1; !done; k++) {
        ck_assert_int_lt(k, STEPS_MAX);
        ck_assert(!killed_at(child_change, 2)); /* inside, before the commit */
        done = killed_at(child_lock, k);
        if (!done)
            killed_at(child_lock, k); /* and once more */
        look(&after);
        ck_assert_uint_eq(after.uidnext, before.uidnext);
        ck_assert_uint_eq(after.messages, before.messages);
        ck_assert_uint_eq(after.uidvalidity, before.uidvalidity);
    }
}
END_TEST

START_TEST(killed_at_each_step_of_making_an_index)
{
    struct index_mailbox row;
    struct index *ix;
    bool done = false;

    for (int k = 1; !done; k++) {
        ck_assert_int_lt(k, STEPS_MAX);
        teardown();
        setup();
        done = killed_at(child_lock, k);
        ck_assert_int_eq(index_open(path, LOCK_WAIT, &ix), 0);
        ck_assert_int_eq(index_lock(ix), 0);
        ck_assert_int_eq(index_mailbox_get(ix, "INBOX", &row), ERR_NOENT);
        index_unlock(ix);
        index_close(&ix);
    }
}
END_TEST

static struct rlimit descriptors;

/* From here on none is to be had. */
static void
no_descriptors_after_replay(const char *name)
{
    struct rlimit none = {0, descriptors.rlim_max};

    if (strcmp(name, "index:replayed") == 0)
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
}

/* A recovery that was begun with others inside, and that the system cut short: what they have
   mapped is no longer the environment. */
START_TEST(recovery_that_failed_keeps_others_out)
{
    struct index_mailbox before, after;
    struct index *inside, *failing;
    char name[160];

    make_index();
    ck_assert_int_eq(index_open(path, LOCK_WAIT, &inside), 0);
    ck_assert_int_eq(index_lock(inside), 0);
    index_unlock(inside);
    snprintf(name, sizeof name, "%s/db/__db.001", path);
    ck_assert_int_eq(unlink(name), 0);

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
    ck_assert_int_eq(index_open(path, LOCK_WAIT, &failing), 0);
    sys_hooks.step = no_descriptors_after_replay;
    ck_assert_int_eq(index_lock(failing), ERR_SHORT);
    sys_hooks.step = NULL;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
    index_close(&failing);

    for (int i = 0; i < 3; i++) {
        look(&before);
        ck_assert_int_eq(index_lock(inside), 0);
        ck_assert_int_eq(change(inside), 0);
        index_unlock(inside);
        look(&after);
        ck_assert_uint_eq(after.uidnext, before.uidnext + 3);
        ck_assert_int_eq(child_change(), 0);
    }
    index_close(&inside);
}
END_TEST

/* Does memory have another shape here than the system's limit counts? */
static bool
memory_is_watched(void)
{
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return under_valgrind();
#endif
}

/* Octets of this process's address space. */
static unsigned long
address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

/* A process that gets no memory for the index leaves it as it is, at whatever point that is;
   whether nobody was inside (0), or somebody died there (1). */
START_TEST(want_of_memory_is_no_damage)
{
    struct index_mailbox before, after;
    unsigned long now = address_space();
    int status = -1, refused = 0;

    if (memory_is_watched())
        return;
    make_index();
    look(&before);
    for (unsigned long more = 0; status != 0; more += 50000) {
        pid_t pid;

        ck_assert_uint_lt(more, 10000000);
        if (_i == 1)
            ck_assert(!killed_at(child_change, 2));
        pid = fork();
        if (pid == 0) {
            struct rlimit limit = {now + more, now + more};

            log_set_level(LOG_LEVEL_ERROR);
            if (setrlimit(RLIMIT_AS, &limit) != 0)
                _exit(1);
            _exit(-child_lock());
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        refused += WIFEXITED(status) && WEXITSTATUS(status) == -ERR_SHORT;
        look(&after);
        ck_assert_uint_eq(after.uidvalidity, before.uidvalidity);
        ck_assert_uint_eq(after.uidnext, before.uidnext);
        ck_assert_uint_eq(after.messages, before.messages);
    }
    ck_assert_int_gt(refused, 0);
}
END_TEST

/* Cuts the file off in its first page: recovery can't do, salvage must. */
static void
damage(const char *file)
{
    char name[160];

    snprintf(name, sizeof name, "%s/db/%s", path, file);
    ck_assert_int_eq(truncate(name, 100), 0);
    /* nobody may think that the environment is fine */
    ck_assert(!killed_at(child_lock, 1));
}

START_TEST(killed_at_each_step_of_salvage)
{
    struct index_mailbox before, after;
    bool done = false;

    for (int k = 1; !done; k++) {
        ck_assert_int_lt(k, STEPS_MAX);
        teardown();
        setup();
        make_index();
        look(&before);
        damage("mailboxes.db");
        done = killed_at(child_lock, k);
        look(&after);
        ck_assert_uint_eq(after.uidvalidity, before.uidvalidity);
        ck_assert_uint_eq(after.messages, before.messages);
        ck_assert_uint_ge(after.uidnext, before.uidnext);
        ck_assert_uint_ge(after.highestmodseq, before.highestmodseq);
    }
}
END_TEST

/* ---- killed at random ---- */

enum fate { FATE_NONE, FATE_THERE, FATE_GOING, FATE_GONE };

static struct shared {
    _Atomic unsigned transactions, recoveries, faults;
    _Atomic unsigned char fate[MAILBOXES][UIDS]; /* enum fate */
    _Atomic uint32_t uidnext[MAILBOXES];         /* highest acknowledged */
    _Atomic bool stop;
} * shared;

static const char *const names[MAILBOXES] = {"INBOX", "Archive.2020"};

static void
note_line(enum log_level level, const char *line)
{
    if (level == LOG_LEVEL_INFO)
        shared->recoveries++;
    if (level >= LOG_LEVEL_INFO)
        return;
    fprintf(stderr, "%s\n", line);
    shared->faults++;
}

static unsigned
draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 8) % below;
}

struct work {
    struct index *ix;
    unsigned seed;
    struct index_mailbox row;
    uint32_t added[4], expunged;
    unsigned added_count;
};

static int
pick_first(void *ctx, const struct index_message *m)
{
    memcpy(ctx, m, sizeof *m);
    return 1;
}

/* The first message from a random UID on. ERR_NOENT. */
static int
pick(struct work *w, struct index_message *m)
{
    uint32_t from = 1 + draw(&w->seed, w->row.uidnext);
    int result = index_message_each(w->ix, w->row.id, from, UINT32_MAX, pick_first, m);

    return result == 1 ? 0 : (result == 0 ? ERR_NOENT : result);
}

static int
work_on_one(struct work *w, unsigned mailbox)
{
    struct index_message m, old;
    int err;

    err = pick(w, &old);
    if (err == ERR_NOENT)
        return 0;
    if (err != 0)
        return err;
    if (draw(&w->seed, 3) == 0) {
        shared->fate[mailbox][old.uid] = FATE_GOING;
        w->expunged = old.uid;
        return index_message_expunge(w->ix, &w->row, &old);
    }
    m = old;
    m.flags ^= (uint8_t)(1u << draw(&w->seed, 5));
    return index_message_update(w->ix, &w->row, &old, &m, draw(&w->seed, 4) == 0);
}

static int
put_cached(struct work *w, uint32_t uid)
{
    static char bytes[3000];
    struct buf entries = BUF_INIT(2 * sizeof bytes);
    int err;

    index_cache_add(&entries, CACHE_ENVELOPE, bytes, draw(&w->seed, sizeof bytes));
    err = index_cache_put(w->ix, w->row.id, uid, entries.data, entries.len);
    buf_free(&entries);
    return err;
}

static int
work_inside(struct work *w, unsigned mailbox)
{
    unsigned n = draw(&w->seed, 4);
    struct index_message m;
    int err = index_begin(w->ix);

    w->added_count = 0;
    w->expunged = 0;
    if (err == 0)
        err = index_mailbox_get(w->ix, names[mailbox], &w->row);
    for (unsigned i = 0; i < n && err == 0; i++) {
        fill(&m, draw(&w->seed, 1000000));
        err = index_message_add(w->ix, &w->row, &m);
        if (err == 0)
            w->added[w->added_count++] = m.uid;
    }
    if (err == 0)
        err = work_on_one(w, mailbox);
    if (err == 0 && n > 0 && m.uid != w->expunged)
        err = put_cached(w, m.uid);
    if (err == 0)
        err = index_mailbox_put(w->ix, names[mailbox], &w->row);
    return err == 0 ? index_commit(w->ix, draw(&w->seed, 8) == 0) : err;
}

/* What was acknowledged, still under the lock so that no other writer comes between. */
static void
acknowledge(const struct work *w, unsigned mailbox)
{
    for (unsigned i = 0; i < w->added_count; i++) {
        if (shared->fate[mailbox][w->added[i]] == FATE_THERE ||
            shared->fate[mailbox][w->added[i]] == FATE_GONE) {
            fprintf(stderr, "UID %u was given twice\n", w->added[i]);
            shared->faults++;
        }
        shared->fate[mailbox][w->added[i]] =
            w->added[i] == w->expunged ? FATE_GONE : FATE_THERE;
    }
    if (w->expunged != 0)
        shared->fate[mailbox][w->expunged] = FATE_GONE;
    if (w->row.uidnext > shared->uidnext[mailbox])
        shared->uidnext[mailbox] = w->row.uidnext;
    shared->transactions++;
}

static _Noreturn void
writer(unsigned seed, bool survivor)
{
    struct work w = {.seed = seed};
    int err;

    log_hook = note_line;
    log_set_level(LOG_LEVEL_INFO);
    err = index_open(path, LOCK_WAIT, &w.ix);
    for (unsigned i = 0; err == 0 && !shared->stop; i++) {
        unsigned mailbox = draw(&w.seed, MAILBOXES);

        err = index_lock(w.ix);
        if (err == 0)
            err = work_inside(&w, mailbox);
        if (err == 0) {
            acknowledge(&w, mailbox);
            if (survivor && i % 500 == 0 &&
                index_check(w.ix, names[mailbox], print_fault, NULL) != 0)
                shared->faults++;
            index_unlock(w.ix);
        }
        if (err == 0 && draw(&w.seed, 50) == 0)
            index_idle(w.ix);
        if (w.row.uidnext > UIDS - 100000)
            break;
    }
    if (err != 0) {
        fprintf(stderr, "a writer failed: %s\n", err_text(err));
        shared->faults++;
    }
    _exit(err == 0 ? 0 : 1);
}

static pid_t
start_writer(unsigned seed, bool survivor)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        writer(seed, survivor);
    return pid;
}

static void
verify_fates(struct index *ix)
{
    struct index_mailbox row;
    struct index_message m;

    for (unsigned b = 0; b < MAILBOXES; b++) {
        ck_assert_int_eq(index_mailbox_get(ix, names[b], &row), 0);
        ck_assert_int_eq(index_check(ix, names[b], print_fault, NULL), 0);
        ck_assert_uint_ge(row.uidnext, shared->uidnext[b]);
        for (uint32_t uid = 1; uid < row.uidnext; uid++) {
            unsigned char fate = shared->fate[b][uid];
            int err = index_message_get(ix, row.id, uid, &m);

            if (fate == FATE_THERE)
                ck_assert_msg(err == 0, "UID %u was committed and is lost", uid);
            if (fate == FATE_GONE)
                ck_assert_msg(err == ERR_NOENT, "UID %u was expunged and is back", uid);
        }
    }
}

START_TEST(writers_killed_at_random)
{
    const char *value = getenv("MANSIO_CRASH_SECONDS");
    int64_t seconds = value != NULL ? strtol(value, NULL, 10) : 3, end;
    pid_t pids[WRITERS], survivor;
    unsigned kills = 0, seed = (unsigned)sys_now_us();
    struct index_mailbox row;
    struct index *ix;
    int status;

    shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED);
    ck_assert_int_eq(index_open(path, LOCK_WAIT, &ix), 0);
    ck_assert_int_eq(index_lock(ix), 0);
    ck_assert_int_eq(index_begin(ix), 0);
    for (unsigned b = 0; b < MAILBOXES; b++)
        ck_assert_int_eq(index_mailbox_create(ix, names[b], 0, &row), 0);
    ck_assert_int_eq(index_commit(ix, true), 0);
    index_unlock(ix);
    index_close(&ix);

    survivor = start_writer(seed, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pids[i] = start_writer(seed + 100 + i, false);
    for (end = sys_monotonic_ms() + seconds * 1000; sys_monotonic_ms() < end;) {
        unsigned victim = draw(&seed, WRITERS);

        usleep(1000 + draw(&seed, 12000));
        kill(pids[victim], SIGKILL);
        ck_assert_int_eq(waitpid(pids[victim], &status, 0), pids[victim]);
        ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "a writer gave up");
        pids[victim] = start_writer(seed, false);
        kills++;
    }
    shared->stop = true;
    for (unsigned i = 0; i < WRITERS; i++)
        waitpid(pids[i], &status, 0);
    ck_assert_int_eq(waitpid(survivor, &status, 0), survivor);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(shared->faults, 0);

    ck_assert_int_eq(index_open(path, LOCK_WAIT, &ix), 0);
    ck_assert_int_eq(index_lock(ix), 0);
    verify_fates(ix);
    index_unlock(ix);
    index_close(&ix);
    if (value != NULL)
        printf("%u kills, %u recoveries, %u transactions in %d s\n", kills, shared->recoveries,
               shared->transactions, (int)seconds);
    ck_assert_uint_gt(shared->transactions, 0);
    munmap(shared, sizeof *shared);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("index_crash");
    TCase *c = tcase_create("kill");
    const char *value = getenv("MANSIO_CRASH_SECONDS");
    SRunner *runner;
    int failed;

    sys_init();
    log_set_level(LOG_LEVEL_ERROR);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 300 + (value != NULL ? (double)strtol(value, NULL, 10) : 0));
    tcase_add_test(c, killed_at_each_step_of_a_transaction);
    tcase_add_test(c, bulk_transactions_killed_at_random);
    tcase_add_test(c, killed_at_each_step_of_recovery);
    tcase_add_test(c, recovery_that_failed_keeps_others_out);
    tcase_add_loop_test(c, want_of_memory_is_no_damage, 0, 2);
    tcase_add_test(c, killed_at_each_step_of_making_an_index);
    tcase_add_test(c, killed_at_each_step_of_salvage);
    tcase_add_test(c, writers_killed_at_random);
    suite_add_tcase(s, c);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
