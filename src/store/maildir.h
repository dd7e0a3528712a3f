/*
 * Directories and files of a Maildir++: everything that knows where a message or a small file
 * of ours lies and how it is put there. No index, no lock, no meaning of flags.
 *
 * A folder is one descriptor, of its directory; cur/, new/ and tmp/ are reached through it, so
 * that a folder that's renamed while it's open stays reachable.
 */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "format/mdname.h"

#define MAILDIR_PATH_MAX (MDNAME_MAX + 8) /* "cur/" and a name */
/* Names of ours in the Maildir's root. None begins with a dot: that would be a folder. */
#define MAILDIR_DELETED "mansio-deleted." /* a folder on its way out */
#define MAILDIR_MAKING  "mansio-new."     /* a folder on its way in */

/* Opens folder `name` ("INBOX" is the root itself). 0, ERR_NOENT (also when it has no cur/) or
 * ERR_*. */
int maildir_open(int root, const char *name, int *fd);
/* The directory's name of a folder: ".A.B", or "." for INBOX. */
void maildir_dir_name(const char *name, char *out, size_t size);
/* Is the entry of the root a folder? Then *name is its internal name (points into `entry`). */
bool maildir_is_folder(int root, const char *entry, unsigned char d_type, const char **name);
/* Makes cur, new and tmp in `fd` where missing, and `maildirfolder` if it's a folder. */
int maildir_make_parts(int fd, bool folder);

/* "cur/NAME" or "new/NAME" into out (MAILDIR_PATH_MAX octets). */
void maildir_path(char *out, bool in_new, const char *name);
/* Octets of a file's name that say which message it is: all before ":2,". */
size_t maildir_base_len(const char *name);
/* mtime in nanoseconds since 1970, never 0 or +-1 (which mean something in the index). */
int64_t maildir_mtime(const struct stat *st);
struct maildir_times {
    int64_t new_mtime, cur_mtime;
    dev_t dev; /* the file system of both; 0: of each another */
};
/* Of the folder in directory `dir` ("." for `fd` itself). ERR_NOENT, ERR_*. */
int maildir_look(int fd, const char *dir, struct maildir_times *out);
/* Searches cur/ and new/ for a message whose name begins with that base. 0, ERR_NOENT, ERR_*.
 */
int maildir_find(int fd, const char *base, size_t base_len, char name[MDNAME_MAX + 1],
                 bool *in_new);
/* Opens a message for reading. ERR_NOENT (also when it's no regular file),
   ERR_SHORT ... */
int maildir_open_message(int fd, bool in_new, const char *name, int *file, struct stat *st);

/* A message's internal date, in seconds: the time of its file's last change. ERR_NOENT, ERR_*.
 */
int maildir_date(int fd, bool in_new, const char *name, int64_t *seconds);

/* rename() of a message's file that replaces nothing: -1 with EEXIST if `to` is there. */
int maildir_move(int from_fd, const char *from, int to_fd, const char *to);

/* A new file in tmp/, written and read by its owner only. *name: what it's called there. */
int maildir_tmp_create(int fd, char name[MDNAME_MAX + 1], int *file);
void maildir_tmp_remove(int fd, const char *name);
/* Copies an open file's bytes and times into a new file in tmp/, synced. */
int maildir_tmp_copy(int from, int fd, char name[MDNAME_MAX + 1]);
/* Removes files older than 36 hours from tmp/ (the Maildir rule). */
void maildir_purge_tmp(int fd, int64_t now);

/* Small files of ours, whole: replaced through tmp/ and rename, durable when it returns. */
int maildir_write_file(int fd, const char *name, const void *p, size_t len);
/* ERR_NOENT; ERR_LIMIT if longer than the buffer's bound. */
int maildir_read_file(int fd, const char *name, struct buf *out);

/* Do new/ and cur/ hold nothing? False if that can't be found out. */
bool maildir_is_empty(int fd);
/* Removes a directory and everything in it. Never follows a symbolic link. */
int maildir_remove_tree(int parent, const char *name);
/* Removes what deletions and creations that were cut short left behind in the root. */
void maildir_remove_leftovers(int root);

/* Sets the time of the last change: a message's internal date. */
int maildir_set_date(int file, int64_t seconds);

#endif
