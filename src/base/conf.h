/*
 * The configuration: mansio.conf(5). `name = value` lines, `#` comments, `include = FILE`.
 * Every key is one row of the table in conf_keys.c (name, type, default, range, help), from
 * which the checker, `mansiod -T`, and the test of the manual page work.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum conf_login_security { LOGIN_SECURITY_ANY, LOGIN_SECURITY_HASHED, LOGIN_SECURITY_TLS };

/* Bands of one protocol's pool. */
struct conf_pool {
    unsigned min_spare, max_spare, max_workers;
};

/* All values, checked. Strings are owned by the struct and never NULL (unset = ""). Sizes are
   in octets, times in seconds. Lists stay as text, comma-separated; who needs one splits it
   with conf_list_next(). */
struct conf {
    char *imap_listen, *imaps_listen, *pop3_listen, *pop3s_listen;
    char *tls_certificate, *tls_key, *tls_priority;
    enum conf_login_security login_security;
    char *user_db;       /* file:PATH */
    char *mail_location; /* with %u %n %d %h */
    char *index_dir;     /* the same, "" = inside the Maildir */
    char *quota;         /* the default: quota_parse(), "" = as maildirsize says */
    char *mail_user;     /* NAME or UID[:GID]; used only when started as root */
    char *auth_user;     /* who the auth process runs as when started as root */
    char *state_dir, *run_dir;
    char *log, *log_level; /* syslog | stderr | FILE; error | warning | info | debug */
    char *pid_file;
    struct conf_pool imap, pop3;
    unsigned max_connections_per_worker; /* 0 = no end */
    unsigned max_connections_per_user;   /* 0 = no limit */
    unsigned auth_workers;        /* processes that check password hashes; 0 = one a core */
    unsigned login_failure_delay; /* 0 = off */
    unsigned login_timeout;
    unsigned imap_idle_timeout, pop3_idle_timeout;
    unsigned command_timeout;   /* from a command's first octet to its last, literals apart */
    unsigned write_timeout;     /* a client that takes nothing for so long is disconnected */
    unsigned min_transfer_rate; /* octets a second that a literal must come with, 0 = any */
    unsigned shutdown_grace;
    unsigned lock_timeout;   /* waiting for an account's lock */
    unsigned login_max_line; /* before login */
    unsigned login_max_bad_commands, max_bad_commands;
    size_t max_line;         /* after login */
    size_t max_arguments;    /* all arguments of one command together, literals included */
    size_t append_limit;     /* one appended message */
    unsigned max_list_depth; /* parentheses */
    unsigned max_set_ranges; /* ranges in a sequence set */
    unsigned max_search_keys;
    unsigned mime_max_depth, mime_max_parts, mime_max_headers, mime_max_addresses,
        mime_max_parameter_segments;
    size_t mime_max_header_size; /* of one header block */
    char hierarchy_separator;    /* '.' or '/' */
    char *namespace_prefix;
    char *auto_folders; /* Name:\Use, ... */
    bool username_lowercase;
    char *username_default_domain; /* appended to names without '@'; "" = none */
    char *denied_users;            /* names that never log in */
    char *hidden_capabilities;     /* atoms left out of CAPABILITY and CAPA */
    char *pop3_uidl_format;        /* see conf_uidl_check() */
    bool pop3_apop;                /* greeting with a timestamp, APOP for {PLAIN} passwords */
};

/* Collects messages of the checker. `line` is 0 for what concerns the whole. The text names the
   fault and the remedy. A text that begins with "warning: " doesn't make the configuration
   wrong. */
typedef void conf_report(void *ctx, const char *file, int line, const char *text);

/* Reads and checks FILE and what it includes (8 deep at most). Reports *every* error. On
   success returns 0 and a new struct in *out; on any error ERR_CONFIG and *out = NULL. */
int conf_load(const char *file, conf_report *report, void *ctx, struct conf **out);
/* The same from a string (tests, demo): `name` stands for the file in messages. */
int conf_parse(const char *name, const char *text, conf_report *report, void *ctx,
               struct conf **out);
/* All defaults. */
struct conf *conf_defaults(void);
void conf_free(struct conf **conf);

/* Prints the effective values, in a form that conf_load() reads back to the same values. */
void conf_print(const struct conf *conf, FILE *to);

/* The table, for tests and documentation. NULL past the end; valid until the next call. */
struct conf_key_info {
    const char *name, *type, *default_value, *help;
    uint64_t min, max; /* of a number, a time (seconds) or a size (octets); else 0 */
};
const struct conf_key_info *conf_key_info(size_t i);

/* Next item of a comma-separated list: skips blanks around it, returns its start and length, or
   NULL at the end; *pos is the state and starts as the list. */
const char *conf_list_next(const char **pos, size_t *len);

/* True when the list (comma-separated) holds the word, compared without regard to case. */
bool conf_list_has(const char *list, const char *word);

/* Resolves mail_user or auth_user: NAME or UID[:GID]. 0 or ERR_NOENT. */
int conf_user_ids(const char *value, uid_t *uid, gid_t *gid);

/* Expands %u %n %d %h %% for one user; every value is one path component (or `home`) that was
   checked by user_name_check(). 0, ERR_CANNOT (unknown %x, result over 4096 octets). Result:
   malloc. */
int conf_expand_path(const char *pattern, const char *user, const char *home, char **out);

/*
 * POP3 unique ids: %u is the UID, %v the UIDVALIDITY, %% a percent sign. Between % and the
 * letter there may be a width (filled up with zeros) and X or x for hexadecimal with lower-case
 * digits: %08Xu%08Xv gives what Dovecot gives by the same setting. 0, or ERR_CONFIG with the
 * fault in *why (static text): unknown %x, no %u, an octet outside 0x21 to 0x7e, more than 70
 * octets possible (RFC 1939 7).
 */
int conf_uidl_check(const char *format, const char **why);
#define CONF_UIDL_SIZE 71 /* the longest unique id and its NUL */
/* Writes the unique id of a message in a format that passed the check. */
void conf_uidl_format(const char *format, uint32_t uid, uint32_t uidvalidity,
                      char out[CONF_UIDL_SIZE]);

#endif
