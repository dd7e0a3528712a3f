/*
 * BODY and BODYSTRUCTURE (RFC 3501 7.4.2, grammar in 9: body).
 *
 * The recursion is as deep as the tree, which mime_limits.max_depth bounds.
 */
#include <string.h>
#include <strings.h>

#include "format/imapparse.h"
#include "format/mime.h"

static void
write_string(const char *s, struct buf *out)
{
    imap_write_string(out, s, strlen(s));
}

static void
write_nstring(const char *s, struct buf *out)
{
    imap_write_nstring(out, s, s == NULL ? 0 : strlen(s));
}

/* body-fld-param */
static void
write_params(const struct mime_param *p, struct buf *out)
{
    char before = '(';

    if (p == NULL) {
        buf_adds(out, "NIL");
        return;
    }
    for (; p != NULL; p = p->next) {
        buf_addc(out, before);
        write_string(p->name, out);
        buf_addc(out, ' ');
        write_string(p->value, out);
        before = ' ';
    }
    buf_addc(out, ')');
}

/* body-fld-dsp body-fld-lang body-fld-loc: the end of both extended forms. */
static void
write_extension(const struct mime_part *part, struct buf *out)
{
    size_t i;

    buf_addc(out, ' ');
    if (part->disposition == NULL) {
        buf_adds(out, "NIL");
    } else {
        buf_addc(out, '(');
        write_string(part->disposition, out);
        buf_addc(out, ' ');
        write_params(part->disposition_params, out);
        buf_addc(out, ')');
    }
    buf_addc(out, ' ');
    if (part->languages_count == 0) {
        buf_adds(out, "NIL");
    } else {
        for (i = 0; i < part->languages_count; i++) {
            buf_addc(out, i == 0 ? '(' : ' ');
            write_string(part->languages[i], out);
        }
        buf_addc(out, ')');
    }
    buf_addc(out, ' ');
    write_nstring(part->location, out);
}

static void
write_multipart(const struct mime_part *part, bool extended, struct buf *out)
{
    const struct mime_part *child;

    for (child = part->children; child != NULL; child = child->next)
        mime_write_structure(child, extended, out);
    buf_addc(out, ' ');
    write_string(part->subtype, out);
    if (!extended)
        return;
    buf_addc(out, ' ');
    write_params(part->params, out);
    write_extension(part, out);
}

static void
write_leaf(const struct mime_part *part, bool extended, struct buf *out)
{
    write_string(part->type, out);
    buf_addc(out, ' ');
    write_string(part->subtype, out);
    buf_addc(out, ' ');
    write_params(part->params, out);
    buf_addc(out, ' ');
    write_nstring(part->id, out);
    buf_addc(out, ' ');
    write_nstring(part->description, out);
    buf_addc(out, ' ');
    write_string(part->encoding_name, out);
    buf_addc(out, ' ');
    buf_addu(out, part->body_crlf);
    if (part->is_message) {
        buf_addc(out, ' ');
        buf_add(out, part->children->envelope, part->children->envelope_len);
        buf_addc(out, ' ');
        mime_write_structure(part->children, extended, out);
    }
    if (part->is_message || strcasecmp(part->type, "text") == 0) {
        buf_addc(out, ' ');
        buf_addu(out, part->body_lines);
    }
    if (!extended)
        return;
    buf_addc(out, ' ');
    write_nstring(part->md5, out);
    write_extension(part, out);
}

void
mime_write_structure(const struct mime_part *root, bool extended, struct buf *out)
{
    buf_addc(out, '(');
    if (root->is_multipart)
        write_multipart(root, extended, out);
    else
        write_leaf(root, extended, out);
    buf_addc(out, ')');
}
