/*
 * Users whose mail a command works on; see ctl_owner.h.
 *
 * Users are only found in a users file: other databases (PAM) can't list them, nor say where
 * their mail lies without a password.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/users_file.h"
#include "base/arena.h"
#include "base/err.h"
#include "format/mboxname.h"
#include "format/rules.h"
#include "net/privilege.h"
#include "proc/ctl.h"
#include "proc/ctl_owner.h"

void
ctl_owners_free(struct ctl_owners *owners)
{
    for (size_t i = 0; i < owners->count; i++) {
        free(owners->items[i].name);
        free(owners->items[i].home);
        free(owners->items[i].mail);
        free(owners->items[i].quota);
    }
    free(owners->items);
    *owners = (struct ctl_owners){.items = NULL};
}

static void
add_owner(struct ctl_owners *out, const struct user *u)
{
    out->items = mem_reallocarray(out->items, out->count + 1, sizeof *out->items);
    out->items[out->count++] = (struct ctl_owner){.name = mem_strdup(u->name),
                                                  .home = mem_strdup(u->home),
                                                  .mail = mem_strdup(u->mail),
                                                  .quota = mem_strdup(u->quota)};
}

static int
find_one(const struct conf *conf, const struct users_file *file, const char *given,
         struct ctl_owners *out)
{
    struct buf name = BUF_INIT(USER_NAME_MAX + 1);
    const struct user *u;
    int status = 0;

    if (user_name_check(given, strlen(given), conf->username_lowercase,
                        conf->username_default_domain, &name) != 0)
        status = ctl_fail(CTL_NO, "%s can't be a user name", given);
    else if ((u = users_file_find(file, buf_str(&name))) == NULL)
        status = ctl_fail(CTL_NO, "there is no user %s", buf_str(&name));
    else
        add_owner(out, u);
    buf_free(&name);
    return status;
}

int
ctl_owners_find(const struct conf *conf, char *const *names, size_t count,
                struct ctl_owners *out)
{
    struct users_file *file = NULL;
    int status = 0, err;
    size_t i;

    *out = (struct ctl_owners){.items = NULL};
    if (strncmp(conf->user_db, "file:", 5) != 0)
        return ctl_fail(CTL_CONFIG, "user_db is %s: users are only found in a file",
                        conf->user_db);
    err = users_file_load(conf->user_db + 5, &file);
    if (err != 0)
        return ctl_fail(ctl_status_of(err), "%s: %s", conf->user_db + 5, err_text(err));
    for (i = 0; status == 0 && i < count; i++)
        status = find_one(conf, file, names[i], out);
    for (i = 0; count == 0 && i < users_file_count(file); i++)
        add_owner(out, users_file_nth(file, i));
    users_file_free(&file);
    return status;
}

int
ctl_become_mail_user(const struct conf *conf)
{
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0)
        return 0;
    if (conf_user_ids(conf->mail_user, &uid, &gid) != 0)
        return ctl_fail(CTL_CONFIG, "mail_user: there is no user %s", conf->mail_user);
    privilege_drop(uid, gid);
    if (chdir("/") < 0)
        return ctl_fail(CTL_TEMPORARY, "chdir /: %s", strerror(errno));
    return 0;
}

/* Where the mail is; malloc. 0 or an exit status after a message. */
static int
mail_path(const struct conf *conf, const struct ctl_owner *o, char **path)
{
    const char *pattern = o->mail[0] != '\0' ? o->mail : conf->mail_location;

    if (conf_expand_path(pattern, o->name, o->home, path) == 0)
        return 0;
    return ctl_fail(CTL_CONFIG, "\"%s\" gives no path for the mail of %s", pattern, o->name);
}

int
ctl_owner_has_mail(const struct conf *conf, const struct ctl_owner *o, bool *has)
{
    char *path = NULL;
    struct stat st;
    int status = mail_path(conf, o, &path);

    if (status != 0)
        return status;
    *has = stat(path, &st) == 0;
    if (!*has && errno != ENOENT)
        status = ctl_fail(errno == EACCES ? CTL_PERMISSION : CTL_NO, "%s: %s", path,
                          strerror(errno));
    free(path);
    return status;
}

int
ctl_owner_open(const struct conf *conf, const struct ctl_owner *o, struct account **out)
{
    struct account_params params = {
        .conf = conf, .user = o->name, .home = o->home, .quota = o->quota, .ahead = o->ahead};
    char *path = NULL;
    bool has = false;
    int status = ctl_owner_has_mail(conf, o, &has), err;

    *out = NULL;
    if (status == 0 && !has)
        status = ctl_fail(CTL_NO, "%s has no mail", o->name);
    if (status == 0)
        status = mail_path(conf, o, &path);
    if (status != 0)
        return status;
    params.mail_location = path;
    err = account_open(&params, out);
    free(path);
    return err == 0 ? 0
                    : ctl_fail(ctl_status_of(err), "the mail of %s can't be opened: %s",
                               o->name, err_text(err));
}

int
ctl_owner_open_one(const struct conf *conf, char *name, struct account **out)
{
    struct ctl_owners owners;
    int status = ctl_owners_find(conf, &name, 1, &owners);

    *out = NULL;
    if (status == 0)
        status = ctl_become_mail_user(conf);
    if (status == 0)
        status = ctl_owner_open(conf, &owners.items[0], out);
    ctl_owners_free(&owners);
    return status;
}

int
ctl_folder_name(const struct account *a, const char *given, struct buf *internal)
{
    struct buf mutf7 = BUF_INIT(4 * MBOXNAME_MAX);
    int err = 0;

    buf_init(internal, MBOXNAME_MAX + 1);
    /* a name that is given in modified UTF-7 already stays as it is */
    if (strchr(given, '&') != NULL)
        buf_adds(&mutf7, given);
    else
        err = mutf7_from_utf8(given, strlen(given), &mutf7);
    if (err == 0)
        err = mboxname_from_client(account_names(a), buf_str(&mutf7), mutf7.len, false,
                                   internal, NULL);
    buf_free(&mutf7);
    return err == 0 ? 0 : ctl_fail(CTL_NO, "%s can't be the name of a folder", given);
}
