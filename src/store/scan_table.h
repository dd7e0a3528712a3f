/*
 * The names found in a folder's directories during one scan, to be looked up by base name: 20
 * octets an entry, a hash over them, and the names. Those of more than some 100,000 files go to
 * an unlinked file in tmp/, so that a scan of a million takes 30 MB of memory.
 */
#ifndef STORE_SCAN_TABLE_H
#define STORE_SCAN_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_NONE UINT32_MAX

struct scan_entry {
    uint32_t name;    /* offset of the name, which ends with NUL */
    uint32_t hash[2]; /* of the base name: it stands for it, 64 bits with a seed by chance */
    uint32_t info;    /* hash of what follows it */
    uint8_t base_len;
    uint8_t len;
    bool in_new : 1;  /* found in new/ */
    bool matched : 1; /* the index knows this message */
    bool owned : 1;   /* the index has just this name (looked at only among twins) */
    bool twin : 1;    /* another entry has the same base name */
};

struct scan_table {
    char *names; /* those that aren't in the file */
    size_t names_len, names_cap;
    uint64_t in_file; /* octets of names in the file */
    int file;         /* -1 = none */
    size_t in_memory; /* octets of names that may stay there */
    bool no_file;     /* there can't be one: they stay in memory */
    bool failed;      /* a name couldn't be read back */
    char *one;        /* the name that was asked for last */
    struct scan_entry *items;
    uint32_t count, cap;
    uint32_t *slots; /* index + 1 of an entry, 0 = free */
    uint32_t slots_count;
    uint32_t twins;
    bool seeded; /* the next is drawn, with the first name */
    uint64_t seed[2];
};

void scan_table_init(struct scan_table *t);
void scan_table_free(struct scan_table *t);
void scan_table_clear(struct scan_table *t);
/* name: at most MDNAME_MAX octets. An entry whose base is there already becomes a twin, and is
 * not found by its base. */
void scan_table_add(struct scan_table *t, const char *name, bool in_new);
/* The index of the entry with that base name, or SCAN_NONE. */
uint32_t scan_table_find(const struct scan_table *t, const char *base, size_t base_len);
/* Valid until the next call. "" if it couldn't be read back: then t->failed is set. */
const char *scan_table_name(struct scan_table *t, uint32_t i);
/* Entry `i` will be asked for soon, and before it the name of entry `sooner`. Entries in the
 * order of their delivery are all over the memory: waiting for it was 8 % of a first SELECT of
 * 20,000 messages. */
void scan_table_soon(const struct scan_table *t, uint32_t i, uint32_t sooner);
/* Has entry i, which was found by the base of this name, just this name? */
bool scan_table_is(const struct scan_table *t, uint32_t i, const char *name);
/* Nothing more will be looked up: gives back the memory for that. */
void scan_table_seal(struct scan_table *t);

/* Reads cur/ or new/ of the folder `fd`: regular files with names that can be messages. 0 or
 * ERR_*. */
int scan_table_read(struct scan_table *t, int fd, bool in_new);

#endif
