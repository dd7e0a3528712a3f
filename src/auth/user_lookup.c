/*
 * Finding a user without a login; see user_lookup.h.
 *
 * The auth process comes first: it has the users file in memory, and only it and root may read
 * the hashes in it. The file is for hosts whose server is down meanwhile, and for programs that
 * may read it anyway.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth_check.h"
#include "auth/user_lookup.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "format/rules.h"

#define TIMEOUT_S 10 /* of the auth process */

/* By the file, which was read at the first need. */
static int
find_in_file(const struct conf *conf, struct auth_check *file, const char *name,
             struct auth_answer *an)
{
    file->conf = conf;
    if (file->users == NULL && (strncmp(conf->user_db, "file:", 5) != 0 ||
                                users_file_load(conf->user_db + 5, &file->users) != 0)) {
        log_error("users can't be looked up: mansiod doesn't run or doesn't answer user %lu, "
                  "and %s can't be read",
                  (unsigned long)geteuid(), conf->user_db);
        return ERR_TEMP;
    }
    if (users_file_count(file->users) == 0) { /* as in the auth process: is it being written? */
        log_error("no user is looked up as long as there are none in %s", conf->user_db);
        return ERR_TEMP;
    }
    memset(an, 0, sizeof *an);
    return auth_check_lookup(file, name, an) ? 0 : ERR_NOENT;
}

/* `name` is folded. */
static int
find(const struct conf *conf, struct auth_check *file, const char *name, struct auth_answer *an)
{
    struct buf path = BUF_INIT(4096);
    int err;

    if (file->users != NULL)
        return find_in_file(conf, file, name, an);
    buf_addf(&path, "%s/auth", conf->run_dir);
    err = auth_lookup(buf_str(&path), name, an, TIMEOUT_S);
    buf_free(&path);
    return err == ERR_TEMP ? find_in_file(conf, file, name, an) : err;
}

static int
fold_and_find(const struct conf *conf, struct auth_check *file, const char *name, size_t len,
              struct auth_answer *an)
{
    struct buf folded = BUF_INIT(4 * USER_NAME_MAX);
    int err = ERR_CANNOT;

    if (user_name_check(name, len, conf->username_lowercase, conf->username_default_domain,
                        &folded) == 0 &&
        buf_ok(&folded) && folded.len <= USER_NAME_MAX)
        err = find(conf, file, buf_str(&folded), an);
    buf_free(&folded);
    return err;
}

/* ann+detail@example.org -> ann@example.org. False: there's no detail. */
static bool
cut_detail(const char *name, const char *delimiters, struct buf *out)
{
    const char *at = strrchr(name, '@');
    size_t local = at != NULL ? (size_t)(at - name) : strlen(name);
    size_t user = strcspn(name, delimiters);

    if (user == 0 || user >= local)
        return false;
    buf_add(out, name, user);
    buf_adds(out, name + local);
    return true;
}

int
user_lookup(const struct conf *conf, const char *name, const char *delimiters,
            struct auth_answer *an)
{
    struct auth_check file = {.users = NULL};
    struct buf plain = BUF_INIT(4096);
    int err = fold_and_find(conf, &file, name, strlen(name), an);

    if ((err == ERR_NOENT || err == ERR_CANNOT) && cut_detail(name, delimiters, &plain) &&
        buf_ok(&plain))
        err = fold_and_find(conf, &file, plain.data, plain.len, an);
    buf_free(&plain);
    if (file.users != NULL)
        auth_check_close(&file);
    return err;
}
