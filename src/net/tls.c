/*
 * TLS credentials of the server; see tls.h. Loads and checks them, and gives them to the
 * sessions (tls_session.c). Doesn't make or show certificates (tls_cert.c).
 *
 * Session tickets (RFC 5077, RFC 8446 4.6.1) are encrypted with keys that GnuTLS derives from
 * one master key and the time, and rotates. The master key is made here, so every process that
 * inherits the context can resume a session that another one started, and none has to share
 * memory for it. A reload makes a new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/sys.h"
#include "net/tls_context.h"

#define FILE_MAX      (1024 * 1024) /* octets of a PEM file */
#define CHAIN_MAX     16            /* certificates in it */
#define WARN_DAYS     14            /* before expiry */
#define DAY           86400
#define TICKET_LIFE_S 43200 /* how long a session can be resumed */

/*
 * TLS 1.2 and 1.3; forward secrecy always (no static RSA key exchange, RFC 9325 4.1); AEAD
 * first, AES-128-GCM being the fastest with hardware support; CBC last, for TLS 1.2 clients of
 * 2012. The order is the server's.
 */
#define PRIORITY_DEFAULT                                                                       \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:"   \
    "+CHACHA20-POLY1305:+AES-128-CBC:+AES-256-CBC:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:"  \
    "+GROUP-SECP384R1:+GROUP-SECP521R1:+GROUP-FFDHE2048:+GROUP-FFDHE3072:%SERVER_PRECEDENCE"

struct tls_context {
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    gnutls_datum_t ticket_key;
};

int
tls_complain(struct tls_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return code;
}

static int
cannot_read(const char *path, const char *what, int errnum, struct tls_error *err)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        return tls_complain(err, ERR_CONFIG,
                            "%s: the %s file doesn't exist; correct the path, or make one with "
                            "'mansioctl cert selfsigned'",
                            path, what);
    case EACCES:
    case EPERM:
        return tls_complain(err, ERR_CONFIG,
                            "%s: the %s file can't be read: permission denied; start as root, "
                            "or let uid %lu read it",
                            path, what, (unsigned long)geteuid());
    default:
        return tls_complain(err, ERR_CONFIG, "%s: the %s file can't be read: %s", path, what,
                            strerror(errnum));
    }
}

int
tls_read_file(const char *path, const char *what, struct buf *out, struct tls_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char *to;
    ssize_t n = -1;
    int saved;

    buf_init(out, FILE_MAX + 1);
    if (fd < 0)
        return cannot_read(path, what, errno, err);
    while ((to = buf_room(out, 4096)) != NULL) {
        do
            n = read(fd, to, 4096);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            break;
        buf_added(out, (size_t)n);
    }
    saved = errno;
    close(fd);
    if (to == NULL)
        return tls_complain(err, ERR_CONFIG, "%s: over 1 MiB, so this isn't a %s file", path,
                            what);
    if (n < 0)
        return cannot_read(path, what, saved, err);
    if (out->len == 0)
        return tls_complain(err, ERR_CONFIG, "%s: the %s file is empty", path, what);
    return 0;
}

/* ---- checks of what was loaded ---- */

static void
date_text(time_t when, char *out, size_t size)
{
    struct tm tm;

    if (when == (time_t)-1 || gmtime_r(&when, &tm) == NULL ||
        strftime(out, size, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        snprintf(out, size, "an unknown date");
}

static void __attribute__((format(printf, 3, 4)))
warn(char *text, size_t size, const char *fmt, ...)
{
    va_list ap;

    if (text == NULL || size == 0 || text[0] != '\0')
        return; /* the first one counts: they come in the order of their weight */
    va_start(ap, fmt);
    vsnprintf(text, size, fmt, ap);
    va_end(ap);
}

static int
check_validity(const char *path, gnutls_x509_crt_t *chain, unsigned n, struct tls_error *err,
               char *warn_text, size_t warn_size)
{
    time_t now = (time_t)sys_now(), from = gnutls_x509_crt_get_activation_time(chain[0]);
    time_t to = gnutls_x509_crt_get_expiration_time(chain[0]);
    char date[40];
    unsigned i;

    if (from != (time_t)-1 && from > now) {
        date_text(from, date, sizeof date);
        return tls_complain(err, ERR_CONFIG,
                            "%s: the certificate isn't valid before %s; is this machine's "
                            "clock right?",
                            path, date);
    }
    date_text(to, date, sizeof date);
    if (to != (time_t)-1 && to < now)
        return tls_complain(err, ERR_CONFIG,
                            "%s: the certificate expired on %s; renew it and run 'mansioctl "
                            "reload'",
                            path, date);
    if (to != (time_t)-1 && to - now < WARN_DAYS * DAY)
        warn(warn_text, warn_size,
             "%s: the certificate expires on %s; renew it and run 'mansioctl reload'", path,
             date);
    for (i = 1; i < n; i++) {
        to = gnutls_x509_crt_get_expiration_time(chain[i]);
        date_text(to, date, sizeof date);
        if (to != (time_t)-1 && to < now)
            warn(warn_text, warn_size,
                 "%s: certificate %u of the chain expired on %s; get the current chain from "
                 "the issuer",
                 path, i + 1, date);
        if (gnutls_x509_crt_check_issuer(chain[i - 1], chain[i]) == 0)
            warn(warn_text, warn_size,
                 "%s: certificate %u isn't signed by certificate %u; the order must be the "
                 "server's own, then each issuer",
                 path, i, i + 1);
    }
    return 0;
}

static int
load_chain(const char *path, const struct buf *pem, gnutls_x509_crt_t **chain, unsigned *n,
           struct tls_error *err)
{
    gnutls_datum_t datum = {(unsigned char *)pem->data, (unsigned)pem->len};
    int ret = gnutls_x509_crt_list_import2(chain, n, &datum, GNUTLS_X509_FMT_PEM, 0);

    if (ret < 0 || *n == 0) {
        if (ret >= 0)
            gnutls_free(*chain);
        *n = 0;
        return tls_complain(err, ERR_CONFIG,
                            "%s: no PEM certificate in it (%s); it must begin with '-----BEGIN "
                            "CERTIFICATE-----'. DER is converted by: openssl x509 -inform der",
                            path, gnutls_strerror(ret));
    }
    if (*n > CHAIN_MAX)
        return tls_complain(err, ERR_CONFIG,
                            "%s: %u certificates; put in the server's own and its issuers only",
                            path, *n);
    return 0;
}

static int
load_key(const char *path, const struct buf *pem, gnutls_x509_privkey_t key,
         struct tls_error *err)
{
    gnutls_datum_t datum = {(unsigned char *)pem->data, (unsigned)pem->len};
    int ret = gnutls_x509_privkey_import2(key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);

    if (ret == GNUTLS_E_DECRYPTION_FAILED)
        return tls_complain(err, ERR_CONFIG,
                            "%s: the key is encrypted; write it without a passphrase: openssl "
                            "pkey -in OLD -out NEW",
                            path);
    if (ret < 0)
        return tls_complain(err, ERR_CONFIG,
                            "%s: no usable PEM private key in it (%s); it must begin with "
                            "'-----BEGIN PRIVATE KEY-----' or the like",
                            path, gnutls_strerror(ret));
    return 0;
}

static int
check_pair(const char *certificate, const char *key, gnutls_x509_crt_t *chain, unsigned n,
           gnutls_x509_privkey_t private_key, struct tls_error *err)
{
    unsigned char id[2][64];
    size_t size[2] = {sizeof id[0], sizeof id[1]};
    unsigned i, match = n;

    if (gnutls_x509_privkey_get_key_id(private_key, GNUTLS_KEYID_USE_SHA256, id[0], &size[0]) <
        0)
        return tls_complain(err, ERR_CONFIG, "%s: a kind of key that can't be used", key);
    for (i = 0; i < n && match == n; i++) {
        size[1] = sizeof id[1];
        if (gnutls_x509_crt_get_key_id(chain[i], GNUTLS_KEYID_USE_SHA256, id[1], &size[1]) ==
                0 &&
            size[0] == size[1] && memcmp(id[0], id[1], size[0]) == 0)
            match = i;
    }
    if (match == 0)
        return 0;
    if (match < n)
        return tls_complain(err, ERR_CONFIG,
                            "%s: the key belongs to certificate %u of the file; the server's "
                            "own must be the first, its issuers follow",
                            certificate, match + 1);
    return tls_complain(err, ERR_CONFIG,
                        "%s: the key doesn't belong to the certificate %s; give the key that "
                        "the certificate was made with",
                        key, certificate);
}

static void
check_mode(const char *key, char *warn_text, size_t warn_size)
{
    struct stat st;

    if (stat(key, &st) == 0 && (st.st_mode & S_IROTH) != 0)
        warn(warn_text, warn_size, "%s: everybody can read the key; run: chmod 600 %s", key,
             key);
}

/* ---- context ---- */

static int
load_credentials(struct tls_context *ctx, const char *certificate, const char *key,
                 struct tls_error *err, char *warn_text, size_t warn_size)
{
    struct buf cert_pem = BUF_INIT(0), key_pem = BUF_INIT(0);
    gnutls_x509_crt_t *chain = NULL;
    gnutls_x509_privkey_t private_key;
    unsigned i, n = 0;
    int code, ret;

    if (gnutls_x509_privkey_init(&private_key) < 0)
        mem_fatal(sizeof *ctx);
    code = tls_read_file(certificate, "certificate", &cert_pem, err);
    if (code == 0)
        code = load_chain(certificate, &cert_pem, &chain, &n, err);
    if (code == 0)
        code = tls_read_file(key, "key", &key_pem, err);
    if (code == 0)
        code = load_key(key, &key_pem, private_key, err);
    if (code == 0)
        code = check_pair(certificate, key, chain, n, private_key, err);
    if (code == 0)
        code = check_validity(certificate, chain, n, err, warn_text, warn_size);
    if (code == 0) {
        check_mode(key, warn_text, warn_size);
        ret = gnutls_certificate_set_x509_key(ctx->credentials, chain, (int)n, private_key);
        if (ret < 0)
            code = tls_complain(err, ERR_CONFIG, "%s and %s can't be used: %s", certificate,
                                key, gnutls_strerror(ret));
    }
    for (i = 0; i < n; i++)
        gnutls_x509_crt_deinit(chain[i]);
    if (n > 0)
        gnutls_free(chain);
    gnutls_x509_privkey_deinit(private_key);
    if (key_pem.data != NULL)
        explicit_bzero(key_pem.data, key_pem.cap);
    buf_free(&key_pem);
    buf_free(&cert_pem);
    return code;
}

static int
set_priority(struct tls_context *ctx, const char *priority, struct tls_error *err)
{
    const char *at = NULL;
    int ret;

    if (priority == NULL || priority[0] == '\0')
        priority = PRIORITY_DEFAULT;
    ret = gnutls_priority_init(&ctx->priority, priority, &at);
    if (ret == GNUTLS_E_INVALID_REQUEST)
        return tls_complain(err, ERR_CONFIG,
                            "tls_priority: not understood from '%.60s' on; 'gnutls-cli "
                            "--priority-list' shows the words, empty means the default",
                            at != NULL ? at : priority);
    if (ret < 0)
        return tls_complain(err, ERR_CONFIG, "tls_priority: %s; empty means the default",
                            gnutls_strerror(ret));
    return 0;
}

int
tls_context_new(const char *certificate, const char *key, const char *priority,
                struct tls_error *err, char *warn_text, size_t warn_size,
                struct tls_context **out)
{
    struct tls_context *ctx = mem_calloc(1, sizeof *ctx);
    int code;

    *out = NULL;
    err->text[0] = '\0';
    if (warn_text != NULL && warn_size > 0)
        warn_text[0] = '\0';
    if (gnutls_certificate_allocate_credentials(&ctx->credentials) < 0)
        mem_fatal(sizeof *ctx);
    code = load_credentials(ctx, certificate, key, err, warn_text, warn_size);
    if (code == 0)
        code = set_priority(ctx, priority, err);
    if (code == 0 && gnutls_session_ticket_key_generate(&ctx->ticket_key) < 0)
        code = tls_complain(err, ERR_CONFIG, "no key for session tickets could be made");
    if (code != 0) {
        tls_context_free(&ctx);
        return code;
    }
    *out = ctx;
    return 0;
}

void
tls_context_free(struct tls_context **ctxp)
{
    struct tls_context *ctx = *ctxp;

    if (ctx == NULL)
        return;
    *ctxp = NULL;
    if (ctx->ticket_key.data != NULL) {
        explicit_bzero(ctx->ticket_key.data, ctx->ticket_key.size);
        gnutls_free(ctx->ticket_key.data);
    }
    if (ctx->priority != NULL)
        gnutls_priority_deinit(ctx->priority);
    gnutls_certificate_free_credentials(ctx->credentials);
    free(ctx);
}

void
tls_context_apply(struct tls_context *ctx, gnutls_session_t session)
{
    if (gnutls_priority_set(session, ctx->priority) < 0 ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, ctx->credentials) < 0 ||
        gnutls_session_ticket_enable_server(session, &ctx->ticket_key) < 0)
        mem_fatal(sizeof *ctx);
    gnutls_db_set_cache_expiration(session, TICKET_LIFE_S);
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_IGNORE);
}
