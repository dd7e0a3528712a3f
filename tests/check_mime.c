/*
 * format/mime: structure of messages (RFC 2045, 2046, 2183, 2231), its wire form (RFC 3501
 * 7.4.2), section numbers (RFC 3501 6.4.5), the packed tree.
 *
 * Sizes are checked against a reference of their own: the message's lines converted to CRLF,
 * cut at the same places, and counted.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "mime_test.h"

static struct arena *arena;
static struct buf out = BUF_INIT(1 << 24);

static struct mime_part *
parse_with(const char *text, size_t len, size_t piece, const struct mime_limits *limits)
{
    struct memory_source src = memory_source(text, len, piece);
    struct mime_part *root;

    ck_assert_int_eq(mime_parse(&src.source, limits, arena, NULL, &root), 0);
    return root;
}

static struct mime_part *
parse(const char *text)
{
    return parse_with(text, strlen(text), 0, &usual_limits);
}

static const char *
structure_of(const struct mime_part *root, bool extended)
{
    buf_reset(&out);
    mime_write_structure(root, extended, &out);
    ck_assert(buf_ok(&out));
    return buf_str(&out);
}

static const char *
body(const char *text)
{
    return structure_of(parse(text), false);
}

static const char *
bodystructure(const char *text)
{
    return structure_of(parse(text), true);
}

static void
setup(void)
{
    arena = arena_new();
}

static void
teardown(void)
{
    arena_free(&arena);
    buf_free(&out);
}

/* The wire form of a range, and what it must count. */
static void
check_range(const char *text, uint64_t off, uint64_t len, uint64_t crlf, const uint64_t *lines)
{
    uint64_t octets = 0, ends = 0;

    for (uint64_t i = off; i < off + len; i++) {
        if (text[i] == '\n') {
            ends++;
            octets += i == 0 || text[i - 1] != '\r';
        }
        octets++;
    }
    ck_assert_uint_eq(crlf, octets);
    if (lines != NULL)
        ck_assert_uint_eq(*lines, ends);
}

static void
check_sizes(const char *text, const struct mime_part *p)
{
    for (; p != NULL; p = p->next) {
        ck_assert_uint_eq(p->body_off, p->header_off + p->header_len);
        check_range(text, p->header_off, p->header_len, p->header_crlf, NULL);
        check_range(text, p->body_off, p->body_len, p->body_crlf, &p->body_lines);
        if (p->children != NULL)
            check_sizes(text, p->children);
    }
}

/* A handful of shapes for tests that don't care which. */
#define MULTI                                                                                  \
    "From: a@b\nContent-Type: multipart/mixed; boundary=\"xx\"\n\npreamble\n--xx\n\n"          \
    "first\nsecond\n--xx\nContent-Type: text/html\n\n<b>\n\n--xx--\nepilogue\n"
#define NESTED                                                                                 \
    "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\n"       \
    "Subject: inner\nContent-Type: multipart/alternative; boundary=ab\n\n--ab\n\none\n"        \
    "--ab\nContent-Type: text/html\n\ntwo\n--ab--\n\n--a\n\nthree\n--a--\n"

static const char *const shapes[] = {
    "",
    "\n",
    "\r\n",
    "a",
    "A: b",
    "A: b\n",
    "A: b\n\n",
    "A: b\n\nbody",
    "A: b\r\n\r\nbody\r\n",
    "\nonly a body\n",
    "A: b\n\n\n\n",
    MULTI,
    NESTED,
    "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x\n\nb\n--x--",
    "Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\nA: b\n--x\n\n\n--x--\n",
    "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n--x--\n",
    "Content-Type: multipart/mixed; boundary=x\n\nno part\n",
    "Content-Type: multipart/mixed; boundary=x\n--x\n\nin header\n--x--",
    "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n",
    "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: 1\n\nb\n--d\n\n--d--\n",
    "A: \r\r\n\rB\n\r\n\r\r\n\r",
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

START_TEST(sizes_are_those_of_the_wire)
{
    for (size_t i = 0; i < SHAPES; i++) {
        struct mime_part *root = parse(shapes[i]);

        check_sizes(shapes[i], root);
        ck_assert_uint_eq(root->header_len + root->body_len, strlen(shapes[i]));
    }
}
END_TEST

START_TEST(pieces_of_any_size_give_the_same)
{
    for (size_t i = 0; i < SHAPES; i++) {
        char *whole = strdup(structure_of(parse(shapes[i]), true));

        for (size_t piece = 1; piece < 70; piece++)
            ck_assert_str_eq(
                structure_of(parse_with(shapes[i], strlen(shapes[i]), piece, &usual_limits),
                             true),
                whole);
        free(whole);
    }
}
END_TEST

START_TEST(plain_text_by_default) /* RFC 2045 5.2 */
{
    const char plain[] = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1)";

    ck_assert_str_eq(body("A: b\n\nx\n"), plain);
    ck_assert_str_eq(body("Content-Type: text\n\nx\n"), plain);
    ck_assert_str_eq(body("Content-Type: /plain\n\nx\n"), plain);
    ck_assert_str_eq(body("Content-Type:\n\nx\n"), plain);
    ck_assert_str_eq(body("\nx\n"), plain);
}
END_TEST

START_TEST(all_fields_of_a_leaf) /* RFC 3501 7.4.2 */
{
    ck_assert_str_eq(
        bodystructure(
            "Content-Type: Text/Plain (comment); CharSet=utf-8 ; name=\"a \\\"b\\\"\"\n"
            "Content-ID: <i@x>\nContent-Description: some\n thing\n"
            "Content-Transfer-Encoding: Quoted-Printable (x)\nContent-MD5: abc=\n"
            "Content-Disposition: attachment; filename=f.txt\n"
            "Content-Language: en, de\nContent-Location: http://x/\n\nx\ny\n"),
        "(\"Text\" \"Plain\" (\"CharSet\" \"utf-8\" \"name\" \"a \\\"b\\\"\") \"<i@x>\" "
        "\"some thing\" \"QUOTED-PRINTABLE\" 6 2 \"abc=\" (\"attachment\" (\"filename\" "
        "\"f.txt\")) (\"en\" \"de\") \"http://x/\")");
    ck_assert_str_eq(bodystructure("Content-Type: image/gif\nContent-Transfer-Encoding: x-odd\n"
                                   "\nx\n"),
                     "(\"image\" \"gif\" NIL NIL NIL \"X-ODD\" 3 NIL NIL NIL NIL)");
}
END_TEST

START_TEST(multiparts) /* RFC 2046 5.1 */
{
    ck_assert_str_eq(
        bodystructure(MULTI),
        "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 13 1 NIL "
        "NIL NIL NIL)(\"text\" \"html\" NIL NIL NIL \"7BIT\" 5 1 NIL NIL NIL NIL) "
        "\"mixed\" (\"boundary\" \"xx\") NIL NIL NIL)");
    ck_assert_str_eq(body(MULTI),
                     "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 13 1)"
                     "(\"text\" \"html\" NIL NIL NIL \"7BIT\" 5 1) \"mixed\")");
}
END_TEST

START_TEST(encapsulated_messages_have_envelope_body_and_lines)
{
    ck_assert_str_eq(
        body(NESTED),
        "((\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 127 (NIL \"inner\" NIL NIL "
        "NIL NIL NIL NIL NIL NIL) ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") "
        "NIL NIL \"7BIT\" 3 0)(\"text\" \"html\" NIL NIL NIL \"7BIT\" 3 0) "
        "\"alternative\") 11)(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL "
        "\"7BIT\" 5 0) \"mixed\")");
}
END_TEST

START_TEST(digest_parts_are_messages_by_default) /* RFC 2046 5.1.5 */
{
    struct mime_part *root =
        parse("Content-Type: multipart/digest; boundary=d\n\n--d\n\n"
              "Subject: 1\n\nb\n--d\nContent-Type: text/plain\n\nc\n--d--");

    ck_assert(root->children->is_message);
    ck_assert_str_eq(root->children->children->type, "TEXT");
    ck_assert(!root->children->next->is_message);
}
END_TEST

START_TEST(multipart_without_boundary_is_text)
{
    ck_assert_str_eq(body("Content-Type: multipart/mixed\n\n--x\n"),
                     "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5 1)");
    ck_assert_str_eq(body("Content-Type: multipart/mixed; boundary=\"\"\n\n--x\n"),
                     "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5 1)");
}
END_TEST

START_TEST(multipart_without_parts_has_an_empty_one) /* RFC 3501 9: body-type-mpart */
{
    ck_assert_str_eq(body("Content-Type: multipart/mixed; boundary=x\n\nnothing\n"),
                     "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0) "
                     "\"mixed\")");
}
END_TEST

START_TEST(multipart_without_end)
{
    struct mime_part *root = parse("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n");

    ck_assert_uint_eq(root->children->body_crlf, 3);
    ck_assert_ptr_null(root->children->next);
}
END_TEST

START_TEST(inner_multipart_ends_with_the_outer_one)
{
    struct mime_part *root = parse(
        "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; "
        "boundary=i\n\n--i\n\na\n--o\n\nb\n--o--\n");

    ck_assert(root->children->is_multipart);
    ck_assert_uint_eq(root->children->children->body_len, 1);
    ck_assert_ptr_null(root->children->children->next);
    ck_assert_uint_eq(root->children->next->body_len, 1);
}
END_TEST

START_TEST(boundaries_that_are_prefixes_of_each_other)
{
    struct mime_part *root = parse(NESTED); /* outer "a", inner "ab" */

    ck_assert(root->children->is_message);
    ck_assert(root->children->children->is_multipart);
    ck_assert_str_eq(root->children->children->children->next->subtype, "html");
    ck_assert_ptr_nonnull(root->children->next);
    ck_assert_ptr_null(root->children->next->next);
    /* outer "ab", inner "a" */
    root =
        parse("Content-Type: multipart/mixed; boundary=ab\n\n--ab\nContent-Type: "
              "multipart/mixed; boundary=a\n\n--a\n\n1\n--a\n\n2\n--a--\n--ab\n\n3\n--ab--\n");
    ck_assert_ptr_nonnull(root->children->children->next);
    ck_assert_ptr_null(root->children->children->next->next);
    ck_assert_ptr_nonnull(root->children->next);
    ck_assert_ptr_null(root->children->next->next);
    /* "x--" is a boundary of its own beside the end of "x" */
    root = parse("Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: "
                 "multipart/mixed; boundary=\"x--\"\n\n--x--\n\n1\n--x----\n--x\n\n2\n--x--\n");
    ck_assert(root->children->is_multipart);
    ck_assert_uint_eq(root->children->children->body_len, 1);
    ck_assert_ptr_nonnull(root->children->next);
}
END_TEST

START_TEST(boundary_details) /* RFC 2046 5.1.1 */
{
    struct mime_part *root;

    /* trailing blanks in the parameter and on the line, unquoted specials */
    root =
        parse("Content-Type: multipart/mixed; boundary=\"a b  \"\n\n--a b  \n\nx\n--a b--  \n");
    ck_assert_uint_eq(root->children->body_len, 1);
    root = parse("Content-Type: multipart/mixed; boundary==_a=b/c\n\n--=_a=b/c\n\nx\n");
    ck_assert_uint_eq(root->children->body_len, 2);
    /* not at the start of a line, and without its dashes, it's text */
    root = parse("Content-Type: multipart/mixed; boundary=x\n\n--x\n\n --x\nx\n-x\n--x--\n");
    ck_assert_uint_eq(root->children->body_len, 9);
    /* after the last one, the rest is epilogue */
    root = parse("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x--\n--x\n\nb\n");
    ck_assert_ptr_null(root->children->next);
}
END_TEST

START_TEST(encoded_messages_are_opaque) /* RFC 2046 5.2.1: only 7bit, 8bit, binary */
{
    ck_assert_str_eq(body("Content-Type: message/rfc822; name=m\nContent-Transfer-Encoding: "
                          "base64\n\nU3ViamVjdDogeA==\n"),
                     "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"BASE64\" 18)");
}
END_TEST

START_TEST(beyond_the_depth_parts_are_opaque)
{
    struct mime_limits limits = usual_limits;
    struct buf text = BUF_INIT(1 << 20);
    struct mime_part *p;
    unsigned depth = 0;

    limits.max_depth = 5;
    for (int i = 0; i < 200; i++)
        buf_addf(&text, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
    p = parse_with(buf_str(&text), text.len, 0, &limits);
    for (; p->children != NULL; p = p->children)
        depth++;
    ck_assert_uint_eq(depth, 4);
    ck_assert_str_eq(p->type, "APPLICATION");
    buf_reset(&text);
    for (int i = 0; i < 200; i++)
        buf_adds(&text, "Content-Type: message/rfc822\n\n");
    p = parse_with(buf_str(&text), text.len, 0, &limits);
    for (depth = 0; p->children != NULL; p = p->children)
        depth++;
    ck_assert_uint_eq(depth, 4);
    ck_assert(!p->is_message);
    buf_free(&text);
}
END_TEST

START_TEST(parts_are_limited)
{
    struct mime_limits limits = usual_limits;
    struct buf text = BUF_INIT(1 << 20);
    struct mime_part *root, *p;
    unsigned n = 0;

    limits.max_parts = 10;
    buf_adds(&text, "Content-Type: multipart/mixed; boundary=x\n\n");
    for (int i = 0; i < 100; i++)
        buf_adds(&text, "--x\n\nbody\n");
    root = parse_with(buf_str(&text), text.len, 0, &limits);
    for (p = root->children; p != NULL; p = p->next)
        n++;
    ck_assert_uint_eq(n, 9);
    ck_assert_uint_eq(root->header_len + root->body_len, text.len);
    buf_free(&text);
}
END_TEST

START_TEST(an_endless_header_is_cut_but_counted)
{
    struct mime_limits limits = usual_limits;
    struct buf text = BUF_INIT(1 << 22), header = BUF_INIT(1 << 22);
    struct memory_source src;
    struct mime_part *root;

    limits.max_header_size = 1000;
    buf_adds(&text, "Subject: x\n");
    for (int i = 0; i < 100000; i++)
        buf_adds(&text, "X-A: b\n");
    buf_adds(&text, "Content-Type: image/gif\n\nbody\n");
    src = memory_source(buf_str(&text), text.len, 0);
    ck_assert_int_eq(mime_parse(&src.source, &limits, arena, &header, &root), 0);
    ck_assert_uint_eq(header.len, 1000);
    ck_assert_str_eq(root->type, "TEXT");
    ck_assert_uint_eq(root->body_len, 5);
    check_sizes(buf_str(&text), root);
    buf_free(&text);
    buf_free(&header);
}
END_TEST

START_TEST(long_lines_and_nul_octets)
{
    size_t n = 3 << 20;
    char *text = malloc(n);
    struct mime_part *root;
    const char head[] = "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n";
    const char tail[] = "\n--x\n\nz\0\n--x--\n";

    memset(text, '-', n);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + n - sizeof tail + 1, tail, sizeof tail - 1);
    root = parse_with(text, n, 1000, &usual_limits);
    ck_assert_uint_eq(root->children->body_len, n - sizeof head - sizeof tail + 2);
    ck_assert_uint_eq(root->children->body_lines, 0);
    ck_assert_uint_eq(root->children->next->body_len, 2);
    free(text);
}
END_TEST

static ssize_t
failing_read(struct source *s, void *p, size_t n)
{
    (void)s;
    (void)p;
    (void)n;
    return ERR_IO;
}

START_TEST(only_a_failing_source_fails)
{
    struct source src = {failing_read};
    struct mime_part *root;

    ck_assert_int_eq(mime_parse(&src, &usual_limits, arena, NULL, &root), ERR_IO);
}
END_TEST

/* RFC 2231 */

static const char *
params(const char *value)
{
    char text[2048];
    const struct mime_param *p;

    snprintf(text, sizeof text, "Content-Type: a/b%s\n\n", value);
    buf_reset(&out);
    for (p = parse(text)->params; p != NULL; p = p->next) {
        buf_adds(&out, p->name);
        buf_addc(&out, '=');
        buf_adds(&out, p->value);
        buf_addc(&out, '|');
    }
    return buf_str(&out);
}

START_TEST(continuations_are_joined) /* RFC 2231 3 */
{
    ck_assert_str_eq(params("; access-type=URL;\n URL*0=\"ftp://\";\n URL*1=\"cs.utk.edu/x\""),
                     "access-type=URL|URL=ftp://cs.utk.edu/x|");
    ck_assert_str_eq(params("; n*1=b; x=y; n*0=a; n*2=c"), "n=abc|x=y|");
    ck_assert_str_eq(params("; n*0=a; n*2=c"), "n=a|n*2=c|");
    ck_assert_str_eq(params("; n*1=a"), "n*1=a|");
}
END_TEST

START_TEST(extended_values_keep_their_charset) /* RFC 2231 4, 4.1 */
{
    ck_assert_str_eq(params("; title*=us-ascii'en-us'This%20is%20fun"),
                     "title*=us-ascii'en-us'This%20is%20fun|");
    ck_assert_str_eq(params("; t*0*=us-ascii'en'This%20is; t*1*=%20even; t*2=\" it's\""),
                     "t*=us-ascii'en'This%20is%20even%20it%27s|");
    ck_assert_str_eq(params("; t*0=\"a b\"; t*1*=%20c"), "t*=''a%20b%20c|");
}
END_TEST

START_TEST(parameters_as_mailers_write_them)
{
    ck_assert_str_eq(params("; name=a b; x=y"), "name=a|x=y|");
    ck_assert_str_eq(params(";;; x=y;"), "x=y|");
    ck_assert_str_eq(params("; x = y ; =z; w; v="), "x=y|v=|");
    ck_assert_str_eq(params("; x=\"a;b\"; y=c (;d=e)"), "x=a;b|y=c|");
    ck_assert_str_eq(params("; x=\"never closed"), "x=never closed|");
    ck_assert_str_eq(params(" charset=utf-8; x=y"), "x=y|");
}
END_TEST

START_TEST(segments_are_limited)
{
    struct mime_limits limits = usual_limits;
    struct buf text = BUF_INIT(1 << 20);
    const struct mime_param *p;
    size_t n = 0;

    limits.max_parameter_segments = 10;
    buf_adds(&text, "Content-Type: a/b");
    for (int i = 0; i < 1000; i++)
        buf_addf(&text, ";\n p%d=x", i);
    for (p = parse_with(buf_str(&text), text.len, 0, &limits)->params; p != NULL; p = p->next)
        n++;
    ck_assert_uint_eq(n, 10);
    buf_free(&text);
}
END_TEST

/* Section numbers and the packed tree. */

static struct mime_part *
find(struct mime_part *root, size_t n, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t numbers[] = {a, b, c};

    return mime_find_part(root, numbers, n);
}

START_TEST(section_numbers) /* RFC 3501 6.4.5 */
{
    struct mime_part *root = parse(NESTED), *simple = parse("A: b\n\nx\n");

    ck_assert_ptr_eq(find(root, 0, 0, 0, 0), root);
    ck_assert_ptr_eq(find(root, 1, 1, 0, 0), root->children);
    ck_assert_ptr_eq(find(root, 1, 2, 0, 0), root->children->next);
    ck_assert_ptr_null(find(root, 1, 3, 0, 0));
    ck_assert_ptr_null(find(root, 1, 0, 0, 0));
    /* the parts of the message in part 1, which is multipart */
    ck_assert_str_eq(find(root, 2, 1, 1, 0)->subtype, "PLAIN");
    ck_assert_str_eq(find(root, 2, 1, 2, 0)->subtype, "html");
    ck_assert_ptr_null(find(root, 2, 1, 3, 0));
    ck_assert_ptr_null(find(root, 3, 1, 2, 1));
    ck_assert_ptr_null(find(root, 2, 2, 1, 0));
    /* part 1 of a message that isn't multipart is the message's body */
    ck_assert_ptr_eq(find(simple, 1, 1, 0, 0), simple);
    ck_assert_ptr_null(find(simple, 1, 2, 0, 0));
    ck_assert_ptr_null(find(simple, 2, 1, 1, 0));
}
END_TEST

static void
same_tree(const struct mime_part *a, const struct mime_part *b)
{
    for (; a != NULL; a = a->next, b = b->next) {
        ck_assert_ptr_nonnull(b);
        ck_assert_uint_eq(a->header_off, b->header_off);
        ck_assert_uint_eq(a->header_len, b->header_len);
        ck_assert_uint_eq(a->header_crlf, b->header_crlf);
        ck_assert_uint_eq(a->body_off, b->body_off);
        ck_assert_uint_eq(a->body_len, b->body_len);
        ck_assert_uint_eq(a->body_crlf, b->body_crlf);
        ck_assert_uint_eq(a->body_lines, b->body_lines);
        ck_assert_int_eq(a->is_message, b->is_message);
        ck_assert_int_eq(a->is_multipart, b->is_multipart);
        same_tree(a->children, b->children);
    }
    ck_assert_ptr_null(b);
}

START_TEST(packed_and_unpacked_is_the_same)
{
    for (size_t i = 0; i < SHAPES; i++) {
        struct mime_part *root = parse(shapes[i]), *again;

        buf_reset(&out);
        mime_pack(root, &out);
        ck_assert_int_eq(mime_unpack(out.data, out.len, arena, &again), 0);
        same_tree(root, again);
    }
}
END_TEST

START_TEST(damaged_packs_are_refused)
{
    struct mime_part *root = parse(NESTED), *again;
    char *copy;

    buf_reset(&out);
    mime_pack(root, &out);
    for (size_t n = 0; n < out.len; n++)
        ck_assert_int_eq(mime_unpack(out.data, n, arena, &again), ERR_CORRUPT);
    for (size_t i = 0; i < out.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            copy = malloc(out.len); /* so that a read behind the end is seen */
            memcpy(copy, out.data, out.len);
            copy[i] = (char)(copy[i] ^ (1 << bit));
            if (mime_unpack(copy, out.len, arena, &again) == 0)
                ck_assert_ptr_nonnull(again);
            free(copy);
        }
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("mime");
    TCase *c = tcase_create("mime");
    SRunner *r;
    int failed;

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, sizes_are_those_of_the_wire);
    tcase_add_test(c, pieces_of_any_size_give_the_same);
    tcase_add_test(c, plain_text_by_default);
    tcase_add_test(c, all_fields_of_a_leaf);
    tcase_add_test(c, multiparts);
    tcase_add_test(c, encapsulated_messages_have_envelope_body_and_lines);
    tcase_add_test(c, digest_parts_are_messages_by_default);
    tcase_add_test(c, multipart_without_boundary_is_text);
    tcase_add_test(c, multipart_without_parts_has_an_empty_one);
    tcase_add_test(c, multipart_without_end);
    tcase_add_test(c, inner_multipart_ends_with_the_outer_one);
    tcase_add_test(c, boundaries_that_are_prefixes_of_each_other);
    tcase_add_test(c, boundary_details);
    tcase_add_test(c, encoded_messages_are_opaque);
    tcase_add_test(c, beyond_the_depth_parts_are_opaque);
    tcase_add_test(c, parts_are_limited);
    tcase_add_test(c, an_endless_header_is_cut_but_counted);
    tcase_add_test(c, long_lines_and_nul_octets);
    tcase_add_test(c, only_a_failing_source_fails);
    tcase_add_test(c, continuations_are_joined);
    tcase_add_test(c, extended_values_keep_their_charset);
    tcase_add_test(c, parameters_as_mailers_write_them);
    tcase_add_test(c, segments_are_limited);
    tcase_add_test(c, section_numbers);
    tcase_add_test(c, packed_and_unpacked_is_the_same);
    tcase_add_test(c, damaged_packs_are_refused);
    suite_add_tcase(s, c);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
