/*
 * format/sasl: PLAIN messages (RFC 4616) and Base64 (RFC 4648).
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "format/sasl.h"

static struct buf authzid = BUF_INIT(255), user = BUF_INIT(255), password = BUF_INIT(255);

static int
plain(const char *msg, size_t len)
{
    return sasl_plain_parse(msg, len, &authzid, &user, &password);
}

/* RFC 4616 4, its examples. */
START_TEST(plain_messages)
{
    ck_assert_int_eq(plain("\0tim\0tanstaaftanstaaf", 21), 0);
    ck_assert_str_eq(buf_str(&authzid), "");
    ck_assert_str_eq(buf_str(&user), "tim");
    ck_assert_str_eq(buf_str(&password), "tanstaaftanstaaf");
    ck_assert_int_eq(plain("Ursel\0Kurt\0xipj3plmq", 20), 0);
    ck_assert_str_eq(buf_str(&authzid), "Ursel");
    ck_assert_str_eq(buf_str(&user), "Kurt");
    ck_assert_str_eq(buf_str(&password), "xipj3plmq");
}
END_TEST

START_TEST(malformed_plain_messages)
{
    char big[600];

    ck_assert_int_eq(plain("", 0), ERR_SYNTAX);
    ck_assert_int_eq(plain("abc", 3), ERR_SYNTAX);
    ck_assert_int_eq(plain("\0abc", 4), ERR_SYNTAX);
    ck_assert_int_eq(plain("\0\0abc", 5), ERR_SYNTAX);
    ck_assert_int_eq(plain("\0abc\0", 5), ERR_SYNTAX);
    ck_assert_int_eq(plain("\0a\0b\0", 5), ERR_SYNTAX);
    ck_assert_int_eq(plain("\0\0\0", 3), ERR_SYNTAX);
    memset(big, 'x', sizeof big);
    big[0] = big[4] = '\0';
    ck_assert_int_eq(plain(big, sizeof big), ERR_LIMIT);
}
END_TEST

/* RFC 4648 10. */
START_TEST(base64_vectors)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    struct buf out = BUF_INIT(100);
    size_t i;

    for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        buf_reset(&out);
        base64_encode(pairs[i][0], strlen(pairs[i][0]), &out);
        ck_assert_str_eq(buf_str(&out), pairs[i][1]);
        buf_reset(&out);
        ck_assert_int_eq(base64_decode(pairs[i][1], strlen(pairs[i][1]), &out), 0);
        ck_assert_str_eq(buf_str(&out), pairs[i][0]);
    }
    buf_free(&out);
}
END_TEST

START_TEST(base64_is_strict)
{
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",  "Zh==", "Zm9=",  "====",     "Zg==Zg==", "Zm 9v",    "Zm9v\n",
        "Zm9-", "=m9v", "Z=9v", "Zm=v", "Zg===", "Zm9vZg=a", "*",        "Zg==\r\n", "Zm9v="};
    struct buf out = BUF_INIT(100), small = BUF_INIT(2);
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf_reset(&out);
        ck_assert_msg(base64_decode(bad[i], strlen(bad[i]), &out) == ERR_SYNTAX, "%s", bad[i]);
    }
    ck_assert_int_eq(base64_decode("Zm9v", 4, &small), ERR_LIMIT);
    buf_reset(&small);
    ck_assert_int_eq(base64_decode("Zm8=", 4, &small), 0);
    buf_free(&out);
    buf_free(&small);
}
END_TEST

START_TEST(base64_round_trip_of_random_octets)
{
    struct buf text = BUF_INIT(1000), out = BUF_INIT(1000);
    unsigned char octets[64];
    unsigned round;
    size_t i, n;

    srand(1);
    for (round = 0; round < 20000; round++) {
        n = (size_t)rand() % sizeof octets;
        for (i = 0; i < n; i++)
            octets[i] = (unsigned char)rand();
        buf_reset(&text);
        buf_reset(&out);
        base64_encode(octets, n, &text);
        ck_assert_int_eq(base64_decode(text.data, text.len, &out), 0);
        ck_assert_uint_eq(out.len, n);
        ck_assert(n == 0 || memcmp(out.data, octets, n) == 0);
    }
    buf_free(&text);
    buf_free(&out);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sasl");
    TCase *t = tcase_create("sasl");
    SRunner *runner;
    int failed;

    tcase_add_test(t, plain_messages);
    tcase_add_test(t, malformed_plain_messages);
    tcase_add_test(t, base64_vectors);
    tcase_add_test(t, base64_is_strict);
    tcase_add_test(t, base64_round_trip_of_random_octets);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    buf_free(&authzid);
    buf_free(&user);
    buf_free(&password);
    return failed == 0 ? 0 : 1;
}
