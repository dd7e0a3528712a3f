/*
 * The table of keys: mansio.conf(5), etc/mansio.conf, `mansiod -T` and the checker all follow
 * it (tests/check_conf.c compares them). A new key is one row here, one field in struct conf,
 * and its place in the manual page and the sample.
 */
#include <stdint.h>
#include <string.h>

#include "base/conf_keys.h"
#include "base/quota_limit.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc/mansio"
#endif

#define KIB        1024ULL
#define MIB        (1024ULL * 1024)
#define DAY        86400
#define TEXT_MAX   4096 /* octets of a text value */
#define AT(member) offsetof(struct conf, member)

const struct conf_row conf_rows[] = {
    {"imap_listen", CONF_LIST, AT(imap_listen), "*:143", 0, TEXT_MAX, conf_check_listen,
     "where IMAP (with STARTTLS) is served; empty = nowhere"},
    {"imaps_listen", CONF_LIST, AT(imaps_listen), "*:993", 0, TEXT_MAX, conf_check_listen,
     "where IMAP over TLS is served; empty = nowhere"},
    {"pop3_listen", CONF_LIST, AT(pop3_listen), "*:110", 0, TEXT_MAX, conf_check_listen,
     "where POP3 (with STLS) is served; empty = nowhere"},
    {"pop3s_listen", CONF_LIST, AT(pop3s_listen), "*:995", 0, TEXT_MAX, conf_check_listen,
     "where POP3 over TLS is served; empty = nowhere"},

    {"tls_certificate", CONF_TEXT, AT(tls_certificate), SYSCONFDIR "/cert.pem", 0, TEXT_MAX,
     conf_check_path_or_none, "certificate chain in PEM form; empty = no TLS"},
    {"tls_key", CONF_TEXT, AT(tls_key), SYSCONFDIR "/key.pem", 0, TEXT_MAX,
     conf_check_path_or_none, "private key of the certificate in PEM form"},
    {"tls_priority", CONF_TEXT, AT(tls_priority), "", 0, TEXT_MAX, NULL,
     "GnuTLS priority string; empty = TLS 1.2 and 1.3 with sound ciphers"},
    {"login_security", CONF_SECURITY, AT(login_security), "tls", 0, 0, NULL,
     "tls: no login before TLS; hashed: no readable password before TLS; any"},

    {"user_db", CONF_TEXT, AT(user_db), "file:" SYSCONFDIR "/users", 1, TEXT_MAX,
     conf_check_user_db, "who may log in: file:PATH, see mansio-users(5)"},
    {"denied_users", CONF_LIST, AT(denied_users),
     "root, daemon, bin, sys, adm, lp, mail, news, uucp, proxy, www-data, backup, nobody, ftp, "
     "anonymous, guest",
     0, TEXT_MAX, conf_check_names, "names that never log in"},
    {"username_lowercase", CONF_BOOL, AT(username_lowercase), "yes", 0, 0, NULL,
     "fold user names to lower case"},
    {"username_default_domain", CONF_TEXT, AT(username_default_domain), "", 0, 253,
     conf_check_domain, "added to user names that have no @; empty = none"},
    {"login_failure_delay", CONF_TIME, AT(login_failure_delay), "2", 0, 60, NULL,
     "wait after a failed login, doubled at each further one; 0 = none"},
    {"auth_workers", CONF_NUMBER, AT(auth_workers), "0", 0, 256, NULL,
     "processes that check password hashes; 0 = one for each processor"},

    {"mail_location", CONF_TEXT, AT(mail_location), "/var/mail/mansio/%u/Maildir", 1, TEXT_MAX,
     conf_check_mail_location, "where each user's Maildir is: %u %n %d %h"},
    {"index_dir", CONF_TEXT, AT(index_dir), "", 0, TEXT_MAX, conf_check_index_dir,
     "where each user's index is: %u %n %d %h; empty = inside the Maildir"},
    {"quota", CONF_TEXT, AT(quota), "", 0, QUOTA_LIMIT_SIZE - 1, conf_check_quota,
     "what a user may store: 10G, 10G:20000 with messages, 0 for any; empty = as the Maildir's "
     "maildirsize says"},
    {"mail_user", CONF_TEXT, AT(mail_user), "vmail", 1, 255, conf_check_account,
     "owner of all mail: a name, or UID[:GID]"},
    {"auth_user", CONF_TEXT, AT(auth_user), "root", 1, 255, conf_check_account,
     "whom the auth process runs as: a name, or UID[:GID]"},
    {"state_dir", CONF_TEXT, AT(state_dir), "/var/lib/mansio", 1, TEXT_MAX, conf_check_path,
     "directory of what lasts over a restart"},
    {"run_dir", CONF_TEXT, AT(run_dir), "/run/mansio", 1, 90, conf_check_path,
     "directory of the sockets"},
    {"pid_file", CONF_TEXT, AT(pid_file), "/run/mansio/mansiod.pid", 0, TEXT_MAX,
     conf_check_path_or_none, "where the master's process id is written; empty = nowhere"},
    {"log", CONF_TEXT, AT(log), "syslog", 1, 1023, conf_check_log,
     "syslog, stderr, or a file's path"},
    {"log_level", CONF_TEXT, AT(log_level), "info", 1, 16, conf_check_log_level,
     "error, warning, info or debug"},

    {"imap_min_spare", CONF_NUMBER, AT(imap.min_spare), "5", 1, 10000, NULL,
     "IMAP workers that wait for a client, at least"},
    {"imap_max_spare", CONF_NUMBER, AT(imap.max_spare), "20", 1, 10000, NULL,
     "IMAP workers that wait for a client, at most"},
    {"imap_max_workers", CONF_NUMBER, AT(imap.max_workers), "2000", 1, 50000, NULL,
     "IMAP connections at the same time, at most"},
    {"pop3_min_spare", CONF_NUMBER, AT(pop3.min_spare), "2", 1, 10000, NULL,
     "POP3 workers that wait for a client, at least"},
    {"pop3_max_spare", CONF_NUMBER, AT(pop3.max_spare), "10", 1, 10000, NULL,
     "POP3 workers that wait for a client, at most"},
    {"pop3_max_workers", CONF_NUMBER, AT(pop3.max_workers), "500", 1, 50000, NULL,
     "POP3 connections at the same time, at most"},
    {"max_connections_per_worker", CONF_NUMBER, AT(max_connections_per_worker), "1000", 0,
     1000000000, NULL, "connections after which a worker is replaced; 0 = never"},
    {"max_connections_per_user", CONF_NUMBER, AT(max_connections_per_user), "50", 0, 100000,
     NULL, "logins of one user from one address at the same time; 0 = no limit"},

    {"login_timeout", CONF_TIME, AT(login_timeout), "60", 1, 3600, NULL,
     "time from connecting to being logged in"},
    {"imap_idle_timeout", CONF_TIME, AT(imap_idle_timeout), "30m", 1, 7 * DAY, NULL,
     "an IMAP client that sends no command for so long is logged out"},
    {"pop3_idle_timeout", CONF_TIME, AT(pop3_idle_timeout), "10m", 1, 7 * DAY, NULL,
     "a POP3 client that sends no command for so long is logged out"},
    {"command_timeout", CONF_TIME, AT(command_timeout), "60", 1, 3600, NULL,
     "time from a command's first octet to its last, literals apart"},
    {"write_timeout", CONF_TIME, AT(write_timeout), "60", 1, 3600, NULL,
     "a client that takes no octet for so long is disconnected"},
    {"min_transfer_rate", CONF_SMALL_SIZE, AT(min_transfer_rate), "64", 0, MIB, NULL,
     "octets a second that a literal must come with; 0 = any"},
    {"shutdown_grace", CONF_TIME, AT(shutdown_grace), "10", 0, 600, NULL,
     "time that commands under way have at a stop"},
    {"lock_timeout", CONF_TIME, AT(lock_timeout), "30", 1, 600, NULL,
     "wait for an account's lock"},

    {"login_max_line", CONF_SMALL_SIZE, AT(login_max_line), "4K", 512, 64 * KIB, NULL,
     "octets of a line or literal before login"},
    {"login_max_bad_commands", CONF_NUMBER, AT(login_max_bad_commands), "3", 1, 1000, NULL,
     "bad commands before login until the connection is closed"},
    {"max_bad_commands", CONF_NUMBER, AT(max_bad_commands), "20", 1, 100000, NULL,
     "bad commands after login until the connection is closed"},
    {"max_line", CONF_SIZE, AT(max_line), "64K", 8 * KIB, 16 * MIB, NULL,
     "octets of a line after login"},
    {"max_arguments", CONF_SIZE, AT(max_arguments), "1M", 8 * KIB, 64 * MIB, NULL,
     "octets of all arguments of a command, literals included, APPEND's message apart"},
    {"append_limit", CONF_SIZE, AT(append_limit), "64M", KIB, 4095 * MIB, NULL,
     "octets of a message that is uploaded or delivered"},
    {"max_list_depth", CONF_NUMBER, AT(max_list_depth), "32", 4, 1000, NULL,
     "parentheses inside each other in a command"},
    {"max_set_ranges", CONF_NUMBER, AT(max_set_ranges), "16384", 16, 1000000, NULL,
     "ranges in a sequence set"},
    {"max_search_keys", CONF_NUMBER, AT(max_search_keys), "1024", 16, 100000, NULL,
     "keys of a SEARCH command"},
    {"mime_max_depth", CONF_NUMBER, AT(mime_max_depth), "64", 1, 1000, NULL,
     "body parts inside each other; deeper ones are opaque"},
    {"mime_max_parts", CONF_NUMBER, AT(mime_max_parts), "10000", 1, 1000000, NULL,
     "body parts of a message; the rest is opaque"},
    {"mime_max_headers", CONF_NUMBER, AT(mime_max_headers), "10000", 16, 1000000, NULL,
     "header fields of a header; the rest is opaque"},
    {"mime_max_header_size", CONF_SIZE, AT(mime_max_header_size), "1M", 4 * KIB, 64 * MIB, NULL,
     "octets of a header that are looked at"},
    {"mime_max_addresses", CONF_NUMBER, AT(mime_max_addresses), "4096", 16, 1000000, NULL,
     "addresses of a header field; further ones aren't shown in ENVELOPE"},
    {"mime_max_parameter_segments", CONF_NUMBER, AT(mime_max_parameter_segments), "256", 1,
     10000, NULL, "pieces of a split MIME parameter (RFC 2231)"},

    {"hierarchy_separator", CONF_SEPARATOR, AT(hierarchy_separator), ".", 0, 0, NULL,
     "between the levels of a folder's name, as clients see it: . or /"},
    {"namespace_prefix", CONF_TEXT, AT(namespace_prefix), "", 0, 64, conf_check_prefix,
     "in front of all folder names but INBOX, as clients see them: INBOX. for sites from "
     "Courier"},
    {"auto_folders", CONF_LIST, AT(auto_folders),
     "Drafts:\\Drafts, Sent:\\Sent, Junk:\\Junk, Trash:\\Trash", 0, TEXT_MAX,
     conf_check_folders, "folders made at a user's first login, with their use"},
    {"hidden_capabilities", CONF_LIST, AT(hidden_capabilities), "", 0, TEXT_MAX,
     conf_check_atoms, "capabilities that are not announced"},
    {"pop3_uidl_format", CONF_TEXT, AT(pop3_uidl_format), "%08Xu%08Xv", 1, 70, conf_check_uidl,
     "form of POP3 unique ids: %u UID, %v UIDVALIDITY"},
    {"pop3_apop", CONF_BOOL, AT(pop3_apop), "no", 0, 0, NULL,
     "offer APOP (only for users with a {PLAIN} password)"},
};

const size_t conf_row_count = sizeof conf_rows / sizeof conf_rows[0];
_Static_assert(sizeof conf_rows / sizeof conf_rows[0] <= CONF_ROWS_MAX, "too many keys");

int
conf_row_find(const char *name, size_t len)
{
    for (size_t i = 0; i < conf_row_count; i++)
        if (strlen(conf_rows[i].name) == len && memcmp(conf_rows[i].name, name, len) == 0)
            return (int)i;
    return -1;
}

#define NAME_MAX_LEN 48

/* Edits (insert, delete, change, swap of neighbours) that lead from a to b. */
static size_t
edit_distance(const char *a, size_t la, const char *b, size_t lb)
{
    size_t d[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1], best;

    for (size_t i = 0; i <= la; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= lb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        for (size_t j = 1; j <= lb; j++) {
            best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[la][lb];
}

const char *
conf_row_nearest(const char *name, size_t len)
{
    const char *nearest = NULL;
    size_t best = len / 3 + 1, d; /* a third of the letters may be wrong */

    if (len == 0 || len > NAME_MAX_LEN)
        return NULL;
    for (size_t i = 0; i < conf_row_count; i++) {
        d = edit_distance(name, len, conf_rows[i].name, strlen(conf_rows[i].name));
        if (d < best) {
            best = d;
            nearest = conf_rows[i].name;
        }
    }
    return nearest;
}

const struct conf_key_info *
conf_key_info(size_t i)
{
    static struct conf_key_info info; /* valid until the next call; the table is constant */
    const struct conf_row *row;
    bool number;

    if (i >= conf_row_count)
        return NULL;
    row = &conf_rows[i];
    number = row->type == CONF_NUMBER || row->type == CONF_TIME || row->type == CONF_SIZE ||
             row->type == CONF_SMALL_SIZE;
    info.name = row->name;
    info.type = conf_type_text(row->type);
    info.default_value = row->default_value;
    info.help = row->help;
    info.min = number ? row->min : 0;
    info.max = number ? row->max : 0;
    return &info;
}
