/*
 * Fuzz main: header blocks: walking, selecting, decoding, folding.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/charset.h"
#include "format/header.h"
#include "format/mimetext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
    if (!ok)
        abort();
}

static void
check_utf8(const struct buf *b)
{
    size_t n;

    for (size_t i = 0; i < b->len; i += n) {
        n = utf8_length(b->data + i, b->len - i, NULL);
        require(n > 0);
    }
}

/* Every field is in the selection or in its complement; both are walked again to the same. */
static void
check_select(const char *p, size_t size)
{
    static const char *const names[] = {"Subject", "to"};
    struct buf out = BUF_INIT(1 << 22);
    struct header_field f;
    size_t all = 0, selected = 0, pos = 0;

    while (header_next(p, size, &pos, &f)) {
        require(f.name_len > 0 && f.value_len + f.name_len < f.raw_len);
        all++;
    }
    for (int not = 0; not < 2; not ++) {
        buf_reset(&out);
        header_select(p, size, names, 2, not, &out);
        require(out.len >= 2 && memcmp(out.data + out.len - 2, "\r\n", 2) == 0);
        for (pos = 0; header_next(out.data, out.len, &pos, &f);)
            selected++;
    }
    require(all == selected);
    buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct buf out = BUF_INIT(1 << 22);
    struct arena *arena = arena_new();
    struct needle *needle;
    size_t len;

    check_select(p, size);
    header_decode(p, size, &out);
    check_utf8(&out);
    header_unfold(arena, p, size, &len);
    require(len <= size);
    require(needle_new("x\xc3\xa4", 3, &needle) == 0);
    needle_in_header(needle, p, size);
    needle_free(&needle);
    if (needle_new(p, size, &needle) == 0)
        needle_free(&needle);
    buf_free(&out);
    arena_free(&arena);
    return 0;
}
