/*
 * Values that need more work when they're used: lists, accounts, paths with %u, POP3 unique
 * ids.
 */
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"

#define PATH_OCTETS 4096 /* of an expanded path */
#define UIDL_MAX    70   /* RFC 1939 7 */

const char *
conf_list_next(const char **pos, size_t *len)
{
    const char *start = *pos + strspn(*pos, ", \t"), *end;
    size_t n;

    if (*start == '\0') {
        *pos = start;
        return NULL;
    }
    end = start + strcspn(start, ",");
    *pos = end;
    for (n = (size_t)(end - start); start[n - 1] == ' ' || start[n - 1] == '\t';)
        n--;
    *len = n;
    return start;
}

bool
conf_list_has(const char *list, const char *word)
{
    size_t len, n = strlen(word);
    const char *item;

    while ((item = conf_list_next(&list, &len)) != NULL)
        if (len == n && strncasecmp(item, word, n) == 0)
            return true;
    return false;
}

/* Decimal digits up to `stop`; the highest value is kept out: it means "no id" to the kernel.
 */
static bool
parse_id(const char *s, char stop, unsigned long *out, const char **end)
{
    unsigned long n = 0;

    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        n = n * 10 + (unsigned long)(*s - '0');
        if (n >= UINT32_MAX)
            return false;
    }
    if (*s != stop && *s != '\0')
        return false;
    *out = n;
    *end = s;
    return true;
}

int
conf_user_ids(const char *value, uid_t *uid, gid_t *gid)
{
    unsigned long u, g;
    const char *end;
    struct passwd *pw;

    if (!parse_id(value, ':', &u, &end)) {
        pw = getpwnam(value);
        if (pw == NULL)
            return ERR_NOENT;
        *uid = pw->pw_uid;
        *gid = pw->pw_gid;
        return 0;
    }
    if (*end == ':') {
        if (!parse_id(end + 1, '\0', &g, &end))
            return ERR_NOENT;
    } else {
        pw = getpwuid((uid_t)u);
        g = pw != NULL ? pw->pw_gid : u;
    }
    *uid = (uid_t)u;
    *gid = (gid_t)g;
    return 0;
}

/* One component of a path: not empty, not hidden (so neither . nor ..), no slash. */
static bool
is_component(const char *s, size_t len)
{
    return len > 0 && s[0] != '.' && memchr(s, '/', len) == NULL;
}

static int
add_component(struct buf *path, char letter, const char *s, size_t len, const char *user)
{
    if (!is_component(s, len)) {
        log_error("no path for user %.80s: %%%c is \"%.*s\"%s", user, letter,
                  (int)(len < 80 ? len : 80), s,
                  letter == 'd' && len == 0 ? " (set username_default_domain)" : "");
        return ERR_CANNOT;
    }
    buf_add(path, s, len);
    return 0;
}

static int
add_home(struct buf *path, const char *home, const char *user)
{
    if (home == NULL || home[0] != '/') {
        log_error("no path for user %.80s: %%h is used, and the users file has no home "
                  "directory",
                  user);
        return ERR_CANNOT;
    }
    buf_adds(path, home);
    return 0;
}

static int
expand(const char *pattern, const char *user, const char *home, struct buf *path)
{
    const char *at = strrchr(user, '@');
    size_t local = at != NULL ? (size_t)(at - user) : strlen(user);
    int result = 0;

    for (const char *p = pattern; *p != '\0' && result == 0; p++) {
        if (*p != '%') {
            buf_addc(path, *p);
            continue;
        }
        switch (*++p) {
        case 'u':
            result = add_component(path, 'u', user, strlen(user), user);
            break;
        case 'n':
            result = add_component(path, 'n', user, local, user);
            break;
        case 'd':
            at = at != NULL ? at : "@";
            result = add_component(path, 'd', at + 1, strlen(at + 1), user);
            break;
        case 'h':
            result = add_home(path, home, user);
            break;
        case '%':
            buf_addc(path, '%');
            break;
        default:
            log_error("unknown %%%.1s in \"%.200s\"", p, pattern);
            return ERR_CANNOT;
        }
    }
    return result;
}

int
conf_expand_path(const char *pattern, const char *user, const char *home, char **out)
{
    struct buf path = BUF_INIT(PATH_OCTETS);
    int result = expand(pattern, user, home, &path);

    *out = NULL;
    if (result == 0 && !buf_ok(&path)) {
        log_error("no path for user %.80s: it's longer than %d octets", user, PATH_OCTETS);
        result = ERR_CANNOT;
    }
    if (result == 0)
        *out = mem_strdup(buf_str(&path));
    buf_free(&path);
    return result;
}

/* One % with what follows it. */
struct uidl_field {
    char letter;    /* u, v, % */
    unsigned width; /* 0 = as long as the number */
    bool hex;
};

/* Reads behind a %; returns the end, or NULL when it's none. */
static const char *
uidl_field(const char *p, struct uidl_field *f)
{
    f->width = 0;
    if (*p == '0')
        p++;
    for (unsigned digits = 0; *p >= '0' && *p <= '9'; p++, digits++) {
        if (digits == 2)
            return NULL;
        f->width = f->width * 10 + (unsigned)(*p - '0');
    }
    f->hex = *p == 'x' || *p == 'X';
    if (f->hex)
        p++;
    f->letter = *p;
    if (*p != 'u' && *p != 'v' && *p != '%')
        return NULL;
    return p + 1;
}

int
conf_uidl_check(const char *format, const char **why)
{
    const char *p = format;
    struct uidl_field f;
    bool uid = false;
    size_t len = 0, longest;

    while (*p != '\0') {
        if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e) {
            *why = "unique ids are made of printable ASCII characters without blanks";
            return ERR_CONFIG;
        }
        if (*p != '%') {
            p++;
            len++;
            continue;
        }
        p = uidl_field(p + 1, &f);
        if (p == NULL) {
            *why = "write %u for the UID, %v for the UIDVALIDITY, %% for a percent sign, "
                   "with a width and X for hexadecimal in between, as in %08Xu%08Xv";
            return ERR_CONFIG;
        }
        longest = f.letter == '%' ? 1 : f.hex ? 8 : 10;
        len += f.letter != '%' && f.width > longest ? f.width : longest;
        uid = uid || f.letter == 'u';
    }
    if (!uid) {
        *why = "all messages would have the same unique id: put %u into it";
        return ERR_CONFIG;
    }
    if (len > UIDL_MAX) {
        *why = "unique ids could be longer than 70 characters (RFC 1939 7): make it shorter";
        return ERR_CONFIG;
    }
    return 0;
}

void
conf_uidl_format(const char *format, uint32_t uid, uint32_t uidvalidity,
                 char out[CONF_UIDL_SIZE])
{
    const char *p = format;
    struct uidl_field f;
    size_t len = 0;
    uint32_t n;
    int added;

    while (p != NULL && *p != '\0' && len < UIDL_MAX) {
        if (*p != '%') {
            out[len++] = *p++;
            continue;
        }
        p = uidl_field(p + 1, &f);
        if (p == NULL || f.letter == '%') {
            out[len++] = '%';
            continue;
        }
        n = f.letter == 'u' ? uid : uidvalidity;
        if (f.hex)
            added = snprintf(out + len, CONF_UIDL_SIZE - len, "%0*x", (int)f.width, n);
        else
            added = snprintf(out + len, CONF_UIDL_SIZE - len, "%0*u", (int)f.width, n);
        if (added < 0 || (size_t)added > UIDL_MAX - len)
            break;
        len += (size_t)added;
    }
    out[len] = '\0';
}
