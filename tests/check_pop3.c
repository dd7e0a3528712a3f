/*
 * pop3/: whole sessions over a socket pair, with the real store on a Maildir of its own and a
 * login of our own in place of auth/session.c (defined here, so the library's isn't linked).
 *
 * The session runs in a thread; the test is the client and waits for each answer.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/session.h"
#include "base/arena.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "pop3/pop3.h"
#include "store/mailbox.h"
#include "store/view.h"

#define PASSWORD "open sesame"

static char root[64];     /* the test's directory */
static char maildir[128]; /* in it */
static struct conf *conf;
static volatile sig_atomic_t stop;
static struct session session;
static pthread_t thread;
static int client = -1;
static FILE *in;
static char mechanism[32], challenge[256], digest[64]; /* what the login was given */

/* The login of this test: the name says what happens. */

bool
session_plaintext_ok(const struct session *s)
{
    return s->conf->login_security == LOGIN_SECURITY_ANY;
}

enum login_result
session_login(struct session *s, struct credentials *c)
{
    struct account_params params = {
        .conf = s->conf, .user = "ann", .home = "", .mail_location = maildir};
    bool apop = strcmp(c->mechanism, "APOP") == 0;

    snprintf(mechanism, sizeof mechanism, "%s", c->mechanism);
    snprintf(challenge, sizeof challenge, "%s", c->challenge != NULL ? c->challenge : "");
    snprintf(digest, sizeof digest, "%s", apop ? c->password : "");
    if (strlen(c->user) != c->user_len || strlen(c->password) != c->password_len)
        return LOGIN_FAILED; /* a NUL in it */
    if (strcmp(c->user, "toomany") == 0)
        return LOGIN_TOO_MANY;
    if (strcmp(c->user, "broken") == 0)
        return LOGIN_BROKEN;
    if (strcmp(c->user, "later") == 0)
        return LOGIN_UNAVAILABLE;
    if (strcmp(c->user, "ann") != 0 || (!apop && strcmp(c->password, PASSWORD) != 0))
        return LOGIN_FAILED;
    memset(c->password, 0, c->password_len);
    ck_assert_int_eq(account_open(&params, &s->account), 0);
    return LOGIN_OK;
}

void
session_end(struct session *s)
{
    account_close(&s->account);
}

static void
quiet(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static void
setup(void)
{
    struct account_params params;
    struct account *a;

    log_hook = quiet;
    snprintf(root, sizeof root, "/tmp/check_pop3.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(maildir, sizeof maildir, "%s/Maildir", root);
    conf = conf_defaults();
    conf->login_security = LOGIN_SECURITY_ANY;
    params = (struct account_params){
        .conf = conf, .user = "ann", .home = "", .mail_location = maildir};
    ck_assert_int_eq(account_open(&params, &a), 0);
    account_close(&a);
    stop = 0;
}

static void
teardown(void)
{
    pid_t pid;

    if (client >= 0) {
        fclose(in);
        pthread_join(thread, NULL);
        client = -1;
    }
    conf_free(&conf);
    pid = fork();
    if (pid == 0)
        execlp("rm", "rm", "-rf", root, (char *)NULL);
    waitpid(pid, NULL, 0);
    log_hook = NULL;
}

/* A message as another program delivers it. */
static void
deliver(unsigned n, const char *text, size_t len)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/new/17000%05u.M%uP1.test", maildir, n, n);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
    close(fd);
}

static void
deliver_text(unsigned n, const char *text)
{
    deliver(n, text, strlen(text));
}

static unsigned
files(void)
{
    static const char *const subs[] = {"new", "cur"};
    char path[256];
    const struct dirent *e;
    unsigned n = 0, i;
    DIR *d;

    for (i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", maildir, subs[i]);
        d = opendir(path);
        while (d != NULL && (e = readdir(d)) != NULL)
            n += e->d_name[0] != '.';
        closedir(d);
    }
    return n;
}

static void
remove_files(void)
{
    static const char *const subs[] = {"new", "cur"};
    char path[600];
    const struct dirent *e;
    unsigned i;
    DIR *d;

    for (i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", maildir, subs[i]);
        d = opendir(path);
        while (d != NULL && (e = readdir(d)) != NULL) {
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s/%s", maildir, subs[i], e->d_name);
            unlink(path);
        }
        closedir(d);
    }
}

static void *
run_session(void *unused)
{
    (void)unused;
    pop3_session(&session);
    stream_free(&session.stream);
    return NULL;
}

static const char *
line(void)
{
    static char text[70000];

    if (fgets(text, sizeof text, in) == NULL)
        return "EOF";
    ck_assert_msg(strlen(text) >= 2 && strcmp(text + strlen(text) - 2, "\r\n") == 0,
                  "line without CRLF: %s", text);
    text[strlen(text) - 2] = '\0';
    return text;
}

/* Connects and reads the greeting. */
static const char *
connect_client(void)
{
    struct timeval patience = {20, 0};
    int fd[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    client = fd[1];
    in = fdopen(client, "rb");
    session = (struct session){.conf = conf, .service = "pop3", .local = "test", .auth_fd = -1};
    snprintf(session.id, sizeof session.id, "abc");
    snprintf(session.peer.address, sizeof session.peer.address, "192.0.2.1");
    session.stream = stream_new(fd[0], 10);
    session.started_ms = sys_monotonic_ms();
    session.stopping = &stop;
    ck_assert_int_eq(pthread_create(&thread, NULL, run_session, NULL), 0);
    return line();
}

static void
end_client(void)
{
    fclose(in);
    pthread_join(thread, NULL);
    client = -1;
}

static void
say(const char *text)
{
    ck_assert_int_eq(send(client, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    ck_assert_int_eq(send(client, "\r\n", 2, MSG_NOSIGNAL), 2);
}

/* A command, and the beginning of its answer's first line. */
static void
expect(const char *command, const char *start)
{
    const char *got;

    say(command);
    got = line();
    ck_assert_msg(strncmp(got, start, strlen(start)) == 0, "%s: got \"%s\", not \"%s\"",
                  command, got, start);
}

/* The lines of a multi-line answer behind the first, joined by '|', without the dot. */
static const char *
lines(void)
{
    static char all[200000];
    size_t n = 0;
    const char *l;

    all[0] = '\0';
    while (strcmp(l = line(), ".") != 0 && strcmp(l, "EOF") != 0)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s|", l);
    if (strcmp(l, "EOF") == 0)
        snprintf(all + n, sizeof all - n, "EOF");
    return all;
}

static void
login(void)
{
    connect_client();
    expect("USER ann", "+OK");
    expect("PASS " PASSWORD, "+OK");
}

static void
three_messages(void)
{
    deliver_text(1, "Subject: one\n\nfirst\n");
    deliver_text(2, "Subject: two\n\n.dot\n..two\nend\n");
    deliver_text(3, "Subject: three\n\nno end of line");
}

START_TEST(greeting)
{
    ck_assert_str_eq(connect_client(), "+OK Mansio ready [abc]");
    expect("APOP ann 00112233445566778899aabbccddeeff", "-ERR APOP isn't offered");
    expect("QUIT", "+OK");
    ck_assert_str_eq(line(), "EOF");
}
END_TEST

/* RFC 1939 7: the timestamp is a message id, and differs each time. */
START_TEST(rfc1939_7_apop)
{
    char first[300], want[300];

    conf->pop3_apop = true;
    snprintf(first, sizeof first, "%s", connect_client());
    ck_assert_msg(strncmp(first, "+OK Mansio ready [abc] <", 24) == 0, "%s", first);
    ck_assert_int_eq(first[strlen(first) - 1], '>');
    ck_assert_ptr_nonnull(strchr(first, '@'));
    snprintf(want, sizeof want, "%s", strchr(first, '<'));
    expect("APOP ann", "-ERR");
    expect("APOP ann xyz", "-ERR");
    expect("APOP ann 00112233445566778899AABBCCDDEEFF", "+OK");
    ck_assert_str_eq(mechanism, "APOP");
    ck_assert_str_eq(challenge, want);
    ck_assert_str_eq(digest, "00112233445566778899AABBCCDDEEFF");
    end_client();
    ck_assert_str_ne(connect_client(), first);
}
END_TEST

/* RFC 1939 3 and 4: commands in any case, allowed by state. */
START_TEST(rfc1939_states)
{
    static const char *const transaction[] = {"STAT", "LIST",   "RETR 1", "TOP 1 1",
                                              "UIDL", "DELE 1", "RSET",   "NOOP"};
    static const char *const authorization[] = {"USER ann", "PASS x", "APOP a b",
                                                "AUTH",     "STLS",   "UTF8"};
    size_t i;

    conf->login_max_bad_commands = conf->max_bad_commands = 100;
    connect_client();
    for (i = 0; i < 8; i++)
        expect(transaction[i], "-ERR Log in first");
    expect("user ann", "+OK");
    expect("pass " PASSWORD, "+OK Logged in, 0 messages");
    for (i = 0; i < 6; i++)
        expect(authorization[i], "-ERR You are logged in");
    expect("nOOp", "+OK");
    expect("NOOP ", "+OK"); /* trailing blanks are harmless */
    expect("NOOP x", "-ERR Too many arguments");
    expect("XTND", "-ERR Unknown command");
    expect("", "-ERR");
    expect("RETR", "-ERR Argument is missing");
    expect("TOP 1", "-ERR Argument is missing");
    expect("QUIT", "+OK");
    ck_assert_str_eq(line(), "EOF");
}
END_TEST

/* RFC 1939 13: no answer tells whether a user exists. A failure needs USER again. */
START_TEST(rfc1939_user_pass)
{
    connect_client();
    expect("PASS x", "-ERR Send USER first");
    expect("USER nobody", "+OK Send the password");
    expect("PASS x", "-ERR [AUTH] Wrong user name or password");
    expect("PASS " PASSWORD, "-ERR Send USER first");
    expect("USER ann", "+OK Send the password");
    expect("PASS wrong", "-ERR [AUTH] Wrong user name or password");
    end_client();
    login(); /* a password with a blank */
}
END_TEST

/* RFC 3206, RFC 2449 8. */
START_TEST(rfc3206_response_codes_of_login)
{
    connect_client();
    expect("USER toomany", "+OK");
    expect("PASS x", "-ERR [IN-USE]");
    expect("USER later", "+OK");
    expect("PASS x", "-ERR [SYS/TEMP]");
    expect("USER broken", "+OK");
    expect("PASS x", "-ERR [SYS/PERM] ");
    expect("QUIT", "+OK");
}
END_TEST

START_TEST(no_password_without_tls)
{
    conf->login_security = LOGIN_SECURITY_TLS;
    connect_client();
    expect("USER ann", "-ERR A password may not");
    expect("PASS x", "-ERR A password may not");
    expect("AUTH PLAIN", "-ERR A password may not");
    expect("AUTH PLAIN AGFubgBvcGVuIHNlc2FtZQ==", "-ERR A password may not");
    expect("AUTH", "+OK");
    ck_assert_str_eq(lines(), "");
    expect("CAPA", "+OK");
    ck_assert_ptr_null(strstr(lines(), "USER"));
    expect("STLS", "-ERR TLS isn't configured");
}
END_TEST

/* RFC 5034 4. */
START_TEST(rfc5034_auth)
{
    connect_client();
    expect("AUTH", "+OK");
    ck_assert_str_eq(lines(), "PLAIN|LOGIN|");
    expect("AUTH CRAM-MD5", "-ERR");
    expect("AUTH plain", "+ ");
    expect("*", "-ERR Cancelled");
    expect("AUTH PLAIN", "+ ");
    expect("AGFubgB3cm9uZw==", "-ERR [AUTH]");
    expect("AUTH PLAIN", "+ ");
    expect("AGFubgBvcGVuIHNlc2FtZQ==", "+OK Logged in");
    ck_assert_str_eq(mechanism, "PLAIN");
    end_client();
    connect_client();
    expect("AUTH PLAIN AGFubgBvcGVuIHNlc2FtZQ==", "+OK Logged in");
    end_client();
    connect_client();
    expect("AUTH LOGIN", "+ VXNlcm5hbWU6");
    expect("YW5u", "+ UGFzc3dvcmQ6");
    expect("b3BlbiBzZXNhbWU=", "+OK Logged in");
    ck_assert_str_eq(mechanism, "LOGIN");
    end_client();
    connect_client();
    expect("AUTH LOGIN YW5u", "+ UGFzc3dvcmQ6");
    expect("b3BlbiBzZXNhbWU=", "+OK Logged in");
}
END_TEST

START_TEST(rfc5034_bad_responses)
{
    conf->login_max_bad_commands = 100;
    connect_client();
    expect("AUTH PLAIN =", "-ERR"); /* an empty response is no PLAIN message */
    expect("AUTH PLAIN !!!!", "-ERR");
    expect("AUTH PLAIN YW5u", "-ERR");
    expect("AUTH PLAIN", "+ ");
    expect("not base64", "-ERR");
    expect("AUTH LOGIN YW5u", "+ ");
    expect("*", "-ERR Cancelled");
    expect("AUTH LOGIN YW5uAA==", "+ "); /* a NUL in the name */
    expect("b3BlbiBzZXNhbWU=", "-ERR [AUTH]");
    expect("AUTH PLAIN a b", "-ERR Too many");
    expect("AUTH PLAIN AGFubgBvcGVuIHNlc2FtZQ==", "+OK");
}
END_TEST

/* RFC 2449 5: what is listed works. */
START_TEST(rfc2449_capa)
{
    const char *all;

    connect_client();
    expect("CAPA", "+OK");
    all = lines();
    ck_assert_str_eq(all, "TOP|UIDL|PIPELINING|RESP-CODES|AUTH-RESP-CODE|USER|SASL PLAIN LOGIN|"
                          "UTF8|LANG|EXPIRE NEVER|LOGIN-DELAY 0|IMPLEMENTATION Mansio|");
    expect("CAPA x", "-ERR");
    end_client();
    free(conf->hidden_capabilities);
    conf->hidden_capabilities = mem_strdup("UTF8, LANG, AUTH=LOGIN, uidl");
    login();
    expect("CAPA", "+OK");
    ck_assert_str_eq(lines(), "TOP|PIPELINING|RESP-CODES|AUTH-RESP-CODE|USER|SASL PLAIN|"
                              "EXPIRE NEVER|LOGIN-DELAY 0|IMPLEMENTATION Mansio|");
}
END_TEST

/* RFC 6856 2 and 3. */
START_TEST(rfc6856_utf8_and_lang)
{
    deliver_text(1, "Subject: gr\xc3\xbc\xc3\x9f\n\n\xff\xfe\n");
    connect_client();
    expect("UTF8", "+OK");
    expect("LANG", "+OK");
    ck_assert_str_eq(lines(), "en English|i-default Default language|");
    expect("LANG en-GB", "+OK en ");
    expect("LANG *", "+OK en ");
    expect("LANG i-default", "+OK i-default ");
    expect("LANG de", "-ERR");
    expect("LANG english", "-ERR");
    expect("USER ann", "+OK");
    expect("PASS " PASSWORD, "+OK");
    expect("RETR 1", "+OK 23 octets");
    ck_assert_str_eq(lines(), "Subject: gr\xc3\xbc\xc3\x9f||\xff\xfe|");
}
END_TEST

START_TEST(rfc1939_stat_and_list)
{
    three_messages();
    login();
    expect("STAT", "+OK 3 89");
    expect("LIST", "+OK 3 messages (89 octets)");
    ck_assert_str_eq(lines(), "1 23|2 34|3 32|");
    expect("LIST 2", "+OK 2 34");
    expect("LIST 4", "-ERR No such message");
    expect("LIST 0", "-ERR No such message");
    expect("LIST x", "-ERR");
    expect("LIST 4294967297", "-ERR No such message");
    expect("LIST 99999999999999999999999", "-ERR No such message");
    expect("DELE 2", "+OK");
    expect("STAT", "+OK 2 55");
    expect("LIST", "+OK 2 messages (55 octets)");
    ck_assert_str_eq(lines(), "1 23|3 32|");
    expect("LIST 2", "-ERR Message 2 is deleted");
    expect("DELE 2", "-ERR Message 2 is deleted");
    expect("RETR 2", "-ERR Message 2 is deleted");
    expect("UIDL 2", "-ERR Message 2 is deleted");
    expect("RSET", "+OK");
    expect("STAT", "+OK 3 89");
}
END_TEST

START_TEST(an_empty_maildrop)
{
    login();
    expect("STAT", "+OK 0 0");
    expect("LIST", "+OK 0 messages");
    ck_assert_str_eq(lines(), "");
    expect("UIDL", "+OK");
    ck_assert_str_eq(lines(), "");
    expect("RETR 1", "-ERR No such message: there are 0");
    expect("QUIT", "+OK");
}
END_TEST

/* RFC 1939 5 and 3: RETR's octets, byte-stuffed. */
START_TEST(rfc1939_retr)
{
    three_messages();
    login();
    expect("RETR 1", "+OK 23 octets");
    ck_assert_str_eq(lines(), "Subject: one||first|");
    expect("RETR 2", "+OK 34 octets");
    ck_assert_str_eq(lines(), "Subject: two||..dot|...two|end|");
    expect("RETR 3", "+OK 32 octets"); /* the added line end isn't counted */
    ck_assert_str_eq(lines(), "Subject: three||no end of line|");
    expect("RETR 4", "-ERR");
    expect("RETR 1 2", "-ERR");
    expect("RETR -1", "-ERR");
}
END_TEST

/* RFC 1939 7: header, blank line, n lines. */
START_TEST(rfc1939_top)
{
    three_messages();
    deliver_text(4, "Only: header\nNo: body\n");
    deliver_text(5, "\nno header\n");
    login();
    expect("TOP 1 0", "+OK");
    ck_assert_str_eq(lines(), "Subject: one||");
    expect("TOP 2 1", "+OK");
    ck_assert_str_eq(lines(), "Subject: two||..dot|");
    expect("TOP 2 2", "+OK");
    ck_assert_str_eq(lines(), "Subject: two||..dot|...two|");
    expect("TOP 2 99999999999999999999999999", "+OK");
    ck_assert_str_eq(lines(), "Subject: two||..dot|...two|end|");
    expect("TOP 3 1", "+OK");
    ck_assert_str_eq(lines(), "Subject: three||no end of line|");
    expect("TOP 4 0", "+OK");
    ck_assert_str_eq(lines(), "Only: header|No: body|");
    expect("TOP 5 0", "+OK");
    ck_assert_str_eq(lines(), "|");
    expect("TOP 1 -1", "-ERR");
    expect("TOP 1 x", "-ERR");
    expect("TOP 9 0", "-ERR");
    expect("NOOP", "+OK");
}
END_TEST

/* Whatever a message holds comes over as it is: NUL, CR alone, CRLF, no line end, empty. */
START_TEST(any_content_is_exact)
{
    static const struct {
        const char *file;
        size_t len;
        const char *wire;
        size_t wire_len;
    } cases[] = {
        {"a\0b\n", 4, "a\0b\r\n", 5},
        {"a\rb\n\n", 5, "a\rb\r\n\r\n", 7},
        {"a\r\nb\r\n", 6, "a\r\nb\r\n", 6},
        {"", 0, "", 0},
        {".", 1, "..\r\n", 4},
        {"\n.\n", 3, "\r\n..\r\n", 6},
        {"x\n.", 3, "x\r\n..\r\n", 7},
        {"a\r", 2, "a\r\r\n", 4},
        {"\xff\x80\n", 3, "\xff\x80\r\n", 4},
    };
    char got[64], first[64];
    size_t i, n = sizeof cases / sizeof cases[0];

    for (i = 0; i < n; i++)
        deliver((unsigned)i + 1, cases[i].file, cases[i].len);
    login();
    for (i = 0; i < n; i++) {
        size_t stuffed = 0, at, counted, len = cases[i].len;

        for (at = 0; at < cases[i].wire_len; at++)
            stuffed += cases[i].wire[at] == '.' && cases[i].wire[at + 1] == '.';
        counted = cases[i].wire_len - stuffed;
        if (len > 0 && cases[i].file[len - 1] != '\n')
            counted -= 2; /* of the answer's end, RFC 1939 3 and 11 */
        snprintf(first, sizeof first, "LIST %zu", i + 1);
        say(first);
        snprintf(first, sizeof first, "+OK %zu %zu", i + 1, counted);
        ck_assert_str_eq(line(), first);
        snprintf(first, sizeof first, "RETR %zu", i + 1);
        say(first);
        snprintf(first, sizeof first, "+OK %zu octets", counted);
        ck_assert_str_eq(line(), first);
        ck_assert_uint_eq(fread(got, 1, cases[i].wire_len + 3, in), cases[i].wire_len + 3);
        ck_assert_mem_eq(got, cases[i].wire, cases[i].wire_len);
        ck_assert_mem_eq(got + cases[i].wire_len, ".\r\n", 3);
    }
}
END_TEST

/* Over many buffers, a dot at every place of a line in turn, compared octet for octet. */
START_TEST(a_large_message_is_exact)
{
    struct buf file = BUF_INIT(10000000);
    uint64_t octets = 0, got = 0;
    unsigned i;
    size_t at = 0;
    const char *l;

    for (i = 0; i < 60000; i++) {
        buf_addf(&file, "%s%.*s\n",
                 i % 3 == 0   ? "."
                 : i % 3 == 1 ? ".."
                              : "x",
                 (int)(i % 70),
                 "......................................................................");
        octets++;
    }
    octets += file.len;
    deliver(1, file.data, file.len);
    login();
    say("RETR 1");
    l = line();
    ck_assert_int_eq(strncmp(l, "+OK ", 4), 0);
    ck_assert_uint_eq(strtoull(l + 4, NULL, 10), octets);
    while (strcmp(l = line(), ".") != 0) {
        size_t n;

        if (*l == '.')
            l++;
        n = strlen(l);
        ck_assert(at + n < file.len && memcmp(file.data + at, l, n) == 0 &&
                  file.data[at + n] == '\n');
        at += n + 1;
        got += n + 2;
    }
    ck_assert_uint_eq(at, file.len);
    ck_assert_uint_eq(got, octets);
    buf_free(&file);
}
END_TEST

/* RFC 1939 7: 1 to 70 octets, the same in every session, different for every message. */
START_TEST(rfc1939_uidl)
{
    char first[1000];

    three_messages();
    login();
    expect("UIDL", "+OK");
    snprintf(first, sizeof first, "%s", lines());
    ck_assert_int_eq(strncmp(first, "1 ", 2), 0);
    expect("UIDL 1", "+OK 1 ");
    expect("UIDL 9", "-ERR");
    expect("DELE 2", "+OK");
    expect("QUIT", "+OK");
    end_client();
    deliver_text(4, "Subject: new\n\n");
    login();
    expect("UIDL", "+OK");
    ck_assert_str_eq(strstr(lines(), "|2 ") != NULL ? "same" : "", "same");
    expect("UIDL 2", "+OK 2 ");
    end_client();
    free(conf->pop3_uidl_format);
    conf->pop3_uidl_format = mem_strdup("u%u");
    login();
    expect("UIDL", "+OK");
    ck_assert_str_eq(lines(), "1 u1|2 u3|3 u4|");
}
END_TEST

/* RFC 1939 6: only QUIT removes. */
START_TEST(rfc1939_dele_happens_at_quit)
{
    three_messages();
    login();
    expect("DELE 1", "+OK");
    expect("DELE 3", "+OK");
    ck_assert_uint_eq(files(), 3);
    end_client(); /* broken off */
    ck_assert_uint_eq(files(), 3);
    login();
    expect("STAT", "+OK 3 89");
    expect("DELE 1", "+OK");
    expect("DELE 3", "+OK");
    expect("QUIT", "+OK");
    ck_assert_str_eq(line(), "EOF");
    end_client();
    ck_assert_uint_eq(files(), 1);
    login();
    expect("STAT", "+OK 1 34");
}
END_TEST

START_TEST(rset_takes_marks_back)
{
    three_messages();
    login();
    expect("DELE 1", "+OK");
    expect("RSET", "+OK");
    expect("RETR 1", "+OK");
    lines();
    expect("QUIT", "+OK");
    end_client();
    ck_assert_uint_eq(files(), 3);
}
END_TEST

/* Mail that comes or goes during a session changes no number of it. */
START_TEST(numbers_stay)
{
    three_messages();
    login();
    expect("STAT", "+OK 3 89");
    deliver_text(4, "Subject: late\n\nlate\n");
    expect("STAT", "+OK 3 89");
    expect("LIST 4", "-ERR No such message");
    expect("DELE 2", "+OK");
    expect("QUIT", "+OK");
    end_client();
    ck_assert_uint_eq(files(), 3);
    login();
    expect("STAT", "+OK 3 ");
    expect("RETR 3", "+OK");
    ck_assert_str_eq(lines(), "Subject: late||late|");
}
END_TEST

START_TEST(late_mail_is_not_in_the_totals)
{
    three_messages();
    login();
    deliver_text(4, "Subject: late\n\nlate\n");
    expect("STAT", "+OK 3 89");
    expect("LIST", "+OK 3 messages (89 octets)");
    ck_assert_str_eq(lines(), "1 23|2 34|3 32|");
}
END_TEST

/* Another program removed the files: an error, and the session goes on. */
START_TEST(a_message_that_has_gone)
{
    three_messages();
    login();
    expect("RETR 1", "+OK");
    lines();
    remove_files();
    expect("RETR 2", "-ERR This message has been removed");
    expect("TOP 3 0", "-ERR This message has been removed");
    expect("NOOP", "+OK");
    expect("DELE 2", "+OK");
    expect("QUIT", "+OK");
}
END_TEST

/* The index's row has gone too: a second session deleted it. */
START_TEST(a_message_that_another_session_deleted)
{
    struct account_params params = {
        .conf = conf, .user = "ann", .home = "", .mail_location = maildir};
    struct account *a;
    struct view *v;

    three_messages();
    login();
    expect("STAT", "+OK 3 89");
    ck_assert_int_eq(account_open(&params, &a), 0);
    ck_assert_int_eq(view_open(a, "INBOX", VIEW_POP3, &v), 0);
    ck_assert_int_eq(view_expunge(v, NULL, true, NULL), 0);
    view_close(&v);
    account_close(&a);
    expect("RETR 2", "-ERR This message has been removed");
    expect("LIST 2", "+OK 2 0");
    expect("UIDL", "+OK");
    ck_assert_str_eq(strstr(lines(), "|3 ") != NULL ? "all" : "", "all");
    expect("QUIT", "+OK");
}
END_TEST

/* RETR isn't reading: no flag changes. */
START_TEST(retr_sets_no_flag)
{
    struct account_params params = {
        .conf = conf, .user = "ann", .home = "", .mail_location = maildir};
    struct mailbox_status st;
    struct account *a;

    three_messages();
    login();
    expect("RETR 1", "+OK");
    lines();
    expect("QUIT", "+OK");
    end_client();
    ck_assert_int_eq(account_open(&params, &a), 0);
    ck_assert_int_eq(mailbox_status(a, "INBOX", false, &st), 0);
    ck_assert_uint_eq(st.unseen, 3);
    account_close(&a);
}
END_TEST

/* RFC 2449 6.6: any number of commands at once. */
START_TEST(rfc2449_pipelining)
{
    three_messages();
    login();
    say("STAT\r\nRETR 1\r\nNOOP\r\nDELE 1\r\nLIST\r\nQUIT");
    ck_assert_str_eq(line(), "+OK 3 89");
    ck_assert_str_eq(line(), "+OK 23 octets");
    ck_assert_str_eq(lines(), "Subject: one||first|");
    ck_assert_str_eq(line(), "+OK Nothing done");
    ck_assert_str_eq(line(), "+OK Marked as deleted");
    ck_assert_str_eq(line(), "+OK 2 messages (66 octets)");
    ck_assert_str_eq(lines(), "2 34|3 32|");
    ck_assert_str_eq(line(), "+OK Bye");
    ck_assert_str_eq(line(), "EOF");
}
END_TEST

START_TEST(limit_of_bad_commands)
{
    unsigned i;

    conf->login_max_bad_commands = 3;
    conf->max_bad_commands = 5;
    connect_client();
    expect("X", "-ERR Unknown");
    expect("X", "-ERR Unknown");
    expect("X", "-ERR Unknown");
    ck_assert_str_eq(line(), "-ERR Too many bad commands");
    ck_assert_str_eq(line(), "EOF");
    end_client();
    ck_assert_str_eq(session.end_reason, "too many bad commands");
    login();
    for (i = 0; i < 4; i++)
        expect("X", "-ERR Unknown");
    expect("NOOP", "+OK"); /* a good one forgives */
    for (i = 0; i < 5; i++)
        expect("X", "-ERR Unknown");
    ck_assert_str_eq(line(), "-ERR Too many bad commands");
    ck_assert_str_eq(line(), "EOF");
}
END_TEST

START_TEST(limit_of_failed_logins)
{
    conf->max_bad_commands = 3;
    connect_client();
    expect("USER ann", "+OK");
    expect("PASS a", "-ERR [AUTH]");
    expect("USER ann", "+OK");
    expect("PASS a", "-ERR [AUTH]");
    expect("USER ann", "+OK");
    expect("PASS a", "-ERR [AUTH]");
    ck_assert_str_eq(line(), "EOF");
}
END_TEST

START_TEST(limit_of_a_line)
{
    char *text = malloc(10001);

    conf->login_max_line = 1000;
    memset(text, 'x', 10000);
    text[10000] = '\0';
    connect_client();
    expect(text, "-ERR Line is too long");
    expect("USER ann", "+OK");
    expect("PASS " PASSWORD, "+OK");
    expect(text, "-ERR Line is too long");
    expect("NOOP", "+OK");
    free(text);
    ck_assert_int_eq(send(client, "NO\0OP\r\n", 7, 0), 7);
    ck_assert_str_eq(line(), "-ERR NUL in a command");
}
END_TEST

START_TEST(timeouts)
{
    conf->login_timeout = 1;
    connect_client();
    ck_assert_str_eq(line(), "EOF"); /* RFC 1939 3: without a word */
    end_client();
    ck_assert_str_eq(session.end_reason, "login timeout");
    conf->login_timeout = 60;
    conf->pop3_idle_timeout = 1;
    deliver_text(1, "x\n");
    login();
    expect("DELE 1", "+OK");
    ck_assert_str_eq(line(), "EOF");
    end_client();
    ck_assert_str_eq(session.end_reason, "idle timeout");
    ck_assert_uint_eq(files(), 1); /* and nothing is deleted */
    conf->pop3_idle_timeout = 60;
    conf->command_timeout = 1;
    login();
    ck_assert_int_eq(send(client, "NO", 2, 0), 2); /* a client that drips */
    ck_assert_str_eq(line(), "EOF");
    end_client();
    ck_assert_str_eq(session.end_reason, "command timeout");
}
END_TEST

START_TEST(server_stops_between_commands)
{
    login();
    stop = 1;
    stream_interrupt();
    ck_assert_str_eq(line(), "-ERR [SYS/TEMP] The server is shutting down");
    ck_assert_str_eq(line(), "EOF");
    end_client();
    ck_assert_str_eq(session.end_reason, "server stops");
}
END_TEST

/* Numbers, totals and lists over several batches of the store. */
START_TEST(many_messages)
{
    char text[64], want[32];
    const char *l;
    unsigned i, n = 0;

    for (i = 1; i <= 700; i++) {
        snprintf(text, sizeof text, "Subject: %03u\n\n%.*s\n", i, (int)(i % 10), "0123456789");
        deliver_text(i, text);
    }
    login();
    expect("STAT", "+OK 700 ");
    expect("UIDL", "+OK");
    while (strcmp(l = line(), ".") != 0)
        ck_assert_uint_eq(strtoul(l, NULL, 10), ++n);
    ck_assert_uint_eq(n, 700);
    expect("LIST", "+OK 700 messages");
    for (n = 0; strcmp(l = line(), ".") != 0;) {
        n++;
        snprintf(want, sizeof want, "%u %u", n, 18 + n % 10);
        ck_assert_str_eq(l, want);
    }
    ck_assert_uint_eq(n, 700);
    for (i = 700; i > 0; i -= 7) {
        snprintf(text, sizeof text, "RETR %u", i);
        expect(text, "+OK");
        snprintf(want, sizeof want, "Subject: %03u|", i);
        ck_assert_int_eq(strncmp(lines(), want, strlen(want)), 0);
        snprintf(text, sizeof text, "DELE %u", i);
        expect(text, "+OK");
    }
    expect("STAT", "+OK 600 ");
    expect("QUIT", "+OK");
    end_client();
    ck_assert_uint_eq(files(), 600);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("pop3");
    TCase *t = tcase_create("pop3");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, greeting);
    tcase_add_test(t, rfc1939_7_apop);
    tcase_add_test(t, rfc1939_states);
    tcase_add_test(t, rfc1939_user_pass);
    tcase_add_test(t, rfc3206_response_codes_of_login);
    tcase_add_test(t, no_password_without_tls);
    tcase_add_test(t, rfc5034_auth);
    tcase_add_test(t, rfc5034_bad_responses);
    tcase_add_test(t, rfc2449_capa);
    tcase_add_test(t, rfc6856_utf8_and_lang);
    tcase_add_test(t, rfc1939_stat_and_list);
    tcase_add_test(t, an_empty_maildrop);
    tcase_add_test(t, rfc1939_retr);
    tcase_add_test(t, rfc1939_top);
    tcase_add_test(t, any_content_is_exact);
    tcase_add_test(t, a_large_message_is_exact);
    tcase_add_test(t, rfc1939_uidl);
    tcase_add_test(t, rfc1939_dele_happens_at_quit);
    tcase_add_test(t, rset_takes_marks_back);
    tcase_add_test(t, numbers_stay);
    tcase_add_test(t, late_mail_is_not_in_the_totals);
    tcase_add_test(t, a_message_that_has_gone);
    tcase_add_test(t, a_message_that_another_session_deleted);
    tcase_add_test(t, retr_sets_no_flag);
    tcase_add_test(t, rfc2449_pipelining);
    tcase_add_test(t, limit_of_bad_commands);
    tcase_add_test(t, limit_of_failed_logins);
    tcase_add_test(t, limit_of_a_line);
    tcase_add_test(t, timeouts);
    tcase_add_test(t, server_stops_between_commands);
    tcase_add_test(t, many_messages);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
