/*
 * The inside of struct view, shared by the view_*.c files. Nobody else includes this.
 */
#ifndef STORE_VIEW_PRIVATE_H
#define STORE_VIEW_PRIVATE_H

#include <signal.h>

#include "store/mailbox_private.h"
#include "store/view.h"

/* Changes of one transaction; between two the lock is given up. */
#define VIEW_PIECE 4096
/* Octets of waiting cache entries. */
#define VIEW_CACHE_MAX (1u << 20)
/* Searches for renamed files in one command: each reads a directory. */
#define VIEW_FINDS_MAX 64

/* view_flags(): what is known of the first `count` messages, as of `modseq`. */
struct flag_array {
    size_t count, cap;
    uint64_t modseq;
    uint8_t *flags;
    uint64_t *keywords; /* NULL: nobody asked for them yet */
};

struct view {
    struct account *a;
    struct mailbox *m;
    unsigned flags;       /* enum view_open_flags */
    uint64_t incarnation; /* of the index at view_open() */
    bool broken;          /* what the client believes can't be told any more */
    struct view_info info;
    char keywords[KEYWORDS_MAX][KEYWORD_NAME_MAX + 1]; /* as the client was told */

    uint64_t modseq;  /* changes up to here were taken in */
    uint32_t uidnext; /* the client knows no UID from here on */
    bool loaded;      /* uids is filled */
    uint32_t *uids;   /* by sequence number - 1; ascending */
    size_t count, cap;
    struct seqset gone;   /* UIDs in the view whose expunge wasn't told yet */
    struct seqset recent; /* UIDs */
    struct seqset report; /* UIDs whose flags the next sync must report */
    uint64_t *own;        /* mod-sequences of this session's own STOREs behind modseq */
    size_t own_count, own_cap;

    struct flag_array flags_known;

    struct buf cache;    /* entries that wait for view_cache_flush() */
    size_t last_waiting; /* offset of the last message's in it */

    int watch;      /* descriptor, -1 = none */
    int watched[3]; /* directories that are open for dnotify; -1 = none */
    bool by_signal; /* dnotify: what follows is to be put back */
    struct sigaction old_action;
    sigset_t old_mask;
};

/* Takes the lock and reads the row; ERR_GONE if the view is void. On error nothing is locked.
 */
int view_lock(struct view *v);
void view_unlock(struct view *v);
/* Loads the UIDs if that wasn't done. The first is for callers without the lock. */
int view_need_uids(struct view *v);
int view_load_uids(struct view *v);
/* Index of the first UID >= uid. */
size_t view_lower_bound(const struct view *v, uint32_t uid);
/* view_sync.c: keywords and \Recent as of view_open(). Locked. */
int view_take_recent(struct view *v);
/* scan_sync() with the flags that this view's kind asks for. Locked. */
int view_scan(struct view *v);

/* view_flags.c: v->gone is about to leave v->uids. */
void view_flags_leave(struct view *v);
void view_flags_forget(struct view *v);
/* view_read() without WANT_CRLF_SIZE, locked. */
int view_read_locked(struct view *v, const struct seqset *uids, struct seqset_iter *it,
                     unsigned want, struct view_batch *batch);
/* Looks for a file by base name, after ENOENT: fills name and in_new, and makes the next sync
   read everything. *finds counts; ERR_TEMP when there were too many. ERR_NOENT. Locked. */
int view_find_file(struct view *v, struct index_message *m, unsigned *finds);
/* The session's own changes ended with this mod-sequence, and began behind `before`. */
void view_own_change(struct view *v, uint64_t before, uint64_t after);
bool view_is_own(const struct view *v, uint64_t modseq);

#endif
