/*
 * Password schemes; see password.h and mansio-users(5).
 *
 * Three families: the text itself, one digest over password and salt (from LDAP servers), and
 * crypt(3). Only the last is meant to be slow. Comparisons take the same time whatever the
 * content; a hash that can't be used costs what the scheme of new passwords costs.
 */
#include <crypt.h>
#include <errno.h>
#include <nettle/md5.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/password.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "format/digits.h"
#include "format/sasl.h"

#define HASH_MAX     1024 /* octets of a stored hash */
#define PASSWORD_MAX 1024 /* octets of a password */
#define DIGEST_MAX   SHA512_DIGEST_SIZE

/* Nobody's hash: what an unusable one is verified against. */
#define NOBODY "$y$j9T$wHVqSPc9zDc3fSvhbBE7R/$XvRsxMf4ikLMyYUXPDLs7ROVLLgkNUhmAUOKCh4VZmA"

void
secret_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}

bool
secret_equal(const void *a, const void *b, size_t n)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned char differ = 0;

    for (size_t i = 0; i < n; i++)
        differ |= x[i] ^ y[i];
    return differ == 0;
}

enum digest { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA512 };
static const size_t digest_sizes[] = {MD5_DIGEST_SIZE, SHA1_DIGEST_SIZE, SHA256_DIGEST_SIZE,
                                      SHA512_DIGEST_SIZE};

union digest_ctx {
    struct md5_ctx md5;
    struct sha1_ctx sha1;
    struct sha256_ctx sha256;
    struct sha512_ctx sha512;
};

/* The digest of a and b behind each other. */
static void
digest(enum digest kind, const void *a, size_t la, const void *b, size_t lb,
       uint8_t out[DIGEST_MAX])
{
    union digest_ctx c;

    switch (kind) {
    case DIGEST_MD5:
        md5_init(&c.md5);
        md5_update(&c.md5, la, a);
        md5_update(&c.md5, lb, b);
        md5_digest(&c.md5, MD5_DIGEST_SIZE, out);
        break;
    case DIGEST_SHA1:
        sha1_init(&c.sha1);
        sha1_update(&c.sha1, la, a);
        sha1_update(&c.sha1, lb, b);
        sha1_digest(&c.sha1, SHA1_DIGEST_SIZE, out);
        break;
    case DIGEST_SHA256:
        sha256_init(&c.sha256);
        sha256_update(&c.sha256, la, a);
        sha256_update(&c.sha256, lb, b);
        sha256_digest(&c.sha256, SHA256_DIGEST_SIZE, out);
        break;
    case DIGEST_SHA512:
        sha512_init(&c.sha512);
        sha512_update(&c.sha512, la, a);
        sha512_update(&c.sha512, lb, b);
        sha512_digest(&c.sha512, SHA512_DIGEST_SIZE, out);
        break;
    }
    secret_wipe(&c, sizeof c);
}

enum family { FAMILY_NONE, FAMILY_PLAIN, FAMILY_DIGEST, FAMILY_CRYPT };
enum encoding { ENCODING_DEFAULT, ENCODING_HEX, ENCODING_BASE64 };

struct scheme {
    const char *name;
    enum family family;
    enum digest digest;
    bool salted;
};
static const struct scheme schemes[] = {
    {"PLAIN", FAMILY_PLAIN, 0, false},
    {"CLEARTEXT", FAMILY_PLAIN, 0, false},
    {"CRYPT", FAMILY_CRYPT, 0, false},
    {"SHA512-CRYPT", FAMILY_CRYPT, 0, false},
    {"SHA256-CRYPT", FAMILY_CRYPT, 0, false},
    {"MD5-CRYPT", FAMILY_CRYPT, 0, false},
    {"BLF-CRYPT", FAMILY_CRYPT, 0, false},
    {"YESCRYPT", FAMILY_CRYPT, 0, false},
    {"DES-CRYPT", FAMILY_CRYPT, 0, false},
    {"SHA", FAMILY_DIGEST, DIGEST_SHA1, false},
    {"SHA1", FAMILY_DIGEST, DIGEST_SHA1, false},
    {"SSHA", FAMILY_DIGEST, DIGEST_SHA1, true},
    {"SHA256", FAMILY_DIGEST, DIGEST_SHA256, false},
    {"SSHA256", FAMILY_DIGEST, DIGEST_SHA256, true},
    {"SHA512", FAMILY_DIGEST, DIGEST_SHA512, false},
    {"SSHA512", FAMILY_DIGEST, DIGEST_SHA512, true},
    {"MD5", FAMILY_DIGEST, DIGEST_MD5, false},
    {"PLAIN-MD5", FAMILY_DIGEST, DIGEST_MD5, false},
    {"LDAP-MD5", FAMILY_DIGEST, DIGEST_MD5, false},
    {"SMD5", FAMILY_DIGEST, DIGEST_MD5, true},
};

struct parsed {
    enum family family;
    enum digest digest;
    bool salted;
    enum encoding encoding;
    const char *rest; /* behind the prefix */
};

static bool
parse_encoding(const char *s, size_t len, enum encoding *encoding)
{
    static const struct {
        const char *name;
        enum encoding encoding;
    } endings[] = {
        {".HEX", ENCODING_HEX}, {".B64", ENCODING_BASE64}, {".BASE64", ENCODING_BASE64}};

    *encoding = ENCODING_DEFAULT;
    if (len == 0)
        return true;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (strlen(endings[i].name) == len && strncasecmp(endings[i].name, s, len) == 0) {
            *encoding = endings[i].encoding;
            return true;
        }
    }
    return false;
}

/* A crypt(3) hash: one of libxcrypt's prefixes, or 13 characters of traditional DES. "x", "*",
   "!" and hashes locked by a "!" in front are none. */
static bool
is_crypt_hash(const char *s)
{
    size_t len = strlen(s);

    if (len > HASH_MAX || len < 13)
        return false;
    return s[0] == '$' || s[0] == '_' ||
           (len == 13 &&
            strspn(s, "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") ==
                13);
}

static void
parse_prefix(const char *hash, size_t name_len, struct parsed *p)
{
    const char *name = hash + 1, *dot = memchr(name, '.', name_len);
    size_t len = dot != NULL ? (size_t)(dot - name) : name_len;

    if (!parse_encoding(name + len, name_len - len, &p->encoding))
        return;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strlen(schemes[i].name) != len || strncasecmp(schemes[i].name, name, len) != 0)
            continue;
        p->family = schemes[i].family;
        p->digest = schemes[i].digest;
        p->salted = schemes[i].salted;
        break;
    }
    p->rest = name + name_len + 1;
    /* {MD5}$1$.. is what Dovecot once wrote for {MD5-CRYPT} */
    if (p->family == FAMILY_DIGEST && p->digest == DIGEST_MD5 && !p->salted &&
        strncmp(p->rest, "$1$", 3) == 0)
        p->family = FAMILY_CRYPT;
    if (p->family == FAMILY_CRYPT && p->encoding == ENCODING_DEFAULT && !is_crypt_hash(p->rest))
        p->family = FAMILY_NONE;
}

static struct parsed
parse_hash(const char *hash)
{
    struct parsed p = {.family = FAMILY_NONE, .rest = hash};
    const char *end = hash[0] == '{' ? strchr(hash, '}') : NULL;

    if (strlen(hash) > HASH_MAX)
        return p;
    if (end != NULL)
        parse_prefix(hash, (size_t)(end - hash) - 1, &p);
    else if (is_crypt_hash(hash))
        p.family = FAMILY_CRYPT;
    return p;
}

static bool
hex_decode(const char *s, size_t len, struct buf *out)
{
    if (len % 2 != 0)
        return false;
    for (size_t i = 0; i < len; i += 2) {
        if (hex_value(s[i]) < 0 || hex_value(s[i + 1]) < 0)
            return false;
        buf_addc(out, (char)(hex_value(s[i]) * 16 + hex_value(s[i + 1])));
    }
    return buf_ok(out);
}

static bool
decode(const char *s, enum encoding encoding, struct buf *out)
{
    size_t len = strlen(s);

    if (encoding == ENCODING_HEX)
        return hex_decode(s, len, out);
    return base64_decode(s, len, out) == 0;
}

/* By the digests of both, so that not even the length shows in the time. */
static bool
verify_plain(const char *text, size_t text_len, const char *password, size_t len)
{
    uint8_t a[DIGEST_MAX], b[DIGEST_MAX];
    bool equal;

    digest(DIGEST_SHA256, text, text_len, "", 0, a);
    digest(DIGEST_SHA256, password, len, "", 0, b);
    equal = secret_equal(a, b, SHA256_DIGEST_SIZE);
    secret_wipe(a, sizeof a);
    secret_wipe(b, sizeof b);
    return equal && text_len == len;
}

static bool
verify_digest(const struct parsed *p, const char *stored, size_t stored_len,
              const char *password, size_t len)
{
    uint8_t ours[DIGEST_MAX];
    size_t size = digest_sizes[p->digest];
    bool equal;

    if (p->salted ? stored_len <= size : stored_len != size)
        return false;
    digest(p->digest, password, len, stored + size, stored_len - size, ours);
    equal = secret_equal(ours, stored, size);
    secret_wipe(ours, sizeof ours);
    return equal;
}

static bool
verify_crypt(const char *hash, const char *password, size_t len)
{
    struct crypt_data *data = mem_calloc(1, sizeof *data);
    char phrase[PASSWORD_MAX];
    const char *result;
    bool equal = false;

    memcpy(phrase, password, len);
    phrase[len] = '\0';
    result = crypt_r(phrase, hash, data);
    /* on failure it's NULL or begins with '*', as no stored hash does */
    if (result != NULL && result[0] != '*')
        equal = strlen(result) == strlen(hash) && secret_equal(result, hash, strlen(hash));
    secret_wipe(phrase, sizeof phrase);
    secret_wipe(data, sizeof *data);
    free(data);
    return equal;
}

/* The family's check of decoded text. */
static bool
verify_content(const struct parsed *p, struct buf *content, const char *password, size_t len)
{
    switch (p->family) {
    case FAMILY_PLAIN:
        return verify_plain(buf_str(content), content->len, password, len);
    case FAMILY_DIGEST:
        return verify_digest(p, buf_str(content), content->len, password, len);
    case FAMILY_CRYPT:
        return is_crypt_hash(buf_str(content)) && verify_crypt(buf_str(content), password, len);
    case FAMILY_NONE:
        break;
    }
    return false;
}

/* Does a digest without an explicit encoding look like hex? As in Dovecot: by its length. */
static bool
is_hex_length(const struct parsed *p)
{
    return p->family == FAMILY_DIGEST && !p->salted &&
           strlen(p->rest) == 2 * digest_sizes[p->digest];
}

/* The stored value in octets. False when it isn't in its encoding. */
static bool
stored_content(const struct parsed *p, struct buf *content)
{
    enum encoding encoding = p->encoding;

    if (encoding == ENCODING_DEFAULT) {
        if (p->family != FAMILY_DIGEST) {
            buf_adds(content, p->rest);
            return buf_ok(content);
        }
        encoding = is_hex_length(p) ? ENCODING_HEX : ENCODING_BASE64;
    }
    return decode(p->rest, encoding, content);
}

static bool
verify(const char *hash, const char *password, size_t len)
{
    struct parsed p = parse_hash(hash);
    struct buf content = BUF_INIT(2 * HASH_MAX);
    bool right = false;

    if (p.family == FAMILY_NONE)
        verify_crypt(NOBODY, password, len);
    else if (stored_content(&p, &content))
        right = verify_content(&p, &content, password, len);
    if (content.data != NULL)
        secret_wipe(content.data, content.cap);
    buf_free(&content);
    return right;
}

bool
password_verify(const char *hash, const char *password, size_t len)
{
    bool possible = len > 0 && len < PASSWORD_MAX && memchr(password, '\0', len) == NULL;
    bool right;

    /* an impossible password costs what another one costs */
    right = possible ? verify(hash, password, len) : verify(hash, "-", 1);
    return possible && right;
}

void
password_verify_nobody(const char *like, const char *password, size_t len)
{
    password_verify(like != NULL ? like : "", password, len);
}

bool
password_is_slow(const char *hash)
{
    enum family family = parse_hash(hash).family;

    return family == FAMILY_CRYPT || family == FAMILY_NONE;
}

bool
password_is_usable(const char *hash)
{
    struct parsed p = parse_hash(hash);
    struct buf content = BUF_INIT(2 * HASH_MAX);
    bool usable = p.family != FAMILY_NONE && stored_content(&p, &content) && content.len > 0;

    if (usable && p.family == FAMILY_DIGEST)
        usable = p.salted ? content.len > digest_sizes[p.digest]
                          : content.len == digest_sizes[p.digest];
    if (usable && p.family == FAMILY_CRYPT)
        usable = is_crypt_hash(buf_str(&content));
    if (content.data != NULL)
        secret_wipe(content.data, content.cap);
    buf_free(&content);
    return usable;
}

static char *
hash_plain(const char *password)
{
    struct buf text = BUF_INIT(HASH_MAX);
    char *copy = NULL;

    for (const char *p = password; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == ':')
            return NULL;
    buf_addf(&text, "{PLAIN}%s", password);
    if (buf_ok(&text))
        copy = mem_strdup(buf_str(&text));
    if (text.data != NULL)
        secret_wipe(text.data, text.cap);
    buf_free(&text);
    return copy;
}

static char *
hash_crypt(const char *prefix, unsigned long cost, const char *password)
{
    char *setting = crypt_gensalt_ra(prefix, cost, NULL, 0), *copy = NULL;
    struct crypt_data *data;
    const char *result;

    if (setting == NULL) {
        log_error("libcrypt makes no %s hashes: %s", prefix, strerror(errno));
        return NULL;
    }
    data = mem_calloc(1, sizeof *data);
    result = crypt_r(password, setting, data);
    if (result != NULL && result[0] != '*')
        copy = mem_strdup(result);
    secret_wipe(data, sizeof *data);
    free(data);
    free(setting);
    return copy;
}

char *
password_hash(const char *scheme, const char *password)
{
    static const struct {
        const char *name, *prefix;
        unsigned long cost; /* 0 = libxcrypt's own */
    } made[] = {{"YESCRYPT", "$y$", 0},
                {"SHA512-CRYPT", "$6$", 0},
                {"SHA256-CRYPT", "$5$", 0},
                {"BLF-CRYPT", "$2b$", 10}};

    if (password[0] == '\0' || strlen(password) >= PASSWORD_MAX)
        return NULL;
    if (scheme == NULL)
        scheme = "YESCRYPT";
    if (strcasecmp(scheme, "PLAIN") == 0)
        return hash_plain(password);
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        if (strcasecmp(scheme, made[i].name) == 0)
            return hash_crypt(made[i].prefix, made[i].cost, password);
    return NULL;
}

const char *
password_plain_text(const char *hash)
{
    static const char *const prefixes[] = {"{PLAIN}", "{CLEARTEXT}"};

    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncasecmp(hash, prefixes[i], strlen(prefixes[i])) == 0)
            return hash + strlen(prefixes[i]);
    return NULL;
}

bool
password_apop(const char *secret, const char *challenge, const char *digest_hex, size_t len)
{
    uint8_t ours[DIGEST_MAX];
    struct buf theirs = BUF_INIT(MD5_DIGEST_SIZE);
    bool equal;

    digest(DIGEST_MD5, challenge, strlen(challenge), secret, strlen(secret), ours);
    equal = secret[0] != '\0' && hex_decode(digest_hex, len, &theirs) &&
            theirs.len == MD5_DIGEST_SIZE && secret_equal(ours, theirs.data, MD5_DIGEST_SIZE);
    secret_wipe(ours, sizeof ours);
    buf_free(&theirs);
    return equal;
}
