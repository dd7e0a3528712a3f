/*
 * One user's mail: the Maildir, its index, and how names are shown. Everything a session does
 * with mail starts from here. One account is open in a session at a time.
 *
 * The account's lock is taken inside these functions and never held when they return, so no
 * caller can hold it across a wait for the client.
 */
#ifndef STORE_ACCOUNT_H
#define STORE_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "format/mboxname.h"

struct account;

struct account_params {
    const struct conf *conf;   /* borrowed for the account's life */
    const char *user;          /* checked by user_name_check() */
    const char *home;          /* for %h; "" if none */
    const char *mail_location; /* NULL = the configuration's; else an already expanded path */
    const char *quota; /* the user's own, quota_parse(); NULL or "": the configuration's */
    bool ahead; /* another server may still be at work there: nothing is set up or tidied */
};

/* Opens it. A missing Maildir is made (0700) with the auto_folders, each subscribed and marked;
   parents too, below the first existing directory. Old files in tmp/ are purged now and then. 0
   or ERR_*. */
int account_open(const struct account_params *p, struct account **out);
void account_close(struct account **a);
/* The session will wait for long: closes the environment, gives heap back to the system.
 * Everything works on; the next use opens again. */
void account_idle(struct account *a);

const char *account_user(const struct account *a);
const struct mboxname_rules *account_names(const struct account *a);
const struct conf *account_conf(const struct account *a);
const char *account_mail_dir(const struct account *a);

#endif
