/*
 * How a quota is written, in mansio.conf(5), in mansio-users(5), and in the first line of a
 * Maildir++ `maildirsize`. What is counted, and where, is store/quota.h.
 */
#ifndef BASE_QUOTA_LIMIT_H
#define BASE_QUOTA_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quota_limit {
    uint64_t bytes;    /* 0 = any */
    uint64_t messages; /* 0 = any */
};

#define QUOTA_LIMIT_MAX  (UINT64_C(1) << 62) /* of either */
#define QUOTA_LIMIT_SIZE 64                  /* octets of a text, NUL included */

/*
 * "10G", "10G:20000", "0:20000", "0" (none), Maildir++'s "1000000S,1000C", and what users files
 * of Dovecot have: "*:storage=1G", "*:storage=1G:messages=1000", "maildir:storage=...". Units:
 * B K M G T, powers of 1024; without one octets, but kilobytes in storage=. 0 or ERR_SYNTAX.
 */
int quota_parse(const char *text, struct quota_limit *out);
/* The first line of a maildirsize: "1000000S,1000C". Kinds of limits that nobody here knows are
   passed over. 0, or ERR_SYNTAX: not such a line. */
int quota_parse_header(const char *text, struct quota_limit *out);

bool quota_is_none(const struct quota_limit *l);
/* As the administrator writes it, "10G:20000"; quota_parse() reads it back. */
void quota_limit_text(const struct quota_limit *l, char out[QUOTA_LIMIT_SIZE]);

#endif
