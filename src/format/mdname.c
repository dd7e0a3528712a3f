/*
 * Maildir file names; see mdname.h. The Maildir and Maildir++ conventions:
 * `unique[,S=size][,W=wiresize]...[:2,letters[,more]]`.
 *
 * What we don't understand is kept: a name taken apart and put together again with the same
 * flags is the same message to every other program, with every field and letter it had.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sys.h"
#include "format/mdname.h"

#define HOST_MAX 64 /* octets of the host's name in a file name, as encoded */

static const struct {
    char letter;
    unsigned flag;
} letters[] = {
    {'D', MSG_DRAFT},    {'F', MSG_FLAGGED}, {'P', MSG_PASSED},
    {'R', MSG_ANSWERED}, {'S', MSG_SEEN},    {'T', MSG_DELETED},
};

/* What mdname_new() keeps for the life of the process: the host's name, asked for once, and a
   counter that makes names of one microsecond differ. */
static struct {
    char host[HOST_MAX + 1];
    uint64_t counter;
} process;

/* The number behind ",S=" or ",W=" in a base name; the first that is well-formed. */
static uint64_t
read_size(const char *base, size_t len, char field)
{
    uint64_t n;
    size_t i, j;

    for (i = 0; i + 3 < len; i++) {
        if (base[i] != ',' || base[i + 1] != field || base[i + 2] != '=')
            continue;
        n = 0;
        for (j = i + 3; j < len && base[j] >= '0' && base[j] <= '9'; j++) {
            if (n > (UINT64_MAX - 9) / 10)
                return MDNAME_SIZE_UNKNOWN;
            n = n * 10 + (uint64_t)(base[j] - '0');
        }
        if (j > i + 3 && (j == len || base[j] == ','))
            return n;
    }
    return MDNAME_SIZE_UNKNOWN;
}

static unsigned
flag_of(char c)
{
    size_t i;

    for (i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        if (letters[i].letter == c)
            return letters[i].flag;
    }
    return 0;
}

/* Adds c to a sorted string of distinct octets that has room. */
static void
add_sorted(char *s, char c)
{
    size_t i = 0, n = strlen(s);

    while (i < n && (unsigned char)s[i] < (unsigned char)c)
        i++;
    if (s[i] == c)
        return;
    memmove(s + i + 1, s + i, n - i + 1);
    s[i] = c;
}

/* The octets behind ":2,". */
static void
parse_info(const char *info, struct mdname *out)
{
    unsigned flag;
    size_t n;

    for (; *info != '\0' && *info != ','; info++) {
        flag = flag_of(*info);
        out->flags |= flag;
        if (*info >= 'a' && *info <= 'z')
            out->keywords |= UINT32_C(1) << (*info - 'a');
        else if (flag == 0)
            add_sorted(out->other, *info);
    }
    n = strlen(out->other);
    memcpy(out->other + n, info, strlen(info) + 1); /* never longer than the name */
}

int
mdname_parse(const char *name, struct mdname *out)
{
    size_t len = strnlen(name, MDNAME_MAX + 1);
    const char *info;

    if (len == 0 || len > MDNAME_MAX || name[0] == '.' || memchr(name, '\n', len) != NULL ||
        memchr(name, '/', len) != NULL)
        return ERR_SYNTAX;
    info = strstr(name, ":2,");
    out->base = name;
    out->base_len = info != NULL ? (size_t)(info - name) : len;
    if (out->base_len == 0)
        return ERR_SYNTAX;
    out->size = read_size(name, out->base_len, 'S');
    out->crlf_size = read_size(name, out->base_len, 'W');
    /* each octet may be a line end that gets a CR; what can't be is no size */
    if (out->size != MDNAME_SIZE_UNKNOWN && out->crlf_size != MDNAME_SIZE_UNKNOWN &&
        (out->crlf_size < out->size || out->crlf_size - out->size > out->size))
        out->crlf_size = MDNAME_SIZE_UNKNOWN;
    out->flags = 0;
    out->keywords = 0;
    out->has_info = info != NULL;
    out->other[0] = '\0';
    if (info != NULL)
        parse_info(info + 3, out);
    return 0;
}

/* The info's letters in order: known ones, keywords and unknown ones together. */
static void
put_letters(unsigned flags, uint32_t keywords, const char *other, size_t other_len, char *out)
{
    size_t i;

    out[0] = '\0';
    for (i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        if (flags & letters[i].flag)
            add_sorted(out, letters[i].letter);
    }
    for (i = 0; i < other_len; i++)
        add_sorted(out, other[i]);
    for (i = 0; i < 26; i++) {
        if (keywords & UINT32_C(1) << i)
            add_sorted(out, (char)('a' + i));
    }
}

int
mdname_build(const char *base, size_t base_len, unsigned flags, uint32_t keywords,
             const char *other, char *out)
{
    char set[MDNAME_MAX + 64];
    const char *tail;
    size_t other_len, set_len, tail_len, len;

    if (other == NULL)
        other = "";
    other_len = strcspn(other, ",");
    if (base_len > MDNAME_MAX || other_len > MDNAME_MAX)
        return ERR_LIMIT;
    tail = other + other_len;
    tail_len = strlen(tail);
    put_letters(flags, keywords, other, other_len, set);
    set_len = strlen(set);
    len = base_len + 3 + set_len;
    if (tail_len > MDNAME_MAX || len + tail_len > MDNAME_MAX)
        return ERR_LIMIT;
    memmove(out, base, base_len); /* base may lie in out */
    memcpy(out + base_len, ":2,", 3);
    memcpy(out + base_len + 3, set, set_len);
    memcpy(out + len, tail, tail_len + 1);
    return 0;
}

/* The host's name with what would be read as part of the syntax written in octal. */
static void
find_host(void)
{
    char host[256];
    size_t i, n = 0;

    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    host[sizeof host - 1] = '\0';
    for (i = 0; host[i] != '\0' && n + 4 <= HOST_MAX; i++) {
        unsigned char c = (unsigned char)host[i];

        if (c == '/' || c == ':' || c == ',' || c <= ' ' || c >= 0x7f)
            n += (size_t)snprintf(process.host + n, sizeof process.host - n, "\\%03o", c);
        else
            process.host[n++] = host[i];
    }
    process.host[n] = '\0';
    if (n == 0)
        snprintf(process.host, sizeof process.host, "localhost");
}

int
mdname_new(uint64_t size, uint64_t crlf_size, char *out)
{
    int64_t now = sys_now_us();
    uint64_t chance;
    size_t left = MDNAME_MAX + 1;
    int n;

    if (process.host[0] == '\0')
        find_host();
    sys_random(&chance, sizeof chance);
    n = snprintf(out, left, "%lld.M%lldP%ldQ%llu_%016llx.%s", (long long)(now / 1000000),
                 (long long)(now % 1000000), (long)getpid(),
                 (unsigned long long)++process.counter, (unsigned long long)chance,
                 process.host);
    if (n > 0 && (size_t)n < left && size != MDNAME_SIZE_UNKNOWN)
        n += snprintf(out + n, left - (size_t)n, ",S=%llu", (unsigned long long)size);
    if (n > 0 && (size_t)n < left && crlf_size != MDNAME_SIZE_UNKNOWN)
        n += snprintf(out + n, left - (size_t)n, ",W=%llu", (unsigned long long)crlf_size);
    return n > 0 && (size_t)n < left ? 0 : ERR_LIMIT;
}

void
mdname_mark(char out[MDNAME_MARK_SIZE])
{
    if (process.host[0] == '\0')
        find_host();
    snprintf(out, MDNAME_MARK_SIZE, "%lld %ld %llu %s", (long long)(sys_now_us() / 1000000),
             (long)getpid(), (unsigned long long)process.counter, process.host);
}

bool
mdname_is_after(const char *name, const char *mark)
{
    long long then, seconds, micros;
    unsigned long long last, counter;
    long by, pid;
    int rest = 0, host = 0;
    char chance[17];
    size_t len;

    if (sscanf(mark, "%18lld %18ld %18llu %n", &then, &by, &last, &host) != 3 || host == 0 ||
        sscanf(name, "%18lld.M%18lldP%18ldQ%18llu_%16[0-9a-f].%n", &seconds, &micros, &pid,
               &counter, chance, &rest) != 5 ||
        rest == 0)
        return false;
    len = strlen(mark + host);
    return seconds >= then && pid == by && counter > last &&
           strncmp(name + rest, mark + host, len) == 0 &&
           (name[rest + (int)len] == '\0' || name[rest + (int)len] == ',' ||
            name[rest + (int)len] == ':');
}
