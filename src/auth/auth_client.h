/*
 * Request and answer between a worker and the auth process: one of each per connection of a
 * Unix socket, fixed fields, lengths checked. The connection stays open while the login counts
 * (max_connections_per_user): its end tells the auth process that the session is over.
 */
#ifndef AUTH_AUTH_CLIENT_H
#define AUTH_AUTH_CLIENT_H

#include <stdint.h>

#define AUTH_MAGIC        0x4d53554eu /* a login */
#define AUTH_MAGIC_LOOKUP 0x4d53554cu /* only `user` counts: is there such a user? */

struct auth_request {
    uint32_t magic;
    char service[8]; /* imap, pop3 */
    char mechanism[16];
    char user[256]; /* folded by user_name_check() */
    char password[1024];
    char challenge[256];
    char address[64]; /* of the client; "local" */
    char session[16];
    uint8_t tls;
};
enum auth_status { AUTH_OK, AUTH_FAILED, AUTH_UNAVAILABLE, AUTH_TOO_MANY };
struct auth_answer {
    uint32_t magic;
    uint32_t status;   /* enum auth_status */
    uint32_t uid, gid; /* UINT32_MAX = none */
    char user[256];
    char home[1024];
    char mail[1024]; /* "" = by mail_location */
    char quota[64];
    char reason[64]; /* for the log of failures: "unknown user", "wrong password", "imap=no"
                        ...; never shown to the client */
};

/* Connects to run_dir/auth and sends the request: 0 and *fd open, which is readable when the
 * answer is there; or ERR_TEMP (logged), *fd -1. */
int auth_send(const char *socket_path, const struct auth_request *rq, unsigned timeout_s,
              int *fd);
/* Reads the answer. Closes *fd unless it's AUTH_OK. 0 or ERR_TEMP (logged). */
int auth_receive(int *fd, struct auth_answer *an, unsigned timeout_s);
/* Both: connects to run_dir/auth, asks, waits for the answer (timeout_s). 0 and *fd open on
 * AUTH_OK (else closed, -1), or ERR_TEMP. */
int auth_ask(const char *socket_path, const struct auth_request *rq, struct auth_answer *an,
             unsigned timeout_s, int *fd);
/* Who is that? For deliveries: no password, no delay, whether or not he may log in. 0 and
 * user, home, mail, quota in *an; ERR_NOENT: no such user; ERR_TEMP: not to be asked now (not
 * logged if nobody listens there). */
int auth_lookup(const char *socket_path, const char *user, struct auth_answer *an,
                unsigned timeout_s);

#endif
