/*
 * The state of one scan, shared by scan.c (what to look at, what it means) and scan_apply.c
 * (writing it into the index).
 */
#ifndef STORE_SCAN_PRIVATE_H
#define STORE_SCAN_PRIVATE_H

#include "store/scan.h"
#include "store/scan_table.h"

/* A message the index knows whose file lies elsewhere or is called otherwise now. */
struct scan_known {
    uint32_t uid, entry;
};

/* A file the index doesn't know. */
struct scan_fresh {
    uint32_t entry;
    int64_t seconds, micros; /* of its delivery: order of UIDs */
    uint64_t inode, size;
    int64_t mtime; /* seconds: the internal date */
};

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
    int64_t started;              /* us, wall clock: when the last reading began */
    int64_t new_mtime, cur_mtime; /* when it ended */
    bool open;                    /* a transaction */
    unsigned pending;             /* changes in it */
    bool changed;                 /* anything was written */
    bool need_sync;               /* UIDs were given, or messages expunged */
    bool moved;                   /* files from new/ to cur/ */
    bool left_in_new;             /* messages of the index lie in new/ */
    bool again;                   /* the next sync must read everything */
};

void scan_add_known(struct scan *s, uint32_t uid, uint32_t entry);
/* Entries with the same base name: drops the ones that were just renamed, and gives a real
 * second file a name of its own. */
int scan_resolve_twins(struct scan *s);
/* Writes known, gone and all unmatched entries into the index; leaves a transaction open when
   there's something left to commit. */
int scan_apply(struct scan *s);
/* Puts the row and commits. */
int scan_finish(struct scan *s);

#endif
