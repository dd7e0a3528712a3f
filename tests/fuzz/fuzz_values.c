/*
 * Values of commands, headers and files: sequence sets, dates, Base64, SASL PLAIN, quotas.
 * Checks that a set is sorted and survives being written and read again, and so does a quota.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/quota_limit.h"
#include "format/imapdate.h"
#include "format/sasl.h"
#include "format/seqset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
set(const char *s, size_t n)
{
    struct buf out = BUF_INIT(4 * 65536);
    struct seqset a, b;
    size_t i;

    seqset_init(&a);
    seqset_init(&b);
    if (seqset_parse(s, n, (uint32_t)n, 1000, &a) == 0) {
        for (i = 0; i < a.count; i++) {
            if (a.ranges[i].first == 0 || a.ranges[i].first > a.ranges[i].last ||
                (i > 0 && a.ranges[i].first <= a.ranges[i - 1].last + 1))
                abort();
        }
        seqset_write(&a, &out);
        if (a.count > 0 && (seqset_parse(out.data, out.len, 1, 1000, &b) != 0 ||
                            b.count != a.count || seqset_size(&a) != seqset_size(&b)))
            abort();
    }
    seqset_free(&a);
    seqset_free(&b);
    buf_free(&out);
}

static void
base64(const char *s, size_t n)
{
    struct buf out = BUF_INIT(65536), again = BUF_INIT(4 * 65536);

    if (base64_decode(s, n, &out) == 0) {
        base64_encode(out.data, out.len, &again);
        if (again.len != n || (n > 0 && memcmp(again.data, s, n) != 0))
            abort();
    }
    buf_free(&out);
    buf_free(&again);
}

static void
quota(const char *s, size_t n)
{
    struct buf text = BUF_INIT(65536);
    struct quota_limit a, b;
    char written[QUOTA_LIMIT_SIZE];

    buf_add(&text, s, n < 4096 ? n : 4096);
    (void)quota_parse_header(buf_str(&text), &a);
    if (quota_parse(buf_str(&text), &a) == 0) {
        quota_limit_text(&a, written);
        if (quota_parse(written, &b) != 0 || a.bytes != b.bytes || a.messages != b.messages)
            abort();
    }
    buf_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf a = BUF_INIT(255), b = BUF_INIT(255), c = BUF_INIT(255);
    const char *s = (const char *)data;
    int64_t t;
    int32_t day;

    set(s, size);
    base64(s, size);
    quota(s, size);
    sasl_plain_parse(s, size, &a, &b, &c);
    imapdate_parse_datetime(s, size, &t);
    imapdate_parse_date(s, size, &day);
    if (maildate_parse(s, size, &t, &day) == 0) {
        buf_reset(&a);
        imapdate_write_datetime(t, &a);
        imapdate_local_day(t);
    }
    buf_free(&a);
    buf_free(&b);
    buf_free(&c);
    return 0;
}
