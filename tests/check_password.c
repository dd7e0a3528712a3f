/*
 * Password schemes against values that other programs made (Python's hashlib and crypt, RFC
 * 1939's example for APOP).
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "auth/password.h"

#define RIGHT "Sesam, öffne dich"
#define WRONG "Tisch, öffne dich"

/* All of the same password. */
static const char *const hashes[] = {
    "{SHA}vJTKJoQ6ccf0zSo+PpCLVsVDWhg=",
    "{SHA1}vJTKJoQ6ccf0zSo+PpCLVsVDWhg=",
    "{SHA256}yJSTBjXUOd8VRqdVZrOyB9/dwibn2XI8nTh2GDT96N4=",
    "{SHA512}iPcU1alme4TRli7a1p88J7Hqy5Oy9yb/3rh37oJ/qB0k//"
    "vB4fRh3HiNbZq8jEV5M39Ikrr2MLMChrsrfuFasQ==",
    "{LDAP-MD5}HevmRKC59LTYeLyd4HmQ1A==",
    "{SHA.HEX}bc94ca26843a71c7f4cd2a3e3e908b56c5435a18",
    "{SHA256.HEX}c894930635d439df1546a75566b3b207dfddc226e7d9723c9d38761834fde8de",
    "{SHA512}"
    "88f714d5a9667b84d1962edad69f3c27b1eacb93b2f726ffdeb877ee827fa81d24fffbc1e1f461dc788d6d9abc"
    "8c4579337f4892baf630b30286bb2b7ee15ab1",
    "{PLAIN-MD5}1debe644a0b9f4b4d878bc9de07990d4",
    "{MD5}1debe644a0b9f4b4d878bc9de07990d4",
    "{sha256}c894930635d439df1546a75566b3b207dfddc226e7d9723c9d38761834fde8de",
    "{SHA256.hex}C894930635D439DF1546A75566B3B207DFDDC226E7D9723C9D38761834FDE8DE",
    "{SHA512.B64}iPcU1alme4TRli7a1p88J7Hqy5Oy9yb/3rh37oJ/qB0k//"
    "vB4fRh3HiNbZq8jEV5M39Ikrr2MLMChrsrfuFasQ==",
    "{SHA512.BASE64}iPcU1alme4TRli7a1p88J7Hqy5Oy9yb/3rh37oJ/qB0k//"
    "vB4fRh3HiNbZq8jEV5M39Ikrr2MLMChrsrfuFasQ==",
    "{SSHA}Z/ztT9t1ln1vkpnrET6HaNi0Jp8BAnNhbHT/",
    "{SSHA256}Rk0JfPlyBB21YxaqLDWrM0Q0fCEH8tXjeP2oaUONq3gBAnNhbHT/",
    "{SSHA512}M/Reo8oRyDkDJwdnuwYPXnEo/3XJtyrm48Vcph9RJYZU1ryPjnpL8hBXnMkMnKS/zDOMYx/"
    "L4tywBuqRmQpHKAECc2FsdP8=",
    "{SMD5}fhdMY2GsmdixJJ+I++cGXgECc2FsdP8=",
    "{SSHA256.HEX}"
    "464d097cf972041db56316aa2c35ab3344347c2107f2d5e378fda869438dab78010273616c74ff",
    "$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1",
    "{CRYPT}$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1",
    "$5$rounds=1000$abcdefgh$NDoB3vH91R.pQ0owtzT3.3A6DTVxBvEtg.cmYo1rW5.",
    "{CRYPT}$5$rounds=1000$abcdefgh$NDoB3vH91R.pQ0owtzT3.3A6DTVxBvEtg.cmYo1rW5.",
    "$6$rounds=1000$abcdefgh$SxNKlb7VFonzZ0rKk8Ot3mem."
    "r9Dxd6vzS7JYn1dgJYcOl6XQlgR1TlrKWuW1FRi1omUd.EpPHkCnelYO2aW21",
    "{CRYPT}$6$rounds=1000$abcdefgh$SxNKlb7VFonzZ0rKk8Ot3mem."
    "r9Dxd6vzS7JYn1dgJYcOl6XQlgR1TlrKWuW1FRi1omUd.EpPHkCnelYO2aW21",
    "$2a$04$abcdefghijklmnopqrstuuinIdtcbuAjMh2c3oxBEU/ZOHGw6HrJi",
    "{CRYPT}$2a$04$abcdefghijklmnopqrstuuinIdtcbuAjMh2c3oxBEU/ZOHGw6HrJi",
    "$2b$04$abcdefghijklmnopqrstuuinIdtcbuAjMh2c3oxBEU/ZOHGw6HrJi",
    "{CRYPT}$2b$04$abcdefghijklmnopqrstuuinIdtcbuAjMh2c3oxBEU/ZOHGw6HrJi",
    "$2y$04$abcdefghijklmnopqrstuuinIdtcbuAjMh2c3oxBEU/ZOHGw6HrJi",
    "{CRYPT}$2y$04$abcdefghijklmnopqrstuuinIdtcbuAjMh2c3oxBEU/ZOHGw6HrJi",
    "$y$j75$abcdefgh$G/zHY1gTSCOOhzHfURAnymc/usD879H7enGhhtMnOr4",
    "{CRYPT}$y$j75$abcdefgh$G/zHY1gTSCOOhzHfURAnymc/usD879H7enGhhtMnOr4",
    "$gy$j75$abcdefgh$6UE1nB.GYiZzVc7ruygFruMMz7U11GArtFmguG3tC95",
    "{CRYPT}$gy$j75$abcdefgh$6UE1nB.GYiZzVc7ruygFruMMz7U11GArtFmguG3tC95",
    "abX9.vVB51f4E",
    "{SHA512-CRYPT}$6$rounds=1000$abcdefgh$SxNKlb7VFonzZ0rKk8Ot3mem."
    "r9Dxd6vzS7JYn1dgJYcOl6XQlgR1TlrKWuW1FRi1omUd.EpPHkCnelYO2aW21",
    "{SHA256-CRYPT}$5$rounds=1000$abcdefgh$NDoB3vH91R.pQ0owtzT3.3A6DTVxBvEtg.cmYo1rW5.",
    "{MD5-CRYPT}$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1",
    "{MD5}$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1",
    "{BLF-CRYPT}$2y$04$abcdefghijklmnopqrstuuinIdtcbuAjMh2c3oxBEU/ZOHGw6HrJi",
    "{YESCRYPT}$y$j75$abcdefgh$G/zHY1gTSCOOhzHfURAnymc/usD879H7enGhhtMnOr4",
    "{DES-CRYPT}abX9.vVB51f4E",
    "{PLAIN}Sesam, öffne dich",
    "{cleartext}Sesam, öffne dich",
    "{PLAIN.B64}U2VzYW0sIMO2ZmZuZSBkaWNo",
    "{PLAIN.HEX}536573616d2c20c3b666666e652064696368",
    "{CRYPT.B64}"
    "JDUkcm91bmRzPTEwMDAkYWJjZGVmZ2gkTkRvQjN2SDkxUi5wUTBvd3R6VDMuM0E2RFRWeEJ2RXRnLmNtWW8xclc1Lg"
    "==",
    "$7$6U..../....abcdefgh$MMhQXtvl.CSp2Iwvk0trHyYiQ/SZnpCPI8BAKeXg7p0",
};

START_TEST(test_scheme)
{
    const char *hash = hashes[_i];
    char longer[] = RIGHT "x";

    ck_assert_msg(password_is_usable(hash), "%s", hash);
    ck_assert_msg(password_verify(hash, RIGHT, strlen(RIGHT)), "%s", hash);
    ck_assert_msg(!password_verify(hash, WRONG, strlen(WRONG)), "%s", hash);
    ck_assert_msg(!password_verify(hash, RIGHT, 3), "%s", hash);
    ck_assert_msg(!password_verify(hash, "", 0), "%s", hash);
    /* traditional DES looks at eight octets only */
    if (strstr(hash, "abX9") == NULL)
        ck_assert_msg(!password_verify(hash, longer, strlen(longer)), "%s", hash);
    password_verify_nobody(hash, RIGHT, strlen(RIGHT));
}
END_TEST

/* What locks an account, or makes no sense, matches nothing. */
static const char *const useless[] = {
    "",
    "!",
    "*",
    "x",
    "*0",
    "!!",
    RIGHT,
    "{",
    "{}",
    "{}" RIGHT,
    "{PLAIN",
    "{UNKNOWN}" RIGHT,
    "{PLAIN.XML}" RIGHT,
    "{CRYPT}",
    "{CRYPT}*",
    "{CRYPT}x",
    "!$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1",
    "{CRYPT}!$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1",
    "{SHA}",
    "{SHA}vJTKJoQ6ccf0zSo+PpCLVsVDWg==",
    "{SHA}vJTKJoQ6ccf0zSo+PpCLVsVDWhg",
    "{SHA.HEX}bc94ca26843a71c7f4cd2a3e3e908b56c5435a1",
    "{SHA.HEX}bc94ca26843a71c7f4cd2a3e3e908b56c5435a1x",
    "{SSHA}vJTKJoQ6ccf0zSo+PpCLVsVDWhg=", /* no salt behind the digest */
    "{SSHA256}AQ==",
    "{SMD5}AQ==",
    "{PLAIN.B64}%%%",
    "{CRYPT.B64}AQ==",
};

START_TEST(test_useless)
{
    const char *hash = useless[_i];

    ck_assert_msg(!password_is_usable(hash), "%s", hash);
    ck_assert_msg(!password_verify(hash, RIGHT, strlen(RIGHT)), "%s", hash);
    ck_assert_msg(!password_verify(hash, hash, strlen(hash)), "%s", hash);
    ck_assert_msg(!password_verify(hash, "", 0), "%s", hash);
}
END_TEST

/* Empty texts never let anybody in, nor what a C string would cut off. */
START_TEST(test_impossible_passwords)
{
    char longest[4096];

    ck_assert(!password_verify("{PLAIN}", "", 0));
    ck_assert(!password_verify("{PLAIN}abc", "abc\0", 4));
    ck_assert(!password_verify("{PLAIN}abc", "abc\0def", 7));
    ck_assert(
        !password_verify("$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1", RIGHT "\0x", strlen(RIGHT) + 2));
    memset(longest, 'a', sizeof longest);
    ck_assert(!password_verify("{PLAIN}a", longest, sizeof longest));
    ck_assert(!password_verify("$1$abcdefgh$ac5Dmo8N/JSVverlhvOiI1", longest, 1023));
    longest[sizeof longest - 1] = '\0';
    ck_assert(!password_verify(longest, "a", 1));
}
END_TEST

START_TEST(test_slow)
{
    ck_assert(password_is_slow("$6$rounds=1000$abcdefgh$x12345678901234567890"));
    ck_assert(password_is_slow("{CRYPT}abX9.vVB51f4E"));
    ck_assert(password_is_slow("!"));
    ck_assert(password_is_slow(""));
    ck_assert(!password_is_slow("{PLAIN}a"));
    ck_assert(
        !password_is_slow("{SSHA256}Rk0JfPlyBB21YxaqLDWrM0Q0fCEH8tXjeP2oaUONq3gBAnNhbHT/"));
}
END_TEST

START_TEST(test_hash)
{
    static const struct {
        const char *scheme, *prefix;
    } made[] = {{NULL, "$y$"},           {"YESCRYPT", "$y$"},     {"yescrypt", "$y$"},
                {"SHA512-CRYPT", "$6$"}, {"SHA256-CRYPT", "$5$"}, {"BLF-CRYPT", "$2b$10$"},
                {"PLAIN", "{PLAIN}"}};
    char *a, *b;

    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        a = password_hash(made[i].scheme, RIGHT);
        b = password_hash(made[i].scheme, RIGHT);
        ck_assert_ptr_nonnull(a);
        ck_assert(strncmp(a, made[i].prefix, strlen(made[i].prefix)) == 0);
        ck_assert(password_verify(a, RIGHT, strlen(RIGHT)));
        ck_assert(!password_verify(a, WRONG, strlen(WRONG)));
        if (made[i].prefix[0] == '$')
            ck_assert_str_ne(a, b); /* a new salt each time */
        free(a);
        free(b);
    }
    ck_assert_ptr_null(password_hash("MD5", RIGHT));
    ck_assert_ptr_null(password_hash(NULL, ""));
    ck_assert_ptr_null(password_hash("PLAIN", "a:b"));
    ck_assert_ptr_null(password_hash("PLAIN", "a\nb"));
}
END_TEST

/* RFC 1939 7, APOP: the example. */
START_TEST(test_apop)
{
    static const char challenge[] = "<1896.697170952@dbc.mtview.ca.us>";
    static const char digest[] = "c4c9334bac560ecc979e58001b3e22fb";

    ck_assert(password_apop("tanstaaf", challenge, digest, 32));
    ck_assert(password_apop("tanstaaf", challenge, "C4C9334BAC560ECC979E58001B3E22FB", 32));
    ck_assert(!password_apop("tanstaaf", challenge, digest, 31));
    ck_assert(!password_apop("tanstaaf", challenge, digest, 30));
    ck_assert(!password_apop("tanstaaf", challenge, "", 0));
    ck_assert(!password_apop("tanstaax", challenge, digest, 32));
    ck_assert(!password_apop("", challenge, digest, 32));
    ck_assert(!password_apop("tanstaaf", challenge,
                             "c4c9334bac560ecc979e58001b3e22fbc4c9334bac560ecc979e58001b3e22fb",
                             64));
    ck_assert_str_eq(password_plain_text("{PLAIN}secret"), "secret");
    ck_assert_str_eq(password_plain_text("{cleartext}secret"), "secret");
    ck_assert_ptr_null(password_plain_text("{PLAIN.B64}c2VjcmV0"));
    ck_assert_ptr_null(password_plain_text("secret"));
}
END_TEST

START_TEST(test_secret)
{
    char a[] = "abc";

    ck_assert(secret_equal("abc", "abc", 3));
    ck_assert(!secret_equal("abc", "abd", 3));
    ck_assert(secret_equal("abc", "abd", 2));
    secret_wipe(a, sizeof a);
    ck_assert_mem_eq(a, "\0\0\0\0", 4);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("password");
    TCase *t = tcase_create("password");
    SRunner *runner;
    int failed;

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, test_scheme, 0, (int)(sizeof hashes / sizeof hashes[0]));
    tcase_add_loop_test(t, test_useless, 0, (int)(sizeof useless / sizeof useless[0]));
    tcase_add_test(t, test_impossible_passwords);
    tcase_add_test(t, test_slow);
    tcase_add_test(t, test_hash);
    tcase_add_test(t, test_apop);
    tcase_add_test(t, test_secret);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
