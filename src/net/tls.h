/*
 * TLS credentials and the ticket key, loaded by the master once and inherited by its workers.
 * The only users of gnutls.h are tls.c and what stream.c needs through tls_internal.h.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;

/* Why a certificate or key can't be used, in words for an administrator with the remedy. */
struct tls_error {
    char text[512];
};

/* Loads certificate chain and key (PEM), checks that the key belongs to the certificate, that
   it's in its period of validity (expired: error; 14 days before: warn_text is set), and that
   the priority string parses. A fresh ticket key is made, so tickets work in all workers that
   inherit the context (RFC 5077, RFC 8446 4.6.1); GnuTLS derives rotating keys from it.
   priority "" = our default (TLS 1.2 and 1.3). 0 or ERR_CONFIG with err->text. */
int tls_context_new(const char *certificate, const char *key, const char *priority,
                    struct tls_error *err, char *warn_text, size_t warn_size,
                    struct tls_context **out);
void tls_context_free(struct tls_context **ctx);

/* Writes a self-signed certificate (ECDSA P-256, `days` long, for host: DNS name or address as
   SAN, plus localhost, 127.0.0.1 and ::1 when host is "localhost") and its key (0600). Existing
   files aren't overwritten (ERR_EXISTS). */
int tls_make_selfsigned(const char *certificate, const char *key, const char *host,
                        unsigned days, struct tls_error *err);
/* Describes a certificate file in lines for people: subject, names, issuer, validity, key,
 * SHA-256 fingerprint. */
int tls_describe_certificate(const char *certificate, char **text_out, struct tls_error *err);

#endif
