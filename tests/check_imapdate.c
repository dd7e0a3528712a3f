/*
 * format/imapdate: dates of IMAP (RFC 3501 9) and of message headers (RFC 5322 3.3, 4.3).
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "format/imapdate.h"

static int64_t
datetime(const char *s)
{
    int64_t t = -1;
    int err = imapdate_parse_datetime(s, strlen(s), &t);

    return err < 0 ? err : t;
}

static int
date(const char *s)
{
    int32_t days = -1;
    int err = imapdate_parse_date(s, strlen(s), &days);

    return err < 0 ? err : days;
}

static int64_t
mail(const char *s)
{
    int64_t t;
    int32_t day;

    return maildate_parse(s, strlen(s), &t, &day) < 0 ? -1 : t;
}

static int32_t
mail_day(const char *s)
{
    int64_t t;
    int32_t day;

    return maildate_parse(s, strlen(s), &t, &day) < 0 ? -1 : day;
}

/* RFC 3501 9: date-time; date-day-fixed is a blank and a digit, or two digits. */
START_TEST(date_time)
{
    ck_assert_int_eq(datetime("17-Jul-1996 02:44:25 -0700"), 837596665);
    ck_assert_int_eq(datetime(" 1-Feb-2024 10:00:00 +0100"), 1706778000);
    ck_assert_int_eq(datetime("01-Feb-2024 10:00:00 +0100"), 1706778000);
    ck_assert_int_eq(datetime("1-Feb-2024 10:00:00 +0100"), 1706778000);
    ck_assert_int_eq(datetime("01-feb-2024 10:00:00 +0100"), 1706778000);
    ck_assert_int_eq(datetime("01-Jan-1970 00:00:00 +0000"), 0);
    ck_assert_int_eq(datetime("29-Feb-2000 00:00:00 +0000"), 951782400);
    ck_assert_int_eq(datetime("30-Jun-2015 23:59:60 +0000"), 1435708800); /* leap second */
}
END_TEST

START_TEST(date_time_errors)
{
    static const char *const syntax[] = {
        "",
        "17-Jul-1996",
        "17-Jul-1996 02:44:25",
        "17-Jul-1996 02:44:25 0700",
        "17-Jul-1996 02:44:25 -070",
        "17-Jux-1996 02:44:25 -0700",
        "17 Jul 1996 02:44:25 -0700",
        "17-Jul-1996T02:44:25 -0700",
        "17-Jul-1996 02:44:25 -0700 ",
        "  7-Jul-1996 02:44:25 -0700",
        "xx-Jul-1996 02:44:25 -0700",
    };
    static const char *const range[] = {
        "31-Feb-2024 02:44:25 -0700", "29-Feb-2023 02:44:25 -0700",
        "00-Jan-2024 02:44:25 -0700", "17-Jul-1996 24:44:25 -0700",
        "17-Jul-1996 02:60:25 -0700", "17-Jul-1996 02:44:61 -0700",
        "17-Jul-1996 02:44:25 -2400", "17-Jul-1996 02:44:25 -0060",
        "17-Jul-0000 02:44:25 -0700", "29-Feb-1900 00:00:00 +0000",
    };
    size_t i;

    for (i = 0; i < sizeof syntax / sizeof syntax[0]; i++)
        ck_assert_msg(datetime(syntax[i]) == ERR_SYNTAX, "%s", syntax[i]);
    for (i = 0; i < sizeof range / sizeof range[0]; i++)
        ck_assert_msg(datetime(range[i]) == ERR_RANGE, "%s", range[i]);
}
END_TEST

START_TEST(date_of_search)
{
    ck_assert_int_eq(date("1-Jan-1970"), 0);
    ck_assert_int_eq(date("01-Jan-1970"), 0);
    ck_assert_int_eq(date("31-Dec-1969"), -1);
    ck_assert_int_eq(date("17-nov-2024"), 20044);
    ck_assert_int_eq(date("30-Feb-2024"), ERR_RANGE);
    ck_assert_int_eq(date("1-Jan-70"), ERR_SYNTAX);
    ck_assert_int_eq(date(""), ERR_SYNTAX);
    ck_assert_int_eq(date("2024-01-01"), ERR_SYNTAX);
}
END_TEST

static void
set_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static const char *
written(int64_t t)
{
    static char text[40];
    struct buf out = BUF_INIT(sizeof text - 1);

    imapdate_write_datetime(t, &out);
    ck_assert_uint_eq(out.len, 28);
    memcpy(text, buf_str(&out), out.len + 1);
    buf_free(&out);
    return text;
}

START_TEST(writing_in_the_local_zone)
{
    set_zone("UTC");
    ck_assert_str_eq(written(837596665), "\"17-Jul-1996 09:44:25 +0000\"");
    ck_assert_str_eq(written(0), "\" 1-Jan-1970 00:00:00 +0000\"");
    set_zone("ABC7:30");
    ck_assert_str_eq(written(0), "\"31-Dec-1969 16:30:00 -0730\"");
    ck_assert_int_eq(imapdate_local_day(0), -1);
    set_zone("ABC-2");
    ck_assert_str_eq(written(951782400), "\"29-Feb-2000 02:00:00 +0200\"");
    ck_assert_int_eq(imapdate_local_day(86399), 1);
    written(INT64_MAX);
    written(INT64_MIN);
    imapdate_local_day(INT64_MAX);
    imapdate_local_day(INT64_MIN);
}
END_TEST

START_TEST(what_is_written_is_read)
{
    unsigned round;

    set_zone("ABC4:30");
    srand(9);
    for (round = 0; round < 3000; round++) {
        int64_t t = ((int64_t)rand() << 8 ^ rand()) % 100000000000 - 30000000000, back;
        const char *text = written(t);

        ck_assert_int_eq(imapdate_parse_datetime(text + 1, 26, &back), 0);
        ck_assert_int_eq(back, t);
    }
}
END_TEST

/* The calendar against the C library's. */
START_TEST(days_agree_with_timegm)
{
    int64_t t;

    for (t = -2208988800; t < 7258118400; t += 86400 * 9) {
        time_t value = (time_t)t;
        struct tm tm;
        char text[64];

        gmtime_r(&value, &tm);
        strftime(text, sizeof text, "%d-%b-%Y", &tm);
        ck_assert_int_eq(date(text), (int)(t / 86400 - (t % 86400 < 0)));
    }
}
END_TEST

START_TEST(header_dates)
{
    ck_assert_int_eq(mail("Fri, 21 Nov 1997 09:55:06 -0600"), 880127706);
    ck_assert_int_eq(mail("21 Nov 1997 09:55:06 -0600"), 880127706);
    ck_assert_int_eq(mail("Fri, 21 Nov 1997 09:55 -0600"), 880127700);
    ck_assert_int_eq(mail("Fri,21 Nov 1997 09:55:06 -0600"), 880127706);
    ck_assert_int_eq(mail("Fri 21 Nov 1997 09:55:06 -0600"), 880127706);
    ck_assert_int_eq(mail("  Fri,\r\n\t21 Nov 1997 09:55:06\r\n -0600  "), 880127706);
    ck_assert_int_eq(mail("fri, 21 nov 1997 09:55:06 -0600"), 880127706);
    ck_assert_int_eq(mail("Friday, 21 November 1997 09:55:06 -0600"), 880127706);
    ck_assert_int_eq(mail("Fri, 21 Nov 1997 09:55:06 +00:00"), 880106106);
    ck_assert_int_eq(mail("Fri, 21-Nov-97 09:55:06 GMT"), 880106106);
}
END_TEST

/* RFC 5322 3.2.2: comments between any two tokens, nested, with quoted pairs. */
START_TEST(header_dates_with_comments)
{
    ck_assert_int_eq(
        mail("Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)"),
        -27723480);
    ck_assert_int_eq(mail("(a(b)\\)c)Fri(x),(y)21(z)Nov()1997 09(q):(r)55:06 (s) -0600"),
                     880127706);
    ck_assert_int_eq(mail("Fri, 21 Nov 1997 09:55:06 (never closed -0600"), 880106106);
    ck_assert_int_eq(mail("(((((((((((((("), -1);
    ck_assert_int_eq(mail("(a\\"), -1);
}
END_TEST

/* RFC 5322 4.3: years of two and three digits, zones by name, military zones as -0000. */
START_TEST(obsolete_header_dates)
{
    ck_assert_int_eq(mail_day("21 Nov 97 09:55:06 GMT"), 10186);
    ck_assert_int_eq(mail_day("21 Nov 49 00:00 GMT"), date("21-Nov-2049"));
    ck_assert_int_eq(mail_day("21 Nov 50 00:00 GMT"), date("21-Nov-1950"));
    ck_assert_int_eq(mail_day("21 Nov 100 00:00 GMT"), date("21-Nov-2000"));
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 EST"), 880106106 + 5 * 3600);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 EDT"), 880106106 + 4 * 3600);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 pst"), 880106106 + 8 * 3600);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 MDT"), 880106106 + 6 * 3600);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 UT"), 880106106);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 A"), 880106106);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 Z"), 880106106);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06 CET"), 880106106);
    ck_assert_int_eq(mail("21 Nov 97 09:55:06"), 880106106);
    ck_assert_int_eq(mail("21 Nov 97"), 880070400);
}
END_TEST

/* SENTON and its kin: the day as written, whatever the zone. */
START_TEST(day_ignores_the_zone)
{
    ck_assert_int_eq(mail_day("Fri, 21 Nov 1997 23:59:59 -1200"), 10186);
    ck_assert_int_eq(mail_day("Fri, 21 Nov 1997 00:00:01 +1400"), 10186);
}
END_TEST

START_TEST(header_dates_that_are_none)
{
    static const char *const bad[] = {
        "",
        "Fri",
        "Fri, 21",
        "Fri, 21 Nov",
        "Fri, 21 Foo 1997 00:00",
        "yesterday",
        "1997-11-21",
        "Fri, 32 Nov 1997",
        "Fri, 0 Nov 1997",
        "31 Jun 1997 00:00 GMT",
        "21 Nov 1997 25:00 GMT",
        "21 Nov 1997 10 GMT",
        "21 Nov 1997 10:x GMT",
        "211 Nov 1997",
        "21 Nov 19971",
        "21 Nov 7",
        "21 No 1997",
    };
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(mail(bad[i]) == -1, "%s", bad[i]);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("imapdate");
    TCase *t = tcase_create("imapdate");
    SRunner *runner;
    int failed;

    tcase_add_test(t, date_time);
    tcase_add_test(t, date_time_errors);
    tcase_add_test(t, date_of_search);
    tcase_add_test(t, writing_in_the_local_zone);
    tcase_add_test(t, what_is_written_is_read);
    tcase_add_test(t, days_agree_with_timegm);
    tcase_add_test(t, header_dates);
    tcase_add_test(t, header_dates_with_comments);
    tcase_add_test(t, obsolete_header_dates);
    tcase_add_test(t, day_ignores_the_zone);
    tcase_add_test(t, header_dates_that_are_none);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
