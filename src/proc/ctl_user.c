/*
 * mansioctl user: the users file, mansio-users(5). The server notices a change by itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/password.h"
#include "auth/users_file.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/quota_limit.h"
#include "format/rules.h"
#include "proc/ctl.h"

#define PASSWORD_SIZE 1024 /* as in struct auth_request */
#define EXTRA_SIZE    4096

/* The file of user_db, or NULL after a message. */
static const char *
users_path(const struct conf *conf)
{
    if (strncmp(conf->user_db, "file:", 5) == 0)
        return conf->user_db + 5;
    ctl_fail(CTL_CONFIG, "user_db is %s: only the users of a file can be changed here",
             conf->user_db);
    return NULL;
}

/* The name as the server takes it. 0 or an exit status after a message. */
static int
user_name(const struct conf *conf, const char *given, struct buf *name)
{
    buf_init(name, USER_NAME_MAX + 1);
    if (user_name_check(given, strlen(given), conf->username_lowercase,
                        conf->username_default_domain, name) != 0)
        return ctl_fail(CTL_NO, "%s can't be a user name; see mansio-users(5)", given);
    return 0;
}

static int
edit_failed(int err, const char *name, const char *path)
{
    if (err == ERR_NOENT)
        return ctl_fail(CTL_NO, "there is no user %s in %s", name, path);
    if (err == ERR_EXISTS)
        return ctl_fail(CTL_NO,
                        "there is a user %s already; \"mansioctl user passwd\" sets the "
                        "password",
                        name);
    if (err == ERR_CANNOT)
        return ctl_fail(CTL_NO,
                        "%s or its words can't be written to the users file: no blank, "
                        "colon or control character is allowed in the name",
                        name);
    return ctl_fail(ctl_status_of(err), "%s: %s", path, err_text(err));
}

/* Takes "-s scheme" from the front. */
static const char *
scheme_option(int *argc, char ***argv)
{
    const char *scheme = NULL;

    if (*argc >= 2 && strcmp((*argv)[0], "-s") == 0) {
        scheme = (*argv)[1];
        *argc -= 2;
        *argv += 2;
    }
    return scheme;
}

/* Asks for the password and hashes it. NULL after a message, with *status. */
static char *
new_hash(const char *name, const char *scheme, int *status)
{
    char password[PASSWORD_SIZE];
    char *hash = NULL;

    *status = ctl_read_password(name, true, password, sizeof password);
    if (*status == 0) {
        hash = password_hash(scheme, password);
        if (hash == NULL)
            *status =
                ctl_fail(CTL_USAGE, "there is no scheme %s to make hashes by; leave -s away",
                         scheme != NULL ? scheme : "YESCRYPT");
    }
    secret_wipe(password, sizeof password);
    return hash;
}

/* A users file that was just made belongs to root; an auth process that doesn't run as root
   reads it as its group. */
static void
give_new_file(const struct conf *conf, const char *path)
{
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0 || conf_user_ids(conf->auth_user, &uid, &gid) != 0 || uid == 0)
        return;
    if (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0640) < 0)
        ctl_fail(CTL_TEMPORARY, "warning: %s can't be given to the group of auth_user: %s",
                 path, strerror(errno));
}

static int
join_words(int argc, char **argv, char *out, size_t size)
{
    struct buf words = BUF_INIT(size - 1);

    for (int i = 0; i < argc; i++)
        buf_addf(&words, "%s%s", i > 0 ? " " : "", argv[i]);
    if (!buf_ok(&words))
        return ctl_fail(CTL_USAGE, "the words are longer than %zu octets", size - 1);
    snprintf(out, size, "%s", buf_str(&words));
    buf_free(&words);
    return 0;
}

/* A quota= that the server wouldn't understand isn't written. 0 or an exit status. */
static int
check_words(int argc, char **argv)
{
    struct quota_limit limit;

    for (int i = 0; i < argc; i++)
        if (strncasecmp(argv[i], "quota=", 6) == 0 && quota_parse(argv[i] + 6, &limit) != 0)
            return ctl_fail(CTL_NO,
                            "%s: write a size, such as quota=10G, or a size and a "
                            "number of messages, such as quota=10G:20000",
                            argv[i]);
    return 0;
}

int
ctl_user_add(struct ctl *ctl, int argc, char **argv)
{
    const char *path = users_path(ctl->conf), *scheme = scheme_option(&argc, &argv);
    char extra[EXTRA_SIZE], *hash = NULL;
    struct buf name;
    struct stat st;
    bool is_new;
    int status, err;

    if (path == NULL)
        return CTL_CONFIG;
    if (argc < 1 || argv[0][0] == '-')
        return CTL_USAGE;
    status = user_name(ctl->conf, argv[0], &name);
    if (status == 0 && conf_list_has(ctl->conf->denied_users, buf_str(&name)))
        status = ctl_fail(CTL_NO, "%s is one of denied_users: it could never log in",
                          buf_str(&name));
    if (status == 0)
        status = check_words(argc - 1, argv + 1);
    if (status == 0)
        status = join_words(argc - 1, argv + 1, extra, sizeof extra);
    if (status == 0)
        hash = new_hash(buf_str(&name), scheme, &status);
    if (status == 0) {
        is_new = stat(path, &st) < 0;
        err = users_file_set(path, buf_str(&name), hash, argc > 1 ? extra : NULL, true);
        if (err != 0)
            status = edit_failed(err, buf_str(&name), path);
        else if (is_new)
            give_new_file(ctl->conf, path);
    }
    if (status == 0)
        printf("%s added\n", buf_str(&name));
    free(hash);
    buf_free(&name);
    return status;
}

int
ctl_user_passwd(struct ctl *ctl, int argc, char **argv)
{
    const char *path = users_path(ctl->conf), *scheme = scheme_option(&argc, &argv);
    struct users_file *file = NULL;
    struct buf name;
    char *hash = NULL;
    int status, err;

    if (path == NULL)
        return CTL_CONFIG;
    if (argc != 1 || argv[0][0] == '-')
        return CTL_USAGE;
    status = user_name(ctl->conf, argv[0], &name);
    if (status == 0 && (err = users_file_load(path, &file)) != 0)
        status = ctl_fail(ctl_status_of(err), "%s: %s", path, err_text(err));
    /* known before the password is asked for */
    if (status == 0 && users_file_find(file, buf_str(&name)) == NULL)
        status = edit_failed(ERR_NOENT, buf_str(&name), path);
    if (status == 0)
        hash = new_hash(buf_str(&name), scheme, &status);
    if (status == 0 && (err = users_file_set(path, buf_str(&name), hash, NULL, false)) != 0)
        status = edit_failed(err, buf_str(&name), path);
    if (status == 0)
        printf("%s has a new password\n", buf_str(&name));
    if (file != NULL)
        users_file_free(&file);
    free(hash);
    buf_free(&name);
    return status;
}

int
ctl_user_del(struct ctl *ctl, int argc, char **argv)
{
    const char *path = users_path(ctl->conf);
    struct buf name;
    int status, err;

    if (path == NULL)
        return CTL_CONFIG;
    if (argc != 1)
        return CTL_USAGE;
    status = user_name(ctl->conf, argv[0], &name);
    if (status == 0 && (err = users_file_delete(path, buf_str(&name))) != 0)
        status = edit_failed(err, buf_str(&name), path);
    if (status == 0)
        printf("%s deleted; the mail stays\n", buf_str(&name));
    buf_free(&name);
    return status;
}

/* What kind of hash it is, without a bit of the hash itself. */
static const char *
scheme_of(const char *hash)
{
    static const struct {
        const char *start, *name;
    } kinds[] = {{"$1$", "MD5-CRYPT"}, {"$5$", "SHA256-CRYPT"}, {"$6$", "SHA512-CRYPT"},
                 {"$2", "BLF-CRYPT"},  {"$y$", "YESCRYPT"},     {"$gy$", "GOST-YESCRYPT"},
                 {"$7$", "SCRYPT"},    {"!", "locked"},         {"*", "locked"}};
    static char name[32]; /* valid until the next call */
    const char *end = strchr(hash, '}');

    if (hash[0] == '{' && end != NULL) {
        snprintf(name, sizeof name, "%.*s", (int)(end - hash - 1), hash + 1);
        return name;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(hash, kinds[i].start, strlen(kinds[i].start)) == 0)
            return kinds[i].name;
    return hash[0] == '\0' ? "none" : "CRYPT";
}

int
ctl_user_list(struct ctl *ctl, int argc, char **argv)
{
    const char *path = users_path(ctl->conf);
    struct buf out = BUF_INIT((size_t)1 << 30);
    struct users_file *file;
    const struct user *u;
    int err;

    (void)argv;
    if (path == NULL)
        return CTL_CONFIG;
    if (argc != 0)
        return CTL_USAGE;
    err = users_file_load(path, &file);
    if (err != 0)
        return ctl_fail(ctl_status_of(err), "%s: %s", path, err_text(err));
    buf_adds(&out, "user scheme imap pop3 words\n");
    for (size_t i = 0; (u = users_file_nth(file, i)) != NULL; i++)
        buf_addf(&out, "%s %s %s %s %s\n", u->name, scheme_of(u->hash), u->imap ? "yes" : "no",
                 u->pop3 ? "yes" : "no", u->extra[0] != '\0' ? u->extra : "-");
    buf_str(&out);
    ctl_print_table(out.data);
    buf_free(&out);
    users_file_free(&file);
    return CTL_OK;
}

/* Prints what applies; true if the user may log in by any protocol. */
static bool
show(const struct conf *conf, const struct user *u)
{
    bool denied = conf_list_has(conf->denied_users, u->name);
    char *path = NULL;

    printf("user      %s\n", u->name);
    printf("scheme    %s\n", scheme_of(u->hash));
    printf("imap      %s\n", denied || u->nologin || !u->imap ? "no" : "yes");
    printf("pop3      %s\n", denied || u->nologin || !u->pop3 ? "no" : "yes");
    if (denied)
        printf("denied    by denied_users\n");
    if (u->nologin)
        printf("denied    by nologin\n");
    if (u->mail[0] != '\0')
        printf("mail      %s\n", u->mail);
    else if (conf_expand_path(conf->mail_location, u->name, u->home, &path) == 0)
        printf("mail      %s\n", path);
    free(path);
    if (u->quota[0] != '\0')
        printf("quota     %s\n", u->quota);
    else if (conf->quota[0] != '\0')
        printf("quota     %s, by the configuration\n", conf->quota);
    if (u->allow_nets[0] != '\0')
        printf("from      %s\n", u->allow_nets);
    return !denied && !u->nologin && (u->imap || u->pop3);
}

int
ctl_user_test(struct ctl *ctl, int argc, char **argv)
{
    const char *path = users_path(ctl->conf);
    char password[PASSWORD_SIZE];
    struct users_file *file = NULL;
    const struct user *u = NULL;
    struct buf name;
    bool right = false;
    int status, err;

    if (path == NULL)
        return CTL_CONFIG;
    if (argc != 1)
        return CTL_USAGE;
    status = user_name(ctl->conf, argv[0], &name);
    if (status == 0 && (err = users_file_load(path, &file)) != 0)
        status = ctl_fail(ctl_status_of(err), "%s: %s", path, err_text(err));
    if (status == 0 && (u = users_file_find(file, buf_str(&name))) == NULL)
        status = edit_failed(ERR_NOENT, buf_str(&name), path);
    if (status == 0)
        status = ctl_read_password(u->name, false, password, sizeof password);
    if (status == 0) {
        right = password_verify(u->hash, password, strlen(password));
        if (!show(ctl->conf, u) || !right)
            status = CTL_NO;
        printf("password  %s\n", right ? "right" : "wrong");
    }
    secret_wipe(password, sizeof password);
    if (file != NULL)
        users_file_free(&file);
    buf_free(&name);
    return status;
}
