/*
 * The auth process: answers the workers' requests from an event loop; lookups and delays in the
 * loop itself, hashes in a few child processes of its own (auth_workers), so that one slow hash
 * doesn't stop the others. The only process that sees password hashes.
 */
#ifndef AUTH_AUTH_SERVER_H
#define AUTH_AUTH_SERVER_H

#include "base/conf.h"

/* Serves listen_fd (a listening Unix stream socket, made by the master) until SIGTERM or until
   `parent_fd` (a pipe from the master) is at its end. Returns an exit status: 0, 75, 78
   (user_db can't be used). SIGHUP: reads the users file again (it's also noticed by itself). */
int auth_server_run(const struct conf *conf, int listen_fd, int parent_fd);

#endif
