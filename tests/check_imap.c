/*
 * The IMAP session without mail: the command table's state rules, replies, flags, and whole
 * sessions before login over a socket pair. Sessions with mail are played by tests/imap/run.py.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "imap/imap.h"
#include "imap/imap_session.h"

#define OUTPUT_MAX (1 << 20)

static struct conf *conf;
static char last_log[512];

static void
keep_log(enum log_level level, const char *line)
{
    (void)level;
    snprintf(last_log, sizeof last_log, "%s", line);
}

static void
setup(void)
{
    conf = conf_defaults();
    conf->login_security = LOGIN_SECURITY_ANY;
    log_hook = keep_log;
}

static void
teardown(void)
{
    log_hook = NULL;
    conf_free(&conf);
}

/* A session before login that is sent `input` and then, unless `open`, an end of file. The
   answer is malloc'd. */
static char *
converse(const char *input, size_t len, bool open, volatile sig_atomic_t *stop)
{
    struct session s = {.conf = conf, .service = "imap", .local = "test", .auth_fd = -1};
    char *out = calloc(1, OUTPUT_MAX);
    ssize_t n;
    size_t got = 0;
    int fd[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    ck_assert_int_eq(write(fd[1], input, len), (ssize_t)len);
    if (!open)
        shutdown(fd[1], SHUT_WR);
    snprintf(s.id, sizeof s.id, "abc");
    snprintf(s.peer.address, sizeof s.peer.address, "192.0.2.1");
    s.stream = stream_new(fd[0], 10);
    s.started_ms = sys_monotonic_ms();
    s.stopping = stop;
    imap_session(&s);
    stream_free(&s.stream);
    while ((n = read(fd[1], out + got, OUTPUT_MAX - 1 - got)) > 0)
        got += (size_t)n;
    close(fd[1]);
    return out;
}

/* The answer behind the greeting. */
static void
expect(const char *input, const char *answer)
{
    char *out = converse(input, strlen(input), false, NULL), *rest;

    ck_assert_msg(strncmp(out, "* OK [CAPABILITY IMAP4rev1 ", 27) == 0, "greeting: %s", out);
    rest = strstr(out, "\r\n") + 2;
    ck_assert_str_eq(rest, answer);
    free(out);
}

static void
state_only(struct imap *im, enum imap_state state)
{
    memset(im, 0, sizeof *im);
    im->conf = conf;
    im->state = state;
}

/* RFC 3501 3 and 6: which command is allowed in which state. */
START_TEST(rfc3501_3_states)
{
    static const struct {
        const char *names;
        unsigned states;
    } rows[] = {
        {"CAPABILITY NOOP LOGOUT ID ", STATE_ANY},
        {"STARTTLS AUTHENTICATE LOGIN ", STATE_NOT_AUTH},
        {"SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB STATUS APPEND "
         "NAMESPACE ENABLE IDLE GETQUOTA GETQUOTAROOT ",
         STATE_LOGGED_IN},
        {"CHECK CLOSE EXPUNGE SEARCH FETCH STORE COPY MOVE UNSELECT ", STATE_SELECTED},
    };
    static const enum imap_state states[] = {STATE_NOT_AUTH, STATE_AUTH, STATE_SELECTED};
    size_t known = 0;

    for (size_t i = 0; i < 4; i++) {
        char names[256], *word, *save = NULL;

        snprintf(names, sizeof names, "%s", rows[i].names);
        for (word = strtok_r(names, " ", &save); word != NULL;
             word = strtok_r(NULL, " ", &save), known++)
            for (size_t k = 0; k < 3; k++) {
                struct imap im;
                const struct imap_command *c;

                state_only(&im, states[k]);
                c = imap_find_command(&im, word);
                ck_assert_msg(c != NULL, "%s isn't in the table", word);
                ck_assert_msg((imap_command_fault(&im, c) == NULL) ==
                                  ((rows[i].states & states[k]) != 0),
                              "%s in state %d", word, states[k]);
            }
    }
    for (size_t i = 0; imap_commands[i].name != NULL; i++)
        known--;
    ck_assert_uint_eq(known, 0);
}
END_TEST

START_TEST(table_is_sorted)
{
    for (size_t i = 1; imap_commands[i].name != NULL; i++)
        ck_assert_str_lt(imap_commands[i - 1].name, imap_commands[i].name);
}
END_TEST

/* RFC 3501 7.4.1: no EXPUNGE while FETCH, STORE, SEARCH are answered; 6.4.8: what has a UID
   form. */
START_TEST(rfc3501_7_4_1_flags)
{
    for (size_t i = 0; imap_commands[i].name != NULL; i++) {
        const struct imap_command *c = &imap_commands[i];
        char name[32];

        snprintf(name, sizeof name, " %s ", c->name);
        ck_assert_msg(!(c->flags & CMD_NO_EXPUNGE) == !strstr(" FETCH STORE SEARCH ", name),
                      "%s", name);
        ck_assert_msg(!(c->flags & CMD_UID_OK) ==
                          !strstr(" FETCH STORE SEARCH COPY MOVE EXPUNGE ", name),
                      "%s", name);
    }
}
END_TEST

/* RFC 5530 and 3501 7.1: every code that reply_err() gives is a registered one. */
START_TEST(rfc5530_codes)
{
    static const char known[] =
        "[UNAVAILABLE] [AUTHENTICATIONFAILED] [NOPERM] [INUSE] [EXPUNGEISSUED] [CORRUPTION] "
        "[SERVERBUG] [CANNOT] [LIMIT] [OVERQUOTA] [ALREADYEXISTS] [NONEXISTENT] [READ-ONLY] "
        "[TRYCREATE] ";

    for (int err = -1; err >= -30; err--) {
        struct reply r = reply_err(err);
        const char *end = strchr(r.text, ']');

        ck_assert(r.kind == REPLY_NO || r.kind == REPLY_BAD);
        if (r.text[0] == '[') {
            char code[64];

            snprintf(code, sizeof code, "%.*s ", (int)(end - r.text) + 1, r.text);
            ck_assert_msg(strstr(known, code) != NULL, "%s", code);
        }
    }
    ck_assert_int_eq(reply_err(ERR_SYNTAX).kind, REPLY_BAD);
    ck_assert_int_eq(reply_err(ERR_RANGE).kind, REPLY_BAD);
    ck_assert(strncmp(reply_target(ERR_NOENT).text, "[TRYCREATE]", 11) == 0);
    ck_assert(strncmp(reply_err(ERR_NOENT).text, "[NONEXISTENT]", 13) == 0);
}
END_TEST

static int
read_flags(const char *text, struct flag_set *out, struct arena *a)
{
    struct imapparse_limits limits = {.max_arguments = 65536, .max_depth = 8};
    struct imap im;

    state_only(&im, STATE_SELECTED);
    im.arena = a;
    imapparse_begin(&im.parse, a, &limits);
    ck_assert_int_eq(imapparse_line(&im.parse, text, strlen(text)), PARSE_DONE);
    return imap_read_flags(&im, im.parse.args, out);
}

/* RFC 3501 9: flag-list; 2.3.2: \Recent can't be given by a client. */
START_TEST(rfc3501_2_3_2_flags)
{
    struct arena *a = arena_new();
    struct flag_set f;

    ck_assert_int_eq(read_flags("a X (\\seen \\DELETED $Work \\Recent work $WORK)", &f, a), 0);
    ck_assert_uint_eq(f.flags, MSG_SEEN | MSG_DELETED);
    ck_assert_uint_eq(f.keywords_count, 2);
    ck_assert_str_eq(f.keywords[0], "$Work");
    ck_assert_str_eq(f.keywords[1], "work");
    ck_assert_int_eq(read_flags("a X ()", &f, a), 0);
    ck_assert_uint_eq(f.flags, 0);
    ck_assert_int_eq(read_flags("a X (\\Nonsense)", &f, a), ERR_SYNTAX);
    ck_assert_int_eq(read_flags("a X (\"x\")", &f, a), ERR_SYNTAX);
    ck_assert_int_eq(read_flags("a X (a]b)", &f, a), ERR_SYNTAX);
    ck_assert_int_eq(read_flags("a X (a%)", &f, a), ERR_SYNTAX);
    ck_assert_int_eq(read_flags("a X ((x))", &f, a), ERR_SYNTAX);
    ck_assert_int_eq(read_flags("a X \\Seen", &f, a), ERR_SYNTAX);
    ck_assert_int_eq(read_flags("a X", &f, a), ERR_SYNTAX);
    arena_free(&a);
}
END_TEST

/* RFC 3501 6.1, 7.1.3, 7.1.5 */
START_TEST(rfc3501_6_1_before_login)
{
    expect("a NOOP\r\nb LOGOUT\r\nc NOOP\r\n",
           "a OK NOOP completed\r\n* BYE Logging out\r\nb OK LOGOUT completed\r\n");
    expect("a CAPABILITY\r\n",
           "* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN\r\n"
           "a OK CAPABILITY completed\r\n");
    expect("a FOO\r\nb SELECT INBOX\r\n", "a BAD Unknown command\r\nb BAD Log in first\r\n");
    expect("a NOOP\nb NOOP\n", "a OK NOOP completed\r\nb OK NOOP completed\r\n");
}
END_TEST

/* RFC 3501 6.2.1: nothing is offered that can't be done. */
START_TEST(no_certificate_no_starttls)
{
    expect("a STARTTLS\r\n", "a BAD TLS is not available\r\n");
}
END_TEST

/* RFC 8314 3, RFC 3501 6.2.3 */
START_TEST(logindisabled)
{
    conf->login_security = LOGIN_SECURITY_TLS;
    expect("a CAPABILITY\r\nb LOGIN x y\r\nc AUTHENTICATE PLAIN AHgAeQ==\r\n",
           "* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID LOGINDISABLED\r\n"
           "a OK CAPABILITY completed\r\n"
           "b NO [PRIVACYREQUIRED] A password may only be sent after STARTTLS\r\n"
           "c NO [PRIVACYREQUIRED] A password may only be sent after STARTTLS\r\n");
}
END_TEST

START_TEST(too_many_bad_commands)
{
    expect("a A\r\nb NOOP\r\nc B\r\nd C\r\ne NOOP\r\n",
           "a BAD Unknown command\r\nb OK NOOP completed\r\nc BAD Unknown command\r\n"
           "d BAD Unknown command\r\n* BYE Too many bad commands\r\n");
    ck_assert_msg(strstr(last_log, "too many bad commands") != NULL, "%s", last_log);
}
END_TEST

/* RFC 7888: what a refused command's literal holds is never taken for a command. */
START_TEST(rfc7888_refused_literals)
{
    expect("a FOO {11+}\r\nx1 LOGOUT\r\n {11+}\r\nx2 LOGOUT\r\n\r\nb NOOP\r\n",
           "a BAD Unknown command\r\nb OK NOOP completed\r\n");
    expect("a SELECT {11+}\r\nx1 LOGOUT\r\n\r\nb NOOP\r\n",
           "a BAD Log in first\r\nb OK NOOP completed\r\n");
    expect("a APPEND x {11+}\r\nx1 LOGOUT\r\n\r\nb NOOP\r\n",
           "a BAD Log in first\r\nb OK NOOP completed\r\n");
    expect("a FOO {5}\r\nb NOOP\r\n", "a BAD Unknown command\r\nb OK NOOP completed\r\n");
    expect("a LOGIN {99999999999999999999999999+}\r\nb NOOP\r\n",
           "* BYE [TOOBIG] The literal is too large\r\n");
}
END_TEST

/* Before login: lines of 4 KiB, literals of 4 KiB, lists of depth 1. */
START_TEST(limits_before_login)
{
    char line[6000], literal[6000], big[5001];

    memset(big, 'x', 5000);
    big[5000] = '\0';
    snprintf(line, sizeof line, "tag1 NOOP %s\r\nb NOOP\r\n", big);
    expect(line, "tag1 BAD The line is too long\r\nb OK NOOP completed\r\n");
    snprintf(line, sizeof line, "%s\r\nb NOOP\r\n", big);
    expect(line, "* BAD The line is too long\r\nb OK NOOP completed\r\n");
    snprintf(literal, sizeof literal, "a LOGIN {4097+}\r\n%.4097s y\r\nb NOOP\r\n", big);
    expect(literal, "a BAD [TOOBIG] The literal is too large\r\nb OK NOOP completed\r\n");
    expect("a LOGIN {4097}\r\nb NOOP\r\n",
           "a BAD [TOOBIG] The literal is too large\r\nb OK NOOP completed\r\n");
    expect("a ID ((x))\r\nb NOOP\r\n",
           "a BAD Parentheses are nested too deeply\r\nb OK NOOP completed\r\n");
}
END_TEST

static void
expect_open(const char *input, const char *end, const char *reason)
{
    char *out = converse(input, strlen(input), true, NULL);
    size_t n = strlen(out), k = strlen(end);

    ck_assert_msg(n >= k && strcmp(out + n - k, end) == 0, "%s", out);
    ck_assert_msg(strstr(last_log, reason) != NULL, "%s", last_log);
    free(out);
}

/* Every wait ends, with words to the client and a reason in the log. */
START_TEST(timeouts_before_login)
{
    conf->login_timeout = 1;
    conf->command_timeout = 60;
    expect_open("a NOOP\r\n", "* BYE Login took too long\r\n", "login timeout");
    expect_open("a NO", "* BYE Login took too long\r\n", "login timeout");
    expect_open("a LOGIN {5}\r\nab", "* BYE The data came too slowly\r\n", "literal timeout");
    conf->login_timeout = 60;
    conf->command_timeout = 1;
    expect_open("a NO", "* BYE The command took too long\r\n", "command timeout");
    expect_open("a AUTHENTICATE PLAIN\r\nAHg", "* BYE The command took too long\r\n",
                "command timeout");
}
END_TEST

START_TEST(server_stops)
{
    volatile sig_atomic_t stop = 1;
    char *out = converse("a NOOP\r\n", 8, true, &stop);

    ck_assert_ptr_nonnull(strstr(out, "\r\n* BYE [UNAVAILABLE] "));
    ck_assert_ptr_null(strstr(out, "a OK"));
    free(out);
}
END_TEST

/* RFC 3501 6.2.2: cancelled, no Base64, too long. */
START_TEST(rfc3501_6_2_2_authenticate)
{
    expect("a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n",
           "+ \r\na BAD Authentication cancelled\r\nb OK NOOP completed\r\n");
    expect("a AUTHENTICATE LOGIN\r\n!\r\nb NOOP\r\n",
           "+ VXNlcm5hbWU6\r\na BAD The response isn't Base64\r\nb OK NOOP completed\r\n");
    expect("a AUTHENTICATE PLAIN =\r\n",
           "a BAD The response isn't of the form that PLAIN has\r\n");
    expect("a AUTHENTICATE NTLM\r\n", "a NO [CANNOT] This mechanism is not offered\r\n");
}
END_TEST

START_TEST(hidden_capabilities)
{
    free(conf->hidden_capabilities);
    conf->hidden_capabilities = strdup("ID, LITERAL+, AUTH=LOGIN");
    expect("a CAPABILITY\r\nb ID NIL\r\n",
           "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\na OK CAPABILITY completed\r\n"
           "b BAD Unknown command\r\n");
}
END_TEST

/* Random octets end in some way, and never in a login. */
START_TEST(garbage)
{
    unsigned seed = 7;

    for (int round = 0; round < 200; round++) {
        char input[2000];
        size_t len = 1 + (size_t)rand_r(&seed) % (sizeof input - 1);
        char *out;

        for (size_t i = 0; i < len; i++)
            input[i] = round % 2 ? (char)rand_r(&seed)
                                 : " \r\nabLOGIN{}0123+()\"\\*%[]<>"[rand_r(&seed) % 27];
        out = converse(input, len, false, NULL);
        ck_assert(strncmp(out, "* OK ", 5) == 0);
        free(out);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("imap");
    TCase *tc = tcase_create("session");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, rfc3501_3_states);
    tcase_add_test(tc, table_is_sorted);
    tcase_add_test(tc, rfc3501_7_4_1_flags);
    tcase_add_test(tc, rfc5530_codes);
    tcase_add_test(tc, rfc3501_2_3_2_flags);
    tcase_add_test(tc, rfc3501_6_1_before_login);
    tcase_add_test(tc, no_certificate_no_starttls);
    tcase_add_test(tc, logindisabled);
    tcase_add_test(tc, too_many_bad_commands);
    tcase_add_test(tc, rfc7888_refused_literals);
    tcase_add_test(tc, limits_before_login);
    tcase_add_test(tc, timeouts_before_login);
    tcase_add_test(tc, server_stops);
    tcase_add_test(tc, rfc3501_6_2_2_authenticate);
    tcase_add_test(tc, hidden_capabilities);
    tcase_add_test(tc, garbage);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
