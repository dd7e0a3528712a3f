/*
 * Names: mailbox names both ways, modified UTF-7, LIST patterns, Maildir file names, user
 * names. Checks that what is accepted keeps the rules (nothing that leaves a directory), and
 * that conversions are each other's inverse.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "format/mboxname.h"
#include "format/mdname.h"
#include "format/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
mailbox(const char *s, size_t n, char separator)
{
    struct mboxname_rules r = {separator, n % 2 ? "" : separator == '.' ? "INBOX." : "INBOX/"};
    struct buf internal = BUF_INIT(1000), client = BUF_INIT(1000), again = BUF_INIT(1000);
    bool trailing;

    if (mboxname_from_client(&r, s, n, n % 3 == 0, &internal, &trailing) == 0) {
        if (internal.len == 0 || internal.len > MBOXNAME_MAX || internal.data[0] == '.' ||
            memchr(internal.data, '/', internal.len) != NULL ||
            strstr(buf_str(&internal), "..") != NULL)
            abort();
        mboxname_to_client(&r, buf_str(&internal), &client);
        if (mboxname_from_client(&r, client.data, client.len, false, &again, NULL) != 0 ||
            strcmp(buf_str(&again), buf_str(&internal)) != 0)
            abort();
    }
    buf_free(&internal);
    buf_free(&client);
    buf_free(&again);
}

static void
utf7(const char *s, size_t n)
{
    struct buf out = BUF_INIT(4 * 65536), again = BUF_INIT(4 * 65536);

    if (mutf7_to_utf8(s, n, &out) == 0) {
        if (mutf7_from_utf8(out.data, out.len, &again) != 0 || again.len != n ||
            (n > 0 && memcmp(again.data, s, n) != 0))
            abort();
    }
    buf_reset(&out);
    buf_reset(&again);
    if (mutf7_from_utf8(s, n, &out) == 0) {
        if (mutf7_to_utf8(out.data, out.len, &again) != 0 || again.len != n ||
            (n > 0 && memcmp(again.data, s, n) != 0))
            abort();
    }
    buf_free(&out);
    buf_free(&again);
}

static void
file_name(const char *s)
{
    char built[MDNAME_MAX + 1];
    struct mdname m, again;

    if (mdname_parse(s, &m) < 0 ||
        mdname_build(m.base, m.base_len, m.flags, m.keywords, m.other, built) < 0)
        return;
    if (mdname_parse(built, &again) < 0 || again.base_len != m.base_len ||
        again.flags != m.flags || again.keywords != m.keywords ||
        strcmp(again.other, m.other) != 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = BUF_INIT(65536 + 1), out = BUF_INIT(1000);
    const char *s = (const char *)data, *half;

    mailbox(s, size, '.');
    mailbox(s, size, '/');
    utf7(s, size);
    buf_add(&text, data, size);
    file_name(buf_str(&text));
    half = memchr(s, '\n', size);
    if (half != NULL && half - s < 500) {
        /* "pattern LF name": the first half as pattern */
        text.data[half - s] = '\0';
        mboxname_match(text.data, text.data + (half - s) + 1, '/');
    }
    if (user_name_check(s, size, size % 2, "", &out) == 0 &&
        (out.len == 0 || out.len > USER_NAME_MAX || strchr(buf_str(&out), '/') != NULL ||
         out.data[0] == '.' || strstr(buf_str(&out), "..") != NULL))
        abort();
    buf_free(&text);
    buf_free(&out);
    return 0;
}
