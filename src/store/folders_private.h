/*
 * Shared by the files that know folders. Nobody else includes this.
 */
#ifndef STORE_FOLDERS_PRIVATE_H
#define STORE_FOLDERS_PRIVATE_H

#include "store/account_private.h"
#include "store/folders.h"
#include "store/mailbox_private.h"

/* A list of names, owned. */
struct name_list {
    char **names;
    size_t count, cap;
};
void name_list_add(struct name_list *l, const char *name);
void name_list_free(struct name_list *l);

/* folders_list.c: internal names of all folders on disk but INBOX, in no order. */
int folders_read(struct account *a, struct name_list *out);
/* subscriptions.c: the names of the file `subscriptions`. */
int subscriptions_read(struct account *a, struct name_list *out);
/* The same as folder_subscribe(), with the lock held. */
int subscriptions_change(struct account *a, const char *name, bool on);
#define SUBSCRIPTIONS_FILE "subscriptions"
/* Adds the names that are missing, all at once. Locked. *added: how many. */
int subscriptions_add(struct account *a, const struct name_list *names, unsigned *added);
/* folders_change.c: folder_create() with the lock held. */
int folders_create_locked(struct account *a, const char *name, uint32_t special_use);
/* folders_change.c: folder_delete() of a folder in which no message lies; else ERR_EXISTS.
   Locked. */
int folders_delete_empty(struct account *a, const char *name);
/* folders_rename.c: moves directories and rows of `from` and its children; may be called again
   for what was moved in part. Locked. */
int folders_move(struct account *a, const char *from, const char *to);
/* Gives rows whose directory another program renamed their new names, so far as the directories
 * say which they are; then drops the rows that have no directory. Locked. */
int folders_heal(struct account *a);
/* Is `name` a child of `parent`? */
bool folders_is_child(const char *name, const char *parent);

#endif
