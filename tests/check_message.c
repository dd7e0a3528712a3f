/*
 * store/message: bytes of a message file on the wire (RFC 3501 2.2: lines end in CRLF).
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "store_test.h"

static struct account *a;

static void
setup(void)
{
    store_setup();
    a = store_open();
}

static void
teardown(void)
{
    account_close(&a);
    store_teardown();
}

struct buf_sink {
    struct sink sink;
    struct buf b;
    int fail_after;
};

static int
write_buf(struct sink *s, const void *p, size_t n)
{
    struct buf_sink *b = (struct buf_sink *)s;

    if (b->fail_after > 0 && --b->fail_after == 0)
        return ERR_IO;
    buf_add(&b->b, p, n);
    return 0;
}

static struct view *
put_and_open(const char *text, size_t len)
{
    char path[600];
    struct view *v;
    FILE *f;

    snprintf(path, sizeof path, "%s/cur/1.x:2,", store_dir);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    fclose(f);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    return v;
}

static struct message *
open_first(struct view *v)
{
    struct index_message row = message_row(v, 1);
    struct message *m;

    ck_assert_int_eq(view_message_open(v, &row, &m), 0);
    return m;
}

static void
check_wire(const char *disk, size_t len, const char *wire, size_t wire_len)
{
    struct view *v = put_and_open(disk, len);
    struct message *m = open_first(v);
    struct buf_sink s = {.sink = {write_buf}, .b = BUF_INIT(1 << 24)};

    ck_assert_int_eq(message_wire_size(m, 0, len, MDNAME_SIZE_UNKNOWN, 0, UINT64_MAX),
                     (int64_t)wire_len);
    ck_assert_int_eq(message_send(m, 0, len, 0, UINT64_MAX, &s.sink), (int64_t)wire_len);
    ck_assert_uint_eq(s.b.len, wire_len);
    ck_assert_int_eq(memcmp(s.b.data != NULL ? s.b.data : "", wire, wire_len), 0);
    buf_free(&s.b);
    message_close(&m);
    view_close(&v);
}

#define WIRE(disk, wire) check_wire(disk, sizeof(disk) - 1, wire, sizeof(wire) - 1)

START_TEST(line_ends)
{
    static const struct {
        const char *disk, *wire;
    } cases[] = {{"a\nb\n", "a\r\nb\r\n"},
                 {"a\r\nb\r\n", "a\r\nb\r\n"},
                 {"\n", "\r\n"},
                 {"\r\n", "\r\n"},
                 {"\n\n\n", "\r\n\r\n\r\n"},
                 {"a\rb\nc", "a\rb\r\nc"},
                 {"a\r\r\nb", "a\r\r\nb"},
                 {"mixed\r\nand\nnot", "mixed\r\nand\r\nnot"},
                 {"\r", "\r"},
                 {"no end", "no end"}};
    size_t i = (size_t)_i;

    check_wire(cases[i].disk, strlen(cases[i].disk), cases[i].wire, strlen(cases[i].wire));
}
END_TEST

START_TEST(empty_and_nul)
{
    WIRE("", "");
}
END_TEST

START_TEST(nul_octets_are_kept)
{
    WIRE("a\0b\n\0", "a\0b\r\n\0");
}
END_TEST

/* A message of several blocks, with line ends at and around each block's end. */
static char *
large_text(size_t *len, char **wire, size_t *wire_len)
{
    size_t n = 200000, i, j = 0;
    char *text = mem_alloc(n);
    unsigned seed = 5;

    *wire = mem_alloc(2 * n);
    for (i = 0; i < n; i++) {
        int r = rand_r(&seed) % 40;

        text[i] = r == 0 ? '\n' : r == 1 ? '\r' : (char)('a' + r % 26);
        if (i % 65536 > 65530 || i % 65536 < 3)
            text[i] = i % 2 ? '\r' : '\n';
    }
    for (i = 0; i < n; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'))
            (*wire)[j++] = '\r';
        (*wire)[j++] = text[i];
    }
    *len = n;
    *wire_len = j;
    return text;
}

START_TEST(blocks)
{
    size_t len, wire_len;
    char *wire, *text = large_text(&len, &wire, &wire_len);

    check_wire(text, len, wire, wire_len);
    free(text);
    free(wire);
}
END_TEST

/* BODY[]<skip.count> (RFC 3501 6.4.5): in order, out of order, over the end. */
START_TEST(partial_reads)
{
    size_t len, wire_len, skip, expect;
    char *wire, *text = large_text(&len, &wire, &wire_len);
    struct view *v = put_and_open(text, len);
    struct message *m = open_first(v);
    struct buf_sink s = {.sink = {write_buf}, .b = BUF_INIT(1 << 24)};
    unsigned seed = 9;
    int i;

    for (skip = 0; skip < wire_len + 100; skip += 7777) {
        expect = skip < wire_len ? (wire_len - skip < 7777 ? wire_len - skip : 7777) : 0;
        ck_assert_int_eq(message_wire_size(m, 0, len, MDNAME_SIZE_UNKNOWN, skip, 7777),
                         (int64_t)expect);
        ck_assert_int_eq(message_send(m, 0, len, skip, 7777, &s.sink), (int64_t)expect);
    }
    ck_assert_uint_eq(s.b.len, wire_len);
    ck_assert_int_eq(memcmp(s.b.data, wire, wire_len), 0);
    for (i = 0; i < 50; i++) {
        size_t count = (size_t)rand_r(&seed) % 100000;

        skip = (size_t)rand_r(&seed) % (wire_len + 10);
        buf_reset(&s.b);
        expect = skip < wire_len ? (wire_len - skip < count ? wire_len - skip : count) : 0;
        ck_assert_int_eq(message_wire_size(m, 0, len, wire_len, skip, count), (int64_t)expect);
        ck_assert_int_eq(message_send(m, 0, len, skip, count, &s.sink), (int64_t)expect);
        ck_assert(expect == 0 || memcmp(s.b.data, wire + skip, expect) == 0);
    }
    free(text);
    free(wire);
    buf_free(&s.b);
    message_close(&m);
    view_close(&v);
}
END_TEST

/* A part: its first octet may be an LF whose CR belongs to another part. */
START_TEST(ranges)
{
    struct view *v = put_and_open("one\r\ntwo\nthree\n", 15);
    struct message *m = open_first(v);
    struct buf_sink s = {.sink = {write_buf}, .b = BUF_INIT(100)};
    char block[20];
    struct source *src;

    ck_assert_int_eq(message_send(m, 5, 4, 0, UINT64_MAX, &s.sink), 5);
    ck_assert_str_eq(buf_str(&s.b), "two\r\n");
    buf_reset(&s.b);
    ck_assert_int_eq(message_send(m, 9, 1000, 2, 3, &s.sink), 3);
    ck_assert_str_eq(buf_str(&s.b), "ree");
    ck_assert_int_eq(message_send(m, 99, 1000, 0, 3, &s.sink), 0);
    ck_assert_int_eq(message_wire_size(m, 9, 6, 7, 2, 100), 5);
    ck_assert_int_eq(message_wire_size(m, 9, 6, 7, 2, UINT64_MAX), 5);
    ck_assert_int_eq(message_wire_size(m, 9, 6, 7, UINT64_MAX, UINT64_MAX), 0);
    src = message_source(m, 5, 4);
    ck_assert_int_eq(src->read(src, block, 3), 3);
    ck_assert_int_eq(src->read(src, block + 3, 10), 1);
    ck_assert_int_eq(src->read(src, block, 10), 0);
    ck_assert_int_eq(memcmp(block, "two\n", 4), 0);
    buf_free(&s.b);
    message_close(&m);
    view_close(&v);
}
END_TEST

/* A file that has CRLF throughout is sent as it lies. */
START_TEST(crlf_files_are_sent_unchanged)
{
    struct view *v = put_and_open("a\r\nb\r\n", 6);
    struct view_batch *b = view_batch_new();
    struct seqset s = uid_set("1");
    struct seqset_iter it = {0, 0};
    struct buf_sink sink = {.sink = {write_buf}, .b = BUF_INIT(100)};
    struct message *m;

    ck_assert_int_eq(view_read(v, &s, &it, WANT_CRLF_SIZE, b), 0);
    ck_assert_uint_eq(b->items[0].m.crlf_size, 6);
    m = open_first(v);
    ck_assert_int_eq(message_send(m, 0, 6, 1, 3, &sink.sink), 3);
    ck_assert_str_eq(buf_str(&sink.b), "\r\nb");
    ck_assert_int_eq(message_wire_size(m, 0, 6, MDNAME_SIZE_UNKNOWN, 0, 100), 6);
    buf_free(&sink.b);
    seqset_free(&s);
    view_batch_free(&b);
    message_close(&m);
    view_close(&v);
}
END_TEST

/* What the name says of the size is no reason to send a lone LF. */
START_TEST(a_name_that_lies_hides_no_line_end)
{
    const char *text = "a\nb\n";
    struct index_message row = {.uid = 1, .size = 4, .crlf_size = 4};
    struct buf_sink sink = {.sink = {write_buf}, .b = BUF_INIT(100)};
    struct view *v;
    struct message *m;

    neighbour_put(store_dir, "cur", "1.x,S=4,W=4:2,", text);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    row = message_row(v, 1);
    ck_assert_uint_eq(row.crlf_size, 4);
    ck_assert_int_eq(view_message_open(v, &row, &m), 0);
    ck_assert_int_eq(message_send(m, 0, 4, 0, UINT64_MAX, &sink.sink), 6);
    ck_assert_str_eq(buf_str(&sink.b), "a\r\nb\r\n");
    buf_free(&sink.b);
    message_close(&m);
    view_close(&v);
}
END_TEST

START_TEST(errors_of_the_sink_end_it)
{
    size_t len, wire_len;
    char *wire, *text = large_text(&len, &wire, &wire_len);
    struct view *v = put_and_open(text, len);
    struct message *m = open_first(v);
    struct buf_sink s = {.sink = {write_buf}, .b = BUF_INIT(1 << 24), .fail_after = 2};

    ck_assert_int_eq(message_send(m, 0, len, 0, UINT64_MAX, &s.sink), ERR_IO);
    free(text);
    free(wire);
    buf_free(&s.b);
    message_close(&m);
    view_close(&v);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("message");
    TCase *t = tcase_create("message");
    SRunner *r;
    int failed;

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, line_ends, 0, 10);
    tcase_add_test(t, empty_and_nul);
    tcase_add_test(t, nul_octets_are_kept);
    tcase_add_test(t, blocks);
    tcase_add_test(t, partial_reads);
    tcase_add_test(t, ranges);
    tcase_add_test(t, crlf_files_are_sent_unchanged);
    tcase_add_test(t, a_name_that_lies_hides_no_line_end);
    tcase_add_test(t, errors_of_the_sink_end_it);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
