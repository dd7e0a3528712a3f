/*
 * Names of a directory, by base name; see scan_table.h.
 *
 * Open addressing with linear probing; the table is kept at most half full. The hash is seeded
 * by chance, so that nobody who chooses file names can make the table slow, or two names equal:
 * 64 bits stand for a base name without a look at it. Of a million names two are taken for one
 * in one scan of 40 million, and the next scan, with another seed, sees both.
 *
 * A scan that finds nothing new doesn't read names back. So they needn't be in memory: a
 * worker's own memory is bounded, and a million names have 70 MB.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "format/mdname.h"
#include "store/maildir.h"
#include "store/scan_table.h"

#define NAMES_MAX    UINT32_MAX /* octets of all names: offsets have 32 bits */
#define NAMES_MEMORY (8 << 20)  /* that many octets of them stay in memory */
#define BLOCK        65536      /* of the file, written at once */
#define ENTRIES      16384      /* octets of a directory, read at once */

void
scan_table_init(struct scan_table *t)
{
    memset(t, 0, sizeof *t);
    t->file = -1;
    t->in_memory = NAMES_MEMORY;
}

void
scan_table_free(struct scan_table *t)
{
    free(t->names);
    free(t->one);
    free(t->items);
    free(t->slots);
    if (t->file >= 0)
        close(t->file);
    memset(t, 0, sizeof *t);
    t->file = -1;
}

void
scan_table_clear(struct scan_table *t)
{
    t->names_len = 0;
    t->in_file = 0;
    t->count = 0;
    t->twins = 0;
    if (t->slots_count > 0)
        memset(t->slots, 0, t->slots_count * sizeof *t->slots);
}

static void
mix(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = (v[1] << 13 | v[1] >> 51) ^ v[0];
    v[0] = v[0] << 32 | v[0] >> 32;
    v[2] += v[3];
    v[3] = (v[3] << 16 | v[3] >> 48) ^ v[2];
    v[0] += v[3];
    v[3] = (v[3] << 21 | v[3] >> 43) ^ v[0];
    v[2] += v[1];
    v[1] = (v[1] << 17 | v[1] >> 47) ^ v[2];
    v[2] = v[2] << 32 | v[2] >> 32;
}

/* SipHash-1-3. A quicker one of multiplications has pairs of names that are equal with every
   seed: what one word of eight octets changes, the next can take back. */
static uint64_t
hash_octets(uint64_t k0, uint64_t k1, const char *p, size_t len)
{
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)len << 56, word;

    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        v[3] ^= word;
        mix(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, p, len);
    last ^= word;
    v[3] ^= last;
    mix(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint64_t
hash_name(const struct scan_table *t, const char *p, size_t len)
{
    return hash_octets(t->seed[0], t->seed[1], p, len);
}

static uint32_t
hash_info(const struct scan_table *t, const char *info)
{
    return (uint32_t)hash_octets(~t->seed[0], t->seed[1], info, strlen(info));
}

const char *
scan_table_name(struct scan_table *t, uint32_t i)
{
    const struct scan_entry *e = &t->items[i];
    size_t done = 0;
    ssize_t n = 1;

    if (e->name >= t->in_file)
        return t->names + (e->name - t->in_file);
    if (t->one == NULL)
        t->one = mem_alloc(MDNAME_MAX + 1);
    while (done < e->len && (n > 0 || (n < 0 && errno == EINTR))) {
        n = pread(t->file, t->one + done, e->len - done, (off_t)(e->name + done));
        done += n > 0 ? (size_t)n : 0;
    }
    if (done < e->len) {
        log_error("cannot read a file name back: %s", n < 0 ? strerror(errno) : "cut short");
        t->failed = true;
        done = 0;
    }
    t->one[done] = '\0';
    return t->one;
}

void
scan_table_soon(const struct scan_table *t, uint32_t i, uint32_t sooner)
{
    __builtin_prefetch(&t->items[i]);
    if (t->items[sooner].name >= t->in_file)
        __builtin_prefetch(t->names + (t->items[sooner].name - t->in_file));
}

bool
scan_table_is(const struct scan_table *t, uint32_t i, const char *name)
{
    const struct scan_entry *e = &t->items[i];

    return strlen(name) == e->len && hash_info(t, name + e->base_len) == e->info;
}

void
scan_table_seal(struct scan_table *t)
{
    free(t->slots);
    t->slots = NULL;
    t->slots_count = 0;
}

/* The slot of that base, or the free one where it belongs. */
static uint32_t
probe(const struct scan_table *t, uint64_t hash, size_t len)
{
    uint32_t mask = t->slots_count - 1, at = (uint32_t)hash & mask;
    const struct scan_entry *e;

    for (; t->slots[at] != 0; at = (at + 1) & mask) {
        e = &t->items[t->slots[at] - 1];
        if (e->hash[0] == (uint32_t)hash && e->hash[1] == (uint32_t)(hash >> 32) &&
            e->base_len == len)
            break;
    }
    return at;
}

uint32_t
scan_table_find(const struct scan_table *t, const char *base, size_t base_len)
{
    if (t->slots_count == 0)
        return SCAN_NONE;
    /* a free slot holds 0, and 0 - 1 is SCAN_NONE */
    return t->slots[probe(t, hash_name(t, base, base_len), base_len)] - 1;
}

static void
grow_slots(struct scan_table *t)
{
    uint32_t i, count = t->slots_count > 0 ? t->slots_count * 2 : 64, at;

    free(t->slots);
    t->slots = mem_calloc(count, sizeof *t->slots);
    t->slots_count = count;
    for (i = 0; i < t->count; i++) {
        if (t->items[i].twin)
            continue;
        for (at = t->items[i].hash[0] & (count - 1); t->slots[at] != 0;
             at = (at + 1) & (count - 1))
            continue;
        t->slots[at] = i + 1;
    }
}

/* Moves the names from memory to the file. */
static bool
spill(struct scan_table *t)
{
    size_t done = 0;
    ssize_t n;

    while (done < t->names_len) {
        n = pwrite(t->file, t->names + done, t->names_len - done, (off_t)(t->in_file + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false; /* a full disk: they stay where they are */
        done += (size_t)n;
    }
    t->in_file += t->names_len;
    t->names_len = 0;
    return true;
}

/* A file that nobody sees, in the folder `fd`; it's gone when it's closed. -1: none. */
static int
make_file(int fd)
{
    char name[MDNAME_MAX + 1];
    int file = openat(fd, "tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (file < 0 && maildir_tmp_create(fd, name, &file) == 0) /* one without O_TMPFILE */
        maildir_tmp_remove(fd, name);
    return file;
}

/* Keeps the names in memory few. */
static void
bound_names(struct scan_table *t, int fd)
{
    size_t most = t->in_file > 0 && t->in_memory > BLOCK ? BLOCK : t->in_memory;

    if (t->names_len < most || t->no_file)
        return;
    if (t->file < 0)
        t->file = make_file(fd);
    t->no_file = t->file < 0 || !spill(t);
    if (!t->no_file && t->names_cap > 2 * BLOCK) {
        free(t->names);
        t->names = NULL;
        t->names_cap = 0;
    }
}

void
scan_table_add(struct scan_table *t, const char *name, bool in_new)
{
    size_t len = strlen(name), base_len = maildir_base_len(name);
    struct scan_entry *e;
    uint64_t hash;
    uint32_t at;

    if (!t->seeded)
        sys_random(t->seed, sizeof t->seed);
    t->seeded = true;
    if (t->count == UINT32_MAX / 4 || t->in_file + t->names_len + len + 1 > NAMES_MAX)
        return;
    if ((t->count + 1) > t->slots_count / 2)
        grow_slots(t);
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? t->cap * 2 : 32;
        t->items = mem_reallocarray(t->items, t->cap, sizeof *t->items);
    }
    if (t->names_len + len + 1 > t->names_cap) {
        t->names_cap = t->names_cap > 0 ? t->names_cap * 2 : 4096;
        t->names = mem_realloc(t->names, t->names_cap);
    }
    e = &t->items[t->count];
    memset(e, 0, sizeof *e);
    e->name = (uint32_t)(t->in_file + t->names_len);
    e->base_len = (uint8_t)base_len;
    e->len = (uint8_t)len;
    e->in_new = in_new;
    memcpy(t->names + t->names_len, name, len + 1);
    hash = hash_name(t, name, base_len);
    e->hash[0] = (uint32_t)hash;
    e->hash[1] = (uint32_t)(hash >> 32);
    e->info = hash_info(t, name + base_len);
    at = probe(t, hash, base_len);
    if (t->slots[at] != 0) {
        e->twin = true;
        t->twins++;
    } else {
        t->slots[at] = t->count + 1;
    }
    t->names_len += len + 1;
    t->count++;
}

/* Can it be a message? Directories, pipes, links and hidden files are passed over. */
static bool
is_candidate(int dir, const struct dirent64 *e)
{
    struct mdname n;
    struct stat st;

    if (e->d_name[0] == '.' || (e->d_type != DT_REG && e->d_type != DT_UNKNOWN))
        return false;
    if (e->d_type == DT_UNKNOWN &&
        (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)))
        return false;
    /* only names with something odd in them need the full test */
    if (strlen(e->d_name) <= MDNAME_MAX && e->d_name[0] != ':' &&
        strchr(e->d_name, '\n') == NULL)
        return true;
    return mdname_parse(e->d_name, &n) == 0;
}

/* Not readdir(): it asks three things of the descriptor first, and most directories are short.
 */
int
scan_table_read(struct scan_table *t, int fd, bool in_new)
{
    int dir = openat(fd, in_new ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
    _Alignas(struct dirent64) char block[ENTRIES];
    const struct dirent64 *e;
    ssize_t n = dir >= 0 ? 1 : -1;

    while (n > 0) {
        n = getdents64(dir, block, sizeof block);
        for (ssize_t at = 0; at < n; at += e->d_reclen) {
            e = (const struct dirent64 *)(const void *)(block + at);
            if (!is_candidate(dir, e))
                continue;
            scan_table_add(t, e->d_name, in_new);
            bound_names(t, fd);
        }
    }
    if (n < 0) {
        err = err_from_errno(errno);
        log_error("cannot read %s/: %s", in_new ? "new" : "cur", strerror(errno));
    }
    if (dir >= 0)
        close(dir);
    return err;
}
