/*
 * Reads the records of a B-tree file without Berkeley DB, leaf by leaf: what salvage takes from
 * a file that can't be opened any more.
 *
 * Berkeley DB has a salvager, but it isn't safe on pages of noise (it frees memory twice when
 * it takes one for a page of a kind that we don't have). A leaf that passes page_ok() can be
 * read without a look at the rest of the tree, so damage costs the records on the damaged pages
 * and no others. The format is told in index_page.c; an overflow chain is the pages named by
 * their "page after", each with its octets from 26 on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "store/index_db.h"
#include "store/index_page.h"

#define HEADER_SIZE   26u
#define TYPE_LEAF     5
#define TYPE_OVERFLOW 7
#define ITEM_PLAIN    1
#define ITEM_DELETED  0x80u
#define LONG_MAX_SIZE (1u << 20) /* octets of a record that is worth to be kept */

struct loose {
    int fd;
    size_t page_size;
    uint64_t pages;        /* in the file */
    unsigned char *page;   /* the leaf */
    unsigned char *beyond; /* a page of an overflow chain */
    struct buf key, value; /* put together from a chain */
    bool whole;
};

/* Reads a page. False if there is none, or it's damaged. */
static bool
read_page(struct loose *l, uint64_t number, unsigned char *to)
{
    ssize_t n = pread(l->fd, to, l->page_size, (off_t)(number * l->page_size));

    return n == (ssize_t)l->page_size && page_ok(to, l->page_size, number, true);
}

/* Puts a chain of `total` octets together. */
static bool
read_chain(struct loose *l, uint32_t number, uint32_t total, struct buf *out)
{
    buf_reset(out);
    while (out->len < total && number != 0) {
        size_t len;

        if (!read_page(l, number, l->beyond) || l->beyond[25] != TYPE_OVERFLOW)
            return false;
        len = get16(l->beyond + 22);
        if (len == 0 || len > total - out->len)
            return false; /* so it can't go round in circles */
        buf_add(out, l->beyond + HEADER_SIZE, len);
        if (!buf_ok(out))
            return false;
        number = get32(l->beyond + 16);
    }
    return out->len == total;
}

/* Item i of the leaf. False if it's deleted or can't be had. */
static bool
item(struct loose *l, unsigned i, struct buf *room, struct kv_slice *out)
{
    const unsigned char *p = l->page + get16(l->page + HEADER_SIZE + 2 * i);

    if ((p[2] & ITEM_DELETED) != 0)
        return false;
    if (p[2] == ITEM_PLAIN) {
        *out = (struct kv_slice){p + 3, get16(p)};
        return true;
    }
    if (!read_chain(l, get32(p + 4), get32(p + 8), room)) {
        l->whole = false;
        return false;
    }
    *out = (struct kv_slice){room->data, room->len};
    return true;
}

/* Keys and values alternate. */
static int
read_leaf(struct loose *l, kv_fn *fn, void *ctx)
{
    unsigned entries = get16(l->page + 20);
    struct kv_slice key, value;
    int result = 0;

    for (unsigned i = 0; i + 1 < entries && result == 0; i += 2)
        if (item(l, i, &l->key, &key) && item(l, i + 1, &l->value, &value) && key.len > 0)
            result = fn(ctx, key, value);
    return result;
}

static int
read_pages(struct loose *l, kv_fn *fn, void *ctx)
{
    int result = 0;

    for (uint64_t n = 0; n < l->pages && result == 0; n++) {
        if (!read_page(l, n, l->page))
            l->whole = false;
        else if (n == 0)
            l->whole = l->whole && get32(l->page + 32) < l->pages; /* the last page's number */
        else if (l->page[25] == TYPE_LEAF)
            result = read_leaf(l, fn, ctx);
    }
    return result;
}

int
kv_read_loose(const char *dir, const char *name, unsigned page_size, kv_fn *fn, void *ctx,
              bool *whole)
{
    struct loose l = {.page_size = page_size, .whole = true};
    char path[4096];
    struct stat st;
    int result;

    *whole = false;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return ERR_CANNOT;
    l.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (l.fd < 0)
        return err_from_errno(errno);
    if (fstat(l.fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(l.fd);
        return ERR_NOENT;
    }
    l.pages = (uint64_t)st.st_size / page_size;
    l.page = mem_alloc(page_size);
    l.beyond = mem_alloc(page_size);
    buf_init(&l.key, LONG_MAX_SIZE);
    buf_init(&l.value, LONG_MAX_SIZE);
    result = read_pages(&l, fn, ctx);
    *whole = l.whole && l.pages > 0;
    close(l.fd);
    free(l.page);
    free(l.beyond);
    buf_free(&l.key);
    buf_free(&l.value);
    return result;
}
