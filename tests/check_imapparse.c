/*
 * format/imapparse: the token tree of a command (RFC 3501 9, RFC 7888, RFC 3516), and the
 * writing of strings.
 *
 * A tree is compared as text: an atom as it is, a string in quotes (in braces if it came as
 * literal), a list in parentheses, a section as name[...]<partial>.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "format/imapparse.h"

static struct arena *arena;
static struct imapparse p;
static const struct imapparse_limits limits = {65536, 8};

static void
setup(void)
{
    arena = arena_new();
    imapparse_begin(&p, arena, &limits);
}

static void
teardown(void)
{
    arena_free(&arena);
}

static void
dump(const struct token *t, struct buf *out)
{
    for (; t != NULL; t = t->next) {
        ck_assert_uint_eq(t->text[t->len], '\0');
        switch (t->type) {
        case TOKEN_ATOM:
            buf_add(out, t->text, t->len);
            break;
        case TOKEN_STRING:
            buf_addf(out, t->literal ? "{%s}" : "\"%s\"", t->text);
            break;
        case TOKEN_LIST:
            buf_addc(out, '(');
            dump(t->list, out);
            buf_addc(out, ')');
            break;
        case TOKEN_SECTION:
            buf_addf(out, "%s[", t->text);
            dump(t->list, out);
            buf_addc(out, ']');
            if (t->partial != NULL)
                buf_addf(out, "<%s>", t->partial);
            break;
        }
        if (t->next != NULL)
            buf_addc(out, ' ');
    }
}

static int
feed(const char *line)
{
    return imapparse_line(&p, line, strlen(line));
}

/* A whole command of one line: "NAME: tree", or "error". */
static const char *
tree(const char *line)
{
    static char text[2000];
    struct buf out = BUF_INIT(sizeof text - 1);
    int result;

    imapparse_begin(&p, arena, &limits);
    result = feed(line);
    if (result != PARSE_DONE) {
        ck_assert(result == PARSE_LITERAL || p.error != NULL);
        buf_adds(&out, result == PARSE_LITERAL ? "literal" : "error");
    } else {
        ck_assert(p.error == NULL);
        buf_addf(&out, "%s%s:", p.uid ? "UID " : "", p.name);
        if (p.args != NULL)
            buf_addc(&out, ' ');
        dump(p.args, &out);
    }
    ck_assert(buf_ok(&out));
    memcpy(text, buf_str(&out), out.len + 1);
    buf_free(&out);
    return text;
}

static const char *
args(void)
{
    static char text[2000];
    struct buf out = BUF_INIT(sizeof text - 1);

    dump(p.args, &out);
    memcpy(text, buf_str(&out), out.len + 1);
    buf_free(&out);
    return text;
}

START_TEST(commands_and_tags)
{
    ck_assert_str_eq(tree("a1 NOOP"), "NOOP:");
    ck_assert_str_eq(p.tag, "a1");
    ck_assert_str_eq(tree("a1 noop"), "NOOP:");
    ck_assert_str_eq(tree("a1 NOOP  "), "NOOP:");
    ck_assert_str_eq(tree("a1  NOOP"), "NOOP:");
    ck_assert_str_eq(tree("A.b-1]x noop"), "NOOP:");
    ck_assert_str_eq(p.tag, "A.b-1]x");
    ck_assert_str_eq(tree("1 uid fetch 1 flags"), "UID FETCH: 1 flags");
    ck_assert_str_eq(tree("1 UID  EXPUNGE 1:*"), "UID EXPUNGE: 1:*");
}
END_TEST

START_TEST(heads_that_are_wrong)
{
    static const char *const bad[] = {
        "",      " ",      "a",     "a ",      "+ NOOP",  "a+b NOOP",      "(a NOOP", "a\"NOOP",
        "a UID", "a UID ", "a (x)", "a \"x\"", "a NO(OP", "\xc3\xa4 NOOP", " a NOOP"};
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(strcmp(tree(bad[i]), "error") == 0, "%s", bad[i]);
    tree("tag ");
    ck_assert_str_eq(p.tag, "tag"); /* known for the BAD response */
    tree("+ NOOP");
    ck_assert(p.tag == NULL);
}
END_TEST

START_TEST(atoms)
{
    ck_assert_str_eq(tree("a STORE 1 +FLAGS.SILENT (\\Seen $Work \\*)"),
                     "STORE: 1 +FLAGS.SILENT (\\Seen $Work \\*)");
    ck_assert_str_eq(tree("a LIST \"\" %"), "LIST: \"\" %");
    ck_assert_str_eq(tree("a LIST * a*%b"), "LIST: * a*%b");
    ck_assert_str_eq(tree("a SELECT a]b"), "SELECT: a]b");
    ck_assert_str_eq(tree("a SELECT [Gmail]/Sent"), "SELECT: [Gmail]/Sent");
    ck_assert_str_eq(tree("a SELECT BODY[1]"), "SELECT: BODY[1]");
    ck_assert_str_eq(tree("a SELECT NIL"), "SELECT: NIL");
    ck_assert_str_eq(tree("a SEARCH 1:3,5:* NOT $"), "SEARCH: 1:3,5:* NOT $");
    ck_assert_str_eq(tree("a LOGIN x@y.z p!#&'+,-./:;<=>?@^_`|}~w"),
                     "LOGIN: x@y.z p!#&'+,-./:;<=>?@^_`|}~w");
    ck_assert_str_eq(tree("a LOGIN ~ ~x"), "LOGIN: ~ ~x");
}
END_TEST

START_TEST(quoted_strings)
{
    ck_assert_str_eq(tree("a LOGIN \"a b\" \"\""), "LOGIN: \"a b\" \"\"");
    ck_assert_str_eq(tree("a LOGIN \"a\\\"b\" \"c\\\\d\""), "LOGIN: \"a\"b\" \"c\\d\"");
    ck_assert_str_eq(tree("a SELECT \"NIL\""), "SELECT: \"NIL\"");
    ck_assert_int_eq(p.args->type, TOKEN_STRING); /* not the atom */
    ck_assert_str_eq(tree("a SELECT \"(x) {3}\""), "SELECT: \"(x) {3}\"");
    ck_assert_str_eq(tree("a SELECT \"\xc3\xa4\xff\t\""), "SELECT: \"\xc3\xa4\xff\t\"");
}
END_TEST

START_TEST(lists)
{
    ck_assert_str_eq(tree("a X ()"), "X: ()");
    ck_assert_str_eq(tree("a X (a)"), "X: (a)");
    ck_assert_str_eq(tree("a X (a (b c) \"d\") e"), "X: (a (b c) \"d\") e");
    ck_assert_str_eq(tree("a X ( a  b ) "), "X: (a b)");
    ck_assert_str_eq(tree("a X ((()))"), "X: ((()))");
}
END_TEST

/* RFC 3501 6.4.5. */
START_TEST(sections)
{
    ck_assert_str_eq(tree("a FETCH 1 BODY[]"), "FETCH: 1 BODY[]");
    ck_assert_str_eq(tree("a FETCH 1 body[]<0.100>"), "FETCH: 1 body[]<0.100>");
    ck_assert_str_eq(tree("a FETCH 1 (FLAGS BODY.PEEK[HEADER.FIELDS (\"From\" to)])"),
                     "FETCH: 1 (FLAGS BODY.PEEK[HEADER.FIELDS (\"From\" to)])");
    ck_assert_str_eq(tree("a FETCH 1 (BODY[1.2.MIME] UID)"), "FETCH: 1 (BODY[1.2.MIME] UID)");
    ck_assert_str_eq(tree("a UID FETCH 1 (BINARY.PEEK[1]<5.6> BINARY.SIZE[2])"),
                     "UID FETCH: 1 (BINARY.PEEK[1]<5.6> BINARY.SIZE[2])");
    ck_assert_str_eq(tree("a FETCH 1 BODY[HEADER.FIELDS (a]b [c)]"),
                     "FETCH: 1 BODY[HEADER.FIELDS (a]b [c)]");
    ck_assert_str_eq(tree("a FETCH 1 BODY[ TEXT ]"), "FETCH: 1 BODY[TEXT]");
    ck_assert_str_eq(tree("a FETCH 1 BODY"), "FETCH: 1 BODY");
}
END_TEST

START_TEST(a_literal_inside_a_section)
{
    ck_assert_int_eq(feed("a FETCH 1 BODY[HEADER.FIELDS ({4}"), PARSE_LITERAL);
    ck_assert_uint_eq(p.literal_size, 4);
    imapparse_literal(&p, "From", 4);
    ck_assert_int_eq(feed(" To)]<1.2>"), PARSE_DONE);
    ck_assert_str_eq(args(), "1 BODY[HEADER.FIELDS ({From} To)]<1.2>");
}
END_TEST

START_TEST(syntax_errors)
{
    static const char *const bad[] = {
        "a X (",
        "a X (a",
        "a X )",
        "a X a)",
        "a X (a))",
        "a X \"",
        "a X \"a",
        "a X \"a\\",
        "a X \"a\\b\"",
        "a X \"a\"b",
        "a X \"a\"\"b\"",
        "a X a\"b\"",
        "a X a(b)",
        "a X (a)b",
        "a X (a)(b)",
        "a X \x01",
        "a X a\tb",
        "a X \xc3\xa4",
        "a X a\xc3\xa4",
        "a X \x7f",
        "a X {3",
        "a X {}",
        "a X {a}",
        "a X {3} b",
        "a X {3}}",
        "a X {3++}",
        "a X a{3}",
        "a X ~{x}",
        "a X {-1}",
        "a X {99999999999999999999999}",
        "a X \"a\rb\"",
        "a FETCH 1 BODY[",
        "a FETCH 1 BODY[(a]",
        "a FETCH 1 BODY[]x",
        "a FETCH 1 BODY[]<",
        "a FETCH 1 BODY[]<>",
        "a FETCH 1 BODY[]<a>",
        "a FETCH 1 BODY[]<1.2",
        "a FETCH 1 []",
        "a FETCH 1 (BODY[)]",
        "a FETCH 1 BODY[a)",
        "a FETCH 1 BODY[HEADER.FIELDS (x BODY[1)",
    };
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        imapparse_begin(&p, arena, &limits);
        ck_assert_msg(feed(bad[i]) == ERR_SYNTAX, "%s", bad[i]);
        ck_assert_str_eq(p.tag, "a");
        ck_assert(p.error != NULL && strlen(p.error) > 10);
    }
    imapparse_begin(&p, arena, &limits);
    ck_assert_int_eq(imapparse_line(&p, "a X b\0c", 7), ERR_SYNTAX);
}
END_TEST

/* RFC 3501 4.3, RFC 7888. */
START_TEST(literals)
{
    ck_assert_int_eq(feed("a LOGIN {3}"), PARSE_LITERAL);
    ck_assert(p.literal_sync);
    ck_assert(!p.literal8);
    imapparse_literal(&p, "ann", 3);
    ck_assert_int_eq(feed(" {5+}"), PARSE_LITERAL);
    ck_assert(!p.literal_sync);
    ck_assert_uint_eq(p.literal_size, 5);
    imapparse_literal(&p, "x \"y\"", 5);
    ck_assert_int_eq(feed(""), PARSE_DONE);
    ck_assert_str_eq(args(), "{ann} {x \"y\"}");
}
END_TEST

START_TEST(literals_in_lists)
{
    ck_assert_int_eq(feed("a X ({0}"), PARSE_LITERAL);
    imapparse_literal(&p, "", 0);
    ck_assert_int_eq(feed(" b) c"), PARSE_DONE);
    ck_assert_str_eq(args(), "({} b) c");
}
END_TEST

START_TEST(literal_needs_a_blank_behind_it)
{
    ck_assert_int_eq(feed("a X {1}"), PARSE_LITERAL);
    imapparse_literal(&p, "x", 1);
    ck_assert_int_eq(feed("b"), ERR_SYNTAX);
}
END_TEST

/* RFC 3516: only a literal8 may have a NUL. */
START_TEST(nul_in_literals)
{
    ck_assert_int_eq(feed("a X ~{3+}"), PARSE_LITERAL);
    ck_assert(p.literal8 && !p.literal_sync);
    imapparse_literal(&p, "a\0b", 3);
    ck_assert_int_eq(feed(""), PARSE_DONE);
    ck_assert_uint_eq(p.args->len, 3);
    imapparse_begin(&p, arena, &limits);
    ck_assert_int_eq(feed("a X {3+}"), PARSE_LITERAL);
    imapparse_literal(&p, "a\0b", 3);
    ck_assert_int_eq(feed(""), ERR_SYNTAX);
}
END_TEST

/* RFC 7888 4: what a client sends in any case is told even when the line is refused. */
START_TEST(literal_of_a_refused_line_is_told)
{
    ck_assert_int_eq(feed("a X \x01 {7+}"), ERR_SYNTAX);
    ck_assert_uint_eq(p.literal_size, 7);
    ck_assert(!p.literal_sync);
    imapparse_begin(&p, arena, &limits);
    ck_assert_int_eq(feed("a X ) {7}"), ERR_SYNTAX);
    ck_assert_uint_eq(p.literal_size, 7);
    ck_assert(p.literal_sync);
    imapparse_begin(&p, arena, &limits);
    ck_assert_int_eq(feed("a X ) {7} "), ERR_SYNTAX);
    ck_assert_uint_eq(p.literal_size, 0);
    imapparse_begin(&p, arena, &limits);
    ck_assert_int_eq(feed("a LOGIN {70000+}"), ERR_LIMIT);
    ck_assert_uint_eq(p.literal_size, 70000);
    ck_assert(!p.literal_sync);
}
END_TEST

START_TEST(append_message_is_not_kept)
{
    ck_assert_int_eq(feed("a APPEND {5}"), PARSE_LITERAL);
    ck_assert(!imapparse_at_append_message(&p)); /* the mailbox's name */
    imapparse_literal(&p, "INBOX", 5);
    ck_assert_int_eq(feed(" (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {99999999}"),
                     PARSE_LITERAL);
    ck_assert(imapparse_at_append_message(&p)); /* and not counted against the arguments */
    ck_assert_uint_eq(p.literal_size, 99999999);
    imapparse_literal_taken(&p);
    ck_assert_int_eq(feed(" () {10+}"), PARSE_LITERAL); /* RFC 3502 */
    ck_assert(imapparse_at_append_message(&p));
    imapparse_literal_taken(&p);
    ck_assert_int_eq(feed(""), PARSE_DONE);
    ck_assert_str_eq(args(), "{INBOX} (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {} () {}");
}
END_TEST

START_TEST(a_literal_in_appends_flags_is_no_message)
{
    ck_assert_int_eq(feed("a append INBOX ({3}"), PARSE_LITERAL);
    ck_assert(!imapparse_at_append_message(&p));
    imapparse_begin(&p, arena, &limits);
    ck_assert_int_eq(feed("a SELECT x {3}"), PARSE_LITERAL);
    ck_assert(!imapparse_at_append_message(&p));
}
END_TEST

START_TEST(depth_is_limited)
{
    struct imapparse_limits deep = {65536, 1000};
    struct buf line = BUF_INIT(1000);
    int i;

    ck_assert_str_eq(tree("a X ((((((((x))))))))"), "X: ((((((((x))))))))");
    imapparse_begin(&p, arena, &limits);
    ck_assert_int_eq(feed("a X (((((((((x)))))))))"), ERR_LIMIT);
    imapparse_begin(&p, arena, &limits); /* a section isn't a list */
    ck_assert_int_eq(feed("a FETCH 1 (((((((BODY[HEADER.FIELDS (x)])))))))"), PARSE_DONE);
    for (i = 0; i < 65; i++)
        buf_adds(&line, i == 0 ? "a X (" : "(");
    imapparse_begin(&p, arena, &deep);
    ck_assert_int_eq(feed(buf_str(&line)), ERR_LIMIT); /* whatever the configuration says */
    buf_reset(&line);
    for (i = 0; i < 63; i++)
        buf_adds(&line, i == 0 ? "a FETCH (" : "(");
    buf_adds(&line, "BODY[(x)]");
    for (i = 0; i < 63; i++)
        buf_addc(&line, ')');
    imapparse_begin(&p, arena, &deep);
    ck_assert_int_eq(feed(buf_str(&line)), PARSE_DONE);
    imapparse_begin(&p, arena, &(struct imapparse_limits){65536, 0});
    ck_assert_int_eq(feed("a X ()"), ERR_LIMIT);
    buf_free(&line);
}
END_TEST

START_TEST(arguments_are_limited_over_all_lines)
{
    struct imapparse_limits small = {100, 8};

    imapparse_begin(&p, arena, &small);
    ck_assert_int_eq(feed("a X {101}"), ERR_LIMIT);
    imapparse_begin(&p, arena, &small);
    ck_assert_int_eq(feed("a X {30}"), PARSE_LITERAL);
    imapparse_literal(&p, "123456789012345678901234567890", 30);
    ck_assert_int_eq(feed(" {30}"), PARSE_LITERAL);
    imapparse_literal(&p, "123456789012345678901234567890", 30);
    ck_assert_int_eq(feed(" {30}"), ERR_LIMIT);
    imapparse_begin(&p, arena, &small);
    ck_assert_int_eq(feed("a X a a a a a a a a a a a a a a"), ERR_LIMIT); /* tokens count too */
    imapparse_begin(&p, arena, &small);
    ck_assert_int_eq(
        feed("a X 1234567890123456789012345678901234567890123456789012345678901234567890123456"
             "789012345678901234567890"),
        ERR_LIMIT);
}
END_TEST

START_TEST(helpers)
{
    uint64_t n;

    ck_assert_str_eq(tree("a X 12 \"12\" 12a 18446744073709551615 18446744073709551616 () 007"),
                     "X: 12 \"12\" 12a 18446744073709551615 18446744073709551616 () 007");
    ck_assert_uint_eq(token_count(p.args), 7);
    ck_assert(token_number(p.args, 12, &n) && n == 12);
    ck_assert(!token_number(p.args, 11, &n));
    ck_assert(!token_number(p.args->next, 99, &n)); /* a string isn't a number */
    ck_assert(!token_number(p.args->next->next, 99, &n));
    ck_assert(token_number(p.args->next->next->next, UINT64_MAX, &n) && n == UINT64_MAX);
    ck_assert(!token_number(p.args->next->next->next->next, UINT64_MAX, &n));
    ck_assert(token_is_astring(p.args->next));
    ck_assert(!token_is_astring(p.args->next->next->next->next->next));
    ck_assert(token_number(p.args->next->next->next->next->next->next, 7, &n) && n == 7);
    ck_assert(!token_number(NULL, 7, &n));
    ck_assert(!token_is_astring(NULL));
    ck_assert(token_is_atom(p.args->next->next, "12A"));
    ck_assert(!token_is_atom(p.args->next, "12"));
    ck_assert(!token_is_atom(NULL, ""));
    ck_assert_uint_eq(token_count(NULL), 0);
}
END_TEST

static const char *
written(void (*write)(struct buf *, const char *, size_t), const char *s, size_t len)
{
    static char text[3000];
    struct buf out = BUF_INIT(sizeof text - 1);

    write(&out, s, len);
    memcpy(text, buf_str(&out), out.len + 1);
    buf_free(&out);
    return text;
}

START_TEST(writing_strings)
{
    char longer[1200];

    ck_assert_str_eq(written(imap_write_string, "", 0), "\"\"");
    ck_assert_str_eq(written(imap_write_string, "a b", 3), "\"a b\"");
    ck_assert_str_eq(written(imap_write_string, "a\"b\\", 4), "\"a\\\"b\\\\\"");
    ck_assert_str_eq(written(imap_write_string, "a\r\nb", 4), "{4}\r\na\r\nb");
    ck_assert_str_eq(written(imap_write_string, "\xc3\xa4", 2), "{2}\r\n\xc3\xa4");
    ck_assert_str_eq(written(imap_write_string, "a\0b", 3), "{3}\r\na\x80"
                                                            "b");
    ck_assert_str_eq(written(imap_write_nstring, NULL, 0), "NIL");
    ck_assert_str_eq(written(imap_write_nstring, "NIL", 3), "\"NIL\"");
    ck_assert_str_eq(written(imap_write_astring, "INBOX", 5), "INBOX");
    ck_assert_str_eq(written(imap_write_astring, "a]b[c", 5), "a]b[c");
    ck_assert_str_eq(written(imap_write_astring, "", 0), "\"\"");
    ck_assert_str_eq(written(imap_write_astring, "nil", 3), "\"nil\"");
    ck_assert_str_eq(written(imap_write_astring, "a b", 3), "\"a b\"");
    ck_assert_str_eq(written(imap_write_astring, "a*", 2), "\"a*\"");
    ck_assert_str_eq(written(imap_write_astring, "a\\", 2), "\"a\\\\\"");
    memset(longer, 'x', sizeof longer);
    ck_assert_mem_eq(written(imap_write_string, longer, sizeof longer), "{1200}\r\nxxx", 11);
}
END_TEST

/* What is written is read back: strings of any octets but NUL. */
START_TEST(writing_and_parsing_agree)
{
    struct buf line = BUF_INIT(1000);
    char s[20], *lf;
    unsigned round;
    size_t i, n;

    srand(2);
    for (round = 0; round < 20000; round++) {
        n = (size_t)rand() % sizeof s;
        for (i = 0; i < n; i++)
            s[i] = round % 2 ? (char)(1 + rand() % 255) : "ab\"\\ ]("[rand() % 7];
        buf_reset(&line);
        buf_adds(&line, "a X ");
        (round % 3 ? imap_write_string : imap_write_astring)(&line, s, n);
        imapparse_begin(&p, arena, &limits);
        lf = memchr(line.data, '\n', line.len);
        if (lf == NULL || line.data[4] != '{') {
            ck_assert_int_eq(imapparse_line(&p, line.data, line.len), PARSE_DONE);
        } else {
            ck_assert_int_eq(imapparse_line(&p, line.data, (size_t)(lf - 1 - line.data)),
                             PARSE_LITERAL);
            ck_assert_uint_eq(p.literal_size, n);
            imapparse_literal(&p, lf + 1, n);
            ck_assert_int_eq(feed(""), PARSE_DONE);
        }
        ck_assert_uint_eq(p.args->len, n);
        ck_assert(n == 0 || memcmp(p.args->text, s, n) == 0);
        arena_reset(arena);
    }
    buf_free(&line);
}
END_TEST

/* A megabyte of each kind of token in well under a second. */
START_TEST(work_is_linear)
{
    static const char *const kinds[] = {"(a) ", "\"\\\\\\\\\" ", "{", "BODY[] ", "[", "a "};
    struct imapparse_limits large = {100000000, 64};
    struct buf line = BUF_INIT(2000000);
    clock_t start = clock();
    size_t i;

    for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        buf_reset(&line);
        buf_adds(&line, "a FETCH ");
        while (line.len < 1000000)
            buf_adds(&line, kinds[i]);
        imapparse_begin(&p, arena, &large);
        imapparse_line(&p, line.data, line.len);
        arena_reset(arena);
    }
    ck_assert(clock() - start < 60 * CLOCKS_PER_SEC); /* its square would take hours */
    buf_free(&line);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("imapparse");
    TCase *t = tcase_create("imapparse");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, commands_and_tags);
    tcase_add_test(t, heads_that_are_wrong);
    tcase_add_test(t, atoms);
    tcase_add_test(t, quoted_strings);
    tcase_add_test(t, lists);
    tcase_add_test(t, sections);
    tcase_add_test(t, a_literal_inside_a_section);
    tcase_add_test(t, syntax_errors);
    tcase_add_test(t, literals);
    tcase_add_test(t, literals_in_lists);
    tcase_add_test(t, literal_needs_a_blank_behind_it);
    tcase_add_test(t, nul_in_literals);
    tcase_add_test(t, literal_of_a_refused_line_is_told);
    tcase_add_test(t, append_message_is_not_kept);
    tcase_add_test(t, a_literal_in_appends_flags_is_no_message);
    tcase_add_test(t, depth_is_limited);
    tcase_add_test(t, arguments_are_limited_over_all_lines);
    tcase_add_test(t, helpers);
    tcase_add_test(t, writing_strings);
    tcase_add_test(t, writing_and_parsing_agree);
    tcase_add_test(t, work_is_linear);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
