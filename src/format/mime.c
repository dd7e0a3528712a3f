/*
 * The structure of a message as a tree in an arena; see mime.h. The walking is in mime_walk.c,
 * the fields' meaning in mime_fields.c, the wire form in mime_write.c.
 */
#include <string.h>
#include <strings.h>

#include "base/conf.h"
#include "format/envelope.h"
#include "format/header.h"
#include "format/mime.h"
#include "format/mime_walk.h"

void
mime_limits_from_conf(struct mime_limits *l, const struct conf *conf)
{
    l->max_depth = conf->mime_max_depth;
    l->max_parts = conf->mime_max_parts;
    l->max_headers = conf->mime_max_headers;
    l->max_addresses = conf->mime_max_addresses;
    l->max_parameter_segments = conf->mime_max_parameter_segments;
    l->max_header_size = conf->mime_max_header_size;
}

struct parse {
    const struct mime_limits *limits;
    struct arena *arena;
    struct buf *header;
    struct buf envelope;
};

static int
on_header(void *ctx, struct mime_part *part, const char *block, size_t len, bool message)
{
    struct parse *p = ctx;
    struct envelope e;
    struct header_field f;
    size_t pos = 0;
    unsigned fields = 0;

    if (part->parent == NULL && p->header != NULL)
        buf_add(p->header, block, len);
    if (message)
        envelope_begin(&e, block, len, p->limits);
    while (fields++ < p->limits->max_headers && header_next(block, len, &pos, &f)) {
        mime_read_field(part, &f, p->limits, p->arena, true);
        if (message)
            envelope_field(&e, &f, pos);
    }
    mime_read_end(part, p->arena);
    if (!message)
        return 0;
    buf_reset(&p->envelope);
    envelope_end(&e, &p->envelope);
    part->envelope = arena_memdup(p->arena, buf_str(&p->envelope), p->envelope.len);
    part->envelope_len = p->envelope.len;
    return 0;
}

int
mime_parse(struct source *src, const struct mime_limits *limits, struct arena *arena,
           struct buf *header, struct mime_part **root)
{
    static const struct mime_walk_ops ops = {on_header, NULL};
    struct parse p = {limits, arena, header, BUF_INIT(SIZE_MAX / 4)};
    int err = mime_walk(src, limits, arena, &ops, &p, root);

    buf_free(&p.envelope);
    return err;
}

static struct mime_part *
nth_child(struct mime_part *part, uint32_t n)
{
    struct mime_part *child = part->children;

    while (child != NULL && n > 1) {
        child = child->next;
        n--;
    }
    return n == 0 ? NULL : child;
}

/* Part n of a message: of one that isn't multipart, 1 is its body, i.e. itself. */
static struct mime_part *
part_of_message(struct mime_part *message, uint32_t n)
{
    if (message->is_multipart)
        return nth_child(message, n);
    return n == 1 ? message : NULL;
}

struct mime_part *
mime_find_part(struct mime_part *root, const uint32_t *numbers, size_t n)
{
    struct mime_part *part = root;
    size_t i;

    for (i = 0; i < n && part != NULL; i++) {
        if (i == 0)
            part = part_of_message(part, numbers[i]);
        else if (part->is_multipart)
            part = nth_child(part, numbers[i]);
        else if (part->is_message)
            part = part_of_message(part->children, numbers[i]);
        else
            part = NULL;
    }
    return part;
}

const char *
mime_param_get(const struct mime_param *p, const char *name)
{
    for (; p != NULL; p = p->next)
        if (strcasecmp(p->name, name) == 0)
            return p->value;
    return NULL;
}
