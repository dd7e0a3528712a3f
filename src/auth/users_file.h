/*
 * The users file, mansio-users(5): `user:hash:uid:gid:gecos:home:shell:extra`, fields after the
 * hash may be missing. Comments `#`.
 */
#ifndef AUTH_USERS_FILE_H
#define AUTH_USERS_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct user {
    const char *name, *hash, *uid, *gid, *home; /* "" if missing */
    bool imap, pop3;                            /* imap=no, pop3=no */
    const char *quota;                          /* quota=10G:1000 ..., "" */
    const char *mail;                           /* mail=/path, "" */
    const char *allow_nets; /* allow_nets=192.0.2.0/24,... : no login from elsewhere; "" */
    bool nologin;           /* nologin: no login at all */
    const char *extra;      /* all words, as they are */
};

struct users_file;

/* Reads the whole file into a sorted table. Faulty lines are logged with file:line and left out
 * (the last of two with the same name is left out too). 0 or ERR_*. */
int users_file_load(const char *path, struct users_file **out);
void users_file_free(struct users_file **f);
/* Loads again when times, size or inode changed; keeps the old table if that fails (logged).
   True when there's a new table. */
bool users_file_refresh(struct users_file *f);
/* NULL if there's none. Valid until the next refresh. */
const struct user *users_file_find(const struct users_file *f, const char *name);
size_t users_file_count(const struct users_file *f);
const struct user *users_file_nth(const struct users_file *f, size_t i); /* NULL past the end */

/* Edits, for mansioctl: other lines are kept byte by byte; written to FILE.new, fsync, rename;
   mode and owner kept; two editors at once are kept apart by a lock on FILE.lock. ERR_EXISTS,
   ERR_NOENT, ERR_CANNOT (a name, hash or word that the format can't hold), ERR_BUSY (the lock
   wasn't to be had within ten seconds). `hash` NULL = unchanged (not for a new user); `extra`
   NULL = unchanged or none. */
int users_file_set(const char *path, const char *name, const char *hash, const char *extra,
                   bool must_be_new);
int users_file_delete(const char *path, const char *name);

#endif
