/*
 * Fuzz main: a whole message through the parser, its wire form, the packed tree and the text
 * search. Whatever comes, sizes must fit each other and the grammar's parentheses must balance.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/mime.h"
#include "format/mimetext.h"
#include "../mime_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool ok)
{
    if (!ok)
        abort();
}

static void
check_part(const struct mime_part *p, uint64_t size)
{
    for (; p != NULL; p = p->next) {
        require(p->body_off == p->header_off + p->header_len);
        require(p->body_off + p->body_len <= size);
        require(p->body_crlf == p->body_len || p->body_lines > 0);
        require(p->body_crlf >= p->body_len && p->body_crlf <= 2 * p->body_len);
        require(p->is_multipart + p->is_message < 2);
        require((p->is_multipart || p->is_message) == (p->children != NULL));
        check_part(p->children, size);
    }
}

/* Reads over strings and literals, so that only the structure's parentheses are counted. */
static void
check_wire(const char *s, size_t n)
{
    size_t i = 0, octets;
    long depth = 0;

    while (i < n) {
        if (s[i] == '"') {
            for (i++; i < n && s[i] != '"'; i++) {
                require(s[i] != '\r' && s[i] != '\n' && (unsigned char)s[i] < 0x80);
                i += s[i] == '\\';
            }
            require(i < n);
        } else if (s[i] == '{') {
            octets = (size_t)strtoul(s + i + 1, NULL, 10);
            while (s[i] != '\n')
                i++;
            i += octets;
            require(i < n);
        } else if (s[i] == '(') {
            depth++;
        } else if (s[i] == ')') {
            require(--depth >= 0);
        } else {
            require((unsigned char)s[i] >= ' ' && (unsigned char)s[i] < 0x7f);
        }
        i++;
    }
    require(depth == 0);
}

static struct mime_part *
parse(const uint8_t *data, size_t size, size_t piece, struct arena *arena, struct buf *wire)
{
    struct mime_limits limits = usual_limits;
    struct memory_source src = memory_source(data, size, piece);
    struct mime_part *root;

    limits.max_depth = 6;
    limits.max_parts = 50;
    limits.max_header_size = 4096;
    require(mime_parse(&src.source, &limits, arena, NULL, &root) == 0);
    buf_reset(wire);
    mime_write_structure(root, true, wire);
    buf_addc(wire, ' ');
    buf_add(wire, root->envelope, root->envelope_len);
    require(buf_ok(wire));
    return root;
}

static void
search(const uint8_t *data, size_t size)
{
    static const char *const words[] = {"a", "\xc3\xa4\xc3\xb6", "longer words"};
    static const enum needle_where where[] = {IN_BODY, IN_TEXT, IN_HEADER};
    struct needle *needles[3];
    uint64_t found[2];

    for (size_t i = 0; i < 3; i++)
        require(needle_new(words[i], strlen(words[i]), &needles[i]) == 0);
    for (size_t i = 0; i < 2; i++) {
        struct memory_source src = memory_source(data, size, i * 5);

        require(mimetext_search(&src.source, &usual_limits,
                                (const struct needle *const *)needles, where, 3,
                                &found[i]) == 0);
    }
    require(found[0] == found[1]);
    for (size_t i = 0; i < 3; i++)
        needle_free(&needles[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct buf whole = BUF_INIT(1 << 26), parts = BUF_INIT(1 << 26), packed = BUF_INIT(1 << 24);
    struct mime_part *root, *again;

    root = parse(data, size, 0, arena, &whole);
    require(root->header_len + root->body_len == size);
    check_part(root, size);
    check_wire(whole.data, whole.len);
    mime_pack(root, &packed);
    require(mime_unpack(packed.data, packed.len, arena, &again) == 0);
    require(again->body_crlf == root->body_crlf);
    parse(data, size, 3, arena, &parts);
    require(parts.len == whole.len && memcmp(parts.data, whole.data, whole.len) == 0);
    mime_unpack((const char *)data, size, arena, &again);
    search(data, size);
    buf_free(&whole);
    buf_free(&parts);
    buf_free(&packed);
    arena_free(&arena);
    return 0;
}
