/*
 * Pages of the database that survive a power cut.
 *
 * Berkeley DB writes a page of 4 or 8 KB over the older one, and its log has only what changed
 * in it: a page of which one half is new and the other old after a power cut can't be mended
 * from the log, and UIDs are lost. So pages aren't written where they belong at once. They're
 * collected, written to the file `pages` of the environment's directory, which is synced, and
 * only then to their places. Recovery puts back from there what was torn (guard_restore()).
 *
 * Only with the account's lock. What is still collected must be flushed before the lock is
 * given up: others read the files.
 */
#ifndef STORE_INDEX_GUARD_H
#define STORE_INDEX_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GUARD_FILE "pages"
/* Collected at most. Each flush costs a sync: at 32, the first index of 20,000 messages had 24.
 */
#define GUARD_PAGES 128

struct guard_page {
    char *data;
    size_t len;
    off_t at;
    int fd, file; /* of enum kv_file */
};

struct guard {
    const char *dir; /* the environment's; borrowed */
    bool off;        /* pages go to their places at once */
    bool new_names;  /* in the directory, that aren't synced yet */
    struct guard_page pages[GUARD_PAGES];
    unsigned count;
    int log_fd;          /* of a log that must be synced before any page is written; -1: none */
    int fd;              /* of `pages`, -1 until needed */
    uint64_t generation; /* that we wrote; 0: none */
    uint32_t records;    /* of it */
    uint64_t end;        /* octets of it */
    unsigned loose;      /* files written to since they were synced, a bit each */
    int error;           /* errno of the flush that failed, 0 = none */
};

void guard_init(struct guard *g);
/* Forgets what is collected. */
void guard_free(struct guard *g);
/* Takes a page; may flush. 0 or -1 with errno. */
int guard_put(struct guard *g, int fd, int file, const void *p, size_t len, off_t at);
/* Gives a page that is still here. */
bool guard_get(const struct guard *g, int file, void *p, size_t len, off_t at);
/* Syncs the log if that was put off, and writes all pages to their places. 0 or -1 with errno;
   then no page will be written any more: their descriptors may be another file's by the next
   time. */
int guard_flush(struct guard *g);
/*
 * Berkeley DB syncs the log before it lets a page go. That's early where the page only comes
 * here: remembers the log's descriptor instead, until guard_flush(). 0, or -1 with errno:
 * another log was waiting and couldn't be synced.
 */
int guard_put_off(struct guard *g, int log_fd);
/* Syncs the log that waits, if one does, and its name; it may be closed then. 0 or -1 with
   errno: no page will be written any more. */
int guard_sync_log(struct guard *g);
/* This one was synced by others; another one that waits is now. 0 or -1 with errno. */
int guard_log_synced(struct guard *g, int log_fd);
/* Syncs the directory if it has new names. 0 or -1 with errno. */
int guard_sync_names(struct guard *g);
/* That file was synced. */
void guard_synced(struct guard *g, int file);

/* Before the environment in `dir` is opened for recovery: puts torn pages back. How many, or
 * ERR_*. */
int guard_restore(const char *dir);

#endif
