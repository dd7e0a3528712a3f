/*
 * What mansio-deliver does; see deliver.h: configuration, user, privileges, mail, message.
 *
 * Started by root, it becomes the owner of the mail before it reads an octet of the message
 * (invariant 1). A fault of this host (configuration, permissions, disk, locks) is never a
 * reason to send mail back: the line on the standard error begins with 4, which Postfix honours
 * whatever the exit status, and the manual says which statuses other agents must take for
 * temporary.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/user_lookup.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "format/mboxname.h"
#include "net/privilege.h"
#include "proc/deliver.h"
#include "proc/deliver_input.h"
#include "store/deliver.h"

#define HEADER_MAX  900  /* octets of an address in a header line (RFC 5322 2.1.1: 998) */
#define HEADERS_MAX 4096 /* of all lines that go in front */

/* What is known so far of the delivery. */
struct delivering {
    const struct deliver_options *o;
    struct conf *conf;
    struct auth_answer user;
    struct account *account;
    struct buf folder; /* internal name */
    struct buf headers;
    struct input input;
};

int
deliver_fail(int status, const char *code, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    fprintf(stderr, "%s %s\n", code, text);
    log_info("not delivered: %s %s (exit status %d)", code, text, status);
    return status;
}

/* The first fault is what the standard error gets; all are logged. */
struct faults {
    char first[512];
};

static void
note_fault(void *ctx, const char *file, int line, const char *text)
{
    struct faults *f = ctx;

    if (strncmp(text, "warning: ", 9) == 0)
        return;
    if (f->first[0] == '\0' && line > 0)
        snprintf(f->first, sizeof f->first, "%s:%d: %s", file, line, text);
    else if (f->first[0] == '\0')
        snprintf(f->first, sizeof f->first, "%s: %s", file, text);
    log_error("%s:%d: %s", file, line, text);
}

/* As the configuration says; syslog where that can't be: the standard error is the mail
   transfer agent's, and a file that root made would be closed to the server. */
static void
open_log(const struct conf *conf)
{
    const char *to = conf->log;

    if (strcmp(to, "stderr") == 0 || (geteuid() == 0 && access(to, F_OK) != 0))
        to = "syslog";
    if (log_open(to, "mansio-deliver") != 0)
        (void)log_open("syslog", "mansio-deliver");
    if (strcmp(conf->log_level, "error") == 0)
        log_set_level(LOG_LEVEL_ERROR);
    else if (strcmp(conf->log_level, "warning") == 0)
        log_set_level(LOG_LEVEL_WARN);
    else if (strcmp(conf->log_level, "debug") == 0)
        log_set_level(LOG_LEVEL_DEBUG);
}

static int
load_conf(struct delivering *d)
{
    struct faults faults = {.first = ""};

    (void)log_open("syslog", "mansio-deliver");
    if (conf_load(d->o->conf_file, note_fault, &faults, &d->conf) != 0)
        return deliver_fail(DELIVER_CONFIG, "4.3.5", "%s", faults.first);
    open_log(d->conf);
    return 0;
}

static int
find_user(struct delivering *d)
{
    int err = user_lookup(d->conf, d->o->user, d->o->details, &d->user);

    if (err == ERR_NOENT || err == ERR_CANNOT)
        return deliver_fail(DELIVER_NO_USER, "5.1.1", "there is no user <%.255s>", d->o->user);
    if (err != 0)
        return deliver_fail(DELIVER_TEMPORARY, "4.3.0",
                            "users can't be looked up: mansiod doesn't run or doesn't answer "
                            "this user, who can't read %s either, or there are none in it",
                            d->conf->user_db);
    log_set_prefix("deliver(%s): ", d->user.user);
    return 0;
}

/* Started by somebody else than the owner of the mail, it would leave files in a Maildir that
   the server can't read. */
static int
check_owner(const struct delivering *d, const char *mail_dir)
{
    struct stat st;
    uid_t uid;
    gid_t gid;

    if (conf_user_ids(d->conf->mail_user, &uid, &gid) != 0 || uid == geteuid() ||
        stat(mail_dir, &st) != 0 || st.st_uid == geteuid())
        return 0;
    return deliver_fail(DELIVER_PERMISSION, "4.3.5",
                        "the mail belongs to user %lu, and this was started by user %lu: "
                        "start it as mail_user (%s)",
                        (unsigned long)st.st_uid, (unsigned long)geteuid(), d->conf->mail_user);
}

/* For good, before a byte of the message is read. */
static int
give_up_root(const struct delivering *d)
{
    uid_t uid;
    gid_t gid;

    if (geteuid() != 0)
        return 0;
    if (conf_user_ids(d->conf->mail_user, &uid, &gid) != 0)
        return deliver_fail(DELIVER_CONFIG, "4.3.5", "mail_user: there is no user %s",
                            d->conf->mail_user);
    if (uid == 0)
        return deliver_fail(DELIVER_CONFIG, "4.3.5", "mail_user: mail can't belong to root");
    privilege_drop(uid, gid);
    if (chdir("/") < 0)
        return deliver_fail(DELIVER_TEMPORARY, "4.3.0", "chdir /: %s", strerror(errno));
    return 0;
}

/* What an error of the store means to a mail transfer agent. */
static int
store_failed(const struct delivering *d, int err)
{
    const char *user = d->user.user;

    switch (err) {
    case ERR_QUOTA:
        if (d->o->bounce_full)
            return deliver_fail(DELIVER_UNAVAILABLE, "5.2.2", "<%s>: the mailbox is full",
                                user);
        return deliver_fail(DELIVER_TEMPORARY, "4.2.2", "<%s>: the mailbox is full", user);
    case ERR_BUSY:
        return deliver_fail(DELIVER_TEMPORARY, "4.2.0",
                            "<%s>: the mailbox stayed locked for %u s", user,
                            d->conf->lock_timeout);
    case ERR_NOSPACE:
        return deliver_fail(DELIVER_TEMPORARY, "4.3.1", "<%s>: no space left on the disk",
                            user);
    case ERR_LIMIT:
        return deliver_fail(DELIVER_DATA, "5.2.3",
                            "<%s>: the message is longer than %zu octets (append_limit)", user,
                            d->conf->append_limit);
    case ERR_NOENT:
    case ERR_CANNOT:
        return deliver_fail(DELIVER_NO_FOLDER, "5.2.0", "<%s>: there is no folder %.255s", user,
                            d->o->folder);
    case ERR_PERM:
        return deliver_fail(DELIVER_PERMISSION, "4.3.5",
                            "<%s>: the mail can't be written by user %lu", user,
                            (unsigned long)geteuid());
    case ERR_TIMEOUT:
        return deliver_fail(DELIVER_TEMPORARY, "4.4.2", "<%s>: the message didn't end", user);
    case ERR_EOF:
        /* no agent sends that: what should have come here was lost on the way */
        return deliver_fail(DELIVER_TEMPORARY, "4.6.0", "<%s>: the message is empty", user);
    case ERR_TEMP:
        return deliver_fail(DELIVER_TEMPORARY, "4.3.0",
                            "<%s>: interrupted before the message was stored", user);
    case ERR_IO:
    case ERR_CORRUPT:
        return deliver_fail(DELIVER_IO, "4.3.0", "<%s>: %s; see the log", user, err_text(err));
    default:
        return deliver_fail(DELIVER_TEMPORARY, "4.3.0", "<%s>: %s; see the log", user,
                            err_text(err));
    }
}

/* Nothing of this is a reason to send the message back. */
static int
open_failed(const struct delivering *d, int err)
{
    switch (err) {
    case ERR_QUOTA: /* the disk's, not the user's */
        return store_failed(d, ERR_NOSPACE);
    case ERR_BUSY:
    case ERR_NOSPACE:
    case ERR_PERM:
    case ERR_SHORT:
    case ERR_TEMP:
    case ERR_TIMEOUT:
        return store_failed(d, err);
    default:
        return store_failed(d, ERR_IO);
    }
}

static int
open_mail(struct delivering *d)
{
    struct account_params p = {
        .conf = d->conf, .user = d->user.user, .home = d->user.home, .quota = d->user.quota};
    const char *pattern = d->user.mail[0] != '\0' ? d->user.mail : d->conf->mail_location;
    char *mail = NULL;
    int status, err;

    if (conf_expand_path(pattern, d->user.user, d->user.home, &mail) != 0)
        return deliver_fail(DELIVER_CONFIG, "4.3.5",
                            "<%s>: %s gives no path for this user; see the log", d->user.user,
                            d->user.mail[0] != '\0' ? "mail=" : "mail_location");
    p.mail_location = mail;
    status = check_owner(d, mail);
    if (status == 0) {
        err = account_open(&p, &d->account);
        if (err != 0)
            status = open_failed(d, err);
    }
    free(mail);
    return status;
}

/* `Name: <address>`, or nothing where the address is nothing that a header could hold. */
static void
add_header(struct delivering *d, const char *name, const char *before, const char *address,
           const char *after)
{
    size_t len = strlen(address);

    if (len > HEADER_MAX) {
        log_warn("an address of %zu octets was left out of %s", len, name);
        return;
    }
    buf_addf(&d->headers, "%s: %s", name, before);
    for (; *address != '\0'; address++)
        buf_addc(&d->headers,
                 (unsigned char)*address < 0x20 || *address == 0x7f ? '?' : *address);
    buf_addf(&d->headers, "%s\n", after);
}

static void
make_headers(struct delivering *d)
{
    const char *sender = d->o->sender;

    if (sender != NULL && !d->input.head.return_path) {
        bool brackets = sender[0] == '<';

        add_header(d, "Return-Path", brackets ? "" : "<", sender, brackets ? "" : ">");
    }
    if (d->o->recipient != NULL)
        add_header(d, "Delivered-To", "", d->o->recipient, "");
}

/* The store's name of the folder. 0 or ERR_*. */
static int
choose_folder(struct delivering *d)
{
    if (d->o->folder == NULL) {
        buf_adds(&d->folder, "INBOX");
        return 0;
    }
    return mboxname_from_text(account_names(d->account), d->o->folder, &d->folder) == 0
               ? 0
               : ERR_CANNOT;
}

static int
attempt(struct delivering *d, struct delivered *out)
{
    struct delivery what = {.folder = buf_str(&d->folder),
                            .create = d->o->create,
                            .headers = buf_str(&d->headers),
                            .give_up = input_give_up,
                            .ctx = &d->input};

    return deliver_message(d->account, &what, &d->input.source, out);
}

/* A folder that a rule names and the user has deleted is no reason to lose mail. */
static int
deliver_somewhere(struct delivering *d, struct delivered *out)
{
    int err = choose_folder(d);

    if (err == 0)
        err = attempt(d, out);
    if (err != ERR_NOENT && err != ERR_CANNOT)
        return err;
    /* INBOX itself, or the folder was deleted meanwhile, and what was read is gone */
    if (d->o->folder == NULL || d->input.started)
        return ERR_IO;
    if (d->o->strict)
        return err;
    log_info("there is no folder \"%.255s\": delivered to INBOX", d->o->folder);
    buf_reset(&d->folder);
    buf_adds(&d->folder, "INBOX");
    err = attempt(d, out);
    return err == ERR_NOENT || err == ERR_CANNOT ? ERR_IO : err;
}

static void
log_delivery(struct delivering *d, const struct delivered *out)
{
    struct buf folder = BUF_INIT(4 * MBOXNAME_MAX);

    mboxname_to_client(account_names(d->account), buf_str(&d->folder), &folder);
    log_info("delivered: user=<%s> folder=\"%s\" uid=%u size=%llu msgid=%s%s", d->user.user,
             buf_str(&folder), out->uid, (unsigned long long)out->size,
             d->input.head.message_id, out->created ? " (new folder)" : "");
    buf_free(&folder);
}

static int
deliver_input(struct delivering *d)
{
    struct delivered out;
    int err = input_open(&d->input, STDIN_FILENO);

    if (err == 0) {
        make_headers(d);
        err = deliver_somewhere(d, &out);
    }
    if (err != 0)
        return store_failed(d, err);
    log_delivery(d, &out);
    return DELIVER_OK;
}

int
deliver_run(const struct deliver_options *o)
{
    struct delivering d = {.o = o};
    int status;

    buf_init(&d.folder, MBOXNAME_MAX + 1);
    buf_init(&d.headers, HEADERS_MAX);
    status = load_conf(&d);
    if (status == 0)
        status = find_user(&d);
    if (status == 0)
        status = give_up_root(&d);
    if (status == 0)
        status = open_mail(&d);
    if (status == 0)
        status = deliver_input(&d);
    input_close(&d.input);
    account_close(&d.account);
    conf_free(&d.conf);
    buf_free(&d.headers);
    buf_free(&d.folder);
    return status;
}
