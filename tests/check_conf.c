/*
 * The configuration: reading, every kind of fault with its line, the round trip through
 * conf_print(), and that mansio.conf(5) and the sample name every key with its default.
 */
#include <check.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf_keys.h"
#include "base/err.h"
#include "base/log.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc/mansio"
#endif

/* What the checker said, one "file:line: text" a line. */
static struct {
    char text[65536];
    int count, warnings;
} said;

static void
collect(void *ctx, const char *file, int line, const char *text)
{
    size_t n = strlen(said.text);

    (void)ctx;
    snprintf(said.text + n, sizeof said.text - n, "%s:%d: %s\n", file, line, text);
    if (strncmp(text, "warning: ", 9) == 0)
        said.warnings++;
    else
        said.count++;
}

static void
quiet(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static int
parse(const char *text, struct conf **conf)
{
    memset(&said, 0, sizeof said);
    return conf_parse("t", text, collect, NULL, conf);
}

static struct conf *
good(const char *text)
{
    struct conf *conf;

    ck_assert_msg(parse(text, &conf) == 0, "%s", said.text);
    return conf;
}

/* The text has exactly one fault, which says `expected`. */
static void
bad(const char *text, const char *expected)
{
    struct conf *conf;

    ck_assert_int_eq(parse(text, &conf), ERR_CONFIG);
    ck_assert_ptr_null(conf);
    ck_assert_msg(said.count == 1, "%d faults: %s", said.count, said.text);
    ck_assert_msg(strstr(said.text, expected) != NULL, "\"%s\" is not in: %s", expected,
                  said.text);
}

START_TEST(test_defaults)
{
    struct conf *conf = good("");

    ck_assert_str_eq(conf->imap_listen, "*:143");
    ck_assert_str_eq(conf->mail_location, "/var/mail/mansio/%u/Maildir");
    ck_assert_int_eq(conf->login_security, LOGIN_SECURITY_TLS);
    ck_assert_uint_eq(conf->login_max_line, 4096);
    ck_assert_uint_eq(conf->max_line, 65536);
    ck_assert_uint_eq(conf->max_arguments, 1048576);
    ck_assert_uint_eq(conf->append_limit, 64 * 1048576);
    ck_assert_uint_eq(conf->login_max_bad_commands, 3);
    ck_assert_uint_eq(conf->max_bad_commands, 20);
    ck_assert_uint_eq(conf->max_set_ranges, 16384);
    ck_assert_uint_eq(conf->max_search_keys, 1024);
    ck_assert_uint_eq(conf->imap_idle_timeout, 1800);
    ck_assert_uint_eq(conf->pop3_idle_timeout, 600);
    ck_assert_uint_eq(conf->mime_max_depth, 64);
    ck_assert_uint_eq(conf->mime_max_parts, 10000);
    ck_assert_uint_eq(conf->mime_max_headers, 10000);
    ck_assert_uint_eq(conf->mime_max_addresses, 4096);
    ck_assert_uint_eq(conf->mime_max_parameter_segments, 256);
    ck_assert_uint_eq(conf->mime_max_header_size, 1048576);
    ck_assert_int_eq(conf->hierarchy_separator, '.');
    ck_assert(conf->username_lowercase);
    ck_assert(!conf->pop3_apop);
    ck_assert_uint_eq(conf->max_connections_per_user, 50);
    conf_free(&conf);
    ck_assert_ptr_null(conf);
    conf_free(&conf);
}
END_TEST

START_TEST(test_lines)
{
    struct conf *conf = good("# comment\r\n"
                             "\n"
                             "  imap_listen\t= 127.0.0.1:1143, [::1]:1143  # two\r\n"
                             "imaps_listen=\n"
                             "tls_priority = NORMAL#odd\n"
                             "tls_key = \"/etc/a \\\"b\\\\ #c \"   # quoted\n"
                             "append_limit = 10m\n"
                             "login_timeout = 2M\n"
                             "imap_idle_timeout = 1h\n"
                             "hierarchy_separator = /\n"
                             "username_lowercase = No\n"
                             "login_security = any");

    ck_assert_str_eq(conf->imap_listen, "127.0.0.1:1143, [::1]:1143");
    ck_assert_str_eq(conf->imaps_listen, "");
    ck_assert_str_eq(conf->tls_priority, "NORMAL#odd");
    ck_assert_str_eq(conf->tls_key, "/etc/a \"b\\ #c ");
    ck_assert_uint_eq(conf->append_limit, 10 * 1048576);
    ck_assert_uint_eq(conf->login_timeout, 120);
    ck_assert_uint_eq(conf->imap_idle_timeout, 3600);
    ck_assert_int_eq(conf->hierarchy_separator, '/');
    ck_assert(!conf->username_lowercase);
    ck_assert_int_eq(conf->login_security, LOGIN_SECURITY_ANY);
    conf_free(&conf);
}
END_TEST

/* Each text has one fault; the message has the line, what is wrong, and what to do. */
static const struct {
    const char *text, *expected;
} faults[] = {
    {"\nimap_listn = *:1", "t:2: unknown setting \"imap_listn\": did you mean imap_listen?"},
    {"imap_idletimeout = 5m", "did you mean imap_idle_timeout?"},
    {"frobnicate_everything = 1", "mansio.conf(5) lists all of them"},
    {"imap_listen", "t:1: \"imap_listen\" is not a setting: write name = value"},
    {" = 5", "unknown setting \"\""},
    {"log = syslog\n\nlog = stderr", "t:3: log is set already in t line 1"},
    {"login_timeout = 5x", "\"5x\" is not a time"},
    {"login_timeout = ", "\"\" is not a time"},
    {"login_timeout = -1", "is not a time"},
    {"login_timeout = 1 m", "is not a time"},
    {"login_timeout = 0", "0 is too small: it must be 1 to 1h (default 60)"},
    {"login_timeout = 61m", "61m is too large"},
    {"login_timeout = 18446744073709551617", "is too large"},
    {"append_limit = 18446744073709551615G", "is too large"},
    {"append_limit = 1T", "\"1T\" is not a size"},
    {"imap_min_spare = 2K", "\"2K\" is not a number"},
    {"imap_min_spare = 0", "too small"},
    {"pop3_apop = maybe", "neither yes nor no"},
    {"login_security = strong", "none of any, hashed, tls"},
    {"hierarchy_separator = :", "neither . nor /"},
    {"hierarchy_separator = ..", "neither . nor /"},
    {"imap_listen = 143", "is not an address"},
    {"imap_listen = *:143 *:1143", "is not an address"},
    {"tls_certificate = cert.pem", "is not an absolute path"},
    {"run_dir =", "must not be empty (default /run/mansio)"},
    {"user_db = pam", "write file: and an absolute path"},
    {"user_db = file:users", "write file: and an absolute path"},
    {"mail_location = /var/mail", "is the same for all users"},
    {"mail_location = mail/%u", "is not an absolute path"},
    {"mail_location = /var/mail/%u/%x", "%x is unknown"},
    {"mail_location = /var/mail/%u/%", "% is unknown"},
    {"mail_location = maildir:/var/mail/%u", "without \"maildir:\""},
    {"mail_location = /var/mail/%%u", "is the same for all users"},
    {"index_dir = /var/lib/index", "is the same for all users"},
    {"quota = 10 GB", "is not a quota: write a size, such as 10G"},
    {"quota = -1", "is not a quota"},
    {"quota = 10G:", "is not a quota"},
    {"mail_user = :system", "has no system mode"},
    {"mail_user = 5000:", "neither a user's name nor UID[:GID]"},
    {"mail_user = 5000:mail", "neither a user's name nor UID[:GID]"},
    {"log = mansio.log", "neither syslog nor stderr nor an absolute path"},
    {"log_level = verbose", "none of error, warning, info, debug"},
    {"username_default_domain = @example.org", "without @: example.org"},
    {"username_default_domain = a/b", "is not a domain name"},
    {"denied_users = root daemon", "separate the names by commas"},
    {"hidden_capabilities = IDLE MOVE", "is not the name of a capability"},
    {"pop3_uidl_format = %v", "put %u into it"},
    {"pop3_uidl_format = %s", "write %u for the UID"},
    {"pop3_uidl_format = a b%u", "without blanks"},
    {"pop3_uidl_format = %080u", "unique ids could be longer than 70"},
    {"pop3_uidl_format = %060u%011v", "unique ids could be longer than 70"},
    {"namespace_prefix = INBOX", "must be a name and the hierarchy_separator, such as INBOX."},
    {"namespace_prefix = .INBOX.", "must be a name and"},
    {"namespace_prefix = .", "must be a name and"},
    {"namespace_prefix = a*.", "leave out"},
    {"namespace_prefix = INBOX.\nhierarchy_separator = /", "t:2: namespace_prefix"},
    {"auto_folders = Sent\\Sent", "put a colon between"},
    {"auto_folders = \\Sent", "put a colon between"},
    {"auto_folders = Sent:\\Outgoing", "the use must be one of"},
    {"auto_folders = INBOX", "INBOX is always there"},
    {"auto_folders = a%b", "is not a folder"},
    {"auto_folders = a\xff", "is not a folder"},
    {"auto_folders = :\\Sent", "is not a folder"},
    {"auto_folders = A, B, A", "\"A\" is there twice"},
    {"auto_folders = A:\\Sent, B:\\sent", "have the same use"},
    {"auto_folders = .A", "a level without a name"},
    {"auto_folders = A..B", "a level without a name"},
    {"auto_folders = A.", "a level without a name"},
    {"auto_folders = A.B\nhierarchy_separator = /", "can't contain a dot"},
    {"auto_folders = A/B", "write . between levels"},
    {"imap_min_spare = 21", "imap_min_spare (21) is above imap_max_spare (20)"},
    {"pop3_max_workers = 9", "pop3_max_spare (10) is above pop3_max_workers (9)"},
    {"max_line = 8K\nlogin_max_line = 16K", "login_max_line (16384) is above max_line (8192)"},
    {"max_arguments = 8K", "max_arguments (8192) is below max_line (65536)"},
    {"tls_key =", "t:1: tls_certificate is set but tls_key is empty"},
    {"tls_certificate =\npop3s_listen =\n", "mansioctl cert selfsigned"},
    {"tls_certificate =\nimaps_listen =\n", "pop3s_listen needs TLS"},
    {"tls_certificate =\nimaps_listen =\npop3s_listen =\n", "nobody could log in"},
    {"imap_listen =\nimaps_listen =\npop3_listen =\npop3s_listen =\n", "nothing is served"},
    {"log = \"syslog", "the quote isn't closed"},
    {"log = \"syslog\\\"", "the quote isn't closed"},
    {"log = \"syslog\" x", "stands behind the closing quote"},
    {"log = a\tb", "contains a control character"},
    {"include =", "include needs a file's name"},
    {"include = /nonexistent/x", "t:1: include: /nonexistent/x can't be read: No such file"},
    {"include = /tmp", "it's a directory"},
};

START_TEST(test_fault)
{
    bad(faults[_i].text, faults[_i].expected);
}
END_TEST

START_TEST(test_every_fault_is_reported)
{
    struct conf *conf;

    ck_assert_int_eq(
        parse("a = 1\nlogin_timeout = x\nlog = x\nimap_min_spare = 30\n\nnonsense\n", &conf),
        ERR_CONFIG);
    ck_assert_int_eq(said.count, 5);
    ck_assert_ptr_nonnull(strstr(said.text, "t:1: "));
    ck_assert_ptr_nonnull(strstr(said.text, "t:2: "));
    ck_assert_ptr_nonnull(strstr(said.text, "t:3: "));
    ck_assert_ptr_nonnull(strstr(said.text, "t:4: "));
    ck_assert_ptr_nonnull(strstr(said.text, "t:6: "));
}
END_TEST

START_TEST(test_warnings)
{
    static const char *const texts[] = {"login_security = hashed", "imap_idle_timeout = 29m",
                                        "pop3_idle_timeout = 9m", "pop3_uidl_format = %u",
                                        "login_security = hashed\npop3_apop = yes"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct conf *conf = good(texts[i]);

        ck_assert_msg(said.warnings == 1, "%s: %s", texts[i], said.text);
        conf_free(&conf);
    }
}
END_TEST

static void
write_file(const char *dir, const char *name, const char *text, size_t len)
{
    char path[PATH_MAX];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fwrite(text, 1, len, f);
    fclose(f);
}

static void
remove_dir(const char *dir, const char *const *names)
{
    char path[PATH_MAX];

    for (; *names != NULL; names++) {
        snprintf(path, sizeof path, "%s/%s", dir, *names);
        unlink(path);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(test_files)
{
    static const char *const names[] = {"main", "sub", "loop", "nul", "big", "key", NULL};
    char dir[] = "/tmp/check_conf.XXXXXX", path[PATH_MAX];
    char *big = calloc(1, 1200000);
    struct conf *conf;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/main", dir);
    write_file(dir, "main", "include = sub\nlog = stderr\n", 27);
    write_file(dir, "sub", "\nlogin_timeout = 7\n", 19);
    memset(&said, 0, sizeof said);
    ck_assert_msg(conf_load(path, collect, NULL, &conf) == 0, "%s", said.text);
    ck_assert_uint_eq(conf->login_timeout, 7);
    ck_assert_str_eq(conf->log, "stderr");
    conf_free(&conf);

    /* a fault in the included file names that file, and a duplicate names both */
    write_file(dir, "sub", "\nlog = x\nlog = stderr\n", 22);
    memset(&said, 0, sizeof said);
    ck_assert_int_eq(conf_load(path, collect, NULL, &conf), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(said.text, "/sub:2: log: "));
    ck_assert_ptr_nonnull(strstr(said.text, "/sub:3: log is set already in "));
    ck_assert_ptr_nonnull(strstr(said.text, "/main:2: log is set already in "));
    ck_assert_ptr_nonnull(strstr(said.text, "/sub line 2: remove one"));
    ck_assert_int_eq(said.count, 3);

    write_file(dir, "sub", "include = main\n", 15);
    memset(&said, 0, sizeof said);
    ck_assert_int_eq(conf_load(path, collect, NULL, &conf), ERR_CONFIG);
    ck_assert_int_eq(said.count, 1);
    ck_assert_ptr_nonnull(strstr(said.text, "/sub:1: include: "));
    ck_assert_ptr_nonnull(strstr(said.text, "it includes itself"));

    write_file(dir, "main", "log = stderr\n\0\n", 15);
    memset(&said, 0, sizeof said);
    ck_assert_int_eq(conf_load(path, collect, NULL, &conf), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(said.text, "NUL"));

    memset(big, '#', 1200000);
    write_file(dir, "main", big, 1200000);
    memset(&said, 0, sizeof said);
    ck_assert_int_eq(conf_load(path, collect, NULL, &conf), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(said.text, "larger than 1 MiB"));
    free(big);

    snprintf(path, sizeof path, "%s/none", dir);
    memset(&said, 0, sizeof said);
    ck_assert_int_eq(conf_load(path, collect, NULL, &conf), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(said.text, "/none:0: can't be read: No such file"));
    remove_dir(dir, names);
}
END_TEST

static char *
printed(const struct conf *conf)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    conf_print(conf, f);
    fclose(f);
    return text;
}

START_TEST(test_round_trip)
{
    static const char *const texts[] = {
        "",
        "imap_listen = [::1]:99\nlogin_timeout = 61\nappend_limit = 1025\nlogin_failure_delay "
        "= "
        "0\nlogin_security = any\nusername_lowercase = no\nhierarchy_separator = /\n"
        "tls_priority = \" #\\\\ \\\"x\"\nmin_transfer_rate = 0\nauto_folders =\n"
        "namespace_prefix = \"My Mail/\"\n",
        "tls_priority = \"\\\"q\"\nlog = \"/var/log/a #1\"\n"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct conf *a = good(texts[i]), *b;
        char *first = printed(a), *second;

        b = good(first);
        second = printed(b);
        ck_assert_str_eq(first, second);
        ck_assert_str_eq(a->tls_priority, b->tls_priority);
        ck_assert_str_eq(a->log, b->log);
        ck_assert_str_eq(a->namespace_prefix, b->namespace_prefix);
        free(first);
        free(second);
        conf_free(&a);
        conf_free(&b);
    }
}
END_TEST

START_TEST(test_key_table)
{
    for (size_t i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];
        const struct conf_key_info *info = conf_key_info(i);

        ck_assert_str_eq(info->name, row->name);
        ck_assert_int_gt((int)strlen(info->help), 10);
        ck_assert_int_eq(conf_row_find(row->name, strlen(row->name)), (int)i);
        for (size_t j = 0; j < i; j++)
            ck_assert_msg(row->offset != conf_rows[j].offset, "%s and %s share a field",
                          row->name, conf_rows[j].name);
    }
    ck_assert_ptr_null(conf_key_info(conf_row_count));
}
END_TEST

START_TEST(test_lists)
{
    const char *pos = "  a , b c,,\td ,";
    size_t len;
    const char *item = conf_list_next(&pos, &len);

    ck_assert_mem_eq(item, "a", len);
    ck_assert_uint_eq(len, 1);
    item = conf_list_next(&pos, &len);
    ck_assert_uint_eq(len, 3);
    ck_assert_mem_eq(item, "b c", 3);
    item = conf_list_next(&pos, &len);
    ck_assert_uint_eq(len, 1);
    ck_assert_mem_eq(item, "d", 1);
    ck_assert_ptr_null(conf_list_next(&pos, &len));
    ck_assert_ptr_null(conf_list_next(&pos, &len));
    ck_assert(conf_list_has("root, Daemon ,x", "daemon"));
    ck_assert(!conf_list_has("root, Daemon", "daemo"));
    ck_assert(!conf_list_has("", ""));
}
END_TEST

START_TEST(test_user_ids)
{
    uid_t uid;
    gid_t gid;

    ck_assert_int_eq(conf_user_ids("root", &uid, &gid), 0);
    ck_assert_uint_eq(uid, 0);
    ck_assert_int_eq(conf_user_ids("4294967294:77", &uid, &gid), 0);
    ck_assert_uint_eq(uid, 4294967294U);
    ck_assert_uint_eq(gid, 77);
    ck_assert_int_eq(conf_user_ids("59999", &uid, &gid), 0);
    ck_assert_uint_eq(gid, 59999);
    ck_assert_int_eq(conf_user_ids("4294967295", &uid, &gid), ERR_NOENT);
    ck_assert_int_eq(conf_user_ids("99999999999999999999", &uid, &gid), ERR_NOENT);
    ck_assert_int_eq(conf_user_ids("5:", &uid, &gid), ERR_NOENT);
    ck_assert_int_eq(conf_user_ids("no-such-user-here", &uid, &gid), ERR_NOENT);
}
END_TEST

static void
expands(const char *pattern, const char *user, const char *home, const char *expected)
{
    char *path;
    int result = conf_expand_path(pattern, user, home, &path);

    if (expected == NULL) {
        ck_assert_int_eq(result, ERR_CANNOT);
        ck_assert_ptr_null(path);
        return;
    }
    ck_assert_int_eq(result, 0);
    ck_assert_str_eq(path, expected);
    free(path);
}

START_TEST(test_expand_path)
{
    static char deep[5000];

    log_hook = quiet;
    expands("/m/%u/Maildir", "ann", "", "/m/ann/Maildir");
    expands("/m/%d/%n", "ann@example.org", "", "/m/example.org/ann");
    expands("%h/Maildir", "ann", "/home/ann", "/home/ann/Maildir");
    expands("/m/%%%u", "ann", NULL, "/m/%ann");
    /* two users never share a path, and none gets out of the tree */
    expands("/m/%d/%n", "ann", "", NULL);
    expands("/m/%d/%n", "ann@", "", NULL);
    expands("/m/%d/%n", "ann@.", "", NULL);
    expands("/m/%d/%n", "ann@..", "", NULL);
    expands("/m/%n", "@example.org", "", NULL);
    expands("/m/%u", "..", "", NULL);
    expands("/m/%u", "a/b", "", NULL);
    expands("%h/Maildir", "ann", "", NULL);
    expands("%h/Maildir", "ann", NULL, NULL);
    expands("%h/Maildir", "ann", "home", NULL);
    expands("/m/%x", "ann", "", NULL);
    memset(deep, 'x', sizeof deep - 1);
    deep[0] = '/';
    expands(deep, "ann", "", NULL);
    log_hook = NULL;
}
END_TEST

/* RFC 1939 7 UIDL: 1 to 70 characters 0x21 to 0x7e. */
START_TEST(test_uidl_format)
{
    char out[CONF_UIDL_SIZE];
    const char *why;

    conf_uidl_format("%08Xu%08Xv", 189, 0x5a1d3c2b, out);
    ck_assert_str_eq(out, "000000bd5a1d3c2b");
    conf_uidl_format("%08xu%08xv", 189, 0x5a1d3c2b, out);
    ck_assert_str_eq(out, "000000bd5a1d3c2b");
    conf_uidl_format("UID%u-%v", 7, 1234567890, out);
    ck_assert_str_eq(out, "UID7-1234567890");
    conf_uidl_format("%v.%u%%", 4294967295U, 4294967295U, out);
    ck_assert_str_eq(out, "4294967295.4294967295%");
    ck_assert_int_eq(conf_uidl_check("%060u%010v", &why), 0);
    conf_uidl_format("%060u%010v", 4294967295U, 4294967295U, out);
    ck_assert_uint_eq(strlen(out), 70);
}
END_TEST

/* The whole file, from the source tree: make tells where it is; else it's where this was
   compiled from. */
static char *
source_file(const char *name)
{
    const char *dir = getenv("srcdir"), *slash = strstr(__FILE__, "tests/check_conf.c");
    char path[PATH_MAX];
    char *text;
    FILE *f;
    size_t n;

    if (dir != NULL)
        snprintf(path, sizeof path, "%s/%s", dir, name);
    else
        snprintf(path, sizeof path, "%.*s%s", (int)(slash - __FILE__), __FILE__, name);
    f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s: not found (set srcdir)", path);
    text = malloc(262144);
    n = fread(text, 1, 262143, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

/* The build's sysconfdir in a default, as it's written in the documents. */
static void
documented(const char *value, char *out, size_t size)
{
    const char *at = strstr(value, SYSCONFDIR);

    if (at == NULL)
        snprintf(out, size, "%s", value);
    else
        snprintf(out, size, "%.*s/etc/mansio%s", (int)(at - value), value,
                 at + strlen(SYSCONFDIR));
}

START_TEST(test_sample)
{
    char *text = source_file("etc/mansio.conf"), line[1200], value[1024];

    for (size_t i = 0; i < conf_row_count; i++) {
        documented(conf_rows[i].default_value, value, sizeof value);
        snprintf(line, sizeof line, "\n#%s =%s%s\n", conf_rows[i].name, *value ? " " : "",
                 value);
        ck_assert_msg(strstr(text, line) != NULL, "not in etc/mansio.conf:%s", line);
    }
    free(text);
}
END_TEST

/* Every line of the sample that looks like a setting is one, also without its #. */
START_TEST(test_sample_is_valid)
{
    char *text = source_file("etc/mansio.conf"), *from = text, *to = text;
    struct conf *conf;

    for (; *from != '\0'; from++)
        if (!(*from == '#' && (from == text || from[-1] == '\n') && from[1] >= 'a' &&
              from[1] <= 'z'))
            *to++ = *from;
    *to = '\0';
    conf = good(text);
    conf_free(&conf);
    free(text);
}
END_TEST

/* Text as mdoc has it. */
static void
add_mdoc(struct buf *to, const char *s)
{
    if (*s == '\0')
        s = "empty";
    if (*s == '.')
        buf_adds(to, "\\&");
    for (; *s != '\0'; s++)
        buf_adds(to, *s == '\\' ? "\\e" : (char[]){*s, '\0'});
}

/* What follows a key in the page: type, default and, for numbers, the range. */
static void
add_item(struct buf *to, const struct conf_row *row)
{
    const char *type = conf_type_text(row->type);
    struct conf limits = {0};
    struct buf why = BUF_INIT(256);
    char value[1024], number[32];

    documented(row->default_value, value, sizeof value);
    buf_addf(to, "\n.It Cm %s\n%c%s; default ", row->name, type[0] & ~0x20, type + 1);
    add_mdoc(to, value);
    if (row->max > 0 && row->type != CONF_TEXT && row->type != CONF_LIST) {
        for (int i = 0; i < 2; i++) {
            snprintf(number, sizeof number, "%llu",
                     (unsigned long long)(i == 0 ? row->min : row->max));
            ck_assert(conf_set(&limits, row, number, &why));
            buf_adds(to, i == 0 ? "; " : " to ");
            conf_value_text(&limits, row, to);
        }
    }
    buf_adds(to, ".\n");
    buf_free(&why);
}

/* mansio.conf(5): each key with its type, default and range, and no other one. */
START_TEST(test_manual)
{
    char *text = source_file("man/mansio.conf.5");
    struct buf item = BUF_INIT(8192);
    const char *p = text;
    size_t items = 0;

    for (size_t i = 0; i < conf_row_count; i++) {
        buf_reset(&item);
        add_item(&item, &conf_rows[i]);
        ck_assert_msg(strstr(text, buf_str(&item)) != NULL, "not in mansio.conf(5):%s",
                      buf_str(&item));
    }
    while ((p = strstr(p, "\n.It Cm ")) != NULL) {
        p += 8;
        items++;
        ck_assert_msg(conf_row_find(p, strcspn(p, " \n")) >= 0, "no such key: %.40s", p);
    }
    ck_assert_uint_eq(items, conf_row_count);
    buf_free(&item);
    free(text);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("conf");
    TCase *t = tcase_create("conf");
    SRunner *runner;
    int failed;

    tcase_add_test(t, test_defaults);
    tcase_add_test(t, test_lines);
    tcase_add_loop_test(t, test_fault, 0, (int)(sizeof faults / sizeof faults[0]));
    tcase_add_test(t, test_every_fault_is_reported);
    tcase_add_test(t, test_warnings);
    tcase_add_test(t, test_files);
    tcase_add_test(t, test_round_trip);
    tcase_add_test(t, test_key_table);
    tcase_add_test(t, test_lists);
    tcase_add_test(t, test_user_ids);
    tcase_add_test(t, test_expand_path);
    tcase_add_test(t, test_uidl_format);
    tcase_add_test(t, test_sample);
    tcase_add_test(t, test_sample_is_valid);
    tcase_add_test(t, test_manual);
    suite_add_tcase(suite, t);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
