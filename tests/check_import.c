/*
 * store/import, store/export: what Dovecot's and Courier's lists say, whole or damaged, and
 * that a folder has it after its first scan, however often that was cut short. The real servers
 * are in tests/migrate.py.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/deliver.h"
#include "store/export.h"
#include "store/folders_private.h"
#include "store/import_private.h"
#include "store_test.h"

static struct import *imp;
static int root;
static unsigned warnings;

static void
count_warning(enum log_level level, const char *line)
{
    (void)line;
    warnings += level <= LOG_LEVEL_WARN;
}

static void
setup(void)
{
    memset(&sys_hooks, 0, sizeof sys_hooks);
    store_setup();
    (void)mkdir(store_dir, 0700);
    root = open(store_dir, O_RDONLY | O_DIRECTORY);
    ck_assert_int_ge(root, 0);
    ck_assert_int_eq(maildir_make_parts(root, false), 0);
    imp = NULL;
    warnings = 0;
    log_hook = count_warning;
}

static void
teardown(void)
{
    log_hook = NULL;
    import_free(&imp);
    close(root);
    store_teardown();
}

/* Writes a file below the Maildir; its time is `age` seconds ago. */
static void
write_aged(const char *name, const void *p, size_t len, int age)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
    int file = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq((int)write(file, p, len), (int)len);
    ck_assert_int_eq(futimens(file, times), 0);
    close(file);
}

static void
write_text(const char *name, const char *text)
{
    write_aged(name, text, strlen(text), 0);
}

static void
reread(void)
{
    import_free(&imp);
    ck_assert_int_eq(import_read(root, "INBOX", &imp), 0);
}

static struct import_message
found(const char *base)
{
    struct import_message m;

    ck_assert_msg(import_find(imp, base, strlen(base), &m), "%s is in no list", base);
    return m;
}

static uint32_t
uid_of(const char *base)
{
    struct import_message m = {.uid = 0};

    (void)import_find(imp, base, strlen(base), &m);
    return m.uid;
}

/* The keywords of a message in alphabetical order, as one text. */
static const char *
keywords_of(const char *base)
{
    static char text[1000];
    struct import_message m = found(base);
    unsigned i;

    text[0] = '\0';
    for (i = 0; import_keyword(imp, i) != NULL; i++) {
        if ((m.keywords & UINT64_C(1) << i) != 0)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s ",
                     import_keyword(imp, i));
    }
    return text;
}

START_TEST(no_list_is_none)
{
    ck_assert_int_eq(import_read(root, "INBOX", &imp), ERR_NOENT);
    ck_assert_ptr_null(imp);
}
END_TEST

START_TEST(dovecot_version_3)
{
    write_text("dovecot-uidlist", "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
                                  "25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n"
                                  "25017 W2481 S2400 :1276533073.M242911P3632.kurkku:2,F\n"
                                  "25019 Oabc Puidl-1 Gfedc X :with a blank\n"
                                  "25030 :last:2,S\n");
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 1275660208);
    ck_assert_uint_eq(import_uidnext(imp), 25031); /* lines were appended */
    ck_assert_str_eq(import_guid(imp), "3085f01b7f11094c501100008c4a11c1");
    ck_assert_uint_eq(uid_of("1276528487.M364837P9451.kurkku,S=1355,W=1394"), 25006);
    ck_assert_uint_eq(found("1276533073.M242911P3632.kurkku").crlf_size, 2481);
    ck_assert_uint_eq(found("last").crlf_size, MDNAME_SIZE_UNKNOWN);
    ck_assert_str_eq(found("with a blank").uidl, "uidl-1");
    ck_assert_str_eq(found("with a blank").other, "Oabc Gfedc X");
    ck_assert_uint_eq(uid_of("with"), 0);
    ck_assert(!import_has_keywords(imp));
    ck_assert_uint_eq(warnings, 0);
    /* header fields in another order, unknown ones among them */
    write_text("dovecot-uidlist", "3 Xy N9 Gnope V7\r\n5 :a\r\n");
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 7);
    ck_assert_uint_eq(import_uidnext(imp), 9);
    ck_assert_uint_eq(uid_of("a"), 5);
    ck_assert_str_eq(import_guid(imp), "");
}
END_TEST

START_TEST(version_1_of_both)
{
    static const char *const files[] = {"dovecot-uidlist", "courierimapuiddb"};
    size_t i;

    for (i = 0; i < 2; i++) {
        write_text(files[i], "1 795311887 6\n1 a,S=17\n2 b:2,S\n5 c d\n");
        reread();
        ck_assert_uint_eq(import_uidvalidity(imp), 795311887);
        ck_assert_uint_eq(import_uidnext(imp), 6);
        ck_assert_uint_eq(uid_of("a,S=17"), 1);
        ck_assert_uint_eq(uid_of("b"), 2);
        ck_assert_uint_eq(uid_of("c d"), 5);
        unlinkat(root, files[i], 0);
    }
}
END_TEST

/* What can be read of a damaged list is used, and the log says so once. */
START_TEST(damaged_lines)
{
    struct buf b = BUF_INIT(100000);
    size_t i;

    buf_adds(&b, "3 V5 N1\n1 :a\n\n:b\nx :c\n2\n3 \n4 :\n5 W :e\n");
    buf_adds(&b, "5 :twice\n4 :back\n7 :e\n8 :.hidden\n9 :a/b\n10 :../x\n");
    buf_add(&b, "11 :n\0l\n", 8);
    buf_adds(&b, "99999999999999999999999 :huge\n4294967295 :last\n12 P :f\n");
    buf_adds(&b, "13 Pa\001b :g\n14 W99999999999999999999999 :h\n15 :");
    for (i = 0; i < 300; i++)
        buf_addc(&b, 'l');
    buf_adds(&b, "\n16 ");
    for (i = 0; i < 5000; i++)
        buf_adds(&b, "Xyz ");
    buf_adds(&b, ":long\n17 :i\n18 :cut");
    write_aged("dovecot-uidlist", b.data, b.len, 0);
    buf_free(&b);
    reread();
    ck_assert_uint_eq(uid_of("a"), 1);
    ck_assert_uint_eq(uid_of("e"), 7);
    ck_assert_uint_eq(uid_of("f"), 12);
    ck_assert_str_eq(found("f").uidl, "");
    ck_assert_str_eq(found("g").uidl, "");
    ck_assert_uint_eq(uid_of("h"), 14);
    ck_assert_uint_eq(found("h").crlf_size, MDNAME_SIZE_UNKNOWN);
    ck_assert_uint_eq(uid_of("i"), 17);
    ck_assert_uint_eq(import_uidnext(imp), 18);
    ck_assert_uint_eq(imp->count, 6); /* and no others */
    ck_assert_uint_eq(warnings, 1);
}
END_TEST

/* A file that went away and came back has two lines until Dovecot writes its list anew; clients
   know it by the later one. */
START_TEST(a_name_that_comes_twice)
{
    write_text("dovecot-uidlist", "3 V5 N3\n1 Pold W7 Gx :a\n2 :b\n6 :a\n");
    reread();
    ck_assert_uint_eq(uid_of("a"), 6);
    ck_assert_str_eq(found("a").uidl, "");
    ck_assert_str_eq(found("a").other, "");
    ck_assert_uint_eq(found("a").crlf_size, MDNAME_SIZE_UNKNOWN);
    ck_assert_uint_eq(import_uidnext(imp), 7);
    ck_assert_uint_eq(warnings, 0);
}
END_TEST

/* What is no file can't be a list, and doesn't keep the user from the mail. */
START_TEST(no_regular_file)
{
    ck_assert_int_eq(mkfifoat(root, "dovecot-uidlist", 0600), 0);
    ck_assert_int_eq(mkdirat(root, "courierimapuiddb", 0700), 0);
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 0);
    ck_assert_uint_eq(warnings, 2);
    unlinkat(root, "dovecot-uidlist", 0);
    unlinkat(root, "courierimapuiddb", AT_REMOVEDIR);
    write_text("courierimapuiddb", "1 7 9\n1 a\n2 b\n");
    ck_assert_int_eq(mkdirat(root, "courierimapkeywords", 0700), 0);
    ck_assert_int_eq(mkfifoat(root, "courierimapkeywords/a", 0600), 0);
    write_text("courierimapkeywords/b", "Work\n");
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 7);
    ck_assert_str_eq(keywords_of("b"), "Work ");
}
END_TEST

START_TEST(damaged_headers)
{
    static const char *const bad[] = {"",
                                      "\n",
                                      "2 V1 N1\n1 :a\n",
                                      "3\n1 :a\n",
                                      "3 N5\n1 :a\n",
                                      "3 V0 N5\n1 :a\n",
                                      "3 V4294967296 N5\n",
                                      "3 Vx N5\n",
                                      "3 V5x N5\n1 :a\n",
                                      "1 5\n1 a\n",
                                      "1 x 5\n",
                                      "garbage"};
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_text("dovecot-uidlist", bad[i]);
        reread();
        ck_assert_msg(import_uidvalidity(imp) == 0, "%s", bad[i]);
        ck_assert_uint_eq(uid_of("a"), 0);
    }
    /* then the other server's list is better than none */
    write_aged("courierimapuiddb", "1 9 4\n3 a\n", 10, 100);
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 9);
    ck_assert_uint_eq(uid_of("a"), 3);
    /* a next UID that would leave no room for mail */
    write_text("dovecot-uidlist", "3 V5 N4294967295\n1 :a\n");
    reread();
    ck_assert_uint_eq(import_uidnext(imp), 2);
}
END_TEST

START_TEST(the_younger_list_counts)
{
    write_aged("dovecot-uidlist", "3 V5 N10\n1 :a\n", 15, 100);
    write_aged("courierimapuiddb", "1 6 20\n2 a\n", 11, 50);
    write_aged("courierpop3dsizelist", "/3 9 8\na 10 3:8:0\n", 18, 200);
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 6);
    ck_assert_uint_eq(uid_of("a"), 2);
    ck_assert_str_eq(found("a").uidl, "UID3-8");
    write_aged("dovecot-uidlist", "3 V5 N10\n1 :a\n", 15, 10);
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 5);
    ck_assert_uint_eq(uid_of("a"), 1);
    ck_assert_str_eq(found("a").uidl, "");
}
END_TEST

START_TEST(courier_pop3)
{
    write_text("courierpop3dsizelist",
               "/3 5 1795311895\n1.a,S=17:2, 20 1:1795311895:0\nb c:2,S 20 2:77:1\n"
               "old 5 0:0:0\nbad\nbad 1\nbad 1 2\nbad 1 x:2\nbad 1 2:3x\n");
    reread();
    ck_assert_uint_eq(import_uidvalidity(imp), 0);
    ck_assert_str_eq(found("1.a,S=17").uidl, "UID1-1795311895");
    ck_assert_str_eq(found("b c").uidl, "UID2-77");
    ck_assert_str_eq(found("old").uidl, "old");
    ck_assert_uint_eq(found("old").uid, 0);
    ck_assert_uint_eq(imp->count, 3);
    write_text("courierpop3dsizelist", "/2 5 9\na 20 1:9\n");
    reread();
    ck_assert_str_eq(found("a").uidl, "UID1-9");
    write_text("courierpop3dsizelist", "/4 5 9\na 20 1:9\n");
    reread();
    ck_assert_uint_eq(imp->count, 0);
}
END_TEST

START_TEST(a_uidl_that_comes_twice_is_none)
{
    write_text("dovecot-uidlist", "3 V5 N10\n1 Px :a\n2 Py :b\n3 Px :c\n4 Px :d\n");
    reread();
    ck_assert_str_eq(found("a").uidl, "");
    ck_assert_str_eq(found("b").uidl, "y");
    ck_assert_str_eq(found("c").uidl, "");
    ck_assert_str_eq(found("d").uidl, "");
}
END_TEST

START_TEST(courier_keywords)
{
    ck_assert_int_eq(mkdirat(root, "courierimapkeywords", 0700), 0);
    write_text("courierimapuiddb", "1 7 9\n1 a\n2 b\n3 c\n4 d\n");
    write_text("courierimapkeywords/:list",
               "Work\nbad]name\nLater\n\na:0 2\nb:1\nc:2 99\nno\nd:x\n");
    write_text("courierimapkeywords/.100.a", "Old\n");
    write_text("courierimapkeywords/.200.a", "Newer\nWork\n");
    write_text("courierimapkeywords/.300.c", "Lost\n");
    write_text("courierimapkeywords/c", "");
    write_text("courierimapkeywords/.x.d", "Nothing\n");
    write_text("courierimapkeywords/e", "Alone\n");
    reread();
    ck_assert(import_has_keywords(imp));
    ck_assert_str_eq(keywords_of("a"), "Work Newer ");
    ck_assert_str_eq(keywords_of("b"), "");
    ck_assert_str_eq(keywords_of("c"), "");
    ck_assert_str_eq(keywords_of("d"), "");
    ck_assert_str_eq(keywords_of("e"), "Alone ");
    ck_assert_uint_eq(found("e").uid, 0);
}
END_TEST

/* More than a folder can hold: the first ones are kept, and nothing breaks. */
START_TEST(too_many_keywords)
{
    struct buf b = BUF_INIT(100000);
    unsigned i;

    ck_assert_int_eq(mkdirat(root, "courierimapkeywords", 0700), 0);
    write_text("courierimapuiddb", "1 7 9\n1 a\n");
    for (i = 0; i < 2000; i++)
        buf_addf(&b, "k%u\n", i);
    buf_adds(&b, "\na:0 63 64 1023 1024 1999\n");
    write_aged("courierimapkeywords/:list", b.data, b.len, 0);
    buf_free(&b);
    reread();
    ck_assert_str_eq(keywords_of("a"), "k0 k63 ");
}
END_TEST

START_TEST(a_long_list)
{
    struct buf b = BUF_INIT(64u << 20);
    char base[40];
    unsigned i;

    buf_adds(&b, "3 V5 N1\n");
    for (i = 1; i <= 100000; i++)
        buf_addf(&b, "%u :%u.M%uP1.host,S=%u:2,S\n", 3 * i, 1700000000 + i, i, i);
    write_aged("dovecot-uidlist", b.data, b.len, 0);
    buf_free(&b);
    reread();
    ck_assert_uint_eq(imp->count, 100000);
    for (i = 1; i <= 100000; i += 997) {
        snprintf(base, sizeof base, "%u.M%uP1.host,S=%u", 1700000000 + i, i, i);
        ck_assert_uint_eq(uid_of(base), 3 * i);
    }
    ck_assert_uint_eq(import_uidnext(imp), 300001);
}
END_TEST

static struct account *
open_account(bool ahead)
{
    struct account_params p = {.conf = store_conf(),
                               .user = "ann",
                               .home = "",
                               .mail_location = store_dir,
                               .ahead = ahead};
    struct account *a;

    ck_assert_int_eq(account_open(&p, &a), 0);
    return a;
}

static void
put(const char *part, const char *name)
{
    neighbour_put(store_dir, part, name, "Subject: x\n\nbody\n");
}

/* A few messages with a list: gaps, one that is gone, one in new/, two that it doesn't know. */
static void
make_folder(void)
{
    put("cur", "1700000005.a:2,S");
    put("cur", "1700000004.b:2,");
    put("cur", "1700000003.c:2,Sa");
    put("new", "1700000002.d");
    put("cur", "1700000001.older:2,S");
    put("new", "1700000009.newer");
    write_text("dovecot-uidlist", "3 V1000 N40\n3 :1700000005.a:2,S\n5 :gone\n"
                                  "8 Pmy-uidl :1700000004.b\n9 W18 :1700000003.c\n"
                                  "20 :1700000002.d\n");
    write_text("dovecot-keywords", "0 Work\n");
}

static const char *
inbox(struct account *a, unsigned *uidvalidity, uint32_t *uidnext)
{
    static char text[500];
    struct view *v;

    ck_assert_int_eq(view_open(a, "INBOX", VIEW_READONLY, &v), 0);
    *uidvalidity = view_info(v)->uidvalidity;
    *uidnext = view_info(v)->uidnext;
    snprintf(text, sizeof text, "%s", view_text(v));
    view_close(&v);
    return text;
}

START_TEST(first_open)
{
    struct account *a;
    struct view *v;
    unsigned uidvalidity;
    uint32_t uidnext;

    make_folder();
    a = open_account(false);
    ck_assert_str_eq(inbox(a, &uidvalidity, &uidnext), "3S 8 9S 20 40S 41");
    ck_assert_uint_eq(uidvalidity, 1000);
    ck_assert_uint_eq(uidnext, 42);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_str_eq(message_row(v, 8).uidl, "my-uidl");
    ck_assert_str_eq(message_row(v, 9).uidl, "");
    ck_assert_uint_eq(message_row(v, 9).crlf_size, 18);
    ck_assert_uint_eq(message_row(v, 9).keywords, 1);
    ck_assert_str_eq(view_info(v)->keywords[0], "Work");
    ck_assert_uint_eq(view_info(v)->recent, 3); /* what lay in cur/ was seen */
    view_close(&v);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    account_close(&a);
    /* the list is read once: what becomes of it doesn't matter any more */
    write_text("dovecot-uidlist", "3 V1001 N400\n99 :1700000010.late\n");
    settle();
    put("cur", "1700000010.late:2,");
    a = open_account(false);
    ck_assert_str_eq(inbox(a, &uidvalidity, &uidnext), "3S 8 9S 20 40S 41 42");
    ck_assert_uint_eq(uidvalidity, 1000);
    account_close(&a);
}
END_TEST

START_TEST(ahead_leaves_room)
{
    struct import_summary s;
    struct account *a;
    unsigned uidvalidity;
    uint32_t uidnext;

    make_folder();
    a = open_account(true);
    ck_assert_int_eq(import_account(a, NULL, NULL, &s), 0);
    ck_assert_uint_eq(s.imported, 1);
    ck_assert_uint_eq(s.messages, 4);
    /* the other server meets one of the two, and another message */
    put("cur", "1700000011.more:2,");
    write_text("dovecot-uidlist",
               "3 V1000 N40\n3 :1700000005.a\n8 :1700000004.b\n9 :1700000003.c\n"
               "20 :1700000002.d\n40 :1700000009.newer\n50 :1700000011.more\n");
    ck_assert_int_eq(import_account(a, NULL, NULL, &s), 0);
    ck_assert_uint_eq(s.imported, 0);
    ck_assert_uint_eq(s.done_before, 1);
    ck_assert_uint_eq(s.messages, 6);
    ck_assert_uint_eq(s.differ + s.refused, 0);
    account_close(&a);
    ck_assert_int_ne(faccessat(root, "mansio-purged", F_OK, 0), 0); /* nothing was set up */
    a = open_account(false);
    ck_assert_str_eq(inbox(a, &uidvalidity, &uidnext), "3S 8 9S 20 40 50 51S");
    ck_assert_uint_eq(uidvalidity, 1000);
    /* a session was here, yet a list may still speak for what came since */
    put("cur", "1700000012.x:2,");
    write_text("dovecot-uidlist", "3 V1000 N90\n8 :1700000005.a\n88 :1700000012.x\n");
    ck_assert_int_eq(import_account(a, NULL, NULL, &s), 0);
    ck_assert_uint_eq(s.messages, 1);
    ck_assert_uint_eq(s.differ, 1);
    ck_assert_str_eq(inbox(a, &uidvalidity, &uidnext), "3S 8 9S 20 40 50 51S 88");
    write_text("dovecot-uidlist", "3 V1002 N90\n3 :1700000005.a\n");
    ck_assert_int_eq(import_account(a, NULL, NULL, &s), 0);
    ck_assert_uint_eq(s.refused, 1);
    account_close(&a);
}
END_TEST

/* A delivery must not take the UID that the other server gave since. */
START_TEST(ahead_of_a_delivery)
{
    struct delivery d = {.folder = "INBOX", .headers = ""};
    struct import_summary s;
    struct delivered out;
    struct account *a;
    unsigned uidvalidity;
    uint32_t uidnext;

    put("cur", "1700000001.a:2,S");
    write_text("dovecot-uidlist", "3 V1000 N2\n1 :1700000001.a\n");
    a = open_account(true);
    ck_assert_int_eq(import_account(a, NULL, NULL, &s), 0);
    ck_assert_uint_eq(s.messages, 1);
    account_close(&a);
    put("cur", "1700000002.b:2,S");
    write_text("dovecot-uidlist", "3 V1000 N3\n1 :1700000001.a\n2 :1700000002.b\n");
    a = open_account(false);
    ck_assert_int_eq(deliver_message(a, &d, text_source("x\n", 2), &out), 0);
    ck_assert_uint_eq(out.uid, 3);
    ck_assert_str_eq(inbox(a, &uidvalidity, &uidnext), "1S 2S 3");
    ck_assert_uint_eq(uidvalidity, 1000);
    account_close(&a);
}
END_TEST

/* The index is mended before the first session: the list still counts. */
START_TEST(ahead_of_a_salvage)
{
    struct import_summary s;
    struct account *a;
    unsigned uidvalidity;
    uint32_t uidnext;
    int file;

    put("cur", "1700000001.a:2,S");
    write_text("dovecot-uidlist", "3 V1000 N2\n1 :1700000001.a\n");
    a = open_account(true);
    ck_assert_int_eq(import_account(a, NULL, NULL, &s), 0);
    account_close(&a);
    file = openat(root, "mansio-index/db/cache.db", O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(ftruncate(file, 100), 0);
    close(file);
    ck_assert_int_eq(unlinkat(root, "mansio-index/db/__db.001", 0), 0);
    put("cur", "1700000002.b:2,S");
    put("cur", "1700000000.c:2,");
    write_text("dovecot-uidlist",
               "3 V1000 N4\n1 :1700000001.a\n2 :1700000002.b\n3 :1700000000.c\n");
    a = open_account(false);
    ck_assert_str_eq(inbox(a, &uidvalidity, &uidnext), "1S 2S 3");
    ck_assert_uint_eq(uidvalidity, 1000);
    account_close(&a);
}
END_TEST

#define MANY  2500
#define PIECE 1500 /* of a scan */

static int crash_at;
static const char *crash_name;

static void
crash_step(const char *name)
{
    if (strcmp(name, crash_name) == 0 && --crash_at == 0)
        _exit(9);
}

/* In a process of its own, which ends at the n-th step of that name. True if it got there. */
static bool
cut_short(const char *step, int n, bool ahead)
{
    struct import_summary s;
    static struct account *volatile a; /* or it's lost for valgrind at _exit() */
    uint32_t uidnext;
    unsigned v;
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        crash_name = step;
        crash_at = n;
        sys_hooks.step = crash_step;
        a = open_account(ahead);
        a->scan_piece = PIECE;
        if (ahead)
            (void)import_account(a, NULL, NULL, &s);
        else
            (void)inbox(a, &v, &uidnext);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status) == 9;
}

static void
make_many(void)
{
    struct buf b = BUF_INIT(4u << 20);
    char name[64];
    unsigned i;

    buf_adds(&b, "1 1000 1\n");
    for (i = 1; i <= MANY; i++) {
        /* older and older: delivery would give the other order */
        snprintf(name, sizeof name, "%u.M%uP1.x:2,S", 1700000000 - i, i);
        put("cur", name);
        buf_addf(&b, "%u %.*s\n", 2 * i, (int)strcspn(name, ":"), name);
    }
    write_aged("courierimapuiddb", b.data, b.len, 0);
    buf_free(&b);
    ck_assert_int_eq(mkdirat(root, "courierimapkeywords", 0700), 0);
    write_text("courierimapkeywords/:list",
               "Work\n\n1699999999.M1P1.x:0\n1699998001.M1999P1.x:0\n");
}

static int
check_one_of_many(void *ctx, const struct index_message *m)
{
    unsigned *i = ctx;
    char name[64];

    ++*i;
    snprintf(name, sizeof name, "%u.M%uP1.x", 1700000000 - *i, *i);
    ck_assert_uint_eq(m->uid, 2 * *i);
    ck_assert_int_eq(strncmp(m->name, name, strlen(name)), 0);
    ck_assert_uint_eq(m->keywords, *i == 1 || *i == 1999);
    return 0;
}

START_TEST(cut_short_at_every_step)
{
    static const struct {
        const char *step;
        int n;
        bool ahead;
    } steps[] = {{"mailbox:row", 1, true},    {"import:renamed", 1, true},
                 {"scan:put", 1, true},       {"scan:committed", 1, true},
                 {"scan:put", 1, false},      {"import:renamed", 1, false},
                 {"scan:committed", 1, false}};
    struct index_mailbox row;
    struct account *a;
    unsigned v, n = 0, hit = 0;
    uint32_t uidnext;
    size_t i;

    make_many();
    for (i = 0; i < sizeof steps / sizeof steps[0]; i++)
        hit += cut_short(steps[i].step, steps[i].n, steps[i].ahead);
    ck_assert_uint_ge(hit, 5);
    a = open_account(false);
    (void)inbox(a, &v, &uidnext);
    ck_assert_uint_eq(v, 1000);
    ck_assert_uint_eq(uidnext, 2 * MANY + 1);
    ck_assert_int_eq(account_lock(a), 0);
    ck_assert_int_eq(index_mailbox_get(a->ix, "INBOX", &row), 0);
    ck_assert_int_eq(index_message_each(a->ix, row.id, 1, UINT32_MAX, check_one_of_many, &n),
                     0);
    account_unlock(a);
    ck_assert_uint_eq(n, MANY);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    account_close(&a);
}
END_TEST

static uint32_t
folder_uidvalidity(struct account *a, const char *name)
{
    struct mailbox_status s;

    ck_assert_int_eq(mailbox_status(a, name, false, &s), 0);
    return s.uidvalidity;
}

static void
make_listed(const char *name)
{
    char path[300];

    ck_assert_int_eq(mkdirat(root, name, 0700), 0);
    snprintf(path, sizeof path, "%s/cur", name);
    ck_assert_int_eq(mkdirat(root, path, 0700), 0);
    snprintf(path, sizeof path, "%s/dovecot-uidlist", name);
    write_text(path, "3 V500 N4\n");
}

/* RFC 3501 2.3.1.1: name, UIDVALIDITY and UID mean one message, for ever. */
START_TEST(a_uidvalidity_never_comes_back)
{
    struct account *a = open_account(false);
    struct index_mailbox row;
    uint32_t other;

    make_listed(".A");
    make_listed(".B"); /* Courier takes the time in seconds: two may be the same */
    ck_assert_uint_eq(folder_uidvalidity(a, "A"), 500);
    ck_assert_uint_eq(folder_uidvalidity(a, "B"), 500);
    ck_assert_int_eq(folder_delete(a, "A"), 0);
    make_listed(".A"); /* from a backup */
    ck_assert_uint_gt(folder_uidvalidity(a, "A"), 500);
    ck_assert_int_eq(folder_delete(a, "A"), 0);
    ck_assert_int_eq(folder_rename(a, "B", "A"), 0);
    ck_assert_uint_gt(folder_uidvalidity(a, "A"), 500);
    make_listed(".C");
    ck_assert_uint_eq(folder_uidvalidity(a, "C"), 500);
    ck_assert_int_eq(folder_rename(a, "C", "D"), 0);
    ck_assert_uint_eq(folder_uidvalidity(a, "D"), 500);
    ck_assert_int_eq(folder_rename(a, "D", "C"), 0); /* its own name */
    ck_assert_uint_eq(folder_uidvalidity(a, "C"), 500);
    make_listed(".E");
    make_listed(".F");
    ck_assert_uint_eq(folder_uidvalidity(a, "E"), 500);
    ck_assert_uint_eq(folder_uidvalidity(a, "F"), 500);
    ck_assert_int_eq(folder_delete(a, "E"), 0);
    ck_assert_int_eq(renameat(root, ".F", root, ".E"), 0); /* by another program */
    other = folder_uidvalidity(a, "E");
    ck_assert_uint_gt(other, 500);
    ck_assert_int_eq(renameat(root, ".E", root, ".G"), 0);
    ck_assert_uint_eq(folder_uidvalidity(a, "G"), other);
    ck_assert_int_eq(account_lock(a), 0);
    ck_assert_int_eq(index_begin(a->ix), 0);
    ck_assert_int_eq(index_mailbox_import(a->ix, "X", UINT32_MAX, &row), ERR_RANGE);
    ck_assert_int_eq(index_mailbox_import(a->ix, "X", 0, &row), ERR_RANGE);
    ck_assert_int_eq(index_mailbox_import(a->ix, "C", 9, &row), ERR_EXISTS);
    ck_assert_int_eq(index_mailbox_import(a->ix, "D", 500, &row), ERR_INUSE);
    ck_assert_int_eq(index_mailbox_import(a->ix, "D", 501, &row), 0);
    index_abort(a->ix);
    account_unlock(a);
    account_close(&a);
}
END_TEST

START_TEST(keywords_become_letters)
{
    struct account *a;
    struct view *v;

    put("cur", "1.a:2,S");
    put("new", "2.b");
    put("cur", "3.c:2,S");
    ck_assert_int_eq(mkdirat(root, "courierimapkeywords", 0700), 0);
    write_text("courierimapuiddb", "1 7 9\n1 1.a\n2 2.b\n3 3.c\n");
    write_text("courierimapkeywords/:list", "Work\n$Forwarded\n\n1.a:0\n2.b:0\n3.c:1\n");
    a = open_account(false);
    ck_assert_int_eq(view_open(a, "INBOX", VIEW_READONLY, &v), 0);
    ck_assert_uint_eq(message_row(v, 1).keywords, 1);
    ck_assert_uint_eq(message_row(v, 3).flags, MSG_SEEN | MSG_PASSED);
    ck_assert_str_eq(name_in_cur(store_dir, "1.a"), "1.a:2,Sa");
    ck_assert_str_eq(name_in_cur(store_dir, "2.b"), "2.b:2,a");
    ck_assert_str_eq(name_in_cur(store_dir, "3.c"), "3.c:2,PS");
    view_close(&v);
    ck_assert_int_eq(mailbox_check(a, NULL, NULL, NULL), 0);
    account_close(&a);
}
END_TEST

START_TEST(names_in_utf8)
{
    struct name_list names = {0};
    struct account *a;

    make_listed(".Entw\xc3\xbcrfe.R&D");
    make_listed(".R&D");
    make_listed(".Old&-new");
    make_listed(".bad\xff");
    write_text("courierimapsubscribed",
               "INBOX\nINBOX.Entw\xc3\xbcrfe.R&D\nINBOX.R&D\n#shared.x\nshared.y\nINBOX.\n"
               "INBOX.Old&-new\nINBOX.bad\xff\n\n");
    a = open_account(false);
    ck_assert(folder_exists(a, "Entw&APw-rfe.R&-D"));
    ck_assert(folder_exists(a, "R&-D"));
    ck_assert(folder_exists(a, "Old&-new"));
    ck_assert(folder_exists(a, "bad\xff"));
    ck_assert_uint_eq(folder_uidvalidity(a, "Entw&APw-rfe.R&-D"), 500);
    ck_assert_int_eq(subscriptions_read(a, &names), 0);
    ck_assert_uint_ge(names.count, 4);
    ck_assert_str_eq(names.names[0], "INBOX");
    ck_assert_str_eq(names.names[1], "Entw&APw-rfe.R&-D");
    ck_assert_str_eq(names.names[2], "R&-D");
    ck_assert_str_eq(names.names[3], "Old&-new");
    name_list_free(&names);
    account_close(&a);
}
END_TEST

START_TEST(dovecot_subscriptions)
{
    struct name_list names = {0};
    struct account *a = open_account(false);

    write_text("subscriptions", "V\t2\n\nA&AOQ-x\tSub\nINBOX\nesc\001taped\n");
    ck_assert_int_eq(subscriptions_read(a, &names), 0);
    ck_assert_uint_eq(names.count, 2);
    ck_assert_str_eq(names.names[0], "A&AOQ-x.Sub");
    name_list_free(&names);
    ck_assert_int_eq(folder_subscribe(a, "New", true), 0);
    ck_assert_int_eq(subscriptions_read(a, &names), 0);
    ck_assert_uint_eq(names.count, 3);
    name_list_free(&names);
    account_close(&a);
}
END_TEST

START_TEST(export_says_what_was_imported)
{
    struct export_summary s;
    struct buf out = BUF_INIT(100000), file = BUF_INIT(100000);
    struct account *a;

    make_folder();
    write_text("dovecot-uidlist", "3 V1000 N40 G3085f01b7f11094c501100008c4a11c1\n"
                                  "3 Ofirst :1700000005.a\n8 Pmy-uidl :1700000004.b\n"
                                  "9 W18 :1700000003.c\n20 :1700000002.d\n");
    a = open_account(false);
    ck_assert_int_eq(export_uidlist(a, "INBOX", &out), 0);
    ck_assert_str_eq(buf_str(&out), "3 V1000 N42 G3085f01b7f11094c501100008c4a11c1\n"
                                    "3 Ofirst :1700000005.a:2,S\n"
                                    "8 Pmy-uidl :1700000004.b:2,\n"
                                    "9 W18 :1700000003.c:2,Sa\n"
                                    "20 :1700000002.d\n"
                                    "40 :1700000001.older:2,S\n"
                                    "41 :1700000009.newer\n");
    ck_assert_int_eq(export_account(a, "INBOX", NULL, NULL, &s), 0);
    ck_assert_uint_eq(s.folders, 1);
    ck_assert_uint_eq(s.messages, 6);
    ck_assert_uint_eq(s.keywords_lost, 0);
    ck_assert_int_eq(maildir_read_file(root, "dovecot-uidlist", &file), 0);
    ck_assert_str_eq(buf_str(&file), buf_str(&out));
    buf_reset(&file);
    ck_assert_int_eq(maildir_read_file(root, "dovecot-keywords", &file), 0);
    ck_assert_str_eq(buf_str(&file), "0 Work\n");
    ck_assert_int_eq(export_account(a, "Nowhere", NULL, NULL, &s), ERR_NOENT);
    account_close(&a);
    buf_free(&out);
    buf_free(&file);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("import");
    TCase *lists = tcase_create("lists"), *folders = tcase_create("folders");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(lists, setup, teardown);
    tcase_add_test(lists, no_list_is_none);
    tcase_add_test(lists, dovecot_version_3);
    tcase_add_test(lists, version_1_of_both);
    tcase_add_test(lists, damaged_lines);
    tcase_add_test(lists, a_name_that_comes_twice);
    tcase_add_test(lists, no_regular_file);
    tcase_add_test(lists, damaged_headers);
    tcase_add_test(lists, the_younger_list_counts);
    tcase_add_test(lists, courier_pop3);
    tcase_add_test(lists, a_uidl_that_comes_twice_is_none);
    tcase_add_test(lists, courier_keywords);
    tcase_add_test(lists, too_many_keywords);
    tcase_add_test(lists, a_long_list);
    suite_add_tcase(s, lists);
    tcase_add_unchecked_fixture(folders, store_warm_up, NULL);
    tcase_add_checked_fixture(folders, setup, teardown);
    tcase_set_timeout(folders, 60);
    tcase_add_test(folders, first_open);
    tcase_add_test(folders, ahead_leaves_room);
    tcase_add_test(folders, ahead_of_a_delivery);
    tcase_add_test(folders, ahead_of_a_salvage);
    tcase_add_test(folders, cut_short_at_every_step);
    tcase_add_test(folders, a_uidvalidity_never_comes_back);
    tcase_add_test(folders, keywords_become_letters);
    tcase_add_test(folders, names_in_utf8);
    tcase_add_test(folders, dovecot_subscriptions);
    tcase_add_test(folders, export_says_what_was_imported);
    suite_add_tcase(s, folders);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
