/*
 * mansioctl mailbox: checking and rebuilding a user's index. The mail is opened as its owner,
 * in the same way as a session does; sessions may be open meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/users_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "format/mboxname.h"
#include "format/rules.h"
#include "net/privilege.h"
#include "proc/ctl.h"
#include "store/account.h"
#include "store/check.h"

/* Whose mail, as the users file has it. */
struct owner {
    char *name, *home, *mail; /* mail: "" = by mail_location */
};

typedef int mailbox_work(struct account *a, const char *folder, check_report *report,
                         void *ctx);

static void
free_owner(struct owner *o)
{
    free(o->name);
    free(o->home);
    free(o->mail);
}

static int
find_owner(const struct conf *conf, const char *given, struct owner *o)
{
    struct buf name = BUF_INIT(USER_NAME_MAX + 1);
    struct users_file *file = NULL;
    const struct user *u;
    int status = 0, err;

    if (strncmp(conf->user_db, "file:", 5) != 0)
        return ctl_fail(CTL_CONFIG, "user_db is %s: users are only found in a file",
                        conf->user_db);
    if (user_name_check(given, strlen(given), conf->username_lowercase,
                        conf->username_default_domain, &name) != 0)
        status = ctl_fail(CTL_NO, "%s can't be a user name", given);
    else if ((err = users_file_load(conf->user_db + 5, &file)) != 0)
        status = ctl_fail(ctl_status_of(err), "%s: %s", conf->user_db + 5, err_text(err));
    else if ((u = users_file_find(file, buf_str(&name))) == NULL)
        status = ctl_fail(CTL_NO, "there is no user %s", buf_str(&name));
    else
        *o = (struct owner){.name = mem_strdup(u->name),
                            .home = mem_strdup(u->home),
                            .mail = mem_strdup(u->mail)};
    if (file != NULL)
        users_file_free(&file);
    buf_free(&name);
    return status;
}

/* Becomes the owner of the mail, if started by root. */
static int
become_mail_user(const struct conf *conf)
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

/* Opening an account makes a missing Maildir; looking at one that isn't there shouldn't. */
static int
check_exists(const struct conf *conf, const struct owner *o)
{
    char *path = NULL;
    struct stat st;
    int status = 0;

    if (o->mail[0] != '\0')
        path = mem_strdup(o->mail);
    else if (conf_expand_path(conf->mail_location, o->name, o->home, &path) != 0)
        return CTL_CONFIG;
    if (stat(path, &st) < 0)
        status = ctl_fail(errno == EACCES ? CTL_PERMISSION : CTL_NO, "%s: %s", path,
                          strerror(errno));
    free(path);
    return status;
}

static void
print_finding(void *ctx, const char *folder, const char *text)
{
    (void)ctx;
    printf("%s: %s\n", folder, text);
}

/* A folder's name as typed in a shell, UTF-8, into the store's. */
static int
folder_name(const struct account *a, const char *given, struct buf *internal)
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

static int
work_on(const struct conf *conf, const struct owner *o, const char *folder, mailbox_work *work,
        int *found)
{
    struct account_params params = {.conf = conf,
                                    .user = o->name,
                                    .home = o->home,
                                    .mail_location = o->mail[0] != '\0' ? o->mail : NULL};
    struct account *account = NULL;
    struct buf internal = BUF_INIT(1);
    int status = 0, err = account_open(&params, &account);

    if (err != 0)
        return ctl_fail(ctl_status_of(err), "the mail of %s can't be opened: %s", o->name,
                        err_text(err));
    if (folder != NULL)
        status = folder_name(account, folder, &internal);
    if (status == 0) {
        *found = work(account, folder != NULL ? buf_str(&internal) : NULL, print_finding, NULL);
        if (*found < 0)
            status = ctl_fail(ctl_status_of(*found), "%s%s%s: %s", o->name,
                              folder != NULL ? ", " : "", folder != NULL ? folder : "",
                              err_text(*found));
    }
    buf_free(&internal);
    account_close(&account);
    return status;
}

static int
run(struct ctl *ctl, int argc, char **argv, mailbox_work *work, int *found)
{
    struct owner owner = {.name = NULL};
    int status;

    if (argc < 1 || argc > 2)
        return CTL_USAGE;
    status = find_owner(ctl->conf, argv[0], &owner);
    if (status == 0)
        status = become_mail_user(ctl->conf);
    if (status == 0)
        status = check_exists(ctl->conf, &owner);
    if (status == 0)
        status = work_on(ctl->conf, &owner, argc == 2 ? argv[1] : NULL, work, found);
    free_owner(&owner);
    return status;
}

int
ctl_mailbox_check(struct ctl *ctl, int argc, char **argv)
{
    int found = 0, status = run(ctl, argc, argv, mailbox_check, &found);

    if (status != 0)
        return status;
    if (found == 0)
        printf("no faults\n");
    else
        printf("%d %s; \"mansioctl mailbox rebuild %s\" repairs\n", found,
               found == 1 ? "fault" : "faults", argv[0]);
    return found == 0 ? CTL_OK : CTL_NO;
}

int
ctl_mailbox_rebuild(struct ctl *ctl, int argc, char **argv)
{
    int found = 0, status = run(ctl, argc, argv, mailbox_rebuild, &found);

    if (status == 0)
        printf("rebuilt\n");
    return status;
}
