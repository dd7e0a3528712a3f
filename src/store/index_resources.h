/*
 * What Berkeley DB holds of this process on behalf of one environment: heap blocks, descriptors
 * and mapped regions. With these known, a broken or stale environment can be given up without
 * calling into Berkeley DB, which would read shared memory that a killed process left torn, or
 * write into files that belong to a newer environment by now. Private to index_db.c.
 */
#ifndef STORE_INDEX_RESOURCES_H
#define STORE_INDEX_RESOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "store/index_guard.h"

#define RES_FDS  32 /* descriptors: four files, a log or two, a region being mapped */
#define RES_MAPS 8  /* regions */

struct res_block {
    struct res_block *prev, *next;
    size_t size;
    size_t align; /* keeps what follows aligned to 16 */
};

struct resources {
    struct res_block blocks; /* head of a ring */
    size_t heap;             /* octets in blocks */
    struct {
        int fd;
        int file;   /* of pages: enum kv_file; -1 = a log, a region */
        bool loose; /* written to since it was synced */
    } fds[RES_FDS];
    unsigned fds_count;
    struct {
        void *at;
        size_t len;
    } maps[RES_MAPS];
    unsigned maps_count;
    bool create_regions; /* regions are made; else only joined */
    unsigned map_calls;
    struct guard guard;
    bool in_transaction; /* not yet committing: syncs of the log may be put off */
    int write_error;     /* errno of the first write that failed, 0 = none */
    bool no_memory;      /* the system refused some */
    bool recovering;     /* holes in files are to be expected */
    bool bad_page;       /* the page read just now is damaged */
    unsigned damaged;    /* pages found damaged */
};

void resources_init(struct resources *r);
/* Unmaps, closes and frees all. */
void resources_release(struct resources *r);
/* From here on the functions below act for r. */
void resources_use(struct resources *r);
struct resources *resources_used(void); /* for whom they act */

/* Berkeley DB is directed to these. */
void *res_malloc(size_t n);
void *res_realloc(void *p, size_t n);
void res_free(void *p);
int res_open(const char *path, int flags, ...);
int res_close(int fd); /* 0 or an errno value; so is that of res_fsync() */
/* A damaged page of a file of pages counts as unreadable; see index_page.h. */
ssize_t res_pread(int fd, void *p, size_t n, off_t at);
int res_seek(int fd, off_t at, int whence);
/* fdatasync, and of the directory if a file was made or renamed in it: Berkeley DB leaves that
   to the file system. */
int res_fsync(int fd);
int res_rename(const char *from, const char *to);
ssize_t res_write(int fd, const void *p, size_t n);
/* Regions. *create comes as Berkeley DB's wish and goes as what was done. errno values. */
int res_map(const char *path, size_t size, int *create, void **at);
int res_unmap(void *at);

#endif
