/*
 * TLS: what is refused at start and in which words, handshakes good and bad, the STARTTLS
 * injection, resumption over processes, and the stream over TLS.
 *
 * The server side is the stream in the test's process, the client is GnuTLS in a thread; where
 * a process is the point, the server is a child.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/stream.h"
#include "net/tls.h"

#define TLS12 "NORMAL:-VERS-ALL:+VERS-TLS1.2"
#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define TLS11 "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT"
#define DAY   86400

static struct {
    char dir[64], cert[96], key[96], other[96], other_key[96];
    struct tls_error err;
    char warn[512], log[2048];
    unsigned lines;
    struct tls_context *ctx;
    struct stream *s;
    int client_fd, server_fd;
    pthread_t thread;
    int64_t shift; /* of the clock, seconds */
} t;

static void
on_log(enum log_level level, const char *line)
{
    (void)level;
    strncpy(t.log, line, sizeof t.log - 1);
    t.lines++;
}

static int64_t
shifted(void)
{
    return (int64_t)time(NULL) + t.shift;
}

static void
make(const char *cert, const char *key, const char *host, unsigned days)
{
    ck_assert_msg(tls_make_selfsigned(cert, key, host, days, &t.err) == 0, "%s", t.err.text);
}

static int
load(const char *cert, const char *key, const char *priority)
{
    tls_context_free(&t.ctx);
    t.warn[0] = 'x';
    return tls_context_new(cert, key, priority, &t.err, t.warn, sizeof t.warn, &t.ctx);
}

static void
setup(void)
{
    memset(&t, 0, sizeof t);
    t.client_fd = -1;
    log_hook = on_log;
    sys_hooks.now = shifted;
    snprintf(t.dir, sizeof t.dir, "/tmp/mansio-tls-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.dir));
    snprintf(t.cert, sizeof t.cert, "%s/cert.pem", t.dir);
    snprintf(t.key, sizeof t.key, "%s/key.pem", t.dir);
    snprintf(t.other, sizeof t.other, "%s/other.pem", t.dir);
    snprintf(t.other_key, sizeof t.other_key, "%s/other-key.pem", t.dir);
    make(t.cert, t.key, "localhost", 90);
}

static void
teardown(void)
{
    stream_free(&t.s);
    tls_context_free(&t.ctx);
    if (t.client_fd >= 0)
        close(t.client_fd);
    unlink(t.cert);
    unlink(t.key);
    unlink(t.other);
    unlink(t.other_key);
    rmdir(t.dir);
    log_hook = NULL;
    sys_hooks.now = NULL;
}

static void
put_file(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    ck_assert_int_eq(write(fd, data, n), (ssize_t)n);
    close(fd);
}

static size_t
get_file(const char *path, char *data, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, data, size);

    close(fd);
    ck_assert_int_gt(n, 0);
    return (size_t)n;
}

static void
refused(const char *cert, const char *key, const char *says)
{
    ck_assert_int_eq(load(cert, key, ""), ERR_CONFIG);
    ck_assert_ptr_null(t.ctx);
    ck_assert_msg(strstr(t.err.text, says) != NULL, "%s", t.err.text);
}

/* ---- loading ---- */

START_TEST(good_pair_loads_without_warning)
{
    ck_assert_msg(load(t.cert, t.key, "") == 0, "%s", t.err.text);
    ck_assert_str_eq(t.warn, "");
}
END_TEST

START_TEST(missing_files_are_told)
{
    refused("/nonexistent/cert.pem", t.key,
            "/nonexistent/cert.pem: the certificate file doesn");
    refused(t.cert, "/nonexistent/key.pem", "/nonexistent/key.pem: the key file doesn't exist");
    refused(t.dir, t.key, "can't be read");
}
END_TEST

START_TEST(unreadable_files_are_told)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        chmod(t.key, 0);
        if (geteuid() == 0 && (chmod(t.dir, 0755) != 0 || setuid(65534) != 0))
            _exit(1);
        _exit(load(t.cert, t.key, "") == ERR_CONFIG &&
                      strstr(t.err.text, "permission denied") != NULL &&
                      strstr(t.err.text, t.key) != NULL
                  ? 0
                  : 2);
    }
    waitpid(pid, &status, 0);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(what_is_not_pem_is_told)
{
    static char big[1100000];

    put_file(t.other, "", 0);
    refused(t.other, t.key, "is empty");
    put_file(t.other, "hello\n", 6);
    refused(t.other, t.key, "no PEM certificate");
    refused(t.cert, t.other, "no usable PEM private key");
    refused(t.key, t.key, "no PEM certificate");
    refused(t.cert, t.cert, "no usable PEM private key");
    put_file(t.other_key, big, sizeof big);
    refused(t.other_key, t.key, "over 1 MiB");
    refused(t.cert, "/dev/zero", "over 1 MiB");
}
END_TEST

START_TEST(key_of_another_certificate_is_told)
{
    make(t.other, t.other_key, "other.example", 90);
    refused(t.cert, t.other_key, "doesn't belong to the certificate");
}
END_TEST

START_TEST(wrong_order_in_the_chain_is_told)
{
    char pem[8192];
    size_t n;

    make(t.other, t.other_key, "other.example", 90);
    n = get_file(t.cert, pem, sizeof pem);
    put_file(t.other, pem, n); /* other, then ours */
    refused(t.other, t.key, "belongs to certificate 2");
    /* the right one first, but not signed by the second */
    n = get_file(t.other, pem, sizeof pem);
    ck_assert_int_eq(load(t.other, t.other_key, ""), 0);
    ck_assert_ptr_nonnull(strstr(t.warn, "certificate 1 isn't signed by certificate 2"));
}
END_TEST

/* A key made for this test; one round of the key derivation, the passphrase is "secret". */
START_TEST(encrypted_key_is_told)
{
    static const char pem[] =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        "MIGaMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAg6ZkMIJaZEPQIBATAM\n"
        "BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBAgQQMuD73W9zSx7laQWdtGT02QRADkOP\n"
        "Xbn0ekTlE8+gLV82P+S6MhJZqq6Cgujo0a0JcOfqIi7W+622pwMLEKQm+PbfpoPE\n"
        "2P/NaIyEFrpdgcltCg==\n"
        "-----END ENCRYPTED PRIVATE KEY-----\n";

    put_file(t.other_key, pem, sizeof pem - 1);
    refused(t.cert, t.other_key, "the key is encrypted");
}
END_TEST

START_TEST(period_of_validity)
{
    t.shift = 91 * DAY;
    refused(t.cert, t.key, "the certificate expired on");
    t.shift = -DAY;
    refused(t.cert, t.key, "isn't valid before");
    t.shift = 75 * DAY;
    ck_assert_int_eq(load(t.cert, t.key, ""), 0);
    ck_assert_str_eq(t.warn, "");
    t.shift = 77 * DAY;
    ck_assert_int_eq(load(t.cert, t.key, ""), 0);
    ck_assert_ptr_nonnull(strstr(t.warn, "expires on"));
}
END_TEST

START_TEST(key_for_everybody_is_warned_of)
{
    chmod(t.key, 0644);
    ck_assert_int_eq(load(t.cert, t.key, ""), 0);
    ck_assert_ptr_nonnull(strstr(t.warn, "everybody can read the key"));
}
END_TEST

START_TEST(priority_string_is_checked)
{
    ck_assert_int_eq(load(t.cert, t.key, "NORMAL:-VERS-TLS1.2"), 0);
    ck_assert_int_eq(load(t.cert, t.key, "NORMAL:+NONSENSE"), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(t.err.text, "NONSENSE"));
}
END_TEST

/* ---- making and describing ---- */

START_TEST(selfsigned_names_modes_and_no_overwriting)
{
    struct stat st;
    char *text, first[8192], second[8192];
    size_t n;

    ck_assert_int_eq(stat(t.key, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(tls_describe_certificate(t.cert, &text, &t.err), 0);
    ck_assert_ptr_nonnull(strstr(text, "CN=localhost"));
    ck_assert_ptr_nonnull(strstr(text, " localhost 127.0.0.1 ::1\n"));
    ck_assert_ptr_nonnull(strstr(text, "256 bits"));
    ck_assert_ptr_nonnull(strstr(text, "fingerprint:  SHA-256 "));
    ck_assert_ptr_null(strstr(text, "EXPIRED"));
    free(text);
    t.shift = 100 * DAY;
    ck_assert_int_eq(tls_describe_certificate(t.cert, &text, &t.err), 0);
    ck_assert_ptr_nonnull(strstr(text, "EXPIRED"));
    free(text);
    n = get_file(t.cert, first, sizeof first);
    ck_assert_int_eq(tls_make_selfsigned(t.cert, t.other_key, "x", 9, &t.err), ERR_EXISTS);
    ck_assert_int_eq(access(t.other_key, F_OK), -1);
    ck_assert_int_eq(tls_make_selfsigned(t.other, t.key, "x", 9, &t.err), ERR_EXISTS);
    ck_assert_int_eq(access(t.other, F_OK), -1);
    ck_assert_int_eq(tls_make_selfsigned("/nonexistent/c", t.other_key, "x", 9, &t.err),
                     ERR_NOENT);
    ck_assert_int_eq(access(t.other_key, F_OK), -1);
    ck_assert_uint_eq(get_file(t.cert, second, sizeof second), n);
    ck_assert_mem_eq(first, second, n);
}
END_TEST

START_TEST(selfsigned_for_an_address_and_bad_hosts)
{
    char *text;

    make(t.other, t.other_key, "2001:db8::7", 30);
    ck_assert_int_eq(tls_describe_certificate(t.other, &text, &t.err), 0);
    ck_assert_ptr_nonnull(strstr(text, "2001:db8::7\n"));
    free(text);
    unlink(t.other);
    unlink(t.other_key);
    ck_assert_int_eq(tls_make_selfsigned(t.other, t.other_key, "", 9, &t.err), ERR_CONFIG);
    ck_assert_int_eq(tls_make_selfsigned(t.other, t.other_key, "a b", 9, &t.err), ERR_CONFIG);
    ck_assert_int_eq(tls_make_selfsigned(t.other, t.other_key, "a", 0, &t.err), ERR_RANGE);
    ck_assert_int_eq(tls_make_selfsigned(t.other, t.other_key, "a", 9000, &t.err), ERR_RANGE);
    ck_assert_int_eq(tls_describe_certificate(t.key, &text, &t.err), ERR_CONFIG);
    ck_assert_int_eq(tls_describe_certificate("/nonexistent", &text, &t.err), ERR_CONFIG);
}
END_TEST

/* ---- a client ---- */

struct client {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int handshake;                  /* its result */
    unsigned verification;          /* status of the certificate */
    size_t junk;                    /* octets to skip before the handshake; reads late */
    const char *priority;           /* set by the test */
    gnutls_datum_t *resume;         /* data of an earlier session */
    void (*then)(struct client *c); /* after the handshake */
    char got[100];
    int64_t total, result;
};

static ssize_t
pull_late(gnutls_transport_ptr_t ptr, void *p, size_t n)
{
    struct client *c = ptr;
    char scratch[1000];
    ssize_t got;

    if (c->junk > 0)
        usleep(100000);
    while (c->junk > 0) {
        got = recv(t.client_fd, scratch, c->junk < 1000 ? c->junk : 1000, 0);
        c->junk -= got > 0 ? (size_t)got : c->junk;
    }
    return recv(t.client_fd, p, n, 0);
}

static ssize_t
push_plain(gnutls_transport_ptr_t ptr, const void *p, size_t n)
{
    (void)ptr;
    return send(t.client_fd, p, n, MSG_NOSIGNAL);
}

static void
client_open(struct client *c, int fd)
{
    gnutls_certificate_allocate_credentials(&c->credentials);
    gnutls_certificate_set_x509_trust_file(c->credentials, t.cert, GNUTLS_X509_FMT_PEM);
    gnutls_init(&c->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
    gnutls_priority_set_direct(c->session, c->priority != NULL ? c->priority : "NORMAL", NULL);
    gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    gnutls_server_name_set(c->session, GNUTLS_NAME_DNS, "localhost", 9);
    if (c->resume != NULL)
        gnutls_session_set_data(c->session, c->resume->data, c->resume->size);
    if (c->junk > 0) {
        gnutls_transport_set_ptr(c->session, c);
        gnutls_transport_set_pull_function(c->session, pull_late);
        gnutls_transport_set_push_function(c->session, push_plain);
    } else {
        gnutls_transport_set_int(c->session, fd);
        gnutls_handshake_set_timeout(c->session, 10000);
    }
    do
        c->handshake = gnutls_handshake(c->session);
    while (c->handshake < 0 && gnutls_error_is_fatal(c->handshake) == 0);
    if (c->handshake == 0)
        gnutls_certificate_verify_peers3(c->session, "localhost", &c->verification);
}

static void
client_close(struct client *c)
{
    gnutls_deinit(c->session);
    gnutls_certificate_free_credentials(c->credentials);
}

static void *
client_main(void *arg)
{
    struct client *c = arg;

    client_open(c, t.client_fd);
    if (c->handshake == 0 && c->then != NULL)
        c->then(c);
    client_close(c);
    shutdown(t.client_fd, SHUT_WR);
    return NULL;
}

static void
pair(unsigned write_timeout_s)
{
    int fd[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    t.s = stream_new(fd[0], write_timeout_s);
    t.client_fd = fd[1];
    t.server_fd = fd[0]; /* the stream's */
    if (t.ctx == NULL)
        ck_assert_int_eq(load(t.cert, t.key, ""), 0);
}

/* A stream on which the handshake with c succeeded. */
static void
begin(struct client *c)
{
    pair(5);
    pthread_create(&t.thread, NULL, client_main, c);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 10), 0);
    ck_assert(stream_is_tls(t.s));
}

static void
end(void)
{
    stream_free(&t.s);
    pthread_join(t.thread, NULL);
}

/* With TLS 1.3, "again" may come on a blocking socket: a ticket is no data. */
static ssize_t
client_recv(struct client *c, void *p, size_t n)
{
    ssize_t got;

    do
        got = gnutls_record_recv(c->session, p, n);
    while (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED);
    return got;
}

static void
hello(struct client *c)
{
    gnutls_record_send(c->session, "a1 NOOP\r\na2 NOOP\r\n", 18);
    gnutls_record_send(c->session, "a3 LOGOUT\r\n", 11);
    while (c->total < (int64_t)sizeof c->got - 1 &&
           (c->result =
                client_recv(c, c->got + c->total, sizeof c->got - 1 - (size_t)c->total)) > 0)
        c->total += c->result;
}

static void
expect_line(const char *text)
{
    struct buf line = BUF_INIT(1000);

    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 5000), 1);
    ck_assert_int_eq(stream_read_line(t.s, &line, 1000), 0);
    ck_assert_str_eq(buf_str(&line), text);
    buf_free(&line);
}

static void
talk(struct client *c, const char *version)
{
    c->then = hello;
    begin(c);
    ck_assert_int_eq(strncmp(stream_tls_info(t.s), version, strlen(version)), 0);
    expect_line("a1 NOOP");
    expect_line("a2 NOOP");
    stream_puts(t.s, "a1 OK\r\n");
    expect_line("a3 LOGOUT");
    stream_puts(t.s, "* BYE\r\n");
    ck_assert_uint_eq(stream_bytes_in(t.s), 29);
    end();
    ck_assert_int_eq(c->handshake, 0);
    ck_assert_uint_eq(c->verification, 0); /* the certificate is good for localhost */
    ck_assert_str_eq(c->got, "a1 OK\r\n* BYE\r\n");
    ck_assert_int_eq(c->result, 0); /* close_notify, not just an end */
    ck_assert_uint_eq(t.lines, 0);
}

START_TEST(tls13_and_its_description)
{
    struct client c = {.priority = TLS13};

    talk(&c, "TLS1.3 ECDHE-X25519 AES-128-GCM");
}
END_TEST

START_TEST(tls12_and_its_description)
{
    struct client c = {.priority = TLS12};

    talk(&c, "TLS1.2 ECDHE-X25519 AES-128-GCM");
}
END_TEST

/* The server's flight has to wait until the client has read something else. */
START_TEST(a_handshake_through_a_full_socket)
{
    static const char block[1000];
    struct client c = {.then = hello};
    int size = 1;

    pair(5);
    ck_assert_int_eq(setsockopt(t.server_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    while (send(t.server_fd, block, sizeof block, MSG_DONTWAIT) == sizeof block)
        c.junk += sizeof block;
    ck_assert_int_eq(errno, EAGAIN);
    pthread_create(&t.thread, NULL, client_main, &c);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 10), 0);
    expect_line("a1 NOOP");
    end();
    ck_assert_int_eq(c.handshake, 0);
}
END_TEST

START_TEST(tls11_is_refused)
{
    struct client c = {.priority = TLS11};

    pair(5);
    pthread_create(&t.thread, NULL, client_main, &c);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 10), ERR_TLS);
    ck_assert_uint_eq(t.lines, 1);
    ck_assert_ptr_nonnull(strstr(t.log, "TLS handshake failed: "));
    end();
    ck_assert_int_ne(c.handshake, 0);
}
END_TEST

START_TEST(no_tls_gives_no_description)
{
    pair(5);
    ck_assert(!stream_is_tls(t.s));
    ck_assert_str_eq(stream_tls_info(t.s), "");
}
END_TEST

/* ---- bad handshakes ---- */

START_TEST(cleartext_on_a_tls_port_fails_with_one_line)
{
    pair(5);
    ck_assert_int_eq(send(t.client_fd, "a1 CAPABILITY\r\n", 15, 0), 15);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 5), ERR_TLS);
    ck_assert_int_eq(stream_error(t.s), ERR_TLS);
    ck_assert_uint_eq(t.lines, 1);
    ck_assert_ptr_nonnull(strstr(t.log, "TLS handshake failed: "));
}
END_TEST

START_TEST(a_client_that_goes_away_is_an_end)
{
    pair(5);
    close(t.client_fd);
    t.client_fd = -1;
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 5), ERR_EOF);
    ck_assert_uint_eq(t.lines, 1);
    ck_assert_ptr_nonnull(strstr(t.log, "closed the connection"));
}
END_TEST

START_TEST(a_silent_client_is_cut)
{
    int64_t since = sys_monotonic_ms();

    pair(5);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 1), ERR_TIMEOUT);
    ck_assert_int_ge(sys_monotonic_ms() - since, 1000);
    ck_assert_int_lt(sys_monotonic_ms() - since, 1900);
    ck_assert_uint_eq(t.lines, 1);
    ck_assert_ptr_nonnull(strstr(t.log, "within 1 s"));
}
END_TEST

static void *
drip_hello(void *arg)
{
    static const unsigned char start[] = {22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3};
    size_t i = 0;

    (void)arg;
    while (send(t.client_fd, i < sizeof start ? start + i : start, 1, MSG_NOSIGNAL) == 1) {
        i++;
        usleep(50000);
    }
    return NULL;
}

START_TEST(a_handshake_that_drips_is_cut_in_all)
{
    int64_t since = sys_monotonic_ms();

    pair(5);
    pthread_create(&t.thread, NULL, drip_hello, NULL);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 1), ERR_TIMEOUT);
    ck_assert_int_lt(sys_monotonic_ms() - since, 1900);
    end();
}
END_TEST

/* CVE-2011-0411: a command put behind STARTTLS by somebody in between. */
START_TEST(starttls_injection_in_one_segment_is_thrown_away)
{
    struct client c = {.then = hello};
    struct buf line = BUF_INIT(100);

    pair(5);
    ck_assert_int_eq(send(t.client_fd, "a0 STARTTLS\r\na1 EVIL x\r\n", 24, 0), 24);
    ck_assert_int_eq(stream_read_line(t.s, &line, 100), 0);
    ck_assert_str_eq(buf_str(&line), "a0 STARTTLS");
    buf_free(&line);
    ck_assert_uint_gt(stream_pending(t.s), 0);
    pthread_create(&t.thread, NULL, client_main, &c);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 5), 0);
    expect_line("a1 NOOP");
    end();
}
END_TEST

START_TEST(starttls_injection_in_another_segment_fails_the_handshake)
{
    struct client c = {.then = hello};
    struct buf line = BUF_INIT(100);

    pair(5);
    ck_assert_int_eq(send(t.client_fd, "a0 STARTTLS\r\n", 13, 0), 13);
    ck_assert_int_eq(stream_read_line(t.s, &line, 100), 0);
    buf_free(&line);
    ck_assert_int_eq(send(t.client_fd, "a1 EVIL x\r\n", 11, 0), 11);
    pthread_create(&t.thread, NULL, client_main, &c);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 5), ERR_TLS);
    ck_assert_int_eq(stream_read(t.s, (char[1]){0}, 1), ERR_TLS);
    end();
    ck_assert_int_ne(c.handshake, 0);
}
END_TEST

START_TEST(output_before_starttls_is_sent_in_the_clear)
{
    char text[100] = "";

    pair(5);
    stream_puts(t.s, "a0 OK begin\r\n");
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 1), ERR_TIMEOUT);
    ck_assert_int_eq(recv(t.client_fd, text, sizeof text - 1, 0), 13);
    ck_assert_str_eq(text, "a0 OK begin\r\n");
}
END_TEST

/* ---- resumption ---- */

static pid_t
serve_in_child(int fd)
{
    pid_t pid = fork();
    struct stream *s;
    struct buf line = BUF_INIT(100);

    if (pid != 0)
        return pid;
    s = stream_new(fd, 5);
    if (stream_start_tls(s, t.ctx, 10) != 0 || stream_read_line(s, &line, 100) != 0)
        _exit(1);
    stream_puts(s, "* BYE\r\n");
    stream_free(&s);
    _exit(0);
}

/* One session with a server process of its own; true when it was resumed. */
static bool
visit(const char *priority, gnutls_datum_t *data, bool resume)
{
    struct client c = {.priority = priority, .resume = resume ? data : NULL};
    char text[20];
    int fd[2], status;
    bool resumed;
    pid_t pid;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    pid = serve_in_child(fd[0]);
    close(fd[0]);
    client_open(&c, fd[1]);
    ck_assert_int_eq(c.handshake, 0);
    gnutls_record_send(c.session, "x\n", 2);
    ck_assert_int_eq(client_recv(&c, text, sizeof text), 7);
    resumed = gnutls_session_is_resumed(c.session);
    if (!resume)
        ck_assert_int_eq(gnutls_session_get_data2(c.session, data), 0);
    client_close(&c);
    close(fd[1]);
    waitpid(pid, &status, 0);
    ck_assert_int_eq(status, 0);
    return resumed;
}

static void
resumption(const char *priority)
{
    gnutls_datum_t data = {NULL, 0};

    ck_assert_int_eq(load(t.cert, t.key, ""), 0);
    ck_assert(!visit(priority, &data, false));
    ck_assert(visit(priority, &data, true));
    /* after a reload there is another key: a full handshake, no failure */
    ck_assert_int_eq(load(t.cert, t.key, ""), 0);
    ck_assert(!visit(priority, &data, true));
    gnutls_free(data.data);
}

START_TEST(tls13_sessions_resume_in_another_process)
{
    resumption(TLS13);
}
END_TEST

START_TEST(tls12_sessions_resume_in_another_process)
{
    resumption(TLS12);
}
END_TEST

/* ---- the stream over TLS ---- */

static void
download(struct client *c)
{
    static unsigned char block[70000];
    ssize_t n, i;

    while ((n = client_recv(c, block, sizeof block)) > 0)
        for (i = 0; i < n; i++, c->total++)
            c->result = (c->result * 31 + block[i]) & 0xffffff;
    if (n < 0)
        c->result = -1;
}

START_TEST(any_mix_of_sizes_arrives_in_order)
{
    static const size_t sizes[] = {1, 100, 4096, 16383, 16384, 16385, 5000, 40000, 3, 200000};
    static unsigned char data[200000];
    struct client c = {.then = download};
    int64_t sum = 0, total = 0;
    size_t i, j, k, n;

    for (i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    begin(&c);
    for (k = 0; k < 10; k++)
        for (i = 0; i < 10; i++) {
            n = sizes[(i * (k + 1)) % 10];
            stream_write(t.s, data, n);
            for (j = 0; j < n; j++)
                sum = (sum * 31 + data[j]) & 0xffffff;
            total += (int64_t)n;
        }
    ck_assert_int_eq(stream_flush(t.s), 0);
    ck_assert_uint_eq(stream_bytes_out(t.s), (uint64_t)total);
    end();
    ck_assert_int_eq(c.total, total);
    ck_assert_int_eq(c.result, sum);
}
END_TEST

static void
upload(struct client *c)
{
    static unsigned char block[50000];
    size_t i, n;

    for (i = 0; i < 200; i++) {
        n = i * 7919 % sizeof block + 1;
        memset(block, (int)i, n);
        for (size_t at = 0; at < n;) {
            ssize_t sent = gnutls_record_send(c->session, block + at, n - at);

            if (sent <= 0)
                return;
            at += (size_t)sent;
        }
        c->total += (int64_t)n;
    }
    gnutls_bye(c->session, GNUTLS_SHUT_WR);
}

START_TEST(an_upload_arrives_in_order)
{
    struct client c = {.then = upload};
    static unsigned char block[50000];
    size_t i, n, at;

    begin(&c);
    for (i = 0; i < 200; i++) {
        n = i * 7919 % sizeof block + 1;
        ck_assert_int_eq(stream_read_full(t.s, block, n), 0);
        for (at = 0; at < n && block[at] == i; at++)
            continue;
        ck_assert_uint_eq(at, n);
    }
    ck_assert_int_eq(stream_read(t.s, block, 1), ERR_EOF);
    end();
    ck_assert_uint_eq(t.lines, 0);
}
END_TEST

static void
never_read(struct client *c)
{
    (void)c;
    sleep(2);
}

START_TEST(a_client_that_never_reads_is_cut)
{
    static char block[65536];
    struct client c = {.then = never_read};
    int64_t since;

    pair(1);
    pthread_create(&t.thread, NULL, client_main, &c);
    ck_assert_int_eq(stream_start_tls(t.s, t.ctx, 10), 0);
    since = sys_monotonic_ms();
    while (stream_error(t.s) == 0)
        stream_write(t.s, block, sizeof block);
    ck_assert_int_eq(stream_error(t.s), ERR_TIMEOUT);
    ck_assert_int_lt(sys_monotonic_ms() - since, 1900);
    ck_assert_ptr_nonnull(strstr(t.log, "write timeout"));
    end();
}
END_TEST

static void
wait_for_bye(struct client *c)
{
    c->result = client_recv(c, c->got, sizeof c->got - 1);
}

START_TEST(last_words_after_a_deadline)
{
    struct client c = {.then = wait_for_bye};
    struct buf line = BUF_INIT(100);

    begin(&c);
    stream_set_deadline(t.s, sys_monotonic_ms() + 50);
    ck_assert_int_eq(stream_read_line(t.s, &line, 100), ERR_TIMEOUT);
    stream_last_words(t.s, "* BYE\r\n");
    end();
    ck_assert_str_eq(c.got, "* BYE\r\n");
    buf_free(&line);
}
END_TEST

static void
update_key(struct client *c)
{
    gnutls_session_key_update(c->session, GNUTLS_KU_PEER);
    usleep(100000);
    gnutls_record_send(c->session, "a1 NOOP\r\n", 9);
    wait_for_bye(c);
}

/* RFC 8446 4.6.3: readable, but nothing to read. */
START_TEST(a_key_update_is_no_input)
{
    struct client c = {.then = update_key, .priority = TLS13};

    begin(&c);
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 50), ERR_TIMEOUT);
    expect_line("a1 NOOP");
    stream_puts(t.s, "a1 OK\r\n");
    end();
    ck_assert_str_eq(c.got, "a1 OK\r\n");
    ck_assert_uint_eq(t.lines, 0);
}
END_TEST

static void
renegotiate(struct client *c)
{
    c->total = gnutls_handshake(c->session);
    if (c->total == GNUTLS_E_WARNING_ALERT_RECEIVED)
        c->result = gnutls_alert_get(c->session);
}

/* RFC 5246 7.2.2. */
START_TEST(renegotiation_is_refused)
{
    struct client c = {.then = renegotiate, .priority = TLS12};

    begin(&c);
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 5000), 1);
    ck_assert_int_eq(stream_error(t.s), ERR_TLS);
    end();
    ck_assert_int_eq(c.total, GNUTLS_E_WARNING_ALERT_RECEIVED);
    ck_assert_int_eq(c.result, GNUTLS_A_NO_RENEGOTIATION);
    ck_assert_uint_eq(t.lines, 1);
}
END_TEST

static void
alert_for_ever(struct client *c)
{
    while (c->total < 1000 &&
           gnutls_alert_send(c->session, GNUTLS_AL_WARNING, GNUTLS_A_USER_CANCELED) == 0)
        c->total++;
}

START_TEST(warning_alerts_for_ever_are_cut)
{
    struct client c = {.then = alert_for_ever, .priority = TLS12};

    begin(&c);
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 5000), 1);
    ck_assert_int_eq(stream_error(t.s), ERR_TLS);
    end();
    ck_assert_uint_eq(t.lines, 1);
}
END_TEST

static void
cut_off(struct client *c)
{
    gnutls_record_send(c->session, "half", 4);
    shutdown(t.client_fd, SHUT_WR);
}

START_TEST(an_end_without_close_notify_is_an_end)
{
    struct client c = {.then = cut_off};
    struct buf line = BUF_INIT(100);

    begin(&c);
    ck_assert_int_eq(stream_read_line(t.s, &line, 100), ERR_EOF);
    end();
    ck_assert_uint_eq(t.lines, 0);
    buf_free(&line);
}
END_TEST

static void
garbage(struct client *c)
{
    static const char record[] = {23, 3, 3, 0, 32};

    (void)c;
    send(t.client_fd, record, sizeof record, MSG_NOSIGNAL);
    send(t.client_fd, "0123456789abcdef0123456789abcdef", 32, MSG_NOSIGNAL);
}

START_TEST(a_forged_record_ends_the_session)
{
    struct client c = {.then = garbage};

    begin(&c);
    ck_assert_int_eq(stream_wait(t.s, -1, sys_monotonic_ms() + 5000), 1);
    ck_assert_int_eq(stream_error(t.s), ERR_TLS);
    end();
    ck_assert_uint_eq(t.lines, 1);
    ck_assert_ptr_nonnull(strstr(t.log, "TLS failed: "));
}
END_TEST

START_TEST(trim_keeps_the_session_working)
{
    struct client c = {.then = hello};

    begin(&c);
    expect_line("a1 NOOP");
    stream_trim(t.s);
    expect_line("a2 NOOP");
    expect_line("a3 LOGOUT");
    stream_trim(t.s);
    stream_puts(t.s, "* BYE\r\n");
    end();
    ck_assert_str_eq(c.got, "* BYE\r\n");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("tls");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, good_pair_loads_without_warning);
    tcase_add_test(tcase, missing_files_are_told);
    tcase_add_test(tcase, unreadable_files_are_told);
    tcase_add_test(tcase, what_is_not_pem_is_told);
    tcase_add_test(tcase, key_of_another_certificate_is_told);
    tcase_add_test(tcase, wrong_order_in_the_chain_is_told);
    tcase_add_test(tcase, encrypted_key_is_told);
    tcase_add_test(tcase, period_of_validity);
    tcase_add_test(tcase, key_for_everybody_is_warned_of);
    tcase_add_test(tcase, priority_string_is_checked);
    tcase_add_test(tcase, selfsigned_names_modes_and_no_overwriting);
    tcase_add_test(tcase, selfsigned_for_an_address_and_bad_hosts);
    tcase_add_test(tcase, tls13_and_its_description);
    tcase_add_test(tcase, tls12_and_its_description);
    tcase_add_test(tcase, a_handshake_through_a_full_socket);
    tcase_add_test(tcase, tls11_is_refused);
    tcase_add_test(tcase, no_tls_gives_no_description);
    tcase_add_test(tcase, cleartext_on_a_tls_port_fails_with_one_line);
    tcase_add_test(tcase, a_client_that_goes_away_is_an_end);
    tcase_add_test(tcase, a_silent_client_is_cut);
    tcase_add_test(tcase, a_handshake_that_drips_is_cut_in_all);
    tcase_add_test(tcase, starttls_injection_in_one_segment_is_thrown_away);
    tcase_add_test(tcase, starttls_injection_in_another_segment_fails_the_handshake);
    tcase_add_test(tcase, output_before_starttls_is_sent_in_the_clear);
    tcase_add_test(tcase, tls13_sessions_resume_in_another_process);
    tcase_add_test(tcase, tls12_sessions_resume_in_another_process);
    tcase_add_test(tcase, any_mix_of_sizes_arrives_in_order);
    tcase_add_test(tcase, an_upload_arrives_in_order);
    tcase_add_test(tcase, a_client_that_never_reads_is_cut);
    tcase_add_test(tcase, last_words_after_a_deadline);
    tcase_add_test(tcase, a_key_update_is_no_input);
    tcase_add_test(tcase, renegotiation_is_refused);
    tcase_add_test(tcase, warning_alerts_for_ever_are_cut);
    tcase_add_test(tcase, an_end_without_close_notify_is_an_end);
    tcase_add_test(tcase, a_forged_record_ends_the_session);
    tcase_add_test(tcase, trim_keeps_the_session_working);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
