/*
 * Looking a user up and refusing; see auth_check.h.
 *
 * A refused user (not there, denied, without this service) costs what another one costs: the
 * password is tried against his hash or, if he has none, against that of a user picked by a
 * keyed hash of the name. So each unknown name always looks like the same one of the users, and
 * in a file of mixed schemes unknown names show the same mixture.
 */
#include <stdio.h>
#include <string.h>

#include "auth/auth_check.h"
#include "auth/nets.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "format/rules.h"

#define FAULTS_LOGGED 10

/* Names that can't match what a client gives, as that is folded first. */
static void
check_names(const struct auth_check *c)
{
    struct buf folded = BUF_INIT(1024);
    const struct user *user;
    unsigned faults = 0;

    for (size_t i = 0; (user = users_file_nth(c->users, i)) != NULL; i++) {
        buf_reset(&folded);
        if (user_name_check(user->name, strlen(user->name), c->conf->username_lowercase,
                            c->conf->username_default_domain, &folded) == 0 &&
            strcmp(buf_str(&folded), user->name) == 0)
            continue;
        if (faults++ == FAULTS_LOGGED)
            break;
        log_warn("user \"%s\" can never log in: write the name as \"%s\" in the users file "
                 "(see username_lowercase and username_default_domain)",
                 user->name, buf_str(&folded));
    }
    buf_free(&folded);
}

int
auth_check_open(struct auth_check *c, const struct conf *conf)
{
    memset(c, 0, sizeof *c);
    c->conf = conf;
    sys_random(&c->seed, sizeof c->seed);
    if (strncmp(conf->user_db, "file:", 5) != 0) {
        log_error("user_db = %s can't be used: write file: and a path", conf->user_db);
        return ERR_CONFIG;
    }
    if (users_file_load(conf->user_db + 5, &c->users) != 0) {
        log_error("user_db can't be used: make the file with `mansioctl user add NAME`");
        return ERR_CONFIG;
    }
    check_names(c);
    return 0;
}

void
auth_check_close(struct auth_check *c)
{
    users_file_free(&c->users);
}

void
auth_check_refresh(struct auth_check *c)
{
    if (users_file_refresh(c->users))
        check_names(c);
}

/* A user whose hash stands for one who isn't there; NULL when there are none at all. */
static const struct user *
stand_in(const struct auth_check *c, const char *name)
{
    uint64_t h = c->seed;
    size_t count = users_file_count(c->users);

    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x9e3779b97f4a7c15) ^ h >> 29;
    return count > 0 ? users_file_nth(c->users, (size_t)((h ^ h >> 32) % count)) : NULL;
}

/* By the whole name or, in the default domain, by what was in front of it. */
static bool
is_denied(const struct conf *conf, const char *name)
{
    const char *at = strrchr(name, '@');
    char local[256];

    if (conf_list_has(conf->denied_users, name))
        return true;
    if (at == NULL || conf->username_default_domain[0] == '\0' ||
        strcmp(at + 1, conf->username_default_domain) != 0)
        return false;
    snprintf(local, sizeof local, "%.*s", (int)(at - name), name);
    return conf_list_has(conf->denied_users, local);
}

static const char *
refusal_of(const struct user *user, const struct auth_request *rq)
{
    if (user->nologin)
        return "nologin";
    if (user->allow_nets[0] != '\0' && !net_list_has(user->allow_nets, rq->address))
        return "address not in allow_nets";
    if (strcmp(rq->service, "imap") == 0)
        return user->imap ? NULL : "imap=no";
    if (strcmp(rq->service, "pop3") == 0)
        return user->pop3 ? NULL : "pop3=no";
    return "unknown service";
}

/* A number of the users file, UINT32_MAX for none. */
static uint32_t
id_of(const char *s)
{
    uint64_t n = 0;

    if (*s == '\0')
        return UINT32_MAX;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return UINT32_MAX;
        n = n * 10 + (uint64_t)(*s - '0');
        if (n >= UINT32_MAX)
            return UINT32_MAX;
    }
    return (uint32_t)n;
}

static void
fill_answer(const struct user *user, struct auth_answer *an)
{
    an->uid = id_of(user->uid);
    an->gid = id_of(user->gid);
    snprintf(an->user, sizeof an->user, "%s", user->name);
    snprintf(an->home, sizeof an->home, "%s", user->home);
    snprintf(an->mail, sizeof an->mail, "%s", user->mail);
    snprintf(an->quota, sizeof an->quota, "%s", user->quota);
}

void
auth_check_user(const struct auth_check *c, const struct auth_request *rq,
                struct auth_verdict *v, struct auth_answer *an)
{
    const struct user *user = users_file_find(c->users, rq->user), *like = user;

    memset(v, 0, sizeof *v);
    if (rq->user[0] == '\0')
        v->refusal = "bad user name";
    else if (is_denied(c->conf, rq->user))
        v->refusal = "denied user";
    else if (user == NULL)
        v->refusal = "unknown user";
    else
        v->password_counts = true;
    if (user == NULL)
        like = stand_in(c, rq->user);
    else if (v->refusal == NULL)
        v->refusal = refusal_of(user, rq);
    if (like != NULL && strlen(like->hash) < sizeof v->hash)
        snprintf(v->hash, sizeof v->hash, "%s", like->hash);
    if (user != NULL)
        fill_answer(user, an);
}

bool
auth_check_lookup(const struct auth_check *c, const char *name, struct auth_answer *an)
{
    const struct user *user = users_file_find(c->users, name);

    if (user != NULL)
        fill_answer(user, an);
    return user != NULL;
}
