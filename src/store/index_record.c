/*
 * The index's record formats; see index_record.h and mansio-index(5).
 *
 * Numbers are variable-length: 7 bits an octet, lowest first, the high bit says that more
 * follows; signed ones are zigzag-coded first. A message's record is 27 octets and its file
 * name, typically. Every record ends with two octets of check sum. (The file is long because
 * all formats are in it.)
 */
#include <endian.h>
#include <string.h>

#include "base/err.h"
#include "store/index_record.h"

/* Bits of a message record's third octet. */
#define BIT_IN_NEW      0x01u
#define BIT_UIDL        0x02u
#define BIT_KEYWORDS    0x04u
#define BIT_SIZE        0x08u
#define BIT_CRLF        0x10u
#define BIT_NO_DATE     0x20u
#define BIT_ALL         0x3fu
#define ROW_FIRST_KNOWN 0x01u
#define ROW_OWN_CHANGES 0x02u
#define ROW_BITS        0x03u
#define MODSEQ_SIZE     6 /* octets: enough for 280 million million changes */

static void
be32_write(unsigned char *p, uint32_t n)
{
    p[0] = (unsigned char)(n >> 24);
    p[1] = (unsigned char)(n >> 16);
    p[2] = (unsigned char)(n >> 8);
    p[3] = (unsigned char)n;
}

uint16_t
be16_read(const unsigned char *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
be32_read(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t
be64_read(const unsigned char *p)
{
    return (uint64_t)be32_read(p) << 32 | be32_read(p + 4);
}

void
key_message(unsigned char *key, uint32_t mailbox, uint32_t uid)
{
    be32_write(key, mailbox);
    be32_write(key + 4, uid);
}

void
key_change(unsigned char *key, uint32_t mailbox, uint64_t modseq, unsigned kind, unsigned part)
{
    be32_write(key, mailbox);
    be32_write(key + 4, (uint32_t)(modseq >> 32));
    be32_write(key + 8, (uint32_t)modseq);
    key[12] = (unsigned char)kind;
    key[13] = (unsigned char)(part >> 8);
    key[14] = (unsigned char)part;
}

/* Two words at a time, in two lanes, for speed; not against an adversary. */
static uint16_t
check_sum(const void *data, size_t len)
{
    const uint64_t k = 0xff51afd7ed558ccdu;
    uint64_t a = 0x9e3779b97f4a7c15u ^ len, b = ~a, word[2];
    const unsigned char *p = data;

    for (; len >= sizeof word; p += sizeof word, len -= sizeof word) {
        memcpy(word, p, sizeof word);
        a = (a ^ le64toh(word[0])) * k;
        b = (b ^ le64toh(word[1])) * k;
        a ^= a >> 32;
        b ^= b >> 29;
    }
    memset(word, 0, sizeof word);
    memcpy(word, p, len);
    a = (a ^ le64toh(word[0])) * k;
    b = (b ^ le64toh(word[1])) * k;
    return (uint16_t)((a ^ b) >> 47);
}

/* Ends a record that began at octet `start`. */
static void
put_check(struct buf *out, size_t start)
{
    uint16_t sum = buf_ok(out) ? check_sum(out->data + start, out->len - start) : 0;

    buf_addc(out, (char)(sum >> 8));
    buf_addc(out, (char)sum);
}

static void
put_number(struct buf *out, uint64_t n)
{
    unsigned char octets[10];
    size_t len = 0;

    while (n >= 0x80) {
        octets[len++] = (unsigned char)(n | 0x80);
        n >>= 7;
    }
    octets[len++] = (unsigned char)n;
    buf_add(out, octets, len);
}

static void
put_signed(struct buf *out, int64_t n)
{
    put_number(out, ((uint64_t)n << 1) ^ (n < 0 ? UINT64_MAX : 0));
}

/* Six octets, big-endian: of one length, so that a change of flags is written in place. */
static void
put_modseq(struct buf *out, uint64_t n)
{
    unsigned char octets[MODSEQ_SIZE];

    for (unsigned i = MODSEQ_SIZE; i-- > 0; n >>= 8)
        octets[i] = (unsigned char)n;
    buf_add(out, octets, sizeof octets);
}

/* Length (one octet) and octets. */
static void
put_text(struct buf *out, const char *text)
{
    size_t len = strlen(text);

    if (len > UINT8_MAX)
        len = UINT8_MAX;
    buf_addc(out, (char)len);
    buf_add(out, text, len);
}

/* Reads on; once something doesn't fit it's bad and gives zeros. */
struct reader {
    const unsigned char *p, *end;
    bool bad;
};

static struct reader
reader_of(struct kv_slice s)
{
    const unsigned char *p = s.p;

    return (struct reader){.p = p, .end = p + s.len};
}

/* Of a whole record, whose check sum is looked at first. */
static struct reader
record_reader(struct kv_slice s)
{
    const unsigned char *p = s.p;

    if (s.len < 2 || check_sum(p, s.len - 2) != be16_read(p + s.len - 2))
        return (struct reader){.p = p, .end = p, .bad = true};
    return (struct reader){.p = p, .end = p + s.len - 2};
}

static unsigned
get_octet(struct reader *r)
{
    if (r->p == r->end) {
        r->bad = true;
        return 0;
    }
    return *r->p++;
}

static uint64_t
get_number(struct reader *r)
{
    uint64_t n = 0;
    unsigned octet;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        octet = get_octet(r);
        if (shift == 63 && octet > 1)
            break;
        n |= (uint64_t)(octet & 0x7f) << shift;
        if (octet < 0x80)
            return n;
    }
    r->bad = true;
    return 0;
}

static uint64_t
get_modseq(struct reader *r)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < MODSEQ_SIZE; i++)
        n = n << 8 | get_octet(r);
    return n;
}

static int64_t
get_signed(struct reader *r)
{
    uint64_t n = get_number(r);

    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

static uint32_t
get_u32(struct reader *r)
{
    uint64_t n = get_number(r);

    if (n > UINT32_MAX)
        r->bad = true;
    return (uint32_t)n;
}

/* Not inlined: knowing that len is small, compilers make a slow string instruction of it. */
static void __attribute__((noinline)) copy_octets(char *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    to[len] = '\0';
}

/* Octets into `to`, which holds size octets with the NUL. */
static void
get_octets(struct reader *r, size_t len, char *to, size_t size)
{
    if (r->bad || len >= size || len > (size_t)(r->end - r->p)) {
        r->bad = true;
        to[0] = '\0';
        return;
    }
    copy_octets(to, r->p, len);
    r->p += len;
}

static void
get_text(struct reader *r, char *to, size_t size)
{
    size_t len = get_octet(r);

    get_octets(r, len, to, size);
}

/* 0 when all was read and nothing is left. */
static int
finished(const struct reader *r)
{
    return r->bad || r->p != r->end ? ERR_CORRUPT : 0;
}

void
control_encode(struct buf *out, const struct index_control *c)
{
    size_t start = out->len;

    buf_addc(out, RECORD_VERSION);
    buf_addc(out, (char)c->format);
    put_number(out, c->next_id);
    put_number(out, c->last_uidvalidity);
    put_number(out, c->incarnation);
    put_check(out, start);
}

int
control_decode(struct kv_slice s, struct index_control *c)
{
    struct reader r = record_reader(s);

    if (get_octet(&r) != RECORD_VERSION)
        return ERR_CORRUPT;
    c->format = (uint8_t)get_octet(&r);
    if (!r.bad && c->format > INDEX_FORMAT)
        return ERR_UNSUPPORTED;
    if (c->format < INDEX_FORMAT) /* of before the first release: made anew from the Maildir */
        return ERR_CORRUPT;
    c->next_id = get_u32(&r);
    c->last_uidvalidity = get_u32(&r);
    c->incarnation = get_number(&r);
    return finished(&r);
}

/* Slots up to the last one in use. */
static void
put_keywords(struct buf *out, const struct index_mailbox *row)
{
    unsigned n = KEYWORDS_MAX;

    while (n > 0 && row->keywords[n - 1][0] == '\0')
        n--;
    buf_addc(out, (char)n);
    for (unsigned i = 0; i < n; i++)
        put_text(out, row->keywords[i]);
}

static void
get_keywords(struct reader *r, struct index_mailbox *row)
{
    unsigned n = get_octet(r);

    if (n > KEYWORDS_MAX)
        r->bad = true;
    for (unsigned i = 0; i < n && !r->bad; i++)
        get_text(r, row->keywords[i], sizeof row->keywords[i]);
}

void
row_encode(struct buf *out, const struct index_mailbox *row)
{
    size_t start = out->len;

    buf_addc(out, RECORD_VERSION);
    buf_addc(out, (char)((row->first_unseen_known ? ROW_FIRST_KNOWN : 0) |
                         (row->own_changes ? ROW_OWN_CHANGES : 0)));
    put_number(out, row->id);
    put_number(out, row->uidvalidity);
    put_number(out, row->uidnext);
    put_number(out, row->highestmodseq);
    put_number(out, row->first_recent);
    put_number(out, row->messages);
    put_number(out, row->unseen);
    put_number(out, row->deleted);
    put_number(out, row->recent);
    put_number(out, row->bytes);
    put_number(out, row->crlf_bytes);
    put_number(out, row->crlf_unknown);
    put_number(out, row->first_unseen);
    put_number(out, row->changes_floor);
    put_number(out, row->changes_octets);
    put_signed(out, row->new_mtime);
    put_signed(out, row->cur_mtime);
    put_signed(out, row->scanned_at);
    put_number(out, row->scan_epoch);
    put_number(out, row->scan_cost_us);
    put_number(out, row->special_use);
    buf_add(out, row->objectid, sizeof row->objectid);
    buf_addc(out, (char)row->keywords_count);
    put_keywords(out, row);
    put_check(out, start);
}

int
row_decode(struct kv_slice s, struct index_mailbox *row)
{
    struct reader r = record_reader(s);
    char objectid[sizeof row->objectid + 1];
    unsigned bits;

    memset(row, 0, sizeof *row);
    if (get_octet(&r) != RECORD_VERSION)
        return ERR_CORRUPT;
    bits = get_octet(&r);
    if ((bits & ~ROW_BITS) != 0)
        return ERR_CORRUPT;
    row->first_unseen_known = (bits & ROW_FIRST_KNOWN) != 0;
    row->own_changes = (bits & ROW_OWN_CHANGES) != 0;
    row->id = get_u32(&r);
    row->uidvalidity = get_u32(&r);
    row->uidnext = get_u32(&r);
    row->highestmodseq = get_number(&r);
    row->first_recent = get_u32(&r);
    row->messages = get_u32(&r);
    row->unseen = get_u32(&r);
    row->deleted = get_u32(&r);
    row->recent = get_u32(&r);
    row->bytes = get_number(&r);
    row->crlf_bytes = get_number(&r);
    row->crlf_unknown = get_u32(&r);
    row->first_unseen = get_u32(&r);
    row->changes_floor = get_number(&r);
    row->changes_octets = get_number(&r);
    row->new_mtime = get_signed(&r);
    row->cur_mtime = get_signed(&r);
    row->scanned_at = get_signed(&r);
    row->scan_epoch = get_number(&r);
    row->scan_cost_us = get_u32(&r);
    row->special_use = get_u32(&r);
    get_octets(&r, sizeof row->objectid, objectid, sizeof objectid);
    memcpy(row->objectid, objectid, sizeof row->objectid);
    row->keywords_count = (uint8_t)get_octet(&r);
    get_keywords(&r, row);
    if (row->id == 0 || row->uidvalidity == 0 || row->uidnext == 0 ||
        row->keywords_count > KEYWORDS_MAX)
        return ERR_CORRUPT;
    return finished(&r);
}

void
message_encode(struct buf *out, const struct index_message *m)
{
    size_t start = out->len;
    bool size = m->size != MDNAME_SIZE_UNKNOWN, crlf = m->crlf_size != MDNAME_SIZE_UNKNOWN;
    unsigned bits = (m->in_new ? BIT_IN_NEW : 0) | (m->uidl[0] != '\0' ? BIT_UIDL : 0) |
                    (m->keywords != 0 ? BIT_KEYWORDS : 0) | (size ? BIT_SIZE : 0) |
                    (crlf ? BIT_CRLF : 0) |
                    (m->internal_date == DATE_UNKNOWN ? BIT_NO_DATE : 0);

    buf_addc(out, RECORD_VERSION);
    buf_addc(out, (char)m->flags);
    buf_addc(out, (char)bits);
    put_modseq(out, m->modseq);
    if (m->internal_date == DATE_UNKNOWN) {
        put_signed(out, m->save_date);
    } else {
        put_signed(out, m->internal_date);
        put_signed(out, (int64_t)((uint64_t)m->save_date - (uint64_t)m->internal_date));
    }
    if (m->keywords != 0)
        put_number(out, m->keywords);
    if (size)
        put_number(out, m->size);
    if (crlf)
        put_signed(out, (int64_t)(m->crlf_size - (size ? m->size : 0)));
    put_text(out, m->name);
    if (m->uidl[0] != '\0')
        put_text(out, m->uidl);
    put_check(out, start);
}

int
message_decode(struct kv_slice s, uint32_t uid, struct index_message *m)
{
    struct reader r = record_reader(s);
    unsigned bits;

    if (get_octet(&r) != RECORD_VERSION)
        return ERR_CORRUPT;
    m->uid = uid;
    m->flags = (uint8_t)get_octet(&r);
    bits = get_octet(&r);
    m->in_new = (bits & BIT_IN_NEW) != 0;
    m->modseq = get_modseq(&r);
    if ((bits & BIT_NO_DATE) != 0) {
        m->internal_date = DATE_UNKNOWN;
        m->save_date = get_signed(&r);
    } else {
        m->internal_date = get_signed(&r);
        m->save_date = (int64_t)((uint64_t)m->internal_date + (uint64_t)get_signed(&r));
    }
    m->keywords = (bits & BIT_KEYWORDS) != 0 ? get_number(&r) : 0;
    m->size = (bits & BIT_SIZE) != 0 ? get_number(&r) : MDNAME_SIZE_UNKNOWN;
    m->crlf_size = MDNAME_SIZE_UNKNOWN;
    if ((bits & BIT_CRLF) != 0)
        m->crlf_size = (uint64_t)get_signed(&r) + ((bits & BIT_SIZE) != 0 ? m->size : 0);
    get_text(&r, m->name, sizeof m->name);
    m->uidl[0] = '\0';
    if ((bits & BIT_UIDL) != 0)
        get_text(&r, m->uidl, sizeof m->uidl);
    if ((bits & ~BIT_ALL) != 0 || (m->flags & ~(MSG_FLAGS | MSG_PASSED)) != 0 || uid == 0 ||
        m->name[0] == '\0' || strchr(m->name, '/') != NULL)
        return ERR_CORRUPT;
    return finished(&r);
}

int
message_decode_flags(struct kv_slice s, unsigned *flags, uint64_t *keywords)
{
    struct reader r = record_reader(s);
    unsigned bits;

    if (get_octet(&r) != RECORD_VERSION)
        return ERR_CORRUPT;
    *flags = get_octet(&r);
    bits = get_octet(&r);
    *keywords = 0;
    if ((bits & BIT_KEYWORDS) != 0) {
        (void)get_modseq(&r);
        (void)get_signed(&r);
        if ((bits & BIT_NO_DATE) == 0)
            (void)get_signed(&r);
        *keywords = get_number(&r);
    }
    if (r.bad || (bits & ~BIT_ALL) != 0 || (*flags & ~(MSG_FLAGS | MSG_PASSED)) != 0)
        return ERR_CORRUPT;
    return 0;
}

void
anchor_encode(struct buf *out, const char *name, const struct index_mailbox *row)
{
    size_t start = out->len;
    size_t len = strlen(name);

    buf_addc(out, RECORD_VERSION);
    put_number(out, row->uidvalidity);
    buf_add(out, row->objectid, sizeof row->objectid);
    buf_addc(out, (char)row->keywords_count);
    put_keywords(out, row);
    put_number(out, len);
    buf_add(out, name, len);
    put_check(out, start);
}

int
anchor_decode(struct kv_slice s, uint32_t id, struct index_anchor *a)
{
    struct reader r = record_reader(s);
    char objectid[sizeof a->row.objectid + 1];
    uint64_t len;

    memset(a, 0, sizeof *a);
    if (get_octet(&r) != RECORD_VERSION)
        return ERR_CORRUPT;
    a->row.id = id;
    a->row.uidvalidity = get_u32(&r);
    get_octets(&r, sizeof a->row.objectid, objectid, sizeof objectid);
    memcpy(a->row.objectid, objectid, sizeof a->row.objectid);
    a->row.keywords_count = (uint8_t)get_octet(&r);
    get_keywords(&r, &a->row);
    len = get_number(&r);
    get_octets(&r, len > INDEX_NAME_MAX ? SIZE_MAX : (size_t)len, a->name, sizeof a->name);
    if (id == 0 || a->row.uidvalidity == 0 || a->name[0] == '\0' ||
        a->row.keywords_count > KEYWORDS_MAX)
        return ERR_CORRUPT;
    return finished(&r);
}

void
ranges_add(struct buf *out, uint32_t *last, uint32_t first_uid, uint32_t last_uid)
{
    put_number(out, first_uid - *last);
    put_number(out, last_uid - first_uid);
    *last = last_uid;
}

int
ranges_next(struct kv_slice *s, uint32_t *last, uint32_t *first_uid, uint32_t *last_uid)
{
    struct reader r = reader_of(*s);
    uint64_t first, end;

    if (s->len == 0)
        return ERR_EOF;
    first = *last + (uint64_t)get_u32(&r);
    end = first + get_u32(&r);
    if (r.bad || first == 0 || end > UINT32_MAX)
        return ERR_CORRUPT;
    s->p = r.p;
    s->len = (size_t)(r.end - r.p);
    *first_uid = (uint32_t)first;
    *last_uid = *last = (uint32_t)end;
    return 0;
}
