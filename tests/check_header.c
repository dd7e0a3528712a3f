/*
 * format/header: header blocks (RFC 5322 2.2, 4.5.8), selecting fields (RFC 3501 6.4.5),
 * encoded words (RFC 2047).
 */
#include <check.h>
#include <stdlib.h>

#include "format/charset.h"
#include "base/err.h"
#include "format/header.h"
#include "format/mimetext.h"
#include "mime_test.h"

/* All fields as "name=value|", values with their line ends. */
static const char *
walked(const char *block)
{
    static struct buf out = BUF_INIT(4096);
    struct header_field f;
    size_t pos = 0;

    buf_reset(&out);
    while (header_next(block, strlen(block), &pos, &f)) {
        buf_add(&out, f.name, f.name_len);
        buf_addc(&out, '=');
        buf_add(&out, f.value, f.value_len);
        buf_addc(&out, '|');
    }
    return buf_str(&out);
}

START_TEST(fields_with_lf_crlf_and_mixed_line_ends)
{
    ck_assert_str_eq(walked("A: 1\nB: 2\n\nC: 3\n"), "A= 1|B= 2|");
    ck_assert_str_eq(walked("A: 1\r\nB: 2\r\n\r\nC: 3\r\n"), "A= 1|B= 2|");
    ck_assert_str_eq(walked("A: 1\nB: 2\r\n\nC: 3"), "A= 1|B= 2|");
    ck_assert_str_eq(walked("A: 1"), "A= 1|");
    ck_assert_str_eq(walked("A:"), "A=|");
    ck_assert_str_eq(walked("A:\r\n"), "A=|");
    ck_assert_str_eq(walked("\nA: 1\n"), "");
    ck_assert_str_eq(walked(""), "");
}
END_TEST

START_TEST(folded_fields_stay_together)
{
    ck_assert_str_eq(walked("A: 1\n 2\n\t3\nB: 4\n"), "A= 1\n 2\n\t3|B= 4|");
    ck_assert_str_eq(walked("A:\r\n 1\r\n \r\nB: 4\r\n"), "A=\r\n 1\r\n |B= 4|");
}
END_TEST

START_TEST(blanks_before_the_colon_are_not_of_the_name) /* RFC 5322 4.5.8 */
{
    ck_assert_str_eq(walked("Subject : x\nA\t: y\n"), "Subject= x|A= y|");
}
END_TEST

START_TEST(garbage_lines_are_skipped)
{
    ck_assert_str_eq(walked("From a@b Mon Jan 1 10:00:00 2024\nA: 1\n"), "A= 1|");
    ck_assert_str_eq(walked("no colon\n and more\nA: 1\n"), "A= 1|");
    ck_assert_str_eq(walked(" starts: with a blank\nA: 1\n"), "A= 1|");
    ck_assert_str_eq(walked(": no name\nA: 1\n"), "A= 1|");
}
END_TEST

START_TEST(fields_are_found_by_name_in_any_case_and_number)
{
    const char block[] = "to: a\nSubject: s\nTO: b\nTo-Other: c\nTo : d\n\nTo: body\n";
    struct header_field f;

    ck_assert(header_find(block, strlen(block), "To", 0, &f));
    ck_assert_mem_eq(f.value, " a", 2);
    ck_assert(header_find(block, strlen(block), "To", 1, &f));
    ck_assert_mem_eq(f.value, " b", 2);
    ck_assert(header_find(block, strlen(block), "To", 2, &f));
    ck_assert_mem_eq(f.value, " d", 2);
    ck_assert(!header_find(block, strlen(block), "To", 3, &f));
    ck_assert(!header_find(block, strlen(block), "T", 0, &f));
}
END_TEST

START_TEST(unfolding_removes_line_ends_only) /* RFC 5322 2.2.3 */
{
    struct arena *a = arena_new();
    size_t len;

    ck_assert_str_eq(header_unfold(a, " a\r\n b\n\tc \r\n", 13, &len), "a b\tc");
    ck_assert_uint_eq(len, 5);
    ck_assert_str_eq(header_unfold(a, "\0x\0", 3, &len), "x");
    ck_assert_str_eq(header_unfold(a, " \r\n ", 4, &len), "");
    arena_free(&a);
}
END_TEST

static const char *
selected(const char *block, bool not, size_t n, const char *const *names)
{
    static struct buf out = BUF_INIT(4096);

    buf_reset(&out);
    header_select(block, strlen(block), names, n, not, &out);
    return buf_str(&out);
}

START_TEST(selected_fields_keep_their_order_and_get_crlf) /* RFC 3501 6.4.5 HEADER.FIELDS */
{
    const char *const names[] = {"to", "SUBJECT"};
    const char block[] = "Subject: a\n folded\nFrom: x\nTo: b\r\n\nTo: body\n";

    ck_assert_str_eq(selected(block, false, 2, names),
                     "Subject: a\r\n folded\r\nTo: b\r\n\r\n");
    ck_assert_str_eq(selected(block, true, 2, names), "From: x\r\n\r\n");
    ck_assert_str_eq(selected(block, false, 0, names), "\r\n");
    ck_assert_str_eq(selected("To: no end", false, 2, names), "To: no end\r\n\r\n");
}
END_TEST

static const char *
decoded_n(const char *value, size_t len)
{
    static struct buf out = BUF_INIT(65536);

    buf_reset(&out);
    header_decode(value, len, &out);
    return buf_str(&out);
}

static const char *
decoded(const char *value)
{
    return decoded_n(value, strlen(value));
}

START_TEST(encoded_words) /* RFC 2047 2, 4, 8 */
{
    ck_assert_str_eq(decoded("=?ISO-8859-1?Q?a?="), "a");
    ck_assert_str_eq(decoded("=?ISO-8859-1?Q?a?= b"), "a b");
    ck_assert_str_eq(decoded("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?="), "ab");
    ck_assert_str_eq(decoded("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?="), "ab");
    ck_assert_str_eq(decoded("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?="), "ab");
    ck_assert_str_eq(decoded("=?ISO-8859-1?Q?a_b?="), "a b");
    ck_assert_str_eq(decoded("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?="), "a b");
    ck_assert_str_eq(decoded("=?iso-8859-1?q?Keld_J=F8rn_Simonsen?="), "Keld Jørn Simonsen");
    ck_assert_str_eq(decoded("=?UTF-8?B?SGVsbMO2?= there"), "Hellö there");
    ck_assert_str_eq(decoded("=?utf-8*en?Q?lang?="), "lang"); /* RFC 2231 5 */
    ck_assert_str_eq(decoded("=?ISO-2022-JP?B?GyRCRnxLXDhsGyhC?="), "日本語");
}
END_TEST

START_TEST(a_character_split_over_two_words)
{
    /* U+00F6 is C3 B6: one octet in each word, also in different encodings */
    ck_assert_str_eq(decoded("=?utf-8?Q?a=C3?= =?UTF-8?Q?=B6b?="), "aöb");
    ck_assert_str_eq(decoded("=?utf-8?B?w6TD?=\n =?utf-8?Q?=B6?="), "äö");
}
END_TEST

START_TEST(what_is_no_word_stays)
{
    ck_assert_str_eq(decoded("a =? b"), "a =? b");
    ck_assert_str_eq(decoded("=?utf-8?Q?never ends"), "=?utf-8?Q?never ends");
    ck_assert_str_eq(decoded("=?utf-8?X?abc?="), "=?utf-8?X?abc?=");
    ck_assert_str_eq(decoded("=??Q?abc?="), "=??Q?abc?=");
    ck_assert_str_eq(decoded("x =3D=zz"), "x =3D=zz");
    ck_assert_str_eq(decoded("=?utf-8?Q?a=ZZ=4?="), "a=ZZ=4");
}
END_TEST

START_TEST(folds_and_raw_octets)
{
    ck_assert_str_eq(decoded(" a\r\n\tb\r\n c "), "a b c");
    ck_assert_str_eq(decoded("gr\xc3\xbc\xc3\x9f"), "grüß");
    ck_assert_str_eq(decoded("gr\xfc\xdf"), "gr\xef\xbf\xbd\xef\xbf\xbd");
    ck_assert_str_eq(decoded("=?x-nonsense?Q?a=FCb?="), "a\xef\xbf\xbd"
                                                        "b");
    ck_assert_str_eq(decoded("=?utf-8?Q?a=FCb?="), "a\xef\xbf\xbd"
                                                   "b");
    ck_assert_str_eq(decoded_n("a\0b", 3), "ab");
}
END_TEST

START_TEST(charset_names_are_not_options_of_iconv)
{
    ck_assert(charset_known("koi8-r", 6));
    ck_assert(!charset_known("UTF-8//TRANSLIT", 15));
    ck_assert(!charset_known("../../x", 7));
    ck_assert(!charset_known("", 0));
}
END_TEST

START_TEST(more_charsets_than_the_cache_holds)
{
    static const char *const names[] = {
        "iso-8859-1",   "iso-8859-2",   "iso-8859-5",   "iso-8859-7", "koi8-r", "windows-1250",
        "windows-1251", "windows-1252", "windows-1253", "shift_jis",  "euc-jp", "gb2312"};
    struct buf out = BUF_INIT(100);

    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            buf_reset(&out);
            ck_assert_int_eq(charset_to_utf8(names[i], "abc", 3, &out), 0);
            ck_assert_str_eq(buf_str(&out), "abc");
        }
    buf_reset(&out);
    ck_assert_int_eq(charset_to_utf8("windows-1251", "\xcf\xf0", 2, &out), 0);
    ck_assert_str_eq(buf_str(&out), "Пр");
    ck_assert_int_eq(charset_to_utf8("x-unknown", "a", 1, &out), ERR_UNSUPPORTED);
    ck_assert_int_eq(charset_to_utf8("euc-jp", "\xa4", 1, &out), ERR_SYNTAX);
    buf_free(&out);
}
END_TEST

START_TEST(a_megabyte_of_broken_words_takes_no_time)
{
    size_t n = 1 << 20;
    char *s = calloc(1, n);
    struct buf out = BUF_INIT(n * 4);

    for (size_t i = 0; i + 6 <= n; i += 6)
        memcpy(s + i, "=?a?q?", 6);
    header_decode(s, n, &out);
    ck_assert(buf_ok(&out));
    buf_free(&out);
    free(s);
}
END_TEST

/* A header read by itself has the length that the whole parse gives it. */
START_TEST(header_alone_is_what_the_parser_sees)
{
    static const char *const messages[] = {
        "A: 1\n\nbody",
        "A: 1\r\n\r\nbody",
        "A: 1\n",
        "A: 1",
        "\nbody",
        "\r\nbody",
        "",
        "A: 1\nB: 2\r\n\r\n\n",
        "A: 1\n\r",
        "\r",
        "A: \r\rx\n\nb",
        "A\n \n\nb",
    };

    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
        for (size_t piece = 0; piece < 4; piece++) {
            struct memory_source a = memory_source(messages[i], strlen(messages[i]), piece);
            struct memory_source b = memory_source(messages[i], strlen(messages[i]), piece);
            struct buf header = BUF_INIT(100);
            struct arena *arena = arena_new();
            struct mime_part *root;
            uint64_t len, crlf;

            ck_assert_int_eq(mime_read_header(&a.source, 100, &header, &len, &crlf), 0);
            ck_assert_int_eq(mime_parse(&b.source, &usual_limits, arena, NULL, &root), 0);
            ck_assert_uint_eq(len, root->header_len);
            ck_assert_uint_eq(crlf, root->header_crlf);
            ck_assert_uint_eq(header.len, len);
            ck_assert(header.len == 0 || memcmp(header.data, messages[i], header.len) == 0);
            buf_free(&header);
            arena_free(&arena);
        }
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("header");
    TCase *c = tcase_create("header");
    SRunner *r;
    int failed;

    tcase_add_test(c, fields_with_lf_crlf_and_mixed_line_ends);
    tcase_add_test(c, folded_fields_stay_together);
    tcase_add_test(c, blanks_before_the_colon_are_not_of_the_name);
    tcase_add_test(c, garbage_lines_are_skipped);
    tcase_add_test(c, fields_are_found_by_name_in_any_case_and_number);
    tcase_add_test(c, unfolding_removes_line_ends_only);
    tcase_add_test(c, selected_fields_keep_their_order_and_get_crlf);
    tcase_add_test(c, encoded_words);
    tcase_add_test(c, a_character_split_over_two_words);
    tcase_add_test(c, what_is_no_word_stays);
    tcase_add_test(c, folds_and_raw_octets);
    tcase_add_test(c, charset_names_are_not_options_of_iconv);
    tcase_add_test(c, more_charsets_than_the_cache_holds);
    tcase_add_test(c, a_megabyte_of_broken_words_takes_no_time);
    tcase_add_test(c, header_alone_is_what_the_parser_sees);
    suite_add_tcase(s, c);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
