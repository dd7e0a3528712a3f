/*
 * A client connection for the benchmark: blocking, buffered both ways, plain or TLS.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "bench.h"

#define IN_BLOCK   (256 * 1024)
#define PATIENCE_S 300 /* for one answer: a server that says nothing more ends the workload */

static gnutls_certificate_credentials_t credentials;
static pthread_once_t credentials_made = PTHREAD_ONCE_INIT;

static void
make_credentials(void)
{
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        abort();
}

void
client_prepare_tls(struct client *c)
{
    gnutls_session_t session;

    pthread_once(&credentials_made, make_credentials);
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(session, c->fd);
    c->tls = session;
}

static bool
start_tls(struct client *c, void **resume, bool *resumed)
{
    double started = now();
    gnutls_session_t session;
    gnutls_datum_t data;
    int err;

    client_prepare_tls(c);
    session = c->tls;
    if (resume != NULL && *resume != NULL) {
        data = *(gnutls_datum_t *)*resume;
        gnutls_session_set_data(session, data.data, data.size);
    }
    do
        err = gnutls_handshake(session);
    while (err < 0 && !gnutls_error_is_fatal(err) && now() - started < PATIENCE_S);
    if (resumed != NULL)
        *resumed = err == 0 && gnutls_session_is_resumed(session);
    return err == 0;
}

/* The ticket of TLS 1.3 comes after the handshake, so it's taken at the end of a session. */
static void
keep_ticket(struct client *c, void **resume)
{
    gnutls_datum_t *data;

    if (resume == NULL || *resume != NULL || c->tls == NULL)
        return;
    data = malloc(sizeof *data);
    if (data == NULL || gnutls_session_get_data2(c->tls, data) < 0) {
        free(data);
        return;
    }
    *resume = data;
}

bool
client_open(struct client *c, const struct target *t, enum service service, void **resume,
            bool *resumed)
{
    int ports[] = {t->imap_port, t->imaps_port, t->pop3_port, t->pop3s_port}, on = 1;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)ports[service])};
    size_t len;

    memset(c, 0, sizeof *c);
    inet_pton(AF_INET, t->host, &addr.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        c->broken = true;
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if ((service == SERVICE_IMAPS || service == SERVICE_POP3S) &&
        !start_tls(c, resume, resumed)) {
        c->broken = true;
        return false;
    }
    if (client_line(c, &len) == NULL)
        return false;
    keep_ticket(c, resume);
    return true;
}

void
client_close(struct client *c)
{
    if (c->tls != NULL) {
        gnutls_bye(c->tls, GNUTLS_SHUT_WR);
        gnutls_deinit(c->tls);
    }
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    free(c->out);
    memset(c, 0, sizeof *c);
    c->fd = -1;
    c->broken = true;
}

static ssize_t
raw_read(struct client *c, void *p, size_t n)
{
    double started = 0;
    ssize_t got;

    /* GnuTLS says AGAIN after a session ticket, too */
    while (c->tls != NULL) {
        got = gnutls_record_recv(c->tls, p, n);
        if (got != GNUTLS_E_AGAIN && got != GNUTLS_E_INTERRUPTED)
            return got;
        if (started == 0)
            started = now();
        else if (now() - started > PATIENCE_S)
            return -1;
    }
    do
        got = read(c->fd, p, n);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Makes `want` unread octets available (want 0: at least one more). */
static bool
fill(struct client *c, size_t want)
{
    size_t unread = c->len - c->pos;
    ssize_t got;

    if (want == 0)
        want = unread + 1;
    if (c->pos > 0) {
        memmove(c->in, c->in + c->pos, unread);
        c->pos = 0;
        c->len = unread;
    }
    while (c->len < want) {
        if (c->cap - c->len < IN_BLOCK / 4) {
            c->cap = (c->cap + IN_BLOCK) + (want > c->cap ? want : 0);
            c->in = realloc(c->in, c->cap);
            if (c->in == NULL)
                abort();
        }
        got = raw_read(c, c->in + c->len, c->cap - c->len);
        if (got <= 0) {
            c->broken = true;
            return false;
        }
        c->len += (size_t)got;
    }
    return true;
}

char *
client_line(struct client *c, size_t *len)
{
    char *end, *line;
    size_t from = 0;

    client_flush(c);
    for (;;) {
        end = c->len > c->pos + from
                  ? memchr(c->in + c->pos + from, '\n', c->len - c->pos - from)
                  : NULL;
        if (end != NULL)
            break;
        from = c->len - c->pos;
        if (!fill(c, 0))
            return NULL;
    }
    line = c->in + c->pos;
    *len = (size_t)(end - line);
    c->pos += *len + 1;
    if (*len > 0 && line[*len - 1] == '\r')
        --*len;
    return line;
}

char *
client_bytes(struct client *c, size_t n)
{
    char *p;

    if (c->len - c->pos < n && !fill(c, n))
        return NULL;
    p = c->in + c->pos;
    c->pos += n;
    return p;
}

bool
client_wait(struct client *c, int ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    client_flush(c);
    if (c->len > c->pos || (c->tls != NULL && gnutls_record_check_pending(c->tls) > 0))
        return true;
    return poll(&p, 1, ms) > 0;
}

void
client_put_bytes(struct client *c, const void *p, size_t n)
{
    if (c->out_len + n > c->out_cap) {
        c->out_cap = (c->out_len + n) * 2;
        c->out = realloc(c->out, c->out_cap);
        if (c->out == NULL)
            abort();
    }
    memcpy(c->out + c->out_len, p, n);
    c->out_len += n;
}

void
client_put(struct client *c, const char *fmt, ...)
{
    char line[4096];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line)
        abort();
    client_put_bytes(c, line, (size_t)n);
}

/*
 * Writes everything collected. A server that answers while we still write (pipelines of
 * thousands of commands) would block both ends, so input is taken in meanwhile.
 */
void
client_flush(struct client *c)
{
    size_t done = 0;
    ssize_t n;

    while (done < c->out_len && !c->broken) {
        if (c->tls != NULL) {
            n = gnutls_record_send(c->tls, c->out + done, c->out_len - done);
            if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
                continue;
        } else {
            n = send(c->fd, c->out + done, c->out_len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
                struct pollfd p = {.fd = c->fd, .events = POLLIN | POLLOUT};

                if (poll(&p, 1, PATIENCE_S * 1000) == 0 ||
                    ((p.revents & POLLIN) && !fill(c, 0))) {
                    c->broken = true;
                    break;
                }
                continue;
            }
        }
        if (n <= 0) {
            c->broken = true;
            break;
        }
        done += (size_t)n;
    }
    c->out_len = 0;
}
