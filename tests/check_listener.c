/*
 * Lists of addresses, binding, and what is known of an accepted connection.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/listener.h"

static char text[512], dir[] = "/tmp/mansio-listener-XXXXXX", path[64], list[256];
static struct listener l[LISTENER_MAX];

static unsigned logged; /* lines */

static void
quiet(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
    logged++;
}

static void
setup(void)
{
    log_hook = quiet;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    snprintf(list, sizeof list, "unix:%s", path);
}

static void
teardown(void)
{
    unlink(path);
    rmdir(dir);
}

START_TEST(good_lists)
{
    static const char *const good[] = {"",
                                       "  ",
                                       "*:143",
                                       "127.0.0.1:143",
                                       "[::1]:143, 127.0.0.1:143",
                                       " *:0 ,unix:/run/mansio/imap ",
                                       "mail.example.org:65535",
                                       "[fe80::1%lo]:143"};
    size_t i;

    for (i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(listener_check(good[i], text, sizeof text) == 0, "'%s': %s", good[i],
                      text);
}
END_TEST

START_TEST(bad_lists_name_item_and_remedy)
{
    static const struct {
        const char *list, *says;
    } bad[] = {
        {"143", "port is missing"},
        {"*", "port is missing"},
        {"*:", "isn't a port"},
        {"*:imap", "'imap' isn't a port"},
        {"*:65536", "isn't a port"},
        {"*:-1", "isn't a port"},
        {"*:000143", "isn't a port"},
        {":143", "address is missing"},
        {"::1:143", "in brackets"},
        {"[::1:143", "in brackets"},
        {"[1.2.3.4]:143", "isn't an IPv6 address"},
        {"[]:143", "isn't an IPv6 address"},
        {"*:143,,*:144", "port is missing"},
        {"*:143,", "port is missing"},
        {"unix:run/imap", "absolute path"},
        {"unix:", "isn't a port"},
        {"a b:143", "isn't one"},
        {"unix:/"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "x"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         "at most 107"},
        {"*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1,*:1", "more than 16"},
    };
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        text[0] = '\0';
        ck_assert_msg(listener_check(bad[i].list, text, sizeof text) == ERR_CONFIG, "'%s'",
                      bad[i].list);
        ck_assert_msg(strstr(text, bad[i].says) != NULL, "'%s': %s", bad[i].list, text);
        ck_assert_int_eq(listener_open(bad[i].list, l, text, sizeof text), ERR_CONFIG);
    }
}
END_TEST

/* A client's connection to 127.0.0.1 or ::1 at the listener's port. */
static int
connect_to(const struct listener *to, int family)
{
    unsigned port = (unsigned)strtoul(strrchr(to->address, ':') + 1, NULL, 10);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    ck_assert_int_eq(family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof v4)
                                       : connect(fd, (struct sockaddr *)&v6, sizeof v6),
                     0);
    return fd;
}

static int
option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;

    getsockopt(fd, level, name, &value, &len);
    return value;
}

START_TEST(star_takes_ipv4_and_names_it_so)
{
    struct peer peer;
    int client, fd;

    ck_assert_int_eq(listener_open("*:0", l, text, sizeof text), 1);
    ck_assert_int_eq(listener_accept(&l[0], &peer), ERR_TEMP);
    client = connect_to(&l[0], AF_INET);
    fd = listener_accept(&l[0], &peer);
    ck_assert_int_ge(fd, 0);
    ck_assert_str_eq(peer.address, "127.0.0.1");
    ck_assert_uint_gt(peer.port, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(l[0].fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_ne(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 900);
    close(fd);
    close(client);
    listener_close(l, 1);
    ck_assert_int_eq(l[0].fd, -1);
}
END_TEST

START_TEST(star_takes_ipv6)
{
    struct peer peer;
    int client, fd;

    ck_assert_int_eq(listener_open("*:0", l, text, sizeof text), 1);
    if (l[0].address[0] == '[') { /* a host without IPv6 has "0.0.0.0:" */
        client = connect_to(&l[0], AF_INET6);
        fd = listener_accept(&l[0], &peer);
        ck_assert_int_ge(fd, 0);
        ck_assert_str_eq(peer.address, "::1");
        close(fd);
        close(client);
    }
    listener_close(l, 1);
}
END_TEST

START_TEST(several_addresses_and_host_names)
{
    int n = listener_open("127.0.0.1:0, localhost:0", l, text, sizeof text), i;

    ck_assert_msg(n >= 2, "%s", text);
    for (i = 0; i < n; i++)
        ck_assert_int_ge(l[i].fd, 0);
    ck_assert_int_eq(strncmp(l[0].address, "127.0.0.1:", 10), 0);
    listener_close(l, (size_t)n);
    ck_assert_int_eq(listener_open("", l, text, sizeof text), 0);
    ck_assert_int_eq(listener_open("no-such-host.invalid:0", l, text, sizeof text), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(text, "isn't known"));
    ck_assert_int_eq(listener_open("192.0.2.77:0", l, text, sizeof text), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(text, "no such address"));
}
END_TEST

START_TEST(in_use_is_told_and_nothing_stays_bound)
{
    struct listener again[LISTENER_MAX];
    int before, after;

    ck_assert_int_eq(listener_open("127.0.0.1:0", l, text, sizeof text), 1);
    before = dup(0);
    close(before);
    snprintf(list, sizeof list, "127.0.0.1:0,%s", l[0].address);
    ck_assert_int_eq(listener_open(list, again, text, sizeof text), ERR_INUSE);
    ck_assert_ptr_nonnull(strstr(text, l[0].address));
    after = dup(0);
    close(after);
    ck_assert_int_eq(before, after);
    listener_close(l, 1);
}
END_TEST

START_TEST(unix_socket_for_everybody)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct peer peer;
    struct stat st;
    int client, fd;

    ck_assert_int_eq(listener_open(list, l, text, sizeof text), 1);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0666);
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&sun, sizeof sun), 0);
    fd = listener_accept(&l[0], &peer);
    ck_assert_int_ge(fd, 0);
    ck_assert_str_eq(peer.address, "local");
    ck_assert_uint_eq(peer.port, 0);
    ck_assert_str_eq(l[0].address, list);
    close(fd);
    close(client);
    listener_close(l, 1);
}
END_TEST

START_TEST(unix_socket_left_over_is_replaced_a_live_one_not)
{
    struct listener again[LISTENER_MAX];
    int fd;

    ck_assert_int_eq(listener_open(list, l, text, sizeof text), 1);
    ck_assert_int_eq(listener_open(list, again, text, sizeof text), ERR_INUSE);
    listener_close(l, 1);
    ck_assert_int_eq(listener_open(list, l, text, sizeof text), 1);
    listener_close(l, 1);
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT, 0600); /* somebody's file */
    close(fd);
    ck_assert_int_eq(listener_open(list, l, text, sizeof text), ERR_INUSE);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* A stop shuts the sockets down under the workers that wait at them: that's no error. */
START_TEST(a_socket_that_was_shut_down_is_at_its_end)
{
    struct peer peer;

    ck_assert_int_eq(listener_open("127.0.0.1:0", l, text, sizeof text), 1);
    ck_assert_int_eq(shutdown(l[0].fd, SHUT_RDWR), 0);
    logged = 0;
    ck_assert_int_eq(listener_accept(&l[0], &peer), ERR_EOF);
    ck_assert_uint_eq(logged, 0);
    listener_close(l, 1);
}
END_TEST

START_TEST(out_of_descriptors_is_short)
{
    struct rlimit limit, tight;
    struct peer peer;
    int client, fd;

    ck_assert_int_eq(listener_open("127.0.0.1:0", l, text, sizeof text), 1);
    client = connect_to(&l[0], AF_INET);
    getrlimit(RLIMIT_NOFILE, &limit);
    tight = limit;
    tight.rlim_cur = (rlim_t)client + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    fd = listener_accept(&l[0], &peer);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(fd, ERR_SHORT);
    close(client);
    listener_close(l, 1);
}
END_TEST

START_TEST(low_port_without_root_is_not_permitted)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    int first = 0, status;
    pid_t pid;

    if (f != NULL && fscanf(f, "%d", &first) != 1)
        first = 0;
    if (f != NULL)
        fclose(f);
    pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(2);
        _exit(listener_open("127.0.0.1:143", l, text, sizeof text) == ERR_PERM &&
                      strstr(text, "1024") != NULL
                  ? 0
                  : 1);
    }
    waitpid(pid, &status, 0);
    if (first > 143)
        ck_assert_int_eq(status, 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("listener");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, good_lists);
    tcase_add_test(tcase, bad_lists_name_item_and_remedy);
    tcase_add_test(tcase, star_takes_ipv4_and_names_it_so);
    tcase_add_test(tcase, star_takes_ipv6);
    tcase_add_test(tcase, several_addresses_and_host_names);
    tcase_add_test(tcase, in_use_is_told_and_nothing_stays_bound);
    tcase_add_test(tcase, unix_socket_for_everybody);
    tcase_add_test(tcase, unix_socket_left_over_is_replaced_a_live_one_not);
    tcase_add_test(tcase, a_socket_that_was_shut_down_is_at_its_end);
    tcase_add_test(tcase, out_of_descriptors_is_short);
    tcase_add_test(tcase, low_port_without_root_is_not_permitted);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
