/*
 * format/envelope and format/address: ENVELOPE (RFC 3501 7.4.2) over address lists as RFC 5322
 * 3.4 and 4.4 allow them, and as mailers get them wrong.
 */
#include <check.h>
#include <stdlib.h>

#include "format/address.h"
#include "mime_test.h"

static struct buf written = BUF_INIT(1 << 24);

static const char *
list(const char *value)
{
    unsigned left = 100;

    buf_reset(&written);
    address_write_list(value, strlen(value), &left, &written);
    return buf_str(&written);
}

START_TEST(mailboxes) /* RFC 5322 3.4 */
{
    ck_assert_str_eq(list("a@b"), "(NIL NIL \"a\" \"b\")");
    ck_assert_str_eq(list(" <a.b@c.d> "), "(NIL NIL \"a.b\" \"c.d\")");
    ck_assert_str_eq(list("John  Q. Public <j@x>"), "(\"John Q. Public\" NIL \"j\" \"x\")");
    ck_assert_str_eq(list("\"Joe, \\\"the\\\" Blow\" <j@x>"),
                     "(\"Joe, \\\"the\\\" Blow\" NIL \"j\" \"x\")");
    ck_assert_str_eq(list("a@b, c@d"), "(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")");
    ck_assert_str_eq(list("\"quoted local\"@b"), "(NIL NIL \"quoted local\" \"b\")");
    ck_assert_str_eq(list("a@[192.0.2.1]"), "(NIL NIL \"a\" \"[192.0.2.1]\")");
    ck_assert_str_eq(list("=?utf-8?Q?x?= <a@b>"), "(\"=?utf-8?Q?x?=\" NIL \"a\" \"b\")");
    ck_assert_str_eq(list("A\r\n B\r\n\t<a@b>\r\n"), "(\"A B\" NIL \"a\" \"b\")");
}
END_TEST

START_TEST(groups_have_nil_host_markers) /* RFC 3501 7.4.2 */
{
    ck_assert_str_eq(list("undisclosed-recipients:;"),
                     "(NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)");
    ck_assert_str_eq(list("A Group:Ed <joe@w>, jdoe@o; z@y"),
                     "(NIL NIL \"A Group\" NIL)(\"Ed\" NIL \"joe\" \"w\")"
                     "(NIL NIL \"jdoe\" \"o\")(NIL NIL NIL NIL)(NIL NIL \"z\" \"y\")");
    ck_assert_str_eq(list("never closed: a@b"),
                     "(NIL NIL \"never closed\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL)");
    ck_assert_str_eq(list("a:b:c@d;"),
                     "(NIL NIL \"a\" NIL)(NIL NIL \"c\" \"d\")(NIL NIL NIL NIL)");
}
END_TEST

START_TEST(obsolete_routes_comments_and_blanks) /* RFC 5322 4.4, A.5, A.6 */
{
    ck_assert_str_eq(list("Mary <@node.test,@b:mary@example.net>"),
                     "(\"Mary\" \"@node.test,@b\" \"mary\" \"example.net\")");
    ck_assert_str_eq(list("<@no.colon>"), "(NIL NIL \"\" \"no.colon\")");
    ck_assert_str_eq(list("jdoe@test   . example"), "(NIL NIL \"jdoe\" \"test.example\")");
    ck_assert_str_eq(list("john . doe @ x"), "(NIL NIL \"john.doe\" \"x\")");
    ck_assert_str_eq(list("a@b (Real (inner) Name)"),
                     "(\"Real (inner) Name\" NIL \"a\" \"b\")");
    ck_assert_str_eq(list("Pete(A nice \\) chap) <pete(his account)@silly.test(host)>"),
                     "(\"Pete\" NIL \"pete\" \"silly.test\")");
    ck_assert_str_eq(list("<a@b> (Name)"), "(\"Name\" NIL \"a\" \"b\")");
    ck_assert_str_eq(list("a@b, , ,c@d,"), "(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")");
}
END_TEST

START_TEST(broken_lists_still_fit_the_grammar)
{
    ck_assert_str_eq(list("root"), "(NIL NIL \"root\" \"\")");
    ck_assert_str_eq(list("Name <root>"), "(\"Name\" NIL \"root\" \"\")");
    ck_assert_str_eq(list("Name <>"), "(\"Name\" NIL \"\" \"\")");
    ck_assert_str_eq(list("Name <a@b"), "(\"Name\" NIL \"a\" \"b\")");
    ck_assert_str_eq(list("a@b; c@d"), "(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")");
    ck_assert_str_eq(list("a@b c@d, e@f"), "(NIL NIL \"a\" \"b\")(NIL NIL \"e\" \"f\")");
    ck_assert_str_eq(list("\"unclosed <a@b>"), "(NIL NIL \"unclosed <a@b>\" \"\")");
    ck_assert_str_eq(list("(unclosed"), "");
    ck_assert_str_eq(list(""), "");
    ck_assert_str_eq(list(" ,,; ) ] > \\"), "");
    ck_assert_str_eq(list("@"), "(NIL NIL \"\" \"\")");
    ck_assert_str_eq(list("<<a@b>>"), "(NIL NIL \"a\" \"b\")");
    ck_assert_str_eq(list("M\xfcller <a@b>"), "({6}\r\nM\xfcller NIL \"a\" \"b\")");
}
END_TEST

START_TEST(addresses_are_limited)
{
    unsigned left = 3;

    buf_reset(&written);
    address_write_list("a@b,c@d,e@f,g@h", 15, &left, &written);
    ck_assert_str_eq(buf_str(&written),
                     "(NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")(NIL NIL \"e\" \"f\")");
    ck_assert_uint_eq(left, 0);
}
END_TEST

static const char *
envelope(const char *header)
{
    buf_reset(&written);
    envelope_write(header, strlen(header), &usual_limits, &written);
    ck_assert(buf_ok(&written));
    return buf_str(&written);
}

START_TEST(all_ten_items_in_order)
{
    ck_assert_str_eq(envelope("Message-ID: <m@x>\nDate: Mon, 1 Jan 2024 10:00:00 +0100\n"
                              "Subject: Hello\nFrom: f@x\nSender: s@x\nReply-To: r@x\n"
                              "To: t@x\nCc: c@x\nBcc: b@x\nIn-Reply-To: <i@x>\n\nTo: no\n"),
                     "(\"Mon, 1 Jan 2024 10:00:00 +0100\" \"Hello\" ((NIL NIL \"f\" \"x\")) "
                     "((NIL NIL \"s\" \"x\")) ((NIL NIL \"r\" \"x\")) ((NIL NIL \"t\" \"x\")) "
                     "((NIL NIL \"c\" \"x\")) ((NIL NIL \"b\" \"x\")) \"<i@x>\" \"<m@x>\")");
}
END_TEST

START_TEST(missing_is_nil_and_empty_is_empty) /* RFC 3501 7.4.2 */
{
    ck_assert_str_eq(envelope(""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    ck_assert_str_eq(envelope("Subject:\nTo: \nMessage-ID: \n"),
                     "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL \"\")");
}
END_TEST

START_TEST(sender_and_reply_to_default_to_from)
{
    ck_assert_str_eq(envelope("From: A <a@b>\nSender: \n"),
                     "(NIL NIL ((\"A\" NIL \"a\" \"b\")) ((\"A\" NIL \"a\" \"b\")) "
                     "((\"A\" NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)");
    ck_assert_str_eq(envelope("Sender: a@b\n"),
                     "(NIL NIL NIL ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL)");
}
END_TEST

START_TEST(repeated_fields)
{
    ck_assert_str_eq(envelope("To: a@b\nSubject: 1\nTo: c@d\nSubject: 2\nX: y\nto: e@f\n"),
                     "(NIL \"1\" NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")"
                     "(NIL NIL \"e\" \"f\")) NIL NIL NIL NIL)");
}
END_TEST

START_TEST(strings_are_unfolded_and_quoted_or_literal)
{
    ck_assert_str_eq(envelope("Subject: a\r\n \"b\" \\c\r\n"),
                     "(NIL \"a \\\"b\\\" \\\\c\" NIL NIL NIL NIL NIL NIL NIL NIL)");
    ck_assert_str_eq(envelope("Subject: \xe4\n"),
                     "(NIL {1}\r\n\xe4 NIL NIL NIL NIL NIL NIL NIL NIL)");
}
END_TEST

START_TEST(ten_thousand_to_fields_take_no_time)
{
    struct buf header = BUF_INIT(1 << 20);

    for (int i = 0; i < 12000; i++)
        buf_adds(&header, "To: a@b\n");
    envelope(buf_str(&header));
    buf_free(&header);
}
END_TEST

int
main(void)
{
    Suite *s = suite_create("envelope");
    TCase *c = tcase_create("envelope");
    SRunner *r;
    int failed;

    tcase_add_test(c, mailboxes);
    tcase_add_test(c, groups_have_nil_host_markers);
    tcase_add_test(c, obsolete_routes_comments_and_blanks);
    tcase_add_test(c, broken_lists_still_fit_the_grammar);
    tcase_add_test(c, addresses_are_limited);
    tcase_add_test(c, all_ten_items_in_order);
    tcase_add_test(c, missing_is_nil_and_empty_is_empty);
    tcase_add_test(c, sender_and_reply_to_default_to_from);
    tcase_add_test(c, repeated_fields);
    tcase_add_test(c, strings_are_unfolded_and_quoted_or_literal);
    tcase_add_test(c, ten_thousand_to_fields_take_no_time);
    suite_add_tcase(s, c);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    buf_free(&written);
    return failed != 0;
}
