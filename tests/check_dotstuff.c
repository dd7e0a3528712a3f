/*
 * pop3/dotstuff: byte-stuffing (RFC 1939 3) and the cut of TOP (RFC 1939 7), with the octets
 * split at every border.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "pop3/dotstuff.h"

struct collector {
    struct sink sink;
    struct buf got;
    size_t room; /* it fails behind so many octets */
};

static int
collect(struct sink *sink, const void *p, size_t n)
{
    struct collector *c = (struct collector *)sink;

    if (n > c->room)
        return ERR_IO;
    c->room -= n;
    buf_add(&c->got, p, n);
    return 0;
}

static struct collector out;

static void
setup(void)
{
    buf_init(&out.got, 100000);
    out.sink.write = collect;
    out.room = SIZE_MAX;
}

static void
teardown(void)
{
    buf_free(&out.got);
}

/* Feeds text in two or three pieces, cut at a and b. */
static void
stuff(const char *text, size_t a, size_t b)
{
    struct dotstuff d;
    size_t n = strlen(text);

    buf_reset(&out.got);
    dotstuff_init(&d, &out.sink);
    ck_assert_int_eq(d.sink.write(&d.sink, text, a), 0);
    ck_assert_int_eq(d.sink.write(&d.sink, text + a, b - a), 0);
    ck_assert_int_eq(d.sink.write(&d.sink, text + b, n - b), 0);
    ck_assert_int_eq(dotstuff_finish(&d), 0);
}

START_TEST(stuffing_at_every_border)
{
    static const char *const pairs[][2] = {
        {"", ".\r\n"},
        {"\r\n", "\r\n.\r\n"},
        {".", "..\r\n.\r\n"},
        {".\r\n", "..\r\n.\r\n"},
        {"..\r\n", "...\r\n.\r\n"},
        {"a.b\r\n.c\r\n..\r\n.\r\n", "a.b\r\n..c\r\n...\r\n..\r\n.\r\n"},
        {"a", "a\r\n.\r\n"},
        {"a\r\n.", "a\r\n..\r\n.\r\n"},
        {"a\r.b\r\n", "a\r.b\r\n.\r\n"}, /* a CR alone ends no line */
        {"a\r", "a\r\r\n.\r\n"},
        {"x\r\n\r\n.\r\n\r\n", "x\r\n\r\n..\r\n\r\n.\r\n"},
    };
    size_t i, a, b, n;

    for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        n = strlen(pairs[i][0]);
        for (a = 0; a <= n; a++) {
            for (b = a; b <= n; b++) {
                stuff(pairs[i][0], a, b);
                ck_assert_str_eq(buf_str(&out.got), pairs[i][1]);
            }
        }
    }
}
END_TEST

/* A client's unstuffing gives the message back, octet for octet, NULs and all. */
START_TEST(unstuffing_gives_it_back)
{
    static const char some[] = "..\r\n\nab\0";
    char text[64], wire[64];
    unsigned round;

    srand(4);
    for (round = 0; round < 1500; round++) {
        struct dotstuff d;
        size_t n = 0, m = (size_t)rand() % 20, i, at, back = 0;
        bool start = true;

        for (i = 0; i < m; i++) {
            char c = some[(size_t)rand() % (sizeof some - 1)];

            if (c == '\n')
                wire[n++] = '\r';
            wire[n++] = c;
        }
        buf_reset(&out.got);
        dotstuff_init(&d, &out.sink);
        for (at = 0; at < n; at += m) {
            m = 1 + (size_t)rand() % 5;
            m = m > n - at ? n - at : m;
            ck_assert_int_eq(d.sink.write(&d.sink, wire + at, m), 0);
        }
        ck_assert_int_eq(dotstuff_finish(&d), 0);
        for (i = 0; i < out.got.len; i++) {
            if (start && out.got.data[i] == '.') {
                if (i + 3 == out.got.len)
                    break; /* ".\r\n": the end */
                i++;
            }
            ck_assert_uint_lt(back, sizeof text);
            text[back++] = out.got.data[i];
            start = out.got.data[i] == '\n';
        }
        ck_assert_uint_eq(i + 3, out.got.len);
        if (back == n + 2)
            ck_assert(n > 0 && (n < 2 || memcmp(wire + n - 2, "\r\n", 2) != 0));
        else
            ck_assert_uint_eq(back, n);
        ck_assert(n == 0 || memcmp(text, wire, n) == 0);
    }
}
END_TEST

/* Octets up to the cut, fed in pieces of a given size. */
static const char *
top(const char *text, uint64_t lines, size_t piece, bool *done)
{
    struct topcut t;
    size_t n = strlen(text), at;
    int err = 0;

    buf_reset(&out.got);
    topcut_init(&t, lines, &out.sink);
    for (at = 0; at < n && err == 0; at += piece)
        err = t.sink.write(&t.sink, text + at, piece < n - at ? piece : n - at);
    ck_assert(t.done ? err == ERR_EOF : err == 0);
    *done = t.done;
    return buf_str(&out.got);
}

START_TEST(top_cuts_behind_the_lines)
{
    static const struct {
        const char *text;
        uint64_t lines;
        const char *want;
        bool done;
    } cases[] = {
        {"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n", 0, "A: b\r\nC: d\r\n\r\n", true},
        {"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n", 1, "A: b\r\nC: d\r\n\r\none\r\n", true},
        {"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n", 2, "A: b\r\nC: d\r\n\r\none\r\ntwo\r\n", true},
        {"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n", 3, "A: b\r\nC: d\r\n\r\none\r\ntwo\r\n", false},
        {"A: b\r\n\r\n\r\n\r\nx\r\n", 1, "A: b\r\n\r\n\r\n", true}, /* blank body lines count */
        {"A: b\r\n\r\nlast", 1, "A: b\r\n\r\nlast", false},
        {"A: b\r\n\r\n", 0, "A: b\r\n\r\n", true},
        {"A: b\r\n", 0, "A: b\r\n", false}, /* no body: the headers are all */
        {"A: b", 5, "A: b", false},
        {"\r\nbody\r\n", 0, "\r\n", true}, /* no header */
        {"\r\nbody\r\n", 1, "\r\nbody\r\n", true},
        {"A: \r\n \r\n\r\nx\r\n", 0, "A: \r\n \r\n\r\n", true}, /* a blank is no empty line */
        {"A: b\rc\r\n\r\r\n\r\nx\r\n", 0, "A: b\rc\r\n\r\r\n\r\n", true},
        {"", 3, "", false},
    };
    size_t i, piece;
    bool done;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (piece = 1; piece <= strlen(cases[i].text) + 1; piece++) {
            ck_assert_str_eq(top(cases[i].text, cases[i].lines, piece, &done), cases[i].want);
            ck_assert_int_eq(done, cases[i].done);
        }
    }
}
END_TEST

START_TEST(errors_of_the_sink_come_back)
{
    struct dotstuff d;

    out.room = 3;
    dotstuff_init(&d, &out.sink);
    ck_assert_int_eq(d.sink.write(&d.sink, "abcd", 4), ERR_IO);
    dotstuff_init(&d, &out.sink);
    ck_assert_int_eq(d.sink.write(&d.sink, "\r\n.x", 4), ERR_IO); /* in its second run */
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("dotstuff");
    TCase *t = tcase_create("dotstuff");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, stuffing_at_every_border);
    tcase_add_test(t, unstuffing_gives_it_back);
    tcase_add_test(t, top_cuts_behind_the_lines);
    tcase_add_test(t, errors_of_the_sink_come_back);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
