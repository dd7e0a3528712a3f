/*
 * Inside of the auth process: its state, and one connection of a worker.
 */
#ifndef AUTH_AUTH_CONN_H
#define AUTH_AUTH_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "auth/auth_check.h"
#include "auth/auth_count.h"
#include "auth/auth_hash.h"
#include "auth/auth_timer.h"
#include "auth/penalty.h"

/* Waiting times of the protocol. */
#define AUTH_REQUEST_MS 10000 /* a connection's request must be there */
#define AUTH_HASH_MS    30000 /* a hash must be tried out */
#define AUTH_REFUSED_MS 15000 /* an attempt that isn't looked at is answered */

struct auth_conn;

struct auth_server {
    const struct conf *conf;
    int epoll_fd;
    struct auth_check check;
    struct penalty *penalty;
    struct counts *counts;
    struct timers timers; /* of requests under way */
    struct hash_pool *pool;
    struct auth_conn *conns; /* all of them */
    struct auth_request_state *requests;
    uid_t mail_uid; /* may ask too; (uid_t)-1 = none */
};

/* Takes an accepted descriptor over. */
void auth_conn_new(struct auth_server *s, int fd);
/* A timer of a request has come. */
void auth_timer_due(struct auth_server *s, struct timer *timer);
/* Closes all connections and forgets all requests. */
void auth_conns_free(struct auth_server *s);

#endif
