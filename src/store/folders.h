/*
 * The folders of an account: list, create, delete, rename, subscribe. Names are internal names
 * (format/mboxname.h).
 */
#ifndef STORE_FOLDERS_H
#define STORE_FOLDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/account.h"

#define SPECIAL_ALL     0x01u /* RFC 6154 2 */
#define SPECIAL_ARCHIVE 0x02u
#define SPECIAL_DRAFTS  0x04u
#define SPECIAL_FLAGGED 0x08u
#define SPECIAL_JUNK    0x10u
#define SPECIAL_SENT    0x20u
#define SPECIAL_TRASH   0x40u
/* "\\Sent" -> bit, 0 if unknown; and the other way, NULL if unknown. */
uint32_t special_use_bit(const char *attribute);
const char *special_use_name(uint32_t bit);

struct folder {
    const char *name; /* internal */
    bool exists;      /* false: only a parent of something, or only subscribed */
    bool has_children;
    bool subscribed;
    uint32_t special_use;
};

/* All folders, sorted by name with every missing parent in between (exists = false), and
   subscribed names that don't exist. INBOX always exists and comes first. The list is one
   block: folder_list_free(). Doesn't take the lock for long. */
struct folder_list {
    struct folder *items;
    size_t count;
    void *memory;
};
int folder_list(struct account *a, struct folder_list *out);
void folder_list_free(struct folder_list *l);

/* Is it there? Reads only the file system. */
bool folder_exists(struct account *a, const char *name);
/* ERR_EXISTS; ERR_CANNOT; missing parents aren't made (Maildir++ needs none; they are listed as
   \NonExistent). special_use: bits or 0 (ERR_EXISTS if another folder has that use). */
int folder_create(struct account *a, const char *name, uint32_t special_use);
/* ERR_NOENT, ERR_CANNOT (INBOX). Children stay (RFC 3501 6.3.4). The folder disappears at once
   by a rename; a view of it held by another session becomes void. The directory is emptied
   afterwards, and by the next opener after a crash. The subscription stays (RFC 3501). */
int folder_delete(struct account *a, const char *name);
/* With all children. RENAME of INBOX moves its messages into the new folder and leaves INBOX
   empty (RFC 3501 6.3.5). UIDVALIDITY and UIDs of renamed folders are kept. ERR_NOENT,
   ERR_EXISTS, ERR_CANNOT (into itself). A crash in between is mended by the next opener (file
   `mansio-folder` in each folder says its id). */
int folder_rename(struct account *a, const char *from, const char *to);
/* File `subscriptions`, one internal name a line, replaced by rename; plain to read and to
 * edit. Subscribing to a folder that doesn't exist is allowed. */
int folder_subscribe(struct account *a, const char *name, bool on);

#endif
