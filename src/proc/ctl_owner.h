/*
 * Commands that work on users' mail: who the users are, and how their mail is opened from the
 * shell. First the users file is read, which only root may do; then the program becomes the
 * owner of the mail; then it opens one account after the other, as a session does. Private to
 * src/proc.
 */
#ifndef PROC_CTL_OWNER_H
#define PROC_CTL_OWNER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/conf.h"
#include "store/account.h"

/* Whose mail, as the users file has it. */
struct ctl_owner {
    char *name, *home, *mail; /* mail: "" = by mail_location */
    char *quota;              /* "" = by the configuration */
    bool ahead;               /* as in struct account_params; the caller's */
};

struct ctl_owners {
    struct ctl_owner *items;
    size_t count;
};

/* The users of these names, or all of the users file (count 0). 0, or an exit status after a
   message. In any case ctl_owners_free(). */
int ctl_owners_find(const struct conf *conf, char *const *names, size_t count,
                    struct ctl_owners *out);
void ctl_owners_free(struct ctl_owners *owners);

/* Becomes the owner of the mail, if started by root. 0 or an exit status after a message. */
int ctl_become_mail_user(const struct conf *conf);

/* *has: is there a Maildir? 0, or an exit status after a message. */
int ctl_owner_has_mail(const struct conf *conf, const struct ctl_owner *o, bool *has);
/* Opens the mail of one who has some: opening an account makes a missing Maildir, and a command
   that looks at one shouldn't. 0 or an exit status after a message. */
int ctl_owner_open(const struct conf *conf, const struct ctl_owner *o, struct account **out);

/* All of it for the commands with one user: finds, becomes, wants a Maildir, opens. */
int ctl_owner_open_one(const struct conf *conf, char *name, struct account **out);

/* A folder's name as typed in a shell, UTF-8, into the store's. Initialises `internal`. 0 or an
   exit status after a message. */
int ctl_folder_name(const struct account *a, const char *given, struct buf *internal);

#endif
