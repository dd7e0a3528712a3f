/*
 * The state of one scan, shared by scan.c (what to look at, what it means), scan_order.c (new
 * messages in the order of their UIDs), scan_apply.c (writing all into the index), and
 * import_scan.c (what another server's lists say).
 */
#ifndef STORE_SCAN_PRIVATE_H
#define STORE_SCAN_PRIVATE_H

#include <sys/stat.h>

#include "store/scan.h"
#include "store/scan_table.h"

/* A message the index knows whose file lies elsewhere or is called otherwise now. */
struct scan_known {
    uint32_t uid, entry;
};

/* A file the index doesn't know. */
struct scan_fresh {
    uint64_t when, inode; /* of its delivery: order of UIDs */
    uint32_t entry;
    uint32_t uid; /* that another server gave it, 0 = none */
    uint32_t order;
};

/* In the row, the mtime of cur/ of a folder with another server's lists, before its first scan
   by a session has ended. */
#define IMPORT_PENDING (-1)

struct scan {
    struct mailbox *m;
    unsigned flags; /* enum scan_flags */
    struct scan_table table;
    struct scan_known *known;
    size_t known_count, known_cap;
    uint32_t *gone; /* UIDs without a file, ascending */
    size_t gone_count, gone_cap;
    struct scan_fresh *fresh;
    size_t fresh_count;
    int64_t started;            /* us, sys_stamp_us(): not after the last reading began */
    int64_t looked_at;          /* the same clock, when `times` were */
    struct maildir_times times; /* at first before the reading, then after it */
    bool open;                  /* a transaction */
    unsigned pending;           /* changes in it */
    bool changed;               /* anything was written */
    bool need_sync;             /* UIDs were given, or messages expunged */
    bool moved;                 /* files from new/ to cur/ */
    bool left_in_new;           /* messages of the index lie in new/ */
    bool again;                 /* the next sync must read everything */
    bool pending_import;        /* the row had IMPORT_PENDING */
};

void scan_add_known(struct scan *s, uint32_t uid, uint32_t entry);
/* Entries with the same base name: drops the ones that were just renamed, and gives a real
 * second file a name of its own. */
int scan_resolve_twins(struct scan *s);
/* The file of an entry; a link isn't followed. False: it's not there. */
bool scan_look(struct scan *s, const struct scan_entry *e, struct stat *st);
/* The unmatched entries that can be messages, to s->fresh, in the order of their UIDs. */
void scan_collect_fresh(struct scan *s);
/* In place, since there may be a million: qsort() takes as much memory again. */
typedef int scan_compare(const struct scan_fresh *a, const struct scan_fresh *b);
void scan_sort(struct scan *s, scan_compare *compare);
/* Writes known, gone and all unmatched entries into the index; leaves a transaction open when
   there's something left to commit. */
int scan_apply(struct scan *s);
/* Puts the row and commits. */
int scan_finish(struct scan *s);
/* Begins a transaction, unless one is open. */
int scan_begin(struct scan *s);
/* Counts a change; commits a full piece. */
int scan_changed(struct scan *s);

/* import_scan.c: m->import, if this scan has to do with one. */
int scan_import_begin(struct scan *s);
/* Fresh messages: those with a UID of the list first, in its order. */
void scan_import_order(struct scan *s);
/* A fresh message that's about to be added: its UID and what else the list says. ERR_NOENT: its
   file went away. In a transaction. */
int scan_import_message(struct scan *s, const struct scan_fresh *f, struct index_message *m);
/* Messages that the index knows. */
int scan_import_known(struct scan *s);
/* After the last message: the row's next UID; is the import over? */
void scan_import_end(struct scan *s);

#endif
