/*
 * Character sets by iconv(3); see charset.h.
 *
 * The process-wide state is a cache of the last few converters: iconv_open() loads a module
 * from disk, which is far too slow to be done for every message of a search. It holds no data
 * of any message or session.
 *
 * Most text in most charsets is ASCII. A converter that maps ASCII to itself (found out by
 * trying) is bypassed for chunks without 8-bit octets.
 */
#include <ctype.h>
#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "format/charset.h"
#include "format/mimetext.h"

#define NAME_MAX_LEN 63 /* octets of a charset's name */
#define CACHE_SIZE   8
#define REPLACEMENT  "\xef\xbf\xbd" /* U+FFFD */

struct charset {
    char name[NAME_MAX_LEN + 1]; /* "" = unused */
    iconv_t cd;                  /* (iconv_t)-1: bytes are taken as they are */
    bool known;
    bool ascii_same; /* ASCII octets mean themselves, outside of a longer character */
    bool used;       /* since the last time the clock hand came by */
};

static struct {
    struct charset entries[CACHE_SIZE];
    struct charset plain; /* for names that can't be charsets */
    unsigned hand;
} cache;

static const char *const plain_names[] = {"utf-8", "utf8", "us-ascii", "ascii",
                                          "ansi_x3.4-1968"};

/* "//" would reach iconv's options, and nothing but these characters is in a charset's name. */
static bool
name_ok(const char *name, size_t len)
{
    size_t i;

    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (i = 0; i < len; i++)
        if (name[i] == '\0' ||
            (!isalnum((unsigned char)name[i]) && strchr("-_.:+()", name[i]) == NULL))
            return false;
    return true;
}

/* Does this text come out as it went in? */
static bool
maps_to_itself(iconv_t cd, const char *text, size_t len)
{
    char in[128], out[512], *from = in, *to = out;
    size_t left = len, room = sizeof out;

    memcpy(in, text, len);
    iconv(cd, NULL, NULL, NULL, NULL);
    if (iconv(cd, &from, &left, &to, &room) == (size_t)-1)
        return false;
    return (size_t)(to - out) == len && memcmp(text, out, len) == 0;
}

/* ASCII means ASCII, and can't switch to something else (ISO 2022). */
static bool
maps_ascii(iconv_t cd)
{
    static const char escapes[] = "\x1b$B0!\x1b(B\x1b$)C\x0e!!\x0f";
    char all[127];
    size_t i;

    for (i = 0; i < sizeof all; i++)
        all[i] = (char)(i + 1);
    return maps_to_itself(cd, all, sizeof all) &&
           maps_to_itself(cd, escapes, sizeof escapes - 1);
}

static void
entry_open(struct charset *cs, const char *name, size_t len)
{
    size_t i;

    memcpy(cs->name, name, len);
    cs->name[len] = '\0';
    cs->cd = (iconv_t)-1;
    cs->known = cs->ascii_same = true;
    for (i = 0; i < sizeof plain_names / sizeof plain_names[0]; i++)
        if (strcasecmp(cs->name, plain_names[i]) == 0)
            return;
    cs->cd = iconv_open("UTF-8", cs->name);
    cs->known = cs->cd != (iconv_t)-1;
    if (cs->known)
        cs->ascii_same = maps_ascii(cs->cd);
}

/* Second-chance replacement: good enough for a handful. */
static struct charset *
entry_victim(void)
{
    struct charset *cs;

    for (;;) {
        cs = &cache.entries[cache.hand];
        cache.hand = (cache.hand + 1) % CACHE_SIZE;
        if (!cs->used)
            break;
        cs->used = false;
    }
    if (cs->name[0] != '\0' && cs->cd != (iconv_t)-1)
        iconv_close(cs->cd);
    return cs;
}

struct charset *
charset_get(const char *name, size_t len)
{
    struct charset *cs;
    unsigned i;

    if (!name_ok(name, len)) {
        cache.plain.cd = (iconv_t)-1;
        return &cache.plain;
    }
    for (i = 0; i < CACHE_SIZE; i++) {
        cs = &cache.entries[i];
        if (strncasecmp(cs->name, name, len) == 0 && cs->name[len] == '\0') {
            cs->used = true;
            return cs;
        }
    }
    cs = entry_victim();
    entry_open(cs, name, len);
    cs->used = true;
    return cs;
}

bool
charset_known(const char *name, size_t len)
{
    return charset_get(name, len)->known;
}

bool
charset_is_plain(const struct charset *cs)
{
    return cs->cd == (iconv_t)-1;
}

void
charset_reset(struct charset *cs)
{
    if (cs->cd != (iconv_t)-1)
        iconv(cs->cd, NULL, NULL, NULL, NULL);
}

static bool
all_ascii(const char *s, size_t len)
{
    uint64_t eight;
    size_t i = 0;

    for (; i + 8 <= len; i += 8) {
        memcpy(&eight, s + i, 8);
        if (eight & 0x8080808080808080u)
            return false;
    }
    for (; i < len; i++)
        if ((unsigned char)s[i] >= 0x80)
            return false;
    return true;
}

size_t
charset_convert(struct charset *cs, const char *in, size_t len, bool final, struct buf *out)
{
    char *from, *to, *start;
    size_t left = len, room, got;

    if (cs->cd == (iconv_t)-1 || (cs->ascii_same && all_ascii(in, len))) {
        buf_add(out, in, len);
        return len;
    }
    memcpy(&from, &in, sizeof from); /* iconv() doesn't write there, whatever its type says */
    while (left > 0) {
        room = left * 2 + 16;
        start = to = buf_room(out, room);
        if (to == NULL)
            return len;
        got = iconv(cs->cd, &from, &left, &to, &room);
        buf_added(out, (size_t)(to - start));
        if (got != (size_t)-1 || errno == E2BIG)
            continue;
        if (errno == EINVAL && !final)
            break;
        buf_adds(out, REPLACEMENT);
        from++;
        left--;
    }
    return len - left;
}

int
charset_to_utf8(const char *charset, const char *in, size_t len, struct buf *out)
{
    struct charset *cs = charset_get(charset, strlen(charset));
    char *from, *to, *start;
    size_t left = len, room, got;

    if (!cs->known)
        return ERR_UNSUPPORTED;
    if (cs->cd == (iconv_t)-1) {
        buf_add(out, in, len);
        return 0;
    }
    charset_reset(cs);
    memcpy(&from, &in, sizeof from);
    while (left > 0) {
        room = left * 2 + 16;
        start = to = buf_room(out, room);
        if (to == NULL)
            return ERR_LIMIT;
        got = iconv(cs->cd, &from, &left, &to, &room);
        buf_added(out, (size_t)(to - start));
        if (got == (size_t)-1 && errno != E2BIG)
            return ERR_SYNTAX;
    }
    return buf_ok(out) ? 0 : ERR_LIMIT;
}

/* RFC 3629 4: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t
utf8_length(const char *s, size_t len, bool *incomplete)
{
    const unsigned char *u = (const unsigned char *)s;
    unsigned char low = 0x80, high = 0xbf;
    size_t need, i;

    if (incomplete != NULL)
        *incomplete = false;
    if (len == 0)
        return 0;
    if (u[0] < 0x80)
        return 1;
    if (u[0] < 0xc2 || u[0] > 0xf4)
        return 0;
    need = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    if (u[0] == 0xe0)
        low = 0xa0;
    else if (u[0] == 0xed)
        high = 0x9f;
    else if (u[0] == 0xf0)
        low = 0x90;
    else if (u[0] == 0xf4)
        high = 0x8f;
    for (i = 1; i < need; i++) {
        if (i == len) {
            if (incomplete != NULL)
                *incomplete = true;
            return 0;
        }
        if (u[i] < low || u[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return need;
}

void
utf8_add_valid(const char *s, size_t len, struct buf *out)
{
    size_t i = 0, start = 0, n;

    while (i < len) {
        n = utf8_length(s + i, len - i, NULL);
        if (n > 0) {
            i += n;
            continue;
        }
        buf_add(out, s + start, i - start);
        buf_adds(out, REPLACEMENT);
        start = ++i;
    }
    buf_add(out, s + start, i - start);
}
