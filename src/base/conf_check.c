/*
 * What a value may contain. Each check names the fault and the remedy. Nothing here looks at
 * the file system or the network: whether a file is there, an address can be bound or a
 * certificate is good is found out by who uses it.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistr.h>

#include "base/conf_keys.h"
#include "base/quota_limit.h"

static bool
has_control(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return true;
    return false;
}

/* Printable ASCII without blanks. */
static bool
is_visible(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] <= 0x20 || (unsigned char)s[i] >= 0x7f)
            return false;
    return len > 0;
}

bool
conf_check_listen(const char *value, struct buf *why)
{
    const char *pos = value, *item;
    size_t len;

    while ((item = conf_list_next(&pos, &len)) != NULL) {
        if (!is_visible(item, len) || memchr(item, ':', len) == NULL) {
            buf_addf(why,
                     "\"%.*s\" is not an address: write *:143, 127.0.0.1:143, [::1]:143 or "
                     "unix:/path, separated by commas",
                     (int)(len < 80 ? len : 80), item);
            return false;
        }
    }
    return true;
}

bool
conf_check_path(const char *value, struct buf *why)
{
    if (value[0] != '/') {
        buf_addf(why, "\"%.80s\" is not an absolute path: it must begin with /", value);
        return false;
    }
    return true;
}

bool
conf_check_path_or_none(const char *value, struct buf *why)
{
    return value[0] == '\0' || conf_check_path(value, why);
}

bool
conf_check_user_db(const char *value, struct buf *why)
{
    if (strncmp(value, "file:/", 6) == 0)
        return true;
    buf_addf(why, "\"%.80s\" is not known here: write file: and an absolute path, such as %s",
             value, "file:/etc/mansio/users");
    return false;
}

/* A pattern of conf_expand_path(): absolute or below %h, only known letters, one of which tells
   the users apart. */
static bool
check_pattern(const char *value, struct buf *why)
{
    bool per_user = false;

    if (value[0] != '/' && strncmp(value, "%h", 2) != 0) {
        buf_addf(why, "\"%.80s\" is not an absolute path: it must begin with / or %%h", value);
        return false;
    }
    for (const char *p = strchr(value, '%'); p != NULL; p = strchr(p + 2, '%')) {
        if (p[1] == '\0' || strchr("undh%", p[1]) == NULL) {
            buf_addf(why,
                     "%%%.1s is unknown: there are %%u user, %%n local part, %%d domain, %%h "
                     "home directory, %%%% percent sign",
                     p + 1);
            return false;
        }
        if (p[1] == 'u' || p[1] == 'n' || p[1] == 'h')
            per_user = true;
    }
    if (!per_user)
        buf_addf(why, "\"%.80s\" is the same for all users: put %%u, %%n or %%h into it",
                 value);
    return per_user;
}

bool
conf_check_mail_location(const char *value, struct buf *why)
{
    if (strncasecmp(value, "maildir:", 8) == 0) {
        buf_addf(why, "write the path without \"maildir:\", it's the only format here");
        return false;
    }
    return check_pattern(value, why);
}

bool
conf_check_index_dir(const char *value, struct buf *why)
{
    return value[0] == '\0' || check_pattern(value, why);
}

bool
conf_check_account(const char *value, struct buf *why)
{
    const char *rest = value + strspn(value, "0123456789");

    if (value[0] == ':') {
        buf_addf(why,
                 "\"%.80s\": this version has no system mode; name the user that owns "
                 "all mail, such as vmail",
                 value);
        return false;
    }
    if (rest != value && *rest == ':') {
        rest++;
        if (*rest != '\0' && rest[strspn(rest, "0123456789")] == '\0')
            return true;
    } else if (is_visible(value, strlen(value)) && strchr(value, ':') == NULL) {
        return true;
    }
    buf_addf(why,
             "\"%.80s\" is neither a user's name nor UID[:GID], such as vmail or 5000:5000",
             value);
    return false;
}

bool
conf_check_log(const char *value, struct buf *why)
{
    if (strcmp(value, "syslog") == 0 || strcmp(value, "stderr") == 0 || value[0] == '/')
        return true;
    buf_addf(why, "\"%.80s\" is neither syslog nor stderr nor an absolute path", value);
    return false;
}

bool
conf_check_log_level(const char *value, struct buf *why)
{
    static const char *const words[] = {"error", "warning", "info", "debug"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(value, words[i]) == 0)
            return true;
    buf_addf(why, "\"%.80s\" is none of error, warning, info, debug", value);
    return false;
}

/* Octets that LIST patterns and lists of names need for themselves. */
static bool
is_folder_text(const char *s, size_t len)
{
    return len > 0 && !has_control(s, len) && memchr(s, '%', len) == NULL &&
           memchr(s, '*', len) == NULL && memchr(s, '"', len) == NULL &&
           memchr(s, '\\', len) == NULL && u8_check((const uint8_t *)s, len) == NULL;
}

bool
conf_check_prefix(const char *value, struct buf *why)
{
    if (value[0] == '\0' || is_folder_text(value, strlen(value)))
        return true;
    buf_addf(why,
             "\"%.64s\" can't be the begin of folder names: leave out %% * \" \\ and "
             "control characters, and write UTF-8",
             value);
    return false;
}

bool
conf_check_domain(const char *value, struct buf *why)
{
    size_t len = strlen(value);

    if (len == 0)
        return true;
    if (value[0] == '@') {
        buf_addf(why, "write the domain without @: %.80s", value + 1);
        return false;
    }
    if (value[0] != '.' && strpbrk(value, "@/ ,") == NULL && strstr(value, "..") == NULL &&
        !has_control(value, len))
        return true;
    buf_addf(why, "\"%.80s\" is not a domain name, such as example.org", value);
    return false;
}

bool
conf_check_names(const char *value, struct buf *why)
{
    const char *pos = value, *item;
    size_t len;

    while ((item = conf_list_next(&pos, &len)) != NULL) {
        if (memchr(item, ' ', len) != NULL || has_control(item, len)) {
            buf_addf(why, "\"%.*s\": separate the names by commas", (int)(len < 80 ? len : 80),
                     item);
            return false;
        }
    }
    return true;
}

bool
conf_check_atoms(const char *value, struct buf *why)
{
    const char *pos = value, *item;
    size_t len;

    while ((item = conf_list_next(&pos, &len)) != NULL) {
        for (size_t i = 0; i < len; i++) {
            if (is_visible(item + i, 1) && strchr("(){%*\"\\]", item[i]) == NULL)
                continue;
            buf_addf(why,
                     "\"%.*s\" is not the name of a capability, such as IDLE or "
                     "AUTH=LOGIN; separate several by commas",
                     (int)(len < 80 ? len : 80), item);
            return false;
        }
    }
    return true;
}

bool
conf_check_uidl(const char *value, struct buf *why)
{
    const char *fault;

    if (conf_uidl_check(value, &fault) == 0)
        return true;
    buf_addf(why, "\"%.80s\": %s", value, fault);
    return false;
}

bool
conf_check_quota(const char *value, struct buf *why)
{
    struct quota_limit limit;

    if (value[0] == '\0' || quota_parse(value, &limit) == 0)
        return true;
    buf_addf(why,
             "\"%.64s\" is not a quota: write a size, such as 10G, a size and a number of "
             "messages, such as 10G:20000, or 0 for no limit",
             value);
    return false;
}

static bool
is_special_use(const char *use, size_t len)
{
    static const char *const words[] = {"\\All",  "\\Archive", "\\Drafts", "\\Flagged",
                                        "\\Junk", "\\Sent",    "\\Trash",  "\\Important"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == len && strncasecmp(words[i], use, len) == 0)
            return true;
    return false;
}

/* One item of auto_folders: Name or Name:\Use. */
static bool
check_folder(const char *item, size_t len, struct buf *why)
{
    const char *use = memchr(item, '\\', len);
    size_t name_len = len;
    int shown = (int)(len < 80 ? len : 80);

    if (use != NULL) {
        name_len = (size_t)(use - item);
        if (name_len == 0 || item[--name_len] != ':') {
            buf_addf(why,
                     "\"%.*s\": put a colon between the name and the use, as in "
                     "Sent:\\Sent",
                     shown, item);
            return false;
        }
        if (!is_special_use(use, len - (size_t)(use - item))) {
            buf_addf(why,
                     "\"%.*s\": the use must be one of \\All \\Archive \\Drafts \\Flagged "
                     "\\Important \\Junk \\Sent \\Trash (RFC 6154, RFC 8457)",
                     shown, item);
            return false;
        }
    }
    if (!is_folder_text(item, name_len) || memchr(item, ':', name_len) != NULL ||
        item[name_len - 1] == ' ') {
        buf_addf(why,
                 "\"%.*s\" is not a folder: write Name or Name:\\Use, in UTF-8, without "
                 "%% * \" and control characters",
                 shown, item);
        return false;
    }
    if (name_len == 5 && strncasecmp(item, "INBOX", 5) == 0) {
        buf_addf(why, "INBOX is always there: take it out of the list");
        return false;
    }
    return true;
}

bool
conf_check_folders(const char *value, struct buf *why)
{
    const char *pos = value, *item;
    size_t len;

    while ((item = conf_list_next(&pos, &len)) != NULL)
        if (!check_folder(item, len, why))
            return false;
    return true;
}
