/*
 * The Content-* fields of one header block (RFC 2045, RFC 2183, RFC 3282, RFC 2557).
 *
 * What can't be understood counts as absent: a Content-Type without a subtype gives text/plain
 * (RFC 2045 5.2).
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "format/header.h"
#include "format/mime_lex.h"
#include "format/mime_walk.h"
#include "format/rfc2231.h"

#define LANGUAGES_MAX 64

/* RFC 2045 5.2 and, inside a digest, RFC 2046 5.1.5. */
static void
set_default_type(struct mime_part *part, struct arena *arena)
{
    if (part->parent != NULL && part->parent->is_multipart &&
        strcasecmp(part->parent->subtype, "digest") == 0) {
        part->type = "MESSAGE";
        part->subtype = "RFC822";
        return;
    }
    part->type = "TEXT";
    part->subtype = "PLAIN";
    part->params = arena_calloc(arena, 1, sizeof *part->params);
    part->params->name = "CHARSET";
    part->params->value = "US-ASCII";
}

static void
read_type(struct mime_part *part, const struct header_field *f,
          const struct mime_limits *limits, struct arena *arena)
{
    struct lexer lx = {f->value, f->value + f->value_len};
    const char *type, *subtype;
    size_t type_len, subtype_len;

    lex_skip(&lx, NULL);
    type_len = lex_token(&lx, &type);
    lex_skip(&lx, NULL);
    if (type_len == 0 || lx.p == lx.end || *lx.p != '/')
        return;
    lx.p++;
    lex_skip(&lx, NULL);
    subtype_len = lex_token(&lx, &subtype);
    if (subtype_len == 0)
        return;
    part->type = arena_memdup(arena, type, type_len);
    part->subtype = arena_memdup(arena, subtype, subtype_len);
    part->params = rfc2231_read(&lx, limits->max_parameter_segments, arena);
}

static void
read_encoding(struct mime_part *part, const struct header_field *f, struct arena *arena)
{
    static const struct {
        const char *name;
        enum mime_encoding encoding;
    } known[] = {{"7BIT", ENC_7BIT},
                 {"8BIT", ENC_8BIT},
                 {"BINARY", ENC_BINARY},
                 {"QUOTED-PRINTABLE", ENC_QP},
                 {"BASE64", ENC_BASE64}};
    struct lexer lx = {f->value, f->value + f->value_len};
    const char *name;
    char *upper;
    size_t len, i;

    lex_skip(&lx, NULL);
    len = lex_token(&lx, &name);
    if (len == 0)
        return;
    for (i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == len && strncasecmp(known[i].name, name, len) == 0) {
            part->encoding = known[i].encoding;
            part->encoding_name = known[i].name;
            return;
        }
    }
    upper = arena_memdup(arena, name, len);
    for (i = 0; i < len; i++)
        upper[i] = (char)toupper((unsigned char)upper[i]);
    part->encoding = ENC_OTHER;
    part->encoding_name = upper;
}

static void
read_disposition(struct mime_part *part, const struct header_field *f,
                 const struct mime_limits *limits, struct arena *arena)
{
    struct lexer lx = {f->value, f->value + f->value_len};
    const char *name;
    size_t len;

    lex_skip(&lx, NULL);
    len = lex_token(&lx, &name);
    if (len == 0)
        return;
    part->disposition = arena_memdup(arena, name, len);
    part->disposition_params = rfc2231_read(&lx, limits->max_parameter_segments, arena);
}

static void
read_languages(struct mime_part *part, const struct header_field *f, struct arena *arena)
{
    struct lexer lx = {f->value, f->value + f->value_len};
    const char *found[LANGUAGES_MAX], *name, **list;
    size_t n = 0, len;

    while (lx.p < lx.end && n < LANGUAGES_MAX) {
        lex_skip(&lx, NULL);
        len = lex_token(&lx, &name);
        if (len > 0)
            found[n++] = arena_memdup(arena, name, len);
        else if (lx.p < lx.end)
            lx.p++;
    }
    if (n == 0)
        return;
    list = arena_calloc(arena, n, sizeof *list);
    memcpy(list, found, n * sizeof *list);
    part->languages = list;
    part->languages_count = n;
}

static void
read_text(const char **to, const struct header_field *f, struct arena *arena)
{
    if (*to == NULL)
        *to = header_unfold(arena, f->value, f->value_len, NULL);
}

/* Fields that only BODYSTRUCTURE shows. */
static void
read_other(struct mime_part *part, const struct header_field *f,
           const struct mime_limits *limits, struct arena *arena)
{
    if (header_name_is(f, "Content-ID"))
        read_text(&part->id, f, arena);
    else if (header_name_is(f, "Content-Description"))
        read_text(&part->description, f, arena);
    else if (header_name_is(f, "Content-MD5"))
        read_text(&part->md5, f, arena);
    else if (header_name_is(f, "Content-Location"))
        read_text(&part->location, f, arena);
    else if (part->disposition == NULL && header_name_is(f, "Content-Disposition"))
        read_disposition(part, f, limits, arena);
    else if (part->languages == NULL && header_name_is(f, "Content-Language"))
        read_languages(part, f, arena);
}

void
mime_read_field(struct mime_part *part, const struct header_field *f,
                const struct mime_limits *limits, struct arena *arena, bool full)
{
    if (f->name_len < 9 || strncasecmp(f->name, "Content-", 8) != 0)
        return;
    if (header_name_is(f, "Content-Type")) {
        if (part->type == NULL)
            read_type(part, f, limits, arena);
    } else if (header_name_is(f, "Content-Transfer-Encoding")) {
        if (part->encoding_name == NULL)
            read_encoding(part, f, arena);
    } else if (full) {
        read_other(part, f, limits, arena);
    }
}

void
mime_read_end(struct mime_part *part, struct arena *arena)
{
    if (part->type == NULL)
        set_default_type(part, arena);
    if (part->encoding_name == NULL)
        part->encoding_name = "7BIT";
}
