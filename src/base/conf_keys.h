/*
 * Inside of conf: the table of keys. Others use conf.h.
 */
#ifndef BASE_CONF_KEYS_H
#define BASE_CONF_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/conf.h"

enum conf_type {
    CONF_TEXT,       /* char *; min, max: length in octets */
    CONF_LIST,       /* char *, comma-separated; the same */
    CONF_NUMBER,     /* unsigned */
    CONF_TIME,       /* unsigned, seconds; suffix s m h d */
    CONF_SIZE,       /* size_t, octets; suffix K M G */
    CONF_SMALL_SIZE, /* unsigned, octets; the same */
    CONF_BOOL,       /* bool; yes, no */
    CONF_SECURITY,   /* enum conf_login_security; any, hashed, tls */
    CONF_SEPARATOR,  /* char; . or / */
};

/* Looks at one text value. False and the fault with its remedy in why. */
typedef bool conf_check(const char *value, struct buf *why);

struct conf_row {
    const char *name;
    enum conf_type type;
    size_t offset; /* in struct conf */
    const char *default_value;
    uint64_t min, max;
    conf_check *check; /* of texts and lists; NULL = none */
    const char *help;
};

#define CONF_ROWS_MAX 120
extern const struct conf_row conf_rows[];
extern const size_t conf_row_count;

/* The key's row number, or -1. */
int conf_row_find(const char *name, size_t len);
/* The nearest known name, or NULL when nothing is near. */
const char *conf_row_nearest(const char *name, size_t len);

/* Sets one key from text. False and the fault in why: the value isn't changed then. */
bool conf_set(struct conf *conf, const struct conf_row *row, const char *value,
              struct buf *why);
/* The value as text that conf_set() reads back. */
void conf_value_text(const struct conf *conf, const struct conf_row *row, struct buf *out);
const char *conf_type_text(enum conf_type type);

/* Where each key was set; line 0 = by default. */
struct conf_place {
    const char *file;
    int line;
};
/* Checks what concerns more than one key. Calls report(ctx, place of the fault, text). Returns
   the number of errors (warnings not counted). */
int conf_cross_check(const struct conf *conf, const struct conf_place *places,
                     const char *main_file, conf_report *report, void *ctx);

/* Checks of single values, for the table. */
conf_check conf_check_listen, conf_check_path, conf_check_path_or_none, conf_check_user_db,
    conf_check_mail_location, conf_check_index_dir, conf_check_account, conf_check_log,
    conf_check_log_level, conf_check_prefix, conf_check_domain, conf_check_names,
    conf_check_atoms, conf_check_uidl, conf_check_folders, conf_check_quota;

#endif
