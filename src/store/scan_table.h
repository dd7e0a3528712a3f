/*
 * The names found in a folder's directories during one scan, to be looked up by base name: an
 * arena of octets, 12 octets an entry, and a hash over them. A million names fit in about
 * 100 MB, with a handful of allocations.
 */
#ifndef STORE_SCAN_TABLE_H
#define STORE_SCAN_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_NONE UINT32_MAX

struct scan_entry {
    uint32_t name; /* offset of the name, which ends with NUL */
    uint32_t hash;
    uint8_t base_len;
    bool in_new;  /* found in new/ */
    bool matched; /* the index knows this message */
    bool owned;   /* the index has just this name (looked at only among twins) */
    bool twin;    /* another entry has the same base name */
};

struct scan_table {
    char *names;
    size_t names_len, names_cap;
    struct scan_entry *items;
    uint32_t count, cap;
    uint32_t *slots; /* index + 1 of an entry, 0 = free */
    uint32_t slots_count;
    uint32_t twins;
    uint64_t seed;
};

void scan_table_init(struct scan_table *t);
void scan_table_free(struct scan_table *t);
void scan_table_clear(struct scan_table *t);
/* name: at most MDNAME_MAX octets. An entry whose base is there already becomes a twin, and is
 * not found by its base. */
void scan_table_add(struct scan_table *t, const char *name, bool in_new);
/* The index of the entry with that base name, or SCAN_NONE. */
uint32_t scan_table_find(const struct scan_table *t, const char *base, size_t base_len);
/* Valid until the next addition. */
const char *scan_table_name(const struct scan_table *t, uint32_t i);

/* Reads cur/ or new/ of the folder `fd`: regular files with names that can be messages. 0 or
 * ERR_*. */
int scan_table_read(struct scan_table *t, int fd, bool in_new);

#endif
