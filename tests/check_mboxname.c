/*
 * format/mboxname: names between client and disk, modified UTF-7 (RFC 3501 5.1.3), LIST
 * patterns (RFC 3501 6.3.8).
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "format/mboxname.h"
#include "valgrind_test.h"

static char result[1024];

/* The internal name, or "E<code>". */
static const char *
internal(char separator, const char *prefix, const char *name, bool strict)
{
    struct mboxname_rules r = {separator, prefix};
    struct buf out = BUF_INIT(sizeof result - 1);
    int err = mboxname_from_client(&r, name, strlen(name), strict, &out, NULL);

    if (err < 0)
        buf_addf(&out, "E%d", err);
    memcpy(result, buf_str(&out), out.len + 1);
    buf_free(&out);
    return result;
}

static const char *
client(char separator, const char *prefix, const char *name)
{
    struct mboxname_rules r = {separator, prefix};
    struct buf out = BUF_INIT(sizeof result - 1);

    mboxname_to_client(&r, name, &out);
    memcpy(result, buf_str(&out), out.len + 1);
    buf_free(&out);
    return result;
}

START_TEST(separators)
{
    ck_assert_str_eq(internal('.', "", "Archive.2020", true), "Archive.2020");
    ck_assert_str_eq(internal('/', "", "Archive/2020", true), "Archive.2020");
    ck_assert_str_eq(internal('/', "", "Archive.2020", true), "E-17");
    ck_assert_str_eq(internal('.', "", "Archive/2020", true), "E-17");
    ck_assert_str_eq(client('/', "", "Archive.2020"), "Archive/2020");
    ck_assert_str_eq(client('.', "", "Archive.2020"), "Archive.2020");
}
END_TEST

/* RFC 3501 5.1: INBOX in any case; ours: also as first level. */
START_TEST(inbox_in_any_case)
{
    ck_assert_str_eq(internal('.', "", "inbox", true), "INBOX");
    ck_assert_str_eq(internal('.', "", "InBoX.sub", true), "INBOX.sub");
    ck_assert_str_eq(internal('/', "", "inbox/sub", true), "INBOX.sub");
    ck_assert_str_eq(internal('.', "", "inboxes", true), "inboxes");
    ck_assert_str_eq(internal('.', "", "x.inbox", true), "x.inbox");
}
END_TEST

START_TEST(prefix)
{
    ck_assert_str_eq(internal('.', "INBOX.", "INBOX.x", true), "x");
    ck_assert_str_eq(internal('.', "INBOX.", "inbox.x.y", true), "x.y");
    ck_assert_str_eq(internal('/', "INBOX/", "INBOX/x/y", true), "x.y");
    ck_assert_str_eq(internal('.', "INBOX.", "INBOX", true), "INBOX");
    ck_assert_str_eq(internal('.', "INBOX.", "inbox.", true), "INBOX");
    ck_assert_str_eq(internal('.', "INBOX.", "x", true), "E-8");
    ck_assert_str_eq(internal('.', "INBOX.", "INBOXx", true), "E-8");
    ck_assert_str_eq(internal('.', "INBOX.", "INBOX.INBOX", true), "E-17");
    ck_assert_str_eq(internal('.', "INBOX.", "INBOX.inbox", false), "E-17");
    ck_assert_str_eq(internal('/', "Mail/", "Mail/x", true), "x");
    ck_assert_str_eq(internal('/', "Mail/", "mail/x", true), "E-8");
    ck_assert_str_eq(client('.', "INBOX.", "x.y"), "INBOX.x.y");
    ck_assert_str_eq(client('.', "INBOX.", "INBOX"), "INBOX");
    ck_assert_str_eq(client('/', "INBOX/", "x.y"), "INBOX/x/y");
}
END_TEST

START_TEST(trailing_separator_is_cut)
{
    struct mboxname_rules r = {'/', ""};
    struct buf out = BUF_INIT(300);
    bool trailing;

    ck_assert_int_eq(mboxname_from_client(&r, "a/b/", 4, true, &out, &trailing), 0);
    ck_assert(trailing);
    ck_assert_str_eq(buf_str(&out), "a.b");
    ck_assert_int_eq(mboxname_from_client(&r, "a/b", 3, true, &out, &trailing), 0);
    ck_assert(!trailing);
    ck_assert_int_eq(mboxname_from_client(&r, "a//", 3, true, &out, &trailing), ERR_CANNOT);
    buf_free(&out);
}
END_TEST

/* What could leave the Maildir, or be read otherwise by others. */
START_TEST(names_that_cannot_be)
{
    static const char *const bad[] = {"",   "/",    ".",      "..",    "a..b", ".a",
                                      "a.", "../x", "a/../b", "a/./b", "a//b", "/a",
                                      "~",  "a/~",  "a\tb",   "a\x7f", "\x01"};
    char longname[300];
    struct mboxname_rules r = {'/', ""};
    struct buf out = BUF_INIT(1000);
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(strcmp(internal('/', "", bad[i], false), "E-17") == 0, "%s", bad[i]);
        ck_assert_msg(strcmp(internal('/', "", bad[i], true), "E-17") == 0, "%s", bad[i]);
    }
    ck_assert_int_eq(mboxname_from_client(&r, "a\0b", 3, false, &out, NULL), ERR_CANNOT);
    memset(longname, 'x', sizeof longname);
    ck_assert_int_eq(mboxname_from_client(&r, longname, MBOXNAME_MAX, true, &out, NULL), 0);
    ck_assert_int_eq(mboxname_from_client(&r, longname, MBOXNAME_MAX + 1, true, &out, NULL),
                     ERR_CANNOT);
    ck_assert_uint_eq(out.len, 0);
    buf_free(&out);
}
END_TEST

/* A folder that another program made with a bad name can be reached, but not made here. */
START_TEST(bad_utf7_is_refused_only_for_new_names)
{
    ck_assert_str_eq(internal('/', "", "a&b", true), "E-6");
    ck_assert_str_eq(internal('/', "", "a&b", false), "a&b");
    ck_assert_str_eq(internal('/', "", "a\xc3\xa4", true), "E-6");
    ck_assert_str_eq(internal('/', "", "a\xc3\xa4", false), "a\xc3\xa4");
    ck_assert_str_eq(internal('/', "", "&AOQ-", true), "&AOQ-");
}
END_TEST

static const char *
decoded(const char *in)
{
    struct buf out = BUF_INIT(sizeof result - 1);
    int err = mutf7_to_utf8(in, strlen(in), &out);

    if (err < 0) {
        buf_reset(&out);
        buf_addf(&out, "E%d", err);
    }
    memcpy(result, buf_str(&out), out.len + 1);
    buf_free(&out);
    return result;
}

static const char *
encoded(const char *in)
{
    struct buf out = BUF_INIT(sizeof result - 1);
    int err = mutf7_from_utf8(in, strlen(in), &out);

    if (err < 0) {
        buf_reset(&out);
        buf_addf(&out, "E%d", err);
    }
    memcpy(result, buf_str(&out), out.len + 1);
    buf_free(&out);
    return result;
}

/* RFC 3501 5.1.3 with its example. */
START_TEST(modified_utf7)
{
    static const struct {
        const char *utf7, *utf8;
    } pairs[] = {
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
         "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"a&-b", "a&b"},
        {"&AOQ-", "\xc3\xa4"},
        {"&AOQA9gD8-", "\xc3\xa4\xc3\xb6\xc3\xbc"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"&AOQ-&-", "\xc3\xa4&"},
        {"&AOQ--", "\xc3\xa4-"},
        {"", ""},
    };
    size_t i;

    for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        ck_assert_str_eq(decoded(pairs[i].utf7), pairs[i].utf8);
        ck_assert_str_eq(encoded(pairs[i].utf8), pairs[i].utf7);
    }
}
END_TEST

/* Two spellings of a name would be two folders to one client and one to another. */
START_TEST(modified_utf7_is_strict)
{
    static const char *const bad[] = {
        "&",        "&AOQ",  "a&b",        "&A-",   "&AO-",     "&AOR-",      "&AGE-",
        "&ACY-",    "&AAo-", "&2D0-",      "&3gA-", "&2D3YPQ-", "&AOQ-&APY-", "\x80",
        "\xc3\xa4", "&AO/-", "&AOQAAAAA-", "a\nb",  "&AAA-",    "&AOQ=-",     "&AH8-",
    };
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(strcmp(decoded(bad[i]), "E-6") == 0, "%s", bad[i]);
    ck_assert_str_eq(encoded("\xc3"), "E-6");
    ck_assert_str_eq(encoded("\xed\xa0\x80"), "E-6");
    ck_assert_str_eq(encoded("\xc0\xaf"), "E-6");
    ck_assert_str_eq(encoded("a\nb"), "E-6");
}
END_TEST

/* What decodes, encodes to the same octets: there's one spelling only. */
START_TEST(modified_utf7_round_trip)
{
    static const char some[] = "&&AOQ-2D3eAap,+~/";
    struct buf utf8 = BUF_INIT(1000), again = BUF_INIT(1000);
    char in[24];
    unsigned round, rounds = repeats(300000), good = 0;
    size_t i, n;

    srand(3);
    for (round = 0; round < rounds; round++) {
        n = (size_t)rand() % 12;
        for (i = 0; i < n; i++)
            in[i] = some[(size_t)rand() % (sizeof some - 1)];
        buf_reset(&utf8);
        buf_reset(&again);
        if (mutf7_to_utf8(in, n, &utf8) < 0)
            continue;
        good++;
        ck_assert_int_eq(mutf7_from_utf8(utf8.data, utf8.len, &again), 0);
        ck_assert_uint_eq(again.len, n);
        ck_assert(n == 0 || memcmp(again.data, in, n) == 0);
    }
    ck_assert_uint_gt(good, 1000);
    buf_free(&utf8);
    buf_free(&again);
}
END_TEST

/* As typed in a shell or a recipe. */
START_TEST(names_from_text)
{
    static const struct {
        const char *prefix, *text, *internal; /* NULL: none */
    } cases[] = {
        {"", "Lists.dev", "Lists.dev"},
        {"", "inbox", "INBOX"},
        {"", "Entw\303\274rfe", "Entw&APw-rfe"},
        {"", "Entw&APw-rfe", "Entw&APw-rfe"},
        {"", "R&D", "R&-D"},
        {"", "R&-D", "R&-D"},
        {"", "&AGE-", "&-AGE-"}, /* superfluous: no modified UTF-7, so it's text */
        {"", "bad\377", NULL},
        {"", "", NULL},
        {"", "..", NULL},
        {"", "a..b", NULL},
        {"", "../x", NULL},
        {"", "a/b", NULL},
        {"", "a\nb", NULL},
        {"INBOX.", "INBOX.Work", "Work"},
        {"INBOX.", "Work", "Work"},
        {"INBOX.", "INBOX", "INBOX"},
    };
    struct buf out = BUF_INIT(MBOXNAME_MAX + 1);
    char longest[MBOXNAME_MAX + 2];
    struct mboxname_rules r;
    size_t i;
    int err;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        r = (struct mboxname_rules){.separator = '.', .prefix = cases[i].prefix};
        err = mboxname_from_text(&r, cases[i].text, &out);
        ck_assert_msg((err == 0) == (cases[i].internal != NULL), "%s: %d", cases[i].text, err);
        if (err == 0)
            ck_assert_str_eq(buf_str(&out), cases[i].internal);
        else
            ck_assert_int_ne(err, ERR_NOENT);
    }
    memset(longest, 'x', sizeof longest);
    longest[MBOXNAME_MAX + 1] = '\0';
    ck_assert_int_eq(mboxname_from_text(&r, longest, &out), ERR_CANNOT);
    longest[MBOXNAME_MAX] = '\0';
    ck_assert_int_eq(mboxname_from_text(&r, longest, &out), 0);
    buf_free(&out);
}
END_TEST

START_TEST(patterns)
{
    ck_assert_uint_eq(mboxname_match("*", "a/b", '/'), MATCH_YES | MATCH_CHILD);
    ck_assert_uint_eq(mboxname_match("%", "a", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("%", "a/b", '/'), MATCH_CHILD);
    ck_assert_uint_eq(mboxname_match("%/%", "a", '/'), MATCH_PARENT);
    ck_assert_uint_eq(mboxname_match("%/%", "a/b", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("%/%", "a/b/c", '/'), MATCH_CHILD);
    ck_assert_uint_eq(mboxname_match("a/*", "a", '/'), MATCH_PARENT);
    ck_assert_uint_eq(mboxname_match("a/*", "a/b", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("a*", "ab/c", '/'), MATCH_YES | MATCH_CHILD);
    ck_assert_uint_eq(mboxname_match("a/b", "a/b/c", '/'), MATCH_CHILD);
    ck_assert_uint_eq(mboxname_match("a/", "a", '/'), MATCH_NO);
    ck_assert_uint_eq(mboxname_match("", "a", '/'), MATCH_NO);
    ck_assert_uint_eq(mboxname_match("a%", "abc", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("%c", "abc", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("*c", "ab", '/'), MATCH_PARENT);
    ck_assert_uint_eq(mboxname_match("b*", "ab", '/'), MATCH_NO);
    ck_assert_uint_eq(mboxname_match("A", "a", '/'), MATCH_NO);
}
END_TEST

START_TEST(inbox_matches_in_any_case)
{
    ck_assert_uint_eq(mboxname_match("inbox", "INBOX", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("INBOX", "Inbox", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("i%x", "INBOX", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("inbox/%", "INBOX/a", '/'), MATCH_YES);
    ck_assert_uint_eq(mboxname_match("inbox/A", "INBOX/a", '/'), MATCH_NO);
    ck_assert_uint_eq(mboxname_match("inboxes", "INBOXES", '/'), MATCH_NO);
}
END_TEST

/* The plain definition, exponential. */
static bool
naive(const char *p, const char *s)
{
    if (*p == '\0')
        return *s == '\0';
    if (*p == '*' || *p == '%')
        return naive(p + 1, s) || (*s != '\0' && (*p == '*' || *s != '/') && naive(p, s + 1));
    return *s == *p && naive(p + 1, s + 1);
}

START_TEST(patterns_agree_with_the_definition)
{
    static const char in_pattern[] = "ab/*%", in_name[] = "ab/";
    char pattern[10], name[10], head[10];
    unsigned round, rounds = repeats(200000);

    srand(11);
    for (round = 0; round < rounds; round++) {
        size_t i, n = (size_t)rand() % 8, m = 1 + (size_t)rand() % 7;
        bool child = false;
        unsigned got;

        for (i = 0; i < n; i++)
            pattern[i] = in_pattern[(size_t)rand() % 5];
        pattern[n] = '\0';
        for (i = 0; i < m; i++)
            name[i] = in_name[(size_t)rand() % 3];
        name[m] = '\0';
        for (i = 1; i < m; i++) {
            memcpy(head, name, i);
            head[i] = '\0';
            child |= name[i] == '/' && naive(pattern, head);
        }
        got = mboxname_match(pattern, name, '/');
        ck_assert_msg(!!(got & MATCH_YES) == naive(pattern, name), "%s %s", pattern, name);
        ck_assert_msg(!!(got & MATCH_CHILD) == child, "%s %s: child", pattern, name);
    }
}
END_TEST

/* MATCH_PARENT: some name below this one matches; tried with every short tail. */
START_TEST(parents_agree_with_the_definition)
{
    static const char in_pattern[] = "ab/*%", in_name[] = "ab/";
    char pattern[8], name[16];
    unsigned round;

    srand(12);
    for (round = 0; round < 3000; round++) {
        size_t i, n = (size_t)rand() % 6, m = 1 + (size_t)rand() % 3, len, k;
        bool below = false;
        unsigned code;

        for (i = 0; i < n; i++)
            pattern[i] = in_pattern[(size_t)rand() % 5];
        pattern[n] = '\0';
        for (i = 0; i < m; i++)
            name[i] = in_name[(size_t)rand() % 3];
        name[m] = '/';
        for (len = 1; len <= 6 && !below; len++) {
            unsigned all = 1;

            for (k = 0; k < len; k++)
                all *= 3;
            for (code = 0; code < all && !below; code++) {
                unsigned c = code;

                for (k = 0; k < len; k++, c /= 3)
                    name[m + 1 + k] = in_name[c % 3];
                name[m + 1 + len] = '\0';
                below = naive(pattern, name);
            }
        }
        name[m] = '\0';
        if (naive(pattern, name))
            below = false;
        ck_assert_msg(!!(mboxname_match(pattern, name, '/') & MATCH_PARENT) == below, "%s %s",
                      pattern, name);
    }
}
END_TEST

/* A pattern that stops a matcher with backtracking for years. */
START_TEST(hostile_patterns_are_quick)
{
    char pattern[4001], name[241];
    size_t i;

    for (i = 0; i < 4000; i++)
        pattern[i] = i % 2 == 0 ? '*' : 'a';
    pattern[3998] = 'b';
    pattern[4000] = '\0';
    memset(name, 'a', 240);
    name[240] = '\0';
    for (i = 0; i < 100; i++)
        mboxname_match(pattern, name, '/');
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("mboxname");
    TCase *t = tcase_create("mboxname");
    SRunner *runner;
    int failed;

    tcase_set_timeout(t, 60);
    tcase_add_test(t, separators);
    tcase_add_test(t, inbox_in_any_case);
    tcase_add_test(t, prefix);
    tcase_add_test(t, trailing_separator_is_cut);
    tcase_add_test(t, names_that_cannot_be);
    tcase_add_test(t, bad_utf7_is_refused_only_for_new_names);
    tcase_add_test(t, modified_utf7);
    tcase_add_test(t, modified_utf7_is_strict);
    tcase_add_test(t, modified_utf7_round_trip);
    tcase_add_test(t, names_from_text);
    tcase_add_test(t, patterns);
    tcase_add_test(t, inbox_matches_in_any_case);
    tcase_add_test(t, patterns_agree_with_the_definition);
    tcase_add_test(t, parents_agree_with_the_definition);
    tcase_add_test(t, hostile_patterns_are_quick);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
