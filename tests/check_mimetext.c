/*
 * format/mimetext: substring search over decoded text (RFC 3501 6.4.4).
 */
#include <check.h>
#include <stdlib.h>

#include "base/err.h"
#include "format/mimetext.h"
#include "format/mimetext_fold.h"
#include "mime_test.h"

static uint64_t
search_n(const char *text, size_t len, size_t piece, size_t n, const char *const *words,
         const enum needle_where *where)
{
    struct memory_source src = memory_source(text, len, piece);
    struct needle *needles[64] = {NULL};
    uint64_t found = ~UINT64_C(0);

    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(needle_new(words[i], strlen(words[i]), &needles[i]), 0);
    ck_assert_int_eq(mimetext_search(&src.source, &usual_limits,
                                     (const struct needle *const *)needles, where, n, &found),
                     0);
    for (size_t i = 0; i < n; i++)
        needle_free(&needles[i]);
    return found;
}

static bool
search(const char *text, const char *word, enum needle_where where)
{
    uint64_t found = search_n(text, strlen(text), 0, 1, &word, &where);

    ck_assert_uint_le(found, 1);
    /* the same in pieces that cut every sequence somewhere */
    for (size_t piece = 1; piece <= 7; piece++)
        ck_assert_uint_eq(search_n(text, strlen(text), piece, 1, &word, &where), found);
    return found == 1;
}

static bool
in_body(const char *text, const char *word)
{
    return search(text, word, IN_BODY);
}

START_TEST(body_header_and_text)
{
    const char text[] = "Subject: apple\nFrom: b@c\n\nbanana\n";

    ck_assert(in_body(text, "BANANA"));
    ck_assert(!in_body(text, "apple"));
    ck_assert(search(text, "apple", IN_HEADER));
    ck_assert(search(text, "subject: app", IN_HEADER));
    ck_assert(!search(text, "banana", IN_HEADER));
    ck_assert(search(text, "apple", IN_TEXT));
    ck_assert(search(text, "nana", IN_TEXT));
    ck_assert(!search(text, "cherry", IN_TEXT));
}
END_TEST

START_TEST(an_empty_needle_is_everywhere)
{
    ck_assert(in_body("", ""));
    ck_assert(in_body("a: b\n\nc", ""));
}
END_TEST

START_TEST(several_needles_in_one_pass)
{
    static const char *const words[] = {"one", "two", "subj", "subj", "none", ""};
    static const enum needle_where where[] = {IN_BODY, IN_TEXT,   IN_BODY,
                                              IN_TEXT, IN_HEADER, IN_BODY};
    const char text[] = "Subject: x\n\none two\n";

    ck_assert_uint_eq(search_n(text, strlen(text), 0, 6, words, where), 0x2b);
}
END_TEST

START_TEST(transfer_encodings_are_undone) /* RFC 2045 6.7, 6.8 */
{
    const char qp[] = "Content-Transfer-Encoding: quoted-printable\n\nsplit wo=\nrd, =48ello, "
                      "so=  \r\nft a=3Db =zz =\n";
    const char b64[] = "Content-Transfer-Encoding: BASE64\n\nSGVsbG8gd\n29ybGQ=\nc2Vjb25k\n";

    ck_assert(in_body(qp, "split word"));
    ck_assert(in_body(qp, "hello"));
    ck_assert(in_body(qp, "soft"));
    ck_assert(in_body(qp, "a=b"));
    ck_assert(in_body(qp, "=zz"));
    ck_assert(!in_body(qp, "=48"));
    ck_assert(in_body(b64, "hello world"));
    ck_assert(in_body(b64, "second"));
    ck_assert(!in_body(b64, "SGVs"));
}
END_TEST

START_TEST(charsets_are_undone)
{
    ck_assert(in_body("Content-Type: text/plain; charset=iso-8859-1\n\ngr\xfc\xdf", "GRÜSS"));
    ck_assert(in_body("Content-Type: text/plain; charset=windows-1251\n\n\xcf\xf0\xe8", "при"));
    ck_assert(in_body("Content-Type: text/plain; charset=ISO-2022-JP\n\n\x1b$BF|K\\8l\x1b(B",
                      "日本語"));
    ck_assert(in_body("Content-Type: text/plain; charset=utf-16be\nContent-Transfer-Encoding: "
                      "base64\n\nAEgA6QBsAGwAbw==",
                      "HÉLLO"));
    ck_assert(
        in_body("Content-Type: text/plain; charset=shift_jis\n\n\x93\xfa\x96\x7b", "日本"));
    /* unknown, or a lie: what is valid UTF-8 is taken as that */
    ck_assert(in_body("Content-Type: text/plain; charset=x-what\n\nna\xc3\xafve", "naïve"));
    ck_assert(in_body("Content-Type: text/plain; charset=utf-8\n\nab\xff"
                      "cd",
                      "cd"));
    ck_assert(!in_body("Content-Type: text/plain; charset=utf-8\n\nab\xff"
                       "cd",
                       "abcd"));
}
END_TEST

START_TEST(case_and_compatibility_are_folded) /* Unicode 3.13 D145, NFKD */
{
    ck_assert(in_body("\nSTRASSE", "straße"));
    ck_assert(in_body("\nstraße", "STRASSE"));
    ck_assert(in_body("\nΣΊΣΥΦΟΣ", "σίσυφος"));
    ck_assert(in_body("\nCafe\xcc\x81", "café")); /* e + U+0301 */
    ck_assert(in_body("\ncaf\xc3\xa9", "CAFE\xcc\x81"));
    ck_assert(in_body("\noﬃce", "OFFICE")); /* U+FB03 */
    ck_assert(in_body("\nＦｕｌｌ", "full"));
    ck_assert(in_body("\na\xcc\xa3\xcc\x82", "a\xcc\x82\xcc\xa3")); /* marks are put in order */
    ck_assert(in_body("\n한국어", "한국어"));
    ck_assert(in_body("\n\xe2\x84\xaa"
                      "elvin",
                      "kelvin"));
}
END_TEST

START_TEST(only_text_parts_and_part_headers) /* and nested messages */
{
    const char text[] =
        "Content-Type: multipart/mixed; boundary=x\n\npreamble\n--x\nContent-Type: image/gif; "
        "name=\"=?utf-8?Q?p=C3=AFcture?=\"\n\nhidden\n--x\nContent-Type: message/rfc822\n\n"
        "Subject: =?utf-8?B?SW5uZXI=?=\n subject\n\ninner text\n--x\nContent-Type: "
        "message/delivery-status\n\nAction: failed\n--x\n\nlast\n--x--\nepilogue\n";

    ck_assert(in_body(text, "pïcture"));
    ck_assert(!in_body(text, "hidden"));
    ck_assert(in_body(text, "Inner subject"));
    ck_assert(in_body(text, "inner text"));
    ck_assert(in_body(text, "action: failed"));
    ck_assert(in_body(text, "last"));
    ck_assert(!in_body(text, "preamble"));
    ck_assert(!in_body(text, "epilogue"));
    ck_assert(!in_body(text, "textlast"));
    ck_assert(!search(text, "inner text", IN_HEADER));
}
END_TEST

START_TEST(matches_across_slices)
{
    /* at every distance from the borders of the slices, with ASCII and others around */
    static const char *const fills[] = {"x", "ä", "日"};
    const char word[] = "nädel im heu";
    enum needle_where where = IN_BODY;
    const char *words[] = {word};

    for (size_t f = 0; f < 3; f++)
        for (size_t at = 16384 - 40; at < 16384 + 20; at++) {
            struct buf text = BUF_INIT(1 << 20);

            buf_addc(&text, '\n');
            while (text.len < at)
                buf_adds(&text, fills[f]);
            buf_adds(&text, "NÄDEL im Heu");
            while (text.len < 40000)
                buf_adds(&text, fills[f]);
            ck_assert_uint_eq(search_n(text.data, text.len, 0, 1, words, &where), 1);
            buf_free(&text);
        }
}
END_TEST

START_TEST(a_run_of_marks_without_end)
{
    struct buf text = BUF_INIT(1 << 22);
    enum needle_where where = IN_BODY;
    const char *words[] = {"end"};

    buf_adds(&text, "\na");
    for (int i = 0; i < 100000; i++)
        buf_adds(&text, "\xcc\x81");
    buf_adds(&text, "end");
    ck_assert_uint_eq(search_n(text.data, text.len, 0, 1, words, &where), 1);
    buf_reset(&text);
    buf_addc(&text, '\n');
    for (int i = 0; i < 200000; i++)
        buf_addc(&text, (char)0x80);
    buf_adds(&text, "end");
    ck_assert_uint_eq(search_n(text.data, text.len, 0, 1, words, &where), 1);
    buf_free(&text);
}
END_TEST

START_TEST(folding_in_pieces_is_folding_the_whole)
{
    const char text[] = "Äbc e\xcc\x81\xcc\xa3 ﬀ 한국 Ω\xff\xc3 日本 a\xcc\x82\xcc\xa3z";
    struct buf whole = BUF_INIT(4096), parts = BUF_INIT(4096), rest = BUF_INIT(4096);
    size_t used;

    fold_add(text, sizeof text - 1, true, &whole);
    for (size_t piece = 1; piece < sizeof text; piece++) {
        buf_reset(&parts);
        buf_reset(&rest);
        for (size_t i = 0; i < sizeof text - 1; i += piece) {
            size_t n = sizeof text - 1 - i < piece ? sizeof text - 1 - i : piece;

            buf_add(&rest, text + i, n);
            used = fold_add(rest.data, rest.len, false, &parts);
            buf_drop(&rest, used);
        }
        fold_add(buf_str(&rest), rest.len, true, &parts);
        ck_assert_uint_eq(parts.len, whole.len);
        ck_assert_mem_eq(parts.data, whole.data, whole.len);
    }
    buf_free(&whole);
    buf_free(&parts);
    buf_free(&rest);
}
END_TEST

static bool
in_header(const char *value, const char *word)
{
    struct needle *n;
    bool found;

    ck_assert_int_eq(needle_new(word, strlen(word), &n), 0);
    found = needle_in_header(n, value, strlen(value));
    needle_free(&n);
    return found;
}

START_TEST(header_values)
{
    ck_assert(in_header(" Hello\r\n\tWorld", "hello world"));
    ck_assert(in_header("=?iso-8859-1?Q?gr=FC=DF?= =?utf-8?B?IQ==?=", "GRÜSS!"));
    ck_assert(in_header("raw gr\xc3\xbc\xc3\x9f", "grüß"));
    ck_assert(!in_header("=?utf-8?Q?abc?=", "utf-8"));
    ck_assert(!in_header("", "a"));
    ck_assert(in_header("", ""));
}
END_TEST

START_TEST(needles_are_found_at_every_place_and_length)
{
    char text[100], word[40];

    for (size_t len = 1; len < 36; len++)
        for (size_t at = 0; at + len <= sizeof text - 1; at++) {
            memset(text, 'a', sizeof text);
            text[0] = '\n';
            for (size_t i = 0; i < len; i++)
                word[i] = (char)('b' + i % 20);
            word[len] = '\0';
            if (at == 0)
                continue;
            memcpy(text + at, word, len);
            text[sizeof text - 1] = '\0';
            {
                enum needle_where where = IN_BODY;
                const char *words[] = {word};

                ck_assert_uint_eq(search_n(text, sizeof text - 1, 0, 1, words, &where), 1);
                text[at + len - 1] = 'a';
                ck_assert_uint_eq(search_n(text, sizeof text - 1, 0, 1, words, &where), 0);
            }
        }
}
END_TEST

START_TEST(needles_must_be_utf8)
{
    struct needle *n = NULL;

    ck_assert_int_eq(needle_new("a\xff", 2, &n), ERR_SYNTAX);
    ck_assert_int_eq(needle_new("\xed\xa0\x80", 3, &n), ERR_SYNTAX);
    ck_assert_ptr_null(n);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("mimetext");
    TCase *c = tcase_create("mimetext");
    SRunner *r;
    int failed;

    tcase_add_test(c, body_header_and_text);
    tcase_add_test(c, an_empty_needle_is_everywhere);
    tcase_add_test(c, several_needles_in_one_pass);
    tcase_add_test(c, transfer_encodings_are_undone);
    tcase_add_test(c, charsets_are_undone);
    tcase_add_test(c, case_and_compatibility_are_folded);
    tcase_add_test(c, only_text_parts_and_part_headers);
    tcase_add_test(c, matches_across_slices);
    tcase_add_test(c, a_run_of_marks_without_end);
    tcase_add_test(c, folding_in_pieces_is_folding_the_whole);
    tcase_add_test(c, header_values);
    tcase_add_test(c, needles_are_found_at_every_place_and_length);
    tcase_add_test(c, needles_must_be_utf8);
    suite_add_tcase(s, c);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
