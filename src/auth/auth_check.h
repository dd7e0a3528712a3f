/*
 * What a login request comes to, apart from the password: which hash to try it against, and
 * whether the user would be refused whatever the password.
 */
#ifndef AUTH_AUTH_CHECK_H
#define AUTH_AUTH_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/auth_client.h"
#include "auth/users_file.h"
#include "base/conf.h"

#define AUTH_HASH_SIZE 1025

struct auth_check {
    const struct conf *conf;
    struct users_file *users;
    uint64_t seed; /* which user's hash stands for an unknown one */
};

struct auth_verdict {
    char hash[AUTH_HASH_SIZE];
    const char *refusal;  /* NULL: a right password lets him in */
    bool password_counts; /* false: the refusal is the reason even if the password is wrong */
};

/* 0, or ERR_CONFIG (logged): user_db can't be used. */
int auth_check_open(struct auth_check *c, const struct conf *conf);
void auth_check_close(struct auth_check *c);
/* Reads the users file again if it changed. */
void auth_check_refresh(struct auth_check *c);
/* Fills the verdict, and the answer's fields for a login. Every request gets a hash to try:
   that of another user, if need be, so that the work tells nothing. */
void auth_check_user(const struct auth_check *c, const struct auth_request *rq,
                     struct auth_verdict *v, struct auth_answer *an);
/* Fills the answer's fields for a delivery to this user. False: there's none. */
bool auth_check_lookup(const struct auth_check *c, const char *name, struct auth_answer *an);

#endif
