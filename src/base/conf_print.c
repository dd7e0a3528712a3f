/*
 * `mansiod -T`: the effective configuration, in a form that conf_load() reads back.
 */
#include <string.h>

#include "base/conf_keys.h"

/* Would the reader take blanks, a comment or quotes out of it? */
static bool
needs_quotes(const char *s)
{
    size_t n = strlen(s);

    return n > 0 && (s[0] == ' ' || s[0] == '"' || s[n - 1] == ' ' || s[0] == '#' ||
                     strstr(s, " #") != NULL);
}

static void
print_value(const char *s, FILE *to)
{
    if (!needs_quotes(s)) {
        fputs(s, to);
        return;
    }
    putc('"', to);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            putc('\\', to);
        putc(*s, to);
    }
    putc('"', to);
}

void
conf_print(const struct conf *conf, FILE *to)
{
    struct buf value = BUF_INIT(65536);

    for (size_t i = 0; i < conf_row_count; i++) {
        buf_reset(&value);
        conf_value_text(conf, &conf_rows[i], &value);
        fputs(conf_rows[i].name, to);
        fputs(value.len > 0 ? " = " : " =", to);
        print_value(buf_str(&value), to);
        putc('\n', to);
    }
    buf_free(&value);
}
