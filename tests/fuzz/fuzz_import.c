/*
 * Lists of other servers: the first octet chooses the format, the rest is the file, fed in
 * pieces of an odd size. What is taken must keep the rules: growing UIDs within their bounds, a
 * next UID above them, names that lie in the folder, UIDLs that POP3 can say.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store/import_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct import *imp)
{
    const struct import_entry *e;
    struct import_message m;
    const char *name;
    uint32_t i;

    for (i = 0; i < imp->count; i++) {
        e = &imp->entries[i];
        name = imp->text.data + e->name;
        if (!import_find(imp, name, e->base_len, &m) ||
            (imp->uidvalidity != 0 && m.uid != e->uid))
            abort();
        if (e->uid > IMPORT_UID_MAX || (e->uid != 0 && e->uid >= imp->uidnext))
            abort();
        if (e->base_len == 0 || name[0] == '.' || strchr(name, '/') != NULL ||
            strlen(name) != e->base_len)
            abort();
        if (m.uidl[0] != '\0' && !import_uidl_ok(m.uidl, strlen(m.uidl)))
            abort();
        if (imp->keywords_count < 64 && m.keywords >> imp->keywords_count != 0)
            abort();
    }
    for (i = 0; import_keyword(imp, i) != NULL; i++) {
        if (keyword_check(import_keyword(imp, i)) != 0)
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static import_line_fn *const formats[] = {
        import_dovecot_line, import_courier_line, import_courier_pop3_line,
        import_courier_keywords_line, import_courier_update_line};
    struct import_lines *l;
    struct import *imp;
    size_t i, piece;

    if (size == 0)
        return 0;
    imp = import_new();
    l = calloc(1, sizeof *l);
    if (l == NULL)
        abort();
    l->imp = imp;
    l->fn = formats[data[0] % (sizeof formats / sizeof formats[0])];
    for (i = 1; i < size; i += piece) {
        piece = size - i < 13 ? size - i : 13;
        import_lines_feed(l, (const char *)data + i, piece);
    }
    import_lines_end(l);
    import_unique_uidls(imp);
    check(imp);
    free(l);
    import_free(&imp);
    return 0;
}
