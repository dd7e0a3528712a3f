/*
 * Listening sockets from the configuration's lists: `*:143` (IPv4 and IPv6), `127.0.0.1:143`,
 * `[::1]:143`, `host:143`, `unix:/path`.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define LISTENER_MAX 16 /* sockets of one list */

struct listener {
    int fd;            /* non-blocking, close-on-exec */
    char address[128]; /* for the log: "[::]:143" */
};

/* Checks the syntax of a list; on ERR_CONFIG, text names the item and the remedy. */
int listener_check(const char *list, char *text, size_t text_size);
/* Binds and listens. Returns how many (0 for an empty list) or ERR_CONFIG (syntax), ERR_PERM,
   ERR_INUSE (address in use), ERR_IO: text says which and what to do; nothing stays bound. */
int listener_open(const char *list, struct listener *out, char *text, size_t text_size);
void listener_close(struct listener *l, size_t n);

/* One side of an accepted connection in words. */
struct peer {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    char address[64]; /* numeric, IPv4-mapped as IPv4; "local" for a Unix socket */
    unsigned port;
};
/* accept4; close-on-exec, TCP_NODELAY and keepalive are set. The descriptor or ERR_*: ERR_TEMP
   when there was nobody (another worker was faster, the client has gone), ERR_SHORT when out of
   descriptors, ERR_EOF when the socket listens no more (not logged). */
int listener_accept(const struct listener *l, struct peer *peer);

#endif
