/*
 * Certificates for people: making a self-signed one, describing one; see tls.h. RFC 5280 for
 * the certificate, RFC 6125 and RFC 7817 for the names in it. Not used while serving.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
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

#define TEXT_MAX    65536
#define NAMES_MAX   256  /* alternative names shown */
#define DAYS_MAX    7300 /* twenty years */
#define CN_MAX      64   /* ub-common-name, RFC 5280 appendix A.1 */
#define SERIAL_SIZE 16
#define DAY         86400

/* ---- making ---- */

static int
add_address(gnutls_x509_crt_t crt, const char *text)
{
    unsigned char address[16];
    unsigned size = 4;

    if (inet_pton(AF_INET, text, address) != 1) {
        if (inet_pton(AF_INET6, text, address) != 1)
            return -1;
        size = 16;
    }
    return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address, size,
                                                GNUTLS_FSAN_APPEND);
}

static int
add_name(gnutls_x509_crt_t crt, const char *name)
{
    return gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name,
                                                (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

static bool
is_address(const char *host)
{
    unsigned char address[16];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static int
fill_certificate(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *host,
                 unsigned days)
{
    unsigned char serial[SERIAL_SIZE], id[64];
    size_t id_size = sizeof id, cn = strlen(host);
    time_t now = (time_t)sys_now();
    int ret;

    sys_random(serial, sizeof serial);
    serial[0] = (unsigned char)((serial[0] & 0x3f) | 0x40); /* positive and of full length */
    if ((ret = gnutls_x509_crt_set_version(crt, 3)) < 0 ||
        (ret = gnutls_x509_crt_set_serial(crt, serial, sizeof serial)) < 0 ||
        /* an hour back, for clients whose clock is late */
        (ret = gnutls_x509_crt_set_activation_time(crt, now - 3600)) < 0 ||
        (ret = gnutls_x509_crt_set_expiration_time(crt, now + (time_t)days * DAY)) < 0 ||
        (ret = gnutls_x509_crt_set_key(crt, key)) < 0 ||
        (ret = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, host,
                                             (unsigned)(cn > CN_MAX ? CN_MAX : cn))) < 0 ||
        (ret = is_address(host) ? add_address(crt, host) : add_name(crt, host)) < 0)
        return ret;
    if (strcmp(host, "localhost") == 0 &&
        ((ret = add_address(crt, "127.0.0.1")) < 0 || (ret = add_address(crt, "::1")) < 0))
        return ret;
    if ((ret = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
        (ret = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
        (ret = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0)) < 0 ||
        (ret = gnutls_x509_privkey_get_key_id(key, 0, id, &id_size)) < 0 ||
        (ret = gnutls_x509_crt_set_subject_key_id(crt, id, id_size)) < 0)
        return ret;
    return gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
}

static int
write_failed(const char *path, int errnum, struct tls_error *err)
{
    if (errnum == EEXIST)
        return tls_complain(err, ERR_EXISTS,
                            "%s exists; it isn't overwritten. Move it away first", path);
    return tls_complain(err, err_from_errno(errnum), "%s: can't be written: %s", path,
                        strerror(errnum));
}

/* Makes a new file with the text in it, on disk. */
static int
write_new(const char *path, mode_t mode, const gnutls_datum_t *text, struct tls_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    ssize_t n;
    int saved;

    if (fd < 0)
        return write_failed(path, errno, err);
    n = write(fd, text->data, text->size);
    if (n == (ssize_t)text->size && fchmod(fd, mode) == 0 && sys_fsync(fd) == 0) {
        close(fd);
        return 0;
    }
    saved = n >= 0 && n < (ssize_t)text->size ? ENOSPC : errno;
    close(fd);
    unlink(path);
    return write_failed(path, saved, err);
}

/* Both or none. */
static int
write_pair(const char *certificate, const char *key, const gnutls_datum_t *cert_pem,
           const gnutls_datum_t *key_pem, struct tls_error *err)
{
    int code;

    if (access(certificate, F_OK) == 0)
        return write_failed(certificate, EEXIST, err);
    code = write_new(key, 0600, key_pem, err);
    if (code != 0)
        return code;
    code = write_new(certificate, 0644, cert_pem, err);
    if (code != 0)
        unlink(key);
    return code;
}

static bool
host_ok(const char *host)
{
    size_t len = strlen(host);

    return len > 0 && len <= 253 &&
           strspn(host, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789-._:*") == len;
}

int
tls_make_selfsigned(const char *certificate, const char *key, const char *host, unsigned days,
                    struct tls_error *err)
{
    gnutls_x509_crt_t crt = NULL;
    gnutls_x509_privkey_t private_key = NULL;
    gnutls_datum_t cert_pem = {NULL, 0}, key_pem = {NULL, 0};
    int ret, code;

    err->text[0] = '\0';
    if (!host_ok(host))
        return tls_complain(err, ERR_CONFIG,
                            "'%.100s' isn't a host name or address; give the name that clients "
                            "connect to",
                            host);
    if (days == 0 || days > DAYS_MAX)
        return tls_complain(err, ERR_RANGE, "%u days: give 1 to %d", days, DAYS_MAX);
    if (gnutls_x509_crt_init(&crt) < 0 || gnutls_x509_privkey_init(&private_key) < 0)
        mem_fatal(sizeof *err);
    if ((ret = gnutls_x509_privkey_generate(private_key, GNUTLS_PK_ECDSA,
                                            GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                            0)) < 0 ||
        (ret = fill_certificate(crt, private_key, host, days)) < 0 ||
        (ret = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &cert_pem)) < 0 ||
        (ret = gnutls_x509_privkey_export2_pkcs8(private_key, GNUTLS_X509_FMT_PEM, NULL,
                                                 GNUTLS_PKCS_PLAIN, &key_pem)) < 0)
        code = tls_complain(err, ERR_TLS, "the certificate can't be made: %s",
                            gnutls_strerror(ret));
    else
        code = write_pair(certificate, key, &cert_pem, &key_pem, err);
    if (key_pem.data != NULL)
        explicit_bzero(key_pem.data, key_pem.size);
    gnutls_free(key_pem.data);
    gnutls_free(cert_pem.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(private_key);
    return code;
}

/* ---- describing ---- */

static void
add_dn(struct buf *out, const char *label, int ret, gnutls_datum_t *dn)
{
    if (ret < 0) {
        buf_addf(out, "%s(unreadable: %s)\n", label, gnutls_strerror(ret));
        return;
    }
    buf_addf(out, "%s%s\n", label, (const char *)dn->data);
    gnutls_free(dn->data);
}

static void
add_time(struct buf *out, const char *label, time_t when)
{
    char text[40] = "(unknown)";
    struct tm tm;

    if (when != (time_t)-1 && gmtime_r(&when, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &tm);
    buf_addf(out, "%s%s\n", label, text);
}

static void
add_names(struct buf *out, gnutls_x509_crt_t crt)
{
    char name[512], address[INET6_ADDRSTRLEN];
    size_t size;
    unsigned i;
    int ret;

    buf_adds(out, "names:       ");
    for (i = 0; i < NAMES_MAX; i++) {
        size = sizeof name - 1;
        ret = gnutls_x509_crt_get_subject_alt_name(crt, i, name, &size, NULL);
        if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            break;
        if (ret == GNUTLS_SAN_IPADDRESS && (size == 4 || size == 16)) {
            inet_ntop(size == 4 ? AF_INET : AF_INET6, name, address, sizeof address);
            buf_addf(out, " %s", address);
        } else if (ret == GNUTLS_SAN_DNSNAME) {
            buf_addf(out, " %.*s", (int)size, name);
        }
    }
    if (i == 0)
        buf_adds(out, " (none: clients will refuse it)");
    buf_addc(out, '\n');
}

static void
add_key(struct buf *out, gnutls_x509_crt_t crt)
{
    unsigned bits = 0, n;
    int algorithm = gnutls_x509_crt_get_pk_algorithm(crt, &bits);
    unsigned char digest[32];
    size_t size = sizeof digest;

    buf_addf(out, "key:          %s, %u bits\n",
             gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm), bits);
    if (gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, digest, &size) < 0)
        size = 0;
    buf_adds(out, "fingerprint:  SHA-256 ");
    for (n = 0; n < size; n++)
        buf_addf(out, n == 0 ? "%02X" : ":%02X", digest[n]);
    buf_addc(out, '\n');
}

/* A certificate is what others sign and send: no byte of it may move a terminal's cursor. */
static void
make_printable(struct buf *out)
{
    size_t i;

    for (i = 0; i < out->len; i++)
        if (((unsigned char)out->data[i] < 0x20 && out->data[i] != '\n') ||
            out->data[i] == 0x7f)
            out->data[i] = '?';
}

int
tls_describe_certificate(const char *certificate, char **text_out, struct tls_error *err)
{
    struct buf pem, out = BUF_INIT(TEXT_MAX);
    gnutls_datum_t datum, dn = {NULL, 0};
    gnutls_x509_crt_t crt;
    time_t expires;
    int ret, code;

    *text_out = NULL;
    err->text[0] = '\0';
    code = tls_read_file(certificate, "certificate", &pem, err);
    if (code != 0) {
        buf_free(&pem);
        return code;
    }
    if (gnutls_x509_crt_init(&crt) < 0)
        mem_fatal(sizeof *err);
    datum.data = (unsigned char *)pem.data;
    datum.size = (unsigned)pem.len;
    ret = gnutls_x509_crt_import(crt, &datum, GNUTLS_X509_FMT_PEM);
    buf_free(&pem);
    if (ret < 0) {
        gnutls_x509_crt_deinit(crt);
        return tls_complain(err, ERR_CONFIG, "%s: no PEM certificate in it (%s)", certificate,
                            gnutls_strerror(ret));
    }
    ret = gnutls_x509_crt_get_dn3(crt, &dn, 0);
    add_dn(&out, "subject:      ", ret, &dn);
    add_names(&out, crt);
    ret = gnutls_x509_crt_get_issuer_dn3(crt, &dn, 0);
    add_dn(&out, "issuer:       ", ret, &dn);
    add_time(&out, "valid from:   ", gnutls_x509_crt_get_activation_time(crt));
    expires = gnutls_x509_crt_get_expiration_time(crt);
    add_time(&out, "valid until:  ", expires);
    if (expires < (time_t)sys_now())
        buf_adds(&out, "              EXPIRED\n");
    add_key(&out, crt);
    gnutls_x509_crt_deinit(crt);
    make_printable(&out);
    buf_addc(&out, '\0');
    *text_out = out.data;
    return 0;
}
