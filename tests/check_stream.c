/*
 * The buffered stream over a socket pair: lines and their limit, collecting and flushing,
 * deadlines against clients that drip or never read, waiting and interrupts.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/stream_internal.h"

static struct {
    struct stream *s;
    int peer;
    char log[2048]; /* the last line */
    unsigned lines;
} t;

static void
on_log(enum log_level level, const char *line)
{
    (void)level;
    strncpy(t.log, line, sizeof t.log - 1);
    t.lines++;
}

static void
start(unsigned write_timeout_s)
{
    int fd[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    t.s = stream_new(fd[0], write_timeout_s);
    t.peer = fd[1];
}

static void
setup(void)
{
    memset(&t, 0, sizeof t);
    log_hook = on_log;
    start(5);
}

static void
teardown(void)
{
    stream_free(&t.s);
    close(t.peer);
    log_hook = NULL;
}

static void
say(const char *text)
{
    size_t n = strlen(text);

    ck_assert_int_eq(send(t.peer, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* What the peer got so far, without waiting. */
static const char *
heard(void)
{
    static char text[70000];
    ssize_t n = recv(t.peer, text, sizeof text - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void
soon(int64_t ms)
{
    stream_set_deadline(t.s, sys_monotonic_ms() + ms);
}

static void
expect_line(const char *text, size_t max)
{
    struct buf line = BUF_INIT(1 << 20);

    ck_assert_int_eq(stream_read_line(t.s, &line, max), 0);
    ck_assert_str_eq(buf_str(&line), text);
    buf_free(&line);
}

/* ---- lines ---- */

START_TEST(line_ends_at_lf_with_or_without_cr)
{
    say("a1 NOOP\r\na2\n\r\n\nx\ry\r\n\r\r\n");
    expect_line("a1 NOOP", 100);
    expect_line("a2", 100);
    expect_line("", 100);
    expect_line("", 100);
    expect_line("x\ry", 100);
    expect_line("\r", 100);
    ck_assert_uint_eq(stream_pending(t.s), 0);
    ck_assert_uint_eq(stream_bytes_in(t.s), 23);
}
END_TEST

START_TEST(line_keeps_nul_octets)
{
    struct buf line = BUF_INIT(100);

    ck_assert_int_eq(send(t.peer, "a\0b\r\n", 5, 0), 5);
    ck_assert_int_eq(stream_read_line(t.s, &line, 100), 0);
    ck_assert_uint_eq(line.len, 3);
    ck_assert_mem_eq(line.data, "a\0b", 3);
    buf_free(&line);
}
END_TEST

START_TEST(line_of_exactly_max_fits_and_one_more_does_not)
{
    struct buf line = BUF_INIT(100);

    say("12345678\r\n12345678\n123456789\r\n123456789012345678901234567890\nnext\r\n");
    expect_line("12345678", 8);
    expect_line("12345678", 8);
    ck_assert_int_eq(stream_read_line(t.s, &line, 8), ERR_LIMIT);
    ck_assert_str_eq(buf_str(&line), "12345678");
    ck_assert_int_eq(stream_read_line(t.s, &line, 8), ERR_LIMIT);
    ck_assert_str_eq(buf_str(&line), "12345678");
    /* the stream stays usable */
    ck_assert_int_eq(stream_error(t.s), 0);
    expect_line("next", 8);
    buf_free(&line);
}
END_TEST

START_TEST(line_of_max_in_pieces_with_cr_apart)
{
    struct buf line = BUF_INIT(100);

    say("1234");
    ck_assert_int_eq(stream_wait(t.s, -1, 0), 1);
    soon(50);
    ck_assert_int_eq(stream_read_line(t.s, &line, 4), ERR_TIMEOUT);
    stream_free(&t.s);
    close(t.peer);
    start(5);
    if (fork() == 0) {
        say("1234");
        usleep(20000);
        say("\r");
        usleep(20000);
        say("\nnext\n");
        _exit(0);
    }
    expect_line("1234", 4);
    expect_line("next", 4);
    buf_free(&line);
    wait(NULL);
}
END_TEST

static void *
flood(void *octet)
{
    char block[65536];

    memset(block, *(char *)octet, sizeof block);
    while (send(t.peer, block, sizeof block, MSG_NOSIGNAL) > 0)
        continue;
    return NULL;
}

START_TEST(line_without_end_is_given_up_after_a_mebibyte)
{
    struct buf line = BUF_INIT(1000);
    pthread_t thread;

    pthread_create(&thread, NULL, flood, (char[]){'x'});
    ck_assert_int_eq(stream_read_line(t.s, &line, 1000), ERR_LIMIT);
    ck_assert_int_eq(stream_error(t.s), ERR_LIMIT);
    ck_assert_uint_eq(line.len, 1000);
    ck_assert_uint_lt(stream_bytes_in(t.s), 1100000);
    ck_assert_int_eq(stream_read_line(t.s, &line, 1000), ERR_LIMIT);
    stream_free(&t.s);
    pthread_join(thread, NULL);
    buf_free(&line);
}
END_TEST

/* Whatever the segments are, the lines are the same. */
START_TEST(lines_do_not_depend_on_segments)
{
    enum { COUNT = 400 };
    struct buf line = BUF_INIT(1 << 16);
    unsigned seed = 7;
    int i, status;

    if (fork() == 0) {
        struct buf all = BUF_INIT(1 << 24);
        size_t at = 0, n;

        for (i = 0; i < COUNT; i++) {
            for (n = 0; n < (size_t)(i * 37 % 5000); n++)
                buf_addc(&all, (char)('a' + (i + (int)n) % 26));
            buf_adds(&all, i % 3 ? "\r\n" : "\n");
        }
        while (at < all.len) {
            n = (size_t)rand_r(&seed) % (rand_r(&seed) % 2 ? 5 : 30000) + 1;
            if (n > all.len - at)
                n = all.len - at;
            if (send(t.peer, all.data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
                _exit(1);
            at += n;
        }
        _exit(0);
    }
    for (i = 0; i < COUNT; i++) {
        size_t n, len = (size_t)(i * 37 % 5000), max = i % 2 ? 5000 : 2500;

        ck_assert_int_eq(stream_read_line(t.s, &line, max), len > max ? ERR_LIMIT : 0);
        ck_assert_uint_eq(line.len, len > max ? max : len);
        for (n = 0; n < line.len; n++) { /* of a line that is too long, beginning and end */
            size_t at_end = len > max && n >= max - STREAM_LINE_TAIL ? len - max : 0;

            if (line.data[n] != 'a' + (i + (int)(n + at_end)) % 26)
                break;
        }
        ck_assert_uint_eq(n, line.len);
    }
    buf_free(&line);
    wait(&status);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(reads_by_octets_follow_lines)
{
    char octets[20];

    say("LINE\r\n0123456789tail\n");
    expect_line("LINE", 10);
    ck_assert_int_eq(stream_read(t.s, octets, 4), 4);
    ck_assert_mem_eq(octets, "0123", 4);
    ck_assert_int_eq(stream_read_full(t.s, octets, 6), 0);
    ck_assert_mem_eq(octets, "456789", 6);
    expect_line("tail", 10);
}
END_TEST

START_TEST(dropped_input_is_gone)
{
    say("one\ntwo\n");
    expect_line("one", 10);
    ck_assert_uint_eq(stream_pending(t.s), 4);
    stream_drop_input(t.s);
    ck_assert_uint_eq(stream_pending(t.s), 0);
    say("three\n");
    expect_line("three", 10);
}
END_TEST

/* What was read is gone, what wasn't is kept; here the password came in a longer piece than
   what came behind it. */
START_TEST(wiped_input_holds_no_password)
{
    static const char password[] = "a quite long password\n";

    say(password);
    expect_line("a quite long password", 100);
    say("x\nNOOP\n");
    expect_line("x", 100);
    stream_wipe_read(t.s);
    for (size_t i = 0; i < sizeof password - 1; i++)
        if (i < t.s->in_pos || i >= t.s->in_len)
            ck_assert_int_eq(t.s->in[i], 0);
    expect_line("NOOP", 100);
}
END_TEST

START_TEST(trim_keeps_what_is_buffered)
{
    say("one\ntwo\n");
    expect_line("one", 10);
    stream_puts(t.s, "* hello\r\n");
    stream_trim(t.s);
    expect_line("two", 10);
    stream_flush(t.s);
    ck_assert_str_eq(heard(), "* hello\r\n");
    stream_trim(t.s);
    say("three\n");
    stream_puts(t.s, "* again\r\n");
    expect_line("three", 10);
    stream_flush(t.s);
    ck_assert_str_eq(heard(), "* again\r\n");
}
END_TEST

/* ---- output ---- */

START_TEST(output_is_collected_until_flush)
{
    stream_puts(t.s, "* one\r\n");
    stream_printf(t.s, "* %d %s\r\n", 2, "two");
    ck_assert_str_eq(heard(), "");
    ck_assert_int_eq(stream_flush(t.s), 0);
    ck_assert_str_eq(heard(), "* one\r\n* 2 two\r\n");
    ck_assert_uint_eq(stream_bytes_out(t.s), 16);
}
END_TEST

START_TEST(pipelined_commands_share_a_write)
{
    struct buf line = BUF_INIT(100);

    say("a\nb\n");
    expect_line("a", 10);
    stream_puts(t.s, "A");
    expect_line("b", 10);
    stream_puts(t.s, "B");
    ck_assert_str_eq(heard(), "");
    soon(30);
    ck_assert_int_eq(stream_read_line(t.s, &line, 10), ERR_TIMEOUT);
    ck_assert_str_eq(heard(), "AB");
    buf_free(&line);
}
END_TEST

START_TEST(answers_are_sent_before_the_end_of_input_is_reported)
{
    struct buf line = BUF_INIT(100);

    say("a\n");
    shutdown(t.peer, SHUT_WR);
    expect_line("a", 10);
    stream_puts(t.s, "A");
    ck_assert_int_eq(stream_read_line(t.s, &line, 10), ERR_EOF);
    ck_assert_str_eq(heard(), "A");
    ck_assert_int_eq(stream_error(t.s), ERR_EOF);
    buf_free(&line);
}
END_TEST

START_TEST(free_sends_what_is_collected)
{
    stream_puts(t.s, "* BYE\r\n");
    stream_free(&t.s);
    ck_assert_ptr_null(t.s);
    ck_assert_str_eq(heard(), "* BYE\r\n");
}
END_TEST

static void *
sum_up(void *result)
{
    unsigned char block[10000];
    uint64_t *sum = result;
    ssize_t n, i;

    while ((n = recv(t.peer, block, sizeof block, 0)) > 0)
        for (i = 0; i < n; i++)
            *sum = *sum * 31 + block[i];
    return NULL;
}

START_TEST(any_mix_of_sizes_arrives_in_order)
{
    static const size_t sizes[] = {1,     100,  4095,  4096,  4097,  16383, 16384,
                                   16385, 5000, 40000, 70000, 16384, 3,     200000};
    static unsigned char data[200000];
    uint64_t want = 0, got = 0, total = 0;
    pthread_t thread;
    size_t i, j, k, n;

    for (i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    pthread_create(&thread, NULL, sum_up, &got);
    for (k = 0; k < 10; k++)
        for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            n = sizes[(i * (k + 1)) % (sizeof sizes / sizeof sizes[0])];
            stream_write(t.s, data, n);
            for (j = 0; j < n; j++)
                want = want * 31 + data[j];
            total += n;
        }
    ck_assert_int_eq(stream_flush(t.s), 0);
    ck_assert_uint_eq(stream_bytes_out(t.s), total);
    stream_free(&t.s);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(got, want);
}
END_TEST

START_TEST(printf_longer_than_the_buffer)
{
    char *text = malloc(50001);

    memset(text, 'y', 50000);
    text[50000] = '\0';
    stream_puts(t.s, "x");
    stream_printf(t.s, "%s!", text);
    ck_assert_int_eq(stream_flush(t.s), 0);
    ck_assert_uint_eq(stream_bytes_out(t.s), 50002);
    ck_assert_uint_eq(strlen(heard()), 50002);
    free(text);
}
END_TEST

START_TEST(a_gone_client_is_an_end_without_sigpipe)
{
    close(t.peer);
    stream_puts(t.s, "hello");
    ck_assert_int_eq(stream_flush(t.s), ERR_EOF);
    stream_puts(t.s, "hello");
    ck_assert_int_eq(stream_flush(t.s), ERR_EOF);
    ck_assert_uint_eq(t.lines, 0);
    t.peer = -1;
}
END_TEST

/* The last reply must reach a client that had sent more than was read (TCP resets otherwise).
 */
START_TEST(last_reply_survives_unread_input)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t len = sizeof sin;
    char text[100] = "";
    int l = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    struct stream *s;

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(l, (struct sockaddr *)&sin, sizeof sin), 0);
    listen(l, 1);
    getsockname(l, (struct sockaddr *)&sin, &len);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&sin, sizeof sin), 0);
    s = stream_new(accept(l, NULL, NULL), 5);
    ck_assert_int_eq(send(client, "LOGOUT\r\nmore\r\n", 14, 0), 14);
    usleep(20000);
    stream_puts(s, "* BYE\r\n");
    stream_free(&s);
    usleep(20000);
    ck_assert_int_eq(recv(client, text, sizeof text, 0), 7);
    ck_assert_int_eq(recv(client, text, sizeof text, 0), 0);
    close(client);
    close(l);
}
END_TEST

/* ---- deadlines ---- */

START_TEST(reading_ends_at_the_deadline_and_sticks)
{
    struct buf line = BUF_INIT(100);
    int64_t begin = sys_monotonic_ms();

    say("half a li");
    soon(100);
    ck_assert_int_eq(stream_read_line(t.s, &line, 50), ERR_TIMEOUT);
    ck_assert_int_ge(sys_monotonic_ms() - begin, 100);
    ck_assert_int_lt(sys_monotonic_ms() - begin, 1000);
    say("ne\r\n");
    stream_set_deadline(t.s, 0);
    ck_assert_int_eq(stream_read_line(t.s, &line, 50), ERR_TIMEOUT);
    ck_assert_int_eq(stream_read(t.s, (char[1]){0}, 1), ERR_TIMEOUT);
    stream_puts(t.s, "ignored");
    ck_assert_int_eq(stream_flush(t.s), ERR_TIMEOUT);
    ck_assert_str_eq(heard(), "");
    stream_last_words(t.s, "* BYE too slow\r\n");
    ck_assert_str_eq(heard(), "* BYE too slow\r\n");
    buf_free(&line);
}
END_TEST

static void *
drip(void *arg)
{
    (void)arg;
    while (send(t.peer, "x", 1, MSG_NOSIGNAL) == 1)
        usleep(20000);
    return NULL;
}

START_TEST(a_client_that_drips_is_cut_by_the_deadline)
{
    struct buf line = BUF_INIT(100);
    int64_t begin = sys_monotonic_ms();
    pthread_t thread;

    pthread_create(&thread, NULL, drip, NULL);
    soon(300);
    ck_assert_int_eq(stream_read_line(t.s, &line, 50), ERR_TIMEOUT);
    ck_assert_int_lt(sys_monotonic_ms() - begin, 1000);
    stream_free(&t.s);
    pthread_join(thread, NULL);
    buf_free(&line);
}
END_TEST

START_TEST(a_client_that_never_reads_is_cut_by_the_write_timeout)
{
    static char block[65536];
    int64_t begin;
    int i;

    stream_free(&t.s);
    close(t.peer);
    start(1);
    begin = sys_monotonic_ms();
    for (i = 0; i < 1000 && stream_error(t.s) == 0; i++)
        stream_write(t.s, block, sizeof block);
    ck_assert_int_eq(stream_error(t.s), ERR_TIMEOUT);
    ck_assert_int_ge(sys_monotonic_ms() - begin, 1000);
    ck_assert_int_lt(sys_monotonic_ms() - begin, 2000);
    ck_assert_uint_eq(t.lines, 1);
    ck_assert_ptr_nonnull(strstr(t.log, "write timeout 1 s"));
    stream_write(t.s, block, sizeof block);
    stream_last_words(t.s, "* BYE\r\n"); /* would be in the middle of something */
    ck_assert_uint_eq(t.lines, 1);
}
END_TEST

START_TEST(writing_obeys_a_nearer_deadline)
{
    static char block[65536];
    int64_t begin = sys_monotonic_ms();

    soon(200);
    while (stream_error(t.s) == 0)
        stream_write(t.s, block, sizeof block);
    ck_assert_int_eq(stream_error(t.s), ERR_TIMEOUT);
    ck_assert_int_lt(sys_monotonic_ms() - begin, 1000);
}
END_TEST

static void *
read_slowly(void *arg)
{
    char block[100000];

    (void)arg;
    do
        usleep(150000);
    while (recv(t.peer, block, sizeof block, 0) > 0);
    return NULL;
}

START_TEST(a_slow_client_that_reads_on_is_not_cut)
{
    static char block[1500000];
    int64_t begin;
    pthread_t thread;

    stream_free(&t.s);
    close(t.peer);
    start(1);
    pthread_create(&thread, NULL, read_slowly, NULL);
    begin = sys_monotonic_ms();
    stream_write(t.s, block, sizeof block);
    ck_assert_int_eq(stream_flush(t.s), 0);
    ck_assert_int_gt(sys_monotonic_ms() - begin, 1000);
    stream_free(&t.s);
    pthread_join(thread, NULL);
}
END_TEST

/* ---- waiting ---- */

START_TEST(wait_tells_input_other_and_time)
{
    int other[2];

    ck_assert_int_eq(pipe(other), 0);
    stream_puts(t.s, "+ idling\r\n");
    ck_assert_int_eq(stream_wait(t.s, other[0], sys_monotonic_ms() + 30), ERR_TIMEOUT);
    ck_assert_str_eq(heard(), "+ idling\r\n");
    ck_assert_int_eq(stream_error(t.s), 0);
    ck_assert_int_eq(write(other[1], "x", 1), 1);
    ck_assert_int_eq(stream_wait(t.s, other[0], 0), 2);
    say("DONE\r\nnext\r\n");
    ck_assert_int_eq(stream_wait(t.s, other[0], 0), 1);
    expect_line("DONE", 10);
    ck_assert_int_eq(stream_wait(t.s, other[0], sys_monotonic_ms() - 1), 1);
    expect_line("next", 10);
    close(t.peer);
    ck_assert_int_eq(stream_wait(t.s, -1, 0), 1);
    ck_assert_int_eq(stream_error(t.s), ERR_EOF);
    ck_assert_int_eq(stream_wait(t.s, -1, 0), 1);
    t.peer = -1;
    close(other[0]);
    close(other[1]);
}
END_TEST

START_TEST(interrupt_before_the_wait_is_not_lost)
{
    stream_interrupt();
    stream_interrupt();
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 2000), 0);
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 20), ERR_TIMEOUT);
    /* pending input goes first, the interrupt stays for the next wait */
    say("a\nb\n");
    expect_line("a", 10);
    stream_interrupt();
    ck_assert_int_eq(stream_wait(t.s, -1, 0), 1);
    expect_line("b", 10);
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 2000), 0);
}
END_TEST

static void
on_alarm(int signo)
{
    (void)signo;
    stream_interrupt();
}

static void
alarm_in(long us)
{
    struct sigaction sa = {.sa_handler = on_alarm};
    struct itimerval in = {.it_value = {us / 1000000, us % 1000000}};

    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &in, NULL);
}

START_TEST(interrupt_ends_a_wait_at_any_moment)
{
    int i;

    for (i = 1; i < 200; i++) {
        alarm_in(i * 10);
        ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 3000), 0);
    }
}
END_TEST

START_TEST(interrupt_does_not_end_reading_a_command)
{
    struct buf line = BUF_INIT(100);

    alarm_in(30000);
    say("half");
    soon(150);
    ck_assert_int_eq(stream_read_line(t.s, &line, 50), ERR_TIMEOUT);
    buf_free(&line);
}
END_TEST

START_TEST(interrupt_is_of_one_process)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct stream *s;

        stream_interrupt(); /* kept until there is a stream */
        s = stream_new(dup(t.peer), 1);
        if (stream_wait(s, -1, sys_monotonic_ms() + 2000) != 0)
            _exit(1);
        stream_interrupt();
        _exit(stream_wait(s, -1, sys_monotonic_ms() + 2000) == 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 50), ERR_TIMEOUT);
}
END_TEST

/* ---- source and sink ---- */

START_TEST(source_ends_after_its_octets)
{
    struct stream_source src;
    char octets[50];

    say("0123456789\r\n");
    stream_source_init(&src, t.s, 10);
    ck_assert_int_eq(src.source.read(&src.source, octets, 4), 4);
    ck_assert_int_eq(src.source.read(&src.source, octets, 50), 6);
    ck_assert_mem_eq(octets, "456789", 6);
    ck_assert_int_eq(src.source.read(&src.source, octets, 50), 0);
    expect_line("", 10);
    close(t.peer);
    stream_source_init(&src, t.s, 10);
    ck_assert_int_eq(src.source.read(&src.source, octets, 4), ERR_EOF);
    t.peer = -1;
}
END_TEST

START_TEST(sink_takes_octets_as_they_are)
{
    struct sink *sink = stream_sink(t.s);

    ck_assert_int_eq(sink->write(sink, "a\nb\0", 4), 0);
    ck_assert_int_eq(stream_flush(t.s), 0);
    ck_assert_mem_eq(heard(), "a\nb\0", 4);
    close(t.peer);
    sink->write(sink, "x", 1);
    stream_flush(t.s);
    ck_assert_int_eq(sink->write(sink, "x", 1), ERR_EOF);
    t.peer = -1;
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stream");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, line_ends_at_lf_with_or_without_cr);
    tcase_add_test(tcase, line_keeps_nul_octets);
    tcase_add_test(tcase, line_of_exactly_max_fits_and_one_more_does_not);
    tcase_add_test(tcase, line_of_max_in_pieces_with_cr_apart);
    tcase_add_test(tcase, line_without_end_is_given_up_after_a_mebibyte);
    tcase_add_test(tcase, lines_do_not_depend_on_segments);
    tcase_add_test(tcase, reads_by_octets_follow_lines);
    tcase_add_test(tcase, dropped_input_is_gone);
    tcase_add_test(tcase, wiped_input_holds_no_password);
    tcase_add_test(tcase, trim_keeps_what_is_buffered);
    tcase_add_test(tcase, output_is_collected_until_flush);
    tcase_add_test(tcase, pipelined_commands_share_a_write);
    tcase_add_test(tcase, answers_are_sent_before_the_end_of_input_is_reported);
    tcase_add_test(tcase, free_sends_what_is_collected);
    tcase_add_test(tcase, any_mix_of_sizes_arrives_in_order);
    tcase_add_test(tcase, printf_longer_than_the_buffer);
    tcase_add_test(tcase, a_gone_client_is_an_end_without_sigpipe);
    tcase_add_test(tcase, last_reply_survives_unread_input);
    tcase_add_test(tcase, reading_ends_at_the_deadline_and_sticks);
    tcase_add_test(tcase, a_client_that_drips_is_cut_by_the_deadline);
    tcase_add_test(tcase, a_client_that_never_reads_is_cut_by_the_write_timeout);
    tcase_add_test(tcase, writing_obeys_a_nearer_deadline);
    tcase_add_test(tcase, a_slow_client_that_reads_on_is_not_cut);
    tcase_add_test(tcase, wait_tells_input_other_and_time);
    tcase_add_test(tcase, interrupt_before_the_wait_is_not_lost);
    tcase_add_test(tcase, interrupt_ends_a_wait_at_any_moment);
    tcase_add_test(tcase, interrupt_does_not_end_reading_a_command);
    tcase_add_test(tcase, interrupt_is_of_one_process);
    tcase_add_test(tcase, source_ends_after_its_octets);
    tcase_add_test(tcase, sink_takes_octets_as_they_are);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
