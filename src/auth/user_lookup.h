/*
 * Whose mail: for programs that no client logs in to, such as mansio-deliver.
 */
#ifndef AUTH_USER_LOOKUP_H
#define AUTH_USER_LOOKUP_H

#include <stdbool.h>

#include "auth/auth_client.h"
#include "base/conf.h"

/*
 * Finds a user by the name as it's given in an address or on a command line, folded as at a
 * login: asks the auth process if it runs, else reads the users file. `delimiters`: if there's
 * no such user, what follows the first of these characters in the local part is taken for a
 * detail (RFC 5233) and left away; "" = there are none.
 *
 * 0 and user, home, mail, quota in *an; ERR_NOENT: no such user; ERR_CANNOT: nobody can have
 * that name; ERR_TEMP (logged): the auth process doesn't run, and the file can't be read; or
 * there are no users at all.
 */
int user_lookup(const struct conf *conf, const char *name, const char *delimiters,
                struct auth_answer *an);

#endif
