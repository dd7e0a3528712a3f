/*
 * Encoded words in header values (RFC 2047, with the language suffix of RFC 2231 5).
 *
 * Lenient where mailers are wrong: words inside other text, longer than 75 octets, with blanks
 * in Q text, split inside a character (words of one charset that follow each other are joined
 * before their charset is undone).
 */
#include <string.h>
#include <strings.h>

#include "format/charset.h"
#include "format/digits.h"
#include "format/header.h"

#define WORD_TEXT_MAX    1024 /* octets of text in an encoded word (RFC 2047 2 says 75 in all) */
#define CHARSET_NAME_MAX 64

struct word {
    const char *charset, *text;
    size_t charset_len, text_len, total;
    bool base64;
};

/* Is there a word at s? */
static bool
word_parse(const char *s, size_t len, struct word *w)
{
    const char *end = s + len, *p = s + 2, *q, *star;
    size_t max;

    if (len < 8 || s[0] != '=' || s[1] != '?')
        return false;
    max = (size_t)(end - p) < CHARSET_NAME_MAX ? (size_t)(end - p) : CHARSET_NAME_MAX;
    q = memchr(p, '?', max);
    if (q == NULL || q == p || end - q < 5 || q[2] != '?')
        return false;
    if (strchr("bBqQ", q[1]) == NULL || q[1] == '\0')
        return false;
    star = memchr(p, '*', (size_t)(q - p));
    w->charset = p;
    w->charset_len = (size_t)((star != NULL ? star : q) - p);
    w->base64 = q[1] == 'b' || q[1] == 'B';
    w->text = p = q + 3;
    max = (size_t)(end - p) < WORD_TEXT_MAX ? (size_t)(end - p) : WORD_TEXT_MAX;
    q = memmem(p, max, "?=", 2);
    if (q == NULL)
        return false;
    w->text_len = (size_t)(q - p);
    w->total = (size_t)(q + 2 - s);
    return true;
}

static void
decode_q(const char *s, size_t len, struct buf *out)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (s[i] == '_')
            buf_addc(out, ' ');
        else if (s[i] == '=' && i + 2 < len && hex_value(s[i + 1]) >= 0 &&
                 hex_value(s[i + 2]) >= 0) {
            buf_addc(out, (char)(hex_value(s[i + 1]) * 16 + hex_value(s[i + 2])));
            i += 2;
        } else if (s[i] != '\r' && s[i] != '\n')
            buf_addc(out, s[i]);
    }
}

/* Lenient: skips what isn't in the alphabet, needs no padding. */
static void
decode_b(const char *s, size_t len, struct buf *out)
{
    unsigned bits = 0, have = 0;
    size_t i;
    int v;

    for (i = 0; i < len && s[i] != '='; i++) {
        v = base64_value(s[i], '/');
        if (v < 0)
            continue;
        bits = (bits << 6 | (unsigned)v) & 0xffffu;
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf_addc(out, (char)(bits >> have & 0xffu));
        }
    }
}

/* Words of one charset, their bytes together, not yet converted. */
struct pending {
    const char *charset;
    size_t charset_len;
    struct buf bytes;
};

static void
pending_flush(struct pending *p, struct buf *utf8)
{
    struct charset *cs;
    struct buf text;

    if (p->bytes.len == 0)
        return;
    cs = charset_get(p->charset, p->charset_len);
    if (charset_is_plain(cs)) {
        utf8_add_valid(p->bytes.data, p->bytes.len, utf8);
    } else {
        buf_init(&text, p->bytes.max * 8);
        charset_reset(cs);
        charset_convert(cs, p->bytes.data, p->bytes.len, true, &text);
        utf8_add_valid(buf_str(&text), text.len, utf8);
        buf_free(&text);
    }
    buf_reset(&p->bytes);
}

static void
pending_add(struct pending *p, const struct word *w, struct buf *utf8)
{
    if (p->bytes.len > 0 && (p->charset_len != w->charset_len ||
                             strncasecmp(p->charset, w->charset, w->charset_len) != 0))
        pending_flush(p, utf8);
    p->charset = w->charset;
    p->charset_len = w->charset_len;
    if (w->base64)
        decode_b(w->text, w->text_len, &p->bytes);
    else
        decode_q(w->text, w->text_len, &p->bytes);
}

/* Text outside of words: line ends go, and the tab of a fold is a blank. */
static void
add_plain(const char *s, size_t len, struct buf *utf8)
{
    size_t i = 0, start;
    bool folded = false;

    while (i < len) {
        if (s[i] == '\r' || s[i] == '\n' || s[i] == '\0') {
            folded = true;
            i++;
            continue;
        }
        if (folded && s[i] == '\t') {
            buf_addc(utf8, ' ');
            i++;
        }
        folded = false;
        for (start = i; i < len && s[i] != '\r' && s[i] != '\n' && s[i] != '\0';)
            i++;
        utf8_add_valid(s + start, i - start, utf8);
    }
}

static bool
only_blanks(const char *s, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r' && s[i] != '\n')
            return false;
    return true;
}

void
header_decode(const char *value, size_t len, struct buf *utf8)
{
    struct pending pending = {NULL, 0, BUF_INIT(len + 16)};
    struct word w;
    size_t from = 0, i = 0; /* value[from..i) is text not written yet */
    const char *p;
    bool after_word = false;

    while (len > 0 && only_blanks(value, 1)) {
        value++;
        len--;
    }
    while (len > 0 && only_blanks(value + len - 1, 1))
        len--;
    while (i < len) {
        p = memmem(value + i, len - i, "=?", 2);
        if (p == NULL)
            break;
        i = (size_t)(p - value);
        if (!word_parse(p, len - i, &w)) {
            i += 2;
            continue;
        }
        /* blanks between two words aren't shown (RFC 2047 6.2) */
        if (!after_word || !only_blanks(value + from, i - from)) {
            pending_flush(&pending, utf8);
            add_plain(value + from, i - from, utf8);
        }
        pending_add(&pending, &w, utf8);
        after_word = true;
        i += w.total;
        from = i;
    }
    pending_flush(&pending, utf8);
    add_plain(value + from, len - from, utf8);
    buf_free(&pending.bytes);
}
