/*
 * Password hashes: verifying and making. Schemes: crypt(3) hashes of libxcrypt ($1$ $5$ $6$
 * $2a$ $2b$ $2y$ $y$ $gy$ $7$, DES), with or without prefix; {PLAIN} {CLEARTEXT} {CRYPT}
 * {SHA512-CRYPT} {SHA256-CRYPT} {MD5-CRYPT} {BLF-CRYPT} {YESCRYPT} {DES-CRYPT}, {SHA} {SSHA}
 * {SHA256} {SSHA256} {SHA512} {SSHA512} {MD5} {SMD5} {PLAIN-MD5} (Base64, or hex where Dovecot
 * has it; with .HEX, .B64, .BASE64 endings).
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

/* Constant time in the content. A hash of no known scheme (also "!" "*" "x" "") is false after
   the same work. An empty password, or one with a NUL in it, is never right. */
bool password_verify(const char *hash, const char *password, size_t len);
/* The work of a verification for a user who isn't there, whose hash would look like `like`. */
void password_verify_nobody(const char *like, const char *password, size_t len);
/* Does verifying take long by design (crypt(3), or no known scheme)? */
bool password_is_slow(const char *hash);
/* Has the hash a form that some password can match? */
bool password_is_usable(const char *hash);
/* A new hash: scheme "YESCRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "PLAIN" (only for
   text without ':' and control characters), NULL = YESCRYPT. malloc, or NULL (scheme unknown,
   password empty or too long for it). */
char *password_hash(const char *scheme, const char *password);
/* Is it {PLAIN}? Then the text itself (for APOP), else NULL. */
const char *password_plain_text(const char *hash);
/* APOP (RFC 1939 7): is digest (hex, lower or upper case) the MD5 of challenge and secret? */
bool password_apop(const char *secret, const char *challenge, const char *digest, size_t len);
/* Fills p with zeros, not to be optimised away. */
void secret_wipe(void *p, size_t n);
bool secret_equal(const void *a, const void *b, size_t n);

#endif
