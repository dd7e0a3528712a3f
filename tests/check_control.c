/*
 * The control socket (control.c) and the master's table of children, in one process: the test
 * is master and client in turn.
 */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/session.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "proc/master.h"
#include "proc/worker.h"

static struct {
    char dir[64];
    struct master m;
} test;

static void
no_log(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static void
set_up(void)
{
    log_hook = no_log;
    memset(&test, 0, sizeof test);
    snprintf(test.dir, sizeof test.dir, "/tmp/mansio-control-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(test.dir));
    test.m.signal_fd = test.m.auth_fd = test.m.start_fd = -1;
    test.m.conf_file = "/nonexistent/mansio.conf";
    test.m.generation = 1;
    test.m.setup = mem_calloc(1, sizeof *test.m.setup);
    test.m.setup->conf = conf_defaults();
    free(test.m.setup->conf->run_dir);
    test.m.setup->conf->run_dir = mem_strdup(test.dir);
    children_init(&test.m);
    services_init(&test.m);
    services_configure(&test.m);
    ck_assert_int_eq(control_open(&test.m), 0);
}

static void
tear_down(void)
{
    control_close(&test.m);
    rmdir(test.dir);
    setup_abandon(&test.m.setup);
    scoreboard_free(&test.m.board);
    children_free(&test.m);
}

static int
dial(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/control", test.dir);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* What the master's loop does, until nothing more is to be done. */
static void
turn(void)
{
    struct pollfd pfd[CONTROL_POLL_MAX];
    int64_t wake;

    for (int i = 0; i < 50; i++) {
        size_t n = control_poll(&test.m, pfd, &wake);

        if (poll(pfd, n, 0) <= 0)
            return;
        control_serve(&test.m, pfd, n);
    }
}

/* The answer to a line; "" when the connection was ended without one. */
static const char *
ask(const char *line)
{
    static char answer[16384]; /* valid until the next call */
    size_t got = 0;
    int fd = dial();
    ssize_t n;

    ck_assert_int_eq(send(fd, line, strlen(line), 0), (int)strlen(line));
    turn();
    while ((n = recv(fd, answer + got, sizeof answer - 1 - got, 0)) > 0)
        got += (size_t)n;
    answer[got] = '\0';
    close(fd);
    turn();
    return answer;
}

START_TEST(test_ping)
{
    ck_assert_str_eq(ask("ping\n"), "OK mansiod " PACKAGE_VERSION "\n");
    ck_assert_str_eq(ask("ping\r\n"), "OK mansiod " PACKAGE_VERSION "\n");
}
END_TEST

START_TEST(test_status_names_all_services)
{
    const char *answer = ask("status\n");

    ck_assert_ptr_nonnull(strstr(answer, "* generation 1\n"));
    ck_assert_ptr_nonnull(strstr(answer, "\n* imap running 0 0 0 2000 0 0 0\n"));
    ck_assert_ptr_nonnull(strstr(answer, "\n* pop3 running 0 0 0 500 0 0 0\n"));
    ck_assert_ptr_nonnull(strstr(answer, "\n* auth running "));
    ck_assert_ptr_nonnull(strstr(answer, "\nOK running\n"));
}
END_TEST

START_TEST(test_unknown_commands_are_bad)
{
    static const char *const lines[] = {"\n", "PING\n", "ping x\n", "kick\n", "kick \n", "x\n"};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ck_assert_str_eq(ask(lines[i]), "BAD unknown command\n");
}
END_TEST

START_TEST(test_kick_of_nobody)
{
    ck_assert_str_eq(ask("kick ann\n"), "NO no session of ann\n");
}
END_TEST

START_TEST(test_bad_reload_keeps_all)
{
    struct setup *before = test.m.setup;
    const char *answer = ask("reload\n");

    ck_assert_ptr_nonnull(strstr(answer, "* /nonexistent/mansio.conf"));
    ck_assert_ptr_nonnull(strstr(answer, "NO the configuration from before stays\n"));
    ck_assert_ptr_eq(test.m.setup, before);
    ck_assert_uint_eq(test.m.generation, 1);
}
END_TEST

/* A line that never ends, and a connection that says nothing, cost a slot for a while only. */
START_TEST(test_long_line_is_hung_up)
{
    char line[2000];

    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    ck_assert_str_eq(ask(line), "");
    ck_assert_str_eq(ask("ping\n"), "OK mansiod " PACKAGE_VERSION "\n");
}
END_TEST

START_TEST(test_connections_are_bounded)
{
    struct pollfd pfd[CONTROL_POLL_MAX];
    int fds[CONTROL_POLL_MAX - 1];
    int64_t wake;

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = dial();
        turn();
    }
    ck_assert_uint_eq(control_poll(&test.m, pfd, &wake), CONTROL_POLL_MAX);
    ck_assert_int_eq(pfd[0].fd, -1);   /* nobody more is accepted now */
    ck_assert_int_ne(wake, INT64_MAX); /* and these have a deadline */
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        close(fds[i]);
    turn();
    ck_assert_str_eq(ask("ping\n"), "OK mansiod " PACKAGE_VERSION "\n");
}
END_TEST

START_TEST(test_client_that_vanishes)
{
    for (int i = 0; i < 20; i++) {
        int fd = dial();

        ck_assert_int_eq(send(fd, "who\n", 4, 0), 4);
        close(fd);
        turn();
    }
    ck_assert_str_eq(ask("ping\n"), "OK mansiod " PACKAGE_VERSION "\n");
}
END_TEST

START_TEST(test_second_master_is_told)
{
    struct master other = {.setup = test.m.setup};

    ck_assert_int_eq(control_open(&other), ERR_INUSE);
}
END_TEST

/* The end of the connection tells `mansioctl stop` that the master has gone. */
START_TEST(test_stop_stays_open)
{
    char answer[64];
    int fd = dial();

    ck_assert_int_eq(send(fd, "stop\n", 5, 0), 5);
    turn();
    ck_assert(test.m.stopping);
    ck_assert_int_eq(recv(fd, answer, sizeof answer, 0), (int)strlen("OK stopping\n"));
    ck_assert_int_eq(recv(fd, answer, sizeof answer, 0), -1);
    control_close(&test.m);
    ck_assert_int_eq(recv(fd, answer, sizeof answer, 0), 0);
    close(fd);
    ck_assert_int_eq(control_open(&test.m), 0);
}
END_TEST

static volatile sig_atomic_t kicked;

static void
on_kick(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    kicked = info->si_value.sival_int;
}

/* This process plays a busy worker in slot 0. */
static void
play_worker(void)
{
    struct sigaction sa = {.sa_sigaction = on_kick, .sa_flags = SA_SIGINFO};
    struct score *s = scoreboard_slot(test.m.board, 0);

    sigemptyset(&sa.sa_mask);
    sigaction(WORKER_KICK_SIGNAL, &sa, NULL);
    test.m.children[0] =
        (struct child){.pid = getpid(), .kind = CHILD_IMAP, .state = CHILD_BUSY};
    test.m.slots_used = 1;
    score_begin(s);
    s->state = SESSION_ACTIVE + 1;
    s->connections = 7;
    memcpy(s->user, "ann", 4);
    memcpy(s->session, "abcdefgh", 9);
    memcpy(s->peer, "192.0.2.1", 10);
    memcpy(s->command, "UID FETCH", 10);
    score_end(s);
    kicked = 0;
}

START_TEST(test_who)
{
    play_worker();
    ck_assert_ptr_nonnull(strstr(ask("who\n"), "* imap abcdefgh "));
    ck_assert_ptr_nonnull(strstr(ask("who\n"), " ann 192.0.2.1 - active "));
    ck_assert_ptr_nonnull(strstr(ask("who\n"), " UID FETCH\nOK\n"));
    test.m.children[0].pid = 0;
}
END_TEST

/* The signal carries the number of the connection: a later one isn't hit. */
START_TEST(test_kick_by_user_session_and_pid)
{
    char line[64];

    play_worker();
    ck_assert_str_eq(ask("kick ann\n"), "OK 1 session is being ended\n");
    ck_assert_int_eq(kicked, 7);
    kicked = 0;
    ck_assert_str_eq(ask("kick abcdefgh\n"), "OK 1 session is being ended\n");
    ck_assert_int_eq(kicked, 7);
    kicked = 0;
    snprintf(line, sizeof line, "kick %ld\n", (long)getpid());
    ck_assert_str_eq(ask(line), "OK 1 session is being ended\n");
    ck_assert_int_eq(kicked, 7);
    kicked = 0;
    ck_assert_str_eq(ask("kick bob\n"), "NO no session of bob\n");
    ck_assert_int_eq(kicked, 0);
    ck_assert_int_ne(test.m.children[0].kill_ms, 0);
    test.m.children[0].pid = 0;
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("control");
    TCase *t = tcase_create("control");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, test_ping);
    tcase_add_test(t, test_status_names_all_services);
    tcase_add_test(t, test_unknown_commands_are_bad);
    tcase_add_test(t, test_kick_of_nobody);
    tcase_add_test(t, test_bad_reload_keeps_all);
    tcase_add_test(t, test_long_line_is_hung_up);
    tcase_add_test(t, test_connections_are_bounded);
    tcase_add_test(t, test_client_that_vanishes);
    tcase_add_test(t, test_second_master_is_told);
    tcase_add_test(t, test_stop_stays_open);
    tcase_add_test(t, test_who);
    tcase_add_test(t, test_kick_by_user_session_and_pid);
    suite_add_tcase(s, t);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
